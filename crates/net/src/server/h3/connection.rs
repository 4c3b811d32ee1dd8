//! One HTTP/3 connection of the server: [`Connection::run`] is a turn, from what arrived to what leaves.
//!
//! `receive` and the drain live here, requests and their answers in `connection/request.rs`, what goes to the
//! transport and in which order in `connection/send.rs`. The rules of HTTP/3 are `sterna_h3`'s.

mod request;
mod send;

use std::{
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustc_hash::FxHashSet;
use sterna_h3::{Code, Error, Role, StreamId};
use sterna_quic::{Dir, Read};

use super::{
    outgoing::Outgoing,
    schedule::Scheduler,
    stream::{Receiving, RequestStream, Streams},
    wake::ConnectionWake,
};
use crate::{
    Protocol, TlsFacts,
    context::{ConnectionContext, Rtt, lock},
    service::{Dispatch, HttpService},
};

/// The state of one connection, owned by the QUIC endpoint that carries it.
pub(crate) struct Connection<S: HttpService> {
    dispatch: Rc<Dispatch<S>>,
    local: SocketAddr,
    wake: Arc<ConnectionWake>,
    phase: Phase,
    /// What its requests share, from the handshake on.
    context: Option<Arc<ConnectionContext>>,
    streams: Streams<S::Content>,
    scheduler: Scheduler,
    /// Our unidirectional streams: control, encoder, decoder.
    own: Vec<(StreamId, Outgoing)>,
    /// Streams with something to read.
    readable: Vec<sterna_quic::StreamId>,
    /// Slots to look at: new requests, and what was woken.
    ready: Vec<usize>,
    /// Streams whose FIN the client has not acknowledged.
    unacknowledged: FxHashSet<StreamId>,
    /// No later than the first time-out of a stream; looked at when it is over.
    deadline: Option<Instant>,
    drain: Drain,
}

/// The life of the connection.
enum Phase {
    /// The handshake is not complete.
    Opening,
    /// HTTP/3 is spoken.
    Open(Box<sterna_h3::Connection>),
    /// We closed it, or it was lost.
    Closed,
}

/// The orderly end (RFC 9114 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    Off,
    /// GOAWAY with the largest id: the client stops, what is on its way is still served.
    Announced {
        until: Instant,
        deadline: Instant,
    },
    /// GOAWAY with the real id: later requests are rejected. It gets time to arrive before the close.
    Final {
        until: Instant,
        deadline: Instant,
    },
}

impl<S: HttpService> Connection<S> {
    pub(super) fn new(
        dispatch: Rc<Dispatch<S>>,
        local: SocketAddr,
        wake: Arc<ConnectionWake>,
    ) -> Self {
        Self {
            dispatch,
            local,
            streams: Streams::new(wake.clone()),
            wake,
            phase: Phase::Opening,
            context: None,
            scheduler: Scheduler::default(),
            own: Vec::new(),
            readable: Vec::new(),
            ready: Vec::new(),
            unacknowledged: FxHashSet::default(),
            deadline: None,
            drain: Drain::Off,
        }
    }

    /// Takes a turn.
    pub(super) fn run(
        &mut self,
        quic: &mut sterna_quic::Connection,
        now: Instant,
        drain_by: Option<Instant>,
    ) {
        self.wake.enter();
        self.receive(quic, now);
        self.expire(quic, now);
        self.advance_drain(quic, now, drain_by);
        // A task that wakes another one of the connection should not cost a turn; one that wakes itself for ever may
        // not keep the worker either.
        for _ in 0..MAX_ROUNDS {
            self.work(quic, now);
            self.send(quic, now);
            self.wake.take(&mut self.ready);
            if self.ready.is_empty() {
                break;
            }
        }
        for slot in self.ready.drain(..) {
            // Not lost: `leave` asks for another turn.
            self.streams.rearm(slot);
            if let Some(waker) = self.streams.waker(slot) {
                waker.wake_by_ref();
            }
        }
        self.finish_drain(quic, now);
        self.wake.leave();
    }

    /// When `run` wants to be called at the latest.
    pub(super) fn timeout(&self) -> Option<Instant> {
        let drain = match self.drain {
            Drain::Off => None,
            Drain::Announced { until, deadline } => Some(until.min(deadline)),
            // Past its notice only the last answer or the deadline ends it.
            Drain::Final { until, deadline } if self.is_idle() => Some(until.min(deadline)),
            Drain::Final { deadline, .. } => Some(deadline),
        };
        match self.phase {
            Phase::Closed => None,
            Phase::Opening | Phase::Open(_) => match (self.deadline, drain) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
        }
    }

    /// The connection is gone: nobody waits for anything.
    pub(super) fn lost(&mut self) {
        self.phase = Phase::Closed;
        self.own.clear();
        for (_, stream) in self.streams.iter_mut() {
            stream.lose();
        }
        self.streams.clear();
        self.scheduler = Scheduler::default();
        self.unacknowledged.clear();
    }

