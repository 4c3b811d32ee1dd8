//! The verbs.
//!
//! To add one: write `command/<name>.rs` with its `Args` and `run`, and add its variant and its arm here.

use std::time::Instant;

use clap::{Parser, Subcommand};

use crate::error::Error;

mod files;
mod run;

/// An HTTP/3-first edge server: HTTP/1.1, HTTP/2 and HTTP/3 on one port.
#[derive(Debug, Parser)]
#[command(name = "sterna", version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to log on stderr, such as `info` or `sterna_net=debug,warn`. Default: `RUST_LOG`, else
    /// `warn`.
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,

    #[command(subcommand)]
    command: Option<Command>,

    /// Without a verb: those of `run`.
    #[command(flatten)]
    run: run::Args,
}

impl Cli {
    /// The verb; `run` when none was named.
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or(Command::Run(self.run))
    }
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the welcome site on https://localhost:8443. This is what a bare `sterna` does.
    Run(run::Args),
    /// Serve the files of a directory.
    Files(files::Args),
}

impl Command {
    /// Does it; `started` is when the process began.
    pub(crate) fn run(self, started: Instant) -> Result<(), Error> {
        match self {
            Self::Run(args) => args.run(started),
            Self::Files(args) => args.run(started),
        }
    }
}
