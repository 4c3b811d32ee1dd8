//! `cargo xtask compliance`: which RFC requirements the code obeys, the tests prove, and nobody has looked at.
//!
//! `specs/rfcNNNN.toml` lists the requirements ([`registry`]); a line comment `req: ID` cites one where it is obeyed
//! or proven ([`citation`]). This module joins the two. An unknown id or a malformed entry fails; a requirement with
//! neither code nor exception does not, nor one that a client can break without a case on the wire: those are the
//! to-do list, printed last. `specs/snapshot.txt` is committed, so that a lost citation shows in a diff.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use crate::Outcome;
use citation::{Citation, Kind};
use registry::Requirement;

mod citation;
mod registry;

/// Reads, reports, and writes the snapshot, or with `--check` compares it.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let check = match arguments {
        [] => false,
        [flag] if flag == "--check" => true,
        other => return Err(format!("compliance takes only `--check`, not {other:?}").into()),
    };
    let root = crate::workspace_root();
    let requirements = registry::read(&root.join("specs"))?;
    let citations = citation::scan(&root, &["crates", "tests"])?;
    let coverage = Coverage::join(requirements, &citations)?;
    print!("{}", coverage.report());
    settle_snapshot(&root.join("specs/snapshot.txt"), &coverage.snapshot(), check)?;
    Ok(())
}

/// What went wrong between the registry, the citations and the snapshot.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{} in `req:` comments:\n{}", plural(.0.len(), "unknown id"), .0.join("\n"))]
    UnknownIds(Vec<String>),
    #[error("specs/snapshot.txt is out of date; run `cargo xtask compliance` and commit it")]
    SnapshotOutOfDate,
    #[error("cannot write {path}")]
    Write { path: String, source: io::Error },
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Every requirement, with where it is cited.
struct Coverage {
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    requirement: Requirement,
    implemented: bool,
    /// Also by a case on the wire.
    tested: bool,
    wired: bool,
}

impl Coverage {
    fn join(requirements: Vec<Requirement>, citations: &[Citation]) -> Result<Self, Error> {
        let mut entries: BTreeMap<_, _> = requirements
            .into_iter()
            .map(|requirement| {
                let entry = Entry { requirement, implemented: false, tested: false, wired: false };
                (entry.requirement.id.clone(), entry)
            })
            .collect();
        let mut unknown = Vec::new();
        for citation in citations {
            match (entries.get_mut(&citation.id), citation.kind) {
                (Some(entry), Kind::Code) => entry.implemented = true,
                (Some(entry), Kind::Test) => entry.tested = true,
                (Some(entry), Kind::Wire) => {
                    entry.tested = true;
                    entry.wired = true;
                }
                (None, _) => unknown.push(format!("  {}: {}", citation.place, citation.id)),
            }
        }
        if unknown.is_empty() { Ok(Self { entries }) } else { Err(Error::UnknownIds(unknown)) }
    }

    /// One line for each RFC, then what has neither code nor exception, and what lacks a case on the wire.
    fn report(&self) -> String {
        let mut per_rfc: BTreeMap<&str, [usize; 6]> = BTreeMap::new();
        for entry in self.entries.values() {
            let counts = per_rfc.entry(entry.requirement.rfc()).or_default();
            let facts = [
                true,
                entry.implemented,
                entry.tested,
                entry.wired,
                entry.is_excepted(),
                entry.is_open(),
            ];
            for (count, fact) in counts.iter_mut().zip(facts) {
                *count += usize::from(fact);
            }
        }
        let mut text = String::new();
        for (rfc, [all, implemented, tested, wired, excepted, open]) in per_rfc {
            let _ = writeln!(
                text,
                "RFC {rfc}: {all} requirements, {implemented} implemented, {tested} tested, \
                 {wired} on the wire, {excepted} excepted, {open} open"
            );
        }
        for entry in self.entries.values().filter(|entry| entry.is_open()) {
            let Requirement { id, level, rule, .. } = &entry.requirement;
            let _ = writeln!(text, "open: {id} ({level}): {rule}");
        }
        for entry in self.entries.values().filter(|entry| entry.lacks_wire()) {
            let Requirement { id, level, rule, .. } = &entry.requirement;
            let _ = writeln!(text, "not on the wire: {id} ({level}): {rule}");
        }
        text
    }

    /// The committed form: one line for each requirement, sorted by id.
    fn snapshot(&self) -> String {
        let mut text = String::new();
        for (id, entry) in &self.entries {
            let facts = [
                (entry.implemented, "code"),
                (entry.tested, "test"),
                (entry.wired, "wire"),
                (entry.is_excepted(), "exception"),
                (entry.is_open(), "open"),
            ];
            let facts: Vec<_> = facts.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
            let _ = writeln!(text, "{id} [{}]: {}", entry.requirement.level, facts.join(", "));
        }
        text
    }
}

