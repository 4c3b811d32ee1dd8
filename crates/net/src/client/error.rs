//! Why a request got no whole response: in which phase, what happened, whether it may be sent again.

use std::{error::Error as StdError, fmt, io, sync::Arc};

use sterna_h3::Code;

use super::race::TraceEntry;
use crate::{BoxError, Protocol};

/// Why a request got no whole response.
///
/// A cheap handle: requests that waited for one connection share the error of its attempt.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    phase: Phase,
    kind: Kind,
    is_unsent: bool,
    protocol: Option<Protocol>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    trace: Vec<TraceEntry>,
}

/// How far a request had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// The request was looked at; nothing has happened.
    Prepare,
    /// The name was being resolved.
    Resolve,
    /// The connection was being made (TCP, or QUIC with its TLS).
    Connect,
    /// TLS over TCP was being agreed on.
    Tls,
    /// The request was on its way.
    Request,
    /// The request was sent, nothing of its response has come.
    FirstByte,
    /// The response's body was on its way.
    Body,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The URL or the head cannot be sent; repair the request.
    Request,
    /// The request's own body failed, or is not as long as it said.
    RequestBody,
    /// The name has no address, or nobody could say.
    Dns,
    /// Nobody listens there, or the server takes no more connections.
    Refused,
    /// There is no way to that address.
    Unreachable,
    /// The server's certificate is not to be trusted: another name, another authority, out of its time.
    Certificate,
    /// There is no HTTP version that both sides speak.
    Alpn,
    /// The server speaks QUIC, and no version of it that we do (RFC 9000 §6.2).
    QuicVersion,
    /// The server refused in the TLS handshake, as one does that wants a client certificate.
    TlsAlert,
    /// TLS failed for any other reason.
    Tls,
    /// It took too long: the phase says which time-out.
    Timeout,
    /// The server gave the request up, with this HTTP/2 or HTTP/3 code.
    Reset {
        /// Error code (RFC 9113 §7, RFC 9114 §8.1).
        code: u64,
    },
    /// The server is going away and did not process the request (RFC 9113 §6.8, RFC 9114 §5.2).
    GoAway,
    /// The connection failed by a rule of QUIC, HTTP/2 or HTTP/3: the peer's code, or the one that we sent it.
    Protocol {
        /// Error code.
        code: u64,
    },
    /// What came is no valid HTTP.
    Malformed,
    /// The response's head, or its trailers, are larger than the limit. On HTTP/2 that is [`Self::Malformed`], because the
    /// layer below does not tell the two apart.
    HeadersTooLarge,
    /// The response's body is not as long as it said.
    ContentLength,
    /// The connection ended in the middle of the response.
    Truncated,
    /// The connection was lost before anything of the response came.
    Lost,
    /// Too many requests wait for a connection to this origin.
    Overloaded,
    /// The client was closed.
    Closed,
    /// The system refused, for instance for a lack of file descriptors.
    System,
}

impl Error {
    pub(crate) fn new(phase: Phase, kind: Kind) -> Self {
        Self(Arc::new(Inner {
            phase,
            kind,
            is_unsent: false,
            protocol: None,
            source: None,
            trace: Vec::new(),
        }))
    }

    /// The request was not processed, and will not be.
    #[must_use]
    pub(crate) fn unsent(mut self) -> Self {
        self.change().is_unsent = true;
        self
    }

    #[must_use]
    pub(crate) fn over(mut self, protocol: Protocol) -> Self {
        self.change().protocol = Some(protocol);
        self
    }

    #[must_use]
    pub(crate) fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.change().source = Some(Arc::from(source.into()));
        self
    }

    /// The same for a response that had begun.
    #[must_use]
    pub(crate) fn in_body(mut self) -> Self {
        let inner = self.change();
        inner.phase = Phase::Body;
        inner.is_unsent = false;
        if inner.kind == Kind::Lost {
            inner.kind = Kind::Truncated;
        }
        self
    }

    /// An error of the system on the way to a connection.
    pub(crate) fn system(phase: Phase, error: io::Error) -> Self {
        use io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::ConnectionRefused => Kind::Refused,
            Io::HostUnreachable | Io::NetworkUnreachable | Io::AddrNotAvailable => {
                Kind::Unreachable
            }
            Io::TimedOut => Kind::Timeout,
            Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe | Io::UnexpectedEof => {
                Kind::Lost
            }
            _ => Kind::System,
        };
        Self::new(phase, kind).because(error)
    }

    #[must_use]
    pub(crate) fn after(mut self, trace: Vec<TraceEntry>) -> Self {
        self.change().trace = trace;
        self
    }

    fn change(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }

    /// How far the request had come.
    pub fn phase(&self) -> Phase {
        self.0.phase
    }

    /// What happened.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// TLS failed.
    pub(crate) fn is_of_tls(&self) -> bool {
        matches!(self.0.kind, Kind::Tls | Kind::TlsAlert | Kind::Certificate | Kind::Alpn)
    }

    /// It took too long.
    pub fn is_timeout(&self) -> bool {
        self.0.kind == Kind::Timeout
    }

    /// The server did not process the request: it may be sent again, whatever its method (RFC 9110 §9.2.2).
    pub fn may_retry(&self) -> bool {
        self.0.is_unsent
    }

    /// The HTTP version, once it was settled.
    pub fn protocol(&self) -> Option<Protocol> {
        self.0.protocol
    }

    /// How a connection was tried for, when there came none of it.
    pub fn trace(&self) -> &[TraceEntry] {
        &self.0.trace
    }

    /// The code on the wire, when there was one.
    pub fn code(&self) -> Option<u64> {
        match self.0.kind {
            Kind::Reset { code } | Kind::Protocol { code } => Some(code),
            _ => None,
        }
    }
}

