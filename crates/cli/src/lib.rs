//! The command line of Sterna: what the binary does, as a library so that tests can parse with it.
//!
//! Exit codes: 0 when all went well, a clean drain among it; 1 when something was wrong with what was
//! asked for, with one message about it; 2 when the command line itself was wrong; 128 and the number
//! of the signal when a second signal ended a drain, or when one ended a `load`.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

mod acme;
mod admin;
mod certificate;
pub mod command;
mod error;
mod https_record;
mod limits;
mod listen;
mod local_ca;
mod logging;
mod operation;
mod plain;
mod preflight;
mod quic_secret;
mod report;
mod serve;
mod signals;
mod tickets;
mod trust;
mod watch;

pub use self::command::Cli;

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let started = Instant::now();
    let cli = Cli::parse();
    let filter = cli.log.clone();
    let verb = cli.verb();
    let logging = logging::start(filter.as_deref(), verb.log_format());
    let done = logging.and_then(|()| verb.run(started));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_silent() {
                report::failure(&error);
            }
            ExitCode::from(error.exit_code())
        }
    }
}
