//! What is known of one host's certificate, and what is due for it. Time and chance are arguments.
//!
//! ```text
//!            nothing kept                     kept
//!                 │                             │
//!                 ▼         obtained            ▼
//!           order now ─────────────────▶ ask for advice ◀──────┐ again, when the authority says
//!            ▲    │                             │              │
//!            │    │ failed                      ├──────────────┘
//!            │    ▼                             ▼
//!        wait, longer each time ◀───────── order at 2/3, or when advised
//!                               failed
//! ```

use std::time::{Duration, SystemTime};

use super::pair::Pair;
use super::schedule::{self, Window};

/// A host, and what is known of its certificate.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) pair: Option<Pair>,
    /// When the next order is due.
    pub(super) renew_at: SystemTime,
    /// Somebody wants one at once, whatever the plan.
    is_wanted: bool,
    /// When advice is asked for again.
    ask_at: SystemTime,
    /// When this process has got it.
    issued: Option<SystemTime>,
    /// Orders that have ended, well or not; one that went well when its certificate is shown.
    pub(super) orders: u64,
    /// Those in a row that failed.
    pub(super) failures: u32,
    /// Why the last one failed, if it did.
    pub(super) error: Option<String>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Order,
    Advice,
}

impl Entry {
    /// With what is kept.
    pub(super) fn new(pair: Option<Pair>, now: SystemTime, random: f64) -> Self {
        let mut entry = Self {
            pair,
            renew_at: now,
            is_wanted: false,
            ask_at: now,
            issued: None,
            orders: 0,
            failures: 0,
            error: None,
        };
        entry.plan(None, random);
        entry
    }

    /// With what is to be replaced at once, if there is anything.
    pub(super) fn in_place_of(pair: Option<Pair>, now: SystemTime, random: f64) -> Self {
        let mut entry = Self::new(pair, now, random);
        entry.hurry();
        entry
    }

    /// What is due next, and when.
    pub(super) fn due(&self) -> (SystemTime, Due) {
        match self.pair {
            _ if self.is_wanted => (SystemTime::UNIX_EPOCH, Due::Order),
            Some(_) if self.ask_at < self.renew_at => (self.ask_at, Due::Advice),
            _ => (self.renew_at, Due::Order),
        }
    }

    /// Somebody wants a new one at once.
    pub(super) fn hurry(&mut self) {
        self.is_wanted = true;
    }

    pub(super) fn on_obtained(&mut self, pair: Pair, now: SystemTime, random: f64) {
        (self.pair, self.issued, self.ask_at) = (Some(pair), Some(now), now);
        (self.is_wanted, self.failures, self.error) = (false, 0, None);
        self.plan(None, random);
    }

    pub(super) fn on_failure(&mut self, error: String, now: SystemTime, random: f64) {
        (self.is_wanted, self.error) = (false, Some(error));
        self.failures = self.failures.saturating_add(1);
        self.renew_at = now + schedule::back_off(self.failures, random);
        // Nothing else is asked of the authority before that.
        self.ask_at = self.ask_at.max(self.renew_at);
    }

    /// What the authority advises, if it does, and how long it wants not to be asked again.
    pub(super) fn on_advice(
        &mut self,
        window: Option<Window>,
        again: Duration,
        now: SystemTime,
        random: f64,
    ) {
        self.ask_at = now + again;
        if window.is_some() {
            self.plan(window, random);
        }
    }

