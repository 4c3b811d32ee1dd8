//! A look at the packets of a connection: number, level and plain frames.

use std::fmt;

/// Makes an observer for each connection that wants one.
pub trait Observe: fmt::Debug + Send + Sync {
    /// The observer of a new connection, or `None` to leave it alone.
    fn session(&self) -> Option<Box<dyn PacketObserver>>;
}

/// Sees each packet of a connection before it is sealed and after it was opened.
pub trait PacketObserver: fmt::Debug + Send + Sync {
    /// A packet: its number, and its frames in plain.
    fn packet(&self, direction: Direction, level: Level, number: u64, frames: &[u8]);
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the peer.
    Sent,
    /// From the peer.
    Received,
}

/// Encryption level (RFC 9001 §4.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Initial packets.
    Initial,
    /// 0-RTT packets.
    EarlyData,
    /// Handshake packets.
    Handshake,
    /// 1-RTT packets.
    OneRtt,
}
