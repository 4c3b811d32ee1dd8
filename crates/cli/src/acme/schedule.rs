//! When a certificate is renewed, and when what failed is tried again: functions of time and of a number drawn at random.
//!
//! ```text
//!  not before                        2/3          9/10    not after
//!      ├──────────────────────────────┼─────────────┼─────────┤
//!                     the authority's advice may be   at the latest
//!                     anywhere before that
//! ```

use std::time::{Duration, SystemTime};

/// From when to when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

/// When the authority would like a certificate to be renewed (RFC 9773 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
}

impl Lifetime {
    /// When to renew; `random` is from 0 to below 1, and keeps servers that started together apart.
    pub(super) fn renew_at(&self, advice: Option<Window>, random: f64) -> SystemTime {
        let whole = self.whole();
        let latest = self.not_before + whole.mul_f64(LATEST);
        let wanted = match advice {
            // Somewhere in the window, by chance: not everybody at its start.
            // req: 9773-4.2-by-the-window
            // req: 9773-4.2-past-at-once
            Some(Window { start, end }) => {
                start + end.duration_since(start).unwrap_or_default().mul_f64(random)
            }
            None => self.not_before + whole.mul_f64(USUAL + JITTER * random),
        };
        wanted.min(latest)
    }

    /// From one certificate to the next, at least.
    pub(super) fn pause(&self) -> Duration {
        (self.whole() / 100).min(Duration::from_secs(3600))
    }

    fn whole(&self) -> Duration {
        self.not_after.duration_since(self.not_before).unwrap_or_default()
    }
}

/// How long to wait after so many failures in a row, from 1.
pub(super) fn back_off(failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let wait = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
    wait.mul_f64(0.75 + 0.5 * random)
}

/// When to ask for advice again, as the authority wants it but not without bounds (RFC 9773 §4.3.2).
pub(super) fn ask_again(wanted: Duration) -> Duration {
    // req: 9773-4.3.2-limits
    wanted.clamp(Duration::from_secs(60), Duration::from_secs(24 * 3600))
}

/// Of the lifetime, without advice.
const USUAL: f64 = 2.0 / 3.0;

/// Of the lifetime, over which renewals without advice are spread.
const JITTER: f64 = 0.02;

/// Of the lifetime, whatever the advice.
const LATEST: f64 = 0.9;

/// After the first failure.
const FIRST_WAIT: Duration = Duration::from_secs(60);

/// After any failure, but for a quarter by chance.
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn ninety_days() -> (SystemTime, Lifetime) {
        let start = SystemTime::UNIX_EPOCH + DAY * 20_000;
        (start, Lifetime { not_before: start, not_after: start + DAY * 90 })
    }

    #[test]
    fn without_advice_a_certificate_is_renewed_at_two_thirds_of_its_time() {
        let (start, lifetime) = ninety_days();
        for random in [0.0, 0.5, 0.999] {
            let after = lifetime.renew_at(None, random).duration_since(start).expect("later");
            assert!(after >= DAY * 60 && after < DAY * 62, "{after:?}");
        }
    }

    #[test]
    // req: 9773-4.3.2-limits
    fn advice_is_asked_for_once_in_a_minute_at_most_and_in_a_day_at_least() {
        let seconds = |wanted| ask_again(Duration::from_secs(wanted)).as_secs();
        assert_eq!(
            [0, 60, 21_600, 86_400, u64::MAX].map(seconds),
            [60, 60, 21_600, 86_400, 86_400]
        );
    }

    #[test]
    // req: 9773-4.2-by-the-window
    // req: 9773-4.2-past-at-once
    fn advice_is_followed_within_its_window() {
        let (start, lifetime) = ninety_days();
        let window = Window { start: start + DAY * 10, end: start + DAY * 20 };
        assert_eq!(lifetime.renew_at(Some(window), 0.0), start + DAY * 10);
        assert_eq!(lifetime.renew_at(Some(window), 0.5), start + DAY * 15);
        let past = Window { start: start - DAY * 2, end: start - DAY };
        assert!(lifetime.renew_at(Some(past), 0.5) < start, "at once");
    }

    #[test]
    fn no_advice_puts_off_a_renewal_beyond_nine_tenths() {
        let (start, lifetime) = ninety_days();
        let late = Window { start: start + DAY * 89, end: start + DAY * 200 };
        assert_eq!(lifetime.renew_at(Some(late), 0.9), start + DAY * 81);
        let backwards = Window { start: start + DAY * 30, end: start };
        assert_eq!(lifetime.renew_at(Some(backwards), 0.9), start + DAY * 30);
    }

    #[test]
    fn waits_double_up_to_six_hours() {
        let minutes = |failures| back_off(failures, 0.5).as_secs() / 60;
        assert_eq!([1, 2, 3, 4].map(minutes), [1, 2, 4, 8]);
        assert_eq!(minutes(9), 256);
        assert_eq!([10, 100, u32::MAX].map(minutes), [360; 3]);
        assert_eq!(back_off(1, 0.0), Duration::from_secs(45));
    }
}
