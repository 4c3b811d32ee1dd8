//! What one worker counts; the counts of all are added up when they have ended.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Failure, events::EventTally, latency::Latency};

/// Counts of a run. Everything in it that is measured is of the time after the warm-up.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests sent, those of the warm-up not among them.
    pub sent: u64,
    /// Whole responses with a status below 400.
    pub done: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that were sent and neither answered nor failed when the run ended.
    pub unfinished: u64,
    /// Requests that were due by the pace or by their number, and were not sent.
    pub unsent: u64,
    /// Requests of the warm-up, answered or not.
    pub warmup: u64,
    /// Connections that were begun.
    pub attempts: u64,
    /// Handshakes that were completed.
    pub handshakes: u64,
    /// Handshakes that failed.
    pub handshakes_failed: u64,
    /// Connections that ended while they were in use.
    pub lost: u64,
    /// GOAWAY frames.
    pub goaways: u64,
    /// Requests that were sent in 0-RTT packets, and those of them that the server took.
    pub early: u64,
    /// Connections whose 0-RTT the server took.
    pub early_accepted: u64,
    /// Connections whose 0-RTT the server refused.
    pub early_rejected: u64,
    /// Content received, in bytes.
    pub received: u64,
    /// Content sent, in bytes.
    pub uploaded: u64,
    /// How often each status came.
    pub status: BTreeMap<u16, u64>,
    /// What failed, by kind.
    pub failures: BTreeMap<&'static str, Kind>,
    /// From sending a request to the end of its response.
    pub service: Latency,
    /// From when a request was due to the end of its response.
    pub response: Latency,
    /// From sending a request to the first bytes of its response.
    pub first_byte: Latency,
    /// From when a request was due to its sending: what the pace lost, here or at the limit of streams.
    pub delay: Latency,
    /// From the start of a connection to the end of its handshake.
    pub handshake: Latency,
    /// The most requests that were under way at once on one connection.
    pub streams_at_once: u64,
    /// How often a connection wanted to send a request and the peer allowed no stream.
    pub limit_waits: u64,
    /// When the first measured request was sent.
    pub first_sent: Option<Instant>,
    /// When the last measured response or failure came.
    pub last_end: Option<Instant>,
    /// Of streams of events.
    pub events: EventTally,
    /// Of QUIC connections.
    pub quic: Quic,
}

/// How often one kind of failure came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// In all.
    pub count: u64,
    /// By code or status, where it has one. Beyond the first 32 codes of a worker they are in `count` alone.
    pub codes: BTreeMap<u64, u64>,
    /// The first one's text.
    pub first: String,
}

/// Figures of the QUIC connections, each as it was when it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quic {
    /// Connections.
    pub connections: u64,
    /// Our congestion controller.
    pub congestion: &'static str,
    /// Smoothed round-trip times, added up.
    pub rtt_sum: Duration,
    /// The shortest smoothed one.
    pub rtt_min: Duration,
    /// The longest smoothed one.
    pub rtt_max: Duration,
    /// The shortest of all round trips.
    pub rtt_least: Duration,
    /// Congestion windows, added up, in bytes.
    pub cwnd_sum: u64,
    /// The smallest, in bytes.
    pub cwnd_min: u64,
    /// The largest, in bytes.
    pub cwnd_max: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets of ours that were lost.
    pub lost_packets: u64,
    /// Times that a congestion window was cut.
    pub congestion_events: u64,
    /// Times that a path ceased to carry large packets.
    pub black_holes: u64,
    /// Bytes of UDP payload sent.
    pub sent_bytes: u64,
    /// Bytes of UDP payload received.
    pub received_bytes: u64,
    /// Datagrams that this machine dropped because the receive buffer was full.
    pub kernel_drops: u64,
}

impl Tally {
    /// A failure that is not of one request: the kind is counted, the requests are by [`Self::fail`].
    pub(super) fn note(&mut self, failure: &Failure) {
        self.note_many(failure, 1);
    }

    fn note_many(&mut self, failure: &Failure, count: u64) {
        let kind = self.failures.entry(failure.kind()).or_default();
        if kind.count == 0 {
            kind.first = failure.to_string();
        }
        kind.count += count;
        if let Some(code) = failure.code() {
            let known = kind.codes.len();
            match kind.codes.get_mut(&code) {
                Some(seen) => *seen += count,
                None if known < MOST_CODES => {
                    kind.codes.insert(code, count);
                }
                None => {}
            }
        }
    }

    /// Measured requests that failed alike.
    pub(super) fn fail(&mut self, failure: &Failure, count: u64, now: Instant) {
        self.failed += count;
        self.note_many(failure, count);
        self.last_end = Some(now);
    }

