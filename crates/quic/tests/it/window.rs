//! The receive window of a server's connections, on the simulated network.

use std::time::Duration;

use bytes::Bytes;
use sterna_quic::{
    Config, Event, StreamId,
    sim::{Link, Network},
};

use crate::peer::{Peer, configs, payload};

type World = Network<Peer, Peer>;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A client that sends `requests` over 100 ms, to a server that ignores streams.
fn world(server: Config, requests: Vec<Bytes>, rate: Option<u64>, ignored: &[StreamId]) -> World {
    // What is ignored is not answered either.
    let is_one_way = ignored.is_empty();
    let (mut config, mut client) = configs();
    config.transport = server;
    client.transport.connection_window = 64 * MIB;
    client.transport.stream_window = 64 * MIB;
    let application = Peer { ignored: ignored.iter().copied().collect(), ..Peer::default() };
    let mut network = Network::new(3, &config, [application]).unwrap();
    network.up = Link { delay: 50 * MS, rate, queue: MIB, ..Link::default() };
    network.down = Link { delay: 50 * MS, ..Link::default() };
    network.add_client(Peer { requests, is_one_way, ..Peer::default() });
    network.connect(0, &client).unwrap();
    network
}

fn answers(network: &mut World) -> usize {
    network.client(0).application().answers.len()
}

fn is_acknowledged(network: &mut World) -> bool {
    network.client(0).application().events().any(|event| matches!(event, Event::Finished(_)))
}

/// What the server has received, and its window.
fn received(network: &mut World) -> (u64, u64) {
    let key = network.server(0).application().key();
    let (_, connection) = network.server(0).connection(key).unwrap();
    (connection.stats().received_bytes, connection.receive_window().unwrap())
}

fn starting_at(initial_connection_window: u64) -> Config {
    Config { initial_connection_window, ..Config::default() }
}

#[test]
fn a_window_that_begins_small_costs_a_fast_reader_no_time() {
    for (rate, bytes) in [(Some(12_500_000), 10 * MIB), (Some(50_000_000), 20 * MIB)] {
        let [grown, whole] = [256 * KIB, 15 * MIB].map(|initial| {
            let upload = vec![payload(1, usize::try_from(bytes).unwrap())];
            let mut network = world(starting_at(initial), upload, rate, &[]);
            assert!(network.run_until(60 * SECOND, is_acknowledged));
            network.elapsed()
        });
        eprintln!("{bytes} bytes at {rate:?}: {grown:?}, with a window of 15 MiB {whole:?}");
        assert!(grown <= whole + whole / 50, "{grown:?} with {rate:?}, {whole:?} with all of it");
    }
}

#[test]
fn a_reader_that_is_slow_is_sent_little_more_than_it_reads() {
    // A narrow link is as good as a slow reader: half a window takes longer than two round trips.
    let mut network = world(Config::default(), vec![payload(1, 2 << 20)], Some(300_000), &[]);
    network.up.queue = 64 * KIB;
    network.run_for(5 * SECOND);
    let (bytes, window) = received(&mut network);
    assert!(bytes > MIB, "{bytes}");
    assert!(window <= 512 * KIB, "{window}: four times what is under way, with what queues");
}

#[test]
fn streams_that_nobody_reads_hold_up_no_other() {
    let ignored = [StreamId(0), StreamId(4)];
    let big = payload(1, 5 << 20);
    let mut network =
        world(Config::default(), vec![big.clone(), big, payload(2, 1000)], None, &ignored);
    network.run_for(10 * SECOND);
    let (bytes, window) = received(&mut network);
    assert!(bytes > 10 * MIB && window <= 15 * MIB, "{bytes} with {window}");
    network.client(0).application().extra = vec![payload(3, 200_000)];
    let key = network.client(0).application().key();
    network.client(0).touch(key);
    assert!(
        network.run_until(60 * SECOND, |network| answers(network) == 2),
        "the others are answered"
    );
}

#[test]
fn what_waits_unread_stays_below_the_allowance() {
    let mut network = world(Config::default(), vec![payload(1, 5 << 20)], None, &[StreamId(0)]);
    network.server(0).application().allowance = Some(MIB);
    network.run_for(10 * SECOND);
    let (bytes, window) = received(&mut network);
    assert!(window <= MIB && window > MIB / 2, "{window}");
    assert!(bytes > window && bytes < window * 6 / 5, "{bytes} with {window}");
}

#[test]
fn what_was_granted_becomes_less_as_it_is_used() {
    let mut network = world(Config::default(), vec![payload(1, 20 << 20)], Some(12_500_000), &[]);
    network.server(0).application().allowance = Some(8 * MIB);
    let granted = |network: &mut World| network.server(0).application().granted;
    assert!(network.run_until(2 * SECOND, |network| granted(network) > 3 * MIB));
    network.server(0).application().allowance = Some(MIB);
    network.run_for(100 * MS);
    assert!(granted(&mut network) > MIB, "the client has it");
    assert!(network.run_until(2 * SECOND, |network| granted(network) <= MIB - 256 * KIB));
    assert!(network.run_until(10 * SECOND, is_acknowledged), "and it goes on");
}
