//! What the documents say is so: each path is there, each `sterna` command is one that parses.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use sterna_cli::Cli;

/// The documents of the project, by their path below its root.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "docs/admin.md",
    "docs/ci.md",
    "docs/client.md",
    "docs/configuration.md",
    "docs/conformance.md",
    "docs/guide.md",
    "docs/load.md",
    "docs/metrics.md",
    "docs/reliability.md",
    "examples/README.md",
];

/// What is named in documents, and made only when it is needed.
const MADE: [&str; 1] = ["fuzz/artifacts"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(document: &str) -> String {
    fs::read_to_string(root().join(document)).unwrap_or_else(|error| panic!("{document}: {error}"))
}

/// What stands between backquotes within a line.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|prose| prose.split('`').skip(1).step_by(2))
}

/// The lines of code blocks that a shell would be given.
fn shell_lines(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix("sh\n")).flat_map(str::lines)
}

/// The arguments of a `sterna` command, if it is one.
fn sterna(command: &str) -> Option<Vec<&str>> {
    let command = command.split('#').next().unwrap_or_default();
    // Quotes are the shell's.
    let mut words = command.split_whitespace().map(|word| word.trim_matches('\''));
    let binary = words.next()?;
    (binary == "sterna" || binary.ends_with("/sterna")).then(|| words.collect())
}

#[test]
fn every_path_that_a_document_names_exists() {
    let folders =
        ["bench/", "crates/", "docs/", "examples/", "fuzz/", "specs/", "tests/", "xtask/"];
    let mut named = 0;
    for &document in DOCUMENTS {
        let text = read(document);
        let spans = code_spans(&text).filter(|span| {
            let is_path = folders.iter().any(|folder| span.starts_with(folder));
            is_path && !span.contains(['<', '…', '*', ' ']) && !MADE.contains(span)
        });
        for path in spans {
            named += 1;
            assert!(root().join(path).exists(), "{document} names {path}, which is not there");
        }
    }
    assert!(named > 20, "only {named} paths were found: is the test reading the documents?");
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    for &document in DOCUMENTS {
        let text = read(document);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let from = root().join(document);
            let path = from.parent().expect("a folder").join(target);
            assert!(path.exists(), "{document} links to {target}, which is not there");
        }
    }
}

/// The anchor that a heading gets: lower case, a hyphen for each space, and nothing but letters and digits beside.
fn anchor(heading: &str) -> String {
    let kept =
        heading.trim().chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_within_a_document_leads_to_a_heading() {
    let mut seen = 0;
    for &document in DOCUMENTS {
        let text = read(document);
        let headings = text.lines().filter(|line| line.starts_with('#'));
        let anchors: Vec<_> = headings.map(|line| anchor(line.trim_start_matches('#'))).collect();
        for target in text.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
            seen += 1;
            assert!(anchors.iter().any(|anchor| anchor == target), "{document} has no #{target}");
        }
    }
    assert!(seen > 10, "only {seen} links were found: is the test reading the documents?");
}

#[test]
fn every_sterna_command_in_a_document_parses() {
    let mut seen = 0;
    for &document in DOCUMENTS {
        let text = read(document);
        let commands = code_spans(&text).chain(shell_lines(&text));
        for arguments in commands.filter_map(sterna) {
            seen += 1;
            let parsed = Cli::try_parse_from([&["sterna"], &arguments[..]].concat());
            if let Err(error) = parsed {
                panic!("{document}: sterna {}: {error}", arguments.join(" "));
            }
        }
    }
    assert!(seen > 8, "only {seen} commands were found: is the test reading the documents?");
}

#[test]
fn a_command_that_does_not_exist_would_be_found() {
    let arguments = sterna("target/release/sterna fly --high # and away").expect("a command");
    assert_eq!(arguments, ["fly", "--high"]);
    assert!(Cli::try_parse_from([&["sterna"], &arguments[..]].concat()).is_err());
}
