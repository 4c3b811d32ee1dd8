//! What was written, before anyone asks what it means: TOML and JSON as one tree with places.

use std::borrow::Cow;

use toml::de::{DeTable, DeValue};

use super::expand::{Environment, expand};
use super::problem::{Mistake, Place, Problems};

/// A value and where it is written.
#[derive(Clone, Debug)]
pub struct Value {
    pub(super) place: Place,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Text(Text),
    Integer(i64),
    Boolean(bool),
    List(Vec<Value>),
    Table(Vec<Entry>),
    /// What has been told to be wrong already.
    Broken,
    /// A type that no key takes: what it is, and as it was written.
    Other(&'static str, String),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A text in which `${…}` has been replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub(super) text: String,
    /// As it was written, when something was replaced in it: that may be a secret.
    pub(super) written: Option<String>,
}

impl Text {
    pub(super) fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), written: None }
    }

    /// What may be shown.
    pub(super) fn shown(&self) -> &str {
        self.written.as_ref().unwrap_or(&self.text)
    }
}

/// Shown as it was written, so that a secret stays where it is.
impl serde::Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.written {
            Some(written) => to.serialize_str(written),
            None => to.serialize_str(&self.text.replace("${", "$${")),
        }
    }
}

impl Value {
    /// An empty table.
    pub(super) fn nothing(place: Place) -> Self {
        Self { place, kind: Kind::Table(Vec::new()) }
    }

    /// What kind of thing it is, for people.
    pub(super) fn type_name(&self) -> &'static str {
        match &self.kind {
            Kind::Text(_) => "a string",
            Kind::Integer(_) => "an integer",
            Kind::Boolean(_) => "a boolean",
            Kind::List(_) => "a list",
            Kind::Table(_) => "a table",
            Kind::Broken => "nothing",
            Kind::Other(name, _) => name,
        }
    }

    /// The value of a JSON document, which has no places.
    pub(super) fn from_json(
        json: &serde_json::Value,
        environment: &Environment,
        problems: &mut Problems,
    ) -> Self {
        let place = Place::default();
        let kind = match json {
            serde_json::Value::Null => Kind::Other("null", "null".to_owned()),
            serde_json::Value::Bool(value) => Kind::Boolean(*value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(integer) => Kind::Integer(integer),
                None => Kind::Other("a number", number.to_string()),
            },
            serde_json::Value::String(text) => {
                expand(text, &place, environment, problems).map_or(Kind::Broken, Kind::Text)
            }
            serde_json::Value::Array(items) => {
                let items = items.iter().map(|item| Self::from_json(item, environment, problems));
                Kind::List(items.collect())
            }
            serde_json::Value::Object(members) => {
                let entries = members.iter().map(|(key, value)| Entry {
                    key: key.clone(),
                    place: Place::default(),
                    value: Self::from_json(value, environment, problems),
                });
                Kind::Table(entries.collect())
            }
        };
        Self { place, kind }
    }
}

/// Reads TOML text as a tree. Mistakes of syntax are added to `problems`; the tree is empty then, for what a recovered
/// parser makes of the rest is a guess.
pub(super) fn parse(
    source: usize,
    text: &str,
    environment: &Environment,
    problems: &mut Problems,
) -> Value {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        syntax(source, text, &errors, problems);
        return Value::nothing(Place::new(source, 0..0));
    }
    let mut reading = Reading { source, environment, problems };
    let place = Place::new(source, 0..0);
    Value { place, kind: reading.table(table.get_ref()) }
}

/// Tells the errors which are not the consequence of another: a good line lies before them.
fn syntax(source: usize, text: &str, errors: &[toml::de::Error], problems: &mut Problems) {
    let mut spans: Vec<_> =
        errors.iter().map(|error| (error.span().unwrap_or(0..0), error.message())).collect();
    spans.sort_by_key(|(span, _)| span.start);
    let mut last = None;
    for (span, message) in spans {
        // From the end of the line of the last error to the begin of the line of this one.
        let is_consequence = last.replace(span.start).is_some_and(|last: usize| {
            let between = text.get(last..span.start).unwrap_or_default();
            let mut lines = between.lines().skip(1).collect::<Vec<_>>();
            if !between.ends_with('\n') {
                lines.pop();
            }
            lines.iter().all(|line| line.trim().is_empty())
        });
        if !is_consequence {
            problems.add(&Place::new(source, span), Mistake::Syntax(message.to_owned()));
        }
    }
}

struct Reading<'a> {
    source: usize,
    environment: &'a Environment,
    problems: &'a mut Problems,
}

impl Reading<'_> {
    fn table(&mut self, table: &DeTable<'_>) -> Kind {
        let entries = table.iter().map(|(key, value)| Entry {
            key: key.get_ref().clone().into_owned(),
            place: Place::new(self.source, key.span()),
            value: self.value(value),
        });
        Kind::Table(entries.collect())
    }

    fn value(&mut self, value: &toml::Spanned<DeValue<'_>>) -> Value {
        let place = Place::new(self.source, value.span());
        let kind = match value.get_ref() {
            DeValue::String(text) => expand(text, &place, self.environment, self.problems)
                .map_or(Kind::Broken, Kind::Text),
            DeValue::Integer(number) => {
                let digits: Cow<'_, str> = Cow::Borrowed(number.as_str());
                match i64::from_str_radix(&digits, number.radix()) {
                    Ok(integer) => Kind::Integer(integer),
                    Err(_) => Kind::Other("a number of more than 64 bits", digits.into_owned()),
                }
            }
            DeValue::Float(number) => Kind::Other("a fraction", number.as_str().to_owned()),
            DeValue::Boolean(value) => Kind::Boolean(*value),
            DeValue::Datetime(moment) => Kind::Other("a date", moment.to_string()),
            DeValue::Array(items) => {
                Kind::List(items.iter().map(|item| self.value(item)).collect())
            }
            DeValue::Table(table) => self.table(table),
        };
        Value { place, kind }
    }
}
