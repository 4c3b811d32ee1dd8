//! The generic cell rate algorithm: a token bucket that needs one number for each client.
//!
//! Kept is the moment at which the bucket is full again. Each unit moves it by one interval; a unit that would move it
//! further into the future than the burst allows is refused, and changes nothing.

use std::num::NonZeroU32;
use std::time::Duration;

use super::Used;

/// A rate, and how much may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Nanoseconds in which one unit comes back.
    interval: u64,
    /// Units of a full bucket.
    burst: u32,
}

/// The bucket of one client: the moment at which it is full again, in nanoseconds since an epoch that is its keeper's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell(u64);

/// Where a client stands after a unit that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Units that it may use at once.
    pub remaining: u64,
    /// After which its bucket is full again.
    pub full_in: Duration,
}

/// A unit was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rate is used up for {retry_after:?}")]
pub struct Refused {
    /// After which one is there again.
    pub retry_after: Duration,
    /// After which the bucket is full again.
    pub full_in: Duration,
}

impl Quota {
    /// `count` units in each `period`, of which `burst` may come at once. An interval is whole nanoseconds, rounded up: the
    /// rate is never higher than said.
    pub fn new(count: NonZeroU32, period: Duration, burst: NonZeroU32) -> Self {
        let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let interval = period.div_ceil(u64::from(count.get())).max(1);
        Self { interval, burst: burst.get() }
    }

    /// How far into the future a bucket may be used up before one more is refused.
    fn tolerance(&self) -> u64 {
        self.interval.saturating_mul(u64::from(self.burst) - 1)
    }
}

impl Cell {
    /// Takes one unit at `now`.
    ///
    /// # Errors
    /// [`Refused`], and nothing has changed.
    pub fn take(&mut self, quota: &Quota, now: u64) -> Result<Standing, Refused> {
        let ahead = self.0.saturating_sub(now);
        let room = quota.tolerance();
        if ahead > room {
            return Err(Refused {
                retry_after: Duration::from_nanos(ahead - room),
                full_in: Duration::from_nanos(ahead),
            });
        }
        let used = ahead.saturating_add(quota.interval);
        self.0 = now.saturating_add(used);
        Ok(Standing {
            remaining: (room - ahead) / quota.interval,
            full_in: Duration::from_nanos(used),
        })
    }

    /// Gives a unit back that was not used after all.
    pub fn give_back(&mut self, quota: &Quota) {
        self.0 = self.0.saturating_sub(quota.interval);
    }
}

impl Used for Cell {
    /// A full bucket is like one that was never there.
    fn used(&self, now: u64) -> u64 {
        self.0.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quota(count: u32, millis: u64, burst: u32) -> Quota {
        let number = |number| NonZeroU32::new(number).expect("not zero");
        Quota::new(number(count), Duration::from_millis(millis), number(burst))
    }

    /// A bucket as it is drawn: nanoseconds of credit, one interval for each unit.
    struct Bucket {
        credit: u64,
        filled_at: u64,
    }

    impl Bucket {
        fn take(&mut self, quota: &Quota, now: u64) -> bool {
            let most = quota.interval * u64::from(quota.burst);
            self.credit = most.min(self.credit + (now - self.filled_at));
            self.filled_at = now;
            let is_there = self.credit >= quota.interval;
            if is_there {
                self.credit -= quota.interval;
            }
            is_there
        }
    }

    proptest! {
        #[test]
        fn a_cell_gives_what_a_bucket_of_tokens_gives_and_tells_the_truth_about_it(
            count in 1_u32..2000,
            millis in 1_u64..5000,
            burst in 1_u32..50,
            steps in prop::collection::vec(0_u64..3_000_000_000, 1..200),
        ) {
            let quota = quota(count, millis, burst);
            let (mut cell, mut now) = (Cell::default(), 0);
            let mut bucket = Bucket { credit: quota.interval * u64::from(burst), filled_at: 0 };
            for step in steps {
                // Short steps and long ones: some within an interval, some beyond the time to fill.
                now += step % (quota.interval * u64::from(burst) * 2).max(2);
                let taken = cell.take(&quota, now);
                prop_assert_eq!(taken.is_ok(), bucket.take(&quota, now));
                match taken {
                    Ok(standing) => {
                        prop_assert_eq!(standing.remaining, bucket.credit / quota.interval);
                        let missing = quota.interval * u64::from(burst) - bucket.credit;
                        prop_assert_eq!(standing.full_in, Duration::from_nanos(missing));
                    }
                    Err(refused) => {
                        let wait = u64::try_from(refused.retry_after.as_nanos()).expect("short");
                        let (mut early, mut in_time) = (cell, cell);
                        prop_assert!(early.take(&quota, now + wait - 1).is_err(), "a moment too early");
                        prop_assert!(in_time.take(&quota, now + wait).is_ok(), "and then there is one");
                    }
                }
            }
        }

        #[test]
        fn no_window_gives_more_than_its_burst_and_what_comes_back_in_it(
            count in 1_u32..100,
            burst in 1_u32..20,
            steps in prop::collection::vec(0_u64..50_000_000, 1..300),
        ) {
            let quota = quota(count, 1000, burst);
            let (mut cell, mut now) = (Cell::default(), 0);
            let mut given = Vec::new();
            for step in steps {
                now += step;
                if cell.take(&quota, now).is_ok() {
                    given.push(now);
                }
            }
            for (i, from) in given.iter().enumerate() {
                for (j, to) in given.iter().enumerate().skip(i) {
                    let most = u64::from(burst) + (to - from) / quota.interval;
                    prop_assert!((j - i + 1) as u64 <= most, "{} in {} ns", j - i + 1, to - from);
                }
            }
        }
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let quota = quota(1, 1000, 1);
        let mut cell = Cell::default();
        assert!(cell.take(&quota, 5).is_ok());
        assert!(cell.take(&quota, 5).is_err());
        cell.give_back(&quota);
        assert!(cell.take(&quota, 5).is_ok());
    }

    #[test]
    fn the_longest_period_and_the_largest_burst_do_not_overflow() {
        let number = |number| NonZeroU32::new(number).expect("not zero");
        let quota = Quota::new(number(1), Duration::MAX, number(u32::MAX));
        let mut cell = Cell::default();
        assert!(cell.take(&quota, u64::MAX).is_ok());
        assert!(cell.take(&quota, u64::MAX).is_ok());
    }
}
