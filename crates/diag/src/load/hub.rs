//! What the connections of one worker share: the stage of the run, the budget of requests, the counts.
//!
//! One thread, no locks. Each protocol asks [`Hub::next`] whether a request is due, tells [`Hub::sent`] that it left, and
//! ends the [`Ticket`] it got for that: [`Hub::done`], [`Hub::failed`] or [`Hub::abandon`].

use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};

use super::{Failure, Mode, Plan, Tally, Work, events::Listener, pace::Schedule};

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Connections come up; no request is sent.
    Connecting,
    /// Requests are sent.
    Running {
        /// When it began.
        start: Instant,
        /// From when on it counts.
        measured: Instant,
    },
    /// What is under way may end; nothing new begins.
    Draining {
        /// Since when.
        since: Instant,
    },
    /// What is under way is given up.
    Over,
}

/// What a connection may send now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A request that was due at this moment.
    Now(Instant),
    /// Nothing before this moment.
    At(Instant),
    /// Nothing until the stage changes.
    Nothing,
}

/// One request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    /// When it was to be sent.
    due: Instant,
    /// When it was.
    pub(super) sent: Instant,
    /// Its response has begun.
    is_answered: bool,
    /// Not of the warm-up.
    is_measured: bool,
}

/// Counts that are shown while it runs; written by one worker, read by anyone.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) done: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) handshakes: AtomicU64,
    pub(super) received: AtomicU64,
}

/// See the module.
pub(super) struct Hub {
    pub(super) plan: Arc<Plan>,
    pub(super) tally: RefCell<Tally>,
    stage: Cell<Stage>,
    stages: watch::Receiver<Stage>,
    /// When the time for new requests ended.
    ended_at: Cell<Option<Instant>>,
    /// Measured requests that may still be sent.
    budget: Cell<u64>,
    /// Requests under way, those of the warm-up among them.
    in_flight: Cell<u64>,
    live: Arc<Live>,
    /// Connections that have not been tried to the end of their first attempt.
    unsettled: Cell<usize>,
    /// Connections that are not given up.
    alive: Cell<usize>,
    /// Room for handshakes: a thousand at once would time out where a hundred at a time do not.
    dial: Semaphore,
    /// Rung when there may be nothing more to do.
    ended: Notify,
}

impl Ticket {
    /// It is not of the warm-up.
    pub(super) fn is_measured(&self) -> bool {
        self.is_measured
    }
}

impl Hub {
    pub(super) fn new(
        plan: Arc<Plan>,
        connections: usize,
        budget: u64,
        live: Arc<Live>,
        stages: watch::Receiver<Stage>,
    ) -> Self {
        Self {
            plan,
            tally: RefCell::default(),
            stage: Cell::new(Stage::Connecting),
            stages,
            ended_at: Cell::new(None),
            budget: Cell::new(budget),
            in_flight: Cell::new(0),
            live,
            unsettled: Cell::new(connections),
            alive: Cell::new(connections),
            dial: Semaphore::new(MOST_DIALS),
            ended: Notify::new(),
        }
    }

    /// How far the run is.
    pub(super) fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// A receiver of the stages, for whoever has to wait for them.
    pub(super) fn stages(&self) -> watch::Receiver<Stage> {
        self.stages.clone()
    }

    /// The stage as the conductor has set it.
    pub(super) fn update_stage(&self) {
        let stage = *self.stages.borrow();
        self.stage.set(stage);
        if let Stage::Draining { since } = stage {
            self.ended_at.set(Some(since));
        }
        self.ring_if_idle();
    }

    /// How often requests are looked through for those that take too long: often enough to be late by an eighth.
    pub(super) fn check_every(&self) -> Duration {
        (self.plan.request_timeout / 8).max(Duration::from_millis(1))
    }

    /// When the time for new requests ended, if it has.
    pub(super) fn ended_at(&self) -> Option<Instant> {
        self.ended_at.get()
    }

    /// Whether a request may be sent, and when it was due.
    #[inline]
    pub(super) fn next(&self, schedule: &Schedule, now: Instant) -> Next {
        let Stage::Running { measured, .. } = self.stage.get() else { return Next::Nothing };
        let due = schedule.due(now);
        if self.budget.get() == 0 && due >= measured {
            return Next::Nothing;
        }
        if due <= now { Next::Now(due) } else { Next::At(due) }
    }

