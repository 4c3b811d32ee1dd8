//! What a run must keep: `p99<20ms,errors<0.1%,rate>1000`, and not to be worse than an earlier one.

use std::{str::FromStr, time::Duration};

use serde_json::{Value, json};

use super::{Latency, Mode, Outcome};

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    text: String,
    metric: Metric,
    is_below: bool,
    bound: f64,
}

/// Whether a condition was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The condition.
    pub text: String,
    /// What was measured, in its unit.
    pub found: String,
    /// It was kept.
    pub is_kept: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Metric {
    /// In nanoseconds.
    Latency { of: Series, figure: Figure },
    /// Share of failures, from 0 to 1.
    Errors,
    /// Per second.
    Rate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Series {
    /// What counts for the mode and the pace.
    Main,
    Service,
    Response,
    FirstByte,
    Handshake,
    FirstEvent,
    Pause,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    Quantile(f64),
    Mean,
    Max,
}

/// Why a text is no threshold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a condition such as `p99<20ms`, `errors<0.1%` or `rate>1000`")]
pub struct NotAThreshold(String);

impl Threshold {
    /// Several, with commas between.
    ///
    /// # Errors
    /// The first that is none.
    pub fn list(text: &str) -> Result<Vec<Self>, NotAThreshold> {
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::parse).collect()
    }

    /// Whether a run has kept it. What was not measured is not kept.
    pub fn judge(&self, outcome: &Outcome) -> Verdict {
        let found = match &self.metric {
            Metric::Errors => Some(outcome.error_rate()),
            Metric::Rate => Some(outcome.rate()),
            Metric::Latency { of, figure } => {
                let latency = of.of(outcome);
                (latency.count() > 0).then(|| figure.of(latency).as_nanos() as f64)
            }
        };
        let is_kept =
            found.is_some_and(
                |found| {
                    if self.is_below { found < self.bound } else { found > self.bound }
                },
            );
        let found = match (&self.metric, found) {
            (_, None) => "not measured".to_owned(),
            (Metric::Errors, Some(share)) => format!("{:.3}%", share * 100.0),
            (Metric::Rate, Some(rate)) => format!("{rate:.1}"),
            (Metric::Latency { .. }, Some(nanos)) => {
                format!("{:?}", Duration::from_nanos(nanos as u64))
            }
        };
        Verdict { text: self.text.clone(), found, is_kept }
    }
}

impl Verdict {
    pub(super) fn to_json(&self) -> Value {
        json!({ "condition": self.text, "found": self.found, "kept": self.is_kept })
    }
}

impl FromStr for Threshold {
    type Err = NotAThreshold;

    fn from_str(text: &str) -> Result<Self, NotAThreshold> {
        let refuse = || NotAThreshold(text.to_owned());
        let at = text.find(['<', '>']).ok_or_else(refuse)?;
        let (name, rest) = text.split_at(at);
        let is_below = rest.starts_with('<');
        let bound = rest[1..].trim();
        let metric = Metric::named(name.trim()).ok_or_else(refuse)?;
        let bound = match metric {
            Metric::Errors => number(bound, "%").map(|percent| percent / 100.0),
            Metric::Rate => number(bound.strip_suffix("/s").unwrap_or(bound), ""),
            Metric::Latency { .. } => nanos(bound),
        };
        let bound = bound.ok_or_else(refuse)?;
        Ok(Self { text: text.to_owned(), metric, is_below, bound })
    }
}

impl Metric {
    fn named(name: &str) -> Option<Self> {
        match name {
            "errors" => return Some(Self::Errors),
            "rate" => return Some(Self::Rate),
            _ => {}
        }
        let (of, figure) = name.split_once('.').unwrap_or(("", name));
        // `p99.9` has a point that is none of these.
        let (of, figure) = match Series::named(of) {
            Some(series) => (series, figure),
            None => (Series::Main, name),
        };
        let figure = match figure {
            "mean" => Figure::Mean,
            "max" => Figure::Max,
            figure => {
                let percent = number(figure.strip_prefix('p')?, "")?;
                Figure::Quantile((percent <= 100.0).then_some(percent / 100.0)?)
            }
        };
        Some(Self::Latency { of, figure })
    }
}

