//! What is wrong in a configuration, where, and how that is shown.

use std::fmt::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Where something is written: a file of [`Sources`] and a range of its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub(super) source: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Place {
    pub(super) fn new(source: usize, span: Range<usize>) -> Self {
        Self { source, start: span.start, end: span.end }
    }
}

/// The files of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
}

#[derive(Clone, Debug)]
struct Source {
    path: PathBuf,
    text: String,
}

impl Sources {
    pub(super) fn add(&mut self, path: PathBuf, text: String) -> usize {
        self.files.push(Source { path, text });
        self.files.len() - 1
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// A path as it is written in a file: relative to that file.
    pub(super) fn resolve(&self, source: usize, path: &Path) -> PathBuf {
        let directory = self.files.get(source).and_then(|file| file.path.parent());
        directory.map_or_else(|| path.to_owned(), |directory| directory.join(path))
    }

    /// `file:line`, for pointing from one place to another.
    pub(super) fn line_of(&self, place: &Place) -> String {
        match self.files.get(place.source) {
            Some(file) => format!("{}:{}", file.path.display(), file.position(place.start).line),
            None => "elsewhere".to_owned(),
        }
    }
}

/// Where a byte is for a person: both count from 1.
struct Position<'a> {
    line: usize,
    column: usize,
    /// The whole line.
    text: &'a str,
    /// The offset of its first byte.
    start: usize,
}

impl Source {
    fn position(&self, at: usize) -> Position<'_> {
        let at = (0..=at.min(self.text.len())).rev().find(|at| self.text.is_char_boundary(*at));
        let (before, after) = self.text.split_at(at.unwrap_or(0));
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = after.find('\n').map_or(self.text.len(), |end| before.len() + end);
        Position {
            line: 1 + before.matches('\n').count(),
            column: 1 + before[line_start..].chars().count(),
            text: self.text[line_start..line_end].trim_end(),
            start: line_start,
        }
    }
}

/// One mistake: what was read, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// The file is no TOML, or no JSON.
    #[error("{0}")]
    Syntax(String),
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// Which file.
        path: String,
        /// What the operating system said.
        reason: String,
    },
    /// A key that is none.
    #[error("unknown key `{}`", on_one_line(key))]
    UnknownKey {
        /// What was read.
        key: String,
        /// What could stand here.
        allowed: Vec<&'static str>,
    },
    /// A key that must be there is not.
    #[error("the key `{key}` is missing")]
    MissingKey {
        /// Which.
        key: &'static str,
    },
    /// A value of another type.
    #[error("expected {expected}, found {found}")]
    Type {
        /// What is allowed.
        expected: &'static str,
        /// What was read.
        found: &'static str,
    },
    /// A value that is none of a few.
    #[error("`{}` is not one of {}", on_one_line(read), quoted(allowed))]
    Choice {
        /// What was read.
        read: String,
        /// What could stand here.
        allowed: &'static [&'static str],
    },
    /// A number that is too small or too large.
    #[error("{read} is out of range: from {least} to {most}")]
    Range {
        /// What was read.
        read: i64,
        /// The smallest that is allowed.
        least: i64,
        /// The largest that is allowed.
        most: i64,
    },
    /// A text that cannot be read as what it should be.
    #[error("`{}` {reason}", on_one_line(read))]
    Value {
        /// What was read.
        read: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// A file that is named and cannot be used as what it should be.
    #[error("{0}")]
    Unusable(String),
    /// A certificate that cannot be shown.
    #[error("{reason}")]
    Certificate {
        /// Its file.
        file: PathBuf,
        /// What is wrong with it, or with its key.
        reason: String,
    },
    /// What is said in two places.
    #[error("{what} is already at {before}")]
    Twice {
        /// What.
        what: String,
        /// `file:line` of the first.
        before: String,
    },
    /// Things that cannot both be so, or one without the other.
    #[error("{what}")]
    Contradiction {
        /// What cannot be.
        what: String,
        /// What to do.
        help: &'static str,
    },
}

impl Mistake {
    /// What to do about it, where the message does not say.
    fn help(&self) -> Option<String> {
        match self {
            Self::UnknownKey { key, allowed } => Some(match similar(key, allowed) {
                Some(similar) => format!("did you mean `{similar}`?"),
                None => format!("allowed here: {}", quoted(allowed)),
            }),
            Self::Choice { read, allowed } => {
                similar(read, allowed).map(|similar| format!("did you mean `{similar}`?"))
            }
            Self::Contradiction { help, .. } => Some((*help).to_owned()),
            Self::Syntax(_)
            | Self::Unusable(_)
            | Self::Certificate { .. }
            | Self::Unreadable { .. }
            | Self::MissingKey { .. }
            | Self::Type { .. }
            | Self::Range { .. }
            | Self::Value { .. }
            | Self::Twice { .. } => None,
        }
    }
}

