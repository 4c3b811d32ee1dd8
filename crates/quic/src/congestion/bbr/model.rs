//! What batches of acknowledgements and losses say of the path (draft-ietf-ccwg-bbr §5.5).

use std::time::{Duration, Instant};

use super::{
    BETA, Bbr, LOSS_THRESHOLD, Phase,
    sample::{LostFlight, Rate},
};

/// The bounds for as long as losses come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) rate: f64,
    pub(super) inflight: f64,
}

impl Bounds {
    pub(super) const NONE: Self = Self { rate: f64::INFINITY, inflight: f64::INFINITY };
}

/// Losses and deliveries since the last round of losses began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Losses {
    pub(super) round_ends_at: u64,
    pub(super) is_round_start: bool,
    pub(super) in_round: bool,
    pub(super) events: u32,
    pub(super) bytes: u64,
    pub(super) rate_latest: f64,
    pub(super) inflight_latest: f64,
}

/// How much more arrives at once than the rate explains (draft §5.5.9), over ten rounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aggregation {
    pub(super) since: Instant,
    pub(super) delivered: u64,
    pub(super) rounds: u8,
    pub(super) max: [f64; 2],
}

impl Aggregation {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, delivered: 0, rounds: 0, max: [0.0; 2] }
    }

    /// The largest of the last rounds, in bytes.
    pub(super) fn most(&self) -> f64 {
        self.max[0].max(self.max[1])
    }

    /// After a rest there is nothing that came too early.
    pub(super) fn restart(&mut self, now: Instant) {
        (self.since, self.delivered) = (now, 0);
    }
}

impl Bbr {
    pub(super) fn update_rounds(&mut self, rate: &Rate) {
        self.is_round_start = rate.prior_delivered >= self.round_ends_at;
        if self.is_round_start {
            self.start_round();
            self.cycle.rounds += 1;
        }
    }

    pub(super) fn start_round(&mut self) {
        self.round_ends_at = self.sampler.delivered();
    }

    /// The latest signals of delivery and loss, once for each batch of acknowledgements (draft §5.5.10).
    pub(super) fn update_signals(&mut self, rate: &Rate) {
        let losses = &mut self.losses;
        losses.rate_latest = losses.rate_latest.max(rate.rate);
        losses.inflight_latest = losses.inflight_latest.max(rate.delivered as f64);
        losses.is_round_start = rate.prior_delivered >= losses.round_ends_at;
        if losses.is_round_start {
            losses.round_ends_at = self.sampler.delivered();
        }
        if rate.rate >= self.max_rate() || !rate.app_limited {
            self.max_rates[1] = self.max_rates[1].max(rate.rate);
        }
        if self.losses.is_round_start {
            if self.losses.in_round && !self.is_probing() {
                self.lower_bounds();
            }
            self.losses.in_round = false;
        }
    }

    fn is_probing(&self) -> bool {
        matches!(self.phase, Phase::Startup | Phase::ProbeRefill | Phase::ProbeUp)
    }

    fn lower_bounds(&mut self) {
        if self.short.rate.is_infinite() {
            self.short.rate = self.max_rate();
        }
        if self.short.inflight.is_infinite() {
            self.short.inflight = self.window as f64;
        }
        let losses = &self.losses;
        self.short.rate = losses.rate_latest.max(BETA * self.short.rate);
        self.short.inflight = losses.inflight_latest.max(BETA * self.short.inflight);
    }

    /// At the end of a round of losses its signals begin anew.
    pub(super) fn end_signals(&mut self, rate: &Rate) {
        if self.losses.is_round_start {
            self.losses.rate_latest = rate.rate;
            self.losses.inflight_latest = rate.delivered as f64;
            self.losses.events = 0;
            self.losses.bytes = 0;
        }
    }

    pub(super) fn update_aggregation(&mut self, now: Instant, rate: &Rate) {
        let expected = |since: Instant, bw: f64| bw * (now - since).as_secs_f64();
        let bw = self.bounded_rate();
        let seen = &mut self.aggregation;
        if self.is_round_start {
            seen.rounds += 1;
            if seen.rounds >= AGGREGATION_ROUNDS {
                (seen.rounds, seen.max) = (0, [seen.max[1], 0.0]);
            }
        }
        if seen.delivered as f64 <= expected(seen.since, bw) {
            (seen.since, seen.delivered) = (now, 0);
        }
        seen.delivered += rate.newly_acked;
        let extra = seen.delivered as f64 - expected(seen.since, bw);
        seen.max[1] = seen.max[1].max(extra.min(self.window as f64));
    }

    /// Packets are later than an empty queue would make them.
    fn is_late(&self) -> bool {
        let margin = (self.min_rtt.min / QUEUE_PART).max(LEAST_QUEUE);
        self.min_rtt.latest > self.min_rtt.min.saturating_add(margin)
    }

    /// Whether losses come from congestion: with them packets are late, since a queue stands before it overflows, and more are
    /// lost than chance explains; or they are so many that it does not matter where they come from.
    pub(super) fn is_congestion(&self, flight: &LostFlight) -> bool {
        let (lost, sent) = (flight.lost as f64, flight.in_flight as f64);
        let by_chance = self.chance.most(sent / self.mtu as f64);
        (self.is_late() && lost > (by_chance + LOSS_THRESHOLD) * sent) || lost > HEAVY_LOSS * sent
    }

    /// One batch of acknowledgements more from which to learn what chance takes.
    pub(super) fn update_chance(&mut self, rate: &Rate) {
        let is_late = self.is_late();
        let seen = &mut self.chance;
        seen.was_late |= is_late;
        seen.delivered += rate.newly_acked;
        if !self.is_round_start {
            return;
        }
        if !seen.was_late {
            // A mean at first, then one that forgets.
            seen.rounds = (seen.rounds + 1).min(CHANCE_ROUNDS);
            let share = seen.lost as f64 / (seen.lost + seen.delivered) as f64;
            seen.share += (share - seen.share) / f64::from(seen.rounds);
        }
        (seen.lost, seen.delivered, seen.was_late) = (0, 0, false);
    }
}

/// What is lost while no queue stands: it says nothing of the rate (docs/adr/0012).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chance {
    /// As a part of what was sent.
    share: f64,
    rounds: u32,
    /// Of this round.
    pub(super) lost: u64,
    delivered: u64,
    was_late: bool,
}

impl Chance {
    /// The largest share of so many packets that it explains: two standard deviations above its mean.
    fn most(&self, packets: f64) -> f64 {
        self.share + 2.0 * (self.share / packets.max(1.0)).sqrt()
    }
}

/// Rounds for which an aggregation is remembered, twice.
const AGGREGATION_ROUNDS: u8 = 5;

/// By which part of the shortest round trip packets are later when they have waited in a queue, and by how much at least:
/// timers and acknowledgements are no more exact.
const QUEUE_PART: u32 = 8;
const LEAST_QUEUE: Duration = Duration::from_millis(2);

/// Losses that count without a queue as well, as a part of what was in flight: a policer has no queue.
const HEAVY_LOSS: f64 = 0.2;

/// Rounds over which it is learnt what chance takes.
const CHANCE_ROUNDS: u32 = 8;
