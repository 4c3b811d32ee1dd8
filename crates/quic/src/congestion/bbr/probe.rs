//! The cycle of probing (draft-ietf-ccwg-bbr §5.3.3): down, cruise, refill, up.

use std::time::{Duration, Instant};

use super::{
    BETA, Bbr, Phase,
    model::{Bounds, Losses},
    sample::{LostFlight, Rate},
};

/// Where the cycle stands.
#[derive(Clone, Debug)]
pub(super) struct Cycle {
    /// When it began, and how long it waits before it tries more.
    began: Instant,
    wait: Duration,
    /// Rounds since it last tried more.
    pub(super) rounds: u32,
    pub(super) acks: AckPhase,
    /// Losses may be taken for the answer to trying more.
    pub(super) has_samples: bool,
    pub(super) is_window_limited: bool,
    /// Trying more: rounds so far, bytes acknowledged that count towards the next step, and how many make one.
    up_rounds: u32,
    up_acked: u64,
    up_step: u64,
    /// Chance, so that flows do not probe in step.
    chance: u64,
}

/// What the acknowledgements that come now are an answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckPhase {
    Steady,
    Refilling,
    Starting,
    Feedback,
    Stopping,
}

impl Cycle {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            wait: PROBE_WAIT,
            rounds: 0,
            acks: AckPhase::Steady,
            has_samples: false,
            is_window_limited: false,
            up_rounds: 0,
            up_acked: 0,
            up_step: u64::MAX,
            chance: 1,
        }
    }

    /// A part of a second, and whether a round comes on top.
    fn draw(&mut self, seed: u64) -> (Duration, u32) {
        self.chance = (self.chance ^ seed).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let high = self.chance >> 33;
        (Duration::from_millis(high % 1000), u32::from(high & 1024 != 0))
    }
}

impl Bbr {
    /// The queue empties.
    pub(super) fn start_down(&mut self, now: Instant) {
        self.reset_signals();
        let (more, rounds) = self.cycle.draw(self.sampler.delivered());
        self.cycle.up_step = u64::MAX;
        self.cycle.rounds = rounds;
        self.cycle.wait = PROBE_WAIT + more;
        self.cycle.began = now;
        self.cycle.acks = AckPhase::Stopping;
        self.start_round();
        self.phase = Phase::ProbeDown;
    }

    fn start_refill(&mut self) {
        self.short = Bounds::NONE;
        self.cycle.up_rounds = 0;
        self.cycle.up_acked = 0;
        self.cycle.acks = AckPhase::Refilling;
        self.start_round();
        self.phase = Phase::ProbeRefill;
    }

    fn start_up(&mut self, now: Instant, rate: &Rate) {
        self.cycle.acks = AckPhase::Starting;
        self.start_round();
        self.reset_full();
        self.full.rate = rate.rate;
        self.cycle.began = now;
        self.phase = Phase::ProbeUp;
        self.steepen();
    }

    fn reset_signals(&mut self) {
        let Losses { round_ends_at, is_round_start, .. } = self.losses;
        self.losses = Losses { round_ends_at, is_round_start, ..Losses::default() };
    }

    /// One batch of acknowledgements later.
    pub(super) fn update_cycle(&mut self, now: Instant, rate: &Rate) {
        if !self.full.was_reached {
            return;
        }
        self.adapt_long_bound(rate);
        match self.phase {
            Phase::ProbeDown => {
                if !self.probes_now(now) && self.may_cruise() {
                    self.phase = Phase::ProbeCruise;
                }
            }
            Phase::ProbeCruise => {
                self.probes_now(now);
            }
            Phase::ProbeRefill if self.is_round_start => {
                self.cycle.has_samples = true;
                self.start_up(now, rate);
            }
            Phase::ProbeUp => {
                if self.has_tried_enough(rate) {
                    self.start_down(now);
                }
            }
            Phase::ProbeRefill => {}
            Phase::Startup | Phase::Drain | Phase::ProbeRtt { .. } => {}
        }
    }

