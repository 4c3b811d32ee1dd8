//! BBR version 3, after draft-ietf-ccwg-bbr: a model of the path instead of a reaction to each loss.
//!
//! The model is two figures, the rate at which the path delivers ([`sample`]) and its shortest round trip; from them come
//! the rate at which packets leave and the bytes that may be in flight. [`probe`] is how the model is kept true.
//!
//! What differs from the draft, as the engine tells less than a kernel:
//! - Losses come in batches. The draft works out at which packet of a batch losses became too many; here it is the latest.
//! - There is no packet conservation in the round after a loss: the rate is paced, which bounds it as well.
//! - The end of an idle time is seen when the next packet leaves, not before.

mod probe;
mod sample;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use self::{
    probe::{AckPhase, Cycle},
    sample::{Rate, Sampler},
};
use super::{Ack, Controller, initial_window};

/// Sends at the rate that the path delivers, whatever is lost at random.
#[derive(Clone, Debug)]
pub struct Bbr {
    mtu: u64,
    window: u64,
    /// Bytes for each second.
    rate: f64,
    has_rtt: bool,
    sampler: Sampler,
    in_flight: u64,
    phase: Phase,
    cycle: Cycle,

    /// The largest delivery rates of this cycle of probing and of the one before.
    max_rates: [f64; 2],
    /// Bounds that losses have set: for as long as they come, and until probing has gone past them.
    short: Bounds,
    long_inflight: f64,
    /// The smoothed excess of what is acknowledged at once over what the rate explains.
    aggregation: Aggregation,

    min_rtt: MinRtt,
    /// The window to go back to after the round-trip time has been probed.
    saved_window: u64,

    /// Rounds: a packet that left in this round has been acknowledged.
    round_ends_at: u64,
    is_round_start: bool,
    full: Full,
    losses: Losses,
}

/// What BBR is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Doubling, until the rate grows no more.
    Startup,
    /// Emptying the queue that this has made.
    Drain,
    /// Less than the rate, so that the queue of others empties too.
    ProbeDown,
    /// The rate.
    ProbeCruise,
    /// Filling the pipe before more is tried.
    ProbeRefill,
    /// More than the rate.
    ProbeUp,
    /// Almost nothing, so that the true round-trip time is seen; since then, once so little is in flight.
    ProbeRtt { low_since: Option<Instant>, round_is_over: bool },
}

/// The bounds for as long as losses come.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    rate: f64,
    inflight: f64,
}

impl Bounds {
    const NONE: Self = Self { rate: f64::INFINITY, inflight: f64::INFINITY };
}

/// The shortest round trip, and the one of the last few seconds.
#[derive(Clone, Copy, Debug)]
struct MinRtt {
    min: Duration,
    since: Instant,
    recent: Duration,
    recent_since: Instant,
    is_expired: bool,
}

/// Whether the pipe is full: three rounds without a quarter more.
#[derive(Clone, Copy, Debug, Default)]
struct Full {
    rate: f64,
    rounds: u8,
    now: bool,
    was_reached: bool,
}

/// Losses and deliveries since the last round of losses began.
#[derive(Clone, Copy, Debug, Default)]
struct Losses {
    round_ends_at: u64,
    is_round_start: bool,
    in_round: bool,
    events: u32,
    bytes: u64,
    rate_latest: f64,
    inflight_latest: f64,
}

/// How much more arrives at once than the rate explains (draft §5.5.9), over ten rounds.
#[derive(Clone, Copy, Debug)]
struct Aggregation {
    since: Instant,
    delivered: u64,
    rounds: u8,
    max: [f64; 2],
}

