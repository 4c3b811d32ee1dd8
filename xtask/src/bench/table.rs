//! Medians, ratios, and how they are shown and kept.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use serde_json::{Value, json};

use super::case::{Case, Sample};
use super::contender::Contender;

/// One case and what each contender made of it; the first is ours.
pub(crate) struct Row {
    case: Case,
    results: Vec<Measured>,
}

/// What one contender did in all rounds.
struct Measured {
    name: &'static str,
    /// In rising order; never empty.
    figures: Vec<f64>,
    reports: Vec<Value>,
}

impl Row {
    /// `samples` in the order of `contenders`.
    pub(crate) fn new(case: Case, contenders: &[Contender], samples: Vec<Vec<Sample>>) -> Self {
        let results = contenders.iter().zip(samples).map(|(contender, samples)| {
            let mut figures: Vec<f64> = samples.iter().map(|sample| sample.figure).collect();
            figures.sort_by(f64::total_cmp);
            let reports = samples.into_iter().map(|sample| sample.report).collect();
            Measured { name: contender.name, figures, reports }
        });
        Self { case, results: results.collect() }
    }

    /// Writes `CASE.json` into `directory`.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<()> {
        let results: Vec<Value> = self.results.iter().map(Measured::json).collect();
        let value = json!({
            "case": self.case.to_string(), "unit": self.case.unit(), "results": results
        });
        fs::write(directory.join(format!("{}.json", self.case)), format!("{value:#}\n"))
    }
}

impl Measured {
    /// The middle figure, or of an even number the better of the middle two.
    fn median(&self) -> f64 {
        self.figures[(self.figures.len() - 1) / 2]
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "median": self.median(),
            "figures": self.figures, "reports": self.reports
        })
    }

    /// Median and spread, with as many digits as the noise leaves.
    fn text(&self) -> String {
        let digits = if self.median() < 10.0 { 3 } else { 1 };
        let (low, high) = (self.figures[0], self.figures[self.figures.len() - 1]);
        format!("{:.digits$} ({low:.digits$}–{high:.digits$})", self.median())
    }
}

/// All cases as one table: a line for each peer.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut text =
        String::from("| case | unit | this | peer | | ratio |\n|---|---|---|---|---|---|\n");
    for row in rows {
        let Some((this, peers)) = row.results.split_first() else { continue };
        for peer in peers {
            let ratio = this.median() / peer.median();
            let (case, unit) = (row.case, row.case.unit());
            let (ours, theirs, name) = (this.text(), peer.text(), peer.name);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "| {case} | {unit} | {ours} | {theirs} | {name} | {ratio:.2} |");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &'static str, figures: &[f64]) -> Measured {
        Measured { name, figures: figures.to_vec(), reports: Vec::new() }
    }

    #[test]
    fn a_line_shows_medians_spreads_and_their_ratio() {
        let results = vec![outcome("sterna", &[0.3, 0.4, 0.9]), outcome("peer", &[0.7, 0.8, 1.0])];
        let row = Row { case: Case::Bulk, results };
        let line = "| h3-bulk | CPU s per GiB | 0.400 (0.300–0.900) | 0.800 (0.700–1.000) | peer | 0.50 |\n";
        assert_eq!(render(&[row]).lines().nth(2), Some(line.trim_end()));
    }

    #[test]
    fn two_figures_have_the_lower_as_median() {
        assert_eq!(outcome("peer", &[1.0, 2.0]).median().to_bits(), 1.0_f64.to_bits());
    }
}
