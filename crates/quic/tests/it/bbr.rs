//! BBR on the simulated network: what it reaches, what it leaves for others, and what its phases do. All links here carry
//! 10 Mbit/s over 50 ms unless they say otherwise, and uploads fill them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sterna_quic::{
    Application, CloseReason, Config, Connection, ConnectionKey, Dir, Event, Read, Stats, StreamId,
    Write,
    congestion::Algorithm,
    sim::{Link, Network},
};

use crate::peer::configs;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// Of the link, in bytes for each second, and what fills it.
const RATE: u64 = 1_250_000;
const BDP: u64 = RATE / 20;

fn link() -> Link {
    Link { rate: Some(RATE), delay: 25 * MS, queue: BDP, ..Link::default() }
}

type World = Network<Bulk, Bulk>;

/// Sends as much as it is allowed to, or so much at each tick; counts what comes.
#[derive(Debug, Default)]
struct Bulk {
    is_sender: bool,
    /// At most so many bytes each 50 ms, while there is such a limit.
    trickle: Option<u64>,
    ticks_at: Option<Instant>,
    key: Option<ConnectionKey>,
    stream: Option<StreamId>,
    due: u64,
    /// By the stream's opener, as they came.
    received: Vec<(ConnectionKey, u64)>,
}

impl Bulk {
    fn sender() -> Self {
        Self { is_sender: true, ..Self::default() }
    }

    fn received(&self) -> u64 {
        self.received.iter().map(|(_, bytes)| bytes).sum()
    }
}

impl Application for Bulk {
    type State = ();

    fn opened(&mut self, connection: &mut Connection, now: Instant) {
        self.key = Some(connection.key());
        self.ticks_at = self.trickle.map(|_| now);
        self.received.push((connection.key(), 0));
    }

    fn run(&mut self, (): &mut (), connection: &mut Connection, now: Instant) {
        while let Some(event) = connection.poll_event() {
            match event {
                Event::Connected if self.is_sender => self.stream = connection.open(Dir::Uni),
                Event::Readable(id) => {
                    while let Read::Data(data) = connection.read(id, usize::MAX) {
                        let key = connection.key();
                        let place = self.received.iter_mut().find(|(of, _)| *of == key);
                        place.unwrap().1 += data.len() as u64;
                    }
                }
                _ => {}
            }
        }
        match self.trickle {
            None => (self.due, self.ticks_at) = (u64::MAX, None),
            Some(bytes) if self.ticks_at.is_some_and(|at| at <= now) => {
                self.due = bytes;
                self.ticks_at = Some(now + 50 * MS);
            }
            Some(_) => {}
        }
        let Some(stream) = self.stream else { return };
        while self.due > 0 && connection.headroom() > 0 {
            let length = self.due.min(CHUNK.len() as u64);
            let mut chunk = [Bytes::from_static(CHUNK).slice(..length as usize)];
            let Write::Taken(taken) = connection.write(stream, &mut chunk) else { return };
            self.due -= taken as u64;
        }
    }

    fn timeout(&self, (): &()) -> Option<Instant> {
        self.ticks_at
    }

    fn closed(&mut self, (): (), _reason: &CloseReason, _now: Instant) {}
}

static CHUNK: &[u8] = &[0x5a; 4 * 1024];

/// Senders over one link to one server.
fn world(seed: u64, up: Link, senders: impl IntoIterator<Item = (Bulk, Algorithm)>) -> World {
    let (mut server, mut client) = configs();
    server.transport = Config { idle_timeout: 10 * SECOND, ..Config::default() };
    let mut network = Network::new(seed, &server, [Bulk::default()]).unwrap();
    network.up = up;
    network.down = Link { rate: None, loss: 0.0, ..up };
    for (sender, algorithm) in senders {
        client.transport = Config { congestion: algorithm.into(), ..Config::default() };
        let client_at = network.add_client(sender);
        network.connect(client_at, &client).unwrap();
    }
    network
}

fn one(seed: u64, up: Link) -> World {
    world(seed, up, [(Bulk::sender(), Algorithm::Bbr)])
}

fn stats(network: &mut World, client: usize) -> Stats {
    let endpoint = network.client(client);
    let key = endpoint.application().key.unwrap();
    endpoint.connection(key).unwrap().1.stats()
}

/// Bytes for each second that arrive from now on.
fn goodput(network: &mut World, span: Duration) -> f64 {
    let before = network.server(0).application().received();
    network.run_for(span);
    (network.server(0).application().received() - before) as f64 / span.as_secs_f64()
}

#[test]
fn random_loss_costs_little_more_than_what_it_takes() {
    for (loss, least) in [(0.0, 0.9), (0.01, 0.85), (0.05, 0.75)] {
        let mut network = one(1, Link { loss, ..link() });
        network.run_for(2 * SECOND);
        let part = goodput(&mut network, 8 * SECOND) / RATE as f64;
        assert!(part > least, "{part:.2} of the link at {loss} of loss");
    }
}

#[test]
fn a_queue_of_a_tenth_of_what_fills_the_pipe_is_enough_for_most_of_the_rate() {
    let mut network = one(1, Link { queue: BDP / 10, ..link() });
    network.run_for(2 * SECOND);
    let part = goodput(&mut network, 8 * SECOND) / RATE as f64;
    let Stats { lost_packets, sent_packets, .. } = stats(&mut network, 0);
    assert!(part > 0.85, "{part:.2} of the link");
    assert!(lost_packets * 20 < sent_packets, "{lost_packets} of {sent_packets} lost");
}

