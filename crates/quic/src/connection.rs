//! One connection as the application sees it, lent for the length of a call.
//!
//! The endpoint feeds the engine, gathers its events here and lends the whole; streams are read
//! and written on the spot, without a channel between. Nothing here sends: what was written leaves
//! when the endpoint transmits, after [`Application::run`](crate::Application::run).

mod doubt;
mod elsewhere;
mod events;
mod expiry;
mod held;
mod limits;
mod pacing;
mod unproven;
mod window;

use std::{
    collections::VecDeque,
    fmt,
    net::{IpAddr, SocketAddr},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
    time::Instant,
};

use bytes::Bytes;
use quinn_proto::{ReadError, Side, VarInt, WriteError};
use rustc_hash::FxHashSet;

pub use self::limits::Limits;
use self::{
    doubt::Doubt, elsewhere::Elsewhere, expiry::Expiry, pacing::Pacer, unproven::Unproven,
    window::Window,
};
use crate::{
    CloseReason, Config, Dir, Event, Read, ReadEnd, StreamId, Write, config::varint,
    crypto::HandshakeData, early::Outcome,
};

/// Names a connection of one endpoint; never reused for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey(pub u64);

/// Figures of a connection at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Smallest round-trip time of the path.
    pub min_rtt: Duration,
    /// The name of our congestion controller.
    pub congestion: &'static str,
    /// Congestion window, in bytes.
    pub cwnd: u64,
    /// Bytes for each second at which packets are to leave, with a controller that thinks in rates.
    pub pacing_rate: Option<u64>,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets lost.
    pub lost_packets: u64,
    /// Bytes in them.
    pub lost_bytes: u64,
    /// Times that the congestion window was cut, for loss or for an ECN mark.
    pub congestion_events: u64,
    /// Times that large packets ceased to arrive, and the path MTU was taken back.
    pub black_holes: u64,
    /// Bytes of UDP payload sent.
    pub sent_bytes: u64,
    /// Bytes of UDP payload received.
    pub received_bytes: u64,
    /// Path MTU, in bytes of UDP payload.
    pub mtu: u16,
}

/// What of its configuration a connection looks at itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    send_window: u64,
    congestion: &'static str,
    /// The first and the largest receive window.
    windows: (u64, u64),
}

impl Profile {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            send_window: config.send_window,
            congestion: config.congestion.algorithm.name(),
            windows: (config.initial_connection_window, config.connection_window),
        }
    }
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
    handshake: Option<Arc<HandshakeData>>,
    /// What became of early data, until it is counted.
    early_news: Option<Outcome>,
    /// Bytes written to streams that have not left yet, an estimate from below: overhead and
    /// retransmissions count as if they were fresh data.
    queued: u64,
    profile: Profile,
    /// The peer's address when the application last heard of it.
    remote: SocketAddr,
    /// The last one that the peer has proven to be its own, by the handshake or since.
    validated: SocketAddr,
    /// Where the last datagram came from, and its bytes.
    arrived: (SocketAddr, u64),
    /// Of the address, while it is not validated.
    doubt: Option<Box<Doubt>>,
    /// Servers only.
    elsewhere: Elsewhere,
    /// Once a stream has had a deadline, while any has.
    expiry: Option<Box<Expiry>>,
    /// Server: the client has not shown yet that its address is its own.
    unproven: Option<Unproven>,
    /// With a congestion controller that thinks in rates.
    pacer: Option<Box<Pacer>>,
    /// Its memory is given back as soon as its close has left.
    pub(crate) is_abandoned: bool,
    /// Servers only.
    window: Option<Window>,
    /// Streams that the peer may have open, as far as somebody has said so.
    permitted: usize,
    /// The application's, dropped with the engine's buffers.
    pub(crate) burden: Option<std::rc::Rc<dyn std::any::Any>>,
}