    /// Adds the counts of another worker.
    pub fn merge(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.sent, other.sent),
            (&mut self.done, other.done),
            (&mut self.failed, other.failed),
            (&mut self.unfinished, other.unfinished),
            (&mut self.unsent, other.unsent),
            (&mut self.warmup, other.warmup),
            (&mut self.attempts, other.attempts),
            (&mut self.handshakes, other.handshakes),
            (&mut self.handshakes_failed, other.handshakes_failed),
            (&mut self.lost, other.lost),
            (&mut self.goaways, other.goaways),
            (&mut self.early, other.early),
            (&mut self.early_accepted, other.early_accepted),
            (&mut self.early_rejected, other.early_rejected),
            (&mut self.received, other.received),
            (&mut self.uploaded, other.uploaded),
            (&mut self.limit_waits, other.limit_waits),
        ] {
            *sum += more;
        }
        self.streams_at_once = self.streams_at_once.max(other.streams_at_once);
        for (status, count) in &other.status {
            *self.status.entry(*status).or_default() += count;
        }
        for (name, kind) in &other.failures {
            self.failures.entry(name).or_default().merge(kind);
        }
        self.service.merge(&other.service);
        self.response.merge(&other.response);
        self.first_byte.merge(&other.first_byte);
        self.delay.merge(&other.delay);
        self.handshake.merge(&other.handshake);
        self.first_sent = [self.first_sent, other.first_sent].into_iter().flatten().min();
        self.last_end = self.last_end.max(other.last_end);
        self.events.merge(&other.events);
        self.quic.merge(&other.quic);
    }
}

impl Kind {
    fn merge(&mut self, other: &Self) {
        if self.count == 0 {
            self.first.clone_from(&other.first);
        }
        self.count += other.count;
        for (code, count) in &other.codes {
            *self.codes.entry(*code).or_default() += count;
        }
    }
}

impl Quic {
    /// One connection that has ended.
    pub(super) fn add(&mut self, stats: &sterna_quic::Stats) {
        self.merge(&Self {
            connections: 1,
            congestion: stats.congestion,
            rtt_sum: stats.rtt,
            rtt_min: stats.rtt,
            rtt_max: stats.rtt,
            rtt_least: stats.min_rtt,
            cwnd_sum: stats.cwnd,
            cwnd_min: stats.cwnd,
            cwnd_max: stats.cwnd,
            sent_packets: stats.sent_packets,
            lost_packets: stats.lost_packets,
            congestion_events: stats.congestion_events,
            black_holes: stats.black_holes,
            sent_bytes: stats.sent_bytes,
            received_bytes: stats.received_bytes,
            kernel_drops: 0,
        });
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if other.connections > 0 {
            let is_first = self.connections == 0;
            self.rtt_min = if is_first { other.rtt_min } else { self.rtt_min.min(other.rtt_min) };
            self.rtt_least =
                if is_first { other.rtt_least } else { self.rtt_least.min(other.rtt_least) };
            self.cwnd_min =
                if is_first { other.cwnd_min } else { self.cwnd_min.min(other.cwnd_min) };
        }
        if self.connections == 0 {
            self.congestion = other.congestion;
        }
        self.connections += other.connections;
        self.rtt_sum += other.rtt_sum;
        self.rtt_max = self.rtt_max.max(other.rtt_max);
        self.cwnd_sum += other.cwnd_sum;
        self.cwnd_max = self.cwnd_max.max(other.cwnd_max);
        self.sent_packets += other.sent_packets;
        self.lost_packets += other.lost_packets;
        self.congestion_events += other.congestion_events;
        self.black_holes += other.black_holes;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.kernel_drops += other.kernel_drops;
    }
}

/// Codes of one kind that are counted apart in one worker: a server that makes up a new one each time must not grow the
/// list.
pub(super) const MOST_CODES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_counted_apart_up_to_a_bound() {
        let mut tally = Tally::default();
        let now = Instant::now();
        for code in 0..1000 {
            tally.fail(&Failure::Reset(code), 1, now);
        }
        tally.fail(&Failure::Reset(0), 4, now);
        let kind = &tally.failures["reset"];
        assert_eq!((kind.count, kind.codes.len()), (1004, MOST_CODES));
        assert_eq!(kind.codes[&0], 5);
        assert_eq!(kind.first, "stream reset with code 0x0");
    }

    #[test]
    fn the_smallest_of_a_merge_is_not_the_zero_of_no_connection() {
        let stats = |millis| sterna_quic::Stats {
            rtt: Duration::from_millis(millis),
            ..sterna_quic::Stats::default()
        };
        let (mut one, mut other) = (Quic::default(), Quic::default());
        other.add(&stats(7));
        other.add(&stats(3));
        one.merge(&other);
        one.merge(&Quic::default());
        assert_eq!((one.connections, one.rtt_min.as_millis(), one.rtt_max.as_millis()), (2, 3, 7));
    }
}
