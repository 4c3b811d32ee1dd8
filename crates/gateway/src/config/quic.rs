//! What the file says about QUIC.

use std::net::SocketAddr;
use std::time::Duration;

use sterna_net::quic;

use super::listen::Listen;
use super::problem::Problems;
use super::setting::{At, Named, choice, section};
use super::units::{ByteSize, Span};
use crate::middleware::early_data;

section! {
    /// HTTP/3's transport. The defaults fit the open internet.
    ///
    /// After a reload connections that are open go by `connection_window`, `send_window`, `streams` and `unidirectional_streams`
    /// of now: more is granted at once, what has been granted is not taken back, and after less no more is granted until the client
    /// is below it. `max_connections`, `handshakes`, `retry` and `retry_above` hold at once for whoever comes; `stream_window`,
    /// `initial_connection_window`, `idle_timeout`, `keep_alive`, `congestion`, `initial_window`, `mtu_discovery`, `migration` and `zero_rtt` are those of
    /// connections that begin after it. `udp_buffer` and `steering` need a restart.
    pub struct Quic {
        /// Receive window of one stream.
        pub stream_window: ByteSize = ByteSize(quic::Config::default().stream_window),
        /// Receive window of a connection, when it has grown: it does as fast as requests are read, by what waits unread on others,
        /// and to an eighth of what is left of the half of `limits.memory` that is for it.
        pub connection_window: ByteSize = ByteSize(quic::Config::default().connection_window),
        /// Receive window with which a connection begins, from `16KiB`; never more than `connection_window`.
        pub initial_connection_window: ByteSize =
            ByteSize(quic::Config::default().initial_connection_window),
        /// What a connection may hold unacknowledged for sending.
        pub send_window: ByteSize = ByteSize(quic::Config::default().send_window),
        /// Requests that a client may have open from the start; `limits.http3_streams` is what it may grow to.
        pub streams: u32 = 100,
        /// Unidirectional streams that a client may have open, at least 3: HTTP/3 needs as many (RFC 9114 §6.2), the rest is for
        /// extensions. Each costs a connection some 30 bytes, whether it is opened or not.
        pub unidirectional_streams: u32 = UNIDIRECTIONAL_STREAMS,
        /// Silence after which a connection is over.
        pub idle_timeout: Span = Span(quic::Config::default().idle_timeout),
        /// Sends a PING after this much silence, so that a NAT on the way does not forget the connection.
        pub keep_alive: Option<Span>,
        /// The congestion controller.
        pub congestion: Congestion = Congestion::Cubic,
        /// What may be in flight on a new path, from `2400B` to `1MiB`. Without it ten datagrams, 14,720 bytes at most (RFC
        /// 9002 §7.2). Until a client's address is proven, three times what came from it is the limit as well.
        pub initial_window: Option<ByteSize>,
        /// Finds out how large a packet the path carries.
        pub mtu_discovery: bool = true,
        /// Clients may move to another address of theirs in the middle of a connection. `false` asks them not to; whoever does
        /// it all the same, as behind a NAT that forgot, is kept. Policies see a new address once the client has answered there.
        pub migration: bool = true,
        /// Connections of one worker; above it new ones are refused.
        pub max_connections: u32 = 100_000,
        /// Handshakes of one worker that may be under way; above it a client that has not proven its address does that first, and
        /// others are refused. One that goes no further costs some 45 KiB for `timeouts.handshake`.
        pub handshakes: u32 = 4096,
        /// When a client must prove its address before anything is kept for it: `auto` from when more than `retry_above`
        /// handshakes of a worker are under way, or first flights come at twice that number in a second, until both have been
        /// below half of it for a second. It costs the client one round trip, unless it was here within the last day.
        pub retry: Retry = Retry::Auto,
        /// Handshakes under way above which `auto` asks for the proof.
        pub retry_above: u32 = RETRY_ABOVE,
        /// Requests in early data (0-RTT), which save a returning client a round trip, and which whoever recorded them may send
        /// again: `safe` answers those with a safe method and without content at once, and has the others wait for the
        /// handshake; `all` answers each at once, with `Early-Data: 1` for backends; `off` takes no early data. A route may
        /// say otherwise, as `early_data`.
        pub zero_rtt: ZeroRtt = ZeroRtt::Safe,
        /// The UDP socket buffers to ask the kernel for.
        pub udp_buffer: ByteSize = ByteSize(4 << 20),
        /// The kernel hands each datagram to the worker whose connection it is, by its connection ID (BPF). Without it, and
        /// where the kernel cannot, a datagram of a client that has moved may cost one worker the way to another.
        pub steering: bool = true,
        /// What one place of `listen` has of its own, by the name that it has there.
        pub listener: Named<QuicListener>,
    }
}

section! {
    /// HTTP/3 at one place of `listen`: `[quic.listener.":443"]`. What is not written is as in `[quic]`.
    pub struct QuicListener {
        /// The congestion controller there.
        pub congestion: Option<Congestion>,
        /// What may be in flight on a new path there.
        pub initial_window: Option<ByteSize>,
    }
}

