//! Limits that change while the connection is open.

use super::Connection;
use crate::{Config, Dir, config::varint};

/// What of a [`Config`] can change on a connection that is open.
///
/// What it leaves out is settled by the handshake or fixed in the engine: the window of a stream, the idle time-out (RFC 9000
/// §10.1) and the keep-alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bidirectional streams that the peer may have open.
    pub max_bidi_streams: u64,
    /// Unidirectional streams that the peer may have open.
    pub max_uni_streams: u64,
    /// Receive window of the connection, in bytes; that of a server's follows at the end of a run of the application, and grows
    /// up to it as it is used.
    pub connection_window: u64,
    /// Bytes that the connection may hold unacknowledged for sending.
    pub send_window: u64,
}

impl Config {
    /// What of it can change later.
    pub fn limits(&self) -> Limits {
        Limits {
            max_bidi_streams: self.max_bidi_streams,
            max_uni_streams: self.max_uni_streams,
            connection_window: self.connection_window,
            send_window: self.send_window,
        }
    }
}

impl Connection {
    /// Goes by other limits from now on.
    ///
    /// More is granted at once: MAX_STREAMS when it is more by an eighth, else with the next stream that ends, and MAX_DATA. What
    /// has been granted is never taken back (RFC 9000 §4.1, §4.6): after less, no more is granted until the peer is below it.
    pub fn set_limits(&mut self, limits: Limits) {
        let Limits { max_bidi_streams, max_uni_streams, connection_window, send_window } = limits;
        self.set_max_streams(Dir::Bi, max_bidi_streams);
        self.set_max_streams(Dir::Uni, max_uni_streams);
        match &mut self.window {
            Some(window) => window.set_most(connection_window),
            None => self.engine.set_receive_window(varint(connection_window)),
        }
        self.engine.set_send_window(send_window);
        self.profile.send_window = send_window;
    }
}
