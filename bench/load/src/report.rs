//! What a run found, and its JSON.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::session::Failure;

/// Counts of one phase; the sessions add to it.
pub(crate) struct Tally {
    /// Requests not yet sent by any session.
    pub(crate) budget: u64,
    pub(crate) done: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    latency: Histogram<u32>,
}

impl Tally {
    pub(crate) fn new(budget: u64) -> Self {
        Self {
            budget,
            done: 0,
            errors: 0,
            first_error: None,
            latency: Histogram::new_with_max(LONGEST, 3).expect("bounds and figures are allowed"),
        }
    }

    pub(crate) fn on_response(&mut self, latency: Duration) {
        self.done += 1;
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency.saturating_record(micros);
    }

    pub(crate) fn on_failure(&mut self, failure: &Failure) {
        self.on_failures(1, failure);
    }

    pub(crate) fn on_failures(&mut self, count: u64, failure: &Failure) {
        self.errors += count;
        self.first_error.get_or_insert_with(|| failure.to_string());
    }

    pub(crate) fn quantile(&self, quantile: f64) -> u64 {
        self.latency.value_at_quantile(quantile)
    }
}

/// The result of a command; units are in the names, since JSON has none.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    pub(crate) connections: usize,
    pub(crate) requests: u64,
    pub(crate) body_bytes: u64,
    pub(crate) errors: u64,
    pub(crate) unfinished: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_error: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_cpu_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_rss_before_kib: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_rss_after_kib: Option<u64>,
}

impl Report {
    pub(crate) fn is_clean(&self) -> bool {
        self.errors == 0 && self.unfinished == 0
    }

    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("a report has string keys only")
    }
}

/// An hour, in microseconds: far above any time limit.
const LONGEST: u64 = 3_600_000_000;
