//! One HTTP/3 connection of the server: [`Connection::run`] is a turn, from what arrived to what leaves.
//!
//! Its steps are the files of `connection/`: `follow` a reload, `receive` what arrived, `expire` what is late, `drain`, `admission` of what is
//! new, work on each `request`, its `response`, and `send` what the transport can use, in the order of priority. The rules of HTTP/3 are
//! `sterna_h3`'s.

mod admission;
mod drain;
mod expire;
mod follow;
mod memory;
mod receive;
mod request;
mod response;
mod send;
mod silence;

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use rustc_hash::FxHashSet;
use sterna_h3::StreamId;
use sterna_quic::CloseReason;

use self::{drain::Drain, memory::Charge, silence::Silence};
use super::{schedule::Scheduler, stream::RequestStream};
use crate::{
    HandshakeFailure, OpenConnection, Protocol,
    body::Budget,
    client::Transport,
    context::ConnectionContext,
    era::Era,
    h3::{outgoing::Outgoing, streams::Streams, wake::ConnectionWake},
    limit::per_source::Held,
    server::Config,
    service::{Dispatch, HttpService},
};

/// The state of one connection, owned by the QUIC endpoint that carries it.
pub(crate) struct Connection<S: HttpService> {
    dispatch: Rc<Dispatch<S>>,
    /// As it was in the last turn.
    config: Arc<Config>,
    local: SocketAddr,
    wake: Arc<ConnectionWake>,
    phase: Phase,
    /// When its handshake began, if early data came and it is not complete.
    early_since: Option<Instant>,
    /// What its requests share, from the handshake on.
    context: Option<Arc<ConnectionContext>>,
    streams: Streams<RequestStream<S>>,
    scheduler: Scheduler,
    /// Our unidirectional streams: control, encoder, decoder.
    own: Vec<(StreamId, Outgoing)>,
    /// Requests that have come and were not looked at, by their ids: their bytes wait with the transport.
    waiting: VecDeque<(sterna_quic::StreamId, Option<Held>)>,
    /// Streams with something to read.
    readable: Vec<sterna_quic::StreamId>,
    /// Slots to look at: new requests, and what was woken.
    ready: Vec<usize>,
    /// Streams whose FIN the client has not acknowledged.
    unacknowledged: FxHashSet<StreamId>,
    /// Requests that the client may have at once.
    stream_limit: u64,
    /// Requests answered whole since the limit was set.
    answered: u64,
    /// For the bodies of all requests.
    budget: Budget,
    /// No later than the first time-out of a stream; looked at when it is over.
    deadline: Option<Instant>,
    /// When it may give memory back, should it be idle then.
    rest_at: Option<Instant>,
    drain: Drain,
    era: Rc<Era>,
    /// What is heard of the client while the server waits for its end.
    silence: Option<Box<Silence>>,
    /// Its place among the connections of its address.
    place: Option<Held>,
    /// The address that its requests count for.
    client: IpAddr,
    /// When it goes among those that go together.
    lot: u16,
    /// What it costs the ledger.
    charge: Rc<Charge>,
}

/// The life of the connection.
enum Phase {
    /// The handshake is not complete; it began then.
    Opening(Instant),
    /// HTTP/3 is spoken.
    Open(Box<sterna_h3::Connection>),
    /// We closed it, or it was lost.
    Closed,
}

impl<S: HttpService> Connection<S> {
    pub(super) fn new(
        dispatch: Rc<Dispatch<S>>,
        local: SocketAddr,
        wake: Arc<ConnectionWake>,
        client: SocketAddr,
        now: Instant,
    ) -> Self {
        let (config, era) = (dispatch.config(), dispatch.era());
        let charge = Charge::new(dispatch.memory.clone(), dispatch.counters.clone());
        let charge = Rc::new(charge);
        Self {
            stream_limit: config.quic.max_bidi_streams,
            answered: 0,
            budget: Budget::new(config.upload_buffer, config.upload_buffer_total),
            config,
            dispatch,
            local,
            streams: Streams::new(wake.clone()),
            wake,
            phase: Phase::Opening(now),
            context: None,
            early_since: None,
            scheduler: Scheduler::default(),
            own: Vec::new(),
            waiting: VecDeque::new(),
            readable: Vec::new(),
            ready: Vec::new(),
            unacknowledged: FxHashSet::default(),
            deadline: None,
            rest_at: None,
            drain: Drain::Off,
            silence: None,
            era,
            place: None,
            client: client.ip(),
            lot: client.port(),
            charge,
        }
    }

