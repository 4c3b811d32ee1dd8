//! The report for people: one screen.

use std::{
    fmt::{self, Display, Write as _},
    time::Duration,
};

use crate::load::{Failure, Latency, Mode, Outcome, Tally, Verdict};

impl Outcome {
    /// The report for people, without a line break at its end.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text.truncate(text.trim_end().len());
        text
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let Self { plan, tally, duration, is_interrupted, verdicts } = self;
        let interrupted = if *is_interrupted { ", interrupted" } else { "" };
        writeln!(
            out,
            "{} over {}, {}{interrupted}",
            plan.target.url,
            plan.version.name(),
            Shown(*duration)
        )?;
        match plan.mode {
            Mode::Handshakes => writeln!(
                out,
                "handshakes   {} done ({:.0}/s), {} failed",
                tally.handshakes,
                self.rate(),
                tally.handshakes_failed
            )?,
            Mode::Requests => self.write_requests(out)?,
            Mode::Events(_) => self.write_events(out)?,
        }
        self.write_connections(out)?;
        write_latencies(out, self)?;
        write_errors(out, tally)?;
        write_quic(out, tally)?;
        if !verdicts.is_empty() {
            writeln!(out)?;
        }
        for Verdict { text, found, is_kept } in verdicts {
            let verdict = if *is_kept { "kept  " } else { "missed" };
            writeln!(out, "{verdict}  {text}: {found}")?;
        }
        Ok(())
    }

    fn write_events(&self, out: &mut String) -> fmt::Result {
        let events = &self.tally.events;
        writeln!(
            out,
            "events       {} ({:.0}/s), {} received, {} stalls, {} missing or twice",
            Grouped(events.count),
            self.rate(),
            Size(events.bytes as f64),
            Grouped(events.stalls),
            Grouped(events.gaps)
        )?;
        writeln!(
            out,
            "streams      {} asked for, {} open at the end, {} ended by the server, {} failed",
            self.tally.sent, events.open, events.ended, self.tally.failed
        )
    }

    fn write_requests(&self, out: &mut String) -> fmt::Result {
        let Self { tally, duration, .. } = self;
        write!(
            out,
            "requests     {} done ({:.0}/s), {} failed ({:.3} %)",
            tally.done,
            self.rate(),
            tally.failed,
            100.0 * if tally.sent == 0 { 0.0 } else { self.error_rate() },
        )?;
        if tally.unfinished > 0 {
            write!(out, ", {} not finished", tally.unfinished)?;
        }
        if tally.unsent > 0 {
            write!(out, ", {} due and never sent", tally.unsent)?;
        }
        writeln!(out)?;
        let seconds = duration.as_secs_f64();
        let rate = |bytes: u64| if seconds > 0.0 { bytes as f64 / seconds } else { 0.0 };
        write!(
            out,
            "content      {} received ({}/s)",
            Size(tally.received as f64),
            Size(rate(tally.received))
        )?;
        if tally.uploaded > 0 {
            let sent = tally.uploaded;
            write!(out, ", {} sent ({}/s)", Size(sent as f64), Size(rate(sent)))?;
        }
        writeln!(out)?;
        let classes = tally.status.iter().map(|(status, count)| format!("{status} × {count}"));
        let shown: Vec<_> = classes.take(8).collect();
        if !shown.is_empty() {
            writeln!(out, "status       {}", shown.join(", "))?;
        }
        Ok(())
    }

    fn write_connections(&self, out: &mut String) -> fmt::Result {
        let Self { plan, tally, .. } = self;
        if plan.mode == Mode::Handshakes {
            return Ok(());
        }
        write!(
            out,
            "connections  {} asked, {} handshakes, {} failed, {} lost",
            plan.connections, tally.handshakes, tally.handshakes_failed, tally.lost
        )?;
        if tally.goaways > 0 {
            write!(out, ", {} times GOAWAY", tally.goaways)?;
        }
        writeln!(out)?;
        if plan.early_data {
            writeln!(
                out,
                "0-RTT        {} requests, taken on {} connections, refused on {}",
                tally.early, tally.early_accepted, tally.early_rejected
            )?;
        }
        if tally.limit_waits > 0 {
            writeln!(
                out,
                "streams      asked {} at once, the peer allowed {} at once; waited {} times",
                Grouped(plan.streams as u64),
                Grouped(tally.streams_at_once),
                Grouped(tally.limit_waits)
            )?;
        }
        Ok(())
    }
}

