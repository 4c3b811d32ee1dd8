//! What keeps `sterna` from doing what it was asked.

use std::io;
use std::path::PathBuf;

use sterna_gateway::config::Problems;
use sterna_gateway::handler::files::RootError;
use sterna_net::{BindError, ServeError, TlsError};

use crate::listen::ResolveError;
use crate::local_ca::LocalCaError;
use crate::report::counted;

/// Why a command failed. Each says what, where, and what to do about it; [`Error::hint`] when the
/// layer below does not know.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("the configuration has mistakes")]
    Config(Problems),
    #[error("this configuration cannot be served here: {}", counted(*.0, "reason"))]
    Preflight(usize),
    #[error("the configuration has no site")]
    NoSite,
    #[error("cannot write to stdout")]
    Output(#[source] io::Error),
    #[error(transparent)]
    LocalCa(#[from] LocalCaError),
    #[error("cannot log: the filter `{filter}` is not one")]
    LogFilter { filter: String, source: tracing_subscriber::filter::ParseError },
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("cannot watch for signals")]
    Signals(#[source] io::Error),
    #[error("cannot start the access log")]
    AccessLog(#[source] io::Error),
    #[error("cannot write the access log to {}", path.display())]
    AccessLogFile { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the local authority is not trusted everywhere")]
    Trust,
}

impl Error {
    /// What to do, where the message does not say it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Root(_) => Some("name a directory that exists and that this user may enter"),
            Self::LogFilter { .. } => Some(
                "write a level, or `target=level` several times, such as `sterna_net=debug,warn`",
            ),
            Self::LocalCa(error) => error.hint(),
            Self::AccessLogFile { .. } => Some(
                "name a file in a directory that exists and that this user may write, or leave --access-log out for stdout",
            ),
            Self::Trust => Some("do what the lines above say, then try once more"),
            Self::Bind(_)
            | Self::Config(_)
            | Self::Preflight(_)
            | Self::NoSite
            | Self::Output(_)
            | Self::Resolve(_)
            | Self::Serve(_)
            | Self::Signals(_)
            | Self::AccessLog(_)
            | Self::Tls(_) => None,
        }
    }
}
