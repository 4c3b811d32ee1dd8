//! HTTP/3 (RFC 9114) with extensible priorities (RFC 9218), extended CONNECT (RFC 9220) and datagrams and capsules
//! (RFC 9297), sans-IO: stream bytes in, events and commands out, for clients and servers.
//!
//! ```text
//!                      handle_stream, handle_reset, handle_stop_sending, handle_datagram
//!   transport ───────────────────────────────► Connection ───────────────────────────────► application
//!             ◄─────────────────────────────── (QPACK inside) ◄───────────────────────────
//!               poll_command                                   poll_event ▲   send_*, finish, reset, shutdown
//! ```
//!
//! The crate does not know QUIC: a stream is a number, data are [`Bytes`](bytes::Bytes). It does not schedule: commands
//! come in the order of the calls, and who is written first is decided where the streams are. It has no clock: what takes
//! too long is for the layer above to see. It does bound everything that a peer can make it hold ([`Config`]), and it
//! checks every rule that a peer can break ([`PeerMisbehaved`]).
//!
//! Server push is not supported, in either role, as RFC 9114 §4.6 leaves to the client and everyone has given it up.
#![forbid(unsafe_code)]

// The public interface is:
mod capsule;
mod command;
mod config;
mod connection;
mod counters;
mod error;
mod event;
mod message;
mod priority;
mod settings;

// And below it:
mod datagram;
mod frame;
mod varint;

pub use capsule::{Capsule, CapsuleDecoder, CapsuleError};
pub use command::Command;
pub use config::{Config, Role};
pub use connection::Connection;
pub use counters::Counters;
pub use error::{ApiMisuse, Code, Error, PeerMisbehaved, Scope};
pub use event::Event;
pub use message::{Protocol, RequestHead, ResponseHead};
pub use priority::Priority;
pub use settings::Settings;

/// A QUIC stream id (RFC 9000 §2.1). A number: this crate does not know QUIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

impl StreamId {
    /// Bit 0x1: opened by the server.
    pub const fn is_server_initiated(self) -> bool {
        self.0 & 1 == 1
    }
    /// Bit 0x2: unidirectional.
    pub const fn is_uni(self) -> bool {
        self.0 & 2 == 2
    }
    /// Bit 0x2 and 0x1 clear: a request stream.
    pub const fn is_request(self) -> bool {
        self.0 & 3 == 0
    }
}
