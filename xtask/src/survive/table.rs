//! What the batteries have shown, as one table.

use std::fmt::{Display, Formatter, Result};
use std::time::Duration;

use super::figure::Figure;
use crate::test::Tally;

/// One battery that has been run.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) took: Duration,
    pub(super) tally: Tally,
    pub(super) figures: Vec<Figure>,
}

pub(super) struct Table {
    /// How many others wanted a processor when it began, in the mean of a minute, as the system tells it.
    load: Option<String>,
    pub(super) rows: Vec<Row>,
}

impl Table {
    pub(super) fn new() -> Self {
        let told = std::fs::read_to_string("/proc/loadavg").ok();
        let load = told.and_then(|told| told.split_whitespace().next().map(str::to_owned));
        Self { load, rows: Vec::new() }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.rows.iter().any(|row| row.tally.failed > 0)
    }
}

impl Display for Table {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        for failure in self.rows.iter().flat_map(|row| &row.tally.failures) {
            writeln!(out, "failed: {failure}")?;
        }
        let title = ["battery", "time", "passed", "failed", "figure", "value", "unit", "bar"];
        line(out, title)?;
        for row in &self.rows {
            write_row(out, row)?;
        }
        if let Some(load) = &self.load {
            writeln!(out, "load of the machine when it began: {load}")?;
        }
        let failed = self.rows.iter().filter(|row| row.tally.failed > 0).count();
        let passed = self.rows.len() - failed;
        let time: Duration = self.rows.iter().map(|row| row.took).sum();
        writeln!(out, "batteries: {passed} passed, {failed} failed, {} s", time.as_secs())
    }
}

fn write_row(out: &mut Formatter<'_>, row: &Row) -> Result {
    let time = format!("{} s", row.took.as_secs());
    let (passed, failed) = (row.tally.passed.to_string(), row.tally.failed.to_string());
    let mut begin = [row.name, &time, &passed, &failed];
    if row.figures.is_empty() {
        let [name, time, passed, failed] = begin;
        return line(out, [name, time, passed, failed, "", "", "", ""]);
    }
    for Figure { name, value, unit, bar } in &row.figures {
        let [battery, time, passed, failed] = begin;
        line(out, [battery, time, passed, failed, name, value, unit, bar])?;
        begin = [""; 4];
    }
    Ok(())
}

fn line(out: &mut Formatter<'_>, cells: [&str; 8]) -> Result {
    let [battery, time, passed, failed, figure, value, unit, bar] = cells;
    let text = format!(
        "{battery:<16}{time:>8}{passed:>8}{failed:>8}  {figure:<34}{value:>10} {unit:<9} {bar}"
    );
    writeln!(out, "{}", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_each_figure_and_ends_with_the_sum() {
        let figure = |line| Figure::read(line).unwrap();
        let flood = Row {
            name: "flood",
            took: Duration::from_secs(75),
            tally: Tally::PASSED,
            figures: vec![
                figure("figure: first-retry 17 ms bar <= 100"),
                figure("figure: rss-growth 3.4 MiB bar <= 32"),
            ],
        };
        let drain = Row {
            name: "drain",
            took: Duration::from_secs(5),
            tally: Tally::failed("test_drain.py::x"),
            figures: Vec::new(),
        };
        let table = Table { load: Some("0.10".into()), rows: vec![flood, drain] };
        assert!(table.has_failed());
        let expected = "\
failed: test_drain.py::x
battery             time  passed  failed  figure                                 value unit      bar
flood               75 s       1       0  first-retry                               17 ms        <= 100
                                          rss-growth                               3.4 MiB       <= 32
drain                5 s       0       1
load of the machine when it began: 0.10
batteries: 1 passed, 1 failed, 80 s
";
        assert_eq!(table.to_string(), expected);
    }
}
