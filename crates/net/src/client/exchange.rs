//! What a response tells of the way that it came: the [`Exchange`] in its extensions.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode};

use super::race::TraceEntry;
use crate::{Protocol, TlsFacts};

/// The way that a response came.
///
/// Present in the extensions of every response of a [`Client`](super::Client).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exchange {
    /// The HTTP version.
    pub protocol: Protocol,
    /// The server's address.
    pub remote: SocketAddr,
    /// Our address, where the connection began.
    pub local: Option<SocketAddr>,
    /// What TLS agreed on; `None` in the clear.
    pub tls: Option<Arc<TlsFacts>>,
    /// How long each phase took.
    pub timings: Timings,
    /// The connection had carried a request before.
    pub reused: bool,
    /// What became of early data (0-RTT).
    pub early_data: EarlyData,
    /// How often the request was sent; 1 without a retry.
    pub attempts: u32,
    /// Interim responses (1xx) that came before: the first eight.
    pub interim: Vec<(StatusCode, HeaderMap)>,
    /// How the connection was made; empty when it was there already.
    pub trace: Vec<TraceEntry>,
    /// Figures of the QUIC connection when the response's head came.
    pub quic: Option<sterna_quic::Stats>,
}

/// How long each phase of a request took. Those of the connection are zero when it was there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// Until the name was resolved.
    pub resolve: Duration,
    /// The TCP handshake, or that of QUIC with its TLS.
    pub connect: Duration,
    /// The TLS handshake over TCP.
    pub tls: Duration,
    /// From [`send`](super::Client::send) until there was a connection to send on.
    pub waited: Duration,
    /// From [`send`](super::Client::send) until the response's head came.
    pub first_byte: Duration,
}

/// What became of early data (0-RTT, RFC 8470).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EarlyData {
    /// The request was not sent before the handshake was complete.
    #[default]
    NotOffered,
    /// It was, and the server took it.
    Accepted,
    /// It was, the server refused it, and it was sent again after the handshake.
    Rejected,
}
