//! Where the access log goes, and how it looks.

use serde::Serialize;

use super::problem::Problems;
use super::setting::{FilePath, Setting, choice, read_choice, section, type_mistake};
use super::shape::Shape;
use super::units::{ByteSize, Span};
use super::value::{Kind, Value};
use crate::access_log::{Field, Format, Layout, file};

section! {
    /// The access log, where on or off is not enough.
    pub struct LogOptions {
        /// Whether there is one.
        pub enabled: bool = true,
        /// The file to write to. Without it, stdout.
        pub file: Option<FilePath>,
        /// How a line is written; `--log-format json` has the last word.
        pub format: LogFormat = LogFormat::Text,
        /// What is in a line, and in which order. Without it what the guide shows.
        pub fields: Option<Vec<Field>>,
        /// The file begins anew before it would grow beyond this.
        pub max_size: ByteSize = ByteSize(file::Config::new("").max_size),
        /// The file begins anew when it is this old.
        pub max_age: Span = Span(file::Config::new("").max_age),
        /// How many older files are kept.
        pub keep: usize = file::Config::new("").keep,
    }
}

choice! {
    /// How a line is written.
    pub enum LogFormat {
        /// Words for people.
        Text = "text",
        /// A JSON object.
        Json = "json",
    }
}

impl Setting for Field {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let name = read_choice(value, Self::NAMES, problems)?;
        Self::ALL.iter().copied().find(|field| field.name() == name)
    }

    fn shape() -> Shape {
        Shape::Choice(Self::NAMES)
    }
}

impl Serialize for Field {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

/// The access log: on or off, or a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct AccessLog(pub LogOptions);

impl Setting for AccessLog {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match &value.kind {
            Kind::Table(_) => LogOptions::read(value, problems).map(Self),
            Kind::Boolean(enabled) => {
                Some(Self(LogOptions { enabled: *enabled, ..LogOptions::missing()? }))
            }
            _ => type_mistake(value, "`true`, `false` or a table", problems),
        }
    }

    fn missing() -> Option<Self> {
        LogOptions::missing().map(Self)
    }

    fn shape() -> Shape {
        Shape::Either(vec![bool::shape(), LogOptions::shape()])
    }
}

impl AccessLog {
    /// The file to write to, or `None` for stdout.
    pub fn file(&self) -> Option<file::Config> {
        let LogOptions { enabled: _, file, format: _, fields: _, max_size, max_age, keep, at: _ } =
            &self.0;
        let path = file.as_ref()?.0.clone();
        Some(file::Config { path, max_size: max_size.0, max_age: max_age.0, keep: *keep })
    }

    /// How lines look, where `format` has not been overruled.
    pub fn layout(&self, format: Format) -> Layout {
        match &self.0.fields {
            Some(fields) => Layout::new(format, fields),
            None => format.into(),
        }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        if !self.0.enabled && self.0.file.is_some() {
            problems.contradiction(
                self.0.at.key("file"),
                "`enabled = false` leaves this file unwritten",
                "leave one of the two out",
            );
        }
        let fields = self.0.fields.as_deref().unwrap_or(&Field::ALL[..1]);
        let place = self.0.at.key("fields");
        // A list is empty also when nothing in it could be read, and that has been told.
        if fields.is_empty() && problems.is_empty() {
            problems.contradiction(place, "lines without a field", "leave it out, or name some");
        }
        if let Some(twice) = (1..fields.len()).find(|&i| fields[..i].contains(&fields[i])) {
            let what = format!("`{}` is there twice", fields[twice].name());
            problems.contradiction(place, &what, "leave one of them out");
        }
    }
}
