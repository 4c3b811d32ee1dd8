//! BBR version 3, after draft-ietf-ccwg-bbr: a model of the path instead of a reaction to each loss.
//!
//! The model is two figures, the rate at which the path delivers ([`sample`]) and its shortest round trip; from them come
//! the rate at which packets leave and the bytes that may be in flight. [`probe`] is how the model is kept true.
//!
//! What differs from the draft, as the engine tells less than a kernel:
//! - Losses count when packets are late as well, or very many are lost: chance says nothing of the path (docs/adr/0012).
//! - Losses come in batches. The draft works out at which packet of a batch losses became too many; here it is the latest.
//! - There is no packet conservation in the round after a loss: the rate is paced, which bounds it as well.
//! - The end of an idle time is seen when the next packet leaves, not before.

mod model;
mod probe;
mod rtt;
mod sample;
mod startup;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use self::{
    model::{Aggregation, Bounds, Chance, Losses},
    probe::Cycle,
    rtt::MinRtt,
    sample::Sampler,
    startup::Full,
};
use super::{Ack, Controller, NewPath};

/// Sends at the rate that the path delivers, whatever is lost at random.
#[derive(Clone, Debug)]
pub struct Bbr {
    mtu: u64,
    window: u64,
    initial_window: u64,
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
    chance: Chance,
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

impl Bbr {
    /// The controller of a new path.
    pub fn new(path: &NewPath) -> Self {
        let NewPath { now, mtu, window } = *path;
        Self {
            mtu: mtu.into(),
            window,
            initial_window: window,
            rate: STARTUP_PACING * window as f64 / NO_RTT.as_secs_f64(),
            has_rtt: false,
            sampler: Sampler::new(now),
            in_flight: 0,
            phase: Phase::Startup,
            cycle: Cycle::new(now),
            max_rates: [0.0; 2],
            short: Bounds::NONE,
            long_inflight: f64::INFINITY,
            aggregation: Aggregation::new(now),
            min_rtt: MinRtt::new(now),
            saved_window: 0,
            round_ends_at: 0,
            is_round_start: false,
            full: Full::default(),
            losses: Losses::default(),
            chance: Chance::default(),
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
            return self.initial_window as f64;
        }
        gain * rate * self.min_rtt.min.as_secs_f64()
    }

    fn least_window(&self) -> f64 {
        4.0 * self.mtu as f64
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
        let extra = self.aggregation.most();
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
            self.aggregation.restart(now);
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
        self.update_chance(&rate);
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
        self.chance.lost += bytes;
        if persistent {
            // Nothing got through: the model stays, the window begins again (draft §5.6.4.4).
            self.window = self.least_window() as u64;
        }
        let flight = self.sampler.on_loss(sent, bytes);
        let Some(flight) = flight.filter(|flight| self.is_congestion(flight)) else { return };
        self.losses.in_round = true;
        self.losses.events += 1;
        self.losses.bytes += bytes;
        let too_many = flight.lost as f64 > LOSS_THRESHOLD * flight.in_flight as f64;
        if too_many && self.cycle.has_samples {
            self.note_too_much_in_flight(now, &flight);
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

/// What is left of a bound after losses.
const BETA: f64 = 0.7;

/// The round-trip time of a path of which nothing is known (draft §5.6.2).
const NO_RTT: Duration = Duration::from_millis(1);

/// What leaves at once at most, in time.
const BURST: Duration = Duration::from_millis(1);
