//! Logs of the process itself, as text on stderr. The access log is another thing, on stdout.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::error::Error;

/// What `--log-format` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Words for people.
    #[default]
    Text,
    /// One JSON object in each line.
    Json,
}

/// Starts logging what `filter` says; without it what `RUST_LOG` says; else warnings.
pub(crate) fn start(filter: Option<&str>, format: LogFormat) -> Result<(), Error> {
    let from_environment = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let filter = filter.or(from_environment.as_deref()).filter(|filter| !filter.is_empty());
    let filter = filter.unwrap_or(DEFAULT);
    let parsed = EnvFilter::try_new(filter)
        .map_err(|source| Error::LogFilter { filter: filter.to_owned(), source })?;
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let log = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(io::stderr)
        // They would go to stderr as well, and panic when nobody reads it any more.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal() && !is_plain);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

const DEFAULT: &str = "warn";
