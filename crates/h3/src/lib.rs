//! HTTP/3, sans-IO: contract skeleton, to be filled.
#![forbid(unsafe_code)]

mod connection;
mod error;
mod event;
mod message;
mod priority;
mod settings;

pub use connection::{Command, Config, Connection, Role};
pub use error::{ApiMisuse, Code, Error, PeerMisbehaved};
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
}