    /// What the transport has: events first, then data.
    fn receive(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        while let Some(event) = quic.poll_event() {
            match event {
                sterna_quic::Event::Connected => self.open(quic),
                sterna_quic::Event::Opened(id) => self.opened(id, now),
                sterna_quic::Event::Readable(id) => self.readable.push(id),
                sterna_quic::Event::Writable(id) => self.writable(h3_id(id)),
                sterna_quic::Event::Finished(id) => {
                    self.unacknowledged.remove(&h3_id(id));
                }
                sterna_quic::Event::Stopped(id, code) => {
                    self.unacknowledged.remove(&h3_id(id));
                    if let Phase::Open(http) = &mut self.phase {
                        // Its error is in the commands, as a close.
                        let _ = http.handle_stop_sending(h3_id(id), code);
                        self.take_events(now);
                    }
                }
                sterna_quic::Event::Datagram(data) => {
                    if let Phase::Open(http) = &mut self.phase {
                        let _ = http.handle_datagram(data);
                        self.take_events(now);
                    }
                }
                sterna_quic::Event::Migrated { to, .. } => {
                    if let Some(context) = &self.context {
                        *lock(&context.peer) = to;
                    }
                }
                _ => {}
            }
        }
        if let Some(context) = &self.context
            && let Rtt::Quic(micros) = &context.rtt
        {
            let rtt = u64::try_from(quic.rtt().as_micros()).unwrap_or(u64::MAX);
            micros.store(rtt, Ordering::Relaxed);
        }
        if matches!(self.phase, Phase::Open(_)) {
            // Reading the encoder stream may unblock others: they join the end of the list.
            let mut next = 0;
            while let Some(&id) = self.readable.get(next) {
                next += 1;
                self.read(quic, id, now);
            }
            self.readable.clear();
        }
    }

    /// The handshake is complete: our unidirectional streams, SETTINGS.
    fn open(&mut self, quic: &mut sterna_quic::Connection) {
        let mut open = || quic.open(Dir::Uni).map(h3_id);
        let (Some(control), Some(encoder), Some(decoder)) = (open(), open(), open()) else {
            // RFC 9114 §6.2: a peer must allow at least three.
            quic.close(
                Code::GeneralProtocolError.value(),
                b"three unidirectional streams are needed",
            );
            self.lost();
            return;
        };
        let mut config = self.dispatch.config.h3.clone();
        config.max_field_section_size = self.dispatch.config.max_header_size as u64;
        let http = sterna_h3::Connection::new(Role::Server, config, control, encoder, decoder);
        self.phase = Phase::Open(Box::new(http));
        self.own = [control, encoder, decoder]
            .map(|id| (id, Outgoing::new(self.dispatch.counters.clone())))
            .into();
        self.context = Some(Arc::new(ConnectionContext {
            protocol: Protocol::Http3,
            peer: Mutex::new(quic.remote_address()),
            local: self.local,
            worker: self.dispatch.worker,
            tls: Some(facts(quic)),
            rtt: Rtt::Quic(AtomicU64::new(0)),
        }));
    }

    /// The client opened a stream: its request's head has a time-out from now on.
    fn opened(&mut self, id: sterna_quic::StreamId, now: Instant) {
        let id = h3_id(id);
        if id.is_uni() {
            return;
        }
        let by = now + self.dispatch.config.header_timeout;
        self.streams.insert(RequestStream::new(id, self.dispatch.counters.clone(), by));
        self.remind(by);
    }

    /// Reads a stream until it has no more, or the application has enough of it.
    ///
    /// One chunk is held back, so that a FIN that follows at once is told with it: a request without content is then
    /// known to be one.
    fn read(
        &mut self,
        quic: &mut sterna_quic::Connection,
        id: sterna_quic::StreamId,
        now: Instant,
    ) {
        let mut held = None;
        loop {
            if self.is_full(h3_id(id)) {
                self.deliver(id, held, false, now);
                return;
            }
            let over = match quic.read(id, READ_CHUNK) {
                Read::Data(data) => {
                    if let Some(before) = held.replace(data) {
                        self.deliver(id, Some(before), false, now);
                    }
                    continue;
                }
                Read::Finished => {
                    self.deliver(id, Some(held.unwrap_or_default()), true, now);
                    true
                }
                Read::Reset(code) => {
                    self.deliver(id, held, false, now);
                    if let Phase::Open(http) = &mut self.phase {
                        let _ = http.handle_reset(h3_id(id), code);
                        self.take_events(now);
                    }
                    true
                }
                Read::Blocked => {
                    self.deliver(id, held, false, now);
                    false
                }
                Read::Closed => {
                    self.deliver(id, held, false, now);
                    true
                }
            };
            if over && let Some(slot) = self.streams.slot(h3_id(id)) {
                self.received_all(slot);
            }
            return;
        }
    }

    fn deliver(&mut self, id: sterna_quic::StreamId, data: Option<Bytes>, fin: bool, now: Instant) {
        let (Some(data), Phase::Open(http)) = (data, &mut self.phase) else { return };
        match http.handle_stream(h3_id(id), data, fin) {
            // Closed: it was told before, and the command that closes waits.
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => {
                self.dispatch.counters.protocol_errors.increment();
                tracing::debug!(%error, "HTTP/3 connection is closed");
            }
        }
        self.take_events(now);
    }

