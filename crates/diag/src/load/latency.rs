//! Histograms of durations: HdrHistogram in nanoseconds, three significant figures.

use std::{io, time::Duration};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Durations that were seen.
///
/// From a microsecond to a minute, in three significant figures: what is shorter or longer counts as the bound.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
}

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(SHORTEST, LONGEST, FIGURES);
        Self { histogram: histogram.expect("the bounds are in order and the figures allowed") }
    }
}

impl Latency {
    /// One more.
    pub fn record(&mut self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(nanos.clamp(SHORTEST, LONGEST));
    }

    /// All of another.
    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("both have the same bounds");
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The duration that a share of all does not exceed; `quantile` from 0 to 1.
    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.histogram.value_at_quantile(quantile))
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.histogram.max())
    }

    /// Their mean.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.histogram.mean() as u64)
    }

    /// Figures in nanoseconds; null when there are none.
    pub(super) fn to_json(&self) -> Value {
        if self.count() == 0 {
            return Value::Null;
        }
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let mut json = json!({
            "count": self.count(),
            "min": self.histogram.min(),
            "mean": nanos(self.mean()),
            "stdev": self.histogram.stdev() as u64,
            "max": nanos(self.max()),
        });
        for (name, quantile) in QUANTILES {
            json[name] = nanos(self.quantile(quantile)).into();
        }
        json
    }

    /// The percentile distribution in the text form that plotters of HdrHistogram read, values in milliseconds.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_hgrm(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let millis = |nanos: f64| nanos / 1e6;
        let total = self.count();
        writeln!(
            out,
            "{:>12} {:>14} {:>10} {:>14}\n",
            "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
        )?;
        let mut count = 0;
        for step in self.histogram.iter_quantiles(TICKS) {
            let (value, quantile) = (millis(step.value_iterated_to() as f64), step.quantile());
            count += step.count_since_last_iteration();
            if quantile < 1.0 {
                let inverse = 1.0 / (1.0 - quantile);
                writeln!(out, "{value:12.3} {quantile:2.12} {count:10} {inverse:14.2}")?;
            } else {
                writeln!(out, "{value:12.3} {quantile:2.12} {count:10}")?;
            }
        }
        let (mean, stdev) = (millis(self.histogram.mean()), millis(self.histogram.stdev()));
        writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {stdev:12.3}]")?;
        let max = millis(self.histogram.max() as f64);
        writeln!(out, "#[Max     = {max:12.3}, Total count    = {total:12}]")?;
        let distinct = self.histogram.buckets();
        writeln!(out, "#[Buckets = {distinct:12}, SubBuckets     = {SUB_BUCKETS:12}]")
    }
}

/// The quantiles of reports, and their names.
pub(super) const QUANTILES: [(&str, f64); 6] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99_9", 0.999),
    ("p99_99", 0.9999),
];

/// In nanoseconds.
const SHORTEST: u64 = 1_000;
const LONGEST: u64 = 60_000_000_000;

/// Significant decimal figures.
const FIGURES: u8 = 3;

/// What three figures take.
const SUB_BUCKETS: u32 = 2048;

/// Lines for each halving of the distance to 100 %.
const TICKS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_has_what_both_had() {
        let (mut one, mut other) = (Latency::default(), Latency::default());
        one.record(Duration::from_millis(1));
        other.record(Duration::from_millis(3));
        one.merge(&other);
        assert_eq!(one.count(), 2);
        assert_eq!(one.max().as_millis(), 3);
        assert!((one.mean().as_secs_f64() - 0.002).abs() < 0.000_01, "{:?}", one.mean());
    }

    #[test]
    fn what_is_beyond_the_bounds_counts_as_the_bound() {
        let mut latency = Latency::default();
        latency.record(Duration::ZERO);
        latency.record(Duration::from_secs(3600));
        assert_eq!(latency.count(), 2);
        assert_eq!(latency.max().as_secs(), 60);
        assert!(latency.quantile(0.0) <= Duration::from_micros(2));
    }

    #[test]
    fn the_distribution_as_text_ends_at_the_whole() {
        let mut latency = Latency::default();
        (1..=1000).for_each(|millis| latency.record(Duration::from_millis(millis)));
        let mut text = Vec::new();
        latency.write_hgrm(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let whole = text.lines().find(|line| line.contains("1.000000000000")).unwrap();
        assert!(whole.trim_start().starts_with("1000."), "{whole}");
        assert!(text.contains("Total count    =         1000"), "{text}");
    }
}
