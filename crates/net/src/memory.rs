//! How much memory peers make the process hold, and what follows from it.
//!
//! One [`Ledger`] for all workers. A worker counts in an [`Account`] of its own and posts to the ledger in blocks, so that most
//! changes touch a number of its own thread. The ledger may be behind by less than one block for each account.
//!
//! ```text
//!        3/4 of the limit   7/8          15/16         limit
//!  Calm ──────┬── Pressure ──┴─────────────┬── Shed ─────┬── Full
//!             addresses are proven         until 7/8     no new connections
//! ```

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

/// What may be done while so much is held; each level forbids what those before it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Everything.
    Calm,
    /// From three quarters of the limit: who is new shows first that its address is its own.
    Pressure,
    /// From fifteen sixteenths down to seven eighths: connections that hold most for the least use are closed.
    Shed,
    /// At the limit: new connections are refused.
    Full,
}

/// The memory of the process that peers make it hold.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// In bytes; `None` when there is no limit.
    limit: Option<u64>,
    held: AtomicU64,
    /// What clients may send, or have sent unread, beside what each of them may from the start.
    granted: AtomicU64,
    /// Of what is held, what connections hold that have been closed and are not gone yet.
    leaving: AtomicU64,
    is_shedding: AtomicBool,
    /// Told when it begins to be short.
    short: Notify,
}

impl Ledger {
    /// With a limit in bytes, or without one.
    pub(crate) fn new(limit: Option<u64>) -> Arc<Self> {
        let (held, granted, leaving, is_shedding) = Default::default();
        Arc::new(Self { limit, held, granted, leaving, is_shedding, short: Notify::new() })
    }

    /// Bytes held, as far as they are posted.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    pub(crate) fn level(&self) -> Level {
        let Some(limit) = self.limit else { return Level::Calm };
        let held = self.held();
        if held >= limit {
            Level::Full
        } else if self.is_shedding.load(Ordering::Relaxed) {
            Level::Shed
        } else if held >= limit / 4 * 3 {
            Level::Pressure
        } else {
            Level::Calm
        }
    }

    fn post(&self, from: u64, to: u64) {
        let held = if to >= from {
            self.held.fetch_add(to - from, Ordering::Relaxed) + (to - from)
        } else {
            self.held.fetch_sub(from - to, Ordering::Relaxed) - (from - to)
        };
        let Some(limit) = self.limit else { return };
        if held >= limit / 16 * 15 {
            if !self.is_shedding.swap(true, Ordering::Relaxed) {
                self.short.notify_waiters();
            }
        } else if held < limit / 8 * 7 {
            self.is_shedding.store(false, Ordering::Relaxed);
        }
    }
}

/// A worker's part of the ledger.
#[derive(Debug)]
pub(crate) struct Account {
    ledger: Arc<Ledger>,
    held: Cell<u64>,
    posted: Cell<u64>,
}

