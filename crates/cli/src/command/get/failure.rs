//! Why nothing, or not all, was fetched: words, what to do, and an exit code for each.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use http::StatusCode;
use sterna_net::TlsError;
use sterna_net::client::{self, BuildError, Kind, Phase, TraceEntry};

use super::wire_code;
use crate::report::say;

/// Why `get` does not end with 0.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GetError {
    #[error("`{url}` is not a URL: {why}")]
    Url { url: String, why: String },
    #[error("HTTP/3 is for https URLs alone")]
    Http3InTheClear,
    #[error("cannot read {}", path.display())]
    Data { path: PathBuf, source: io::Error },
    #[error("the request has a field that cannot be")]
    Field(#[from] http::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the client cannot be started")]
    Build(#[source] BuildError),
    #[error("the runtime cannot be started")]
    Runtime(#[source] io::Error),
    #[error("{}", words(.0))]
    Client(client::Error),
    #[error("the content failed")]
    Content(#[source] sterna_net::body::Error),
    #[error("it took longer than --max-time")]
    MaxTime,
    #[error("the status is {0}")]
    Status(StatusCode),
    #[error("the status is {status}, and the redirect is not followed: {why}")]
    Redirect { status: StatusCode, why: &'static str },
    #[error("cannot write {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot write to stdout")]
    Stdout(#[source] io::Error),
    /// Nobody reads any more, which is not worth a word.
    #[error("stdout was closed")]
    NobodyReads,
    #[error("{0}")]
    Migration(&'static str),
    #[error("interrupted")]
    Interrupted,
}

impl GetError {
    /// What the process exits with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Url { .. } | Self::Http3InTheClear | Self::Field(_) => exit::USAGE,
            Self::Data { .. } | Self::Runtime(_) | Self::Migration(_) => exit::FAILED,
            Self::Tls(_) => exit::TLS,
            Self::Build(BuildError::Tls(_)) => exit::TLS,
            Self::Build(_) => exit::FAILED,
            Self::Client(error) => of_client(error),
            Self::Content(_) => exit::PROTOCOL,
            Self::MaxTime => exit::TIME_OUT,
            Self::Status(status) | Self::Redirect { status, .. } => of_status(*status),
            Self::File { .. } | Self::Stdout(_) => exit::DISK,
            Self::NobodyReads => exit::BROKEN_PIPE,
            Self::Interrupted => exit::INTERRUPTED,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Url { .. } => Some("write it as https://host/path"),
            Self::Http3InTheClear => Some("write https, or leave --http3 out"),
            Self::Client(error) => of_kind(error.phase(), error.kind()),
            Self::MaxTime => {
                Some("give it more with --max-time, or find the slow phase with --timing")
            }
            Self::Redirect { .. } => Some("ask for the other URL yourself if you mean it"),
            Self::File { .. } => Some("name a file in a directory that exists and has room"),
            Self::Data { .. }
            | Self::Field(_)
            | Self::Tls(_)
            | Self::Build(_)
            | Self::Runtime(_)
            | Self::Content(_)
            | Self::Status(_)
            | Self::Stdout(_)
            | Self::NobodyReads
            | Self::Migration(_)
            | Self::Interrupted => None,
        }
    }

    /// It is not for this that an error is printed: nobody reads it, or it is what was asked for.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::NobodyReads | Self::Status(_))
    }

    /// The client's error in it.
    pub(super) fn client(&self) -> Option<&client::Error> {
        match self {
            Self::Client(error) => Some(error),
            _ => None,
        }
    }

    /// What happened before there was no connection, for -v.
    pub(super) fn trace(&self) -> &[TraceEntry] {
        self.client().map_or(&[], client::Error::trace)
    }
}

impl From<client::Error> for GetError {
    fn from(error: client::Error) -> Self {
        Self::Client(error)
    }
}

impl From<sterna_net::body::Error> for GetError {
    fn from(error: sterna_net::body::Error) -> Self {
        match error {
            sterna_net::body::Error::Response(error) => Self::Client(error),
            error => Self::Content(error),
        }
    }
}

/// A status is a result like any other, and yet the exit code needs a word.
pub(super) fn tell(error: &GetError) {
    if let GetError::Status(_) = error {
        say(&format!("note: {error}"));
    }
}

/// With the name of the code on the wire, and where to read about it.
fn words(error: &client::Error) -> String {
    let mut words = error.to_string();
    if let Some(name) = error.code().and_then(|code| wire_code::name(error.protocol(), code)) {
        let _ = write!(words, ", {name}");
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let _ = write!(words, ": {cause}");
        source = cause.source();
    }
    words
}

fn of_client(error: &client::Error) -> u8 {
    match (error.kind(), error.phase()) {
        (Kind::Request, _) => exit::USAGE,
        (Kind::Dns, _) | (Kind::Timeout, Phase::Resolve) => exit::DNS,
        (Kind::Timeout, _) => exit::TIME_OUT,
        (Kind::Certificate | Kind::Tls | Kind::TlsAlert | Kind::Alpn, _) => exit::TLS,
        (Kind::Refused | Kind::Unreachable | Kind::QuicVersion, _) => exit::CONNECT,
        (Kind::Lost | Kind::System, Phase::Resolve | Phase::Connect) => exit::CONNECT,
        (Kind::Lost, Phase::Tls) => exit::TLS,
        (
            Kind::Lost
            | Kind::Truncated
            | Kind::ContentLength
            | Kind::Malformed
            | Kind::HeadersTooLarge
            | Kind::Reset { .. }
            | Kind::Protocol { .. }
            | Kind::GoAway,
            _,
        ) => exit::PROTOCOL,
        _ => exit::FAILED,
    }
}

fn of_kind(phase: Phase, kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Dns => "check the name, and the name servers in /etc/resolv.conf",
        Kind::Refused => "check that the server runs and that the port is right",
        Kind::Unreachable => "check this machine's routes, or name an address with --resolve",
        Kind::Certificate => {
            "name the authority with --cacert, or go on without any safety with --insecure"
        }
        Kind::Alpn => "leave --http1.1, --http2 and --http3 out to take what the server has",
        Kind::QuicVersion => "leave --http3 out to take what the server has over TCP",
        Kind::Tls | Kind::TlsAlert => {
            "the server may speak plain HTTP there, or want a client certificate (--cert and --key)"
        }
        Kind::Timeout => match phase {
            Phase::Resolve => "check the name servers, or name an address with --resolve",
            Phase::Connect | Phase::Tls => {
                "a firewall may drop the packets; -v shows each attempt, --connect-timeout waits longer"
            }
            _ => "the server is slow or stuck; --idle-timeout waits longer",
        },
        Kind::Truncated | Kind::ContentLength => "what was written is not whole; try once more",
        Kind::Malformed | Kind::Protocol { .. } => {
            "-v shows how far it came; the fault is the server's"
        }
        Kind::HeadersTooLarge => "the server sends an endless or a broken head",
        _ => return None,
    })
}

fn of_status(status: StatusCode) -> u8 {
    match status.as_u16() {
        300..=399 => exit::REDIRECTION,
        400..=499 => exit::CLIENT_ERROR,
        // Those beyond 599 are none, and treated as the server's error (RFC 9110 §15).
        500.. => exit::SERVER_ERROR,
        _ => exit::SUCCESS,
    }
}

/// Whether a status is one that `get` ends with an error for.
pub(super) fn is_failure(status: StatusCode) -> bool {
    of_status(status) != exit::SUCCESS
}

/// What `get` exits with; [`docs/client.md`](../../../../../docs/client.md) has the table.
pub(super) mod exit {
    pub(crate) const SUCCESS: u8 = 0;
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const REDIRECTION: u8 = 3;
    pub(crate) const CLIENT_ERROR: u8 = 4;
    pub(crate) const SERVER_ERROR: u8 = 5;
    pub(crate) const DNS: u8 = 10;
    pub(crate) const CONNECT: u8 = 11;
    pub(crate) const TLS: u8 = 12;
    pub(crate) const TIME_OUT: u8 = 13;
    pub(crate) const PROTOCOL: u8 = 14;
    pub(crate) const DISK: u8 = 22;
    pub(crate) const INTERRUPTED: u8 = 130;
    /// As a shell says of a program that SIGPIPE has ended.
    pub(crate) const BROKEN_PIPE: u8 = 141;
}