impl Bbr {
    /// The controller of a new path.
    pub fn new(now: Instant, mtu: u16) -> Self {
        let window = initial_window(mtu);
        Self {
            mtu: mtu.into(),
            window,
            rate: STARTUP_PACING * window as f64 / NO_RTT.as_secs_f64(),
            has_rtt: false,
            sampler: Sampler::new(now),
            in_flight: 0,
            phase: Phase::Startup,
            cycle: Cycle::new(now),
            max_rates: [0.0; 2],
            short: Bounds::NONE,
            long_inflight: f64::INFINITY,
            aggregation: Aggregation { since: now, delivered: 0, rounds: 0, max: [0.0; 2] },
            min_rtt: MinRtt {
                min: Duration::MAX,
                since: now,
                recent: Duration::MAX,
                recent_since: now,
                is_expired: false,
            },
            saved_window: 0,
            round_ends_at: 0,
            is_round_start: false,
            full: Full::default(),
            losses: Losses::default(),
        }
    }

    fn max_rate(&self) -> f64 {
        self.max_rates[0].max(self.max_rates[1])
    }

    /// The rate that the model allows now.
    fn bounded_rate(&self) -> f64 {
        self.max_rate().min(self.short.rate)
    }

    /// So many times the bytes that fill the pipe.
    fn bdp(&self, rate: f64, gain: f64) -> f64 {
        if self.min_rtt.min == Duration::MAX {
            return initial_window(self.mtu as u16) as f64;
        }
        gain * rate * self.min_rtt.min.as_secs_f64()
    }

    fn least_window(&self) -> f64 {
        4.0 * self.mtu as f64
    }

    fn update_rounds(&mut self, rate: &Rate) {
        self.is_round_start = rate.prior_delivered >= self.round_ends_at;
        if self.is_round_start {
            self.start_round();
            self.cycle.rounds += 1;
        }
    }

    fn start_round(&mut self) {
        self.round_ends_at = self.sampler.delivered();
    }

