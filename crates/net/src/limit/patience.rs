//! How long we wait for a client that moves, but hardly.
//!
//! A time-out for a pause is reset by one byte. Patience is not: it runs out while we wait, each byte brings back the time
//! that the least rate allows for it, and never more than the grace of the beginning. So any stretch of waiting that is longer
//! than the grace has moved at the least rate. Time in which we do not wait for the client does not count.

use std::time::{Duration, Instant};

/// The least rate at which a client must take or give content while we wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinRate {
    /// Bytes in a second.
    pub bytes_per_second: u64,
    /// Time that it may be slower: at the beginning, and for each slow stretch.
    pub grace: Duration,
}

/// What is left of our patience with one client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    rate: MinRate,
    left: Duration,
    waiting_since: Option<Instant>,
}

impl Patience {
    pub(crate) fn new(rate: MinRate) -> Self {
        Self { rate, left: rate.grace, waiting_since: None }
    }

    /// We wait for the client from now on, if we did not already.
    pub(crate) fn wait(&mut self, now: Instant) {
        self.waiting_since.get_or_insert(now);
    }

    /// The client gave or took something; we do not wait until [`Self::wait`] says so again.
    pub(crate) fn moved(&mut self, bytes: usize, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.left = self.left.saturating_sub(now.saturating_duration_since(since));
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let worth = bytes.saturating_mul(1_000_000) / self.rate.bytes_per_second.max(1);
        self.left = self.left.saturating_add(Duration::from_micros(worth)).min(self.rate.grace);
    }

    /// We do not wait any more, and that the client was slow is forgiven: what it waited for was ours to do.
    pub(crate) fn rest(&mut self) {
        self.waiting_since = None;
    }

    /// When it is over, if nothing moves until then; `None` while we do not wait.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting_since?.checked_add(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: MinRate = MinRate { bytes_per_second: 500, grace: Duration::from_secs(30) };

    /// When a client is given up that moves `bytes` each `pause` seconds, if it is within an hour.
    fn given_up(bytes: usize, pause: u64) -> Option<u64> {
        let start = Instant::now();
        let (mut patience, mut now) = (Patience::new(RATE), start);
        while now < start + Duration::from_secs(3600) {
            patience.wait(now);
            let next = now + Duration::from_secs(pause);
            if let Some(deadline) = patience.deadline().filter(|deadline| *deadline < next) {
                return Some((deadline - start).as_secs());
            }
            patience.moved(bytes, next);
            now = next;
        }
        None
    }

    #[test]
    fn who_moves_at_the_least_rate_stays_and_who_is_slower_goes() {
        assert_eq!(given_up(500, 1), None);
        assert_eq!(given_up(10_000, 20), None, "the same in larger pieces");
        assert_eq!(given_up(1, 1), Some(30), "a byte a second gains two milliseconds each");
        assert_eq!(given_up(250, 1), Some(59), "half the rate loses half a second in each");
    }

    #[test]
    fn a_fast_beginning_buys_no_slow_end() {
        let start = Instant::now();
        let mut patience = Patience::new(RATE);
        patience.wait(start);
        patience.moved(1 << 30, start);
        patience.wait(start);
        assert_eq!(patience.deadline(), Some(start + RATE.grace));
    }

    #[test]
    fn time_in_which_nobody_waits_for_the_client_does_not_count() {
        let start = Instant::now();
        let mut patience = Patience::new(RATE);
        patience.wait(start);
        patience.moved(1, start);
        assert_eq!(patience.deadline(), None);
        let later = start + Duration::from_secs(3600);
        patience.wait(later);
        assert_eq!(patience.deadline(), Some(later + RATE.grace));
    }
}
