//! How many requests may be sent again: a share of those of the last seconds, and a few for each second in any case.
//!
//! When a backend fails for all, retries multiply the load of those which are left. A budget lets single failures be
//! repaired and takes the multiplication away.

use std::sync::atomic::{AtomicU64, Ordering};

/// Which retries are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Retries among the requests of the last ten seconds, in percent. Default: 20.
    pub percent: u32,
    /// Retries for each second that are allowed in any case. Default: 3.
    pub per_second: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { percent: 20, per_second: 3 }
    }
}

/// What has been spent. Shared by workers without a lock.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    slots: [AtomicU64; WINDOW as usize],
}

/// One second: which, and what happened in it. 24 bits for the second, 24 for requests, 16 for retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    second: u64,
    requests: u64,
    retries: u64,
}

impl Budget {
    /// Counts a request that is sent for the first time; `now` in milliseconds.
    pub(crate) fn deposit(&self, now: u64) {
        self.update(now, |slot| Slot { requests: (slot.requests + 1).min(MOST_REQUESTS), ..slot });
    }

    /// Whether one more retry is allowed, which is counted then. Two workers that ask at the same moment may both get the
    /// last one.
    pub(crate) fn withdraw(&self, config: &Config, now: u64) -> bool {
        let (requests, retries) = self.spent(now);
        let allowed =
            requests * u64::from(config.percent) / 100 + u64::from(config.per_second) * WINDOW;
        let is_allowed = retries < allowed;
        if is_allowed {
            self.update(now, |slot| Slot { retries: (slot.retries + 1).min(MOST_RETRIES), ..slot });
        }
        is_allowed
    }

    /// Requests and retries of the window.
    pub(crate) fn spent(&self, now: u64) -> (u64, u64) {
        let second = (now / 1000) & SECONDS;
        let slots = self.slots.iter().map(|slot| Slot::unpack(slot.load(Ordering::Relaxed)));
        let recent = slots.filter(|slot| second.wrapping_sub(slot.second) & SECONDS < WINDOW);
        recent.fold((0, 0), |(requests, retries), slot| {
            (requests + slot.requests, retries + slot.retries)
        })
    }

    fn update(&self, now: u64, change: impl Fn(Slot) -> Slot) {
        let second = (now / 1000) & SECONDS;
        let at = usize::try_from(now / 1000 % WINDOW).unwrap_or_default();
        let Some(slot) = self.slots.get(at) else { return };
        let renewed = |packed| {
            let slot = Slot::unpack(packed);
            let is_old = slot.second != second;
            change(if is_old { Slot { second, requests: 0, retries: 0 } } else { slot }).pack()
        };
        let _ =
            slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |packed| Some(renewed(packed)));
    }
}

impl Slot {
    fn unpack(packed: u64) -> Self {
        Self {
            second: packed >> 40,
            requests: packed >> 16 & MOST_REQUESTS,
            retries: packed & MOST_RETRIES,
        }
    }

    fn pack(self) -> u64 {
        self.second << 40 | self.requests << 16 | self.retries
    }
}

/// Seconds that count.
const WINDOW: u64 = 10;

/// Seconds are told apart modulo this, which is half a year.
const SECONDS: u64 = (1 << 24) - 1;

/// More in one second are not counted.
const MOST_REQUESTS: u64 = (1 << 24) - 1;

/// More in one second are not counted, but then no budget allows them.
const MOST_RETRIES: u64 = (1 << 16) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &Budget, config: &Config, now: u64) -> u32 {
        let mut taken = 0;
        while budget.withdraw(config, now) && taken < 10_000 {
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_share_of_the_requests_may_be_sent_again_and_a_few_in_any_case() {
        let config = Config { percent: 20, per_second: 3 };
        let budget = Budget::default();
        assert_eq!(taken(&budget, &config, 5_000), 30, "three for each of ten seconds");
        for _ in 0..1000 {
            budget.deposit(5_500);
        }
        assert_eq!(taken(&budget, &config, 5_900), 200, "a fifth of a thousand more");
        assert!(!budget.withdraw(&config, 6_000), "it is spent");
    }

    #[test]
    fn what_was_spent_is_forgotten_after_ten_seconds() {
        let config = Config { percent: 0, per_second: 1 };
        let budget = Budget::default();
        assert_eq!(taken(&budget, &config, 1_999), 10);
        assert!(!budget.withdraw(&config, 10_999), "nine seconds later they still count");
        assert_eq!(taken(&budget, &config, 11_000), 10);
        assert_eq!(budget.spent(11_000), (0, 10));
    }

    #[test]
    fn a_share_of_zero_and_nothing_in_any_case_allow_no_retry() {
        let budget = Budget::default();
        budget.deposit(0);
        assert!(!budget.withdraw(&Config { percent: 0, per_second: 0 }, 0));
    }

    #[test]
    fn counts_stay_in_their_bits_when_a_second_is_full() {
        let budget = Budget::default();
        let full = Slot { second: 7, requests: MOST_REQUESTS, retries: MOST_RETRIES };
        budget.slots[7].store(full.pack(), Ordering::Relaxed);
        budget.deposit(7_000);
        let all = Config { percent: 1000, per_second: 0 };
        assert!(budget.withdraw(&all, 7_000));
        assert_eq!(Slot::unpack(budget.slots[7].load(Ordering::Relaxed)), full);
    }

    #[test]
    fn workers_lose_no_request_to_each_other() {
        let budget = Budget::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| budget.deposit(3_000)));
            }
        });
        assert_eq!(budget.spent(3_000), (40_000, 0));
    }
}
