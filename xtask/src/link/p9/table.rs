//! What was measured, as one table: a row for each contender, a column for each link.

use super::contender::{Congestion, Contender};
use super::{BULK, OBJECT, OBJECTS, Sample, Work};

/// Of all samples; `tcp` is the kernel's congestion control at the server's and at the client's end.
pub(super) fn text(
    samples: &[Sample],
    contenders: &[&'static Contender],
    tcp: &[String; 2],
) -> String {
    let links = links(samples);
    let mut text = format!(
        "TCP: {} at the server, {} at the client (the kernel's). Medians; 100 Mbit/s, queues of one bandwidth-delay product, \
         losses each way.\n",
        tcp[0], tcp[1]
    );
    for (work, title) in [
        (Work::Bulk, "Goodput of 10 MB in Mbit/s; of what came within 4 s where it was not all"),
        (Work::Page, "Page of 100 × 10 KiB in ms; – where it was not complete within 8 s"),
    ] {
        text.push_str(&format!("\n{title}\n\n| | sender |"));
        for (round_trip, loss) in &links {
            text.push_str(&format!(" {round_trip}, {loss} |"));
        }
        text.push_str(&format!("\n|---|---|{}\n", "---|".repeat(links.len())));
        for contender in contenders {
            text.push_str(&format!("| {} | {} |", contender.name, sender(contender, tcp)));
            for link in &links {
                text.push_str(&format!(" {} |", figure(samples, contender.name, work, link)));
            }
            text.push('\n');
        }
    }
    text.push_str(&format!("\n{}", targets(samples, &links)));
    text
}

type Link = (String, String);

/// In the order in which they were measured.
fn links(samples: &[Sample]) -> Vec<Link> {
    let mut links = Vec::new();
    for sample in samples {
        let link = (sample.round_trip.clone(), sample.loss.clone());
        if !links.contains(&link) {
            links.push(link);
        }
    }
    links
}

fn sender(contender: &Contender, tcp: &[String; 2]) -> String {
    match contender.congestion {
        Congestion::Ours { name, .. } => format!("{name}, Sterna's"),
        Congestion::Kernel => format!("{}, the kernel's", tcp[0]),
        Congestion::Nginx => "cubic, nginx's".to_owned(),
    }
}

fn figure(samples: &[Sample], contender: &str, work: Work, link: &Link) -> String {
    let median = median(samples, contender, work, link);
    match (work, median) {
        (Work::Bulk, Some(rate)) => format!("{rate:.1}"),
        (Work::Page, Some(seconds)) => format!("{:.0}", seconds * 1e3),
        (_, None) => "–".to_owned(),
    }
}

/// Mbit/s of bulk, seconds of a page.
fn median(samples: &[Sample], contender: &str, work: Work, link: &Link) -> Option<f64> {
    let of_link = samples.iter().filter(|sample| {
        (&sample.round_trip, &sample.loss) == (&link.0, &link.1)
            && (sample.contender.as_str(), sample.work) == (contender, work)
    });
    let mut figures: Vec<f64> = of_link
        .filter(|sample| work == Work::Bulk || sample.bytes == OBJECTS * OBJECT)
        .map(|sample| match work {
            Work::Bulk => sample.bytes.min(BULK) as f64 * 8e-6 / sample.seconds,
            Work::Page => sample.seconds,
        })
        .collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len().saturating_sub(1) / 2).copied()
}

/// What is asked for: bulk no slower than HTTP/2, a page in four fifths of its time.
fn targets(samples: &[Sample], links: &[Link]) -> String {
    let mut text = String::new();
    for link in links {
        let of = |contender, work| median(samples, contender, work, link);
        let ratio = |ours, work| Some(of(ours, work)? / of("HTTP/2", work)?);
        let shown = |ratio: Option<f64>| ratio.map_or("–".to_owned(), |it| format!("{it:.2}"));
        text.push_str(&format!(
            "{} with {} lost, as a part of HTTP/2: bulk by bbr {} (asked for: 1.00 or more); page by bbr {}, with 32 KiB first {} \
             (0.80 or less)\n",
            link.0,
            link.1,
            shown(ratio("HTTP/3 bbr", Work::Bulk)),
            shown(ratio("HTTP/3 bbr", Work::Page)),
            shown(ratio("HTTP/3 bbr, 32 KiB first", Work::Page)),
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::contender::CONTENDERS;
    use super::*;

    fn sample(contender: &str, work: Work, seconds: f64, bytes: u64) -> Sample {
        let (round_trip, loss) = ("50ms".to_owned(), "1%".to_owned());
        Sample { round_trip, loss, contender: contender.to_owned(), work, seconds, bytes }
    }

    #[test]
    fn the_table_names_who_sends_and_compares_with_http_2() {
        let page = OBJECTS * OBJECT;
        let samples = [
            sample("HTTP/3 bbr", Work::Bulk, 1.0, BULK),
            sample("HTTP/3 bbr", Work::Page, 0.4, page),
            sample("HTTP/2", Work::Bulk, 2.0, BULK),
            sample("HTTP/2", Work::Page, 0.8, page),
            sample("HTTP/3 cubic", Work::Bulk, 4.0, BULK / 10),
            sample("HTTP/3 cubic", Work::Page, 8.0, page / 2),
        ];
        let all: Vec<_> = CONTENDERS.iter().collect();
        let text = text(&samples, &all, &["bbr".to_owned(), "cubic".to_owned()]);
        for line in [
            "TCP: bbr at the server, cubic at the client (the kernel's).",
            "| HTTP/3 bbr | bbr, Sterna's | 80.0 |",
            "| HTTP/2 | bbr, the kernel's | 40.0 |",
            "| HTTP/3 cubic | cubic, Sterna's | 2.0 |",
            "| HTTP/3 cubic | cubic, Sterna's | – |",
            "| HTTP/3 bbr | bbr, Sterna's | 400 |",
            "bulk by bbr 2.00 (asked for: 1.00 or more); page by bbr 0.50,",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
