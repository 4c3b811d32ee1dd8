//! Where a requirement is cited: a comment `req: ID` in Rust or Python, several ids with commas.
//!
//! A citation in a test proves, one in code obeys. What a test is follows from the place alone: a file under a
//! `tests` folder or called `tests.rs`, a module file declared under `#[cfg(test)]`, or an item under that attribute.
//! A test under `tests/e2e` proves on the wire, to a client that shares no code with the server; its tables of cases
//! also cite by a string which is an id.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// One id in one comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Citation {
    pub(super) id: String,
    pub(super) kind: Kind,
    /// `path:line`, for messages.
    pub(super) place: String,
}

/// Whether the line obeys or proves, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Code,
    Test,
    Wire,
}

/// All citations below the named folders of `root`.
pub(super) fn scan(root: &Path, folders: &[&str]) -> io::Result<Vec<Citation>> {
    let mut paths = Vec::new();
    for folder in folders {
        collect(&root.join(folder), &mut paths)?;
    }
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path)?;
        files.push((path.strip_prefix(root).unwrap_or(&path).to_path_buf(), text));
    }
    Ok(scan_files(&files))
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "py") {
            paths.push(path);
        }
    }
    Ok(())
}

fn scan_files(files: &[(PathBuf, String)]) -> Vec<Citation> {
    let test_modules: BTreeSet<PathBuf> =
        files.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let mut citations = Vec::new();
    for (path, text) in files {
        let whole = path.components().any(|part| part.as_os_str() == "tests")
            || path.file_name().is_some_and(|name| name == "tests.rs")
            || path.ancestors().any(|above| test_modules.contains(&above.with_extension("")));
        let on_wire = path.starts_with("tests/e2e");
        let regions = test_regions(text);
        for (number, line) in text.lines().enumerate() {
            let tested = whole || regions.iter().any(|region| region.contains(&number));
            let kind = match (on_wire, tested) {
                (true, _) => Kind::Wire,
                (false, true) => Kind::Test,
                (false, false) => Kind::Code,
            };
            let quoted = quoted_ids(line).filter(|_| on_wire);
            citations.extend(ids(line).chain(quoted).map(|id| Citation {
                id: id.into(),
                kind,
                place: format!("{}:{}", path.display(), number + 1),
            }));
        }
    }
    citations
}

/// The ids that a line cites.
fn ids(line: &str) -> impl Iterator<Item = &str> {
    let cited = line.split_once("// req:").or_else(|| line.split_once("# req:"));
    let list = cited.into_iter().flat_map(|(_, list)| list.split(','));
    list.map(str::trim).filter(|id| !id.is_empty())
}

/// The first string of a line of Python, if it is the id of a requirement: an RFC's number, a section, words.
fn quoted_ids(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').nth(1).into_iter().filter(|text| {
        let mut parts = text.splitn(3, '-');
        let mut digits = |dots: &str| {
            parts.next().is_some_and(|part| {
                !part.is_empty() && part.chars().all(|c| c.is_ascii_digit() || dots.contains(c))
            })
        };
        digits("") && digits(".") && parts.next().is_some_and(|words| !words.contains(' '))
    })
}

/// The line ranges of the items under `#[cfg(test)]`.
///
/// rustfmt puts an item's last brace at the item's own indent, which is all the parsing that is needed.
fn test_regions(text: &str) -> Vec<std::ops::Range<usize>> {
    let lines: Vec<_> = text.lines().collect();
    let starts = (0..lines.len()).filter(|&at| lines[at].trim() == "#[cfg(test)]");
    starts.map(|start| start..item_end(&lines, start)).collect()
}

fn item_end(lines: &[&str], start: usize) -> usize {
    let indent = lines[start].len() - lines[start].trim_start().len();
    let close = format!("{:indent$}}}", "");
    let mut opened = false;
    for (at, line) in lines.iter().enumerate().skip(start + 1) {
        opened |= line.ends_with('{');
        if *line == close || (!opened && line.ends_with([';', '}'])) {
            return at + 1;
        }
    }
    lines.len()
}