/// That of `quic::Config`, where it is hidden in a variant.
const RETRY_ABOVE: u32 = 500;

/// Likewise, as another type of number.
const UNIDIRECTIONAL_STREAMS: u32 = 8;

/// Control, QPACK encoder, QPACK decoder.
const LEAST_UNIDIRECTIONAL: u32 = 3;

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

choice! {
    /// Which requests in early data are answered before the handshake is complete.
    pub enum ZeroRtt {
        /// Those that may happen twice.
        Safe = "safe",
        /// None.
        Off = "off",
        /// All.
        All = "all",
    }
}

impl ZeroRtt {
    pub(super) const fn mode(self) -> early_data::Mode {
        match self {
            Self::Safe => early_data::Mode::Safe,
            Self::Off => early_data::Mode::Off,
            Self::All => early_data::Mode::All,
        }
    }
}

impl Quic {
    pub(super) fn check(&self, listen: &[Listen], problems: &mut Problems) {
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
        if self.initial_connection_window < LEAST_CONNECTION_WINDOW {
            problems.contradiction(
                self.at.key("initial_connection_window"),
                "no request fits into such a window",
                "write a size from `16KiB` on",
            );
        }
        // req: 9114-6.2-three-streams
        if self.unidirectional_streams < LEAST_UNIDIRECTIONAL {
            problems.contradiction(
                self.at.key("unidirectional_streams"),
                "HTTP/3 needs three: a control stream, and two for QPACK",
                "write a number from 3 on",
            );
        }
        if self.retry_above != RETRY_ABOVE && self.retry != Retry::Auto {
            problems.contradiction(
                self.at.key("retry_above"),
                "`retry_above` has no effect",
                "it belongs to `retry = \"auto\"`: leave one of the two out",
            );
        }
        check_window(self.initial_window, &self.at, problems);
        for (place, name, listener) in self.listener.with_places() {
            check_window(listener.initial_window, &listener.at, problems);
            if !name.parse().is_ok_and(|name| listen.contains(&name)) {
                problems.contradiction(
                    place,
                    &format!("`{name}` is none of the places in `listen`"),
                    "write the place as `listen` has it",
                );
            }
        }
    }

    /// The transport's own form of it.
    pub(super) fn transport(&self) -> quic::Config {
        let mut transport = quic::Config::default();
        let quic::Config {
            stream_window,
            connection_window,
            initial_connection_window,
            send_window,
            max_bidi_streams,
            max_uni_streams,
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
            max_handshakes,
            retry,
            // The server's own.
            tickets: _,
            // For qlog and tests.
            by_name: _,
            observe: _,
        } = &mut transport;
        *stream_window = self.stream_window.0;
        *connection_window = self.connection_window.0;
        *initial_connection_window = self.initial_connection_window.0;
        *send_window = self.send_window.0;
        *max_bidi_streams = self.streams.into();
        *max_uni_streams = self.unidirectional_streams.into();
        *idle_timeout = self.idle_timeout.0;
        *keep_alive = self.keep_alive.map(|span| span.0).filter(|span| *span > Duration::ZERO);
        *congestion = self.congestion();
        *mtu_discovery = self.mtu_discovery;
        *migration = self.migration;
        *max_connections = usize::try_from(self.max_connections).unwrap_or(usize::MAX);
        *max_handshakes = usize::try_from(self.handshakes).unwrap_or(usize::MAX);
        *retry = match self.retry {
            Retry::Auto => {
                quic::Retry::Above(usize::try_from(self.retry_above).unwrap_or(usize::MAX))
            }
            Retry::Never => quic::Retry::Never,
            Retry::Always => quic::Retry::Always,
        };
        transport
    }

    fn congestion(&self) -> quic::Congestion {
        let initial_window = self.initial_window.map(|size| size.0);
        quic::Congestion { algorithm: self.congestion.algorithm(), initial_window }
    }

    /// What addresses have of their own. A name that cannot be resolved has none: it cannot be listened on either.
    pub(super) fn congestion_at(&self) -> Vec<(SocketAddr, quic::Congestion)> {
        let mut all = Vec::new();
        for (name, listener) in self.listener.iter() {
            let addresses = name.parse::<Listen>().ok().and_then(|place| place.resolve().ok());
            let general = self.congestion();
            let window = listener.initial_window.map(|size| size.0);
            let congestion = quic::Congestion {
                algorithm: listener.congestion.map_or(general.algorithm, Congestion::algorithm),
                initial_window: window.or(general.initial_window),
            };
            let addresses = addresses.into_iter().flatten();
            all.extend(addresses.map(|address| (address, congestion.clone())));
        }
        all
    }
}

impl Congestion {
    fn algorithm(self) -> quic::Algorithm {
        match self {
            Self::Cubic => quic::Algorithm::Cubic,
            Self::Reno => quic::Algorithm::Reno,
            Self::Bbr => quic::Algorithm::Bbr,
        }
    }
}

