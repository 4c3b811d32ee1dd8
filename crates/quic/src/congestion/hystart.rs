//! HyStart++ (RFC 9406): leaves slow start when the round-trip time grows, before the queue is full.

use std::time::Duration;

/// The state of one slow start.
#[derive(Clone, Debug)]
pub(super) struct HyStart {
    phase: Phase,
    /// Smallest round-trip time of the round before, and of this one.
    last: Option<Duration>,
    current: Option<Duration>,
    samples: u32,
    /// The round ends when this packet is acknowledged.
    round_end: Option<u64>,
    last_sent: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    SlowStart,
    /// Conservative slow start: the delay grew to `baseline`, which may have been an accident.
    Conservative {
        baseline: Duration,
        rounds: u32,
    },
}

impl HyStart {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::SlowStart,
            last: None,
            current: None,
            samples: 0,
            round_end: None,
            last_sent: 0,
        }
    }

    pub(super) fn on_sent(&mut self, last_packet: u64) {
        self.last_sent = last_packet;
        self.round_end.get_or_insert(last_packet);
    }

    /// One packet's round-trip time.
    pub(super) fn on_sample(&mut self, rtt: Duration) {
        let current = self.current.map_or(rtt, |least| least.min(rtt));
        self.current = Some(current);
        self.samples += 1;
        // req: 9406-4.2-samples
        if self.samples < SAMPLES {
            return;
        }
        match self.phase {
            Phase::SlowStart => {
                if self.last.is_some_and(|last| current >= last + threshold(last)) {
                    self.phase = Phase::Conservative { baseline: current, rounds: 0 };
                }
            }
            Phase::Conservative { baseline, .. } => {
                // req: 9406-4.2-back
                if current < baseline {
                    self.phase = Phase::SlowStart;
                }
            }
        }
    }

    /// How much the window grows for so many bytes acknowledged.
    pub(super) fn growth(&self, bytes: u64) -> u64 {
        match self.phase {
            Phase::SlowStart => bytes,
            // req: 9406-4.2-conservative-growth
            Phase::Conservative { .. } => bytes / GROWTH_DIVISOR,
        }
    }

    /// Packets to `largest` are acknowledged; true when slow start is over.
    pub(super) fn on_acks_end(&mut self, largest: Option<u64>) -> bool {
        if largest < self.round_end || self.round_end.is_none() {
            return false;
        }
        self.round_end = Some(self.last_sent + 1);
        self.last = self.current.take();
        self.samples = 0;
        match &mut self.phase {
            Phase::SlowStart => false,
            Phase::Conservative { rounds, .. } => {
                *rounds += 1;
                // req: 9406-4.2-exit
                *rounds >= CONSERVATIVE_ROUNDS
            }
        }
    }
}

/// By how much a round has to be slower than the one before (RFC 9406 §4.2).
fn threshold(last: Duration) -> Duration {
    // req: 9406-4.2-delay-threshold
    (last / 8).clamp(MIN_THRESHOLD, MAX_THRESHOLD)
}

/// The tuning values of RFC 9406 §4.3.
const MIN_THRESHOLD: Duration = Duration::from_millis(4);
const MAX_THRESHOLD: Duration = Duration::from_millis(16);
const SAMPLES: u32 = 8;
const GROWTH_DIVISOR: u64 = 4;
const CONSERVATIVE_ROUNDS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// One round of `SAMPLES` packets; true when slow start is over.
    fn round(hystart: &mut HyStart, packet: &mut u64, rtt: Duration) -> bool {
        *packet += u64::from(SAMPLES);
        hystart.on_sent(*packet);
        for _ in 0..SAMPLES {
            hystart.on_sample(rtt);
        }
        hystart.on_acks_end(Some(*packet))
    }

    #[test]
    // req: 9406-4.2-delay-threshold
    // req: 9406-4.2-conservative-growth
    fn a_round_slower_by_the_threshold_starts_the_conservative_phase() {
        let (mut hystart, mut packet) = (HyStart::new(), 0);
        round(&mut hystart, &mut packet, 80 * MS);
        round(&mut hystart, &mut packet, 90 * MS - Duration::from_nanos(1));
        assert_eq!(hystart.phase, Phase::SlowStart, "an eighth of 80 ms is 10 ms");

        let (mut hystart, mut packet) = (HyStart::new(), 0);
        round(&mut hystart, &mut packet, 80 * MS);
        round(&mut hystart, &mut packet, 90 * MS);
        assert_eq!(hystart.phase, Phase::Conservative { baseline: 90 * MS, rounds: 1 });
        assert_eq!(hystart.growth(4000), 1000);
    }

    #[test]
    // req: 9406-4.2-exit
    fn five_conservative_rounds_end_slow_start_and_four_do_not() {
        let (mut hystart, mut packet) = (HyStart::new(), 0);
        round(&mut hystart, &mut packet, 80 * MS);
        let ends: Vec<bool> = (0..5).map(|_| round(&mut hystart, &mut packet, 100 * MS)).collect();
        assert_eq!(ends, [false, false, false, false, true]);
    }

    #[test]
    // req: 9406-4.2-back
    fn a_faster_round_returns_to_slow_start() {
        let (mut hystart, mut packet) = (HyStart::new(), 0);
        round(&mut hystart, &mut packet, 80 * MS);
        round(&mut hystart, &mut packet, 100 * MS);
        round(&mut hystart, &mut packet, 99 * MS);
        assert_eq!(hystart.phase, Phase::SlowStart);
        assert_eq!(hystart.growth(4000), 4000);
    }

    #[test]
    // req: 9406-4.2-samples
    fn seven_samples_are_too_few_to_judge() {
        let mut hystart = HyStart::new();
        hystart.last = Some(80 * MS);
        for _ in 1..SAMPLES {
            hystart.on_sample(200 * MS);
        }
        assert_eq!(hystart.phase, Phase::SlowStart);
        hystart.on_sample(200 * MS);
        assert_eq!(hystart.phase, Phase::Conservative { baseline: 200 * MS, rounds: 0 });
    }
}
