//! Medians, ratios, and how they are shown and kept.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use serde_json::{Value, json};

use super::case::{Case, Sample, Version};
use super::contender::{Contender, Facts};
use super::proxy;

/// One case and what each contender made of it; the first is ours.
pub(crate) struct Row {
    pub(crate) case: Case,
    pub(crate) results: Vec<Measured>,
}

/// What one contender did in all rounds.
pub(crate) struct Measured {
    pub(crate) name: String,
    facts: Facts,
    /// In rising order; never empty.
    figures: Vec<f64>,
    rate: f64,
    resident_mib: f64,
    reports: Vec<Value>,
}

impl Row {
    /// Writes `CASE.json` into `directory`.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<()> {
        let results: Vec<Value> = self.results.iter().map(Measured::json).collect();
        let value = json!({
            "case": self.case.to_string(), "unit": self.case.unit(), "cipher": CIPHER, "results": results
        });
        fs::write(directory.join(format!("{}.json", self.case)), format!("{value:#}\n"))
    }
}

impl Measured {
    /// `samples` are never none.
    pub(crate) fn new(name: String, facts: Facts, samples: Vec<Sample>) -> Self {
        let sorted = |value: fn(&Sample) -> f64| {
            let mut values: Vec<f64> = samples.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let figures = sorted(|sample| sample.figure);
        let rate = median(&sorted(|sample| sample.rate));
        let resident_mib = median(&sorted(|sample| sample.resident_mib));
        let reports = samples.into_iter().map(|sample| sample.report).collect();
        Self { name, facts, figures, rate, resident_mib, reports }
    }

    pub(crate) fn median(&self) -> f64 {
        median(&self.figures)
    }

    /// The median of a number in the reports, where all have it.
    pub(crate) fn median_of(&self, key: &str) -> Option<f64> {
        let values = self.reports.iter().map(|report| report[key].as_f64());
        let mut values = values.collect::<Option<Vec<f64>>>()?;
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then(|| median(&values))
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "median": self.median(), "figures": self.figures,
            "facts": self.facts, "per_second": self.rate, "resident_mib": self.resident_mib, "reports": self.reports
        })
    }

    /// Median and spread, with as many digits as the noise leaves.
    fn text(&self) -> String {
        let digits = if self.median() < 10.0 { 3 } else { 1 };
        let (low, high) = (self.figures[0], self.figures[self.figures.len() - 1]);
        format!("{:.digits$} ({low:.digits$}–{high:.digits$})", self.median())
    }
}

/// The middle value, or of an even number the lower of the middle two.
fn median(sorted: &[f64]) -> f64 {
    sorted[(sorted.len() - 1) / 2]
}

/// All cases as one table: a line for each peer, and what is to be known of them below.
pub(crate) fn render(
    rows: &[Row],
    floor: &str,
    contenders: &[Contender],
    missing: &[String],
) -> String {
    let mut text = String::from(
        "| case | unit | this | peer | | ratio | per second | MiB |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let Some((this, peers)) = row.results.split_first() else { continue };
        for peer in peers {
            let ratio = this.median() / peer.median();
            let (case, unit) = (row.case, row.case.unit());
            let (ours, theirs, name) = (this.text(), peer.text(), &peer.name);
            let rates = format!("{} / {}", short(this.rate), short(peer.rate));
            let memory = format!("{:.0} / {:.0}", this.resident_mib, peer.resident_mib);
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "| {case} | {unit} | {ours} | {theirs} | {name} | {ratio:.2} | {rates} | {memory} |"
            );
        }
    }
    text + &beside_http2(rows) + &proxy::delays(rows) + floor + &legend(contenders, missing)
}

/// HTTP/3 beside HTTP/2 of the same server, where both have been measured with as many streams.
fn beside_http2(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let Case::Small { version: Version::Http3, connections, streams } = row.case else {
            continue;
        };
        let twin = Case::Small { version: Version::Http2, connections, streams };
        let Some(twin) = rows.iter().find(|row| row.case == twin) else { continue };
        for result in &row.results {
            let other = twin.results.iter().find(|other| other.name == result.name);
            if let Some(other) = other {
                let ratio = result.median() / other.median();
                let _ =
                    writeln!(text, "- {}: {} / {} = {ratio:.2}", result.name, row.case, twin.case);
            }
        }
    }
    if text.is_empty() {
        text
    } else {
        format!("\nHTTP/3 beside HTTP/2 of the same server:\n{text}")
    }
}

fn legend(contenders: &[Contender], missing: &[String]) -> String {
    let tcp = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
    let mut text = format!(
        "\nAll: {CIPHER} and X25519 unless the case says otherwise, ECDSA P-256, no resumption, no access \
         log, one worker on core 0, the load on core 1; congestion control of TCP: {}.\n",
        tcp.trim()
    );
    for contender in contenders {
        let facts = &contender.facts;
        let _ = writeln!(
            text,
            "- {}: {}; {}; congestion control of QUIC: {}",
            contender.name, facts.version, facts.cryptography, facts.congestion
        );
    }
    for reason in missing {
        let _ = writeln!(text, "- not measured: {reason}");
    }
    text
}

/// The one that the loads offer.
const CIPHER: &str = "TLS_AES_128_GCM_SHA256";

/// A rate with three digits that matter.
fn short(rate: f64) -> String {
    match rate {
        rate if rate >= 10_000.0 => format!("{:.0}k", rate / 1000.0),
        rate if rate >= 1000.0 => format!("{:.1}k", rate / 1000.0),
        rate if rate >= 10.0 => format!("{rate:.0}"),
        rate => format!("{rate:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, figures: &[f64]) -> Measured {
        let sample =
            |&figure| Sample { figure, rate: 1000.0, resident_mib: 9.0, report: json!({}) };
        let facts = Facts { version: String::new(), cryptography: "", congestion: "" };
        Measured::new(name.to_owned(), facts, figures.iter().map(sample).collect())
    }

    #[test]
    fn a_line_shows_medians_spreads_and_their_ratio() {
        let results = vec![outcome("sterna", &[0.9, 0.3, 0.4]), outcome("peer", &[0.7, 0.8, 1.0])];
        let row = Row { case: Case::Bulk, results };
        let line = "| h3-bulk | CPU s per GiB | 0.400 (0.300–0.900) | 0.800 (0.700–1.000) | peer | 0.50 \
                    | 1.0k / 1.0k | 9 / 9 |";
        assert_eq!(render(&[row], "", &[], &[]).lines().nth(2), Some(line));
    }

    #[test]
    fn two_figures_have_the_lower_as_median() {
        assert_eq!(outcome("peer", &[1.0, 2.0]).median().to_bits(), 1.0_f64.to_bits());
    }

    #[test]
    fn the_versions_of_a_server_are_compared_at_as_many_streams() {
        let row = |case, figure| Row { case, results: vec![outcome("sterna", &[figure])] };
        let rows = [row(Case::STREAMS[0], 0.6), row(Case::STREAMS[1], 1.2), row(Case::HTTP1, 1.0)];
        let expected = "- sterna: h3-small-1x10000 / h2-small-1x10000 = 0.50\n";
        assert!(beside_http2(&rows).ends_with(expected));
    }

    #[test]
    fn what_was_not_measured_says_why() {
        let missing = ["caddy: there is no Go toolchain".to_owned()];
        assert!(
            render(&[], "", &[], &missing)
                .ends_with("- not measured: caddy: there is no Go toolchain\n")
        );
    }
}
