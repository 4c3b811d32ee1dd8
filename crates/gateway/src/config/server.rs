//! What the file says about the endpoint: limits, time-outs, and how HTTP/3 is announced.

use std::time::Duration;

use sterna_net::server;

use super::Model;
use super::memory::Memory;
use super::min_rate::MinRate;
use super::policies::InFlight;
use super::problem::Problems;
use super::quic::ZeroRtt;
use super::setting::{Setting, section};
use super::units::{ByteSize, Span};
use crate::middleware::rate_limit::Frequency;

section! {
    /// What clients may use. Each limit holds on HTTP/1.1, HTTP/2 and HTTP/3 alike, but for those which name one.
    ///
    /// After a reload they hold on connections that are open too; a `header_size` or `http2_streams` that is raised is for those
    /// that open after it, for clients were told of the one before. `connections_per_ip`, `handshakes_per_ip`, `streams_per_ip`,
    /// `requests_per_ip`, `max_lag` and `memory` need a restart.
    pub struct Limits {
        /// Largest head of a request; above it the answer is 431.
        pub header_size: ByteSize = ByteSize::of_len(defaults().max_header_size),
        /// Largest content of a request; above it the answer is 413.
        pub body_size: ByteSize = ByteSize(10 << 20),
        /// TCP connections of one worker; above it new ones wait in the kernel.
        pub tcp_connections: u32 = 10_000,
        /// Requests at once on an HTTP/2 connection. Lowered by a reload, those beyond wait in line on connections that are open.
        pub http2_streams: u32 = defaults().max_http2_streams,
        /// Requests at once that an HTTP/3 connection grows to from `quic.streams`.
        pub http3_streams: u32 = 1000,
        /// Connections at once of one address, over TCP and QUIC together; an IPv6 address stands for its /64. Those beyond
        /// are closed. Behind a load balancer all clients have its address: leave it out there.
        pub connections_per_ip: Option<u32>,
        /// Handshakes of one address, such as `20/s, burst 40`. Beyond it TCP connections are closed, and HTTP/3 clients
        /// must prove their address, which has a rate of its own then.
        pub handshakes_per_ip: Option<Frequency>,
        /// Requests at once of one address, on all of its connections; a single one is never allowed more. A connection that
        /// brings one more is closed, with H3_EXCESSIVE_LOAD on HTTP/3 and ENHANCE_YOUR_CALM on HTTP/2.
        pub streams_per_ip: Option<u32>,
        /// Requests that one address may begin, such as `1000/s`, with the same end beyond it. `rate_limit` answers 429
        /// instead; this is for those who do not listen.
        pub requests_per_ip: Option<Frequency>,
        /// The least rate at which clients send content and take it, while the server waits for them, or `off`. Who is
        /// slower for the time that follows is cut off: 408, or a reset. A pause that is longer is too slow too. A route may
        /// have another for what it is sent, as `body_min_rate`.
        pub min_rate: MinRate = MinRate::of(defaults().min_rate),
        /// A worker that comes to its work later than this, twice in a row, answers new requests with 503 and `Retry-After`
        /// until it has caught up, such as `200ms`.
        pub max_lag: Option<Span>,
        /// Requests in work at once, of all sites and routes together: a number, or a table. Those beyond wait in a bounded
        /// queue, and get 503 with `Retry-After` when it is full.
        pub in_flight: Option<InFlight>,
        /// What the server may hold of what all clients send on HTTP/3, until it is passed on, or `off`. From three quarters of
        /// it new clients prove their address first; from fifteen sixteenths, down to seven eighths, connections that hold much
        /// and were of little use are closed with H3_EXCESSIVE_LOAD; at the limit new connections are refused. It counts
        /// from above, and what else the process needs is not in it.
        pub memory: Memory = Memory::of(defaults().memory),
        /// Content of one HTTP/3 request that waits to be read.
        pub upload_buffer: ByteSize = ByteSize::of_len(defaults().upload_buffer),
        /// Content of all requests of an HTTP/3 connection that waits to be read.
        pub upload_buffer_total: ByteSize = ByteSize::of_len(defaults().upload_buffer_total),
    }
}

section! {
    /// How long clients may take. A client that is slower is cut off.
    ///
    /// After a reload connections that are open go by those of now: `body_idle` from the next pause or request on.
    pub struct Timeouts {
        /// For a TLS or QUIC handshake.
        pub handshake: Span = Span(defaults().handshake_timeout),
        /// For the head of a request, from its first byte.
        pub header: Span = Span(defaults().header_timeout),
        /// Longest pause within the content of a request.
        pub body_idle: Span = Span(defaults().body_idle_timeout),
        /// Longest time in which a client takes nothing of a response.
        pub write: Span = Span(defaults().write_timeout),
        /// How long an idle connection over TCP is kept; that of HTTP/3 is `quic.idle_timeout`.
        pub keep_alive: Span = Span(defaults().keep_alive_timeout),
    }
}

section! {
    /// How clients on TCP learn of HTTP/3: the `Alt-Svc` field (RFC 7838).
    pub struct AltSvc {
        /// Whether it is sent at all.
        pub enabled: bool = true,
        /// How long clients may remember it.
        pub max_age: Span = Span(server::AltSvc::default().max_age),
        /// Whether they may keep it when their network changes.
        pub persist: bool = false,
        /// The UDP port that clients see, when it is not the one listened on.
        pub port: Option<u16>,
    }
}

