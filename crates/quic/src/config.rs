//! What a user of this crate chooses: transport parameters, limits and TLS, for both roles.
//!
//! [`Config`] is a plain struct. Its way into the engine is one destructuring without `..`, so
//! that a new field does not compile until it has an effect.

use std::{sync::Arc, time::Duration};

use quinn_proto::{
    IdleTimeout, MtuDiscoveryConfig, TransportConfig, ValidationTokenConfig, VarInt,
};

use crate::{
    ByName, Observe, Tickets,
    congestion::Congestion,
    crypto,
    token::{self, TokenKey},
};

/// Transport parameters and limits, for both roles.
#[derive(Clone, Debug)]
pub struct Config {
    /// Receive window of one stream, in bytes. Default: 6 MiB.
    pub stream_window: u64,
    /// Receive window of the connection, in bytes; a server's grows up to it. Default: 15 MiB.
    pub connection_window: u64,
    /// Servers: receive window with which a connection begins, in bytes. It grows as fast as it is read, and by what waits to be
    /// read on streams that are not. Default: 256 KiB.
    pub initial_connection_window: u64,
    /// Bytes that a connection may hold unacknowledged for sending. Default: 8 MiB, which is
    /// 100 ms at 670 Mbit/s.
    pub send_window: u64,
    /// Bidirectional streams that the peer may have open. Default: 100.
    pub max_bidi_streams: u64,
    /// Unidirectional streams that the peer may have open. Default: 8. HTTP/3 needs 3 (RFC 9114 §6.2), the rest is for
    /// extensions; the engine keeps an entry for each stream that may be opened, 3 KiB for 100 of them.
    pub max_uni_streams: u64,
    /// Silence after which a connection is over; zero switches the time-out off. Default: 30 s.
    pub idle_timeout: Duration,
    /// Time that a handshake may take, however busy the peer keeps it. Default: 10 s.
    pub handshake_timeout: Duration,
    /// PING after this much silence. Default: off.
    pub keep_alive: Option<Duration>,
    /// Bytes of received DATAGRAMs that may wait for one run of the application, and with it the
    /// largest that is accepted; `None` switches datagrams off. Default: off.
    pub datagrams: Option<usize>,
    /// Congestion controller, and the window of a new path. Default: cubic, ten datagrams.
    pub congestion: Congestion,
    /// Path MTU discovery. Default: on.
    pub mtu_discovery: bool,
    /// Server: clients may move to another address of theirs. Without it they are asked not to (`disable_active_migration`,
    /// RFC 9000 §18.2); whoever moves all the same, as one behind a NAT that forgot, has its path validated and goes on.
    /// Default: on.
    pub migration: bool,
    /// Connections of one endpoint; above it new ones are refused. Default: 100,000.
    pub max_connections: usize,
    /// Handshakes of one endpoint that may be under way; above it new ones prove their address first, or are refused. One that
    /// says nothing more costs some 45 KiB until `handshake_timeout`. Default: 4,096.
    pub max_handshakes: usize,
    /// When a server makes a client prove its address first. Default: above 500 handshakes.
    pub retry: Retry,
    /// Servers: what seals their tickets and guards their early data; with it, `rustls::ServerConfig` needs neither a ticketer nor
    /// a session storage. Default: none.
    pub tickets: Option<Arc<dyn Tickets>>,
    /// Servers: TLS and tickets for the name that a client asks for, in place of those that are the same for all. Default: none.
    pub by_name: Option<Arc<dyn ByName>>,
    /// Sees the frames of every packet, for qlog and tests. Default: none, which costs nothing.
    pub observe: Option<Arc<dyn Observe>>,
}

/// When a server answers a first flight with Retry (RFC 9000 §8.1.2) instead of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Never: a handshake costs one round trip, and a flood of spoofed ones costs memory.
    Never,
    /// Under load: from when more than this many handshakes of the endpoint are under way, or first flights come at twice this
    /// number in a second, until both have been below half of it for a second.
    Above(usize),
    /// Always: each new client pays one more round trip.
    Always,
}

/// What a server needs: TLS (with ALPN set by the caller, TLS 1.3 with an initial cipher suite)
/// and transport.
///
/// The order of cipher suites is the caller's: put AES-128-GCM first where the CPU has AES
/// instructions, it costs 13 to 25 % less for each packet than rustls's default AES-256-GCM.
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

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The provider lacks TLS13_AES_128_GCM_SHA256, which protects Initial packets (RFC 9001 §5.2).
    #[error(
        "the TLS provider has no TLS13_AES_128_GCM_SHA256, which QUIC needs for its first packets"
    )]
    NoInitialCipherSuite,
    /// TLS early data is neither off nor unlimited, which QUIC forbids (RFC 9001 §4.6.1).
    #[error("max_early_data_size is {0}, but QUIC allows 0 and 0xffffffff only")]
    EarlyDataSize(u32),
    /// TLS cannot serve QUIC: it needs TLS 1.3 (RFC 9001 §4.2).
    #[error("the TLS configuration cannot serve QUIC")]
    Tls(#[source] rustls::Error),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            stream_window: 6 << 20,
            connection_window: 15 << 20,
            initial_connection_window: 256 << 10,
            send_window: 8 << 20,
            max_bidi_streams: 100,
            max_uni_streams: 8,
            idle_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            keep_alive: None,
            datagrams: None,
            congestion: Congestion::default(),
            mtu_discovery: true,
            migration: true,
            max_connections: 100_000,
            max_handshakes: 4_096,
            retry: Retry::Above(500),
            tickets: None,
            by_name: None,
            observe: None,
        }
    }
}