/// The module files, without extension, that `path` declares under `#[cfg(test)]`.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let is_root = path.file_stem().is_some_and(|stem| stem == "lib" || stem == "main");
    let folder = if is_root {
        path.parent().map_or_else(PathBuf::new, Path::to_path_buf)
    } else {
        path.with_extension("")
    };
    let lines: Vec<_> = text.lines().collect();
    let regions = test_regions(text);
    let declared = regions.iter().flat_map(|region| &lines[region.clone()]);
    declared
        .filter_map(|line| line.trim().strip_suffix(';')?.rsplit_once("mod "))
        .map(|(_, name)| folder.join(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(files: &[(&str, &str)]) -> Vec<(String, Kind)> {
        let files: Vec<_> =
            files.iter().map(|(path, text)| (path.into(), (*text).to_owned())).collect();
        scan_files(&files).into_iter().map(|found| (found.id, found.kind)).collect()
    }

    #[test]
    fn a_citation_is_a_comment_with_one_or_more_ids() {
        let text =
            "    // req: 1-2-a, 1-2-b\nlet s = \"req: 1-2-c\"; // req: 1-2-d\n# req: 1-2-e\n";
        let found: Vec<_> = text.lines().flat_map(ids).collect();
        assert_eq!(found, ["1-2-a", "1-2-b", "1-2-d", "1-2-e"]);
    }

    #[test]
    fn a_table_of_cases_on_the_wire_cites_by_its_first_string() {
        let table =
            "CASES = [\n  case(\"9114-4.2-te\", \"9114-4.2-other\"),\n  case(\"4-2 te\"),\n]\n";
        let wire = vec![("9114-4.2-te".to_owned(), Kind::Wire)];
        assert_eq!(kinds(&[("tests/e2e/test_a.py", table)]), wire);
        assert_eq!(kinds(&[("tests/interop/a.py", table)]), []);
    }

    #[test]
    fn the_place_is_path_and_line() {
        let files = [(PathBuf::from("crates/h3/src/a.rs"), "\n// req: 1-2-a\n".to_owned())];
        assert_eq!(scan_files(&files)[0].place, "crates/h3/src/a.rs:2");
    }

    #[test]
    fn an_item_under_cfg_test_is_a_test_and_what_follows_is_code() {
        let text = "\
// req: 1-1-before
#[cfg(test)]
mod tests {
    fn a() {
        // req: 1-1-inside
    }
}
// req: 1-1-after
#[cfg(test)]
use x::y;
// req: 1-1-after-use
";
        let code = |id: &str| (id.to_owned(), Kind::Code);
        assert_eq!(
            kinds(&[("crates/a/src/a.rs", text)]),
            [
                code("1-1-before"),
                ("1-1-inside".to_owned(), Kind::Test),
                code("1-1-after"),
                code("1-1-after-use")
            ]
        );
    }

    #[test]
    fn files_under_tests_and_files_declared_under_cfg_test_are_tests() {
        let cited = "// req: 1-1-x\n";
        let found = kinds(&[
            ("crates/a/src/lib.rs", "#[cfg(test)]\nmod play;\nmod code;\n"),
            ("crates/a/src/play.rs", cited),
            ("crates/a/src/play/deep.rs", cited),
            ("crates/a/src/foo.rs", "#[cfg(test)]\npub(crate) mod vectors;\n"),
            ("crates/a/src/foo/vectors.rs", cited),
            ("crates/a/src/foo/tests.rs", cited),
            ("crates/a/tests/whole.rs", cited),
            ("crates/a/src/code.rs", cited),
            ("tests/e2e/test_a.py", "# req: 1-1-x\n"),
        ]);
        let kinds: Vec<_> = found.into_iter().map(|(_, kind)| kind).collect();
        assert_eq!(kinds[..5], [Kind::Test; 5]);
        assert_eq!(kinds[5..], [Kind::Code, Kind::Wire]);
    }
}
