//! What is different between two configurations, in people's words.
//!
//! Sites are told by their hosts and routes by their paths, so that one that moved within the file has not changed.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value as Json};

use super::Model;

/// What is different between two configurations: a sentence for each thing. Nothing that may be a secret is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(Vec<String>);

impl Changes {
    /// From `before` to `after`.
    pub fn between(before: &Model, after: &Model) -> Self {
        let mut changes = Self::default();
        if let (Json::Object(before), Json::Object(after)) = (before.to_json(), after.to_json()) {
            changes.table("", &before, &after);
        }
        changes
    }

    /// Whether the two say the same.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sentences.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Adds what a configuration does not say.
    pub fn add(&mut self, sentence: String) {
        self.0.push(sentence);
    }

    fn table(&mut self, at: &str, before: &Map<String, Json>, after: &Map<String, Json>) {
        let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let was = before.get(key).unwrap_or(&Json::Null);
            let is = after.get(key).unwrap_or(&Json::Null);
            if was != is {
                self.key(at, key, was, is);
            }
        }
    }

    fn key(&mut self, at: &str, key: &str, was: &Json, is: &Json) {
        match (was, is) {
            (Json::Array(was), Json::Array(is)) if key == "site" => {
                self.named("site", "", "host", was, is);
            }
            (Json::Array(was), Json::Array(is)) if key == "route" => {
                self.named("route", at, "path", was, is);
            }
            (Json::Object(was), Json::Object(is)) => self.table(&below(at, key), was, is),
            (Json::Null, is) => self.0.push(format!("added {}{}", name(at, key), to(key, is))),
            (_, Json::Null) => self.0.push(format!("removed {}", name(at, key))),
            (was, is) => {
                let told = match (shown(key, was), shown(key, is)) {
                    (Some(was), Some(is)) => format!(" from {was} to {is}"),
                    _ => String::new(),
                };
                self.0.push(format!("changed {}{told}", name(at, key)));
            }
        }
    }

    /// A list of tables which have a name.
    fn named(&mut self, what: &str, at: &str, key: &str, was: &[Json], is: &[Json]) {
        let (was, is) = (by_name(was, key), by_name(is, key));
        let title = |name: &str| match at {
            "" => format!("{what} {name}"),
            at => format!("{at}, {what} {name}"),
        };
        for (name, before) in &was {
            match is.get(name) {
                None => self.0.push(format!("removed {}", title(name))),
                Some(after) if after != before => {
                    if let (Json::Object(before), Json::Object(after)) = (before, after) {
                        self.table(&title(name), before, after);
                    }
                }
                Some(_) => {}
            }
        }
        let added = is.keys().filter(|name| !was.contains_key(*name));
        self.0.extend(added.map(|name| format!("added {}", title(name))));
    }
}

/// Tables by what they are for. A route has its conditions in its name: two may have the same path.
fn by_name<'a>(tables: &'a [Json], key: &str) -> BTreeMap<String, &'a Json> {
    let mut named = BTreeMap::new();
    for table in tables {
        let mut name = words(&table[key]);
        for condition in CONDITIONS {
            let is_said = match &table[condition] {
                Json::Null => false,
                Json::Object(keys) => !keys.is_empty(),
                _ => true,
            };
            if key == "path" && is_said {
                name = format!("{name} if {condition} is {}", words(&table[condition]));
            }
        }
        named.insert(name, table);
    }
    named
}

const CONDITIONS: [&str; 5] = ["method", "header", "query", "client", "protocol"];

/// `limits.header_size`, or the same of a site or a route: `site a.example: root`.
fn below(at: &str, key: &str) -> String {
    match at {
        "" => key.to_owned(),
        at if at.starts_with("site ") && !at.contains(": ") => format!("{at}: {key}"),
        at => format!("{at}.{key}"),
    }
}

fn name(at: &str, key: &str) -> String {
    match below(at, key).rsplit_once(": ") {
        Some((at, key)) => format!("`{key}` of {at}"),
        None => format!("`{}`", below(at, key)),
    }
}

fn to(key: &str, value: &Json) -> String {
    shown(key, value).map_or_else(String::new, |value| format!(": {value}"))
}

/// A value that is short and no secret.
fn shown(key: &str, value: &Json) -> Option<String> {
    let is_secret = SECRETS.iter().any(|secret| key.contains(secret));
    let shown = words(value);
    let is_table = matches!(value, Json::Object(_));
    (!is_secret && !is_table && shown.len() <= SHORT).then_some(shown)
}

/// A text without quotes, several with commas.
fn words(value: &Json) -> String {
    match value {
        Json::String(text) => text.chars().flat_map(char::escape_default).collect(),
        Json::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        Json::Object(keys) => {
            let pairs = keys.iter().map(|(key, value)| format!("{key} {}", words(value)));
            pairs.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// Parts of the names of keys whose values are not shown.
const SECRETS: [&str; 6] = ["token", "secret", "password", "auth", "user", "key"];

/// Longer values are not read in a list of changes.
const SHORT: usize = 60;

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|sentence| writeln!(f, "  {sentence}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, Loaded};
    use super::*;

    fn model(text: &str) -> Model {
        let loaded = Loaded::of_text("sterna.toml", text, &Environment::empty());
        loaded.model().unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn changes(before: &str, after: &str) -> Vec<String> {
        Changes::between(&model(before), &model(after)).0
    }

    #[test]
    fn a_configuration_that_is_written_otherwise_and_says_the_same_has_not_changed() {
        let before = "[[site]]\nhost = 'a'\nrespond = 'x'\n[[site]]\nhost = 'b'\nrespond = 'y'";
        let after = "http3 = true\n[[site]]\nhost = ['b']\nrespond = { body = 'y' }\n\
                     [[site]]\nhost = 'a'\nrespond = 'x'";
        assert_eq!(changes(before, after), Vec::<String>::new());
    }

    #[test]
    fn sites_routes_and_keys_are_told_as_added_removed_and_changed() {
        let before = "[timeouts]\nwrite = '60s'\n[[site]]\nhost = 'a'\nrespond = 'x'\n\
                      [[site.route]]\npath = '/old'\nrespond = 'y'\n\
                      [[site]]\nhost = 'gone'\nrespond = 'z'";
        let after = "[timeouts]\nwrite = '10s'\n[[site]]\nhost = 'a'\nbody_size = '1KiB'\nrespond = 'x'\n\
                     [[site.route]]\npath = '/new'\nmethod = 'POST'\nrespond = 'y'\n\
                     [[site]]\nhost = ['c', '*.c']\nrespond = 'z'";
        assert_eq!(
            changes(before, after),
            [
                "added `body_size` of site a: 1KiB",
                "removed site a, route /old",
                "added site a, route /new if method is POST",
                "removed site gone",
                "added site c, *.c",
                "changed `timeouts.write` from 1m to 10s",
            ]
        );
    }

    #[test]
    fn what_a_route_answers_is_told_with_its_route() {
        let with = |status: u16| {
            format!(
                "[[site]]\nhost = 'a'\n[[site.route]]\npath = '/x'\nrespond = {{ status = {status} }}"
            )
        };
        assert_eq!(
            changes(&with(200), &with(404)),
            ["changed `respond.status` of site a, route /x from 200 to 404"]
        );
    }
}
