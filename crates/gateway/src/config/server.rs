//! What the file says about the endpoint: limits, time-outs, and how HTTP/3 is announced.

use std::time::Duration;

use sterna_net::server;

use super::Model;
use super::problem::Problems;
use super::setting::{Setting, section};
use super::units::{ByteSize, Span};

section! {
    /// What clients may use. Each limit holds on HTTP/1.1, HTTP/2 and HTTP/3 alike, but for those which name one.
    pub struct Limits {
        /// Largest head of a request; above it the answer is 431.
        pub header_size: ByteSize = ByteSize::of_len(defaults().max_header_size),
        /// Largest content of a request; above it the answer is 413.
        pub body_size: ByteSize = ByteSize(10 << 20),
        /// TCP connections of one worker; above it new ones wait in the kernel.
        pub tcp_connections: u32 = 10_000,
        /// Requests at once on an HTTP/2 connection.
        pub http2_streams: u32 = defaults().max_http2_streams,
        /// Requests at once that an HTTP/3 connection grows to from `quic.streams`.
        pub http3_streams: u32 = 1000,
        /// Content of one HTTP/3 request that waits to be read.
        pub upload_buffer: ByteSize = ByteSize::of_len(defaults().upload_buffer),
        /// Content of all requests of an HTTP/3 connection that waits to be read.
        pub upload_buffer_total: ByteSize = ByteSize::of_len(defaults().upload_buffer_total),
    }
}

section! {
    /// How long clients may take. A client that is slower is cut off.
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
        self.quic.check(problems);
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
            max_http2_streams,
            max_http3_streams,
            upload_buffer,
            upload_buffer_total,
            // No handler takes a tunnel.
            allow_connect: _,
            udp_buffer,
            quic,
            // Choices of the protocol's implementation, for experiments.
            h3: _,
        } = &mut config;
        *http3 = self.http3;
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
        *max_http2_streams = self.limits.http2_streams;
        *max_http3_streams = self.limits.http3_streams.into();
        *upload_buffer = self.limits.upload_buffer.as_len();
        *upload_buffer_total = self.limits.upload_buffer_total.as_len();
        *udp_buffer = self.quic.udp_buffer.as_len();
        *quic = self.quic.transport();
        config
    }
}
