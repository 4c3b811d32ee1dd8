//! A value for each client, in bounded memory, for all workers.
//!
//! It is cut into shards, each with a lock of its own that is held for one decision. A value that is not used is as good as
//! none: such are forgotten after five minutes, and when there is no room. A table that is full of used ones forgets, of eight,
//! the one that is used least: who overruns a limit stays in it, however many others come.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Something that a [`Table`] may forget when it is not used.
pub trait Used: Default {
    /// How much of it is used at `now`, in nanoseconds since the table's epoch; 0 is like one that was never there.
    fn used(&self, now: u64) -> u64;
}

/// A value for each key; see the module.
pub struct Table<K, V> {
    shards: Box<[Mutex<Shard<K, V>>]>,
    capacity: usize,
    hasher: RandomState,
    epoch: Instant,
    evicted: AtomicU64,
}

struct Shard<K, V> {
    index: HashMap<K, usize, RandomState>,
    entries: Vec<(K, V)>,
    /// Where the search for a place goes on.
    hand: usize,
    swept: u64,
}

impl<K: Copy + Eq + Hash, V: Used> Table<K, V> {
    /// A table with `capacity` places, rounded up to a whole number for each shard; memory is taken as they fill.
    pub fn new(capacity: usize, epoch: Instant) -> Self {
        let hasher = RandomState::new();
        let shard = || {
            let index = HashMap::with_hasher(hasher.clone());
            Mutex::new(Shard { index, entries: Vec::new(), hand: 0, swept: 0 })
        };
        let shards = SHARDS.min(capacity.max(1));
        Self {
            shards: (0..shards).map(|_| shard()).collect(),
            capacity: capacity.div_ceil(shards).max(1),
            hasher,
            epoch,
            evicted: AtomicU64::new(0),
        }
    }

    /// What `change` makes of the value of `key`, which gets the time in nanoseconds since the table's epoch.
    pub fn with<R>(&self, key: K, now: Instant, change: impl FnOnce(&mut V, u64) -> R) -> R {
        let now = nanos(now.saturating_duration_since(self.epoch));
        let place = self.hasher.hash_one(key) >> 32;
        let shard = usize::try_from(place).unwrap_or(0) % self.shards.len();
        let mut shard = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(shard.swept) >= nanos(IDLE) {
            shard.sweep(now);
        }
        let at = match shard.index.get(&key) {
            Some(at) => *at,
            None => {
                let (at, is_lost) = shard.enter(key, now, self.capacity);
                self.evicted.fetch_add(u64::from(is_lost), Ordering::Relaxed);
                at
            }
        };
        change(&mut shard.entries[at].1, now)
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        let len = |shard: &Mutex<Shard<K, V>>| {
            shard.lock().unwrap_or_else(PoisonError::into_inner).entries.len()
        };
        self.shards.iter().map(len).sum()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many were forgotten although they were used: the table is too small for those who come.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

impl<K: Copy + Eq + Hash, V: Used> Shard<K, V> {
    /// A place for a new key, and whether a used value lost it.
    fn enter(&mut self, key: K, now: u64, capacity: usize) -> (usize, bool) {
        if self.entries.len() < capacity {
            let at = self.entries.len();
            self.entries.push((key, V::default()));
            self.index.insert(key, at);
            return (at, false);
        }
        let len = self.entries.len();
        let candidates = (self.hand..self.hand + CANDIDATES).map(|at| at % len);
        let used = |at: usize| self.entries[at].1.used(now);
        let at = candidates.min_by_key(|&at| used(at)).unwrap_or(0);
        let is_lost = used(at) > 0;
        self.hand = (self.hand + CANDIDATES) % len;
        let (before, _) = std::mem::replace(&mut self.entries[at], (key, V::default()));
        self.index.remove(&before);
        self.index.insert(key, at);
        (at, is_lost)
    }

    /// Forgets what is not used, and gives memory back that this leaves empty.
    fn sweep(&mut self, now: u64) {
        self.swept = now;
        self.entries.retain(|(_, value)| value.used(now) > 0);
        self.entries.shrink_to(self.entries.len() * 2);
        self.index.clear();
        self.index.shrink_to(self.entries.len() * 2);
        self.index.extend(self.entries.iter().enumerate().map(|(at, (key, _))| (*key, at)));
        self.hand = 0;
    }
}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("evicted", &self.evicted).finish_non_exhaustive()
    }
}

/// A time that no process lives through is the largest.
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Enough that two workers seldom meet.
const SHARDS: usize = 64;

/// How often a shard forgets what is not used.
const IDLE: Duration = Duration::from_secs(300);

/// Of how many a full shard forgets one.
const CANDIDATES: usize = 8;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::thread;

    use super::super::{Cell, Quota};
    use super::*;

    fn quota() -> Quota {
        let number = |number| NonZeroU32::new(number).expect("not zero");
        Quota::new(number(1), Duration::from_secs(1), number(10))
    }

    fn take(table: &Table<u32, Cell>, key: u32, now: Instant) -> bool {
        table.with(key, now, |cell, now| cell.take(&quota(), now)).is_ok()
    }

    #[test]
    fn a_full_table_grows_no_further_and_counts_what_it_forgets() {
        let now = Instant::now();
        let table = Table::new(64, now);
        for key in 0..10_000 {
            assert!(take(&table, key, now));
        }
        assert!(table.len() <= 64, "{} entries", table.len());
        assert_eq!(table.evicted(), 10_000 - table.len() as u64);
    }

    #[test]
    fn who_overruns_a_limit_is_not_forgotten_for_those_who_come_and_go() {
        let now = Instant::now();
        let table = Table::new(64 * 16, now);
        while take(&table, 0, now) {}
        for key in 1..20_000 {
            assert!(take(&table, key, now));
        }
        assert!(table.evicted() > 0, "the table is full");
        assert!(!take(&table, 0, now), "its bucket is still empty");
    }

    #[test]
    fn what_is_not_used_any_more_is_forgotten_after_five_minutes_and_counts_for_nothing() {
        let start = Instant::now();
        let table = Table::new(1000, start);
        for key in 0..500 {
            assert!(take(&table, key, start));
        }
        let later = start + IDLE;
        // One of each shard looks around; 10,000 keys meet every shard.
        for key in 10_000..20_000 {
            take(&table, key, later);
        }
        let is_there = |key| {
            table.shards.iter().any(|shard| shard.lock().expect("whole").index.contains_key(&key))
        };
        assert!((0..500).all(|key| !is_there(key)));
    }

    #[test]
    fn what_is_still_used_stays_however_long_it_is_not_asked_for() {
        let start = Instant::now();
        let number = |number| NonZeroU32::new(number).expect("not zero");
        let hourly = Quota::new(number(1), Duration::from_secs(3600), number(1));
        let table = Table::<u32, Cell>::new(1, start);
        let take = |at| table.with(7, at, |cell, now| cell.take(&hourly, now)).is_ok();
        assert!(take(start));
        assert!(!take(start + IDLE * 2), "twice the time after which others are forgotten");
        assert!(take(start + Duration::from_secs(3600)));
    }

    #[test]
    fn workers_that_share_a_table_share_the_limit() {
        let now = Instant::now();
        let table = Table::new(1000, now);
        let given: usize = thread::scope(|scope| {
            let worker = || (0..100).filter(|_| take(&table, 1, now)).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().map(|worker| worker.join().expect("it ends")).sum()
        });
        assert_eq!(given, 10, "the burst, whoever asks");
    }
}
