//! `cargo xtask link`: a link with a delay, a rate, a queue and losses, to run anything over.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::Outcome;

pub(crate) mod bench;
pub(crate) mod early;
pub(crate) mod p9;

/// Becomes the example of `sterna-diag` that brings links up, so that signals reach it and its exit code is ours.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let mut link = command();
    let error = link.args(arguments).exec();
    Err(format!("{link:?} does not run: {error}").into())
}

/// The program that brings links up: the one that `STERNA_LINK` names, or the example of `sterna-diag`, which is built first. Who
/// is not root becomes it in a user namespace, where the kernel lets them.
fn command() -> Command {
    let built = std::env::var_os("STERNA_LINK");
    let cargo = || std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let is_built = built.is_some();
    let program = built.unwrap_or_else(cargo);
    let mut command = if crate::test::is_root() {
        Command::new(program)
    } else {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user"]).arg(program);
        unshare
    };
    if !is_built {
        command.args(["run", "--quiet", "--release", "--package", "sterna-diag"]);
        command.args(["--example", "link", "--"]);
    }
    command
}
