//! What a configuration can say, as data: the JSON Schema comes from it, and the reference page.

use serde_json::{Value as Json, json};

/// What can be written as a value.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A string.
    Text {
        /// What it stands for.
        what: &'static str,
        /// A few.
        examples: &'static [&'static str],
    },
    /// An integer.
    Integer {
        /// The smallest.
        least: i64,
        /// The largest.
        most: i64,
    },
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list.
    List(Box<Shape>),
    /// A table with keys of the user's choice.
    Map(Box<Shape>),
    /// A table with fixed keys.
    Section(Section),
    /// One of these.
    Either(Vec<Shape>),
}

/// A table with fixed keys.
#[derive(Clone, Debug)]
pub struct Section {
    /// The type behind it.
    pub name: &'static str,
    /// What it is.
    pub doc: String,
    /// What can stand in it.
    pub keys: Vec<Key>,
}

/// A key of a table.
#[derive(Clone, Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it does.
    pub doc: String,
    /// What can be written.
    pub shape: Shape,
    /// What it is when it is not written, as canonical JSON; `None` when it must be written.
    pub default: Option<Json>,
}

/// The text of doc comments.
pub(super) fn doc(lines: &[&str]) -> String {
    let lines: Vec<&str> =
        lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n").trim().to_owned()
}

impl Shape {
    /// As JSON Schema (draft 2020-12).
    pub fn schema(&self) -> Json {
        match self {
            Self::Text { examples: [], .. } => json!({ "type": "string" }),
            Self::Text { what, examples } => {
                json!({ "type": "string", "title": what, "examples": examples })
            }
            Self::Integer { least, most } => {
                json!({ "type": "integer", "minimum": least, "maximum": most })
            }
            Self::Boolean => json!({ "type": "boolean" }),
            Self::Choice(words) => json!({ "enum": words }),
            Self::List(item) => json!({ "type": "array", "items": item.schema() }),
            Self::Map(value) => {
                json!({ "type": "object", "additionalProperties": value.schema() })
            }
            Self::Either(shapes) => {
                json!({ "anyOf": shapes.iter().map(Self::schema).collect::<Vec<_>>() })
            }
            Self::Section(section) => section.schema(),
        }
    }

    /// In a few words, for the reference page.
    fn in_words(&self) -> String {
        match self {
            Self::Text { what, examples: [] } => (*what).to_owned(),
            Self::Text { what, examples } => {
                let examples: Vec<String> =
                    examples.iter().map(|example| format!("`\"{example}\"`")).collect();
                format!("{what}: {}", examples.join(", "))
            }
            Self::Integer { least, most } => format!("integer from {least} to {most}"),
            Self::Boolean => "`true` or `false`".to_owned(),
            Self::Choice(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
                words.join(", ")
            }
            Self::List(item) => format!("list of: {}", item.in_words()),
            Self::Map(value) => format!("table of: {}", value.in_words()),
            Self::Section(_) => "table, see below".to_owned(),
            Self::Either(shapes) => match &shapes[..] {
                [one, Self::List(_)] => format!("one or a list; {}", one.in_words()),
                _ => shapes.iter().map(Self::in_words).collect::<Vec<_>>().join("; or "),
            },
        }
    }

    /// The tables in it, with whether there may be several.
    fn sections(&self) -> Vec<(&Section, bool)> {
        match self {
            Self::Section(section) => vec![(section, false)],
            Self::List(item) => {
                item.sections().into_iter().map(|(section, _)| (section, true)).collect()
            }
            Self::Map(value) => value.sections(),
            Self::Either(shapes) => shapes.iter().flat_map(Self::sections).collect(),
            Self::Text { .. } | Self::Integer { .. } | Self::Boolean | Self::Choice(_) => vec![],
        }
    }
}

impl Section {
    fn schema(&self) -> Json {
        let mut properties = serde_json::Map::new();
        for key in &self.keys {
            let mut schema = key.shape.schema();
            schema["description"] = key.doc.clone().into();
            if let Some(default) = key.default.as_ref().filter(|default| !default.is_null()) {
                schema["default"] = default.clone();
            }
            properties.insert(key.name.to_owned(), schema);
        }
        let required = self.keys.iter().filter(|key| key.default.is_none()).map(|key| key.name);
        json!({
            "type": "object",
            "description": self.doc,
            "properties": properties,
            "required": required.collect::<Vec<_>>(),
            "additionalProperties": false,
        })
    }

    /// This table and those in it, as Markdown.
    pub fn reference(&self, path: &str, is_repeated: bool) -> String {
        let mut page = match (path, is_repeated) {
            ("", _) => format!("## At the top\n\n{}\n", self.doc),
            (path, true) => format!("## `[[{path}]]`\n\n{}\n", self.doc),
            (path, false) => format!("## `[{path}]`\n\n{}\n", self.doc),
        };
        page.push_str("\n| key | value | default | |\n|---|---|---|---|\n");
        for Key { name, doc, shape, default } in &self.keys {
            let default = match default {
                None => "must be written".to_owned(),
                Some(Json::Null) => "–".to_owned(),
                Some(Json::Object(_)) => "see below".to_owned(),
                Some(default) => format!("`{default}`"),
            };
            let doc = doc.replace("\n\n", "<br>").replace('\n', " ").replace('|', "\\|");
            page.push_str(&format!("| `{name}` | {} | {default} | {doc} |\n", shape.in_words()));
        }
        for key in &self.keys {
            for (section, is_repeated) in key.shape.sections() {
                let path =
                    if path.is_empty() { key.name.into() } else { format!("{path}.{}", key.name) };
                page.push('\n');
                page.push_str(&section.reference(&path, is_repeated));
            }
        }
        page
    }
}
