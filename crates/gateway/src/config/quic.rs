//! What the file says about QUIC.

use std::time::Duration;

use sterna_net::quic;

use super::problem::Problems;
use super::setting::{choice, section};
use super::units::{ByteSize, Span};

section! {
    /// HTTP/3's transport. The defaults fit the open internet.
    pub struct Quic {
        /// Receive window of one stream.
        pub stream_window: ByteSize = ByteSize(quic::Config::default().stream_window),
        /// Receive window of a connection.
        pub connection_window: ByteSize = ByteSize(quic::Config::default().connection_window),
        /// What a connection may hold unacknowledged for sending.
        pub send_window: ByteSize = ByteSize(quic::Config::default().send_window),
        /// Requests that a client may have open from the start; `limits.http3_streams` is what it may grow to.
        pub streams: u32 = 100,
        /// Silence after which a connection is over.
        pub idle_timeout: Span = Span(quic::Config::default().idle_timeout),
        /// Sends a PING after this much silence, so that a NAT on the way does not forget the connection.
        pub keep_alive: Option<Span>,
        /// The congestion controller.
        pub congestion: Congestion = Congestion::Cubic,
        /// Finds out how large a packet the path carries.
        pub mtu_discovery: bool = true,
        /// Clients may move to another address of theirs in the middle of a connection. `false` asks them not to; whoever does
        /// it all the same, as behind a NAT that forgot, is kept. Policies see a new address once the client has answered there.
        pub migration: bool = true,
        /// Connections of one worker; above it new ones are refused.
        pub max_connections: u32 = 100_000,
        /// When a client must prove its address before anything is kept for it: `auto` while more than `retry_above`
        /// handshakes of a worker are under way. It costs the client one round trip.
        pub retry: Retry = Retry::Auto,
        /// Handshakes under way above which `auto` asks for the proof.
        pub retry_above: u32 = RETRY_ABOVE,
        /// The UDP socket buffers to ask the kernel for.
        pub udp_buffer: ByteSize = ByteSize(4 << 20),
        /// The kernel hands each datagram to the worker whose connection it is, by its connection ID (BPF). Without it, and
        /// where the kernel cannot, a datagram of a client that has moved may cost one worker the way to another.
        pub steering: bool = true,
    }
}

/// That of `quic::Config`, where it is hidden in a variant.
const RETRY_ABOVE: u32 = 1000;

choice! {
    /// A congestion controller.
    pub enum Congestion {
        /// RFC 9438.
        Cubic = "cubic",
        /// RFC 9002 §7.
        Reno = "reno",
        /// BBR version 3: by the rate that the path delivers, whatever it loses at random.
        Bbr = "bbr",
    }
}

choice! {
    /// When a client must prove its address first.
    pub enum Retry {
        /// Under load.
        Auto = "auto",
        /// Never.
        Never = "never",
        /// Always.
        Always = "always",
    }
}

impl Quic {
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.stream_window > self.connection_window {
            problems.contradiction(
                self.at.key("stream_window"),
                &format!(
                    "a stream may send {}, and its whole connection {}",
                    self.stream_window, self.connection_window
                ),
                "make `connection_window` at least as large as `stream_window`",
            );
        }
        if self.retry_above != RETRY_ABOVE && self.retry != Retry::Auto {
            problems.contradiction(
                self.at.key("retry_above"),
                "`retry_above` has no effect",
                "it belongs to `retry = \"auto\"`: leave one of the two out",
            );
        }
    }

    /// The transport's own form of it.
    pub(super) fn transport(&self) -> quic::Config {
        let mut transport = quic::Config::default();
        let quic::Config {
            stream_window,
            connection_window,
            send_window,
            max_bidi_streams,
            // HTTP/3 needs three; more would be for extensions that are not there.
            max_uni_streams: _,
            idle_timeout,
            // One time-out for TLS over TCP and QUIC: `timeouts.handshake`.
            handshake_timeout: _,
            keep_alive,
            // Nothing behind HTTP/3 takes datagrams.
            datagrams: _,
            congestion,
            mtu_discovery,
            migration,
            max_connections,
            retry,
            // For qlog and tests.
            observe: _,
        } = &mut transport;
        *stream_window = self.stream_window.0;
        *connection_window = self.connection_window.0;
        *send_window = self.send_window.0;
        *max_bidi_streams = self.streams.into();
        *idle_timeout = self.idle_timeout.0;
        *keep_alive = self.keep_alive.map(|span| span.0).filter(|span| *span > Duration::ZERO);
        *congestion = match self.congestion {
            Congestion::Cubic => quic::Algorithm::Cubic,
            Congestion::Reno => quic::Algorithm::Reno,
            Congestion::Bbr => quic::Algorithm::Bbr,
        };
        *mtu_discovery = self.mtu_discovery;
        *migration = self.migration;
        *max_connections = usize::try_from(self.max_connections).unwrap_or(usize::MAX);
        *retry = match self.retry {
            Retry::Auto => {
                quic::Retry::Above(usize::try_from(self.retry_above).unwrap_or(usize::MAX))
            }
            Retry::Never => quic::Retry::Never,
            Retry::Always => quic::Retry::Always,
        };
        transport
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::setting::Setting;

    #[test]
    fn what_is_not_written_is_the_transport_s_own_default() {
        let quic = Quic::missing().expect("every key has a default");
        assert_eq!(format!("{:?}", quic.transport()), format!("{:?}", quic::Config::default()));
    }
}