fn defaults() -> server::Config {
    server::Config::default()
}

impl Limits {
    fn check(&self, streams: u32, problems: &mut Problems) {
        if self.upload_buffer > self.upload_buffer_total {
            problems.contradiction(
                self.at.key("upload_buffer"),
                &format!(
                    "one request may buffer {}, and its whole connection {}",
                    self.upload_buffer, self.upload_buffer_total
                ),
                "make `upload_buffer_total` at least as large as `upload_buffer`",
            );
        }
        if let Some(in_flight) = &self.in_flight {
            in_flight.check(problems);
        }
        if self.max_lag.is_some_and(|lag| lag.0.is_zero()) {
            problems.contradiction(
                self.at.key("max_lag"),
                "no time at all: a worker is always a little late",
                "write a duration above zero, such as `200ms`",
            );
        }
        if self.http3_streams < streams {
            problems.contradiction(
                self.at.key("http3_streams"),
                &format!(
                    "a connection begins with {streams} streams and grows to {}",
                    self.http3_streams
                ),
                "make `limits.http3_streams` at least as large as `quic.streams`",
            );
        }
    }
}

impl Timeouts {
    fn check(&self, problems: &mut Problems) {
        let Self { handshake, header, body_idle, write, keep_alive, at } = self;
        for (key, span) in [
            ("handshake", handshake),
            ("header", header),
            ("body_idle", body_idle),
            ("write", write),
            ("keep_alive", keep_alive),
        ] {
            if span.0 == Duration::ZERO {
                problems.contradiction(
                    at.key(key),
                    "no time at all: every client would be cut off",
                    "write a duration above zero",
                );
            }
        }
    }
}

impl Model {
    pub(super) fn check_server(&self, problems: &mut Problems) {
        self.limits.check(self.quic.streams, problems);
        self.timeouts.check(problems);
        self.tls.check(self.http3, problems);
        self.quic.check(&self.listen, problems);
        if !self.http3 && Some(&self.alt_svc) != AltSvc::missing().as_ref() && self.alt_svc.enabled
        {
            problems.contradiction(
                self.at.key("alt_svc"),
                "`alt_svc` announces HTTP/3, which `http3 = false` switches off",
                "leave one of the two out",
            );
        }
    }

    /// The endpoint's own form of it.
    pub fn server(&self) -> server::Config {
        let mut config = server::Config::default();
        let server::Config {
            http3,
            alt_svc,
            handshake_timeout,
            header_timeout,
            body_idle_timeout,
            write_timeout,
            keep_alive_timeout,
            max_header_size,
            max_body_size,
            max_tcp_connections,
            proxy_protocol,
            max_http2_streams,
            max_http3_streams,
            upload_buffer,
            upload_buffer_total,
            connections_per_ip,
            handshakes_per_ip,
            streams_per_ip,
            requests_per_ip,
            min_rate,
            max_lag,
            early_data,
            retire_after,
            memory,
            // No handler takes a tunnel.
            allow_connect: _,
            udp_buffer,
            steering,
            quic,
            congestion_at,
            // Choices of the protocol's implementation, for experiments.
            h3: _,
        } = &mut config;
        *http3 = self.http3;
        *early_data = self.http3 && self.quic.zero_rtt != ZeroRtt::Off;
        *proxy_protocol =
            self.proxy_protocol.as_ref().map_or_else(Vec::new, |peers| peers.0.clone());
        *alt_svc = self.alt_svc.enabled.then_some(server::AltSvc {
            max_age: self.alt_svc.max_age.0,
            persist: self.alt_svc.persist,
            port: self.alt_svc.port,
        });
        *handshake_timeout = self.timeouts.handshake.0;
        *header_timeout = self.timeouts.header.0;
        *body_idle_timeout = self.timeouts.body_idle.0;
        *write_timeout = self.timeouts.write.0;
        *keep_alive_timeout = self.timeouts.keep_alive.0;
        *max_header_size = self.limits.header_size.as_len();
        *max_body_size = Some(self.limits.body_size.0);
        *max_tcp_connections = usize::try_from(self.limits.tcp_connections).unwrap_or(usize::MAX);
        // A client that keeps to what a connection allows is not closed for it.
        let of_address = self.limits.streams_per_ip.unwrap_or(u32::MAX);
        *max_http2_streams = self.limits.http2_streams.min(of_address);
        *max_http3_streams = self.limits.http3_streams.min(of_address).into();
        *upload_buffer = self.limits.upload_buffer.as_len();
        *upload_buffer_total = self.limits.upload_buffer_total.as_len();
        let quota = |frequency: Option<Frequency>| frequency.map(|frequency| frequency.quota());
        *connections_per_ip = self.limits.connections_per_ip;
        *handshakes_per_ip = quota(self.limits.handshakes_per_ip);
        *streams_per_ip = self.limits.streams_per_ip;
        *requests_per_ip = quota(self.limits.requests_per_ip);
        *min_rate = self.limits.min_rate.limit();
        *memory = self.limits.memory.limit();
        *max_lag = self.limits.max_lag.map(|lag| lag.0);
        *retire_after = self.tls.retire_after.map(|after| after.0);
        *udp_buffer = self.quic.udp_buffer.as_len();
        *steering = self.quic.steering;
        *congestion_at = self.quic.congestion_at();
        *quic = self.quic.transport();
        quic.max_bidi_streams = quic.max_bidi_streams.min(of_address.into());
        config
    }
}
