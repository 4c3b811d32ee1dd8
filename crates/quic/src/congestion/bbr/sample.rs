//! The delivery rate (draft-ietf-ccwg-bbr §4.1): how fast what was sent has arrived.
//!
//! Each batch of packets that leaves remembers what had been delivered by then. When one of its packets is acknowledged, the
//! difference over the longer of the time that sending took and the time that acknowledging took is a sample. The longer, as
//! acknowledgements may come bunched, which would look like a rate that the path does not have.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::Ack;

/// Gathers samples. Batches are known by their time of departure, which the engine tells with each acknowledgement.
#[derive(Clone, Debug)]
pub(super) struct Sampler {
    delivered: u64,
    delivered_at: Instant,
    /// When the packet left that was acknowledged last, of those that left latest.
    first_sent_at: Instant,
    lost: u64,
    /// Samples of packets that left before so much was delivered are too low: there was nothing to send.
    app_limited_until: Option<u64>,
    flights: VecDeque<Flight>,
    batch: Option<Batch>,
}

/// A batch of packets on its way.
#[derive(Clone, Copy, Debug)]
struct Flight {
    sent: Instant,
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    app_limited: bool,
    in_flight: u64,
    lost: u64,
}

/// Acknowledgements that came together.
#[derive(Clone, Copy, Debug)]
struct Batch {
    newest: Option<Flight>,
    newly_acked: u64,
    rtt: Duration,
}

/// What a batch of acknowledgements says of the path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Bytes for each second; 0 when the sample says nothing.
    pub(super) rate: f64,
    /// Bytes delivered between the departure of the newest packet and its acknowledgement.
    pub(super) delivered: u64,
    /// Bytes delivered before it left.
    pub(super) prior_delivered: u64,
    /// The application was the limit.
    pub(super) app_limited: bool,
    /// Bytes in flight when it left, with itself.
    pub(super) tx_in_flight: u64,
    /// Bytes acknowledged by this batch.
    pub(super) newly_acked: u64,
    /// The shortest round trip in it.
    pub(super) rtt: Duration,
}

/// What was in flight when a packet left that is lost, and what of it was lost until now.
#[derive(Clone, Copy, Debug)]
pub(super) struct LostFlight {
    pub(super) in_flight: u64,
    pub(super) lost: u64,
    pub(super) app_limited: bool,
}

impl Sampler {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            lost: 0,
            app_limited_until: None,
            flights: VecDeque::new(),
            batch: None,
        }
    }

    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(super) fn is_app_limited(&self) -> bool {
        self.app_limited_until.is_some()
    }

    /// There was nothing to send: what is in flight now proves no limit of the path.
    pub(super) fn limit_by_application(&mut self, in_flight: u64) {
        self.app_limited_until = Some((self.delivered + in_flight).max(1));
    }

    /// Packets left; `in_flight` is what is under way with them.
    pub(super) fn on_sent(
        &mut self,
        now: Instant,
        in_flight: u64,
        was_idle: bool,
        min_rtt: Duration,
    ) {
        if was_idle {
            (self.first_sent_at, self.delivered_at) = (now, now);
        }
        let apart = if min_rtt == Duration::MAX { Duration::ZERO } else { min_rtt / PARTS };
        let is_full = self.flights.len() >= MAX_FLIGHTS;
        let is_same = |last: &&mut Flight| is_full || now <= last.sent + apart;
        if let Some(last) = self.flights.back_mut().filter(is_same) {
            last.in_flight = last.in_flight.max(in_flight);
            return;
        }
        self.flights.push_back(Flight {
            sent: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            app_limited: self.is_app_limited(),
            in_flight,
            lost: self.lost,
        });
    }

    pub(super) fn on_ack(&mut self, ack: &Ack) {
        self.delivered += ack.bytes;
        self.delivered_at = ack.now;
        let flight = self.flight_of(ack.sent);
        let rtt = ack.now.saturating_duration_since(ack.sent);
        let batch =
            self.batch.get_or_insert(Batch { newest: None, newly_acked: 0, rtt: Duration::MAX });
        batch.newly_acked += ack.bytes;
        batch.rtt = batch.rtt.min(rtt);
        if flight.is_some_and(|flight| batch.newest.is_none_or(|newest| flight.sent > newest.sent))
        {
            batch.newest = flight;
        }
    }

    /// The batch of acknowledgements is over.
    pub(super) fn finish(&mut self, now: Instant, min_rtt: Duration) -> Option<Rate> {
        let Batch { newest, newly_acked, rtt } = self.batch.take()?;
        let newest = newest?;
        if self.app_limited_until.is_some_and(|until| self.delivered > until) {
            self.app_limited_until = None;
        }
        self.first_sent_at = newest.sent;
        let sending = newest.sent.saturating_duration_since(newest.first_sent_at);
        let acknowledging = now.saturating_duration_since(newest.delivered_at);
        let span = sending.max(acknowledging);
        let delivered = self.delivered - newest.delivered;
        // Shorter than any round trip: the acknowledgements were bunched, and say nothing.
        let is_telling = !span.is_zero() && (min_rtt == Duration::MAX || span >= min_rtt);
        let rate = if is_telling { delivered as f64 / span.as_secs_f64() } else { 0.0 };
        self.forget_before(newest.sent);
        Some(Rate {
            rate,
            delivered,
            prior_delivered: newest.delivered,
            app_limited: newest.app_limited,
            tx_in_flight: newest.in_flight,
            newly_acked,
            rtt,
        })
    }

    /// Packets were lost, the latest of them sent then.
    pub(super) fn on_loss(&mut self, sent: Instant, bytes: u64) -> Option<LostFlight> {
        self.lost += bytes;
        let flight = self.flight_of(sent)?;
        let lost = self.lost - flight.lost;
        let Flight { in_flight, app_limited, .. } = flight;
        Some(LostFlight { in_flight, lost, app_limited })
    }

    /// The flight of a packet: the latest that began no later than it left.
    fn flight_of(&self, sent: Instant) -> Option<Flight> {
        let after = self.flights.partition_point(|flight| flight.sent <= sent);
        self.flights.get(after.checked_sub(1)?).copied()
    }

    /// What left so long before a packet that has arrived is either acknowledged or will soon be lost; some of it stays for
    /// the losses that are noticed late.
    fn forget_before(&mut self, sent: Instant) {
        while self.flights.len() > LATE_FLIGHTS
            && self.flights.get(LATE_FLIGHTS).is_some_and(|flight| flight.sent < sent)
        {
            self.flights.pop_front();
        }
    }
}

