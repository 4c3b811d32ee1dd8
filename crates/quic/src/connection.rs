//! One connection as the application sees it, lent for the length of a call.
//!
//! The endpoint feeds the engine, gathers its events here and lends the whole; streams are read
//! and written on the spot, without a channel between. Nothing here sends: what was written leaves
//! when the endpoint transmits, after [`Application::run`](crate::Application::run).

mod events;

use std::{collections::VecDeque, fmt, net::SocketAddr, time::Duration, time::Instant};

use bytes::Bytes;
use quinn_proto::{ReadError, Side, VarInt, WriteError};
use rustc_hash::FxHashSet;

use crate::{
    CloseReason, Dir, Event, Read, StreamId, Write, config::varint, crypto::HandshakeData,
};

/// Names a connection of one endpoint; never reused for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey(pub u64);

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
    /// Bytes of UDP payload sent.
    pub sent_bytes: u64,
    /// Bytes of UDP payload received.
    pub received_bytes: u64,
    /// Path MTU, in bytes of UDP payload.
    pub mtu: u16,
}

/// One connection, lent to the application for the length of a call.
pub struct Connection {
    key: ConnectionKey,
    pub(crate) engine: quinn_proto::Connection,
    /// The time of the turn that lends it.
    now: Instant,
    events: VecDeque<Event>,
    /// Streams whose `Readable` waits in `events`: the engine repeats it for each frame.
    readable: FxHashSet<StreamId>,
    /// Why it ended, once it has.
    ended: Option<CloseReason>,
    handshake: Option<Box<HandshakeData>>,
    /// Bytes written to streams that have not left yet, an estimate from below: overhead and
    /// retransmissions count as if they were fresh data.
    queued: u64,
    /// The peer's address when the application last heard of it.
    remote: SocketAddr,
}

impl Connection {
    pub(crate) fn new(key: ConnectionKey, engine: quinn_proto::Connection, now: Instant) -> Self {
        Self {
            key,
            remote: canonical(engine.remote_address()),
            engine,
            now,
            events: VecDeque::new(),
            readable: FxHashSet::default(),
            ended: None,
            handshake: None,
            queued: 0,
        }
    }

    /// Opens a stream, or `None` at the peer's limit (`Event::Available` comes later).
    pub fn open(&mut self, dir: Dir) -> Option<StreamId> {
        self.engine.streams().open(dir.into()).map(StreamId::from)
    }