impl Phase {
    fn words(self) -> &'static str {
        match self {
            Self::Prepare => "before anything was sent",
            Self::Resolve => "while resolving the name",
            Self::Connect => "while connecting",
            Self::Tls => "in the TLS handshake",
            Self::Request => "while sending the request",
            Self::FirstByte => "while waiting for the response",
            Self::Body => "in the middle of the response",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "the request cannot be sent as it is",
            Self::RequestBody => "the request's body failed",
            Self::Dns => "the name could not be resolved",
            Self::Refused => "the server refused the connection",
            Self::Unreachable => "the address cannot be reached",
            Self::Certificate => "the server's certificate is not to be trusted",
            Self::Alpn => "the server speaks no HTTP version that was offered",
            Self::QuicVersion => "the server speaks no version of QUIC that we do",
            Self::TlsAlert => "the server refused in the TLS handshake",
            Self::Tls => "TLS failed",
            Self::Timeout => "it took too long",
            Self::Reset { code } => return write!(f, "the server gave up with code {code:#x}"),
            Self::GoAway => "the server is going away",
            Self::Protocol { code } => {
                return write!(f, "the connection failed with code {code:#x}");
            }
            Self::Malformed => "the server does not speak valid HTTP",
            Self::HeadersTooLarge => "the response's head is larger than the limit",
            Self::ContentLength => "the response's body is not as long as it said",
            Self::Truncated => "the connection ended before the response did",
            Self::Lost => "the connection was lost",
            Self::Overloaded => "too many requests wait for a connection",
            Self::Closed => "the client was closed",
            Self::System => "the system refused",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.kind, self.0.phase.words())?;
        match self.0.protocol {
            Some(protocol) => write!(f, " ({protocol})"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("phase", &self.0.phase)
            .field("kind", &self.0.kind)
            .field("protocol", &self.0.protocol)
            .field("may_retry", &self.0.is_unsent)
            .field("source", &self.0.source)
            .finish()
    }
}

/// What a failed TLS handshake over TCP means.
pub(crate) fn of_tls(error: io::Error) -> Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls.map(tls_kind) {
        Some(kind) => Error::new(Phase::Tls, kind).because(error),
        None => Error::system(Phase::Tls, error),
    }
}

/// What a failure of TLS means, whatever carried it.
pub(crate) fn tls_kind(error: &rustls::Error) -> Kind {
    use rustls::{AlertDescription as Alert, Error as Tls};
    match error {
        Tls::InvalidCertificate(_) | Tls::NoCertificatesPresented => Kind::Certificate,
        Tls::NoApplicationProtocol | Tls::AlertReceived(Alert::NoApplicationProtocol) => Kind::Alpn,
        Tls::AlertReceived(_) => Kind::TlsAlert,
        _ => Kind::Tls,
    }
}

/// What the end of a QUIC connection means for a request in `phase`.
pub(crate) fn of_quic(reason: &sterna_quic::CloseReason, phase: Phase) -> Error {
    use sterna_quic::CloseReason as Reason;
    let kind = match reason {
        Reason::Local => Kind::Closed,
        Reason::Tls { error, .. } => tls_kind(error),
        Reason::Transport { code: CONNECTION_REFUSED, .. } => Kind::Refused,
        Reason::Transport { code: NO_APPLICATION_PROTOCOL, .. } => Kind::Alpn,
        Reason::Transport { code: 0x100..0x200, .. } => Kind::TlsAlert,
        Reason::Application { code, .. } if *code == Code::NoError.value() => Kind::Lost,
        Reason::Application { code, .. }
        | Reason::Transport { code, .. }
        | Reason::PeerMisbehaved { code, .. } => Kind::Protocol { code: *code },
        Reason::TimedOut => Kind::Timeout,
        Reason::StatelessReset => Kind::Lost,
        // req: 9000-6.2-abandon
        Reason::VersionMismatch => Kind::QuicVersion,
        _ => Kind::Lost,
    };
    let error = Error::new(phase, kind).over(Protocol::Http3);
    match reason {
        Reason::Tls { error: tls, .. } => error.because(tls.clone()),
        Reason::PeerMisbehaved { reason, .. } => error.because(reason.clone()),
        Reason::Stranded => {
            error.because("the server forbids clients to go on from another address")
        }
        Reason::Application { reason, .. } | Reason::Transport { reason, .. }
            if !reason.is_empty() =>
        {
            error.because(String::from_utf8_lossy(reason).into_owned())
        }
        _ => error,
    }
}

/// RFC 9000 §20.1.
const CONNECTION_REFUSED: u64 = 0x02;

/// CRYPTO_ERROR with the alert `no_application_protocol` (RFC 9000 §20.1, RFC 7301 §3.2).
const NO_APPLICATION_PROTOCOL: u64 = 0x178;
