//! When the requests of one connection are due.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{Arrivals, Pace, Plan};

/// When the requests of one connection are due: at once in a closed loop, at their moments in an open one.
///
/// In an open loop a moment that has passed stays due: the schedule never waits for the server, so that a pause of the
/// server shows in the response times of all that was due meanwhile (coordinated omission).
#[derive(Clone, Debug)]
pub(super) enum Schedule {
    /// When the one before has ended.
    Closed,
    /// At equal distances.
    Constant { next: Instant, interval: Duration },
    /// At exponential distances of this mean.
    Poisson { next: Instant, mean: Duration, random: Box<SmallRng> },
}

impl Schedule {
    /// That of connection `index` of the plan, for a run that began at `start`.
    ///
    /// Connections begin one after the other within the first interval, so that all together are at equal distances.
    pub(super) fn new(plan: &Plan, index: usize, start: Instant) -> Self {
        let Some(Pace { per_second, arrivals }) = plan.pace else { return Self::Closed };
        let step = Duration::from_secs_f64((1.0 / per_second).min(LONGEST));
        let count = u32::try_from(plan.connections).unwrap_or(u32::MAX);
        let interval = step.saturating_mul(count).min(Duration::from_secs_f64(LONGEST));
        match arrivals {
            Arrivals::Constant => {
                let offset = step.mul_f64(index as f64);
                Self::Constant { next: start + offset, interval }
            }
            Arrivals::Poisson => {
                let random = Box::new(SmallRng::seed_from_u64(index as u64));
                let mut schedule = Self::Poisson { next: start, mean: interval, random };
                schedule.advance();
                schedule
            }
        }
    }

    /// When the next one is due; `now` in a closed loop.
    #[inline]
    pub(super) fn due(&self, now: Instant) -> Instant {
        match self {
            Self::Closed => now,
            Self::Constant { next, .. } | Self::Poisson { next, .. } => *next,
        }
    }

    /// The next one was sent.
    #[inline]
    pub(super) fn advance(&mut self) {
        match self {
            Self::Closed => {}
            Self::Constant { next, interval } => *next += *interval,
            Self::Poisson { next, mean, random } => {
                // The logarithm of what is uniform over (0, 1].
                let uniform = 1.0 - random.random::<f64>();
                *next += mean.mul_f64(-uniform.ln()).min(Duration::from_secs_f64(LONGEST));
            }
        }
    }

    /// How many were due before `end` and were not sent.
    pub(super) fn overdue(&mut self, end: Instant) -> u64 {
        match self {
            Self::Closed => 0,
            Self::Constant { next, interval } => {
                let late = end.saturating_duration_since(*next);
                u64::try_from(late.as_nanos().div_ceil(interval.as_nanos().max(1)))
                    .unwrap_or(u64::MAX)
            }
            Self::Poisson { .. } => {
                let mut count = 0;
                while self.due(end) < end && count < MOST_COUNTED {
                    self.advance();
                    count += 1;
                }
                count
            }
        }
    }
}

/// Seconds between two requests, at most: far above any run.
const LONGEST: f64 = 1e6;

/// Moments of a Poisson process that are counted one by one.
const MOST_COUNTED: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Target, Work};

    fn plan(connections: usize, per_second: f64, arrivals: Arrivals) -> Plan {
        let target = Target::resolve("https://127.0.0.1:1/", None).unwrap();
        let pace = Some(Pace { per_second, arrivals });
        Plan { connections, pace, ..Plan::new(target, Work::Requests(1)) }
    }

    #[test]
    fn connections_take_turns_at_equal_distances() {
        let plan = plan(4, 1000.0, Arrivals::Constant);
        let start = Instant::now();
        let mut due = Vec::new();
        for index in 0..4 {
            let mut schedule = Schedule::new(&plan, index, start);
            for _ in 0..3 {
                due.push((schedule.due(start) - start).as_micros());
                schedule.advance();
            }
        }
        due.sort_unstable();
        assert_eq!(due, (0..12).map(|index| index * 1000).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_due_stays_due_until_it_is_sent() {
        let plan = plan(1, 100.0, Arrivals::Constant);
        let start = Instant::now();
        let mut schedule = Schedule::new(&plan, 0, start);
        let later = start + Duration::from_secs(1);
        assert_eq!(schedule.due(later), start);
        assert_eq!(schedule.overdue(later), 100);
        schedule.advance();
        assert_eq!(schedule.due(later), start + Duration::from_millis(10));
        assert_eq!(schedule.overdue(later), 99);
        assert_eq!(schedule.overdue(start), 0);
    }

    #[test]
    fn a_poisson_process_has_the_rate_and_the_spread_of_one() {
        let plan = plan(1, 1000.0, Arrivals::Poisson);
        let start = Instant::now();
        let mut schedule = Schedule::new(&plan, 0, start);
        let (mut last, mut distances) = (start, Vec::new());
        for _ in 0..20_000 {
            let due = schedule.due(start);
            distances.push((due - last).as_secs_f64());
            last = due;
            schedule.advance();
        }
        let mean = distances.iter().sum::<f64>() / distances.len() as f64;
        let variance = distances.iter().map(|distance| (distance - mean).powi(2)).sum::<f64>()
            / distances.len() as f64;
        assert!((mean * 1000.0 - 1.0).abs() < 0.05, "mean {mean}");
        // Of an exponential distribution the deviation is the mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "deviation {}", variance.sqrt());
    }
}
