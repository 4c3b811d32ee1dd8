//! The switch of Retry: on when first flights are more than handshakes should be, off when it has been calm for a while.
//!
//! Two signs of a flood: many handshakes under way, which is memory, and many first flights in a short time, which comes
//! before it. It stays on until both have been below half of that for some time, so that it does not flicker.

use std::time::{Duration, Instant};

/// Of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// On until then, if it is on.
    until: Option<Instant>,
    /// Memory is short: on whatever the load is.
    is_pressed: bool,
    /// First flights without proof since then.
    slice: Option<(Instant, usize)>,
}

/// What a look at the switch has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    On,
    Off,
}

impl Load {
    pub(super) fn press(&mut self, is_pressed: bool) {
        self.is_pressed = is_pressed;
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_pressed || self.until.is_some()
    }

    /// When it may go off, if it is on.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Goes off, if it is on.
    pub(super) fn end(&mut self) -> Option<Change> {
        self.until.take().map(|_| Change::Off)
    }

    /// A first flight of a client that has proven nothing, while so many handshakes are under way.
    pub(super) fn arrives(
        &mut self,
        above: usize,
        handshakes: usize,
        now: Instant,
    ) -> Option<Change> {
        let (start, count) = self.slice.unwrap_or((now, 0));
        let is_same = now.saturating_duration_since(start) < SLICE;
        self.slice = Some(if is_same { (start, count + 1) } else { (now, 1) });
        self.look(above, handshakes, now)
    }

    /// Goes on, stays or goes off.
    pub(super) fn look(&mut self, above: usize, handshakes: usize, now: Instant) -> Option<Change> {
        let rate = match self.slice {
            Some((start, count)) if now.saturating_duration_since(start) < SLICE => count,
            _ => 0,
        };
        let most = rate_of(above);
        let was_on = self.until.is_some();
        let is_busy = handshakes > above || rate > most;
        let is_calm = handshakes <= above / 2 && rate <= most / 2;
        if is_busy || (was_on && !is_calm) {
            self.until = Some(now + HOLD);
        } else if self.until.is_some_and(|until| until <= now) {
            self.until = None;
        }
        match (was_on, self.until.is_some()) {
            (false, true) => Some(Change::On),
            (true, false) => Some(Change::Off),
            _ => None,
        }
    }
}

/// First flights in a slice of time that are as many as so many handshakes under way: at twice that number in a second.
fn rate_of(above: usize) -> usize {
    (above / 5).max(above.min(LEAST_RATE))
}

/// What the rate is measured over: a flood is seen within it.
const SLICE: Duration = Duration::from_millis(100);

/// How long it has to be calm.
const HOLD: Duration = Duration::from_secs(1);

/// A browser's burst is no flood, whatever the bound.
const LEAST_RATE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn many_handshakes_switch_it_on_and_half_of_them_for_a_second_off() {
        let (mut load, start) = (Load::default(), Instant::now());
        assert_eq!(load.look(100, 100, start), None);
        assert_eq!(load.look(100, 101, start), Some(Change::On));
        assert_eq!(load.look(100, 51, start + 900 * MS), None, "more than half holds it");
        assert_eq!(load.look(100, 50, start + 1800 * MS), None, "calm, but not for a second");
        assert!(load.is_on());
        assert_eq!(load.look(100, 50, start + 1900 * MS), Some(Change::Off));
        assert!(!load.is_on());
    }

    #[test]
    fn a_flood_switches_it_on_within_a_slice_before_handshakes_are_many() {
        let (mut load, start) = (Load::default(), Instant::now());
        // Five thousand in a second, of which 300 are enough.
        let on = (0..500).find(|at| load.arrives(1000, 0, start + *at * MS / 5).is_some());
        assert_eq!(on, Some(200), "40 ms after the first");
        for at in 0..20 {
            load.arrives(1000, 0, start + (200 + at * 100) * MS);
        }
        assert!(!load.is_on(), "ten in a second are calm");
    }

    #[test]
    fn as_many_as_are_allowed_spread_over_time_are_no_flood() {
        let (mut load, start) = (Load::default(), Instant::now());
        assert!((0..2000).all(|at| load.arrives(1000, 500, start + at * MS).is_none()));
    }

    #[test]
    fn pressure_holds_it_on_whatever_the_load_is() {
        let mut load = Load::default();
        load.press(true);
        assert!(load.is_on());
        load.press(false);
        assert!(!load.is_on());
    }
}