impl Account {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, held: Cell::new(0), posted: Cell::new(0) }
    }

    /// Something that held `from` bytes holds `to` from now on.
    pub(crate) fn change(&self, from: u64, to: u64) {
        if from == to {
            return;
        }
        let held = self.held.get().saturating_sub(from).saturating_add(to);
        self.held.set(held);
        // Rounded up: what is posted is never less than what is held.
        let due = held.next_multiple_of(BLOCK);
        let posted = self.posted.get();
        if due != posted {
            self.ledger.post(posted, due);
            self.posted.set(due);
        }
    }

    /// Whether more has to be given back than what has been closed will.
    pub(crate) fn is_short_still(&self) -> bool {
        let Ledger { limit, held, leaving, .. } = &*self.ledger;
        let staying = held.load(Ordering::Relaxed).saturating_sub(leaving.load(Ordering::Relaxed));
        limit.is_some_and(|limit| staying >= limit / 8 * 7)
    }

    /// A connection was closed that holds so many bytes, which are still charged.
    pub(crate) fn leaves(&self, bytes: u64) {
        self.ledger.leaving.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It has gone.
    pub(crate) fn has_left(&self, bytes: u64) {
        self.ledger.leaving.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What one connection may hold unread: a share of that half of the memory which is for large windows, less what is held or
    /// granted, so that each gets less the more of them there are. The other half is for those with which connections begin.
    pub(crate) fn allowance(&self) -> u64 {
        let Ledger { limit, held, granted, .. } = &*self.ledger;
        let taken = held.load(Ordering::Relaxed).max(granted.load(Ordering::Relaxed));
        limit.map_or(u64::MAX, |limit| (limit / 2).saturating_sub(taken) / SHARE)
    }

    /// A client that might send `from` bytes may send `to` from now on.
    pub(crate) fn grant(&self, from: u64, to: u64) {
        // Whatever is subtracted was added before, so that it wraps to the difference.
        self.ledger.granted.fetch_add(to.wrapping_sub(from), Ordering::Relaxed);
    }

    /// Waits until connections are to be asked to go: at once when memory begins to be short, and every now and then while it is.
    pub(crate) async fn short(&self) {
        let short = self.ledger.short.notified();
        match self.level() < Level::Shed {
            true => short.await,
            false => sleep(PAUSE).await,
        }
    }

    /// Bytes held here.
    pub(crate) fn held(&self) -> u64 {
        self.held.get()
    }

    pub(crate) fn level(&self) -> Level {
        self.ledger.level()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.ledger.post(self.posted.get(), 0);
    }
}

/// One in so many of the bytes that are free: with n connections that take all they may, SHARE in SHARE + n of them stay free.
const SHARE: u64 = 8;

/// Between two looks at all connections while memory is short.
const PAUSE: Duration = Duration::from_millis(100);

/// What a worker posts at once, in bytes.
const BLOCK: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1 << 20;

    #[test]
    fn each_level_begins_and_ends_where_it_says() {
        let ledger = Ledger::new(Some(LIMIT));
        let account = Account::new(ledger.clone());
        let mut before = 0;
        for (sixteenths, level) in [
            (11, Level::Calm),
            (12, Level::Pressure),
            (14, Level::Pressure),
            (15, Level::Shed),
            (14, Level::Shed),
            (16, Level::Full),
            (15, Level::Shed),
            (13, Level::Pressure),
            (14, Level::Pressure),
            (11, Level::Calm),
        ] {
            let held = LIMIT / 16 * sixteenths;
            account.change(before, held);
            before = held;
            assert_eq!(ledger.level(), level, "at {sixteenths}/16");
        }
    }

    #[test]
    fn without_a_limit_it_counts_and_forbids_nothing() {
        let ledger = Ledger::new(None);
        let account = Account::new(ledger.clone());
        account.change(0, 1 << 40);
        assert_eq!((ledger.held(), ledger.level()), (1 << 40, Level::Calm));
    }

    #[test]
    fn small_changes_stay_with_the_worker_and_never_understate() {
        let ledger = Ledger::new(Some(LIMIT));
        let account = Account::new(ledger.clone());
        for held in 0..3 * BLOCK {
            account.change(held, held + 1);
            assert!(ledger.held() > held && ledger.held() - held <= BLOCK, "{held}");
        }
        assert_eq!(account.held(), 3 * BLOCK);
    }

    #[test]
    fn workers_add_up_and_one_that_ends_takes_its_part_away() {
        let ledger = Ledger::new(Some(LIMIT));
        let workers: Vec<_> = (0..4).map(|_| Account::new(ledger.clone())).collect();
        std::thread::scope(|scope| {
            for account in workers {
                scope.spawn(move || account.change(0, LIMIT / 4));
            }
        });
        assert_eq!(ledger.held(), 0, "each was dropped by its thread");
        let (one, other) = (Account::new(ledger.clone()), Account::new(ledger.clone()));
        one.change(0, LIMIT / 2);
        other.change(0, LIMIT / 2);
        assert_eq!(ledger.level(), Level::Full);
        drop(other);
        assert_eq!((ledger.held(), ledger.level()), (LIMIT / 2, Level::Calm));
    }

    #[test]
    fn what_was_closed_counts_as_gone_when_the_next_one_is_chosen() {
        let ledger = Ledger::new(Some(LIMIT));
        let account = Account::new(ledger.clone());
        account.change(0, LIMIT);
        assert!(account.is_short_still());
        account.leaves(LIMIT / 4);
        assert!(!account.is_short_still(), "enough will be given back");
        assert_eq!(ledger.level(), Level::Full, "and is held until then");
        account.has_left(LIMIT / 4);
        assert!(account.is_short_still());
    }

    #[test]
    fn an_allowance_is_a_share_of_what_is_neither_held_nor_granted() {
        let ledger = Ledger::new(Some(LIMIT));
        let (account, other) = (Account::new(ledger.clone()), Account::new(ledger));
        assert_eq!(account.allowance(), LIMIT / 2 / SHARE);
        let mut granted = 0;
        for _ in 0..SHARE {
            let allowance = account.allowance();
            account.grant(0, allowance);
            granted += allowance;
        }
        assert!(granted > LIMIT / 4 && granted < LIMIT / 3, "{granted}");
        other.change(0, LIMIT / 8 * 3);
        assert_eq!(account.allowance(), LIMIT / 8 / SHARE, "more is held than granted");
        other.change(LIMIT / 8 * 3, LIMIT / 2);
        assert_eq!(account.allowance(), 0);
        other.change(LIMIT / 2, 0);
        account.grant(granted, 0);
        assert_eq!(account.allowance(), LIMIT / 2 / SHARE);
        assert_eq!(Account::new(Ledger::new(None)).allowance(), u64::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_is_told_when_memory_begins_to_be_short_and_again_while_it_is() {
        let ledger = Ledger::new(Some(LIMIT));
        let account = Account::new(ledger.clone());
        let waits = account.short();
        let mut waits = std::pin::pin!(waits);
        let far = Duration::from_secs(3600);
        assert!(tokio::time::timeout(far, &mut waits).await.is_err(), "there is enough");
        Account::new(ledger.clone()).change(0, LIMIT / 16 * 15);
        let begun = tokio::time::Instant::now();
        waits.await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let other = Account::new(ledger);
        other.change(0, LIMIT);
        other.short().await;
        assert_eq!(begun.elapsed(), PAUSE);
    }
}
