//! The files: the main one and those it includes become one table.
//!
//! Lists of the same name are joined in the order of the files; anything else may be said once.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::expand::Environment;
use super::problem::{Mistake, Place, Problems};
use super::value::{Entry, Kind, Value, parse};

/// Reads the main file at `path` and what it includes.
pub(super) fn file(path: &Path, environment: &Environment, problems: &mut Problems) -> Value {
    let place = Place { source: usize::MAX, ..Place::default() };
    let Some(mut main) = one(path, &place, environment, problems) else {
        return Value::nothing(place);
    };
    for (place, path) in included(&mut main, problems) {
        let Some(more) = one(&path, &place, environment, problems) else { continue };
        merge(&mut main, more, problems);
    }
    main
}

/// Reads the file at `path`, which was named at `place`.
fn one(
    path: &Path,
    place: &Place,
    environment: &Environment,
    problems: &mut Problems,
) -> Option<Value> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let source = problems.sources.add(path.to_owned(), text.clone());
            Some(parse(source, &text, environment, problems))
        }
        Err(error) => {
            problems.add(place, unreadable(path, &error));
            None
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Mistake {
    Mistake::Unreadable { path: path.display().to_string(), reason: error.to_string() }
}

/// Takes `include` out of the main file: which files, and where each is asked for.
fn included(main: &mut Value, problems: &mut Problems) -> Vec<(Place, PathBuf)> {
    let Kind::Table(entries) = &mut main.kind else { return Vec::new() };
    let Some(at) = entries.iter().position(|entry| entry.key == "include") else {
        return Vec::new();
    };
    // What is no list of texts stays, and is a mistake of type when the table is read.
    let Kind::List(items) = &entries[at].value.kind else { return Vec::new() };
    let is_text = |item: &Value| matches!(item.kind, Kind::Text(_));
    if !items.iter().all(is_text) {
        return Vec::new();
    }
    let include = entries.remove(at).value;
    let Kind::List(items) = include.kind else { return Vec::new() };
    let mut files = Vec::new();
    for Value { place, kind } in items {
        let Kind::Text(pattern) = kind else { continue };
        let path = problems.sources.resolve(place.source, Path::new(&pattern.text));
        match matching(&path) {
            Ok(found) => files.extend(found.into_iter().map(|path| (place.clone(), path))),
            Err(error) => problems.add(&place, unreadable(&path, &error)),
        }
    }
    files
}

/// The files that a path names: itself, or with a `*` in its file name those of the directory that are like it, in the
/// order of their names.
fn matching(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let name = pattern.file_name().and_then(OsStr::to_str).unwrap_or_default();
    if !name.contains('*') {
        return Ok(vec![pattern.to_owned()]);
    }
    let directory = match pattern.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|file| is_like(file, name)) {
            found.push(directory.join(entry.file_name()));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether `name` is `pattern`, in which each `*` stands for any text. A hidden file wants its dot written.
fn is_like(name: &str, pattern: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let Some((first, rest)) = pattern.split_once('*') else { return name == pattern };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(last)
}

/// Adds what an included file says.
fn merge(main: &mut Value, more: Value, problems: &mut Problems) {
    let (Kind::Table(entries), Kind::Table(added)) = (&mut main.kind, more.kind) else { return };
    for entry in added {
        if entry.key == "include" {
            problems.contradiction(
                &entry.place,
                "an included file includes another",
                "name all files in the main one",
            );
            continue;
        }
        match entries.iter_mut().find(|known| known.key == entry.key) {
            None => entries.push(entry),
            Some(known) => join(known, entry, problems),
        }
    }
}

fn join(known: &mut Entry, entry: Entry, problems: &mut Problems) {
    match (&mut known.value.kind, entry.value.kind) {
        (Kind::List(items), Kind::List(more)) => items.extend(more),
        _ => {
            let before = problems.sources.line_of(&known.place);
            let what = format!("`{}`", entry.key);
            problems.add(&entry.place, Mistake::Twice { what, before });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_a_hidden_file_wants_its_dot() {
        for (name, pattern, is) in [
            ("a.toml", "*.toml", true),
            (".toml", "*.toml", false),
            (".a.toml", ".*.toml", true),
            ("a.toml~", "*.toml", false),
            ("10-a.toml", "10-*.toml", true),
            ("10-a.toml", "*-*a*.toml", true),
            ("10-b.toml", "*-*a*.toml", false),
            ("a", "a*a", false),
            ("aa", "a*a", true),
            ("anything", "*", true),
        ] {
            assert_eq!(is_like(name, pattern), is, "{name} {pattern}");
        }
    }
}
