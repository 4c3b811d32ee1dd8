//! One direction of a link, on paper: which packet arrives when, and which does not.
//!
//! A packet waits until those before it are on the wire, takes the time that its length needs at the link's rate, and
//! arrives one delay later, or with jitter somewhat later still. What finds the queue full is dropped at its tail, and what
//! chance loses is lost before it takes a place in the queue. There is no clock here: whoever drives a [`Queue`] says what
//! time it is, offers packets with [`Queue::push`], and takes them with [`Queue::pop`] at [`Queue::next_arrival`].

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::chance::{Fate, Loss};
use super::rate::Rate;

/// What one direction of a link does to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// From the last bit sent to the last bit received.
    pub delay: Duration,
    /// How fast bits leave the queue.
    pub rate: Rate,
    /// Bytes that may wait; the packet on the wire does not count.
    pub queue: u64,
    /// What is lost by chance.
    pub loss: Loss,
    /// Each packet is later by up to this, so that one may overtake another.
    pub jitter: Duration,
    /// Decides what chance does.
    pub seed: u64,
}

impl Shape {
    /// A link without chance.
    pub const fn new(delay: Duration, rate: Rate, queue: u64) -> Self {
        Self { delay, rate, queue, loss: Loss::None, jitter: Duration::ZERO, seed: 0 }
    }
}

/// Packets between the moment they are offered and the moment they arrive.
///
/// It reorders with jitter alone. It holds at most the bytes of its shape's queue, one packet more, and what the rate sends in
/// one delay and the jitter.
#[derive(Debug)]
pub struct Queue<T> {
    shape: Shape,
    fate: Fate,
    /// When packets arrive; the number keeps the order of those which do so at once.
    arrivals: BTreeMap<(Instant, u64), T>,
    /// Packets that wait for the wire.
    queue: VecDeque<Waiting>,
    /// Their bytes.
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
    /// Packets that chance took.
    pub lost: u64,
}

#[derive(Debug)]
struct Waiting {
    starts: Instant,
    bytes: u64,
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
            fate: Fate::new(shape.loss, shape.seed),
            arrivals: BTreeMap::new(),
            queue: VecDeque::new(),
            waiting: 0,
            busy: None,
            counters: Counters::default(),
        }
    }

    /// Offers a packet of `bytes` bytes at the time `now`, which never goes back.
    ///
    /// # Errors
    /// Gives `item` back if chance takes the packet, or the queue has no room for it; an idle wire takes one of any length.
    pub fn push(&mut self, now: Instant, bytes: u64, item: T) -> Result<(), T> {
        self.settle(now);
        if self.fate.loses() {
            self.counters.lost += 1;
            return Err(item);
        }
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
        self.queue.push_back(Waiting { starts, bytes });
        let arrives = until + self.shape.delay + self.fate.delays(self.shape.jitter);
        self.arrivals.insert((arrives, self.counters.accepted), item);
        self.counters.accepted += 1;
        Ok(())
    }

    /// The next packet that has arrived by `now`, in the order of arrival, and without jitter in that of `push`.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        let next = self.arrivals.first_entry().filter(|next| next.key().0 <= now)?;
        Some(next.remove())
    }

    /// When `pop` has something to give; `None` while the link is empty.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.arrivals.first_key_value().map(|((arrives, _), _)| *arrives)
    }

    /// What has become of the packets so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Moves the packets whose turn has come by `now` from the queue to the wire.
    fn settle(&mut self, now: Instant) {
        while let Some(next) = self.queue.front().filter(|next| next.starts <= now) {
            self.waiting -= next.bytes;
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
