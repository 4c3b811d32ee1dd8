//! An HTTP endpoint: HTTP/1.1, HTTP/2 and HTTP/3 on one port, any tower service behind it.
//!
//! Every version becomes one `Request<Body>` and one `Response<B>`; nothing behind that point knows which version
//! carried it, unless it asks the [`RequestContext`] in the request's extensions.
//!
//! ```text
//!  TCP ── rustls ── hyper (h1, h2) ──┐
//!                                    ├── Request<Body> ── tower service ── Response<B>
//!  UDP ── sterna-quic ── sterna-h3 ──┘
//! ```
//!
//! A worker is a thread with a single-threaded runtime, a TCP listener and a QUIC endpoint of its own. [`Server`]
//! binds everything before anything starts; [`Running`] drains and ends it.
//!
//! # Example
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use sterna_net::{Server, ServerTls};
//!
//! let router = Router::new().route("/", get(|| async { "hello" }));
//! let tls = ServerTls::from_pem_files("cert.pem", "key.pem")?;
//! let running = Server::builder().listen("127.0.0.1:8443".parse()?).tls(tls).bind()?.serve(router)?;
//! running.wait()?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod address;
pub mod body;
pub mod client;
mod content;
mod context;
mod counters;
mod era;
mod generation;
mod h3;
mod handshakes;
mod inspect;
pub mod limit;
pub mod local;
mod memory;
pub mod quic;
pub mod server;
mod service;
mod shutdown;
pub mod tickets;
pub mod tls;
mod worker;

pub use address::{Network, NotANetwork};
pub use body::Body;
pub use client::Client;
pub use context::{Cancellation, ClientIdentity, Protocol, RequestContext, TlsFacts, TooManyHeld};
pub use counters::Counters;
pub use generation::ReconfigureError;
pub use handshakes::{BOUNDS as HANDSHAKE_BOUNDS, HandshakeFailure, HandshakeFigures};
pub use inspect::{Inspection, OpenConnection};
pub use server::{BindError, Bound, Builder, Server};
pub use shutdown::{Control, Running, ServeError, Shutdown};
pub use tickets::Tickets;
pub use tls::{AnsweredHost, Challenges, ServerTls, TlsError};

/// An error of any type, as services and bodies give it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
