//! A flame graph as SVG: where the time of processors went. Callers are above what they call; a box is as wide as its
//! share of all samples.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Samples, added up by their stacks.
#[derive(Debug, Default)]
pub(super) struct Flame {
    count: u64,
    below: BTreeMap<String, Flame>,
}

impl Flame {
    /// Adds a stack, outermost first.
    pub(super) fn add(&mut self, stack: impl IntoIterator<Item = String>, count: u64) {
        self.count += count;
        let mut node = self;
        for frame in stack.into_iter().take(MAX_DEPTH) {
            node = node.below.entry(frame).or_default();
            node.count += count;
        }
    }

    fn depth(&self) -> usize {
        1 + self.below.values().map(Self::depth).max().unwrap_or(0)
    }

    /// Draws it.
    pub(super) fn to_svg(&self, title: &str) -> String {
        let height = (self.depth() as f64 + 2.0) * ROW;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" font-family=\"monospace\" font-size=\"11\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"4\" y=\"13\">{}</text>\n",
            escaped(title)
        );
        self.draw("all", 0.0, WIDTH, 1, self.count, &mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn draw(&self, name: &str, x: f64, width: f64, row: usize, all: u64, svg: &mut String) {
        if width < NARROWEST {
            return;
        }
        let (y, share) = (row as f64 * ROW, 100.0 * self.count as f64 / all.max(1) as f64);
        let name_shown = escaped(name);
        // Writing to a `String` does not fail.
        let _ = write!(
            svg,
            "<g><title>{name_shown}: {} samples, {share:.1} %</title>\
             <rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{}\" rx=\"1\"/>",
            self.count,
            ROW - 1.0,
            colour(name),
        );
        let letters = ((width - 6.0) / LETTER) as usize;
        if letters >= 3 {
            let text: String = match name.chars().count() <= letters {
                true => name.to_owned(),
                false => name.chars().take(letters - 1).chain(['…']).collect(),
            };
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\">{}</text>",
                x + 3.0,
                y + 12.0,
                escaped(&text)
            );
        }
        svg.push_str("</g>\n");
        let mut at = x;
        for (name, below) in &self.below {
            let share = width * below.count as f64 / self.count.max(1) as f64;
            below.draw(name, at, share, row + 1, all, svg);
            at += share;
        }
    }
}

/// By the name, so that a function has the same in every picture.
fn colour(name: &str) -> String {
    let hash = name.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte));
    format!("hsl({},75%,{}%)", 15 + hash % 40, 62 + hash / 64 % 16)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const WIDTH: f64 = 1400.0;
const ROW: f64 = 16.0;
const LETTER: f64 = 6.7;

/// What is narrower is not seen.
const NARROWEST: f64 = 0.4;

/// A stack that is deeper is cut.
const MAX_DEPTH: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_as_wide_as_their_share_and_names_cannot_leave_their_text() {
        let mut flame = Flame::default();
        flame.add(["a<b>".to_owned(), "c".to_owned()], 3);
        flame.add(["a<b>".to_owned()], 1);
        flame.add(["d".to_owned()], 4);
        let svg = flame.to_svg("a & b");
        assert!(svg.contains("<title>a&lt;b&gt;: 4 samples, 50.0 %</title><rect x=\"0.0\" y=\"32\" width=\"700.0\""), "{svg}");
        assert!(
            svg.contains(
                "<title>c: 3 samples, 37.5 %</title><rect x=\"0.0\" y=\"48\" width=\"525.0\""
            ),
            "{svg}"
        );
        assert!(
            svg.contains("<title>d: 4 samples, 50.0 %</title><rect x=\"700.0\" y=\"32\""),
            "{svg}"
        );
        assert!(svg.contains("a &amp; b") && !svg.contains("<b>"));
    }

    #[test]
    fn a_stack_of_any_depth_is_drawn() {
        let mut flame = Flame::default();
        flame.add((0..10_000).map(|depth| depth.to_string()), 1);
        assert_eq!(flame.depth(), MAX_DEPTH + 1);
        assert!(flame.to_svg("deep").ends_with("</svg>\n"));
    }

    #[test]
    fn no_sample_at_all_is_a_picture_too() {
        assert!(Flame::default().to_svg("idle").contains("all: 0 samples, 0.0 %"));
    }
}
