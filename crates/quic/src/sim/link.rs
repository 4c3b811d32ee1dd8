//! One direction of the network: when, and whether, a datagram arrives.

use std::time::{Duration, Instant};

use rand::{Rng, rngs::StdRng};

/// What a link does to datagrams. The default is 10 ms of delay and nothing else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// From one end to the other.
    pub delay: Duration,
    /// Up to this much more, evenly distributed: more than the gap between two datagrams lets them
    /// overtake each other.
    pub jitter: Duration,
    /// Part of the datagrams that is lost, from 0 to 1.
    pub loss: f64,
    /// Part of the datagrams that arrives twice, from 0 to 1.
    pub duplicate: f64,
    /// Part of the datagrams that is marked as having met congestion, from 0 to 1, of those whose
    /// sender understands such marks (RFC 3168 §5).
    pub mark: f64,
    /// Bytes for each second; `None` for no limit.
    pub rate: Option<u64>,
    /// Bytes that may wait for the rate; what comes on top is lost.
    pub queue: u64,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicate: 0.0,
            mark: 0.0,
            rate: None,
            queue: 64 * 1024,
        }
    }
}

/// What a link remembers: when it has sent all that waits.
#[derive(Debug, Default)]
pub(super) struct Line {
    free: Option<Instant>,
}

impl Link {
    /// When a datagram that is sent now arrives: never, once or twice.
    pub(super) fn carry(
        &self,
        now: Instant,
        bytes: usize,
        line: &mut Line,
        rng: &mut StdRng,
    ) -> impl Iterator<Item = Instant> + use<> {
        // Chance is asked the same number of times for each datagram, so that changing one figure
        // of a test leaves the fate of the others as it was.
        let (loss, duplicate): (f64, f64) = (rng.random(), rng.random());
        let jitters =
            [rng.random::<f64>(), rng.random::<f64>()].map(|part| self.jitter.mul_f64(part));
        let departure = self.depart(now, bytes as u64, line).filter(|_| loss >= self.loss);
        let copies = 1 + usize::from(duplicate < self.duplicate);
        let delay = self.delay;
        departure
            .into_iter()
            .flat_map(move |departure| jitters.map(|jitter| departure + delay + jitter))
            .take(copies)
    }

    /// The ECN bits with which a datagram arrives that was sent with `ecn`.
    pub(super) fn mark(&self, ecn: u8, rng: &mut StdRng) -> u8 {
        let is_marked = rng.random::<f64>() < self.mark;
        if is_marked && ecn != 0 { CONGESTION_EXPERIENCED } else { ecn }
    }

    fn depart(&self, now: Instant, bytes: u64, line: &mut Line) -> Option<Instant> {
        let Some(rate) = self.rate else { return Some(now) };
        let free = line.free.map_or(now, |free| free.max(now));
        let waiting = (free - now).as_secs_f64() * rate as f64;
        if waiting > self.queue as f64 {
            return None;
        }
        let departure = free + Duration::from_secs_f64(bytes as f64 / rate as f64);
        line.free = Some(departure);
        Some(departure)
    }
}

const CONGESTION_EXPERIENCED: u8 = 0b11;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_rate_spaces_datagrams_and_a_full_queue_loses_them() {
        let link = Link { rate: Some(1000), queue: 2000, delay: Duration::ZERO, ..Link::default() };
        let (now, mut line, mut rng) = (Instant::now(), Line::default(), StdRng::seed_from_u64(1));
        let mut send = || link.carry(now, 1000, &mut line, &mut rng).next().map(|at| at - now);
        let arrivals: Vec<_> = (0..4).map(|_| send()).collect();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(arrivals, [seconds(1), seconds(2), seconds(3), None]);
    }

    #[test]
    fn loss_and_duplication_are_as_frequent_as_asked_for() {
        let link = Link { loss: 0.1, duplicate: 0.5, ..Link::default() };
        let (now, mut line, mut rng) = (Instant::now(), Line::default(), StdRng::seed_from_u64(1));
        let copies: Vec<usize> =
            (0..10_000).map(|_| link.carry(now, 1, &mut line, &mut rng).count()).collect();
        let share = |count| copies.iter().filter(|&&copies| copies == count).count();
        assert!((900..1100).contains(&share(0)), "{} of 10000 lost", share(0));
        assert!((4300..4700).contains(&share(2)), "{} of 10000 twice", share(2));
    }
}
