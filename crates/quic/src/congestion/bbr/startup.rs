//! Startup and drain (draft-ietf-ccwg-bbr §5.3.1 and §5.3.2): doubling until the pipe is full, and emptying its queue again.

use std::time::Instant;

use super::{Bbr, LOSS_THRESHOLD, Phase, sample::Rate};

/// Whether the pipe is full: three rounds without a quarter more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Full {
    pub(super) rate: f64,
    pub(super) rounds: u8,
    pub(super) now: bool,
    pub(super) was_reached: bool,
}

impl Bbr {
    pub(super) fn check_full(&mut self, rate: &Rate) {
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

    pub(super) fn reset_full(&mut self) {
        self.full = Full { was_reached: self.full.was_reached, ..Full::default() };
    }

    /// Startup ends when the pipe is full, or when losses say that it is (draft §5.3.1.3).
    pub(super) fn check_startup(&mut self, now: Instant, rate: &Rate) {
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
}

/// Losses of one round that can end startup.
const STARTUP_LOSSES: u32 = 6;

/// What a full pipe no longer grows by in a round, and for how many rounds.
const FULL_GROWTH: f64 = 1.25;
const FULL_ROUNDS: u8 = 3;
