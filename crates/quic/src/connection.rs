//! Skeleton.
use crate::{Dir, Read, StreamId, Write};
use bytes::Bytes;
use std::{net::SocketAddr, time::Duration};

/// Names a connection of one endpoint; never reused for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey(pub u64);

/// What happened on a connection, in order. `Readable` comes once for each stream and turn.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is complete.
    Connected,
    /// The peer opened a stream (data may already wait: a `Readable` follows when it does).
    Opened(StreamId),
    /// Data, an end or a reset can be read.
    Readable(StreamId),
    /// A blocked write can go on.
    Writable(StreamId),
    /// The peer acknowledged everything, FIN included: our side is over.
    Finished(StreamId),
    /// STOP_SENDING with this code.
    Stopped(StreamId, u64),
    /// We may open streams of this direction again.
    Available(Dir),
    /// A DATAGRAM arrived.
    Datagram(Bytes),
    /// The peer's address changed, and the new path carries data now (RFC 9000 §9).
    Migrated {
        /// Before.
        from: SocketAddr,
        /// Now.
        to: SocketAddr,
    },
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// We closed it.
    Local,
    /// The peer's application closed it with this code (for HTTP/3: RFC 9114 §8.1).
    Application {
        /// Code.
        code: u64,
        /// Text of the peer.
        reason: Bytes,
    },
    /// The peer's transport closed it with this code (RFC 9000 §20.1).
    Transport {
        /// Code.
        code: u64,
        /// Text of the peer.
        reason: Bytes,
    },
    /// The peer broke the transport protocol; we closed with this code.
    PeerMisbehaved {
        /// Code.
        code: u64,
        /// What it did.
        reason: String,
    },
    /// Silence for longer than the idle time-out, or the handshake took too long.
    TimedOut,
    /// A stateless reset arrived.
    StatelessReset,
    /// No common version.
    VersionMismatch,
}

/// Figures of a connection at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Congestion window, in bytes.
    pub cwnd: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets lost.
    pub lost_packets: u64,
    /// Bytes of UDP payload sent and received.
    pub sent_bytes: u64,
    /// Bytes of UDP payload received.
    pub received_bytes: u64,
    /// Path MTU, in bytes of UDP payload.
    pub mtu: u16,
}

/// One connection, lent to the application for the length of a call.
#[derive(Debug)]
pub struct Connection {}

impl Connection {
    /// Its key.
    pub fn key(&self) -> ConnectionKey {
        todo!()
    }
    /// The next event, until `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }
    /// Opens a stream, or `None` at the peer's limit (`Event::Available` comes later).
    pub fn open(&mut self, _dir: Dir) -> Option<StreamId> {
        todo!()
    }
    /// Reads the next chunk, in order, at most `max` bytes.
    pub fn read(&mut self, _id: StreamId, _max: usize) -> Read {
        todo!()
    }
    /// Queues chunks without copying; those taken are advanced or emptied.
    pub fn write(&mut self, _id: StreamId, _chunks: &mut [Bytes]) -> Write {
        todo!()
    }
    /// FIN.
    pub fn finish(&mut self, _id: StreamId) {
        todo!()
    }
    /// RESET_STREAM.
    pub fn reset(&mut self, _id: StreamId, _code: u64) {
        todo!()
    }
    /// STOP_SENDING.
    pub fn stop_sending(&mut self, _id: StreamId, _code: u64) {
        todo!()
    }
    /// Queues a DATAGRAM; false when it is too large or datagrams are off.
    pub fn send_datagram(&mut self, _data: Bytes) -> bool {
        todo!()
    }
    /// CONNECTION_CLOSE with an application code.
    pub fn close(&mut self, _code: u64, _reason: &[u8]) {
        todo!()
    }
    /// Bytes that the congestion window still allows now: how much is worth handing over before transmit.
    pub fn headroom(&self) -> u64 {
        todo!()
    }
    /// The handshake is not complete: what arrives now is early data.
    pub fn is_handshaking(&self) -> bool {
        todo!()
    }
    /// The peer's address.
    pub fn remote_address(&self) -> SocketAddr {
        todo!()
    }
    /// TLS server name that the client sent.
    pub fn server_name(&self) -> Option<&str> {
        todo!()
    }
    /// Negotiated ALPN.
    pub fn alpn(&self) -> Option<&[u8]> {
        todo!()
    }
    /// TLS facts: negotiated cipher suite.
    pub fn cipher_suite(&self) -> Option<rustls::CipherSuite> {
        todo!()
    }
    /// TLS facts: key exchange group.
    pub fn key_exchange(&self) -> Option<rustls::NamedGroup> {
        todo!()
    }
    /// The peer's certificates, leaf first.
    pub fn peer_certificates(&self) -> Option<Vec<rustls::pki_types::CertificateDer<'static>>> {
        todo!()
    }
    /// Smoothed round-trip time.
    pub fn rtt(&self) -> Duration {
        todo!()
    }
    /// Figures.
    pub fn stats(&self) -> Stats {
        todo!()
    }
    /// Changes how many streams of the direction the peer may have open.
    pub fn set_max_streams(&mut self, _dir: Dir, _count: u64) {
        todo!()
    }
}
