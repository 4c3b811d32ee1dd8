//! One HTTP/3 connection of the client: [`Connection::run`] is a turn, from what arrived to what leaves.
//!
//! Its steps are the files of `connection/`: `open` the connection, `receive` what arrived, `answer` who waits for it,
//! `submit` what waits, and `send` what the transport can use. The rules of HTTP/3 are `sterna_h3`'s.

mod answer;
mod open;
mod receive;
mod send;
mod submit;

use std::{
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use sterna_h3::{Code, StreamId};
use sterna_quic::CloseReason;

use super::{
    super::{
        Error,
        connection::LifeGuard,
        error::{self, Kind, Phase as At},
    },
    application::{Common, Setup},
    handle::{Shared, Submission},
    stream::{Reply, RequestStream},
};
use crate::{
    Protocol,
    body::Budget,
    h3::{
        outgoing::Outgoing,
        streams::Streams,
        wake::{ConnectionWake, SlotWaker},
    },
};

/// The state of one connection, owned by the QUIC endpoint that carries it.
pub(crate) struct Connection {
    common: Rc<Common>,
    wake: Arc<ConnectionWake>,
    shared: Arc<Shared>,
    /// Wakes the connection for its queue.
    submitted: Arc<SlotWaker>,
    phase: Phase,
    /// Until someone has been told that the connection can be used.
    setup: Option<Setup>,
    /// Tells the pool when the connection has ended.
    _life: Option<LifeGuard>,
    server_name: String,
    streams: Streams<RequestStream>,
    /// Our unidirectional streams: control, encoder, decoder.
    own: Vec<(StreamId, Outgoing)>,
    /// Streams with something to read.
    readable: Vec<sterna_quic::StreamId>,
    /// Slots to look at.
    ready: Vec<usize>,
    /// Requests without a stream.
    waiting: VecDeque<Submission>,
    /// Streams with something to send, in turn.
    line: VecDeque<usize>,
    /// For the bodies of all responses.
    budget: Budget,
    /// Bodies are held back until then at the longest.
    deadline: Option<Instant>,
    is_going_away: bool,
}

/// The life of the connection.
enum Phase {
    /// The handshake is not complete, nothing can be sent.
    Opening,
    /// The handshake is not complete, what may be repeated is sent already.
    Early(Box<sterna_h3::Connection>),
    /// HTTP/3 is spoken.
    Open(Box<sterna_h3::Connection>),
    /// We closed it, or it was lost.
    Closed,
}

impl Phase {
    fn http(&mut self) -> Option<&mut sterna_h3::Connection> {
        match self {
            Self::Early(http) | Self::Open(http) => Some(http),
            Self::Opening | Self::Closed => None,
        }
    }
}

impl Connection {
    pub(super) fn new(common: Rc<Common>, wake: Arc<ConnectionWake>, setup: Setup) -> Self {
        let submitted = Arc::new(SlotWaker::new(wake.clone(), SUBMITTED));
        let pool = &common.config.pool;
        Self {
            budget: Budget::new(pool.body_buffer, pool.body_buffer_total),
            common,
            shared: Arc::new(Shared::new(Waker::from(submitted.clone()))),
            submitted,
            phase: Phase::Opening,
            server_name: setup.server_name.clone(),
            setup: Some(setup),
            _life: None,
            streams: Streams::new(wake.clone()),
            wake,
            own: Vec::new(),
            readable: Vec::new(),
            ready: Vec::new(),
            waiting: VecDeque::new(),
            line: VecDeque::new(),
            deadline: None,
            is_going_away: false,
        }
    }

    /// Takes a turn.
    pub(super) fn run(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        self.wake.enter();
        self.receive(quic, now);
        self.expire(now);
        // A task that wakes another one of the connection should not cost a turn; one that wakes itself for ever may not
        // keep the others waiting either.
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
            if slot == SUBMITTED {
                self.submitted.rearm();
                Waker::from(self.submitted.clone()).wake();
            } else if let Some(waker) = self.streams.waker(slot) {
                self.streams.rearm(slot);
                waker.wake_by_ref();
            }
        }
        self.finish(quic, now);
        self.wake.leave();
        if self.streams.is_empty()
            && let Some(http) = self.phase.http()
        {
            http.rest();
        }
    }

    /// When `run` wants to be called at the latest.
    pub(super) fn timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Closed => None,
            _ => self.deadline.into_iter().chain(self.common.closing.get()).min(),
        }
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self, reason: &CloseReason) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        let error = match (&self.phase, reason) {
            (Phase::Opening, _) => error::of_quic(reason, At::Connect),
            // What was sent early is void when the handshake fails.
            (Phase::Early(_), _) => Error::new(At::Request, Kind::Lost)
                .over(Protocol::Http3)
                .because(error::of_quic(reason, At::Connect))
                .unsent(),
            (_, CloseReason::TimedOut) => Error::new(At::FirstByte, Kind::Lost)
                .over(Protocol::Http3)
                .because("nothing was heard of the server for too long"),
            _ => error::of_quic(reason, At::FirstByte),
        };
        self.end(&error);
    }

    /// Nobody gets anything more of this connection.
    fn end(&mut self, error: &Error) {
        self.phase = Phase::Closed;
        self.own.clear();
        self.line.clear();
        let queued = self.shared.end(error);
        for submission in self.waiting.drain(..).chain(queued) {
            let _ = submission.reply.send(Err(error.clone().unsent()));
        }
        for (_, stream) in self.streams.iter_mut() {
            let cut = error.clone();
            let cut = match stream.reply {
                Reply::Content(_) => cut.in_body(),
                Reply::Waiting(_) | Reply::Over => cut,
            };
            stream.fail(cut);
            stream.outgoing.discard();
        }
        self.streams.clear();
        if let Some(setup) = self.setup.take() {
            let _ = setup.reply.send(Err(error.clone()));
        }
        self._life = None;
    }

    /// Bodies that were held back for long enough go.
    fn expire(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        self.deadline = None;
        let mut released = Vec::new();
        let mut next = None;
        for (slot, stream) in self.streams.iter_mut() {
            match &stream.sending {
                super::stream::Sending::Held { until, .. } if *until <= now => {
                    stream.release();
                    released.push(slot);
                }
                super::stream::Sending::Held { until, .. } => {
                    next = Some(next.map_or(*until, |next: Instant| next.min(*until)));
                }
                _ => {}
            }
        }
        self.deadline = next;
        for slot in released {
            self.enqueue(slot);
        }
    }

    /// Closes the connection when nobody wants it any more, or the client ends.
    fn finish(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        let is_unused = self.streams.is_empty() && self.waiting.is_empty();
        let is_left = self.shared.is_left() && self.setup.is_none();
        let is_abandoned = self.setup.as_ref().is_some_and(|setup| setup.reply.is_closed());
        let closing = self.common.closing.get();
        if closing.is_some() && !self.is_going_away {
            self.is_going_away = true;
            let error = Error::new(At::Request, Kind::Closed).unsent();
            let queued = self.shared.end(&error);
            for submission in self.waiting.drain(..).chain(queued) {
                let _ = submission.reply.send(Err(error.clone()));
            }
            if let Some(http) = self.phase.http() {
                http.shutdown();
            }
            self.send(quic, now);
        }
        let is_late = closing.is_some_and(|deadline| deadline <= now);
        if is_late || is_abandoned || (is_unused && (self.is_going_away || is_left)) {
            quic.close(Code::NoError.value(), b"");
            self.end(&Error::new(At::FirstByte, Kind::Closed).over(Protocol::Http3));
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
}

/// Stands for the queue among the slots.
const SUBMITTED: usize = usize::MAX;

/// Rounds of work within one turn.
const MAX_ROUNDS: usize = 4;

/// How long a body waits for the server's word before it is sent without it (RFC 9110 §10.1.1).
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);
