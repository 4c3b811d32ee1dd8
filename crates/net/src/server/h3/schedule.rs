//! Which response goes next (RFC 9218 §10).
//!
//! Lower urgency numbers go first, strictly. Within one urgency, responses that are not incremental go one after the
//! other in the order of their streams, incremental ones share; the two kinds take turns, so that neither starves.
//!
//! To share is to be served in turns, whenever a stream comes back into line: where the client's credit for the whole
//! connection is scarce, all wait for it, and the transport names them in an order of its own when some has come.

use std::collections::VecDeque;

use sterna_h3::{Priority, StreamId};

/// A stream in line: its slot, and its id to know it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) slot: usize,
    pub(super) id: StreamId,
    /// Its last [`Scheduler::turn`].
    pub(super) served: u64,
}

/// The streams that have something to send and are not blocked. Each is in line once: the caller keeps the flag.
#[derive(Debug, Default)]
pub(super) struct Scheduler {
    /// By urgency, those that were ever used: nearly always one.
    lines: Vec<Line>,
    len: usize,
    turn: u64,
}

#[derive(Debug, Default)]
struct Line {
    urgency: u8,
    ordered: VecDeque<Entry>,
    shared: VecDeque<Entry>,
    shared_next: bool,
}

impl Scheduler {
    /// Puts a stream in line.
    pub(super) fn insert(&mut self, entry: Entry, priority: Priority) {
        self.len += 1;
        let line = self.line(priority);
        let is_before = |other: &Entry| match priority.incremental {
            true => other.served <= entry.served,
            false => other.id <= entry.id,
        };
        let queue = if priority.incremental { &mut line.shared } else { &mut line.ordered };
        // Requests come in order, and who was served last comes back last, nearly always: at the end of the line.
        match queue.back().is_none_or(is_before) {
            true => queue.push_back(entry),
            false => queue.insert(queue.partition_point(is_before), entry),
        }
    }

    /// For a stream that was just served, or that is new: behind all that were served before.
    pub(super) fn turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    /// Takes a stream out of line, when its priority changes.
    pub(super) fn remove(&mut self, id: StreamId, priority: Priority) {
        let line = self.line(priority);
        let queue = if priority.incremental { &mut line.shared } else { &mut line.ordered };
        if let Some(position) = queue.iter().position(|entry| entry.id == id) {
            queue.remove(position);
            self.len -= 1;
        }
    }

    /// Gives back what only streams in line need.
    pub(super) fn rest(&mut self) {
        if self.len == 0 {
            self.lines = Vec::new();
        }
    }

    /// Streams in line.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The line of an urgency, new where there is none yet.
    fn line(&mut self, priority: Priority) -> &mut Line {
        let urgency = priority.urgency.min(LEAST_URGENT);
        let position = self.lines.iter().position(|line| line.urgency >= urgency);
        let position = position.unwrap_or(self.lines.len());
        if self.lines.get(position).is_none_or(|line| line.urgency != urgency) {
            self.lines.reserve_exact(1);
            self.lines.insert(position, Line { urgency, ..Line::default() });
        }
        &mut self.lines[position]
    }

    /// Takes the next stream to serve out of line.
    pub(super) fn next(&mut self) -> Option<Entry> {
        if self.len == 0 {
            return None;
        }
        // req: 9218-10-schedule
        let entry = self.lines.iter_mut().find_map(Line::next)?;
        self.len -= 1;
        Some(entry)
    }
}

impl Line {
    fn next(&mut self) -> Option<Entry> {
        let shared = self.ordered.is_empty() || (self.shared_next && !self.shared.is_empty());
        self.shared_next = !shared;
        if shared { self.shared.pop_front() } else { self.ordered.pop_front() }
    }
}

/// RFC 9218 §4.1.
const LEAST_URGENT: u8 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERED: Priority = Priority { urgency: 3, incremental: false };
    const SHARED: Priority = Priority { urgency: 3, incremental: true };

    /// Serves `turns` times; every stream always has more to send.
    fn play(streams: &[(u64, Priority)], turns: usize) -> Vec<u64> {
        let mut scheduler = Scheduler::default();
        for &(id, priority) in streams {
            let served = scheduler.turn();
            scheduler.insert(Entry { slot: 0, id: StreamId(id), served }, priority);
        }
        (0..turns)
            .map(|_| {
                let entry = scheduler.next().expect("always has more");
                let (_, priority) = streams.iter().find(|(id, _)| *id == entry.id.0).unwrap();
                let served = scheduler.turn();
                scheduler.insert(Entry { served, ..entry }, *priority);
                entry.id.0
            })
            .collect()
    }

    #[test]
    fn lower_urgency_number_goes_first_whatever_the_order() {
        let urgent = Priority { urgency: 0, incremental: true };
        assert_eq!(play(&[(0, ORDERED), (4, urgent), (8, SHARED)], 3), [4, 4, 4]);
    }

    #[test]
    fn ordered_streams_go_one_after_the_other_by_id() {
        assert_eq!(play(&[(8, ORDERED), (0, ORDERED), (4, ORDERED)], 3), [0, 0, 0]);
    }

    #[test]
    fn incremental_streams_take_turns() {
        assert_eq!(play(&[(0, SHARED), (4, SHARED), (8, SHARED)], 5), [0, 4, 8, 0, 4]);
    }

    // req: 9218-10-schedule
    #[test]
    fn incremental_streams_that_come_back_in_any_order_go_by_when_they_were_served() {
        let mut scheduler = Scheduler::default();
        for (id, served) in [(0, 3), (8, 1), (4, 2), (12, 3)] {
            scheduler.insert(Entry { slot: 0, id: StreamId(id), served }, SHARED);
        }
        let order: Vec<u64> =
            std::iter::from_fn(|| scheduler.next()).map(|entry| entry.id.0).collect();
        assert_eq!(order, [8, 4, 0, 12]);
    }

    // req: 9218-10-schedule
    #[test]
    fn ordered_and_incremental_streams_of_one_urgency_alternate() {
        assert_eq!(
            play(&[(0, ORDERED), (4, SHARED), (8, SHARED), (12, ORDERED)], 6),
            [0, 4, 0, 8, 0, 4]
        );
    }

    #[test]
    fn urgency_beyond_seven_is_seven() {
        let broken = Priority { urgency: 200, incremental: false };
        assert_eq!(play(&[(0, broken), (4, ORDERED)], 2), [4, 4]);
    }

    #[test]
    fn a_scheduler_at_rest_keeps_nothing_and_serves_as_before() {
        let mut scheduler = Scheduler::default();
        let entry = |id| Entry { slot: 0, id: StreamId(id), served: 0 };
        let priority = |urgency| Priority { urgency, incremental: false };
        for round in 0..2 {
            for urgency in [5, 0, 7, 3] {
                scheduler.insert(entry(urgency.into()), priority(urgency));
            }
            let order: Vec<u64> = std::iter::from_fn(|| scheduler.next()).map(|e| e.id.0).collect();
            assert_eq!(order, [0, 3, 5, 7], "in round {round}");
            scheduler.rest();
            assert_eq!(scheduler.lines.capacity(), 0);
        }
    }

    #[test]
    fn removed_stream_is_not_served() {
        let mut scheduler = Scheduler::default();
        let other = Entry { slot: 1, id: StreamId(4), served: 0 };
        scheduler.insert(Entry { slot: 0, id: StreamId(0), served: 0 }, ORDERED);
        scheduler.insert(other, SHARED);
        scheduler.remove(StreamId(0), ORDERED);
        assert_eq!(scheduler.next(), Some(other));
        assert_eq!(scheduler.next(), None);
    }
}