    /// When to renew, by what the authority advises.
    fn plan(&mut self, advice: Option<Window>, random: f64) {
        let Some(pair) = &self.pair else { return };
        let renew_at = pair.lifetime.renew_at(advice, random);
        // An authority whose advice is always in the past is not asked for one certificate after the other.
        let earliest = self.issued.map(|at| at + pair.lifetime.pause());
        self.renew_at = earliest.map_or(renew_at, |earliest| renew_at.max(earliest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// Good for 90 days from here on.
    fn begin() -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * 20_000
    }

    fn pair() -> Pair {
        Pair::made_for_tests("a.example", begin(), begin() + DAY * 90)
    }

    #[test]
    fn without_a_certificate_an_order_is_due_at_once() {
        let entry = Entry::new(None, begin(), 0.0);
        assert_eq!(entry.due(), (begin(), Due::Order));
    }

    #[test]
    fn a_certificate_that_is_kept_is_asked_about_first_and_renewed_at_two_thirds() {
        let mut entry = Entry::new(Some(pair()), begin() + DAY, 0.0);
        assert_eq!(entry.due(), (begin() + DAY, Due::Advice));
        entry.on_advice(None, DAY * 365, begin() + DAY, 0.0);
        assert_eq!(entry.due(), (begin() + DAY * 60, Due::Order));
    }

    #[test]
    fn one_that_has_ended_meanwhile_is_ordered_anew_before_anything_is_asked() {
        let entry = Entry::new(Some(pair()), begin() + DAY * 100, 0.0);
        assert_eq!(entry.due().1, Due::Order);
        assert!(entry.due().0 < begin() + DAY * 100);
    }

    #[test]
    fn each_failure_makes_the_wait_longer_and_a_success_forgets_them() {
        let mut entry = Entry::new(None, begin(), 0.0);
        let mut now = begin();
        let mut waits = Vec::new();
        for _ in 0..3 {
            entry.on_failure("no".to_owned(), now, 0.5);
            let (at, due) = entry.due();
            assert_eq!(due, Due::Order);
            waits.push(at.duration_since(now).expect("later").as_secs());
            now = at;
        }
        assert_eq!(waits, [60, 120, 240]);
        entry.on_obtained(pair(), now, 0.0);
        assert_eq!((entry.failures, entry.error.as_deref()), (0, None));
    }

    #[test]
    fn a_renewal_that_failed_keeps_the_certificate_and_asks_nothing_before_it_is_tried_again() {
        let mut entry = Entry::new(Some(pair()), begin() + DAY * 61, 0.0);
        entry.on_failure("no".to_owned(), begin() + DAY * 61, 0.5);
        assert!(entry.pair.is_some());
        assert_eq!(entry.error.as_deref(), Some("no"));
        assert_eq!(entry.due(), (begin() + DAY * 61 + Duration::from_secs(60), Due::Order));
    }

    #[test]
    fn what_is_to_be_replaced_is_shown_until_it_is_however_often_that_fails() {
        let mut entry = Entry::in_place_of(Some(pair()), begin(), 0.0);
        assert_eq!(entry.due().1, Due::Order);
        entry.on_failure("no".to_owned(), begin(), 0.5);
        assert_eq!(entry.due(), (begin() + Duration::from_secs(60), Due::Order));
        assert!(entry.pair.is_some());
    }

    #[test]
    fn whoever_is_in_a_hurry_waits_for_no_back_off_and_no_advice_takes_that_back() {
        let mut entry = Entry::new(Some(pair()), begin(), 0.0);
        entry.on_failure("no".to_owned(), begin(), 0.0);
        entry.hurry();
        let advice = Window { start: begin() + DAY, end: begin() + DAY * 2 };
        entry.on_advice(Some(advice), DAY, begin(), 0.0);
        assert_eq!(entry.due(), (SystemTime::UNIX_EPOCH, Due::Order));
        entry.on_failure("no".to_owned(), begin(), 0.0);
        assert!(entry.due().0 > begin(), "once");
    }

    #[test]
    fn advice_that_is_always_in_the_past_leads_to_one_order_in_an_hour() {
        let past = Window { start: begin() - DAY * 2, end: begin() - DAY };
        let mut entry = Entry::new(Some(pair()), begin() + DAY, 0.0);
        entry.on_advice(Some(past), DAY, begin() + DAY, 0.5);
        assert!(entry.due().0 < begin() + DAY, "what was kept is renewed at once");
        entry.on_obtained(pair(), begin() + DAY, 0.0);
        entry.on_advice(Some(past), DAY, begin() + DAY, 0.5);
        assert_eq!(entry.due(), (begin() + DAY + HOUR, Due::Order));
    }
}