fn write_latencies(out: &mut String, outcome: &Outcome) -> fmt::Result {
    let tally = &outcome.tally;
    let is_open = outcome.plan.pace.is_some();
    let rows: [(&str, &Latency); 7] = [
        (if is_open { "from sending" } else { "latency" }, &tally.service),
        ("from due time", &tally.response),
        ("first byte", &tally.first_byte),
        ("send delay", &tally.delay),
        ("first event", &tally.events.first),
        ("pause", &tally.events.pause),
        ("handshake", &tally.handshake),
    ];
    if rows.iter().all(|(_, latency)| latency.count() == 0) {
        return Ok(());
    }
    write!(out, "\n{:13}", "")?;
    for name in ["p50", "p90", "p95", "p99", "p99.9", "p99.99", "max", "mean"] {
        write!(out, "{name:>10}")?;
    }
    writeln!(out)?;
    for (name, latency) in rows.iter().filter(|(_, latency)| latency.count() > 0) {
        write!(out, "{name:13}")?;
        for quantile in [0.5, 0.9, 0.95, 0.99, 0.999, 0.9999] {
            write!(out, "{:>10}", Shown(latency.quantile(quantile)).to_string())?;
        }
        let (max, mean) = (Shown(latency.max()).to_string(), Shown(latency.mean()).to_string());
        writeln!(out, "{max:>10}{mean:>10}")?;
    }
    if is_open && tally.unsent + tally.unfinished > 0 {
        writeln!(
            out,
            "note: {} requests that were due have no end in these figures, which are too good by them",
            tally.unsent + tally.unfinished
        )?;
    }
    Ok(())
}

fn write_errors(out: &mut String, tally: &Tally) -> fmt::Result {
    if tally.failures.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nerrors")?;
    for name in Failure::KINDS {
        let Some(kind) = tally.failures.get(name) else { continue };
        writeln!(out, "  {name:20} {:>10}  first: {}", kind.count, kind.first)?;
    }
    if tally.handshakes == 0 && tally.failures.contains_key("tls") {
        writeln!(
            out,
            "help: --cacert FILE names an authority to believe, --insecure believes anyone"
        )?;
    }
    if tally.handshakes == 0 && tally.failures.contains_key("handshake_timeout") {
        writeln!(
            out,
            "help: without an answer the address, the port, or UDP on the way may be wrong: try --http2"
        )?;
    }
    Ok(())
}

fn write_quic(out: &mut String, tally: &Tally) -> fmt::Result {
    let quic = &tally.quic;
    if quic.connections == 0 {
        return Ok(());
    }
    let lost = 100.0 * quic.lost_packets as f64 / quic.sent_packets.max(1) as f64;
    writeln!(
        out,
        "\nQUIC         round trip {} to {}, window {} to {} ({}), {} packets sent, {} lost ({lost:.3} %)",
        Shown(quic.rtt_min),
        Shown(quic.rtt_max),
        Size(quic.cwnd_min as f64),
        Size(quic.cwnd_max as f64),
        quic.congestion,
        Grouped(quic.sent_packets),
        Grouped(quic.lost_packets)
    )?;
    if quic.kernel_drops > 0 {
        writeln!(
            out,
            "note: this machine dropped {} datagrams because the receive buffers were full: the losses are not the server's \
             (`sysctl -w net.core.rmem_max=4194304`)",
            Grouped(quic.kernel_drops)
        )?;
    }
    Ok(())
}

/// A duration in three figures.
struct Shown(Duration);

impl Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos() as f64;
        let (value, unit) = match nanos {
            0.0..1e6 => (nanos / 1e3, "µs"),
            1e6..1e9 => (nanos / 1e6, "ms"),
            _ => (nanos / 1e9, "s"),
        };
        figures(f, value)?;
        write!(f, " {unit}")
    }
}

/// Bytes in three figures.
struct Size(f64);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            0.0..1024.0 => return write!(f, "{:.0} B", self.0),
            1024.0..1048576.0 => (self.0 / 1024.0, "KiB"),
            1048576.0..1073741824.0 => (self.0 / 1048576.0, "MiB"),
            _ => (self.0 / 1073741824.0, "GiB"),
        };
        figures(f, value)?;
        write!(f, " {unit}")
    }
}

fn figures(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    match value {
        0.0..10.0 => write!(f, "{value:.2}"),
        10.0..100.0 => write!(f, "{value:.1}"),
        _ => write!(f, "{value:.0}"),
    }
}

/// `10,000`.
struct Grouped(u64);

impl Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.char_indices() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_three_and_their_unit_fits() {
        let shown = |nanos| Shown(Duration::from_nanos(nanos)).to_string();
        assert_eq!(shown(1_234), "1.23 µs");
        assert_eq!(shown(12_345_678), "12.3 ms");
        assert_eq!(shown(2_500_000_000), "2.50 s");
        assert_eq!(Size(999.0).to_string(), "999 B");
        assert_eq!(Size(1536.0).to_string(), "1.50 KiB");
    }

    #[test]
    fn thousands_are_grouped() {
        let shown = [0, 999, 1000, 65_536, 1_234_567].map(|count| Grouped(count).to_string());
        assert_eq!(shown, ["0", "999", "1,000", "65,536", "1,234,567"]);
    }
}
