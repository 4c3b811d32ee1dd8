//! What keeps `sterna` from doing what it was asked.

use std::io;
use std::path::{Path, PathBuf};

use sterna_gateway::config::Problems;
use sterna_gateway::handler::files::RootError;
use sterna_gateway::middleware::basic_auth::UsersError;
use sterna_gateway::route::host;
use sterna_net::{BindError, ReconfigureError, ServeError, TlsError};

use crate::command::get::GetError;
use crate::command::load::{self, LoadError};
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
    #[error("the certificate of {} is over since {since}", file.as_deref().unwrap_or(Path::new("the configuration")).display())]
    Expired { file: Option<PathBuf>, since: String },
    #[error("the configuration has no site")]
    NoSite,
    #[error(transparent)]
    Get(#[from] GetError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("cannot read from stdin")]
    Input(#[source] io::Error),
    #[error("there is no password on stdin, or one of more than 1024 bytes")]
    NoPassword,
    #[error(transparent)]
    Users(#[from] UsersError),
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
    #[error("cannot watch the files of the configuration")]
    Watch(#[source] io::Error),
    #[error("{} cannot change while the server runs", .0.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "))]
    NeedsRestart(Vec<&'static str>),
    #[error("another configuration has been served meanwhile")]
    Overtaken,
    #[error("this server was started without a configuration")]
    NoConfiguration,
    #[error("no such configuration is kept")]
    NoRevision,
    #[error("cannot listen for the operator on {place}")]
    Admin { place: String, source: io::Error },
    #[error("the configuration says `off` for the operator's interface")]
    AdminOff,
    #[error("stdout is no terminal")]
    NoTerminal,
    #[error("no server runs here")]
    NotRunning,
    #[error("no server answers at {place}")]
    NobodyThere { place: String },
    #[error("several servers run here: {}", .0.iter().map(|path| format!("unix:{}", path.display())).collect::<Vec<_>>().join(", "))]
    SeveralRun(Vec<PathBuf>),
    #[error("cannot ask the server at {place}")]
    Asked { place: String, source: io::Error },
    #[error("no certificate can be ordered for `{host}`: {why}")]
    NotOrderable { host: host::Pattern, why: &'static str },
    #[error("whoever is on the way could answer in place of the authority")]
    UnsafeAuthority,
    #[error("the order for {name} has not ended yet")]
    Unordered { name: String },
    #[error("{told}")]
    Refused { told: String, help: Option<String> },
    #[error("the server does not follow")]
    Reconfigure(#[source] ReconfigureError),
    #[error("cannot start the access log")]
    AccessLog(#[source] io::Error),
    #[error("cannot write the access log to {}", path.display())]
    AccessLogFile { path: PathBuf, source: io::Error },
    #[error("cannot write the secrets of connections to {}", path.display())]
    KeyLog { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("backends cannot be reached over TLS")]
    Upstream(#[source] sterna_net::client::BuildError),
    #[error("the local authority is not trusted everywhere")]
    Trust,
}

impl Error {
    /// What the process exits with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Get(error) => error.exit_code(),
            Self::Load(LoadError::Interrupted) => load::INTERRUPTED,
            _ => 1,
        }
    }

    /// With all of its causes, on one line but for the mistakes of a configuration.
    pub(crate) fn in_full(&self) -> String {
        if let Self::Config(problems) = self {
            return format!("{self}:\n{problems}");
        }
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }

    /// Certificates that it is about: the file of each where it is known, and what is wrong.
    pub(crate) fn certificates(&self) -> Vec<(Option<PathBuf>, String)> {
        match self {
            Self::Config(problems) => {
                let told = |(file, why): (&Path, &str)| (Some(file.to_owned()), why.to_owned());
                problems.certificates().map(told).collect()
            }
            Self::Expired { file, .. } => vec![(file.clone(), self.in_full())],
            Self::Tls(error) => vec![(error.path().map(Path::to_owned), self.in_full())],
            _ => Vec::new(),
        }
    }

    /// Whether it is about nothing else.
    pub(crate) fn is_of_certificates_alone(&self) -> bool {
        match self {
            Self::Config(problems) => {
                problems.certificates().count() == problems.mistakes().count()
            }
            _ => !self.certificates().is_empty(),
        }
    }

    /// What is said about it: nothing where the exit code says all.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::Get(error) if error.is_silent())
    }

    /// What to do, where the message does not say it.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Refused { help, .. } => help.as_deref(),
            Self::Root(_) => Some("name a directory that exists and that this user may enter"),
            Self::LogFilter { .. } => Some(
                "write a level, or `target=level` several times, such as `sterna_net=debug,warn`",
            ),
            Self::LocalCa(error) => error.hint(),
            Self::Get(error) => error.hint(),
            Self::KeyLog { .. } => {
                Some("name a file that this user may write, or leave `key_log` out")
            }
            Self::AccessLogFile { .. } => Some(
                "name a file in a directory that exists and that this user may write, or leave --access-log out for stdout",
            ),
            Self::Expired { .. } => Some("put a new one in its place; the old one is shown on"),
            Self::NoPassword => Some("write it there: printf %s PASSWORD | sterna hash-password"),
            Self::Upstream(_) => Some(
                "install the trusted certificates of the system, such as the package `ca-certificates`",
            ),
            Self::NeedsRestart(_) => {
                Some("restart the server, or write back what was there; nothing has been changed")
            }
            Self::Admin { .. } => {
                Some("name another place with `--admin` or `[admin] listen`, or `off`")
            }
            Self::AdminOff => Some(
                "give `[admin] listen` a place and restart the server, or send it a signal: SIGHUP reloads, SIGTERM ends",
            ),
            Self::NotRunning | Self::NobodyThere { .. } => Some(
                "start one with `sterna run`, or name where it is: `--admin`, or `-c` and its configuration",
            ),
            Self::NotOrderable { .. } => Some(
                "name a host of the internet with `--domain` or `--from`, or leave `--acme` out",
            ),
            Self::UnsafeAuthority => Some("write an `https` URL"),
            Self::Unordered { .. } => Some("`sterna cert ls` tells what becomes of it"),
            Self::NoTerminal => Some("leave `--watch` out, or add `--json` in its place"),
            Self::SeveralRun(_) => Some("name one of them with `--admin`"),
            Self::Overtaken => Some("read it anew, with its `ETag`, and change that"),
            Self::NoConfiguration => Some("start the server with `sterna run -c FILE`"),
            Self::NoRevision => {
                Some("`GET /config/history` lists those which are: the last 32 of this process")
            }
            Self::Trust => Some("do what the lines above say, then try once more"),
            Self::Bind(_)
            | Self::Config(_)
            | Self::Preflight(_)
            | Self::NoSite
            | Self::Load(_)
            | Self::Output(_)
            | Self::Input(_)
            | Self::Users(_)
            | Self::Resolve(_)
            | Self::Serve(_)
            | Self::Signals(_)
            | Self::Watch(_)
            | Self::Asked { .. }
            | Self::Reconfigure(_)
            | Self::AccessLog(_)
            | Self::Tls(_) => None,
        }
    }
}