    /// It is time to try more: after some seconds, or after as many rounds as Reno would need to make up for a loss.
    fn probes_now(&mut self, now: Instant) -> bool {
        let flight = self.bdp(self.bounded_rate(), 1.0).min(self.window as f64);
        let rounds = (flight / self.mtu as f64).min(RENO_ROUNDS);
        let is_time =
            now > self.cycle.began + self.cycle.wait || f64::from(self.cycle.rounds) >= rounds;
        if is_time {
            self.start_refill();
        }
        is_time
    }

    fn may_cruise(&self) -> bool {
        let in_flight = self.in_flight as f64;
        in_flight <= self.inflight_with_headroom() && in_flight <= self.bdp(self.max_rate(), 1.0)
    }

    fn has_tried_enough(&mut self, rate: &Rate) -> bool {
        if self.cycle.is_window_limited && self.window as f64 >= self.long_inflight {
            self.reset_full();
            self.full.rate = rate.rate;
            return false;
        }
        self.full.now
    }

    /// Room that is left for others.
    pub(super) fn inflight_with_headroom(&self) -> f64 {
        if self.long_inflight.is_infinite() {
            return f64::INFINITY;
        }
        let headroom = (HEADROOM * self.long_inflight).max(self.mtu as f64);
        (self.long_inflight - headroom).max(self.least_window())
    }

    fn adapt_long_bound(&mut self, rate: &Rate) {
        if self.is_round_start {
            match self.cycle.acks {
                AckPhase::Starting => self.cycle.acks = AckPhase::Feedback,
                AckPhase::Stopping => {
                    self.cycle.has_samples = false;
                    self.cycle.acks = AckPhase::Steady;
                    if !rate.app_limited && !matches!(self.phase, Phase::ProbeRtt { .. }) {
                        self.max_rates = [self.max_rates[1], 0.0];
                    }
                }
                AckPhase::Steady | AckPhase::Refilling | AckPhase::Feedback => {}
            }
        }
        if self.long_inflight.is_infinite() {
            return;
        }
        self.long_inflight = self.long_inflight.max(rate.tx_in_flight as f64);
        if self.phase == Phase::ProbeUp {
            self.raise_long_bound(rate);
        }
    }

    fn raise_long_bound(&mut self, rate: &Rate) {
        if !self.cycle.is_window_limited || (self.window as f64) < self.long_inflight {
            return;
        }
        self.cycle.up_acked += rate.newly_acked;
        if self.cycle.up_acked >= self.cycle.up_step {
            let steps = self.cycle.up_acked / self.cycle.up_step.max(1);
            self.cycle.up_acked -= steps * self.cycle.up_step;
            self.long_inflight += (steps * self.mtu) as f64;
        }
        if self.is_round_start {
            self.steepen();
        }
    }

    /// Each round of trying grows twice as fast as the one before.
    fn steepen(&mut self) {
        let growth = 1u64 << self.cycle.up_rounds;
        self.cycle.up_rounds = (self.cycle.up_rounds + 1).min(30);
        self.cycle.up_step = (self.window / growth).max(self.mtu);
    }

    /// Losses were too many for what was in flight: that is the bound, until more is tried again.
    pub(super) fn note_too_much_in_flight(&mut self, now: Instant, flight: &LostFlight) {
        self.cycle.has_samples = false;
        if !flight.app_limited {
            let target = self.bdp(self.bounded_rate(), 1.0).min(self.window as f64);
            self.long_inflight = (flight.in_flight as f64).max(BETA * target);
        }
        if self.phase == Phase::ProbeUp {
            self.start_down(now);
        }
    }
}

/// Seconds between two tries, and up to one more by chance.
const PROBE_WAIT: Duration = Duration::from_secs(2);

/// Rounds after which Reno would have made up for a loss, at most.
const RENO_ROUNDS: f64 = 63.0;

/// What is left for others of what the path is known to hold.
const HEADROOM: f64 = 0.15;
