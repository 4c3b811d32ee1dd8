//! `cargo xtask link`: a link with a delay, a rate and a queue, to run anything over.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::Outcome;

pub(crate) mod bench;

/// Becomes the example of `sterna-diag` that brings links up, so that signals reach it and its exit code is ours.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let mut link = command();
    let error = link.args(arguments).exec();
    Err(format!("{link:?} does not run: {error}").into())
}

fn command() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--quiet", "--release", "--package", "sterna-diag"]);
    cargo.args(["--example", "link", "--"]);
    cargo
}
