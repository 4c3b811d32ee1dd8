//! `cargo xtask test`: everything that CI checks, in order, on a bare machine.
//!
//! A step either counts tests of its own or counts as one. A failed step does not end the run: what it would have
//! hidden is worth knowing too. The last line is the sum; the exit code is non-zero if anything failed.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::fuzz::Fuzz;
use report::Report;

pub(crate) use machine::{foreign_clients, is_root};
pub(crate) use output::pytest_lines as pytest;
pub(crate) use report::Tally;

mod again;
mod machine;
mod output;
mod pebble;
mod report;

const FUZZ_SECONDS: u32 = 5;

/// Runs all steps, or those after `--only`.
///
/// It prints its own failures, so that the sum stays the last line.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let steps = match select(arguments) {
        Ok(steps) => steps,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let mut world = World { root: crate::workspace_root(), python: None, pebble: None };
    let mut report = Report::default();
    for step in steps {
        println!("\n== {} ==", step.name);
        report.take(step.name, || (step.run)(&mut world));
    }
    print!("\n{}", report.table());
    if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What the steps share.
struct World {
    root: PathBuf,
    /// The interpreter which has the foreign clients, once the step `machine` has made it.
    python: Option<PathBuf>,
    /// The certificate authority, likewise.
    pebble: Option<PathBuf>,
}

struct Step {
    name: &'static str,
    run: fn(&mut World) -> Tally,
}

/// In order: first what costs seconds and fails often.
const STEPS: [Step; 9] = [
    Step { name: "machine", run: machine },
    Step { name: "fmt", run: fmt },
    Step { name: "deny", run: deny },
    Step { name: "compliance", run: compliance },
    Step { name: "clippy", run: clippy },
    Step { name: "cargo-test", run: cargo_test },
    Step { name: "build", run: build },
    Step { name: "e2e", run: e2e },
    Step { name: "fuzz", run: fuzz },
];

fn select(arguments: &[String]) -> Result<Vec<&'static Step>, String> {
    let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
    let wanted = match arguments {
        [] => return Ok(STEPS.iter().collect()),
        [flag, list] if flag == "--only" => list,
        other => return Err(format!("test takes only `--only STEP,…`, not {other:?}")),
    };
    if let Some(unknown) = wanted.split(',').find(|name| !names.contains(name)) {
        return Err(format!("`{unknown}` is not a step; there are: {}", names.join(", ")));
    }
    // The end-to-end battery and the differential tests need what `machine` prepares.
    let needed =
        |step: &&Step| step.name == "machine" || wanted.split(',').any(|name| name == step.name);
    Ok(STEPS.iter().filter(needed).collect())
}

fn machine(world: &mut World) -> Tally {
    let prepared = machine::prepare(&world.root).and_then(|python| {
        // Without the authority its own tests fail, and all others run.
        let python = world.python.insert(python);
        world.pebble = Some(pebble::prepare(python)?);
        Ok(())
    });
    match prepared {
        Ok(()) => Tally::PASSED,
        Err(error) => Tally::failed(error),
    }
}

fn fmt(world: &mut World) -> Tally {
    let mut tally = whole(world.cargo(&["fmt", "--all", "--check"]));
    // Workspaces of their own.
    for manifest in ["fuzz/Cargo.toml", "bench/Cargo.toml"] {
        tally += whole(world.cargo(&["fmt", "--all", "--check", "--manifest-path", manifest]));
    }
    tally
}

