//! A measured value, in the line that a test prints of it: `figure: NAME VALUE UNIT bar BAR`.

/// As a test has said it; whether the bar is met is the test's to assert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) unit: String,
    pub(super) bar: String,
}

impl Figure {
    /// Of a line of pytest, which may have written the name of the file before it.
    pub(super) fn read(line: &str) -> Option<Self> {
        let (_, said) = line.split_once("figure: ")?;
        let (measured, bar) = said.split_once(" bar ")?;
        let mut words = measured.split_whitespace();
        let (name, value, unit) = (words.next()?, words.next()?, words.next()?);
        // What is no number is no measurement.
        value.parse::<f64>().ok().filter(|value| value.is_finite())?;
        let whole = words.next().is_none() && !bar.trim().is_empty();
        whole.then(|| Self {
            name: name.into(),
            value: value.into(),
            unit: unit.into(),
            bar: bar.trim().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_read_wherever_it_stands_in_a_line() {
        let expected = Figure {
            name: "rss-growth".into(),
            value: "3.4".into(),
            unit: "MiB".into(),
            bar: "<= 32".into(),
        };
        for line in [
            "figure: rss-growth 3.4 MiB bar <= 32",
            "test_memory.py figure: rss-growth 3.4 MiB bar <= 32\r",
        ] {
            assert_eq!(Figure::read(line), Some(expected.clone()), "{line}");
        }
    }

    #[test]
    fn a_line_that_is_not_whole_is_no_figure() {
        for line in [
            "",
            "60 rebinds, none hung",
            "figure: rss-growth",
            "figure: rss-growth 3.4 MiB",
            "figure: rss-growth 3.4 MiB bar ",
            "figure: rss-growth much MiB bar <= 32",
            "figure: rss-growth nan MiB bar <= 32",
            "figure: rss growth 3.4 MiB bar <= 32",
        ] {
            assert_eq!(Figure::read(line), None, "{line}");
        }
    }
}
