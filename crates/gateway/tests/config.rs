//! Configuration files as people write them: those with mistakes, and what they are told; those of `examples/`, which
//! have none; and the reference page, which is made from the model.

use std::path::{Path, PathBuf};

use sterna_gateway::config::{Environment, Loaded, Model};

#[path = "../../../fuzz/checks/config.rs"]
mod check;
#[path = "../../../fuzz/checks/replay.rs"]
mod replay;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What a person is told about `tests/config/NAME.toml`, with paths that are the same everywhere.
fn told(name: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let path = directory.join(format!("{name}.toml"));
    let environment = Environment { variable: |_| None, ..Environment::of_process() };
    let problems = Loaded::of_file(&path, &environment).model();
    let problems = problems.expect_err("the file has mistakes").to_string();
    problems.replace(&format!("{}/", directory.display()), "")
}

/// A test for each file with mistakes: its name is the file's.
macro_rules! told {
    ($($name:ident),* $(,)?) => { $(
        #[test]
        fn $name() {
            insta::assert_snapshot!(stringify!($name), told(stringify!($name)));
        }
    )* };
}

told!(
    unknown_keys,
    units,
    types,
    syntax,
    choices,
    no_handler,
    proxies,
    certificate_without_key,
    duplicates,
    paths_and_hosts,
    headers,
    contradictions,
    limits,
    references,
    balancing,
);

#[test]
fn a_file_that_is_not_there_is_told_by_its_name() {
    let problems = Loaded::of_file(Path::new("/nowhere/sterna.toml"), &Environment::empty());
    let problems = problems.model().expect_err("there is no file").to_string();
    assert!(problems.starts_with("error: cannot read /nowhere/sterna.toml: "), "{problems}");
}

#[test]
fn every_input_of_the_fuzz_target_is_read_or_refused() {
    replay::replay("config", check::check);
}

#[test]
fn every_example_is_a_configuration_without_mistakes() {
    let mut count = 0;
    let listed = std::fs::read_to_string(root().join("examples/README.md")).expect("a document");
    for entry in std::fs::read_dir(root().join("examples")).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
            assert!(listed.contains(&format!("[{name}]({name})")), "{name} is not listed");
            let loaded = Loaded::of_file(&path, &Environment::of_process());
            let model = loaded.model().unwrap_or_else(|problems| panic!("{problems}"));
            let again = Loaded::of_json(&model.to_json(), &Environment::of_process()).model();
            assert_eq!(again.unwrap_or_else(|problems| panic!("{problems}")), model);
            count += 1;
        }
    }
    assert!(count >= 5, "only {count} examples were found");
}

#[test]
fn every_configuration_in_a_document_has_no_mistakes() {
    let mut count = 0;
    for document in [
        "README.md",
        "docs/admin.md",
        "docs/configuration.md",
        "docs/guide.md",
        "examples/README.md",
    ] {
        let text = std::fs::read_to_string(root().join(document)).expect("a document");
        let blocks = text.split("```").skip(1).step_by(2);
        for block in blocks.filter_map(|block| block.strip_prefix("toml\n")) {
            let loaded = Loaded::of_text(document, block, &Environment::of_process());
            if let Err(problems) = loaded.model() {
                panic!("{problems}");
            }
            count += 1;
        }
    }
    assert!(count >= 12, "only {count} configurations were found");
}

/// `STERNA_WRITE=1 cargo test -p sterna-gateway --test config` writes it anew.
#[test]
fn the_reference_page_is_what_the_model_says() {
    let path = root().join("docs/configuration.md");
    let page = format!("{}\n{}", include_str!("config/reference.md"), Model::reference());
    if std::env::var_os("STERNA_WRITE").is_some() {
        std::fs::write(&path, &page).expect("written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/configuration.md is not up to date: STERNA_WRITE=1 cargo test -p sterna-gateway --test config"
    );
}
