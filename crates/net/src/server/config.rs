//! Limits, time-outs and choices of a server.

use std::{net::SocketAddr, time::Duration};

use super::AltSvc;
use crate::Network;
use crate::limit::{MinRate, Quota};
use crate::quic::Congestion;

/// Limits, time-outs and choices of a server. Every default is safe on the open internet.
#[derive(Clone, Debug)]
pub struct Config {
    /// Serve HTTP/3 beside TCP when there is TLS. Default: true.
    pub http3: bool,
    /// Announce HTTP/3 in responses (RFC 7838); `None` is silent. Default: on. Sent only when UDP is up.
    pub alt_svc: Option<AltSvc>,
    /// Time for a TLS or QUIC handshake. Default: 10 s.
    pub handshake_timeout: Duration,
    /// Time for a request's head, from its first byte. Default: 10 s.
    pub header_timeout: Duration,
    /// Longest pause within a request's body while someone waits for it. Default: 30 s.
    pub body_idle_timeout: Duration,
    /// Longest time in which a client takes nothing of the responses that wait for it: on HTTP/3 of one, over TCP of all of
    /// its connection, where it is noticed after one to two times as long. Default: 60 s.
    pub write_timeout: Duration,
    /// How long an idle connection over TCP is kept. Default: 60 s. (QUIC: `quic.idle_timeout`.)
    pub keep_alive_timeout: Duration,
    /// Largest field section of a request, in bytes as RFC 9114 §4.2.2 counts; above it 431. Default: 64 KiB.
    pub max_header_size: usize,
    /// Largest request body, in bytes; above it 413. Default: none, the application decides.
    pub max_body_size: Option<u64>,
    /// TCP connections of one worker; above it new ones wait in the kernel. Default: 10,000.
    pub max_tcp_connections: usize,
    /// Peers that begin each TCP connection with the PROXY protocol (version 1 or 2), in front of TLS; what they name is the
    /// peer's address then. From all others such a beginning is garbage. HTTP/3 has no such beginning: connections from
    /// these peers are refused there, for nobody could say whose they are. Default: none.
    pub proxy_protocol: Vec<Network>,
    /// Requests at once on one HTTP/2 connection. Default: 100. (HTTP/3: `quic.max_bidi_streams`.)
    pub max_http2_streams: u32,
    /// Requests at once that an HTTP/3 connection grows to from `quic.max_bidi_streams`, by doubling, when it uses what
    /// it has and its requests are answered. Default: 1000.
    pub max_http3_streams: u64,
    /// Bytes of one request's body that wait for the application on HTTP/3 before reading stops. Default: 256 KiB.
    pub upload_buffer: usize,
    /// Bytes of all request bodies of one HTTP/3 connection that wait for the application before reading stops; a
    /// body of which nothing waits is always read. Default: 4 MiB.
    pub upload_buffer_total: usize,
    /// Connections at once of one address, over TCP and QUIC together, on all workers; an IPv6 address stands for its /64.
    /// Above it one more is closed at once, over QUIC after the client has proved its address. Default: none.
    pub connections_per_ip: Option<u32>,
    /// Handshakes of one address. Above it TCP connections are closed, and QUIC clients prove their address first, with a
    /// rate of their own for those who have. Default: none.
    pub handshakes_per_ip: Option<Quota>,
    /// Requests at once of one address, on all of its connections. One more closes its connection: H3_EXCESSIVE_LOAD,
    /// ENHANCE_YOUR_CALM, or an end without an answer. Default: none.
    pub streams_per_ip: Option<u32>,
    /// How fast one address may begin requests, with the same end. Default: none.
    pub requests_per_ip: Option<Quota>,
    /// A worker that comes to its work later than this, twice in a row, answers new requests with 503 until it has caught
    /// up. Default: none.
    pub max_lag: Option<Duration>,
    /// The least rate at which clients send content and take it, while we wait for them: who is slower is cut off, with 408
    /// where a request is late. Default: 500 bytes in a second after a grace of 60 s, which is no shorter
    /// than any pause that is allowed.
    pub min_rate: Option<MinRate>,
    /// Take requests in early data over QUIC (0-RTT), on tickets of ours. They reach the service before anyone knows that they
    /// are no replay: it has to ask [`RequestContext::is_early`](crate::RequestContext::is_early), and to wait with what must
    /// not happen twice. Default: false.
    pub early_data: bool,
    /// Connections that began with other certificates or settings of TLS are told to go this long after those were replaced, the
    /// last of them a tenth later: `Connection: close`, or GOAWAY. What runs on them goes on to its end. Default: never.
    pub retire_after: Option<Duration>,
    /// Bytes that the server may hold of what clients send on HTTP/3, until the application takes them. From three quarters of
    /// it new clients prove their address first, from fifteen sixteenths to seven eighths connections that hold most for the
    /// least use are closed with H3_EXCESSIVE_LOAD, and at the limit new ones are refused. Default: 256 MiB.
    pub memory: Option<u64>,
    /// Pass CONNECT on to the service instead of refusing it with 501. Default: false.
    pub allow_connect: bool,
    /// Wanted UDP socket buffers, in bytes. Default: 4 MiB.
    pub udp_buffer: usize,
    /// The kernel hands each datagram to the worker whose connection it is. Without it, one that lands on another worker is
    /// forwarded. Default: on, where the kernel can.
    pub steering: bool,
    /// QUIC: windows, streams, idle time-out, congestion control.
    pub quic: sterna_quic::Config,
    /// What a listen address has instead of `quic.congestion`; port 0 stands for every port of its address. The first that
    /// matches counts. Default: none.
    pub congestion_at: Vec<(SocketAddr, Congestion)>,
    /// HTTP/3: QPACK and extensions. `max_field_section_size` is set from `max_header_size`.
    pub h3: sterna_h3::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http3: true,
            alt_svc: Some(AltSvc::default()),
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body_idle_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            keep_alive_timeout: Duration::from_secs(60),
            max_header_size: 64 * 1024,
            max_body_size: None,
            max_tcp_connections: 10_000,
            proxy_protocol: Vec::new(),
            max_http2_streams: 100,
            max_http3_streams: 1000,
            upload_buffer: 256 * 1024,
            upload_buffer_total: 4 << 20,
            connections_per_ip: None,
            handshakes_per_ip: None,
            streams_per_ip: None,
            requests_per_ip: None,
            max_lag: None,
            min_rate: Some(MinRate { bytes_per_second: 500, grace: Duration::from_secs(60) }),
            early_data: false,
            retire_after: None,
            memory: Some(256 << 20),
            allow_connect: false,
            udp_buffer: 4 << 20,
            steering: true,
            quic: sterna_quic::Config::default(),
            congestion_at: Vec::new(),
            h3: sterna_h3::Config::default(),
        }
    }
}