impl Connection {
    pub(crate) fn new(
        key: ConnectionKey,
        engine: quinn_proto::Connection,
        profile: Profile,
        now: Instant,
    ) -> Self {
        let is_server = engine.side().is_server();
        let is_paced = engine.congestion_state().metrics().pacing_rate.is_some();
        let pacer = is_paced.then(|| Box::new(Pacer::new(now)));
        Self {
            key,
            remote: canonical(engine.remote_address()),
            validated: canonical(engine.remote_address()),
            arrived: (canonical(engine.remote_address()), 0),
            doubt: None,
            elsewhere: Elsewhere::default(),
            expiry: None,
            engine,
            now,
            events: VecDeque::new(),
            readable: FxHashSet::default(),
            ended: None,
            handshake: None,
            early_news: None,
            queued: 0,
            window: is_server.then(|| Window::new(profile.windows, now)),
            profile,
            unproven: None,
            pacer,
            is_abandoned: false,
            permitted: 100,
            burden: None,
        }
    }

    /// Opens a stream, or `None` at the peer's limit (`Event::Available` comes later).
    pub fn open(&mut self, dir: Dir) -> Option<StreamId> {
        self.engine.streams().open(dir.into()).map(StreamId::from)
    }

    /// Reads the next chunk, in order, at most `max` bytes.
    pub fn read(&mut self, id: StreamId, max: usize) -> Read {
        let read = self.read_chunk(id, max);
        match &read {
            Read::Data(data) => self.was_read(id, data.len() as u64),
            Read::Blocked => {}
            Read::Finished | Read::Reset(_) | Read::Closed => self.is_over(id),
        }
        read
    }

