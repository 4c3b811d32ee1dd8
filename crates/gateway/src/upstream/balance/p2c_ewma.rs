//! The better of two by chance: by the moving average of the time to answer, times the requests under way.
//!
//! Two by chance are nearly as good as the best of all, and never let all workers run to the same one. The average follows a
//! slower answer at once and a faster one by and by, and is forgotten without answers, so that a backend which was slow is
//! tried again.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{Chance, random};
use crate::upstream::backend::Backend;
use crate::upstream::set::Field;

pub(super) fn choose(field: Field<'_>, chance: &mut Chance) -> Option<usize> {
    let one = random::choose(field, chance)?;
    let different = |other: &usize| *other != one;
    let other = random::glance(field, chance).filter(different);
    let other = other.or_else(|| random::draw_but(field, Some(one), chance));
    let Some(other) = other else { return Some(one) };
    let (of_one, of_other) = (cost(field, one)?, cost(field, other)?);
    Some(if of_other < of_one { other } else { one })
}

/// The time to answer, by the requests under way with this one, for the weight.
fn cost(field: Field<'_>, i: usize) -> Option<u128> {
    let backend: &Backend = field.get(i)?;
    let load = u64::from(backend.in_flight()) + 1;
    // Its standing may have changed since it was drawn; the scale is that of 1/weight.
    let weight = u128::from(field.weight(i).max(1));
    let time = u128::from(backend.latency.now(field.now, load > 1));
    Some(time * u128::from(load) * SCALE / weight)
}

/// A moving average of durations, with the moment of the last one, in one word.
#[derive(Debug, Default)]
pub(crate) struct Latency(AtomicU64);

impl Latency {
    /// An answer took so long; `now` in milliseconds.
    pub(crate) fn note(&self, took: Duration, now: u64) {
        self.update(now, |average| {
            let took = micros(took);
            average.map_or(took, |average| if took > average { took } else { blend(average, took) })
        });
    }

    /// There was no answer, or one that a backend gives fast because it does nothing: it must not look like a fast one.
    pub(crate) fn note_failure(&self, took: Option<Duration>, now: u64) {
        self.update(now, |average| {
            let took = took.map_or(0, micros).max(FAILED);
            average.map_or(took, |average| average.saturating_mul(2).max(took).min(MOST))
        });
    }

    /// The average, less what has been forgotten; `None` if nothing is known.
    pub(crate) fn average(&self, now: u64) -> Option<Duration> {
        let (average, at) = unpack(self.0.load(Relaxed))?;
        Some(Duration::from_micros(faded(average, at, now)))
    }

    /// In microseconds, at least one. One that is not known is tried with one request, and is slow for others meanwhile.
    fn now(&self, now: u64, has_requests: bool) -> u64 {
        match self.average(now) {
            Some(average) => micros(average).max(1),
            None if has_requests => FAILED,
            None => 1,
        }
    }

    pub(crate) fn adopt(&self, other: &Self) {
        self.0.store(other.0.load(Relaxed), Relaxed);
    }

    fn update(&self, now: u64, change: impl Fn(Option<u64>) -> u64) {
        let _ = self.0.fetch_update(Relaxed, Relaxed, |packed| {
            let average = unpack(packed).map(|(average, at)| faded(average, at, now));
            Some(pack(change(average), now))
        });
    }
}

/// A faster answer moves the average by an eighth.
fn blend(average: u64, took: u64) -> u64 {
    average - (average - took) / 8
}

/// Half of it is forgotten in each [`HALF_LIFE`] without an answer; linear between, which needs no exponential.
fn faded(average: u64, at: u64, now: u64) -> u64 {
    // Of 32 bits; what seems to be to come was noted by another worker a moment ago.
    let past = now.wrapping_sub(at) & MOST;
    let past = if past > MOST / 2 { 0 } else { past };
    let halves = u32::try_from(past / HALF_LIFE).unwrap_or(u32::MAX);
    let average = average.checked_shr(halves).unwrap_or(0);
    average - average * (past % HALF_LIFE) / (2 * HALF_LIFE)
}

/// The moment in the upper half, in milliseconds and never 0; the average in the lower.
fn pack(average: u64, at: u64) -> u64 {
    (at & MOST).max(1) << 32 | average.min(MOST)
}

fn unpack(packed: u64) -> Option<(u64, u64)> {
    (packed != 0).then_some((packed & MOST, packed >> 32))
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(MOST).min(MOST)
}

/// Milliseconds.
const HALF_LIFE: u64 = 10_000;

/// What a failure counts for at least, in microseconds.
const FAILED: u64 = 1_000_000;

/// The longest that is told from others, in microseconds: more than an hour.
const MOST: u64 = u32::MAX as u64;

/// Weights are up to 2²⁶, with their share.
const SCALE: u128 = 1 << 32;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_slower_answer_counts_at_once_and_a_faster_one_by_and_by() {
        let latency = Latency::default();
        assert_eq!(latency.average(0), None);
        latency.note(8 * MS, 1000);
        assert_eq!(latency.average(1000), Some(8 * MS));
        latency.note(80 * MS, 1000);
        assert_eq!(latency.average(1000), Some(80 * MS));
        latency.note(8 * MS, 1000);
        assert_eq!(latency.average(1000), Some(71 * MS));
    }

    #[test]
    fn the_average_is_forgotten_without_answers() {
        let latency = Latency::default();
        latency.note(80 * MS, 1000);
        assert_eq!(latency.average(1000 + HALF_LIFE / 2), Some(60 * MS));
        assert_eq!(latency.average(1000 + HALF_LIFE), Some(40 * MS));
        assert_eq!(latency.average(1000 + 100 * HALF_LIFE), Some(Duration::ZERO));
    }

    #[test]
    fn moments_are_compared_in_a_circle_of_49_days() {
        let latency = Latency::default();
        let wrap = 1 << 32;
        latency.note(80 * MS, wrap - 10);
        assert_eq!(latency.average(wrap - 10 + HALF_LIFE), Some(40 * MS));
        assert_eq!(
            latency.average(wrap - 12),
            Some(80 * MS),
            "a worker whose clock was read before"
        );
    }

    #[test]
    fn failures_never_look_fast() {
        let latency = Latency::default();
        latency.note(MS, 1000);
        latency.note_failure(Some(MS), 1000);
        assert_eq!(latency.average(1000), Some(Duration::from_secs(1)));
        for _ in 0..100 {
            latency.note_failure(None, 1000);
        }
        assert_eq!(latency.average(1000), Some(Duration::from_micros(MOST)), "and are bounded");
    }
}
