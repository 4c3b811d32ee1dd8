//! One heap of deadlines for all connections of an endpoint, transport and application alike.
//!
//! Lazy: a deadline that moves later, which is what each packet does, costs one comparison. The
//! entry pops at its old time, the owner asks for the true deadline and arms again.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

use crate::ConnectionKey;

/// When a connection's entry in the heap will pop; kept beside the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Armed(Option<Instant>);

impl Armed {
    /// Whether an entry that pops at `at` is this one, and no stale one.
    pub(crate) fn is(&self, at: Instant) -> bool {
        self.0 == Some(at)
    }

    /// The same question; if so, the entry is gone.
    pub(crate) fn disarm(&mut self, at: Instant) -> bool {
        let is_this = self.is(at);
        if is_this {
            self.0 = None;
        }
        is_this
    }
}

/// The heap.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, ConnectionKey)>>,
}

impl Timers {
    /// Sees to it that the connection pops at `deadline` at the latest.
    pub(crate) fn arm(&mut self, armed: &mut Armed, key: ConnectionKey, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        if armed.0.is_some_and(|at| at <= deadline) {
            return;
        }
        armed.0 = Some(deadline);
        self.heap.push(Reverse((deadline, key)));
    }

    /// The next entry that is due; `disarm` asks its owner, if it still lives, with
    /// [`Armed::disarm`] whether the entry counts.
    ///
    /// The owner has no entry after this: it must be armed again.
    pub(crate) fn pop(
        &mut self,
        now: Instant,
        mut disarm: impl FnMut(ConnectionKey, Instant) -> bool,
    ) -> Option<ConnectionKey> {
        while let Some(Reverse((at, key))) = self.heap.peek().copied() {
            if at > now {
                return None;
            }
            self.heap.pop();
            if disarm(key, at) {
                return Some(key);
            }
        }
        None
    }

    /// When the next entry pops. It may turn out to be stale, which costs one idle turn.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Throws stale entries out when they are the larger part: each earlier deadline leaves one
    /// behind, and the heap has to stay in proportion to the `live` connections.
    pub(crate) fn sweep(
        &mut self,
        live: usize,
        mut is_armed: impl FnMut(ConnectionKey, Instant) -> bool,
    ) {
        if self.heap.len() > 2 * live + SLACK {
            self.heap.retain(|Reverse((at, key))| is_armed(*key, *at));
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.heap.len()
    }
}

/// Stale entries not worth a sweep.
const SLACK: usize = 64;

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use super::*;

    const A: ConnectionKey = ConnectionKey(1);
    const B: ConnectionKey = ConnectionKey(2);

    fn ms(base: Instant, ms: u64) -> Instant {
        base + Duration::from_millis(ms)
    }

    #[test]
    fn a_deadline_that_moves_later_adds_no_entry_and_pops_at_the_old_time() {
        let (base, mut timers, mut armed) = (Instant::now(), Timers::default(), Armed::default());
        timers.arm(&mut armed, A, Some(ms(base, 10)));
        timers.arm(&mut armed, A, Some(ms(base, 20)));
        assert_eq!(timers.len(), 1);
        assert_eq!(timers.pop(ms(base, 9), |_, at| armed.disarm(at)), None);
        assert_eq!(timers.pop(ms(base, 10), |_, at| armed.disarm(at)), Some(A));
        assert_eq!(armed, Armed(None));
    }

    #[test]
    fn an_earlier_deadline_pops_first_and_the_old_entry_is_stale() {
        let (base, mut timers, mut armed) = (Instant::now(), Timers::default(), Armed::default());
        timers.arm(&mut armed, A, Some(ms(base, 20)));
        timers.arm(&mut armed, A, Some(ms(base, 10)));
        assert_eq!(timers.next(), Some(ms(base, 10)));
        assert_eq!(timers.pop(ms(base, 30), |_, at| armed.disarm(at)), Some(A));
        assert_eq!(timers.pop(ms(base, 30), |_, at| armed.disarm(at)), None);
    }

    #[test]
    fn entries_of_connections_that_are_gone_are_skipped() {
        let (base, mut timers) = (Instant::now(), Timers::default());
        let (mut a, mut b) = (Armed::default(), Armed::default());
        timers.arm(&mut a, A, Some(ms(base, 1)));
        timers.arm(&mut b, B, Some(ms(base, 2)));
        let popped = timers.pop(ms(base, 5), |key, at| key == B && b.disarm(at));
        assert_eq!(popped, Some(B));
    }

    #[test]
    fn stale_entries_stay_in_proportion_to_the_live_connections() {
        let (base, mut timers) = (Instant::now(), Timers::default());
        let mut armed = HashMap::from([(A, Armed::default())]);
        for step in (0..10_000).rev() {
            timers.arm(armed.get_mut(&A).unwrap(), A, Some(ms(base, step)));
            timers.sweep(1, |key, at| armed[&key].is(at));
            assert!(timers.len() <= 2 + SLACK, "{} entries for one connection", timers.len());
        }
        assert_eq!(timers.next(), Some(base));
    }
}
