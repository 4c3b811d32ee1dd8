//! The strike register of RFC 8446 §8.2: a ticket brings early data once.
//!
//! TLS takes early data only while the age that the client says its ticket has is off by [`SKEW`] at most. A first flight
//! can therefore be taken from [`SKEW`] before its moment until [`SKEW`] after it, and a guard that remembers for twice that
//! has seen each that could be taken again. One that has just begun has not: it refuses for as long.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::Verdict;

/// How far the age of a ticket may be off: rustls's bound.
const SKEW: Duration = Duration::from_secs(60);

/// How long a guard remembers, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Time in which a flight could be taken again. Default: 121 s, twice what the age of a ticket may be off, and a second
    /// for its rounding.
    pub time: Duration,
    /// Tickets remembered in that time; beyond it early data is refused. Default: 131,072, some 4 MiB.
    pub tickets: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { time: SKEW * 2 + Duration::from_secs(1), tickets: 1 << 17 }
    }
}

/// Remembers which tickets brought early data, for one window at least and two at most.
#[derive(Debug)]
pub struct ReplayGuard {
    window: Window,
    /// Until then it does not know all that could come again.
    waits_until: Instant,
    /// The tickets of this window, which began then, and those of the one before.
    turned: Instant,
    current: HashSet<u128>,
    before: HashSet<u128>,
}

impl ReplayGuard {
    /// One that knows nothing of what came before `now`.
    pub fn new(window: Window, now: Instant) -> Self {
        Self { waits_until: now + window.time, ..Self::grown(window, now) }
    }

    /// One before which there was nothing that could be replayed.
    pub fn grown(window: Window, now: Instant) -> Self {
        let (current, before) = Default::default();
        Self { window, waits_until: now, turned: now, current, before }
    }

    /// Judges early data that comes with this ticket, and remembers it if it is taken. `ticket` is a number that whoever
    /// made the ticket chose at random.
    pub fn judge(&mut self, ticket: u128, now: Instant) -> Verdict {
        self.turn(now);
        if self.current.contains(&ticket) || self.before.contains(&ticket) {
            return Verdict::Replayed;
        }
        if now < self.waits_until {
            return Verdict::Young;
        }
        if self.current.len() >= self.window.tickets {
            return Verdict::Full;
        }
        self.current.insert(ticket);
        Verdict::Fresh
    }

    /// What it knows is not what it should: it begins anew, as after a start.
    pub fn restart(&mut self, now: Instant) {
        *self = Self::new(self.window, now);
    }

    /// Forgets what nobody could replay.
    fn turn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.turned);
        if passed < self.window.time {
            return;
        }
        let is_long = passed >= self.window.time * 2;
        let current = std::mem::take(&mut self.current);
        self.before = if is_long { HashSet::new() } else { current };
        self.turned = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const WINDOW: Window = Window { time: Duration::from_secs(121), tickets: 3 };

    /// A guard that is old enough, and the moment from which it is.
    fn grown() -> (ReplayGuard, Instant) {
        let begun = Instant::now();
        (ReplayGuard::new(WINDOW, begun), begun + WINDOW.time)
    }

    #[test]
    fn a_ticket_brings_early_data_once() {
        let (mut guard, now) = grown();
        assert_eq!(guard.judge(1, now), Verdict::Fresh);
        for wait in 0..1000 {
            let then = now + SECOND * wait / 10;
            assert_eq!(guard.judge(1, then), Verdict::Replayed, "after {wait} tenths of a second");
        }
        assert_eq!(guard.judge(2, now + SECOND), Verdict::Fresh);
    }

    #[test]
    fn what_was_taken_is_known_for_a_whole_window_wherever_it_began() {
        for begin in 0..=121 {
            let (mut guard, now) = grown();
            let taken = now + SECOND * begin;
            assert_eq!(guard.judge(1, now), Verdict::Fresh);
            assert_eq!(guard.judge(2, taken), Verdict::Fresh);
            let last = taken + WINDOW.time;
            assert_eq!(guard.judge(3, taken + WINDOW.time / 2), Verdict::Fresh);
            assert_eq!(guard.judge(2, last), Verdict::Replayed, "taken {begin} s into it");
        }
    }

    #[test]
    fn a_guard_that_has_just_begun_takes_nothing_until_old_flights_have_expired() {
        let begun = Instant::now();
        let mut guard = ReplayGuard::new(WINDOW, begun);
        let last = begun + WINDOW.time - Duration::from_nanos(1);
        for now in [begun, begun + SECOND * 60, last] {
            assert_eq!(guard.judge(1, now), Verdict::Young);
        }
        assert_eq!(guard.judge(1, begun + WINDOW.time), Verdict::Fresh);
        guard.restart(begun + WINDOW.time);
        assert_eq!(guard.judge(2, last + WINDOW.time), Verdict::Young);
        // Without the waiting time the flight of another life would have come through.
        let mut hasty = ReplayGuard::grown(WINDOW, begun);
        assert_eq!(hasty.judge(1, begun), Verdict::Fresh);
    }

    #[test]
    fn a_full_guard_refuses_early_data_and_forgets_none_of_what_it_knows() {
        let (mut guard, now) = grown();
        for ticket in 0..3 {
            assert_eq!(guard.judge(ticket, now), Verdict::Fresh);
        }
        for ticket in 3..1000 {
            assert_eq!(guard.judge(ticket, now), Verdict::Full);
        }
        assert_eq!(guard.judge(0, now), Verdict::Replayed);
        assert_eq!(guard.current.len(), 3);
        assert_eq!(guard.judge(1000, now + WINDOW.time), Verdict::Fresh, "there is room again");
        assert!(guard.current.len() + guard.before.len() <= 2 * WINDOW.tickets);
    }
}
