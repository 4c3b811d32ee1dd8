//! One HTTP/3 connection of the server: [`Connection::run`] is a turn, from what arrived to what leaves.
//!
//! Its steps are the files of `connection/`: `receive` what arrived, `expire` what is late, `drain`, work on each
//! `request`, its `response`, and `send` what the transport can use, in the order of priority. The rules of HTTP/3 are
//! `sterna_h3`'s.

mod drain;
mod expire;
mod receive;
mod request;
mod response;
mod send;

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Instant};

use rustc_hash::FxHashSet;
use sterna_h3::StreamId;

use self::drain::Drain;
use super::{outgoing::Outgoing, schedule::Scheduler, stream::Streams, wake::ConnectionWake};
use crate::{
    body::Budget,
    context::ConnectionContext,
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
    /// Requests that the client may have at once.
    stream_limit: u64,
    /// Requests answered whole since the limit was set.
    answered: u64,
    /// For the bodies of all requests.
    budget: Budget,
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

impl<S: HttpService> Connection<S> {
    pub(super) fn new(
        dispatch: Rc<Dispatch<S>>,
        local: SocketAddr,
        wake: Arc<ConnectionWake>,
    ) -> Self {
        let config = &dispatch.config;
        Self {
            stream_limit: config.quic.max_bidi_streams,
            answered: 0,
            budget: Budget::new(config.upload_buffer, config.upload_buffer_total),
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
        match self.phase {
            Phase::Closed => None,
            Phase::Opening | Phase::Open(_) => {
                self.deadline.into_iter().chain(self.drain_timeout()).min()
            }
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

fn h3_id(id: sterna_quic::StreamId) -> StreamId {
    StreamId(id.0)
}

fn quic_id(id: StreamId) -> sterna_quic::StreamId {
    sterna_quic::StreamId(id.0)
}

/// Rounds of polling within one turn.
const MAX_ROUNDS: usize = 4;
