//! How a value becomes a type: read with every mistake gathered, written as canonical JSON, described by its shape.
//!
//! A table with fixed keys is declared once, by the macro `section!`: the struct, its keys, their documentation and
//! defaults. Reading, the JSON Schema and the reference page all come from that declaration.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;

use super::problem::{Mistake, Place, Problems};
use super::shape::Shape;
use super::value::{Entry, Kind, Text, Value};

/// Something that a configuration can say.
pub trait Setting: Serialize + Sized {
    /// Reads it; `None` when that is impossible, which has been added to `problems` then.
    fn read(value: &Value, problems: &mut Problems) -> Option<Self>;

    /// What it is when nothing was written; `None` when it must be written.
    fn missing() -> Option<Self> {
        None
    }

    /// What can be written.
    fn shape() -> Shape;
}

/// A table with fixed keys, which may be a part of a larger one.
pub(super) trait Table: Sized {
    /// Reads its keys out of those of a table.
    fn take(keys: &mut Keys<'_>, problems: &mut Problems) -> Option<Self>;

    /// The names of its keys.
    fn names() -> Vec<&'static str>;

    /// Its keys, described.
    fn keys() -> Vec<super::shape::Key>;
}

/// Declares a table with fixed keys.
///
/// A key without `= default` must be written, unless its type says what it is then. The field `at` remembers where each
/// was written. The keys of a `flatten` field, a section of its own, stand in the same table as the others.
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        pub struct $name:ident {
            $( $(#[doc = $key_doc:literal])* pub $key:ident: $type:ty $(= $default:expr)?, )*
            $( flatten $(#[doc = $flat_doc:literal])* pub $flat:ident: $flat_type:ty, )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        pub struct $name {
            $( $(#[doc = $key_doc])* #[serde(skip_serializing_if = "crate::config::setting::is_absent")] pub $key: $type, )*
            $( $(#[doc = $flat_doc])* #[serde(flatten)] pub $flat: $flat_type, )*
            /// Where the keys are written.
            #[serde(skip)]
            pub(crate) at: crate::config::setting::At,
        }

        impl crate::config::setting::Table for $name {
            fn take(
                keys: &mut crate::config::setting::Keys<'_>,
                problems: &mut crate::config::problem::Problems,
            ) -> Option<Self> {
                $( let $key: Option<$type> = keys.take(
                    stringify!($key),
                    || crate::config::setting::fallback!($type $(, $default)?),
                    problems,
                ); )*
                $( let $flat = <$flat_type as crate::config::setting::Table>::take(keys, problems); )*
                let at = keys.at().clone();
                Some(Self { $($key: $key?,)* $($flat: $flat?,)* at })
            }

            fn names() -> Vec<&'static str> {
                let names = vec![$(stringify!($key)),*];
                $( let names =
                    [names, <$flat_type as crate::config::setting::Table>::names()].concat(); )*
                names
            }

            fn keys() -> Vec<crate::config::shape::Key> {
                use crate::config::shape::{Key, doc};
                let keys = vec![$( Key {
                    name: stringify!($key),
                    doc: doc(&[$($key_doc),*]),
                    shape: <$type as crate::config::setting::Setting>::shape(),
                    default: crate::config::setting::fallback!($type $(, $default)?)
                        .map(|default: $type| crate::config::setting::json(&default)),
                } ),*];
                $( let keys =
                    [keys, <$flat_type as crate::config::setting::Table>::keys()].concat(); )*
                keys
            }
        }

        impl crate::config::setting::Setting for $name {
            fn read(
                value: &crate::config::value::Value,
                problems: &mut crate::config::problem::Problems,
            ) -> Option<Self> {
                use crate::config::setting::{Keys, Table};
                let mut keys = Keys::of(value, problems)?;
                let table = <Self as Table>::take(&mut keys, problems);
                keys.finish(&<Self as Table>::names(), problems);
                table
            }

            fn missing() -> Option<Self> {
                Some(Self {
                    $($key: crate::config::setting::fallback!($type $(, $default)?)?,)*
                    $($flat: <$flat_type as crate::config::setting::Setting>::missing()?,)*
                    at: crate::config::setting::At::default(),
                })
            }

            fn shape() -> crate::config::shape::Shape {
                use crate::config::shape::{Section, Shape, doc};
                Shape::Section(Section {
                    name: stringify!($name),
                    doc: doc(&[$($doc),*]),
                    keys: <Self as crate::config::setting::Table>::keys(),
                })
            }
        }
    };
}

/// What a key is when it is not written.
macro_rules! fallback {
    ($type:ty) => {
        <$type as crate::config::setting::Setting>::missing()
    };
    ($type:ty, $default:expr) => {
        Some::<$type>($default)
    };
}

/// Declares how a type that is written as one string is described.
macro_rules! word {
    ($type:ty, $what:literal, [$($example:literal),+]) => {
        impl crate::config::setting::Setting for $type {
            fn read(
                value: &crate::config::value::Value,
                problems: &mut crate::config::problem::Problems,
            ) -> Option<Self> {
                crate::config::setting::read_word(value, problems)
            }

            fn shape() -> crate::config::shape::Shape {
                crate::config::shape::Shape::Text { what: $what, examples: &[$($example),+] }
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    };
}

/// Declares a choice among a few words.
macro_rules! choice {
    (
        $(#[doc = $doc:literal])*
        pub enum $name:ident { $( $(#[doc = $variant_doc:literal])* $variant:ident = $word:literal, )* }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $(#[doc = $variant_doc])* $variant, )* }

        impl crate::config::setting::Setting for $name {
            fn read(
                value: &crate::config::value::Value,
                problems: &mut crate::config::problem::Problems,
            ) -> Option<Self> {
                match crate::config::setting::read_choice(value, &[$($word),*], problems)? {
                    $( $word => Some(Self::$variant), )*
                    _ => None,
                }
            }

            fn shape() -> crate::config::shape::Shape {
                crate::config::shape::Shape::Choice(&[$($word),*])
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(match self { $( Self::$variant => $word, )* })
            }
        }
    };
}

pub(super) use {choice, fallback, section, word};

/// Where a table and its keys are written. Two that say the same in different places are equal.
#[derive(Clone, Debug, Default)]
pub struct At {
    table: Place,
    keys: Vec<(&'static str, Place)>,
}

impl At {
    /// The table itself.
    pub(super) fn table(&self) -> &Place {
        &self.table
    }

    /// The value of a key, or the table where it is not written.
    pub(super) fn key(&self, name: &str) -> &Place {
        self.written(name).unwrap_or(&self.table)
    }

    /// The value of a key, if it is written.
    pub(super) fn written(&self, name: &str) -> Option<&Place> {
        self.keys.iter().find(|(key, _)| *key == name).map(|(_, place)| place)
    }
}

impl PartialEq for At {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The keys of a table while they are being read.
pub(super) struct Keys<'a> {
    entries: &'a [Entry],
    at: At,
}

impl<'a> Keys<'a> {
    pub(super) fn of(value: &'a Value, problems: &mut Problems) -> Option<Self> {
        match &value.kind {
            Kind::Table(entries) => {
                let at = At { table: value.place.clone(), keys: Vec::new() };
                Some(Self { entries, at })
            }
            _ => type_mistake(value, "a table", problems),
        }
    }

    /// The value of a key, or what it is without one.
    pub(super) fn take<T: Setting>(
        &mut self,
        name: &'static str,
        missing: impl FnOnce() -> Option<T>,
        problems: &mut Problems,
    ) -> Option<T> {
        match self.entries.iter().find(|entry| entry.key == name) {
            Some(entry) => {
                self.at.keys.push((name, entry.value.place.clone()));
                // After a mistake reading goes on with what the key is without it: there may be more.
                T::read(&entry.value, problems).or_else(missing)
            }
            None => {
                let value = missing();
                if value.is_none() {
                    problems.add(&self.at.table, Mistake::MissingKey { key: name });
                }
                value
            }
        }
    }

    /// Where those that have been taken are written.
    pub(super) fn at(&self) -> &At {
        &self.at
    }

    /// Refuses what was not asked for.
    pub(super) fn finish(self, allowed: &[&'static str], problems: &mut Problems) {
        let unknown = self.entries.iter().filter(|entry| !allowed.contains(&entry.key.as_str()));
        for entry in unknown {
            let (key, allowed) = (entry.key.clone(), allowed.to_vec());
            problems.add(&entry.place, Mistake::UnknownKey { key, allowed });
        }
    }
}

/// As canonical JSON.
pub(super) fn json(value: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or(serde_json::Value::Null)
}

/// Whether canonical JSON leaves it out: what is `null` there.
pub(super) fn is_absent(value: &impl Serialize) -> bool {
    json(value).is_null()
}

pub(super) fn type_mistake<T>(
    value: &Value,
    expected: &'static str,
    problems: &mut Problems,
) -> Option<T> {
    if !matches!(value.kind, Kind::Broken) {
        problems.add(&value.place, Mistake::Type { expected, found: value.type_name() });
    }
    None
}

/// Reads a text by the type's own rules.
pub(super) fn read_word<T: FromStr<Err: fmt::Display>>(
    value: &Value,
    problems: &mut Problems,
) -> Option<T> {
    let (text, shown) = match &value.kind {
        Kind::Text(text) => (text.text.clone(), text.shown().to_owned()),
        // A bare number is what people write most often by mistake: its type's own words say what is missing.
        Kind::Integer(number) => (number.to_string(), number.to_string()),
        Kind::Other("a fraction", number) => (number.clone(), number.clone()),
        _ => return type_mistake(value, "a string", problems),
    };
    let refused = |reason: T::Err| Mistake::Value { read: shown, reason: reason.to_string() };
    match (text.parse(), &value.kind) {
        (Ok(parsed), Kind::Text(_)) => Some(parsed),
        (Ok(_), _) => type_mistake(value, "a string", problems),
        (Err(reason), _) => {
            problems.add(&value.place, refused(reason));
            None
        }
    }
}

/// Reads one of a few words.
pub(super) fn read_choice(
    value: &Value,
    allowed: &'static [&'static str],
    problems: &mut Problems,
) -> Option<&'static str> {
    let Kind::Text(text) = &value.kind else { return type_mistake(value, "a string", problems) };
    let found = allowed.iter().find(|word| **word == text.text).copied();
    if found.is_none() {
        let read = text.shown().to_owned();
        problems.add(&value.place, Mistake::Choice { read, allowed });
    }
    found
}

impl Setting for bool {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match value.kind {
            Kind::Boolean(value) => Some(value),
            _ => type_mistake(value, "`true` or `false`", problems),
        }
    }

    fn shape() -> Shape {
        Shape::Boolean
    }
}

/// An integer between two bounds.
pub(super) fn integer(
    value: &Value,
    least: i64,
    most: i64,
    problems: &mut Problems,
) -> Option<i64> {
    match value.kind {
        Kind::Integer(number) if (least..=most).contains(&number) => Some(number),
        Kind::Integer(read) => {
            problems.add(&value.place, Mistake::Range { read, least, most });
            None
        }
        _ => type_mistake(value, "an integer", problems),
    }
}

/// Declares integers with the range of their type.
macro_rules! integers {
    ($($type:ty: $least:expr, $most:expr;)*) => { $(
        impl Setting for $type {
            fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
                let number = integer(value, $least, $most, problems)?;
                <$type>::try_from(usize::try_from(number).ok()?).ok()
            }

            fn shape() -> Shape {
                Shape::Integer { least: $least, most: $most }
            }
        }
    )* };
}

integers! {
    u16: 1, u16::MAX as i64;
    u32: 1, u32::MAX as i64;
    usize: 0, u32::MAX as i64;
    NonZeroUsize: 1, 256;
}

impl<T: Setting> Setting for Option<T> {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        T::read(value, problems).map(Some)
    }

    fn missing() -> Option<Self> {
        Some(None)
    }

    fn shape() -> Shape {
        T::shape()
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let Kind::List(items) = &value.kind else {
            return type_mistake(value, "a list", problems);
        };
        Some(items.iter().filter_map(|item| T::read(item, problems)).collect())
    }

    fn missing() -> Option<Self> {
        Some(Self::new())
    }

    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }
}

/// One or a list of several; canonical JSON has the list.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Several<T>(pub Vec<T>);

impl<T: Setting> Setting for Several<T> {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match &value.kind {
            Kind::List(items) if items.is_empty() => {
                problems.contradiction(
                    &value.place,
                    "the list is empty",
                    "leave the key out, or name something",
                );
                None
            }
            Kind::List(_) => Vec::read(value, problems).map(Self),
            _ => T::read(value, problems).map(|one| Self(vec![one])),
        }
    }

    fn shape() -> Shape {
        Shape::Either(vec![T::shape(), Shape::List(Box::new(T::shape()))])
    }
}

/// Off, or on in one of the ways of `T`: `false`, `true`, or what else `T` is. `true` is a table in which nothing is written,
/// and refused where one key must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Switch<T> {
    /// Off.
    Off,
    /// On, like this.
    On(T),
}

impl<T> Switch<T> {
    /// How, if it is on.
    pub fn on(&self) -> Option<&T> {
        match self {
            Self::Off => None,
            Self::On(how) => Some(how),
        }
    }
}

impl<T: Serialize> Serialize for Switch<T> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => to.serialize_bool(false),
            Self::On(how) => how.serialize(to),
        }
    }
}

impl<T: Setting> Setting for Switch<T> {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match value.kind {
            Kind::Boolean(false) => Some(Self::Off),
            Kind::Boolean(true) => {
                let nothing = Value { kind: Kind::Table(Vec::new()), place: value.place.clone() };
                T::read(&nothing, problems).map(Self::On)
            }
            _ => T::read(value, problems).map(Self::On),
        }
    }

    fn shape() -> Shape {
        Shape::Either(match T::shape() {
            Shape::Either(ways) => [vec![bool::shape()], ways].concat(),
            way => vec![bool::shape(), way],
        })
    }
}

/// A table with keys of the user's choice, and where each is written.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Named<T> {
    entries: BTreeMap<String, T>,
    #[serde(skip)]
    places: BTreeMap<String, Place>,
}

impl<T> Named<T> {
    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &T)> {
        self.entries.iter()
    }