fn clippy(world: &mut World) -> Tally {
    whole(world.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn deny(world: &mut World) -> Tally {
    let mut tally = match crate::deny::breaches(&world.root) {
        Ok(breaches) if breaches.is_empty() => Tally::PASSED,
        Ok(breaches) => Tally::failed(format!("deny.toml: {}", breaches.join("; "))),
        Err(error) => Tally::failed(error),
    };
    if machine::has_program("cargo-deny") {
        tally += whole(world.cargo(&["deny", "check", "bans", "licenses", "sources"]));
    } else {
        tally.note("cargo-deny is not installed: deny.toml was checked by xtask's own reading, advisories were not");
    }
    tally
}

fn compliance(_: &mut World) -> Tally {
    match crate::compliance::run(&["--check".to_owned()]) {
        Ok(()) => Tally::PASSED,
        Err(error) => Tally::failed(error),
    }
}

fn cargo_test(world: &mut World) -> Tally {
    let run = |selection: &[String]| {
        let mut command =
            world.cargo(&["test", "--workspace", "--no-fail-fast", "--", "--include-ignored"]);
        if !selection.is_empty() {
            command.args(["--test-threads", "1", "--exact"]).args(selection);
        }
        if let Some(python) = &world.python {
            // The differential tests of QPACK call a second implementation in Python.
            command.env("STERNA_PYTHON", python);
        }
        output::cargo_test(command)
    };
    again::after(run(&[]), run)
}

/// What the end-to-end battery drives, as arguments of `cargo build`.
pub(crate) const PROGRAMS: [&[&str]; 3] = [
    &["--package", "sterna"],
    &["--package", "sterna-net", "--example", "axum"],
    &["--package", "sterna-diag", "--example", "link"],
];

/// Installs what the end-to-end battery calls; the interpreter that has the foreign clients, and the certificate authority.
pub(crate) fn prepare(root: &Path) -> Result<(PathBuf, PathBuf), machine::Error> {
    let python = machine::prepare(root)?;
    let pebble = pebble::prepare(&python)?;
    Ok((python, pebble))
}

/// A call of pytest on the programs of this profile; which tests, the caller says.
pub(crate) fn e2e_command(root: &Path, python: &Path, profile: &str) -> Command {
    let target = crate::target_directory();
    let built = target.join(profile);
    let mut command = Command::new(python);
    command
        .args(["-B", "-m", "pytest"])
        .current_dir(root.join("tests/e2e"))
        .env("STERNA_BIN", built.join("sterna"))
        .env("AXUM_BIN", built.join("examples/axum"))
        .env("STERNA_LINK", built.join("examples/link"))
        .env("STERNA_ARTEFACTS", target.join("e2e"));
    command
}

fn build(world: &mut World) -> Tally {
    let mut tally = Tally::default();
    for program in PROGRAMS {
        tally += whole(world.cargo(&[&["build"], program].concat()));
    }
    tally
}

fn e2e(world: &mut World) -> Tally {
    let Some(python) = &world.python else {
        return Tally::failed("no Python environment, see the step `machine`");
    };
    let results = crate::target_directory().join("xtask/e2e.xml");
    let run = |selection: &[String]| {
        let mut command = e2e_command(&world.root, python, "debug");
        command.args(["--durations=10", "--junit-xml"]).arg(&results).args(selection);
        if let Some(pebble) = &world.pebble {
            command.env("PEBBLE_BIN", pebble);
        }
        output::pytest(command, &results)
    };
    again::after(run(&[]), run)
}

fn fuzz(world: &mut World) -> Tally {
    let fuzz = match Fuzz::build(&world.root) {
        Ok(fuzz) => fuzz,
        Err(error) => return Tally::failed(error),
    };
    let mut tally = Tally::default();
    for target in &fuzz.targets {
        tally += match fuzz.run(target, FUZZ_SECONDS) {
            Ok(()) => Tally::PASSED,
            Err(error) => Tally::failed(error),
        };
    }
    if fuzz.targets.is_empty() {
        tally.note("fuzz: there is no target");
    }
    tally
}

impl World {
    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command.args(arguments).current_dir(&self.root);
        command
    }
}

/// A command that passes or fails as one.
fn whole(mut command: Command) -> Tally {
    let line = output::line(&command);
    match command.status() {
        Ok(status) if status.success() => Tally::PASSED,
        Ok(status) => Tally::failed(format!("`{line}`: {status}")),
        Err(error) => Tally::failed(format!("`{line}`: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(arguments: &[&str]) -> Result<Vec<&'static str>, String> {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Ok(select(&arguments)?.iter().map(|step| step.name).collect())
    }

    #[test]
    fn only_keeps_the_order_and_adds_what_is_needed() {
        assert_eq!(selected(&["--only", "e2e,fmt"]).unwrap(), ["machine", "fmt", "e2e"]);
        assert_eq!(selected(&[]).unwrap().len(), STEPS.len());
    }

    #[test]
    fn an_unknown_step_is_named() {
        assert!(selected(&["--only", "fmt,e3e"]).unwrap_err().starts_with("`e3e` is not a step"));
    }
}