/// What leaves within such a part of a round trip is one flight.
const PARTS: u32 = 32;

/// Flights that are remembered at most. What leaves beyond belongs to the last of them, which makes its samples coarser.
const MAX_FLIGHTS: usize = 512;

/// Flights older than one that has arrived, which are remembered for losses.
const LATE_FLIGHTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    fn ack(now: Instant, sent: Instant, bytes: u64) -> Ack {
        Ack { now, sent, bytes, app_limited: false, rtt: RTT }
    }

    #[test]
    fn a_steady_flow_is_sampled_at_its_rate() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        let tick = Duration::from_millis(10);
        let mut last = 0.0;
        // 1000 bytes each 10 ms, acknowledged 100 ms later.
        for i in 0..40u32 {
            let now = start + tick * i;
            sampler.on_sent(now, 10_000, i == 0, Duration::MAX);
            if i >= 10 {
                sampler.on_ack(&ack(now, now - RTT, 1000));
                last = sampler.finish(now, RTT).expect("a sample").rate;
            }
        }
        assert!((99_000.0..=111_000.0).contains(&last), "{last} bytes a second");
    }

    #[test]
    fn bunched_acknowledgements_are_no_higher_rate() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        let tick = Duration::from_millis(10);
        for i in 0..20u32 {
            sampler.on_sent(start + tick * i, 1000 * u64::from(i + 1), i == 0, Duration::MAX);
        }
        // All of them at once: sending took 190 ms.
        let now = start + Duration::from_millis(290);
        for i in 0..20u32 {
            sampler.on_ack(&ack(now, start + tick * i, 1000));
        }
        let rate = sampler.finish(now, RTT).expect("a sample").rate;
        assert!(rate <= 20_000.0 / 0.19 + 1.0, "{rate} bytes a second");
    }

    #[test]
    fn what_left_while_the_application_had_nothing_says_so_until_it_has_arrived() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        sampler.on_sent(start, 1000, true, RTT);
        sampler.limit_by_application(1000);
        let later = start + Duration::from_millis(10);
        sampler.on_sent(later, 2000, false, RTT);
        for (sent, is_limited) in [(start, false), (later, true)] {
            let now = sent + RTT;
            sampler.on_ack(&ack(now, sent, 1000));
            let rate = sampler.finish(now, RTT).expect("a sample");
            assert_eq!(rate.app_limited, is_limited);
        }
        assert!(!sampler.is_app_limited());
    }

    #[test]
    fn flights_are_bounded_and_what_leaves_beyond_still_gives_samples() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        let mut last = start;
        for i in 0..2 * MAX_FLIGHTS as u64 {
            last = start + Duration::from_micros(i);
            sampler.on_sent(last, i + 1, false, Duration::MAX);
        }
        assert_eq!(sampler.flights.len(), MAX_FLIGHTS);
        sampler.on_ack(&ack(last + RTT, last, 1));
        let rate = sampler.finish(last + RTT, RTT).expect("a sample");
        assert_eq!(rate.tx_in_flight, 2 * MAX_FLIGHTS as u64);
        assert!(sampler.flights.len() <= LATE_FLIGHTS + 1, "what is older is forgotten");
    }
}
