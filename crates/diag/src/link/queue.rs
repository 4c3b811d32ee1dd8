//! One direction of a link, on paper: which packet arrives when, and which does not.
//!
//! A packet waits until those before it are on the wire, takes the time that its length needs at the link's rate, and
//! arrives one delay later. What finds the queue full is dropped at its tail. There is no clock here: whoever drives a
//! [`Queue`] says what time it is, offers packets with [`Queue::push`], and takes them with [`Queue::pop`] at
//! [`Queue::next_arrival`]. Random loss belongs in `push`, before a packet takes its place in the queue.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Rate;

/// What one direction of a link does to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// From the last bit sent to the last bit received.
    pub delay: Duration,
    /// How fast bits leave the queue.
    pub rate: Rate,
    /// Bytes that may wait; the packet on the wire does not count.
    pub queue: u64,
}

/// Packets between the moment they are offered and the moment they arrive.
///
/// It never reorders. It holds at most the bytes of its shape's queue, one packet more, and what the rate sends in one delay.
#[derive(Debug)]
pub struct Queue<T> {
    shape: Shape,
    packets: VecDeque<Scheduled<T>>,
    /// Length of the prefix of `packets` which has left the queue for the wire.
    started: usize,
    /// Bytes of `packets` behind that prefix.
    waiting: u64,
    busy: Option<Busy>,
    counters: Counters,
}

/// What has become of the packets that were offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that arrived or will.
    pub accepted: u64,
    /// Packets that found the queue full.
    pub dropped: u64,
}

#[derive(Debug)]
struct Scheduled<T> {
    starts: Instant,
    arrives: Instant,
    bytes: u64,
    item: T,
}

/// A time in which the wire never rests. Ends are computed from its start, so that no rounding adds up.
#[derive(Clone, Copy, Debug)]
struct Busy {
    since: Instant,
    bytes: u64,
    until: Instant,
}

impl<T> Queue<T> {
    /// A link that nothing has used yet.
    pub fn new(shape: Shape) -> Self {
        Self {
            shape,
            packets: VecDeque::new(),
            started: 0,
            waiting: 0,
            busy: None,
            counters: Counters::default(),
        }
    }

    /// Offers a packet of `bytes` bytes at the time `now`, which never goes back.
    ///
    /// # Errors
    /// Gives `item` back if the queue has no room for the packet; an idle wire takes one of any length.
    pub fn push(&mut self, now: Instant, bytes: u64, item: T) -> Result<(), T> {
        self.settle(now);
        let busy = self.busy.filter(|busy| busy.until > now);
        if busy.is_some() && self.waiting.saturating_add(bytes) > self.shape.queue {
            self.counters.dropped += 1;
            return Err(item);
        }
        let busy = busy.unwrap_or(Busy { since: now, bytes: 0, until: now });
        let starts = busy.until;
        let bytes_so_far = busy.bytes.saturating_add(bytes);
        let until = busy.since + self.shape.rate.time_for(bytes_so_far);
        self.busy = Some(Busy { bytes: bytes_so_far, until, ..busy });
        self.waiting = self.waiting.saturating_add(bytes);
        self.packets.push_back(Scheduled {
            starts,
            arrives: until + self.shape.delay,
            bytes,
            item,
        });
        self.counters.accepted += 1;
        Ok(())
    }

    /// The next packet that has arrived by `now`, in the order of `push`.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        self.settle(now);
        self.next_arrival().filter(|arrival| *arrival <= now)?;
        let packet = self.packets.pop_front()?;
        self.started -= 1; // it started before it arrived
        Some(packet.item)
    }

    /// When `pop` has something to give; `None` while the link is empty.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.packets.front().map(|packet| packet.arrives)
    }

    /// What has become of the packets so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Moves the packets whose turn has come by `now` from the queue to the wire.
    fn settle(&mut self, now: Instant) {
        while let Some(packet) = self.packets.get(self.started).filter(|next| next.starts <= now) {
            self.waiting -= packet.bytes;
            self.started += 1;
        }
    }
}

#[cfg(test)]
mod tests;
