//! Whether a worker is behind with its work: then it answers new requests with 503, so that those it has end in time.
//!
//! A timer of its own tells: it is late by as much as the worker's thread is behind. One late tick may be an accident, two
//! in a row are not; the first that is in time ends it.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::time::{Instant, sleep_until};

/// How far behind a worker is.
#[derive(Debug)]
pub(crate) struct Lag {
    bound: Duration,
    late: Cell<u32>,
}

impl Lag {
    /// A worker is behind when its timer is later than `bound`.
    pub(crate) fn new(bound: Duration) -> Self {
        Self { bound, late: Cell::new(0) }
    }

    /// New requests are to be refused.
    pub(crate) fn is_behind(&self) -> bool {
        self.late.get() >= LATE
    }

    /// The timer went off, so late.
    fn ticked(&self, late: Duration) {
        let late = if late > self.bound { self.late.get().saturating_add(1) } else { 0 };
        self.late.set(late);
    }

    /// Looks, for as long as the worker lives.
    pub(crate) async fn watch(self: Rc<Self>) {
        loop {
            let due = Instant::now() + TICK;
            sleep_until(due).await;
            self.ticked(due.elapsed());
        }
    }
}

/// Late ticks in a row that are no accident.
const LATE: u32 = 2;

/// Between two looks.
const TICK: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_late_ticks_in_a_row_are_behind_and_one_in_time_ends_it() {
        let lag = Lag::new(Duration::from_millis(100));
        let mut seen = Vec::new();
        for late in [101, 100, 101, 200, 300, 100, 500] {
            lag.ticked(Duration::from_millis(late));
            seen.push(lag.is_behind());
        }
        assert_eq!(seen, [false, false, false, true, true, false, false]);
    }
}
