//! Pacing by a rate, for congestion controllers that have one: the engine's own knows window and round-trip time alone.

use std::time::{Duration, Instant};

/// A bucket that fills at the controller's rate and that what leaves is taken from.
///
/// It may be overdrawn by a batch: what counts is the mean. Packets that hold no data wait like all others, for
/// [`LONGEST_HOLD`] at most, which is far below what a peer waits for an acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacer {
    /// Bytes that may leave; below zero what has left too early.
    tokens: f64,
    filled_at: Instant,
    waits_until: Option<Instant>,
}

impl Pacer {
    pub(super) fn new(now: Instant) -> Self {
        Self { tokens: f64::INFINITY, filled_at: now, waits_until: None }
    }

    /// How many datagrams may leave now at a rate in bytes for each second; `None` until [`Self::waits_until`].
    pub(super) fn allow(&mut self, now: Instant, rate: u64, mtu: u16) -> Option<usize> {
        let (rate, mtu) = (rate.max(1) as f64, f64::from(mtu.max(1)));
        let most = (rate * DEEPEST.as_secs_f64()).clamp(LEAST_BURST * mtu, LARGEST_BURST * mtu);
        let elapsed = now.saturating_duration_since(self.filled_at);
        self.filled_at = now;
        self.tokens = (self.tokens + rate * elapsed.as_secs_f64()).min(most);
        self.waits_until = None;
        // A byte is forgiven: what was waited for may be less than that short.
        if self.tokens + 1.0 >= mtu {
            return Some(((self.tokens + 1.0) / mtu) as usize);
        }
        // Not datagram by datagram: a timer and a system call for each is what batches are there to save.
        let wanted = (rate * QUANTUM.as_secs_f64()).clamp(mtu, most);
        let hold = Duration::from_secs_f64((wanted - self.tokens) / rate).max(SHORTEST_HOLD);
        if hold > LONGEST_HOLD {
            // Too slow a path for whole datagrams in time: one leaves, and the next waits the longer for it.
            self.waits_until = Some(now + hold.min(LONGEST_WAIT));
            return (self.tokens >= 0.0).then_some(1);
        }
        self.waits_until = Some(now + hold);
        None
    }

    /// So many bytes left.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.tokens -= bytes as f64;
    }

    /// The wait is over, if it is.
    pub(super) fn stop_waiting(&mut self, now: Instant) {
        self.waits_until = self.waits_until.filter(|until| *until > now);
    }

    /// When more may leave, if something waits for that.
    pub(super) fn waits_until(&self) -> Option<Instant> {
        self.waits_until
    }
}

/// What the bucket holds, in time; timers are not more exact than a millisecond or two.
const DEEPEST: Duration = Duration::from_millis(4);

/// What leaves at once at least, when it has to wait at all, in time.
const QUANTUM: Duration = Duration::from_millis(1);

/// Datagrams that the bucket holds, at least and at most.
const LEAST_BURST: f64 = 10.0;
const LARGEST_BURST: f64 = 256.0;

/// So that a wait is one whatever the clock's grain.
const SHORTEST_HOLD: Duration = Duration::from_micros(10);

/// Above it packets go one by one, as acknowledgements may be among them.
const LONGEST_HOLD: Duration = Duration::from_millis(10);

/// However slow the path is thought to be.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u16 = 1200;

    /// Bytes that leave in a second when there is always more, asked each `tick` or when the pacer says.
    fn in_a_second(rate: u64, tick: Duration) -> u64 {
        let start = Instant::now();
        let (mut pacer, mut now, mut sent) = (Pacer::new(start), start, 0);
        while now < start + Duration::from_secs(1) {
            while let Some(datagrams) = pacer.allow(now, rate, MTU) {
                sent += (datagrams * usize::from(MTU)) as u64;
                pacer.spend(datagrams * usize::from(MTU));
            }
            now = pacer.waits_until().unwrap_or(now).max(now + tick);
        }
        sent
    }

    #[test]
    fn the_rate_is_kept_with_exact_timers_and_with_coarse_ones() {
        for rate in [10_000, 1_000_000, 100_000_000] {
            for tick in [Duration::from_micros(50), Duration::from_millis(2)] {
                let sent = in_a_second(rate, tick);
                let burst = (u64::from(MTU) * 10).max(rate / 200);
                assert!(sent <= rate + burst, "{sent} at {rate}, {tick:?}");
                assert!(sent + burst >= rate, "{sent} at {rate}, {tick:?}");
            }
        }
    }

    #[test]
    fn a_wait_is_over_when_its_time_has_come_and_not_before() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        while let Some(datagrams) = pacer.allow(start, 1_000_000, MTU) {
            pacer.spend(datagrams * usize::from(MTU));
        }
        let until = pacer.waits_until().expect("it waits");
        assert!(until > start && until <= start + Duration::from_millis(3));
        pacer.stop_waiting(start);
        assert_eq!(pacer.waits_until(), Some(until));
        pacer.stop_waiting(until);
        assert_eq!(pacer.waits_until(), None);
        assert!(pacer.allow(until, 1_000_000, MTU).is_some());
    }
}
