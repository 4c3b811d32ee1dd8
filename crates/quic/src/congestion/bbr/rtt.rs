//! The shortest round trip, and how it is seen (draft-ietf-ccwg-bbr §5.3.4): now and then next to nothing is in flight.

use std::time::{Duration, Instant};

use super::{Bbr, Phase, model::Bounds, probe::AckPhase};

/// The shortest round trip, and the one of the last few seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct MinRtt {
    pub(super) min: Duration,
    pub(super) since: Instant,
    pub(super) recent: Duration,
    pub(super) recent_since: Instant,
    pub(super) is_expired: bool,
    /// That of the batch of acknowledgements that came last.
    pub(super) latest: Duration,
}

impl MinRtt {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            min: Duration::MAX,
            since: now,
            recent: Duration::MAX,
            recent_since: now,
            is_expired: false,
            latest: Duration::ZERO,
        }
    }
}

impl Bbr {
    pub(super) fn update_min_rtt(&mut self, now: Instant, rtt: Duration) {
        let seen = &mut self.min_rtt;
        seen.latest = rtt;
        seen.is_expired = now > seen.recent_since + RTT_PROBE_INTERVAL;
        if rtt < seen.recent || seen.is_expired {
            (seen.recent, seen.recent_since) = (rtt, now);
        }
        if seen.recent < seen.min || now > seen.since + MIN_RTT_WINDOW {
            (seen.min, seen.since) = (seen.recent, seen.recent_since);
        }
    }

    pub(super) fn check_probe_rtt(&mut self, now: Instant) {
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

    pub(super) fn probe_rtt_window(&self) -> f64 {
        self.bdp(self.bounded_rate(), 0.5).max(self.least_window())
    }
}

/// How long the shortest round trip counts, and how often it is looked for.
const MIN_RTT_WINDOW: Duration = Duration::from_secs(10);
const RTT_PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// How long next to nothing is in flight then.
const PROBE_RTT_TIME: Duration = Duration::from_millis(200);