impl Config {
    /// What connections over QUIC to this listen address have.
    pub fn congestion(&self, address: SocketAddr) -> &Congestion {
        let is_of = |at: &SocketAddr| {
            at.ip() == address.ip() && (at.port() == 0 || at.port() == address.port())
        };
        let own = self.congestion_at.iter().find(|(at, _)| is_of(at));
        own.map_or(&self.quic.congestion, |(_, congestion)| congestion)
    }

    /// Whether a peer has to say by the PROXY protocol whose connection it is.
    pub(crate) fn speaks_for_others(&self, peer: SocketAddr) -> bool {
        let peer = peer.ip().to_canonical();
        self.proxy_protocol.iter().any(|network| network.contains(peer))
    }

    /// With time-outs that can be added to a moment: `Duration::MAX` is a way to say never.
    pub(crate) fn bounded(mut self) -> Self {
        for span in [
            &mut self.handshake_timeout,
            &mut self.header_timeout,
            &mut self.body_idle_timeout,
            &mut self.write_timeout,
            &mut self.keep_alive_timeout,
        ] {
            *span = (*span).min(NEVER);
        }
        if let Some(rate) = &mut self.min_rate {
            rate.grace = rate.grace.min(NEVER);
        }
        self
    }
}

/// Long enough for any connection, and far from the end of the clock.
pub(crate) const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
