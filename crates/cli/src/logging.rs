//! Logs of the process itself, as text on stderr. The access log is another thing, on stdout.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

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

/// What is logged, and who said so.
struct Filter {
    handle: reload::Handle<EnvFilter, Registry>,
    now: Mutex<String>,
    /// By `--log` or `RUST_LOG`, which a configuration does not overrule.
    is_given: bool,
}

static FILTER: OnceLock<Filter> = OnceLock::new();

/// Starts logging what `filter` says; without it what `RUST_LOG` says; else warnings.
pub(crate) fn start(filter: Option<&str>, format: LogFormat) -> Result<(), Error> {
    let from_environment = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let given = filter.or(from_environment.as_deref()).filter(|filter| !filter.is_empty());
    let filter = given.unwrap_or(DEFAULT);
    let (layer, handle) = reload::Layer::new(parse(filter)?);
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let log = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        // They would go to stderr as well, and panic when nobody reads it any more.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal() && !is_plain);
    match format {
        LogFormat::Text => tracing_subscriber::registry().with(layer).with(log).init(),
        LogFormat::Json => tracing_subscriber::registry().with(layer).with(log.json()).init(),
    }
    let now = Mutex::new(filter.to_owned());
    let _ = FILTER.set(Filter { handle, now, is_given: given.is_some() });
    Ok(())
}

/// What is logged now.
pub(crate) fn filter() -> String {
    FILTER.get().map_or(DEFAULT.to_owned(), |filter| {
        filter.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    })
}

/// Logs this from now on.
pub(crate) fn set_filter(wanted: &str) -> Result<(), Error> {
    let parsed = parse(wanted)?;
    if let Some(filter) = FILTER.get()
        && filter.handle.reload(parsed).is_ok()
    {
        wanted.clone_into(&mut filter.now.lock().unwrap_or_else(PoisonError::into_inner));
    }
    Ok(())
}

/// What a configuration says, unless the command line or the environment has said something.
pub(crate) fn configure(wanted: Option<&str>) -> Result<(), Error> {
    match FILTER.get() {
        Some(filter) if !filter.is_given => set_filter(wanted.unwrap_or(DEFAULT)),
        _ => Ok(()),
    }
}

fn parse(filter: &str) -> Result<EnvFilter, Error> {
    let refused = |source| Error::LogFilter { filter: filter.to_owned(), source };
    EnvFilter::try_new(filter).map_err(refused)
}

const DEFAULT: &str = "warn";