fn check_window(window: Option<ByteSize>, at: &At, problems: &mut Problems) {
    if window.is_some_and(|size| !(LEAST_WINDOW..=LARGEST_WINDOW).contains(&size.0)) {
        problems.contradiction(
            at.key("initial_window"),
            "a path cannot begin with such a window",
            "write a size from `2400B` to `1MiB`",
        );
    }
}

/// Two datagrams of the smallest size (RFC 9002 §7.2), and some hundred of the usual one, which leave before anything is known of
/// the path.
const LEAST_WINDOW: u64 = 2400;
const LARGEST_WINDOW: u64 = 1 << 20;

/// A header section of a browser, with its body's first bytes.
const LEAST_CONNECTION_WINDOW: ByteSize = ByteSize(16 << 10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::setting::Setting;
    use crate::config::{Environment, Loaded};

    #[test]
    fn what_is_not_written_is_the_transport_s_own_default() {
        let quic = Quic::missing().expect("every key has a default");
        assert_eq!(format!("{:?}", quic.transport()), format!("{:?}", quic::Config::default()));
    }

    fn mistakes(quic: &str) -> String {
        let text =
            format!("listen = ['127.0.0.1:1', ':2']\n[[site]]\nrespond = ''\n[quic]\n{quic}");
        let loaded = Loaded::of_text("sterna.toml", &text, &Environment::empty());
        loaded.model().err().map(|problems| problems.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_listener_has_the_name_that_listen_gives_it() {
        assert_eq!(mistakes("listener.':2'.congestion = 'bbr'"), "");
        for name in [":3", "127.0.0.1", "nonsense"] {
            let told = mistakes(&format!("listener.'{name}'.congestion = 'bbr'"));
            assert!(told.contains(&format!("`{name}` is none of the places")), "{told}");
        }
    }

    #[test]
    // req: 9114-6.2-three-streams
    fn fewer_unidirectional_streams_than_http3_needs_are_refused() {
        for (count, is_good) in [(1, false), (2, false), (3, true), (100, true)] {
            let told = mistakes(&format!("unidirectional_streams = {count}"));
            assert_eq!(told.is_empty(), is_good, "{count}: {told}");
        }
    }

    #[test]
    fn a_connection_window_that_no_request_fits_into_is_refused() {
        for (size, is_good) in [("16383B", false), ("16KiB", true), ("100MiB", true)] {
            let told = mistakes(&format!("initial_connection_window = '{size}'"));
            assert_eq!(told.is_empty(), is_good, "{size}: {told}");
        }
    }

    #[test]
    fn the_limits_of_flow_reach_the_transport_as_they_are_written() {
        let text = "listen = ['127.0.0.1:1']\n[[site]]\nrespond = ''\n[quic]\n\
            stream_window = '1MiB'\nconnection_window = '2MiB'\nsend_window = '3MiB'\ninitial_connection_window = '1MiB'\n\
            streams = 40\nunidirectional_streams = 50\nidle_timeout = '7s'\nkeep_alive = '5s'";
        let loaded = Loaded::of_text("sterna.toml", text, &Environment::empty());
        let quic = loaded.model().expect("a configuration").server().quic;
        assert_eq!(
            (quic.stream_window, quic.connection_window, quic.send_window),
            (1 << 20, 2 << 20, 3 << 20)
        );
        assert_eq!(quic.initial_connection_window, 1 << 20);
        assert_eq!((quic.max_bidi_streams, quic.max_uni_streams), (40, 50));
        assert_eq!(
            (quic.idle_timeout, quic.keep_alive),
            (Duration::from_secs(7), Some(Duration::from_secs(5)))
        );
    }

    #[test]
    fn a_window_that_no_path_can_begin_with_is_refused_in_both_places() {
        for (size, is_good) in
            [("2399B", false), ("2400B", true), ("1MiB", true), ("1048577B", false)]
        {
            for at in ["initial_window", "listener.':2'.initial_window"] {
                let told = mistakes(&format!("{at} = '{size}'"));
                assert_eq!(told.is_empty(), is_good, "{at} = {size}: {told}");
            }
        }
    }

    #[test]
    fn a_listener_has_what_is_general_where_it_says_nothing() {
        let text = "listen = ['127.0.0.1:1', '[::1]:2']\n[[site]]\nrespond = ''\n\
            [quic]\ncongestion = 'reno'\ninitial_window = '20KiB'\n\
            [quic.listener.'127.0.0.1:1']\ncongestion = 'bbr'\n\
            [quic.listener.'[::1]:2']\ninitial_window = '40KiB'";
        let loaded = Loaded::of_text("sterna.toml", text, &Environment::empty());
        let server = loaded.model().expect("a configuration").server();
        let at = |address: &str| {
            let congestion = server.congestion(address.parse().expect("an address"));
            (congestion.algorithm.name(), congestion.initial_window)
        };
        assert_eq!(at("127.0.0.1:1"), ("bbr", Some(20 << 10)));
        assert_eq!(at("[::1]:2"), ("reno", Some(40 << 10)));
        assert_eq!(at("127.0.0.1:2"), ("reno", Some(20 << 10)));
    }
}