    /// True when this stream is to be left alone for now: it waits for QPACK and `Unblocked` follows, or the
    /// application has enough of it and its slot is woken when there is room.
    fn is_full(&mut self, id: StreamId) -> bool {
        if let Phase::Open(http) = &self.phase
            && http.is_blocked(id)
        {
            return true;
        }
        let Some(slot) = self.streams.slot(id) else { return false };
        let Some(stream) = self.streams.get_mut(slot) else { return false };
        let full = stream.upload.as_ref().is_some_and(|upload| upload.is_full());
        if full && stream.receiving == Receiving::Open {
            stream.receiving = Receiving::Paused;
            // The client waits for us, not we for it.
            stream.receive_by = None;
        }
        full
    }

    fn received_all(&mut self, slot: usize) {
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.stop_receiving();
            self.retire(slot);
        }
    }

    /// Forgets a stream on which nothing more will happen.
    fn retire(&mut self, slot: usize) {
        if self.streams.get_mut(slot).is_some_and(|stream| stream.is_over()) {
            self.streams.remove(slot);
        }
    }

    /// Something is due at `at`.
    fn remind(&mut self, at: Instant) {
        self.deadline = Some(self.deadline.map_or(at, |deadline| deadline.min(at)));
    }

    /// Time-outs of streams: late heads, silent bodies, readers that take nothing.
    fn expire(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        let write_timeout = self.dispatch.config.write_timeout;
        let mut late = Vec::new();
        let mut next: Option<Instant> = None;
        for (slot, stream) in self.streams.iter_mut() {
            let write_by = stream.outgoing.blocked_since().map(|since| since + write_timeout);
            for at in [stream.receive_by, write_by].into_iter().flatten() {
                if at <= now {
                    late.push(slot);
                } else {
                    next = Some(next.map_or(at, |next| next.min(at)));
                }
            }
        }
        self.deadline = next;
        for slot in late {
            self.late(quic, slot, now);
        }
    }

    /// Begins and continues the orderly end.
    fn advance_drain(
        &mut self,
        quic: &mut sterna_quic::Connection,
        now: Instant,
        drain_by: Option<Instant>,
    ) {
        let (Some(deadline), Phase::Open(http)) = (drain_by, &mut self.phase) else {
            if drain_by.is_some() && matches!(self.phase, Phase::Opening) {
                quic.close(Code::NoError.value(), b"going away");
                self.lost();
            }
            return;
        };
        let notice = (quic.rtt() * 2).clamp(MIN_NOTICE, MAX_NOTICE);
        self.drain = match self.drain {
            Drain::Off => {
                http.shutdown();
                Drain::Announced { until: now + notice, deadline }
            }
            Drain::Announced { until, .. } if until <= now => {
                http.shutdown();
                Drain::Final { until: now + notice, deadline }
            }
            Drain::Announced { until, .. } => Drain::Announced { until, deadline },
            Drain::Final { until, .. } => Drain::Final { until, deadline },
        };
    }

    /// Every response has been given, and has arrived.
    fn is_idle(&self) -> bool {
        self.streams.is_empty() && self.unacknowledged.is_empty()
    }

    /// Closes a drained connection when every response has arrived, or at the deadline.
    fn finish_drain(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        let over = match self.drain {
            Drain::Off => false,
            Drain::Announced { deadline, .. } => deadline <= now,
            Drain::Final { until, deadline } => (until <= now && self.is_idle()) || deadline <= now,
        };
        if over && matches!(self.phase, Phase::Open(_)) {
            quic.close(Code::NoError.value(), b"going away");
            self.lost();
        }
    }
}

fn facts(quic: &sterna_quic::Connection) -> TlsFacts {
    TlsFacts {
        version: Some("TLSv1.3"),
        cipher_suite: quic.cipher_suite().and_then(|suite| suite.as_str()),
        key_exchange: quic.key_exchange().and_then(|group| group.as_str()),
        alpn: quic.alpn().map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
        server_name: quic.server_name().map(str::to_owned),
        client_certificates: quic
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|certificate| certificate.to_vec())
            .collect(),
    }
}

fn h3_id(id: sterna_quic::StreamId) -> StreamId {
    StreamId(id.0)
}

fn quic_id(id: StreamId) -> sterna_quic::StreamId {
    sterna_quic::StreamId(id.0)
}

/// Rounds of polling within one turn.
const MAX_ROUNDS: usize = 4;

/// Read from the transport at once: more than a datagram's worth in any case.
const READ_CHUNK: usize = 64 * 1024;

/// After each GOAWAY: requests that were sent before the client saw it should arrive, to be served after the first one
/// and rejected after the second. Two round trips, within bounds for an estimate that is wrong.
const MIN_NOTICE: Duration = Duration::from_millis(20);
const MAX_NOTICE: Duration = Duration::from_secs(1);
