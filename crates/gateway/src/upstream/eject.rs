//! Leaving a backend out because its requests fail: after how many, for how long, and how many at the same time.
//!
//! A backend that is back is on probation: its first failure ejects it again, for twice as long, and its first success ends
//! the probation. Having been well for as long as it was out takes one doubling back.

use std::time::Duration;

/// When a backend is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// After this many failures in a row. Default: 5.
    pub after: u32,
    /// For this long the first time, and twice as long each time after. Default: 10 s.
    pub time: Duration,
    /// The longest. Default: 5 min.
    pub most_time: Duration,
    /// How many percent of the backends at most; rounded down, so that one of one is never left out. Default: 50.
    pub most_percent: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            after: 5,
            time: Duration::from_secs(10),
            most_time: Duration::from_secs(300),
            most_percent: 50,
        }
    }
}

impl Config {
    /// How many of so many may be out at the same time.
    pub(crate) fn most_of(&self, backends: usize) -> usize {
        backends * usize::from(self.most_percent.min(100)) / 100
    }

    /// The doublings and the time of an ejection, after one with so many doublings that ended so long ago; both in
    /// milliseconds.
    pub(crate) fn next(&self, before: Option<(u32, u64)>) -> (u32, u64) {
        let level = before.map_or(0, |(level, well_for)| {
            let taken_back = well_for / self.time_at(level).max(1);
            level.saturating_add(1).saturating_sub(u32::try_from(taken_back).unwrap_or(u32::MAX))
        });
        (level, self.time_at(level))
    }

    /// Milliseconds, with so many doublings.
    fn time_at(&self, level: u32) -> u64 {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let factor = 1u64.checked_shl(level).unwrap_or(u64::MAX);
        millis(self.time).saturating_mul(factor).min(millis(self.most_time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: Config = Config {
        after: 3,
        time: Duration::from_secs(10),
        most_time: Duration::from_secs(60),
        most_percent: 50,
    };

    #[test]
    fn each_ejection_is_twice_as_long_until_the_longest() {
        let mut times = Vec::new();
        let mut before = None;
        for _ in 0..5 {
            let (level, time) = CONFIG.next(before);
            times.push(time / 1000);
            before = Some((level, 0));
        }
        assert_eq!(times, [10, 20, 40, 60, 60]);
        assert_eq!(CONFIG.next(Some((u32::MAX, 0))).1, 60_000, "no overflow");
    }

    #[test]
    fn having_been_well_takes_doublings_back() {
        assert_eq!(CONFIG.next(Some((2, 39_999))), (3, 60_000), "not long enough");
        assert_eq!(CONFIG.next(Some((2, 40_000))), (2, 40_000), "one");
        assert_eq!(CONFIG.next(Some((2, 120_000))), (0, 10_000), "all");
        assert_eq!(CONFIG.next(Some((2, u64::MAX))), (0, 10_000));
    }

    #[test]
    fn the_share_is_rounded_down() {
        let most = [0, 1, 2, 3, 4, 10].map(|of| CONFIG.most_of(of));
        assert_eq!(most, [0, 0, 1, 1, 2, 5]);
        assert_eq!(Config { most_percent: 100, ..CONFIG }.most_of(3), 3);
    }
}