impl Series {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "service" => Self::Service,
            "response" => Self::Response,
            "first_byte" => Self::FirstByte,
            "handshake" => Self::Handshake,
            "first_event" => Self::FirstEvent,
            "pause" => Self::Pause,
            _ => return None,
        })
    }

    fn of(self, outcome: &Outcome) -> &Latency {
        let tally = &outcome.tally;
        match self {
            Self::Main => outcome.latency(),
            Self::Service => &tally.service,
            Self::Response => &tally.response,
            Self::FirstByte => &tally.first_byte,
            Self::Handshake => &tally.handshake,
            Self::FirstEvent => &tally.events.first,
            Self::Pause => &tally.events.pause,
        }
    }
}

impl Figure {
    fn of(self, latency: &Latency) -> Duration {
        match self {
            Self::Quantile(quantile) => latency.quantile(quantile),
            Self::Mean => latency.mean(),
            Self::Max => latency.max(),
        }
    }
}

/// An earlier report to compare with.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline(Value);

/// Why a report is no baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no report of `sterna load --json`: its schema is not sterna.load/1")]
pub struct NotABaseline;

impl Baseline {
    /// A report as [`Outcome::to_json`] made it.
    ///
    /// # Errors
    /// [`NotABaseline`].
    pub fn of_json(report: Value) -> Result<Self, NotABaseline> {
        if report["schema"] == super::report::SCHEMA { Ok(Self(report)) } else { Err(NotABaseline) }
    }
}

impl Outcome {
    /// Judges it by conditions; the verdicts become part of it.
    pub fn judge(&mut self, thresholds: &[Threshold]) {
        let verdicts: Vec<_> = thresholds.iter().map(|threshold| threshold.judge(self)).collect();
        self.verdicts.extend(verdicts);
    }

    /// Judges whether it is as good as an earlier run: rate, median and p99, each within `allowed` (a share, such as 0.1),
    /// and errors within a tenth of a percent. The verdicts become part of it.
    pub fn compare_with(&mut self, Baseline(before): &Baseline, allowed: f64) {
        let now = self.to_json();
        let main = self.latency_name();
        let counted = match self.plan.mode {
            Mode::Handshakes => "handshakes",
            Mode::Requests | Mode::Events(_) => "requests",
        };
        for (name, path, is_more_better) in [
            ("rate", &[counted, "done_per_second"][..], true),
            ("p50", &["latency_ns", main, "p50"], false),
            ("p99", &["latency_ns", main, "p99"], false),
        ] {
            let read = |report: &Value| path.iter().fold(report, |at, key| &at[key]).as_f64();
            let (Some(before), Some(found)) = (read(before), read(&now)) else { continue };
            let change = if before > 0.0 { found / before - 1.0 } else { 0.0 };
            let is_kept = if is_more_better { change > -allowed } else { change < allowed };
            let text = format!("{name} within {:.0}% of the baseline", allowed * 100.0);
            let found = format!("{:+.1}%", change * 100.0);
            self.verdicts.push(Verdict { text, found, is_kept });
        }
        if let Some(before) = before["error_share"].as_f64() {
            let more = self.error_rate() - before;
            let text = "errors within 0.1% of the baseline".to_owned();
            let found = format!("{:+.3}%", more * 100.0);
            self.verdicts.push(Verdict { text, found, is_kept: more < 0.001 });
        }
    }
}

fn number(text: &str, unit: &str) -> Option<f64> {
    let number = text.strip_suffix(unit)?.trim_end().parse::<f64>().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

fn nanos(text: &str) -> Option<f64> {
    // Longer units first: `ms` ends in `s`.
    let units = [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];
    let (unit, factor) = units.iter().find(|(unit, _)| text.ends_with(unit))?;
    number(text, unit).map(|number| number * factor)
}

#[cfg(test)]
mod tests;