impl Config {
    /// The engine's form of it.
    ///
    /// `handshake_timeout`, `max_connections`, `max_handshakes` and `retry` have no counterpart there, the endpoint
    /// itself enforces them, and servers alone have an `initial_connection_window`; `migration`, `tickets`, `by_name` and `observe` go with TLS.
    pub(crate) fn to_engine(&self) -> TransportConfig {
        let Self {
            stream_window,
            connection_window,
            initial_connection_window: _,
            send_window,
            max_bidi_streams,
            max_uni_streams,
            idle_timeout,
            handshake_timeout: _,
            keep_alive,
            datagrams,
            congestion,
            mtu_discovery,
            migration: _,
            max_connections: _,
            max_handshakes: _,
            retry: _,
            tickets: _,
            by_name: _,
            observe: _,
        } = self;
        let mut engine = TransportConfig::default();
        engine
            .stream_receive_window(varint(*stream_window))
            .receive_window(varint(*connection_window))
            .send_window(*send_window)
            .max_concurrent_bidi_streams(varint(*max_bidi_streams))
            .max_concurrent_uni_streams(varint(*max_uni_streams))
            .max_idle_timeout(idle(*idle_timeout))
            .keep_alive_interval(*keep_alive)
            .datagram_receive_buffer_size(*datagrams)
            .datagram_send_buffer_size(datagrams.unwrap_or(0).max(MIN_DATAGRAM_QUEUE))
            .congestion_controller_factory(congestion.factory())
            .mtu_discovery_config(mtu_discovery.then(MtuDiscoveryConfig::default))
            // Scheduling (RFC 9218) is above us, by what is written when. Without fairness the engine stays with a
            // stream until its queue is empty, which a stream that is refilled never is: the control stream, QPACK and
            // a more urgent response would wait for the end of a download.
            .send_fairness(true);
        engine
    }
}

impl Config {
    /// `initial_max_data` of a server.
    pub(crate) fn first_window(&self) -> u64 {
        self.initial_connection_window.min(self.connection_window)
    }
}

impl ServerConfig {
    /// The engine's form of it; `token_key` seals Retry tokens.
    pub(crate) fn to_engine(
        &self,
        token_key: &TokenKey,
    ) -> Result<(quinn_proto::ServerConfig, Arc<crypto::Server>), ConfigError> {
        let Config { observe, migration, tickets, by_name, .. } = &self.transport;
        let session = crypto::Server::new(self.tls.clone(), observe.clone(), *migration)?
            .with_tickets(tickets.clone())
            .with_choice(by_name.clone());
        let session = Arc::new(session);
        let mut engine =
            quinn_proto::ServerConfig::new(session.clone(), Arc::new(token_key.clone()));
        // req: 9000-8.1.3-next-time
        let mut next = ValidationTokenConfig::default();
        next.lifetime(token::NEXT_LIFETIME).log(Arc::new(token::Looked)).sent(1);
        let mut transport = self.transport.to_engine();
        transport.receive_window(varint(self.transport.first_window()));
        engine
            .transport_config(Arc::new(transport))
            .retry_token_lifetime(token::RETRY_LIFETIME)
            .validation_token_config(next)
            // Each attempt is decided in the turn that brings it, so none is ever kept waiting.
            .max_incoming(MAX_UNDECIDED)
            .incoming_buffer_size(0)
            .incoming_buffer_size_total(0);
        Ok((engine, session))
    }
}

impl ClientConfig {
    /// The engine's form of it.
    pub(crate) fn to_engine(&self) -> Result<quinn_proto::ClientConfig, ConfigError> {
        let session = crypto::Client::new(self.tls.clone(), self.transport.observe.clone())?;
        let mut engine = quinn_proto::ClientConfig::new(Arc::new(session));
        engine.transport_config(Arc::new(self.transport.to_engine()));
        Ok(engine)
    }
}

/// Zero means no time-out (RFC 9000 §18.2), as do durations that the parameter cannot express.
fn idle(timeout: Duration) -> Option<IdleTimeout> {
    // req: 9000-10.1-idle-time-out
    (!timeout.is_zero()).then(|| IdleTimeout::try_from(timeout).ok()).flatten()
}

/// The largest value that a variable-length integer can carry stands for all above it.
pub(crate) fn varint(value: u64) -> VarInt {
    VarInt::from_u64(value).unwrap_or(VarInt::MAX)
}

/// Room for unsent DATAGRAMs, in bytes: some dozens of full ones.
const MIN_DATAGRAM_QUEUE: usize = 64 * 1024;

/// Attempts that the engine may hold before we decide on them; we hold one at a time.
const MAX_UNDECIDED: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_idle_timeout_for_zero_and_for_more_than_a_varint() {
        assert_eq!(idle(Duration::ZERO), None);
        assert_eq!(idle(Duration::MAX), None);
        assert_eq!(idle(Duration::from_millis(1)), Some(VarInt::from_u32(1).into()));
    }

    #[test]
    fn values_beyond_a_varint_become_the_largest() {
        assert_eq!(varint((1 << 62) - 1), VarInt::MAX);
        assert_eq!(varint(1 << 62), VarInt::MAX);
        assert_eq!(varint(7), VarInt::from_u32(7));
    }
}
