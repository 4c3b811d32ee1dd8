//! What a connection tells the application: events while it lives, a reason when it ends.

use std::net::SocketAddr;

use bytes::Bytes;
use quinn_proto::ConnectionError;

use crate::{Dir, StreamId};

/// What happened on a connection, in order. `Readable` comes once for each stream and turn.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is complete.
    Connected,
    /// The peer opened a stream; a `Readable` follows at once.
    Opened(StreamId),
    /// Data, an end or a reset can be read: read until [`Read::Blocked`](crate::Read::Blocked).
    Readable(StreamId),
    /// A blocked write can go on.
    Writable(StreamId),
    /// The peer acknowledged everything, FIN included: our side is over.
    Finished(StreamId),
    /// STOP_SENDING with this code.
    Stopped(StreamId, u64),
    /// The stream was not acknowledged as a whole by its [deadline](crate::Connection::set_deadline): it is reset.
    Expired(StreamId),
    /// We may open streams of this direction again.
    Available(Dir),
    /// A DATAGRAM arrived.
    Datagram(Bytes),
    /// The peer's address changed, and the new path carries data now (RFC 9000 §9). Anyone who has the keys can claim an
    /// address so: [`Self::PathValidated`] follows when it is the peer's.
    Migrated {
        /// Before.
        from: SocketAddr,
        /// Now.
        to: SocketAddr,
    },
    /// The peer has answered at its new address, which so is its own and no claim (RFC 9000 §8.2). Servers only.
    PathValidated {
        /// Which.
        address: SocketAddr,
    },
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CloseReason {
    /// We closed it.
    Local,
    /// The peer's application closed it with this code (for HTTP/3: RFC 9114 §8.1).
    Application {
        /// Code.
        code: u64,
        /// Text of the peer.
        reason: Bytes,
    },
    /// The peer's transport closed it with this code (RFC 9000 §20.1).
    Transport {
        /// Code.
        code: u64,
        /// Text of the peer.
        reason: Bytes,
    },
    /// The peer broke the transport protocol; we closed with this code.
    PeerMisbehaved {
        /// Code.
        code: u64,
        /// What it did.
        reason: String,
    },
    /// Our side of TLS ended the handshake: a certificate that is not trusted, no common protocol. The peer was told by
    /// `code`, an alert (RFC 9001 §4.8). An alert of the peer is [`Self::Transport`] with such a code.
    Tls {
        /// Code.
        code: u64,
        /// What was wrong.
        error: rustls::Error,
    },
    /// Silence for longer than the idle time-out, or the handshake took too long.
    TimedOut,
    /// A stateless reset arrived.
    StatelessReset,
    /// The peer speaks no version of QUIC that we do.
    VersionMismatch,
    /// Client: our address changed, and the server forbids clients to move (RFC 9000 §9).
    Stranded,
}

impl From<ConnectionError> for CloseReason {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::VersionMismatch => Self::VersionMismatch,
            ConnectionError::TransportError(error) => {
                Self::PeerMisbehaved { code: error.code.into(), reason: error.to_string() }
            }
            ConnectionError::ConnectionClosed(close) => {
                Self::Transport { code: close.error_code.into(), reason: close.reason }
            }
            ConnectionError::ApplicationClosed(close) => {
                Self::Application { code: close.error_code.into(), reason: close.reason }
            }
            ConnectionError::Reset => Self::StatelessReset,
            ConnectionError::TimedOut => Self::TimedOut,
            // Running out of connection IDs ends an attempt of ours before it has state.
            ConnectionError::LocallyClosed | ConnectionError::CidsExhausted => Self::Local,
        }
    }
}
