//! The orderly end of a connection: GOAWAY twice, then the close when the last response has arrived.

use std::time::{Duration, Instant};

use sterna_h3::Code;

use super::{
    Connection, Phase,
    silence::{Silence, Verdict},
};
use crate::{server::NEVER, service::HttpService};

/// The orderly end (RFC 9114 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
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
    /// When it is to go because its certificate was replaced, once that is known.
    pub(super) fn retires(&self) -> Option<Instant> {
        let Phase::Open(_) = self.phase else { return None };
        self.era.retires(self.lot)
    }

    /// By when it is to end, should its time to go have come: what runs may take as long as it likes.
    pub(super) fn go_by(&self, now: Instant) -> Option<Instant> {
        self.retires().filter(|at| *at <= now)?;
        if self.drain == Drain::Off {
            self.dispatch.counters.retired_connections.increment();
        }
        Some(now + NEVER)
    }

    /// Begins and continues the orderly end.
    pub(super) fn advance_drain(
        &mut self,
        quic: &mut sterna_quic::Connection,
        now: Instant,
        drain_by: Option<Instant>,
    ) {
        let (Some(deadline), Phase::Open(http)) = (drain_by, &mut self.phase) else {
            if drain_by.is_some() && matches!(self.phase, Phase::Opening(_)) {
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

    /// Gives up a client that does not answer any more.
    pub(super) fn ask_whether_it_is_there(
        &mut self,
        quic: &mut sterna_quic::Connection,
        now: Instant,
    ) {
        let Phase::Open(_) = self.phase else { return };
        let acks = quic.acks_received();
        let silence = self.silence.get_or_insert_with(|| Box::new(Silence::new(acks, now)));
        match silence.look(acks, quic.rtt(), now) {
            Verdict::Wait => {}
            Verdict::Ask => quic.ping(),
            Verdict::Gone => {
                self.dispatch.counters.vanished_clients.increment();
                quic.close(Code::NoError.value(), b"going away");
                self.lost();
            }
        }
    }

    /// When the drain goes on.
    pub(super) fn drain_timeout(&self) -> Option<Instant> {
        let next = match self.drain {
            Drain::Off => return None,
            Drain::Announced { until, deadline } => until.min(deadline),
            // Past its notice only the last answer or the deadline ends it.
            Drain::Final { until, deadline } if self.is_idle() => until.min(deadline),
            Drain::Final { deadline, .. } => deadline,
        };
        Some(self.silence.as_ref().map_or(next, |silence| next.min(silence.next())))
    }

    /// Every response has been given, and has arrived.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.streams.is_empty() && self.unacknowledged.is_empty()
    }

    /// Closes a drained connection when every response has arrived, or at the deadline.
    pub(super) fn finish_drain(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        let over = match self.drain {
            Drain::Off => false,
            Drain::Announced { deadline, .. } => deadline <= now,
            Drain::Final { until, deadline } => (until <= now && self.is_idle()) || deadline <= now,
        };
        // req: 9114-5.3-goaway-before-close
        if over && matches!(self.phase, Phase::Open(_)) {
            quic.close(Code::NoError.value(), b"going away");
            self.lost();
        }
    }
}

/// After each GOAWAY: requests that were sent before the client saw it should arrive, to be served after the first one
/// and rejected after the second. Two round trips, within bounds for an estimate that is wrong.
const MIN_NOTICE: Duration = Duration::from_millis(20);
const MAX_NOTICE: Duration = Duration::from_secs(1);
