//! Skeleton.
use crate::congestion::Algorithm;
use std::{sync::Arc, time::Duration};

/// Transport parameters and limits, for both roles.
#[derive(Clone, Debug)]
pub struct Config {
    /// Receive window of one stream, in bytes. Default: 6 MiB.
    pub stream_window: u64,
    /// Receive window of the connection, in bytes. Default: 15 MiB.
    pub connection_window: u64,
    /// Bytes that a connection may hold unacknowledged for sending. Default: 8 MiB (choose by measurement).
    pub send_window: u64,
    /// Bidirectional streams that the peer may have open. Default: 100.
    pub max_bidi_streams: u64,
    /// Unidirectional streams that the peer may have open. Default: 100.
    pub max_uni_streams: u64,
    /// Idle time-out. Default: 30 s.
    pub idle_timeout: Duration,
    /// Time for the handshake. Default: 10 s.
    pub handshake_timeout: Duration,
    /// PING after this much silence. Default: off.
    pub keep_alive: Option<Duration>,
    /// Largest DATAGRAM to accept, `None` switches datagrams off. Default: off.
    pub datagrams: Option<usize>,
    /// Congestion controller. Default: cubic.
    pub congestion: Algorithm,
    /// Path MTU discovery. Default: on.
    pub mtu_discovery: bool,
    /// Connections of one endpoint; above it new ones are refused. Default: 100,000.
    pub max_connections: usize,
}

impl Default for Config {
    fn default() -> Self {
        todo!()
    }
}

/// What a server needs: TLS (with ALPN set by the caller, TLS 1.3 with an initial cipher suite) and transport.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// TLS.
    pub tls: Arc<rustls::ServerConfig>,
    /// Transport.
    pub transport: Config,
}

/// What a client needs.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// TLS.
    pub tls: Arc<rustls::ClientConfig>,
    /// Transport.
    pub transport: Config,
}