    /// A request was sent.
    #[inline]
    pub(super) fn sent(&self, schedule: &mut Schedule, due: Instant, now: Instant) -> Ticket {
        let ticket = self.begin(schedule, due, now);
        let tally = &mut *self.tally.borrow_mut();
        if ticket.is_measured {
            tally.sent += 1;
        } else {
            tally.warmup += 1;
        }
        ticket
    }

    /// A request, or a handshake if those are what is measured, begins.
    #[inline]
    pub(super) fn begin(&self, schedule: &mut Schedule, due: Instant, now: Instant) -> Ticket {
        schedule.advance();
        let is_measured = match self.stage.get() {
            Stage::Running { measured, .. } => due >= measured,
            Stage::Connecting | Stage::Draining { .. } | Stage::Over => true,
        };
        self.in_flight.set(self.in_flight.get() + 1);
        if is_measured {
            let tally = &mut *self.tally.borrow_mut();
            self.budget.set(self.budget.get().saturating_sub(1));
            tally.first_sent.get_or_insert(due);
            if self.plan.pace.is_some() {
                tally.delay.record(now - due);
            }
        }
        Ticket { due, sent: now, is_answered: false, is_measured }
    }

    /// Bytes of a response came.
    #[inline]
    pub(super) fn answered(&self, ticket: &mut Ticket, now: Instant) {
        if !ticket.is_answered {
            ticket.is_answered = true;
            if ticket.is_measured {
                self.tally.borrow_mut().first_byte.record(now - ticket.sent);
            }
        }
    }

    /// A whole response came, with so much content.
    #[inline]
    pub(super) fn done(&self, ticket: Ticket, status: u16, content: u64, now: Instant) {
        if status >= 400 {
            self.count_status(ticket, status);
            return self.failed(ticket, &Failure::Status(status), now);
        }
        self.leave();
        if !ticket.is_measured {
            return;
        }
        self.count_status(ticket, status);
        let tally = &mut *self.tally.borrow_mut();
        tally.done += 1;
        tally.received += content;
        tally.last_end = Some(now);
        self.live.received.store(tally.received, Ordering::Relaxed);
        if self.listens() {
            // How long a stream lasted is no latency.
            tally.events.ended += 1;
            return;
        }
        self.live.done.store(tally.done, Ordering::Relaxed);
        tally.service.record(now - ticket.sent);
        if self.plan.pace.is_some() {
            tally.response.record(now - ticket.due);
        }
    }

    /// A request failed.
    pub(super) fn failed(&self, ticket: Ticket, failure: &Failure, now: Instant) {
        self.leave();
        if ticket.is_measured {
            let tally = &mut *self.tally.borrow_mut();
            tally.fail(failure, 1, now);
            self.live.failed.store(tally.failed, Ordering::Relaxed);
        }
    }

    /// The run ended before the request did.
    pub(super) fn abandon(&self, ticket: Ticket) {
        self.leave();
        if ticket.is_measured {
            let tally = &mut *self.tally.borrow_mut();
            let count = if self.listens() { &mut tally.events.open } else { &mut tally.unfinished };
            *count += 1;
        }
    }

    /// A handshake was completed.
    pub(super) fn connected(&self, began: Instant, now: Instant) {
        let tally = &mut *self.tally.borrow_mut();
        tally.handshakes += 1;
        tally.handshake.record(now - began);
        self.live.handshakes.store(tally.handshakes, Ordering::Relaxed);
    }

    /// A handshake that was measured for its own sake has ended, well or not.
    pub(super) fn shaken(&self, ticket: Ticket, failure: Option<&Failure>, now: Instant) {
        self.leave();
        if !ticket.is_measured {
            return;
        }
        match failure {
            None => self.connected(ticket.due, now),
            Some(failure) => self.not_connected(failure),
        }
        self.tally.borrow_mut().last_end = Some(now);
    }

    /// A handshake failed.
    pub(super) fn not_connected(&self, failure: &Failure) {
        let tally = &mut *self.tally.borrow_mut();
        tally.handshakes_failed += 1;
        tally.note(failure);
    }

    /// Takes room for a handshake, if there is any. Those that are measured are as many as they were told to be.
    pub(super) fn try_dial(&self) -> bool {
        self.measures_handshakes() || self.dial.try_acquire().map(SemaphorePermit::forget).is_ok()
    }

