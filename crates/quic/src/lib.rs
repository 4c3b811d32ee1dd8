//! A QUIC driver over a sans-IO state machine: one endpoint for each worker, its socket, timers,
//! connection IDs, steering and congestion control.
//!
//! ```text
//!             Driver::turn             waits: socket, timer, mailbox, woken tasks   (tokio)
//!                  │
//!  Wire ───▶ Endpoint::turn ───▶ Application::run(state, &mut Connection)           (sans-IO)
//!  (socket         │                        HTTP/3 reads and writes streams on the spot
//!   or sim)   quinn-proto
//! ```
//!
//! No type of the engine appears in the public interface, so that it can be replaced. rustls is
//! the project's TLS everywhere, its types do appear.

pub mod congestion;

mod choice;
mod cid;
mod config;
mod connection;
mod counters;
mod crypto;
mod driver;
mod early;
mod endpoint;
mod event;
mod mailbox;
mod place;
mod secret;
#[cfg(feature = "sim")]
pub mod sim;
mod socket;
mod steer;
mod stream;
mod timer;
mod token;
mod wire;

pub use choice::{ByName, Chosen};
pub use config::{ClientConfig, Config, ConfigError, Retry, ServerConfig};
pub use connection::{Connection, ConnectionKey, Limits, Stats};
pub use counters::Counters;
pub use crypto::{Direction, Level, Observe, PacketObserver};
pub use driver::{Driver, Group, Member};
pub use early::{Opened, ReplayGuard, Tickets, Verdict, Window};
pub use endpoint::{Admit, Application, ConnectError, Endpoint};
pub use event::{CloseReason, Event};
pub use secret::Secret;
pub use socket::{SocketOptions, SocketReport};
pub use stream::{Dir, Read, ReadEnd, StreamId, Write};
pub use wire::{Datagram, Outgoing, Sent, Wire};