#[test]
fn the_queue_stays_short_however_deep_it_is() {
    let mut network = one(1, Link { queue: 20 * BDP, ..link() });
    network.run_for(2 * SECOND);
    let (mut sum, mut count) = (Duration::ZERO, 0);
    while network.elapsed() < 12 * SECOND {
        network.run_for(20 * MS);
        sum += stats(&mut network, 0).rtt;
        count += 1;
    }
    assert!(sum / count < 65 * MS, "{:?} on 50 ms of round trip", sum / count);
}

#[test]
fn two_flows_share_a_link_and_neither_starves() {
    for loss in [0.0, 0.01] {
        let flows = [Algorithm::Bbr, Algorithm::Bbr].map(|bbr| (Bulk::sender(), bbr));
        let mut network = world(3, Link { loss, ..link() }, flows);
        let of = |network: &mut World| -> Vec<u64> {
            network.server(0).application().received.iter().map(|(_, bytes)| *bytes).collect()
        };
        network.run_for(10 * SECOND);
        let before = of(&mut network);
        network.run_for(10 * SECOND);
        let shares = of(&mut network).into_iter().zip(before).map(|(after, before)| after - before);
        let shares: Vec<f64> = shares.map(|bytes| bytes as f64 / (10 * RATE) as f64).collect();
        assert!(shares.iter().all(|share| *share > 0.25), "{shares:.2?} at {loss} of loss");
        assert!(shares.iter().sum::<f64>() > 0.8, "{shares:.2?} at {loss} of loss");
    }
}

#[test]
fn startup_ends_near_the_rate_of_the_link_and_without_a_loss_where_the_queue_holds_twice_the_pipe()
{
    let mut network = one(1, Link { queue: 2 * BDP, ..link() });
    network.run_for(SECOND);
    let Stats { pacing_rate, lost_packets, .. } = stats(&mut network, 0);
    let rate = pacing_rate.expect("BBR has a rate") as f64 / RATE as f64;
    assert_eq!(lost_packets, 0);
    assert!((0.8..1.3).contains(&rate), "{rate:.2} of the link");
}

#[test]
fn what_an_application_did_not_send_is_not_taken_for_the_rate_of_the_path() {
    let mut network =
        world(1, link(), [(Bulk { trickle: Some(10_000), ..Bulk::sender() }, Algorithm::Bbr)]);
    let trickled = goodput(&mut network, 8 * SECOND);
    assert!(trickled < 0.2 * RATE as f64, "{trickled:.0} bytes a second");
    // The path has not been seen full: the rate grows, as if it had just begun.
    network.client(0).application().trickle = None;
    network.run_for(SECOND);
    let part = goodput(&mut network, SECOND) / RATE as f64;
    assert!(part > 0.85, "{part:.2} of the link");
}

#[test]
fn the_round_trip_is_probed_within_six_seconds_and_what_was_in_flight_comes_back() {
    // A flow that has the queue to itself never sees it empty otherwise.
    let flows = [Algorithm::Bbr, Algorithm::Bbr].map(|bbr| (Bulk::sender(), bbr));
    let mut network = world(1, Link { queue: 4 * BDP, ..link() }, flows);
    network.run_for(2 * SECOND);
    let (mut least, mut at) = (u64::MAX, network.elapsed());
    while network.elapsed() < 12 * SECOND {
        network.run_for(10 * MS);
        let window = stats(&mut network, 0).cwnd;
        if window < least {
            (least, at) = (window, network.elapsed());
        }
    }
    // Half of what the flow's own rate fills, four datagrams at least.
    assert!(least < BDP / 2, "{least} bytes at {at:?}");
    assert!(stats(&mut network, 0).min_rtt < 55 * MS);
    network.run_for(SECOND);
    let window = stats(&mut network, 0).cwnd;
    assert!(window > least * 3 / 2, "{window} after {least}");
}

#[test]
fn packets_leave_at_the_rate_that_the_controller_has_and_not_in_bursts() {
    let mut network = one(1, Link { queue: 4 * BDP, ..link() });
    network.run_for(3 * SECOND);
    let (mut paced, mut sent, mut largest) = (0.0, 0, 0);
    for _ in 0..40 {
        let (before, already) = (stats(&mut network, 0), network.trace.len());
        network.run_for(50 * MS);
        let rate = before.pacing_rate.expect("BBR has a rate") as f64;
        paced += rate * 0.05;
        let left: Vec<(Duration, usize)> = network.trace[already..]
            .iter()
            .filter(|datagram| datagram.is_up)
            .map(|datagram| (datagram.at, datagram.bytes))
            .collect();
        sent += left.iter().map(|(_, bytes)| bytes).sum::<usize>();
        for (at, _) in &left {
            let within = left.iter().filter(|(other, _)| *other >= *at && *other < *at + 2 * MS);
            largest = largest.max(within.map(|(_, bytes)| bytes).sum());
        }
    }
    let part = sent as f64 / paced;
    assert!((0.8..1.2).contains(&part), "{part:.2} of the rate");
    // Ten datagrams are the least that a bucket holds, and two milliseconds at the rate come on top.
    assert!(largest < 22_000, "{largest} bytes within two milliseconds");
}