    /// Gives the room of a handshake back.
    pub(super) fn dialled(&self) {
        if !self.measures_handshakes() {
            self.dial.add_permits(1);
        }
    }

    /// Waits for room for a handshake, and takes it.
    ///
    /// Who waits gets the room itself: looking for it again afterwards would find that it has gone to the next who waits.
    pub(super) async fn dial(&self) {
        if !self.measures_handshakes() {
            self.dial.acquire().await.expect("it is never closed").forget();
        }
    }

    /// A connection ended that was in use. If no request tells why, the connection does; not if it was in good order
    /// (H3_NO_ERROR, RFC 9114 §8.1).
    pub(super) fn lost(&self, failure: &Failure, is_idle: bool) {
        let tally = &mut *self.tally.borrow_mut();
        tally.lost += 1;
        let is_in_order = matches!(failure, Failure::Closed { code: 0x100, .. });
        if is_idle && !is_in_order {
            tally.note(failure);
        }
    }

    /// A connection has been tried for the first time.
    pub(super) fn settled(&self) {
        self.unsettled.set(self.unsettled.get().saturating_sub(1));
        self.ended.notify_waiters();
    }

    /// A connection is given up for the rest of the run.
    pub(super) fn given_up(&self) {
        self.alive.set(self.alive.get().saturating_sub(1));
        self.ended.notify_waiters();
    }

    /// Every connection has been tried once; those whose handshakes are measured wait for the run.
    pub(super) fn is_settled(&self) -> bool {
        self.unsettled.get() == 0 || self.measures_handshakes()
    }

    /// Connections are made for their handshakes alone.
    pub(super) fn measures_handshakes(&self) -> bool {
        self.plan.mode == Mode::Handshakes
    }

    /// There are requests for a connection that would be made now.
    pub(super) fn wants_connections(&self) -> bool {
        match self.stage.get() {
            Stage::Connecting => !self.measures_handshakes(),
            Stage::Running { .. } => self.budget.get() > 0,
            Stage::Draining { .. } | Stage::Over => false,
        }
    }

    /// Requests are for streams of events.
    pub(super) fn listens(&self) -> bool {
        matches!(self.plan.mode, Mode::Events(_))
    }

    /// So many events have come.
    pub(super) fn heard(&self, events: u64) {
        self.live.done.store(events, Ordering::Relaxed);
    }

    /// Who listens to the response of one request, if it is a stream of events.
    pub(super) fn listener(&self) -> Option<Box<Listener>> {
        self.listens().then(Box::default)
    }

    /// A request takes too long; a stream of events may, once it has begun.
    pub(super) fn is_late(&self, ticket: &Ticket, now: Instant) -> bool {
        now - ticket.sent >= self.plan.request_timeout && !(self.listens() && ticket.is_answered)
    }

    /// A connection waits for so long to send anything at all that it has failed.
    pub(super) fn is_starved(&self, since: Instant, now: Instant) -> bool {
        now - since >= self.plan.request_timeout
    }

    /// Nothing is under way, and nothing more will be.
    pub(super) fn is_over(&self) -> bool {
        match self.stage.get() {
            Stage::Over => true,
            _ if self.alive.get() == 0 => true,
            Stage::Connecting => false,
            Stage::Running { .. } => self.budget.get() == 0 && self.in_flight.get() == 0,
            Stage::Draining { .. } => self.in_flight.get() == 0,
        }
    }

    /// Waits until `condition` may have become true.
    pub(super) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        loop {
            let rung = self.ended.notified();
            if condition(self) {
                return;
            }
            rung.await;
        }
    }

    /// Measured requests that were never sent, when it is over: what is left of a number.
    pub(super) fn left(&self) -> u64 {
        match self.plan.work {
            Work::Requests(_) => self.budget.get(),
            Work::Time(_) => 0,
        }
    }

    fn leave(&self) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.ring_if_idle();
    }

    fn ring_if_idle(&self) {
        if self.is_over() {
            self.ended.notify_waiters();
        }
    }

    #[inline]
    fn count_status(&self, ticket: Ticket, status: u16) {
        if ticket.is_measured {
            *self.tally.borrow_mut().status.entry(status).or_default() += 1;
        }
    }
}

/// Handshakes of one worker at once, where they are not what is measured.
const MOST_DIALS: usize = 100;
