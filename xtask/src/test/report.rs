//! What the steps counted, and the table at the end.

use std::fmt::{Display, Write as _};
use std::ops::AddAssign;
use std::time::{Duration, Instant};

/// What one step counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// What failed, and how to go on.
    pub(crate) failures: Vec<String>,
    /// What was not run, and why.
    pub(crate) notes: Vec<String>,
}

impl Tally {
    pub(crate) const PASSED: Self =
        Self { passed: 1, failed: 0, skipped: 0, failures: Vec::new(), notes: Vec::new() };

    pub(crate) fn failed(why: impl Display) -> Self {
        Self { failed: 1, failures: vec![why.to_string()], ..Self::default() }
    }

    pub(crate) fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
        self.notes.extend(other.notes);
    }
}

/// All steps so far.
#[derive(Default)]
pub(super) struct Report {
    rows: Vec<(&'static str, Duration, Tally)>,
}

impl Report {
    /// Runs a step, and keeps its time and its tally.
    pub(super) fn take(&mut self, name: &'static str, step: impl FnOnce() -> Tally) {
        let start = Instant::now();
        let tally = step();
        for failure in &tally.failures {
            println!("failed: {failure}");
        }
        self.rows.push((name, start.elapsed(), tally));
    }

    pub(super) fn has_failed(&self) -> bool {
        self.rows.iter().any(|(_, _, tally)| tally.failed > 0)
    }

    /// Failures and notes, one line for each step, and last the sum.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        let mut total = Tally::default();
        let mut time = Duration::ZERO;
        for (_, took, tally) in &self.rows {
            total += tally.clone();
            time += *took;
        }
        for failure in &total.failures {
            // The rest was printed when the step ended.
            let _ = writeln!(text, "failed: {}", failure.lines().next().unwrap_or_default());
        }
        for note in &total.notes {
            let _ = writeln!(text, "note: {note}");
        }
        let _ = writeln!(
            text,
            "{:<12} {:>8} {:>8} {:>8} {:>8}",
            "step", "time", "passed", "failed", "skipped"
        );
        for (name, took, tally) in &self.rows {
            let Tally { passed, failed, skipped, .. } = tally;
            let _ = writeln!(
                text,
                "{name:<12} {:>6} s {passed:>8} {failed:>8} {skipped:>8}",
                took.as_secs()
            );
        }
        let Tally { passed, failed, skipped, .. } = total;
        let _ = writeln!(text, "{:<12} {:>6} s", "all", time.as_secs());
        let _ = writeln!(text, "total: {passed} passed, {failed} failed, {skipped} skipped");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_sums_up_and_nothing_skipped_is_silent() {
        let mut report = Report::default();
        report.take("fmt", || Tally::PASSED);
        report.take("e2e", || Tally { passed: 5, skipped: 1, ..Tally::failed("one broke") });
        report.take("deny", || {
            let mut tally = Tally::PASSED;
            tally.note("no advisories");
            tally
        });
        assert!(report.has_failed());
        assert_eq!(
            report.table(),
            "failed: one broke\n\
             note: no advisories\n\
             step             time   passed   failed  skipped\n\
             fmt               0 s        1        0        0\n\
             e2e               0 s        5        1        1\n\
             deny              0 s        1        0        0\n\
             all               0 s\n\
             total: 7 passed, 1 failed, 1 skipped\n"
        );
    }
}