    /// The same, with the place of each key.
    pub(super) fn with_places(&self) -> impl Iterator<Item = (&Place, &String, &T)> {
        let place = |name| self.places.get(name);
        self.iter().filter_map(move |(name, value)| Some((place(name)?, name, value)))
    }
}

impl<T: PartialEq> PartialEq for Named<T> {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl<T: Setting> Setting for Named<T> {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let Kind::Table(written) = &value.kind else {
            return type_mistake(value, "a table", problems);
        };
        let (mut entries, mut places) = (BTreeMap::new(), BTreeMap::new());
        for Entry { key, place, value } in written {
            let Some(value) = T::read(value, problems) else { continue };
            entries.insert(key.clone(), value);
            places.insert(key.clone(), place.clone());
        }
        Some(Self { entries, places })
    }

    fn missing() -> Option<Self> {
        Some(Self { entries: BTreeMap::new(), places: BTreeMap::new() })
    }

    fn shape() -> Shape {
        Shape::Map(Box::new(T::shape()))
    }
}

impl Setting for Text {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match &value.kind {
            Kind::Text(text) => Some(text.clone()),
            _ => type_mistake(value, "a string", problems),
        }
    }

    fn shape() -> Shape {
        Shape::Text { what: "text", examples: &[] }
    }
}

/// A path of the file system; a relative one begins at the file that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct FilePath(pub PathBuf);

impl Setting for FilePath {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let Text { text, .. } = Text::read(value, problems)?;
        Some(Self(problems.sources.resolve(value.place.source, Path::new(&text))))
    }

    fn shape() -> Shape {
        Shape::Text { what: "path", examples: &["/srv/www", "public"] }
    }
}

word!(super::units::Span, "duration", ["250ms", "30s", "5m"]);
word!(super::units::ByteSize, "size", ["512B", "16KiB", "10MB"]);
