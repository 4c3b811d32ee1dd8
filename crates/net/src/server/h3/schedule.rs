//! Which response goes next (RFC 9218 §10).
//!
//! Lower urgency numbers go first, strictly. Within one urgency, responses that are not incremental go one after the
//! other in the order of their streams, incremental ones share; the two kinds take turns, so that neither starves.

use std::collections::VecDeque;

use sterna_h3::{Priority, StreamId};

/// A stream in line: its slot, and its id to know it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) slot: usize,
    pub(super) id: StreamId,
}

/// The streams that have something to send and are not blocked. Each is in line once: the caller keeps the flag.
#[derive(Debug, Default)]
pub(super) struct Scheduler {
    lines: [Line; URGENCIES],
    len: usize,
}

#[derive(Debug, Default)]
struct Line {
    ordered: VecDeque<Entry>,
    shared: VecDeque<Entry>,
    shared_next: bool,
}

impl Scheduler {
    /// Puts a stream in line.
    pub(super) fn insert(&mut self, entry: Entry, priority: Priority) {
        self.len += 1;
        let line = &mut self.lines[urgency(priority)];
        if priority.incremental {
            line.shared.push_back(entry);
            return;
        }
        // Requests come in order nearly always, then this is the end of the line at once.
        let behind = line.ordered.iter().rev().take_while(|other| other.id > entry.id).count();
        line.ordered.insert(line.ordered.len() - behind, entry);
    }

    /// Takes a stream out of line, when its priority changes.
    pub(super) fn remove(&mut self, id: StreamId, priority: Priority) {
        let line = &mut self.lines[urgency(priority)];
        let queue = if priority.incremental { &mut line.shared } else { &mut line.ordered };
        if let Some(position) = queue.iter().position(|entry| entry.id == id) {
            queue.remove(position);
            self.len -= 1;
        }
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

fn urgency(priority: Priority) -> usize {
    usize::from(priority.urgency).min(URGENCIES - 1)
}

/// RFC 9218 §4.1.
const URGENCIES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERED: Priority = Priority { urgency: 3, incremental: false };
    const SHARED: Priority = Priority { urgency: 3, incremental: true };

    /// Serves `turns` times; every stream always has more to send.
    fn play(streams: &[(u64, Priority)], turns: usize) -> Vec<u64> {
        let mut scheduler = Scheduler::default();
        for &(id, priority) in streams {
            scheduler.insert(Entry { slot: 0, id: StreamId(id) }, priority);
        }
        (0..turns)
            .map(|_| {
                let entry = scheduler.next().expect("always has more");
                let (_, priority) = streams.iter().find(|(id, _)| *id == entry.id.0).unwrap();
                scheduler.insert(entry, *priority);
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
    fn removed_stream_is_not_served() {
        let mut scheduler = Scheduler::default();
        scheduler.insert(Entry { slot: 0, id: StreamId(0) }, ORDERED);
        scheduler.insert(Entry { slot: 1, id: StreamId(4) }, SHARED);
        scheduler.remove(StreamId(0), ORDERED);
        assert_eq!(scheduler.next(), Some(Entry { slot: 1, id: StreamId(4) }));
        assert_eq!(scheduler.next(), None);
    }
}