    /// What is to be dropped when the transport has freed its memory.
    pub(super) fn burden(&self) -> Rc<dyn std::any::Any> {
        self.charge.clone()
    }

    /// Takes a turn.
    pub(super) fn run(
        &mut self,
        quic: &mut sterna_quic::Connection,
        now: Instant,
        drain_by: Option<Instant>,
    ) {
        self.wake.enter();
        self.follow(quic, now);
        self.receive(quic, now);
        self.expire(quic, now);
        if drain_by.is_some() {
            self.ask_whether_it_is_there(quic, now);
        }
        let drain_by = drain_by.or_else(|| self.go_by(now));
        self.advance_drain(quic, now, drain_by);
        // A task that wakes another one of the connection should not cost a turn; one that wakes itself for ever may
        // not keep the worker either.
        for _ in 0..MAX_ROUNDS {
            self.admit(quic, now);
            self.work(quic, now);
            self.send(quic, now);
            // What was sent made room for more, as long as the transport takes it.
            while self.admit(quic, now) {
                self.send(quic, now);
            }
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
        if self.rest_at.is_some_and(|at| at <= now) {
            // Not at once: a client whose requests are answered often has the next one soon.
            self.rest_at = (!self.is_idle()).then(|| now + REST_AFTER);
            if self.rest_at.is_none() {
                self.rest(quic);
            }
        }
    }

    /// Gives back memory that only a busy connection needs: most are idle most of the time.
    fn rest(&mut self, quic: &mut sterna_quic::Connection) {
        if let Phase::Open(http) = &mut self.phase {
            http.rest();
        }
        self.streams.rest();
        self.waiting.shrink_to_fit();
        self.scheduler.rest();
        quic.rest();
        self.ready.shrink_to_fit();
        self.readable.shrink_to_fit();
        self.unacknowledged.shrink_to_fit();
    }

    /// For whoever asks what is going on.
    pub(crate) fn describe(&self, quic: &sterna_quic::Connection, worker: usize) -> OpenConnection {
        let stats = quic.stats();
        OpenConnection {
            worker,
            protocol: matches!(self.phase, Phase::Open(_)).then_some(Protocol::Http3),
            peer: quic.validated_address(),
            local: self.local,
            requests: self.streams.len(),
            rtt: Some(stats.rtt),
            age: None,
            sent_bytes: Some(stats.sent_bytes),
            received_bytes: Some(stats.received_bytes),
            sent_packets: Some(stats.sent_packets),
            lost_packets: Some(stats.lost_packets),
        }
    }

    /// When `run` wants to be called at the latest.
    pub(super) fn timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Closed => None,
            Phase::Opening(_) | Phase::Open(_) => {
                let drain = self.drain_timeout().or_else(|| self.retires());
                [self.deadline, self.rest_at, drain].into_iter().flatten().min()
            }
        }
    }

    /// The transport has ended it: a handshake that was not complete has failed.
    pub(super) fn ended(&self, reason: &CloseReason) {
        let is_opening = matches!(self.phase, Phase::Opening(_)) || self.early_since.is_some();
        if is_opening && let Some(why) = HandshakeFailure::of_quic(reason) {
            self.dispatch.counters.handshakes.failed(Transport::Quic, why);
        }
    }

    /// The connection is gone: nobody waits for anything.
    pub(super) fn lost(&mut self) {
        self.phase = Phase::Closed;
        self.place = None;
        self.own.clear();
        self.waiting.clear();
        for (_, stream) in self.streams.iter_mut() {
            stream.lose();
        }
        self.streams.clear();
        self.scheduler = Scheduler::default();
        self.unacknowledged.clear();
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
}

/// How long a connection keeps its memory without a request.
const REST_AFTER: Duration = Duration::from_secs(1);

/// Rounds of polling within one turn.
const MAX_ROUNDS: usize = 4;
