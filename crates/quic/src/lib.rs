//! A QUIC driver over a sans-IO state machine: contract skeleton, to be filled.
//!
//! No type of the engine appears here, so that it can be replaced.

pub mod congestion;
mod config;
mod connection;
mod driver;
mod endpoint;
mod socket;
mod stream;

pub use config::{ClientConfig, Config, ServerConfig};
pub use connection::{CloseReason, Connection, ConnectionKey, Event, Stats};
pub use driver::{Driver, Group, Member};
pub use endpoint::{Application, Endpoint};
pub use socket::{SocketOptions, SocketReport};
pub use stream::{Dir, Read, StreamId, Write};