/// The word of `allowed` that `word` was probably meant to be.
fn similar(word: &str, allowed: &[&'static str]) -> Option<&'static str> {
    let lower = word.to_lowercase().replace('-', "_");
    let likeness =
        |known: &str| strsim::normalized_damerau_levenshtein(&lower, &known.to_lowercase());
    let best = allowed.iter().map(|known| (likeness(known), *known));
    let best = best.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= LIKENESS).then_some(best.1)
}

/// What was read, so that it cannot break the line or talk to a terminal.
fn on_one_line(read: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    read.chars().map(shown).collect()
}

fn quoted(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

/// Half of the letters right is a guess worth making.
const LIKENESS: f64 = 0.5;

/// Everything that is wrong, gathered while reading goes on.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    pub(super) sources: Sources,
    found: Vec<(Place, Mistake)>,
    /// Values that nobody is shown, whatever else is wrong in their lines.
    secrets: Vec<Place>,
}

impl Problems {
    pub(super) fn add(&mut self, place: &Place, mistake: Mistake) {
        self.found.push((place.clone(), mistake));
    }

    /// Shows stars in place of the value that is written there.
    pub(super) fn hide(&mut self, place: &Place) {
        self.secrets.push(place.clone());
    }

    pub(super) fn contradiction(&mut self, place: &Place, what: &str, help: &'static str) {
        self.add(place, Mistake::Contradiction { what: what.to_owned(), help });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The mistakes, in the order of files and lines.
    pub fn mistakes(&self) -> impl Iterator<Item = &Mistake> {
        self.sorted().into_iter().map(|(_, mistake)| mistake)
    }

    /// The files of certificates that cannot be shown, and why not.
    pub fn certificates(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.mistakes().filter_map(|mistake| match mistake {
            Mistake::Certificate { file, reason } => Some((file.as_path(), reason.as_str())),
            _ => None,
        })
    }

    /// Each as `file`, `line`, `column` and `message`, for programs.
    pub fn to_json(&self) -> serde_json::Value {
        let each = self.sorted().into_iter().map(|(place, mistake)| {
            let file = self.sources.files.get(place.source);
            let position = file.map(|file| file.position(place.start));
            serde_json::json!({
                "file": file.map(|file| file.path.display().to_string()),
                "line": position.as_ref().map(|position| position.line),
                "column": position.as_ref().map(|position| position.column),
                "message": mistake.to_string(),
                "help": mistake.help(),
            })
        });
        each.collect()
    }

    fn sorted(&self) -> Vec<&(Place, Mistake)> {
        let mut sorted: Vec<_> = self.found.iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        sorted.dedup();
        sorted
    }

    /// A line that begins at `start`, with stars for secrets: as many as there were letters, so that the caret is right.
    fn masked(&self, source: usize, start: usize, text: &str) -> String {
        let is_secret = |at: usize| {
            let hides =
                |place: &Place| place.source == source && (place.start..place.end).contains(&at);
            self.secrets.iter().any(hides)
        };
        // What no key has read, as after a mistake of syntax, is known by its look.
        let hashes: Vec<Range<usize>> = text
            .match_indices("$argon2")
            .map(|(at, _)| {
                let rest = text.get(at..).unwrap_or_default();
                at..at + rest.find(['"', '\'']).unwrap_or(rest.len())
            })
            .collect();
        let masked = |(at, letter): (usize, char)| {
            let is_hash = hashes.iter().any(|hash| hash.contains(&at));
            if is_hash || is_secret(start + at) { '*' } else { letter }
        };
        text.char_indices().map(masked).collect()
    }

    fn write(&self, f: &mut impl Write, place: &Place, mistake: &Mistake) -> fmt::Result {
        writeln!(f, "error: {mistake}")?;
        let Some(file) = self.sources.files.get(place.source) else { return Ok(()) };
        let Position { line, column, text, start } = file.position(place.start);
        writeln!(f, "  --> {}:{line}:{column}", file.path.display())?;
        if !text.is_empty() {
            let number = line.to_string();
            let margin = " ".repeat(number.len());
            let shown = file.text.get(place.start..place.end).unwrap_or_default();
            let width = shown.lines().next().unwrap_or_default().chars().count().max(1);
            let text = self.masked(place.source, start, text);
            // A tab is as wide as its terminal likes; one blank keeps the caret below its letter.
            writeln!(f, " {margin} |\n {number} | {}", on_one_line(&text.replace('\t', " ")))?;
            writeln!(f, " {margin} | {}{}", " ".repeat(column - 1), "^".repeat(width))?;
        }
        if let Some(help) = mistake.help() {
            writeln!(f, "  help: {help}")?;
        }
        Ok(())
    }
}

/// All of them, each with its line and a caret below what is wrong, separated by empty lines.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (place, mistake)) in self.sorted().into_iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            self.write(f, place, mistake)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_made_when_half_of_the_word_is_right() {
        let allowed = ["host", "root", "respond", "max_age"];
        assert_eq!(similar("hots", &allowed), Some("host"));
        assert_eq!(similar("Root", &allowed), Some("root"));
        assert_eq!(similar("max-age", &allowed), Some("max_age"));
        assert_eq!(similar("zzz", &allowed), None);
        assert_eq!(similar("a", &[]), None);
    }

    #[test]
    fn a_place_in_the_middle_of_a_letter_or_behind_the_end_is_shown_all_the_same() {
        let mut problems = Problems::default();
        let source = problems.sources.add("a.toml".into(), "ä\nb".to_owned());
        for start in 0..8 {
            let place = Place::new(source, start..start + 1);
            problems.add(&place, Mistake::Syntax(format!("at {start}")));
        }
        let text = problems.to_string();
        assert!(text.contains("error: at 7\n  --> a.toml:2:2\n"), "{text}");
        assert!(text.contains("error: at 1\n  --> a.toml:1:1\n"), "{text}");
    }
}
