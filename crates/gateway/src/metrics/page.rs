//! The text that Prometheus reads (exposition format 0.0.4).

use std::fmt::Write;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is at this moment.
    Gauge,
    /// How often a value was below each of some bounds.
    Histogram,
}

/// A page of metrics, family by family.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    name: String,
}

impl Page {
    /// Begins a family: samples belong to the last one.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        name.clone_into(&mut self.name);
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', r"\\").replace('\n', " ");
        // Writing to a `String` does not fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// Adds a value. `suffix` is that of a part of a histogram.
    pub fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let (text, name) = (&mut self.text, &self.name);
        let _ = write!(text, "{name}{suffix}");
        for (i, (label, value)) in labels.iter().enumerate() {
            text.push(if i == 0 { '{' } else { ',' });
            let _ = write!(text, "{label}=\"");
            for c in value.chars() {
                match c {
                    '\\' => text.push_str(r"\\"),
                    '"' => text.push_str(r#"\""#),
                    '\n' => text.push_str(r"\n"),
                    c => text.push(c),
                }
            }
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        let _ = writeln!(text, " {value}");
    }

    /// A family of one value without labels.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample("", &[], value);
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// Its media type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_end_its_line_or_its_quotes() {
        let mut page = Page::default();
        page.family("a_total", Kind::Counter, "Two\nlines.");
        page.sample("", &[("route", "/\"x\\\n"), ("b", "c")], 2.0);
        page.single("b", Kind::Gauge, "B.", 0.5);
        assert_eq!(
            page.into_text(),
            "# HELP a_total Two lines.\n# TYPE a_total counter\n\
             a_total{route=\"/\\\"x\\\\\\n\",b=\"c\"} 2\n\
             # HELP b B.\n# TYPE b gauge\nb 0.5\n"
        );
    }
}