impl Entry {
    fn is_excepted(&self) -> bool {
        self.requirement.exception.is_some()
    }

    fn is_open(&self) -> bool {
        !self.implemented && !self.is_excepted()
    }

    fn lacks_wire(&self) -> bool {
        !self.wired && self.requirement.needs_wire()
    }
}

fn settle_snapshot(path: &Path, snapshot: &str, check: bool) -> Result<(), Error> {
    // An absent snapshot is an empty one: a registry without requirements needs no file.
    if fs::read_to_string(path).unwrap_or_default() == snapshot {
        return Ok(());
    }
    if check {
        return Err(Error::SnapshotOutOfDate);
    }
    fs::write(path, snapshot)
        .map_err(|source| Error::Write { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(id: &str, exception: Option<&str>) -> Requirement {
        let file = format!(
            "[[requirement]]\nid = \"{id}\"\nsection = \"6.2.1\"\nlevel = \"MUST\"\nrule = \"a rule\"\n{}",
            exception.map_or_else(String::new, |reason| format!("exception = \"{reason}\"\n")),
        );
        registry::parse("9114", &file).unwrap().remove(0)
    }

    fn citation(id: &str, kind: Kind) -> Citation {
        Citation { id: id.into(), kind, place: "crates/h3/src/a.rs:7".into() }
    }

    #[test]
    fn a_rule_of_clients_without_a_case_on_the_wire_is_told() {
        let file = "[[requirement]]\nid = \"9114-6-a\"\nsection = \"6\"\nlevel = \"MUST\"\nrule = \"a rule\"\n\
                    breach = \"H3_ID_ERROR\"\n";
        let report = |kinds: &[Kind]| {
            let requirements = registry::parse("9114", file).unwrap();
            let citations: Vec<_> = kinds.iter().map(|&kind| citation("9114-6-a", kind)).collect();
            Coverage::join(requirements, &citations).unwrap().report()
        };
        assert!(
            report(&[Kind::Code, Kind::Test])
                .ends_with("not on the wire: 9114-6-a (MUST): a rule\n")
        );
        assert_eq!(
            report(&[Kind::Code, Kind::Wire]),
            "RFC 9114: 1 requirements, 1 implemented, 1 tested, 1 on the wire, 0 excepted, 0 open\n"
        );
    }

    #[test]
    fn code_test_exception_and_silence_are_told_apart() {
        let requirements = vec![
            requirement("9114-6.2.1-both", None),
            requirement("9114-6.2.1-excepted", Some("no push")),
            requirement("9114-6.2.1-silent", None),
            requirement("9114-6.2.1-tested-only", None),
        ];
        let citations = [
            citation("9114-6.2.1-both", Kind::Code),
            citation("9114-6.2.1-both", Kind::Test),
            citation("9114-6.2.1-tested-only", Kind::Test),
        ];
        let coverage = Coverage::join(requirements, &citations).unwrap();
        assert_eq!(
            coverage.snapshot(),
            "9114-6.2.1-both [MUST]: code, test\n\
             9114-6.2.1-excepted [MUST]: exception\n\
             9114-6.2.1-silent [MUST]: open\n\
             9114-6.2.1-tested-only [MUST]: test, open\n"
        );
        assert_eq!(
            coverage.report(),
            "RFC 9114: 4 requirements, 1 implemented, 2 tested, 0 on the wire, 1 excepted, 2 open\n\
             open: 9114-6.2.1-silent (MUST): a rule\n\
             open: 9114-6.2.1-tested-only (MUST): a rule\n"
        );
    }

    #[test]
    fn a_citation_of_an_unknown_id_names_its_place() {
        let error = Coverage::join(Vec::new(), &[citation("9114-1-nothing", Kind::Code)]);
        assert_eq!(
            error.err().unwrap().to_string(),
            "1 unknown id in `req:` comments:\n  crates/h3/src/a.rs:7: 9114-1-nothing"
        );
    }

    #[test]
    fn check_refuses_an_old_snapshot_and_writing_settles_it() {
        let path = std::env::temp_dir().join(format!("snapshot-{}.txt", std::process::id()));
        fs::write(&path, "old\n").unwrap();
        assert!(matches!(settle_snapshot(&path, "new\n", true), Err(Error::SnapshotOutOfDate)));
        settle_snapshot(&path, "new\n", false).unwrap();
        settle_snapshot(&path, "new\n", true).unwrap();
        fs::remove_file(&path).unwrap();
    }
}
