//! `sterna status`: what the running server does.

mod sight;
mod view;
mod watch;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Method;
use serde_json::Value as Json;

use crate::admin::ask::Which;
use crate::error::Error;
use crate::report::{self, counted};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,

    /// Print everything as JSON on stdout.
    #[arg(long)]
    json: bool,

    /// Show it on the terminal, anew each second.
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

impl Args {
    pub(crate) fn run(&self) -> Result<(), Error> {
        let server = self.which.find()?;
        if self.watch {
            return watch::watch(&server);
        }
        let status = server.ask(Method::GET, "/status", PATIENCE)?;
        let text = if self.json { format!("{status:#}") } else { text(&status, now()) };
        report::print(&text).map_err(Error::Output)
    }
}

pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// In a few lines.
fn text(status: &Json, now: f64) -> String {
    let count = |name: &str| status["counters"][name].as_u64().unwrap_or(0);
    let words = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let up = span(now - status["started"].as_f64().unwrap_or(now));
    let state = if status["draining"] == true { "is ending" } else { "runs" };
    let mut lines = vec![
        format!("sterna {} {state} since {up} (pid {})", words(&status["version"]), status["pid"]),
        format!("  serves        {} on {}", words(&status["serves"]), list(&status["addresses"])),
        format!(
            "  configuration generation {}, {}, {} failed",
            status["config"]["generation"],
            counted(status["config"]["reloads"].as_u64().unwrap_or(0) as usize, "reload"),
            status["config"]["failed_reloads"],
        ),
    ];
    if let Some(error) = status["config"]["last"]["error"].as_str() {
        lines.push(format!("                the last one failed: {}", error.replace('\n', " ")));
    }
    if let Some(congestion) = congestion(&status["congestion"]) {
        lines.push(format!("  congestion    {congestion}"));
    }
    lines.push(format!(
        "  requests      {} HTTP/1.1, {} HTTP/2, {} HTTP/3; {} under way",
        count("http1_requests"),
        count("http2_requests"),
        count("http3_requests"),
        count("active_requests"),
    ));
    lines.push(format!(
        "  connections   {} TCP, {} QUIC open; {} and {} in all",
        count("active_tcp_connections"),
        count("active_quic_connections"),
        count("tcp_connections"),
        count("quic_connections"),
    ));
    lines.extend(early_data(&status["quic"]).map(|told| format!("  early data    {told}")));
    lines.push(format!(
        "  process       {}, {:.1} s of CPU, {} MiB, {} open files",
        counted(status["workers"].as_u64().unwrap_or(0) as usize, "worker"),
        status["process"]["cpu_seconds"].as_f64().unwrap_or(0.0),
        status["process"]["resident_bytes"].as_u64().unwrap_or(0) >> 20,
        status["process"]["open_files"],
    ));
    for certificate in status["certificates"].as_array().into_iter().flatten() {
        let left = certificate["not_after"].as_f64().unwrap_or(now) - now;
        let left = match left > 0.0 {
            true => format!("ends in {}", span(left)),
            false => format!("HAS ENDED {} ago", span(-left)),
        };
        lines.push(format!("  certificate   {}: {left}", list(&certificate["names"])));
    }
    lines.join("\n")
}

/// What became of it in handshakes, once some client has offered any.
fn early_data(quic: &Json) -> Option<String> {
    let count = |name: &str| quic[format!("early_data_{name}")].as_u64().unwrap_or(0);
    let refused = count("rejected") + count("waiting") + count("overflowed");
    let (taken, replayed) = (count("accepted"), count("replayed"));
    let is_offered = taken + refused + replayed > 0;
    is_offered.then(|| format!("{taken} taken, {refused} refused, {replayed} replayed"))
}

/// One word when it is the same at every address.
fn congestion(listeners: &Json) -> Option<String> {
    let of = |listener: &Json| {
        let algorithm = listener["algorithm"].as_str().unwrap_or_default();
        match listener["initial_window_bytes"].as_u64() {
            Some(window) => format!("{algorithm} from {window} bytes"),
            None => algorithm.to_owned(),
        }
    };
    let listeners = listeners.as_array()?;
    let first = of(listeners.first()?);
    if listeners.iter().all(|listener| of(listener) == first) {
        return Some(first);
    }
    let each = listeners.iter().map(|listener| {
        format!("{} on {}", of(listener), listener["address"].as_str().unwrap_or_default())
    });
    Some(each.collect::<Vec<_>>().join(", "))
}

pub(super) fn list(value: &Json) -> String {
    let items = value.as_array().into_iter().flatten().filter_map(Json::as_str);
    items.collect::<Vec<_>>().join(", ")
}

/// A number of seconds in its largest unit.
pub(super) fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as usize;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => counted(seconds / 86_400, "day"),
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn congestion_control_is_one_word_unless_addresses_differ() {
        let at = |address: &str, algorithm: &str, window: Option<u64>| serde_json::json!({ "address": address, "algorithm": algorithm, "initial_window_bytes": window });
        let table = [
            (vec![], None),
            (vec![at("[::1]:1", "bbr", None), at("127.0.0.1:1", "bbr", None)], Some("bbr")),
            (
                vec![at("[::1]:1", "bbr", None), at("127.0.0.1:1", "cubic", Some(32_768))],
                Some("bbr on [::1]:1, cubic from 32768 bytes on 127.0.0.1:1"),
            ),
        ];
        for (listeners, told) in table {
            assert_eq!(congestion(&listeners.into()).as_deref(), told);
        }
    }

    #[test]
    fn early_data_is_told_of_once_there_was_any() {
        let quic = serde_json::json!({ "early_data_accepted": 0, "early_data_rejected": 0 });
        assert_eq!(early_data(&quic), None);
        let quic = serde_json::json!({
            "early_data_accepted": 5, "early_data_rejected": 1, "early_data_waiting": 2,
            "early_data_overflowed": 3, "early_data_replayed": 4,
        });
        assert_eq!(early_data(&quic).as_deref(), Some("5 taken, 6 refused, 4 replayed"));
    }

    #[test]
    fn a_span_has_the_unit_that_a_person_would_take() {
        let table = [
            (0.0, "0 s"),
            (119.9, "119 s"),
            (120.0, "2 min"),
            (7200.0, "2 h"),
            (172_800.0, "2 days"),
        ];
        for (seconds, text) in table {
            assert_eq!(span(seconds), text);
        }
    }
}
