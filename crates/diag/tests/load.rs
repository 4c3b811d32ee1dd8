//! The load generator against servers that behave, and against such that do not, over real loopback sockets.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

#[path = "load/early.rs"]
mod early;
#[path = "load/http1.rs"]
mod http1;
#[path = "load/http2.rs"]
mod http2;
#[path = "load/http3.rs"]
mod http3;
#[path = "load/quic.rs"]
mod quic;
#[path = "load/tcp.rs"]
mod tcp;
#[path = "load/versions.rs"]
mod versions;
#[path = "load/world.rs"]
mod world;
