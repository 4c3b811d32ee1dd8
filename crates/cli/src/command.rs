//! The verbs.
//!
//! To add one: write `command/<name>.rs` with its `Args` and `run`, and add its variant and its arm here.

use std::time::Instant;

use clap::{Parser, Subcommand};

use crate::error::Error;
use crate::logging::LogFormat;

mod adapt;
mod cert;
mod check;
mod completions;
mod files;
pub(crate) mod get;
mod hash_password;
pub(crate) mod load;
mod man;
mod proxy;
mod reload;
mod run;
mod schema;
mod status;
mod stop;
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
    /// Pass requests on to a service.
    Proxy(proxy::Args),
    /// Fetch a URL over HTTP/3, HTTP/2 or HTTP/1.1, whichever connects first, and tell how it went.
    ///
    /// Exit codes: 0 fetched; 1 failed otherwise; 2 the command line was wrong; 3, 4, 5 the status is a
    /// redirect, a client's error, a server's; 10 the name; 11 no connection; 12 TLS or the certificate; 13
    /// too late; 14 the server broke the protocol, or the content is not whole; 22 the disk; 130 interrupted.
    Get(get::Args),
    /// Load a server over HTTP/1.1, HTTP/2 or HTTP/3, and tell how long its responses took.
    ///
    /// Exit codes: 0 it ran; 1 nothing succeeded, or a threshold was missed; 2 the command line was wrong; 130 it was
    /// interrupted, after the report.
    Load(load::Args),
    /// Tell whether a configuration can be served here.
    ///
    /// Exit codes: 0 it can, warnings or not; 1 it cannot; 2 the command line was wrong.
    Check(check::Args),
    /// Have the running server read its configuration anew: all of it, or nothing when there is a mistake.
    Reload(reload::Args),
    /// End the running server after its requests.
    Stop(stop::Args),
    /// Tell what the running server does.
    Status(status::Args),
    /// List certificates, or have the running server order a new one at once.
    Cert(cert::Args),
    /// Print the JSON Schema of the configuration, for editors.
    Schema(schema::Args),
    /// Print a configuration as canonical JSON: with every default, and without secrets.
    Adapt(adapt::Args),
    /// Read a password from stdin and print its hash, for the users of `basic_auth`.
    HashPassword(hash_password::Args),
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
            Self::Proxy(args) => args.serve.log_format,
            Self::Check(_)
            | Self::Get(_)
            | Self::Load(_)
            | Self::Reload(_)
            | Self::Stop(_)
            | Self::Status(_)
            | Self::Cert(_)
            | Self::Schema(_)
            | Self::Adapt(_)
            | Self::HashPassword(_)
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
            Self::Proxy(args) => args.run(started),
            Self::Get(args) => args.run(),
            Self::Load(args) => args.run(),
            Self::Check(args) => args.run(),
            Self::Reload(args) => args.run(),
            Self::Stop(args) => args.run(),
            Self::Status(args) => args.run(),
            Self::Cert(args) => args.run(),
            Self::Schema(args) => args.run(),
            Self::Adapt(args) => args.run(),
            Self::HashPassword(args) => args.run(),
            Self::Trust(args) => args.trust(),
            Self::Untrust(args) => args.untrust(),
            Self::Completions(args) => args.run(),
            Self::Man => man::run(),
        }
    }
}

/// The configuration that is meant when none is named.
pub(crate) const DEFAULT_FILE: &str = "sterna.toml";