    /// Reads the next chunk, in order, at most `max` bytes.
    pub fn read(&mut self, id: StreamId, max: usize) -> Read {
        let Some(id) = self.receiving(id) else { return Read::Closed };
        let mut stream = self.engine.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return Read::Closed };
        match chunks.next(max.max(1)) {
            Ok(Some(chunk)) => Read::Data(chunk.bytes),
            Ok(None) => Read::Finished,
            Err(ReadError::Blocked) => Read::Blocked,
            Err(ReadError::Reset(code)) => Read::Reset(code.into()),
        }
    }

    /// Queues chunks without copying; those taken are advanced or emptied.
    pub fn write(&mut self, id: StreamId, chunks: &mut [Bytes]) -> Write {
        let Some(id) = self.sending(id) else { return Write::Closed };
        match self.engine.send_stream(id).write_chunks(chunks) {
            Ok(written) => {
                self.queued += written.bytes as u64;
                Write::Taken(written.bytes)
            }
            Err(WriteError::Blocked) => Write::Blocked,
            Err(WriteError::Stopped(code)) => Write::Stopped(code.into()),
            Err(WriteError::ClosedStream) => Write::Closed,
        }
    }

    /// FIN. Nothing happens on a stream that is over or that the peer stopped.
    pub fn finish(&mut self, id: StreamId) {
        if let Some(id) = self.sending(id) {
            let _ = self.engine.send_stream(id).finish();
        }
    }

    /// RESET_STREAM. Nothing happens on a stream that is over.
    pub fn reset(&mut self, id: StreamId, code: u64) {
        if let Some(id) = self.sending(id) {
            let _ = self.engine.send_stream(id).reset(varint(code));
            self.queued = 0;
        }
    }

    /// STOP_SENDING. Nothing happens on a stream that is over.
    pub fn stop_sending(&mut self, id: StreamId, code: u64) {
        if let Some(id) = self.receiving(id) {
            let _ = self.engine.recv_stream(id).stop(varint(code));
        }
    }

    /// Queues a DATAGRAM; false when it is too large, datagrams are off or the queue is full.
    pub fn send_datagram(&mut self, data: Bytes) -> bool {
        self.engine.datagrams().send(data, false).is_ok()
    }

    /// The largest DATAGRAM that can be sent now, in bytes; `None` when datagrams are off.
    pub fn max_datagram_size(&mut self) -> Option<usize> {
        self.engine.datagrams().max_size()
    }

    /// CONNECTION_CLOSE with an application code. What was written and has not left is lost.
    pub fn close(&mut self, code: u64, reason: &[u8]) {
        self.end(code, reason, CloseReason::Local);
    }

    /// The next event, until `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Event::Readable(id) = event {
            self.readable.remove(&id);
        }
        Some(event)
    }

    /// Changes how many streams of the direction the peer may have open.
    pub fn set_max_streams(&mut self, dir: Dir, count: u64) {
        self.engine.set_max_concurrent_streams(dir.into(), varint(count));
    }

    /// Its key.
    pub fn key(&self) -> ConnectionKey {
        self.key
    }

    /// Bytes that the congestion window still allows now: how much is worth handing over before
    /// transmit.
    ///
    /// An estimate. When it is zero something is under way, and `run` is called again when that
    /// changes. An application that stops earlier asks for its next turn with
    /// [`Application::timeout`](crate::Application::timeout).
    pub fn headroom(&self) -> u64 {
        let free = self.engine.congestion_state().metrics().congestion_window;
        // With nothing queued there is always room for a little: what it becomes is acknowledged, and
        // that corrects an estimate that is too low.
        let least = if self.queued == 0 { 2 * u64::from(self.engine.current_mtu()) } else { 0 };
        free.saturating_sub(self.queued).max(least)
    }

    /// The handshake is not complete: what arrives now is early data.
    pub fn is_handshaking(&self) -> bool {
        self.engine.is_handshaking()
    }

    /// It is over: nothing that is written from now on will leave.
    pub fn is_closed(&self) -> bool {
        self.engine.is_closed()
    }

    /// We opened it (true), or the peer did.
    pub fn is_client(&self) -> bool {
        self.engine.side() == Side::Client
    }

    /// The peer's address; an IPv4 one as such, whatever the socket calls it.
    pub fn remote_address(&self) -> SocketAddr {
        canonical(self.engine.remote_address())
    }

    /// TLS server name that the client sent.
    pub fn server_name(&self) -> Option<&str> {
        self.handshake.as_ref()?.server_name.as_deref()
    }

    /// Negotiated ALPN.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.handshake.as_ref()?.alpn.as_deref()
    }

    /// TLS facts: negotiated cipher suite.
    pub fn cipher_suite(&self) -> Option<rustls::CipherSuite> {
        self.handshake.as_ref()?.cipher_suite
    }

    /// TLS facts: key exchange group.
    pub fn key_exchange(&self) -> Option<rustls::NamedGroup> {
        self.handshake.as_ref()?.key_exchange
    }

    /// The peer's certificates, leaf first.
    pub fn peer_certificates(&self) -> Option<Vec<rustls::pki_types::CertificateDer<'static>>> {
        let identity = self.engine.crypto_session().peer_identity()?;
        identity.downcast().ok().map(|certificates| *certificates)
    }

    /// Smoothed round-trip time.
    pub fn rtt(&self) -> Duration {
        self.engine.rtt()
    }

    /// Figures.
    pub fn stats(&self) -> Stats {
        let stats = self.engine.stats();
        Stats {
            rtt: stats.path.rtt,
            cwnd: stats.path.cwnd,
            sent_packets: stats.path.sent_packets,
            lost_packets: stats.path.lost_packets,
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            mtu: stats.path.current_mtu,
        }
    }

    /// The engine's id, when the peer may send on this stream.
    fn receiving(&self, id: StreamId) -> Option<quinn_proto::StreamId> {
        let id = quinn_proto::StreamId::from(VarInt::from_u64(id.0).ok()?);
        (id.dir() == quinn_proto::Dir::Bi || id.initiator() != self.engine.side()).then_some(id)
    }

    /// The engine's id, when we may send on this stream.
    // req: 9000-2.1-stream-direction
    fn sending(&self, id: StreamId) -> Option<quinn_proto::StreamId> {
        let id = quinn_proto::StreamId::from(VarInt::from_u64(id.0).ok()?);
        (id.dir() == quinn_proto::Dir::Bi || id.initiator() == self.engine.side()).then_some(id)
    }
}

/// A dual-stack socket maps IPv4 addresses into IPv6 (RFC 4291 §2.5.5.2), which is nobody's business.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip.is_ipv4() => SocketAddr::new(ip, address.port()),
        _ => address,
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("key", &self.key)
            .field("remote", &self.remote)
            .field("handshaking", &self.is_handshaking())
            .field("events", &self.events.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
