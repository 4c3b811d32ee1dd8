//! The verbs.
//!
//! To add one: write `command/<name>.rs` with its `Args` and `run`, and add its variant and its arm here.

use std::time::Instant;

use clap::{Parser, Subcommand};

use crate::error::Error;
use crate::logging::LogFormat;

mod adapt;
mod check;
mod completions;
mod files;
mod man;
mod run;
mod schema;
mod trust;

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
    pub(crate) fn verb(self) -> Command {
        self.command.unwrap_or(Command::Run(self.run))
    }
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a configuration, or without one the welcome site on https://localhost:8443. This is what a
    /// bare `sterna` does.
    Run(run::Args),
    /// Serve the files of a directory.
    Files(files::Args),
    /// Tell whether a configuration can be served here.
    ///
    /// Exit codes: 0 it can, warnings or not; 1 it cannot; 2 the command line was wrong.
    Check(check::Args),
    /// Print the JSON Schema of the configuration, for editors.
    Schema(schema::Args),
    /// Print a configuration as canonical JSON: with every default, and without secrets.
    Adapt(adapt::Args),
    /// Let this machine trust the local authority: the system, and the browsers of this user.
    Trust(trust::Args),
    /// Take that trust away again.
    Untrust(trust::Args),
    /// Print the completions of a shell on stdout.
    Completions(completions::Args),
    /// Print the manual page on stdout.
    Man,
}

impl Command {
    /// How it is to log.
    pub(crate) fn log_format(&self) -> LogFormat {
        match self {
            Self::Run(args) => args.serve.log_format,
            Self::Files(args) => args.serve.log_format,
            Self::Check(_)
            | Self::Schema(_)
            | Self::Adapt(_)
            | Self::Trust(_)
            | Self::Untrust(_)
            | Self::Completions(_)
            | Self::Man => LogFormat::default(),
        }
    }

    /// Does it; `started` is when the process began.
    pub(crate) fn run(self, started: Instant) -> Result<(), Error> {
        match self {
            Self::Run(args) => args.run(started),
            Self::Files(args) => args.run(started),
            Self::Check(args) => args.run(),
            Self::Schema(args) => args.run(),
            Self::Adapt(args) => args.run(),
            Self::Trust(args) => args.trust(),
            Self::Untrust(args) => args.untrust(),
            Self::Completions(args) => args.run(),
            Self::Man => man::run(),
        }
    }
}

/// The configuration that is meant when none is named.
const DEFAULT_FILE: &str = "sterna.toml";
