//! How a request, a handshake or a connection can fail: one name for each, counted apart.

use std::io;

use sterna_quic::CloseReason;

/// Why something failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// No connection: refused, unreachable, no socket.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The TLS handshake failed on either side.
    #[error("TLS: {0}")]
    Tls(String),
    /// No connection within the time for it.
    #[error("no connection within the time for the handshake")]
    HandshakeTimeout,
    /// The server did not take what was sent in 0-RTT packets.
    #[error("the server refused early data")]
    EarlyDataRejected,
    /// The server did not begin with it (H3_REQUEST_REJECTED, or REFUSED_STREAM of HTTP/2).
    #[error("the server refused the stream")]
    RefusedStream,
    /// The server reset the stream with this code.
    #[error("stream reset with code {0:#x}")]
    Reset(u64),
    /// The server said by GOAWAY that it would not answer this request.
    #[error("not answered after GOAWAY")]
    Goaway,
    /// The connection ended by silence.
    #[error("the connection timed out")]
    IdleTimeout,
    /// The server closed the connection with this code; zero over TCP, where there is none.
    #[error("the server closed the connection with code {code:#x}{}", text(reason))]
    Closed {
        /// Code.
        code: u64,
        /// Text of the server.
        reason: String,
    },
    /// The server answered with this status, 400 or above.
    #[error("status {0}")]
    Status(u16),
    /// The response ended before its end.
    #[error("the response ended early: {0}")]
    Truncated(&'static str),
    /// What the server sent breaks the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// No whole response within the time for it.
    #[error("no response within the time for it")]
    Timeout,
    /// The connection stands, and the server allows no request on it.
    #[error("the server allowed no request within the time for one")]
    Starved,
    /// The ids of events are not what follows the last one.
    #[error("an event is missing, or came twice")]
    EventGap,
}

impl Failure {
    /// All names, in the order of reports.
    pub const KINDS: [&str; 15] = [
        "connect",
        "tls",
        "handshake_timeout",
        "early_data_rejected",
        "refused_stream",
        "reset",
        "goaway",
        "idle_timeout",
        "closed",
        "status",
        "truncated",
        "protocol",
        "timeout",
        "starved",
        "event_gap",
    ];

    /// Its name, the same in every report.
    pub fn kind(&self) -> &'static str {
        Self::KINDS[self.index()]
    }

    /// Its place in [`Self::KINDS`].
    pub(super) fn index(&self) -> usize {
        match self {
            Self::Connect(_) => 0,
            Self::Tls(_) => 1,
            Self::HandshakeTimeout => 2,
            Self::EarlyDataRejected => 3,
            Self::RefusedStream => 4,
            Self::Reset(_) => 5,
            Self::Goaway => 6,
            Self::IdleTimeout => 7,
            Self::Closed { .. } => 8,
            Self::Status(_) => 9,
            Self::Truncated(_) => 10,
            Self::Protocol(_) => 11,
            Self::Timeout => 12,
            Self::Starved => 13,
            Self::EventGap => 14,
        }
    }

    /// The number that tells cases of one kind apart: a code or a status.
    pub(super) fn code(&self) -> Option<u64> {
        match self {
            Self::Reset(code) | Self::Closed { code, .. } => Some(*code),
            Self::Status(status) => Some((*status).into()),
            _ => None,
        }
    }

    /// Of a stream that was reset with a code of HTTP/3.
    pub(super) fn of_h3_reset(code: u64) -> Self {
        match code {
            H3_REQUEST_REJECTED => Self::RefusedStream,
            code => Self::Reset(code),
        }
    }

    /// Of a QUIC connection that ended, before or after its handshake.
    pub(super) fn of_quic(reason: &CloseReason, was_connected: bool) -> Self {
        let of_tls = |code: u64| TLS_ALERTS.contains(&code);
        match reason {
            CloseReason::TimedOut if was_connected => Self::IdleTimeout,
            CloseReason::TimedOut => Self::HandshakeTimeout,
            CloseReason::Tls { error, .. } => Self::Tls(error.to_string()),
            CloseReason::Transport { code, reason } if of_tls(*code) => {
                Self::Tls(format!("alert {} of the server{}", code & 0xff, text(&lossy(reason))))
            }
            CloseReason::PeerMisbehaved { code, reason } if of_tls(*code) => {
                Self::Tls(reason.clone())
            }
            CloseReason::Application { code, reason } | CloseReason::Transport { code, reason } => {
                Self::Closed { code: *code, reason: lossy(reason) }
            }
            CloseReason::PeerMisbehaved { reason, .. } => Self::Protocol(reason.clone()),
            CloseReason::StatelessReset => {
                Self::Closed { code: 0, reason: "stateless reset".to_owned() }
            }
            CloseReason::VersionMismatch => Self::Connect("no common version of QUIC".to_owned()),
            // It never ends by us while something is under way, unless a driver stops.
            CloseReason::Local => Self::Closed { code: 0, reason: "by this side".to_owned() },
            other => Self::Closed { code: 0, reason: format!("{other:?}") },
        }
    }

    /// Of a TCP connection, or of TLS on it, once it stood.
    pub(super) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated("no end of TLS"),
            io::ErrorKind::InvalidData => Self::Tls(error.to_string()),
            io::ErrorKind::TimedOut => Self::IdleTimeout,
            _ => Self::Closed { code: 0, reason: error.to_string() },
        }
    }
}

/// A peer's text, cut to what fits a line.
fn lossy(text: &[u8]) -> String {
    let shown = &text[..text.len().min(LONGEST_TEXT)];
    String::from_utf8_lossy(shown).replace(char::is_control, " ")
}

fn text(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

/// CRYPTO_ERROR (RFC 9000 §20.1).
const TLS_ALERTS: std::ops::Range<u64> = 0x100..0x200;

/// RFC 9114 §8.1.
const H3_REQUEST_REJECTED: u64 = 0x10b;

/// Of a peer's reason, in bytes.
const LONGEST_TEXT: usize = 120;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn each_end_of_a_quic_connection_has_its_kind() {
        let application =
            CloseReason::Application { code: 0x102, reason: Bytes::from_static(b"no\nway") };
        let alert = CloseReason::Transport { code: 0x128, reason: Bytes::new() };
        let kinds = |reason| {
            [true, false].map(|was_connected| Failure::of_quic(reason, was_connected).kind())
        };
        assert_eq!(kinds(&CloseReason::TimedOut), ["idle_timeout", "handshake_timeout"]);
        assert_eq!(kinds(&alert), ["tls", "tls"]);
        assert_eq!(kinds(&application), ["closed", "closed"]);
        assert_eq!(
            Failure::of_quic(&application, true).to_string(),
            "the server closed the connection with code 0x102 (no way)"
        );
    }

    #[test]
    fn a_rejected_request_is_not_just_any_reset() {
        assert_eq!(Failure::of_h3_reset(0x10b), Failure::RefusedStream);
        assert_eq!(Failure::of_h3_reset(0x102), Failure::Reset(0x102));
    }
}