    /// The latest signals of delivery and loss, once for each batch of acknowledgements (draft §5.5.10).
    fn update_signals(&mut self, rate: &Rate) {
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
    fn end_signals(&mut self, rate: &Rate) {
        if self.losses.is_round_start {
            self.losses.rate_latest = rate.rate;
            self.losses.inflight_latest = rate.delivered as f64;
            self.losses.events = 0;
            self.losses.bytes = 0;
        }
    }

    fn update_aggregation(&mut self, now: Instant, rate: &Rate) {
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

    fn check_full(&mut self, rate: &Rate) {
        if self.full.now || rate.app_limited {
            return;
        }
        if rate.rate >= self.full.rate * FULL_GROWTH {
            self.full = Full { rate: rate.rate, rounds: 0, now: false, ..self.full };
            return;
        }
        if self.is_round_start {
            self.full.rounds += 1;
            self.full.now = self.full.rounds >= FULL_ROUNDS;
            self.full.was_reached |= self.full.now;
        }
    }

    fn reset_full(&mut self) {
        self.full = Full { was_reached: self.full.was_reached, ..Full::default() };
    }

    /// Startup ends when the pipe is full, or when losses say that it is (draft §5.3.1.3).
    fn check_startup(&mut self, now: Instant, rate: &Rate) {
        if self.phase == Phase::Startup {
            let losses = &self.losses;
            let too_many = losses.bytes as f64 > LOSS_THRESHOLD * rate.tx_in_flight as f64;
            if losses.is_round_start && losses.events >= STARTUP_LOSSES && too_many {
                self.full.was_reached = true;
                self.long_inflight =
                    self.bdp(self.max_rate(), 1.0).max(self.losses.inflight_latest);
            }
            if self.full.was_reached {
                self.phase = Phase::Drain;
            }
        }
        if self.phase == Phase::Drain && self.in_flight as f64 <= self.bdp(self.max_rate(), 1.0) {
            self.start_down(now);
        }
    }

    fn update_min_rtt(&mut self, now: Instant, rtt: Duration) {
        let seen = &mut self.min_rtt;
        seen.is_expired = now > seen.recent_since + RTT_PROBE_INTERVAL;
        if rtt < seen.recent || seen.is_expired {
            (seen.recent, seen.recent_since) = (rtt, now);
        }
        if seen.recent < seen.min || now > seen.since + MIN_RTT_WINDOW {
            (seen.min, seen.since) = (seen.recent, seen.recent_since);
        }
    }

    fn check_probe_rtt(&mut self, now: Instant) {
        if self.min_rtt.is_expired && !matches!(self.phase, Phase::ProbeRtt { .. }) {
            self.saved_window = self.saved_window.max(self.window);
            self.phase = Phase::ProbeRtt { low_since: None, round_is_over: false };
            self.cycle.acks = AckPhase::Stopping;
            self.start_round();
        }
        let Phase::ProbeRtt { low_since, round_is_over } = self.phase else { return };
        self.sampler.limit_by_application(self.in_flight);
        match low_since {
            None if self.in_flight as f64 <= self.probe_rtt_window() => {
                self.phase = Phase::ProbeRtt { low_since: Some(now), round_is_over: false };
                self.start_round();
            }
            None => {}
            Some(since) => {
                let round_is_over = round_is_over || self.is_round_start;
                self.phase = Phase::ProbeRtt { low_since, round_is_over };
                if round_is_over && now >= since + PROBE_RTT_TIME {
                    self.leave_probe_rtt(now);
                }
            }
        }
    }

    fn leave_probe_rtt(&mut self, now: Instant) {
        self.min_rtt.recent_since = now;
        self.window = self.window.max(self.saved_window);
        self.saved_window = 0;
        self.short = Bounds::NONE;
        if self.full.was_reached {
            self.start_down(now);
            self.phase = Phase::ProbeCruise;
        } else {
            self.phase = Phase::Startup;
        }
    }

    fn probe_rtt_window(&self) -> f64 {
        self.bdp(self.bounded_rate(), 0.5).max(self.least_window())
    }

    fn pacing_gain(&self) -> f64 {
        match self.phase {
            Phase::Startup => STARTUP_PACING,
            Phase::Drain => 0.5,
            Phase::ProbeDown => 0.9,
            Phase::ProbeCruise | Phase::ProbeRefill | Phase::ProbeRtt { .. } => 1.0,
            Phase::ProbeUp => 1.25,
        }
    }

    fn set_rate(&mut self, rtt: Duration) {
        let bandwidth = self.bounded_rate();
        if !self.has_rtt {
            self.has_rtt = true;
            let rtt = rtt.max(NO_RTT).as_secs_f64();
            self.rate = STARTUP_PACING * self.window as f64 / rtt;
        }
        let rate = self.pacing_gain() * bandwidth * PACING_MARGIN;
        if bandwidth > 0.0 && (self.full.was_reached || rate > self.rate) {
            self.rate = rate;
        }
    }

    fn set_window(&mut self, newly_acked: u64) {
        let gain = if self.phase == Phase::ProbeUp { 2.25 } else { 2.0 };
        let extra = self.aggregation.max[0].max(self.aggregation.max[1]);
        let burst = 3.0 * (self.rate * BURST.as_secs_f64()).max(2.0 * self.mtu as f64);
        let most = self.bdp(self.bounded_rate(), gain) + extra + burst;
        let grown = (self.window + newly_acked) as f64;
        let mut window = if self.full.was_reached {
            grown.min(most)
        } else if (self.window as f64) < most {
            grown
        } else {
            self.window as f64
        };
        window = window.max(self.least_window());
        if matches!(self.phase, Phase::ProbeRtt { .. }) {
            window = window.min(self.probe_rtt_window());
        }
        let bound = match self.phase {
            Phase::ProbeDown | Phase::ProbeRefill | Phase::ProbeUp => self.long_inflight,
            Phase::ProbeRtt { .. } | Phase::ProbeCruise => self.inflight_with_headroom(),
            Phase::Startup | Phase::Drain => f64::INFINITY,
        };
        let bound = bound.min(self.short.inflight).max(self.least_window());
        self.window = window.min(bound) as u64;
    }
}

impl Controller for Bbr {
    fn on_sent(&mut self, now: Instant, bytes: u64, _last_packet: u64) {
        let was_idle = self.in_flight == 0;
        self.in_flight += bytes;
        self.cycle.is_window_limited |= self.in_flight + self.mtu >= self.window;
        self.sampler.on_sent(now, self.in_flight, was_idle, self.min_rtt.min);
        if was_idle && self.sampler.is_app_limited() {
            // After a rest the rate is known: no burst, and no look at the round-trip time, which has just been quiet.
            self.aggregation.since = now;
            self.aggregation.delivered = 0;
            self.min_rtt.recent_since = self.min_rtt.recent_since.max(now);
        }
    }

    fn on_ack(&mut self, ack: &Ack) {
        self.in_flight = self.in_flight.saturating_sub(ack.bytes);
        self.sampler.on_ack(ack);
        if ack.app_limited {
            self.sampler.limit_by_application(self.in_flight);
        }
    }

    fn on_acks_end(&mut self, now: Instant, in_flight: u64, _largest: Option<u64>) {
        self.in_flight = in_flight;
        let Some(rate) = self.sampler.finish(now, self.min_rtt.min) else { return };
        self.update_rounds(&rate);
        self.update_signals(&rate);
        self.update_aggregation(now, &rate);
        if self.phase == Phase::Startup || self.phase == Phase::ProbeUp {
            self.check_full(&rate);
        }
        self.check_startup(now, &rate);
        self.update_cycle(now, &rate);
        self.update_min_rtt(now, rate.rtt);
        self.check_probe_rtt(now);
        self.end_signals(&rate);
        self.set_rate(rate.rtt);
        self.set_window(rate.newly_acked);
        if self.is_round_start {
            self.cycle.is_window_limited = self.in_flight + self.mtu >= self.window;
        }
    }

    fn on_loss(&mut self, now: Instant, sent: Instant, bytes: u64, persistent: bool) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.losses.in_round = true;
        self.losses.events += 1;
        self.losses.bytes += bytes;
        let flight = self.sampler.on_loss(sent, bytes);
        if let Some(flight) = flight.filter(|_| self.cycle.has_samples) {
            let too_many = flight.lost as f64 > LOSS_THRESHOLD * flight.in_flight as f64;
            if too_many {
                self.note_too_much_in_flight(now, &flight);
            }
        }
        if persistent {
            // Nothing got through: the model stays, the window begins again (draft §5.6.4.4).
            self.window = self.least_window() as u64;
        }
    }

    fn on_ecn(&mut self, _now: Instant, _sent: Instant) {
        // As a loss of a round, without one: the draft leaves marks to those that know what they mean.
        self.losses.in_round = true;
    }

    fn on_mtu(&mut self, mtu: u16) {
        self.mtu = mtu.into();
        self.window = self.window.max(self.least_window() as u64);
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn pacing_rate(&self) -> Option<u64> {
        Some(self.rate as u64)
    }

    fn duplicate(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }
}

/// Startup doubles the rate each round (draft §5.6.2): 4 ln 2.
const STARTUP_PACING: f64 = 2.77;

/// A little less than the rate, so that no queue stands (draft §5.6.2).
const PACING_MARGIN: f64 = 0.99;

/// Losses that are too many, as a part of what was in flight.
const LOSS_THRESHOLD: f64 = 0.02;

/// Losses of one round that can end startup.
const STARTUP_LOSSES: u32 = 6;

/// What is left of a bound after losses.
const BETA: f64 = 0.7;

/// What a full pipe no longer grows by in a round, and for how many rounds.
const FULL_GROWTH: f64 = 1.25;
const FULL_ROUNDS: u8 = 3;

/// Rounds for which an aggregation is remembered, twice.
const AGGREGATION_ROUNDS: u8 = 5;

/// The round-trip time of a path of which nothing is known (draft §5.6.2).
const NO_RTT: Duration = Duration::from_millis(1);

/// What leaves at once at most, in time.
const BURST: Duration = Duration::from_millis(1);

/// How long the shortest round trip counts, and how often it is looked for.
const MIN_RTT_WINDOW: Duration = Duration::from_secs(10);
const RTT_PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// How long next to nothing is in flight then.
const PROBE_RTT_TIME: Duration = Duration::from_millis(200);
