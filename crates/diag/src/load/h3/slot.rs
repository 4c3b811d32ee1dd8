//! A place for one connection: when it wants one, and what became of those that it had.

use std::time::{Duration, Instant};

use sterna_quic::ConnectionKey;

use super::session::End;
use crate::load::{
    hub::{Hub, Next, Stage, Ticket},
    pace::Schedule,
};

/// A place for one connection.
pub(super) struct Slot {
    pub(super) number: usize,
    pub(super) schedule: Option<Schedule>,
    pub(super) key: Option<ConnectionKey>,
    /// When the present connection was begun.
    pub(super) began: Option<Instant>,
    /// When the next request is due, if that is what it waits for.
    pub(super) due: Option<Instant>,
    /// The handshake under way, if those are what is measured.
    pub(super) ticket: Option<Ticket>,
    /// Its connection takes room among the handshakes.
    pub(super) is_dialing: bool,
    /// Its first connection has stood, or has failed.
    is_settled: bool,
    /// Connections in a row that were of no use.
    failures: u32,
    /// No connection before this moment.
    pub(super) not_before: Option<Instant>,
}

impl Slot {
    pub(super) fn new(number: usize) -> Self {
        Self {
            number,
            schedule: None,
            key: None,
            began: None,
            due: None,
            ticket: None,
            is_dialing: false,
            is_settled: false,
            failures: 0,
            not_before: None,
        }
    }

    pub(super) fn wants_connection(&self, hub: &Hub, now: Instant) -> bool {
        self.began.is_none()
            && !self.is_given_up()
            && self.not_before.is_none_or(|at| at <= now)
            && hub.wants_connections()
    }

    /// Whether a connection may be made now: at any time, unless handshakes are what is measured.
    pub(super) fn takes_turn(&mut self, hub: &Hub, now: Instant) -> bool {
        if !hub.measures_handshakes() {
            return true;
        }
        let Some(schedule) = schedule(&mut self.schedule, self.number, hub) else { return false };
        match hub.next(schedule, now) {
            Next::Now(due) => {
                self.ticket = Some(hub.begin(schedule, due, now));
                true
            }
            Next::At(at) => {
                self.due = Some(at);
                false
            }
            Next::Nothing => false,
        }
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.failures >= MOST_FAILURES
    }

    /// Its connection has ended, or could not be begun.
    pub(super) fn on_end(&mut self, end: &End, hub: &Hub, now: Instant) {
        let is_useless = match end {
            End::NotConnected(failure) => {
                match self.ticket.take() {
                    Some(ticket) => hub.shaken(ticket, Some(failure), now),
                    None => hub.not_connected(failure),
                }
                true
            }
            End::Done { is_useless } | End::Lost { is_useless } => *is_useless,
        };
        if is_useless {
            self.fail(hub, now);
        } else {
            self.failures = 0;
        }
        self.settle(hub);
    }

    fn fail(&mut self, hub: &Hub, now: Instant) {
        self.failures += 1;
        self.not_before = Some(now + PAUSE * self.failures);
        if self.is_given_up() {
            hub.given_up();
        }
    }

    pub(super) fn settle(&mut self, hub: &Hub) {
        if std::mem::take(&mut self.is_dialing) {
            hub.dialled();
        }
        if !self.is_settled {
            self.is_settled = true;
            hub.settled();
        }
    }
}

/// The schedule of a slot, which begins with the run.
pub(super) fn schedule<'a>(
    slot: &'a mut Option<Schedule>,
    number: usize,
    hub: &Hub,
) -> Option<&'a mut Schedule> {
    if let (None, Stage::Running { start, .. }) = (&*slot, hub.stage()) {
        *slot = Some(Schedule::new(&hub.plan, number, start));
    }
    slot.as_mut()
}

/// Connections of a slot that fail one after the other before it is given up.
const MOST_FAILURES: u32 = 3;

/// Before a connection is tried again; longer after each failure.
const PAUSE: Duration = Duration::from_millis(100);
