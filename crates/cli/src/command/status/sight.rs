//! What two answers of a server say together: rates, and how long requests took between them.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value as Json;

/// The versions of HTTP, as the server's answer names them, with the counter of each.
pub(super) const VERSIONS: [(&str, &str); 3] =
    [("HTTP/1.1", "http1_requests"), ("HTTP/2", "http2_requests"), ("HTTP/3", "http3_requests")];

/// A server, watched.
#[derive(Debug, Default)]
pub(super) struct Sight {
    before: Option<(f64, Json)>,
    /// The last answer.
    pub(super) status: Json,
    pub(super) connections: Json,
    pub(super) backends: Json,
    /// Requests per second of each version, the newest last.
    pub(super) rates: [VecDeque<u64>; 3],
    /// How long requests took since the answer before: the bound under which half of them and 99 of 100 are, in seconds.
    pub(super) latency: BTreeMap<&'static str, (Option<f64>, Option<f64>)>,
    /// The share of one processor.
    pub(super) cpu: f64,
    /// Bytes per second over QUIC: received and sent.
    pub(super) quic_bytes: (f64, f64),
    /// Packets lost over QUIC, of those sent since the answer before.
    pub(super) loss: Option<f64>,
}

impl Sight {
    /// Takes in an answer that came at `now`, in seconds.
    pub(super) fn see(&mut self, now: f64, status: Json, connections: Json) {
        if let Some((then, before)) = &self.before {
            let elapsed = (now - then).max(1e-3);
            // A server that was restarted counts from zero again.
            let since = |path: &[&str]| (number(&status, path) - number(before, path)).max(0.0);
            for ((_, counter), rates) in VERSIONS.iter().zip(&mut self.rates) {
                rates.push_back((since(&["counters", counter]) / elapsed).round() as u64);
                if rates.len() > HISTORY {
                    rates.pop_front();
                }
            }
            self.cpu = since(&["process", "cpu_seconds"]) / elapsed;
            self.quic_bytes = (
                since(&["quic", "bytes_received"]) / elapsed,
                since(&["quic", "bytes_sent"]) / elapsed,
            );
            let sent = since(&["quic", "packets_sent"]);
            self.loss = (sent > 0.0).then(|| since(&["quic", "packets_lost"]) / sent);
            for (version, _) in VERSIONS {
                self.latency.insert(version, latency(before, &status, version));
            }
        }
        self.before = Some((now, status.clone()));
        (self.status, self.connections) = (status, connections);
    }
}

/// A number deep in an answer; zero when it is not there.
pub(super) fn number(json: &Json, path: &[&str]) -> f64 {
    let found = path.iter().try_fold(json, |json, key| json.get(key));
    found.and_then(Json::as_f64).unwrap_or(0.0)
}

fn latency(before: &Json, after: &Json, version: &str) -> (Option<f64>, Option<f64>) {
    let counts = |json: &Json| -> Vec<u64> {
        let counts = json["durations"]["requests"][version].as_array();
        counts.into_iter().flatten().map(|count| count.as_u64().unwrap_or(0)).collect()
    };
    let before = counts(before);
    let new: Vec<u64> = counts(after)
        .iter()
        .enumerate()
        .map(|(i, count)| count.saturating_sub(before.get(i).copied().unwrap_or(0)))
        .collect();
    let bounds = after["durations"]["bounds_seconds"].as_array();
    let bounds: Vec<f64> = bounds.into_iter().flatten().filter_map(Json::as_f64).collect();
    (quantile(&new, &bounds, 0.5), quantile(&new, &bounds, 0.99))
}

/// The bound below which this share of all lies; infinite beyond the last.
fn quantile(counts: &[u64], bounds: &[f64], share: f64) -> Option<f64> {
    let all: u64 = counts.iter().sum();
    let wanted = (all as f64 * share).ceil() as u64;
    let mut below = 0;
    let at = counts.iter().position(|count| {
        below += count;
        below >= wanted
    })?;
    (all > 0).then(|| bounds.get(at).copied().unwrap_or(f64::INFINITY))
}

/// Rates that are kept.
const HISTORY: usize = 120;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(requests: u64, counts: [u64; 3]) -> Json {
        json!({
            "counters": { "http3_requests": requests },
            "durations": { "bounds_seconds": [0.001, 0.01], "requests": { "HTTP/3": counts } },
        })
    }

    #[test]
    fn rates_and_latency_are_of_what_happened_between_two_answers() {
        let mut sight = Sight::default();
        sight.see(0.0, status(1000, [900, 100, 0]), Json::Null);
        assert!(sight.rates[2].is_empty());
        sight.see(2.0, status(1100, [950, 148, 2]), Json::Null);
        assert_eq!(sight.rates[2], [50]);
        assert_eq!(sight.latency["HTTP/3"], (Some(0.001), Some(f64::INFINITY)));
        sight.see(3.0, status(1100, [950, 148, 2]), Json::Null);
        assert_eq!(sight.latency["HTTP/3"], (None, None), "nothing happened");
    }

    #[test]
    fn a_server_that_was_restarted_has_no_negative_rate() {
        let mut sight = Sight::default();
        sight.see(0.0, status(1000, [0, 0, 0]), Json::Null);
        sight.see(1.0, status(3, [0, 0, 0]), Json::Null);
        assert_eq!(sight.rates[2], [0]);
    }

    #[test]
    fn no_more_is_kept_than_is_shown() {
        let mut sight = Sight::default();
        for second in 0..500 {
            sight.see(f64::from(second), status(0, [0, 0, 0]), Json::Null);
        }
        assert_eq!(sight.rates[2].len(), HISTORY);
    }
}