    fn read_chunk(&mut self, id: StreamId, max: usize) -> Read {
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

    /// Hands all that is there to `take`, in order and in chunks of at most `max` bytes, until it breaks off; says what
    /// came behind, and `None` if it broke off. It costs less than one [`Self::read`] for each chunk.
    pub fn read_all(
        &mut self,
        id: StreamId,
        max: usize,
        mut take: impl FnMut(Bytes) -> ControlFlow<()>,
    ) -> Option<ReadEnd> {
        let mut bytes = 0;
        let end = self.read_chunks(id, max, |data| {
            bytes += data.len() as u64;
            take(data)
        });
        match end {
            None | Some(ReadEnd::Blocked) => self.was_read(id, bytes),
            Some(_) => {
                self.was_read(id, bytes);
                self.is_over(id);
            }
        }
        end
    }

    fn read_chunks(
        &mut self,
        id: StreamId,
        max: usize,
        mut take: impl FnMut(Bytes) -> ControlFlow<()>,
    ) -> Option<ReadEnd> {
        let Some(id) = self.receiving(id) else { return Some(ReadEnd::Closed) };
        let mut stream = self.engine.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return Some(ReadEnd::Closed) };
        loop {
            match chunks.next(max.max(1)) {
                Ok(Some(chunk)) => {
                    if take(chunk.bytes).is_break() {
                        return None;
                    }
                }
                Ok(None) => return Some(ReadEnd::Finished),
                Err(ReadError::Blocked) => return Some(ReadEnd::Blocked),
                Err(ReadError::Reset(code)) => return Some(ReadEnd::Reset(code.into())),
            }
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
        self.clear_deadline(id);
        if let Some(id) = self.sending(id) {
            let _ = self.engine.send_stream(id).reset(varint(code));
            self.queued = 0;
        }
    }

    /// STOP_SENDING. Nothing happens on a stream that is over.
    pub fn stop_sending(&mut self, id: StreamId, code: u64) {
        if let Some(engine_id) = self.receiving(id) {
            let _ = self.engine.recv_stream(engine_id).stop(varint(code));
            self.is_over(id);
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

    /// Gives back memory of ours that only a busy connection needs.
    pub fn rest(&mut self) {
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
        if self.readable.is_empty() {
            self.readable = FxHashSet::default();
        }
        if let Some(path) = self.path_watch() {
            path.held.rest();
        }
    }

    /// Asks the peer to acknowledge something (PING, RFC 9000 §19.2).
    pub fn ping(&mut self) {
        self.engine.ping();
    }

    /// ACK frames that have come: unlike a datagram, nobody but the peer can send one.
    pub fn acks_received(&self) -> u64 {
        self.engine.stats().frame_rx.acks
    }

    /// Changes how many streams of the direction the peer may have open.
    pub fn set_max_streams(&mut self, dir: Dir, count: u64) {
        self.engine.set_max_concurrent_streams(dir.into(), varint(count));
    }

    /// Its key.
    pub fn key(&self) -> ConnectionKey {
        self.key
    }

    /// Bytes that the congestion window and our own send window still allow now: how much is worth handing over before
    /// transmit.
    ///
    /// An estimate. When it is zero something is under way, and `run` is called again when that
    /// changes. An application that stops earlier asks for its next turn with
    /// [`Application::timeout`](crate::Application::timeout).
    pub fn headroom(&self) -> u64 {
        let state = self.engine.congestion_state();
        let free = state.metrics().congestion_window;
        let in_flight = state.window().saturating_sub(free);
        // A stream that finds the send window full is told when there is room, and so are all that found it so: with
        // thousands of them that is dearer than to leave a little of it free.
        let kept = in_flight.saturating_add(SEND_SLACK.min(self.profile.send_window / 2));
        let free = free.min(self.profile.send_window.saturating_sub(kept));
        // With nothing queued there is always room for a little: what it becomes is acknowledged, and
        // that corrects an estimate that is too low.
        let least = if self.queued == 0 { 2 * u64::from(self.engine.current_mtu()) } else { 0 };
        free.saturating_sub(self.queued).max(least)
    }

    /// Client: streams may be opened before [`Event::Connected`], and what is written to them leaves at once (0-RTT,
    /// RFC 9001 §4.6). It may be replayed by anyone on the way: RFC 8470 says what may be sent so.
    ///
    /// It stays true when the server refused it; see [`Self::is_early_data_accepted`].
    pub fn has_early_data(&self) -> bool {
        self.is_client() && self.engine.has_0rtt()
    }

    /// Client: the server took what was sent before the handshake was complete. `None` while that is open, and when
    /// nothing could be sent.
    ///
    /// When it is false the streams that were opened early are gone without an event; their ids will be used again.
    pub fn is_early_data_accepted(&self) -> Option<bool> {
        let is_settled = self.has_early_data() && !self.is_handshaking();
        is_settled.then(|| self.engine.accepted_0rtt())
    }

    /// Server: early data of the client is read while the handshake is not complete. Anyone on the way may have replayed it,
    /// and its address is not proven yet.
    pub fn takes_early_data(&self) -> bool {
        !self.is_client() && self.is_handshaking() && self.engine.has_0rtt()
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

    /// Our address that the peer came to, as far as the socket tells.
    pub fn local_ip(&self) -> Option<IpAddr> {
        self.engine.local_ip().map(|ip| ip.to_canonical())
    }

    /// The last address that the peer has proven to be its own (RFC 9000 §8.2): whoever is held to account by an address is by
    /// this one. It follows [`Self::remote_address`] by a round trip. While [`Self::is_handshaking`], a client's is what its first
    /// datagram claims to come from, and so is that of early data.
    pub fn validated_address(&self) -> SocketAddr {
        self.validated
    }

    /// The peer has asked us to stay at our address (RFC 9000 §18.2). A client that cannot is closed when it moves:
    /// [`CloseReason::Stranded`].
    pub fn must_stay(&self) -> bool {
        self.handshake.as_ref().is_some_and(|handshake| handshake.must_stay)
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
            min_rtt: stats.path.min_rtt,
            congestion: self.profile.congestion,
            cwnd: stats.path.cwnd,
            pacing_rate: self.engine.congestion_state().metrics().pacing_rate,
            sent_packets: stats.path.sent_packets,
            lost_packets: stats.path.lost_packets,
            lost_bytes: stats.path.lost_bytes,
            congestion_events: stats.path.congestion_events,
            black_holes: stats.path.black_holes_detected,
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            mtu: stats.path.current_mtu,
        }
    }

    /// PATH_CHALLENGE frames sent and received.
    pub(crate) fn path_challenges(&self) -> (u64, u64) {
        let stats = self.engine.stats();
        (stats.frame_tx.path_challenge, stats.frame_rx.path_challenge)
    }

    fn is_early_data_rejected(&self) -> bool {
        self.is_early_data_accepted() == Some(false)
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

/// Bytes of the send window that are left free: a batch, by which an application may go beyond what it is told.
const SEND_SLACK: u64 = 64 * 1024;

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
