//! Clients that come from another address in the middle of what they do, on the simulated network.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use sterna_quic::{
    CloseReason, Config, Counters, Event,
    sim::{Link, Network, Steering},
};

use crate::peer::{Peer, configs, payload};

type World = Network<Peer, Peer>;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A client that has `length` bytes echoed, and is in the middle of it.
fn transfer(seed: u64, workers: usize, steering: Steering, link: Link, length: usize) -> World {
    transfer_by(Config::default(), seed, workers, steering, link, length)
}

fn transfer_by(
    transport: Config,
    seed: u64,
    workers: usize,
    steering: Steering,
    link: Link,
    length: usize,
) -> World {
    // Who only waits does not notice that its NAT forgot it; what it says next tells the server.
    let keep_alive = Some(500 * MS);
    begin(Config { keep_alive, ..transport }, seed, workers, steering, link, length)
}

fn begin(
    transport: Config,
    seed: u64,
    workers: usize,
    steering: Steering,
    link: Link,
    length: usize,
) -> World {
    let transport = Config { idle_timeout: 60 * SECOND, ..transport };
    let (mut server, mut client) = configs();
    (server.transport, client.transport) = (transport.clone(), transport);
    let servers = (0..workers).map(|_| Peer::default());
    let mut network: World = Network::new(seed, &server, servers).unwrap();
    network.add_client(Peer::default());
    let key = network.connect(0, &client).unwrap();
    network.steering = steering;
    // An address has to stay for the length of the handshake (RFC 9000 §9).
    let is_up = |network: &mut World| network.client(0).application().facts.is_some();
    assert!(network.run_until(20 * SECOND, is_up), "no handshake, seed {seed}");
    // So that the servers have it too.
    network.run_for(60 * MS);
    (network.up, network.down) = (link, link);
    network.client(0).application().extra.push(payload(1, length));
    network.client(0).touch(key);
    network
}

fn is_done(network: &mut World) -> bool {
    !network.client(0).application().answers.is_empty()
}

fn counters(network: &mut World, workers: usize) -> Counters {
    (0..workers).fold(Counters::default(), |mut sum, worker| {
        sum += network.server(worker).counters();
        sum
    })
}

/// The addresses that a server took for the client's own, in order.
fn validated(network: &mut World) -> Vec<SocketAddr> {
    let events = network.server(0).application().events();
    let validated = events.filter_map(|event| match event {
        Event::PathValidated { address } => Some(*address),
        _ => None,
    });
    validated.collect()
}

fn count(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn rebinds_in_the_middle_of_transfers_end_none_of_them() {
    let wanted = count("STERNA_REBINDS", 24);
    let (mut rebinds, mut transfers, mut longest) = (0, 0, Duration::ZERO);
    let mut sum = Counters::default();
    while rebinds < wanted {
        let seed = transfers;
        let mut chance = StdRng::seed_from_u64(seed);
        let workers = 1 + (seed % 2) as usize;
        let steering = [Steering::ByConnectionId, Steering::ByAddress][(seed / 2 % 2) as usize];
        let loss = [0.0, 0.01, 0.05, 0.1][(seed / 4 % 4) as usize];
        let delay = chance.random_range(5..150) * MS;
        let link = Link { loss, delay, jitter: 2 * MS, ..Link::default() };
        let mut network = transfer(seed, workers, steering, link, 200_000);
        for _ in 0..chance.random_range(1..4) {
            network.run_for(chance.random_range(1..200) * MS);
            if is_done(&mut network) {
                break;
            }
            let ip = [10, 9, 9, chance.random_range(1..3)];
            network.rebind(0, (ip, chance.random_range(1024..60_000)).into());
            rebinds += 1;
        }
        let is_whole = network.run_until(60 * SECOND, is_done);
        assert!(is_whole, "seed {seed}: {workers} workers, {steering:?}, {link:?}");
        let peer = network.client(0).application();
        assert!(peer.answers == [payload(1, 200_000).to_vec()], "seed {seed}: another echo");
        longest = longest.max(network.elapsed());
        sum += counters(&mut network, workers);
        transfers += 1;
    }
    println!(
        "{rebinds} rebinds in {transfers} transfers: none hung, the longest took {longest:.1?}"
    );
    println!(
        "{} moves seen, {} validated, {} failed",
        sum.migrations, sum.paths_validated, sum.paths_failed
    );
    assert!(sum.paths_validated * 2 > rebinds, "{sum:?}");
}

#[test]
// req: 9000-9.3-validates
// req: 9000-9.3.2-back-to-the-last-one
fn moves_are_counted_by_what_became_of_them() {
    let narrow = Link { rate: Some(200_000), ..Link::default() };
    let mut network = transfer(1, 1, Steering::ByConnectionId, narrow, 2_000_000);
    let of = |network: &mut World| {
        let Counters { migrations, rebinds, paths_validated, paths_failed, .. } =
            counters(network, 1);
        [migrations, rebinds, paths_validated, paths_failed]
    };
    network.rebind(0, ([10, 0, 0, 1], 4_444).into());
    network.run_for(2 * SECOND);
    assert_eq!(of(&mut network), [1, 1, 1, 0], "another port");
    network.rebind(0, ([10, 9, 9, 9], 4_444).into());
    network.run_for(2 * SECOND);
    assert_eq!(of(&mut network), [2, 1, 2, 0], "another address");
    network.claim(0, Some(([10, 6, 6, 6], 666).into()));
    network.run_for(3 * SECOND);
    network.claim(0, None);
    assert!(network.run_until(100 * SECOND, is_done));
    let [migrations, _, validated, failed] = of(&mut network);
    assert!(migrations >= 4 && validated == 2 && failed >= 1, "a claim: {:?}", of(&mut network));
    let addresses = network
        .server(0)
        .connections()
        .map(|(_, connection)| (connection.remote_address(), connection.validated_address()));
    let own = SocketAddr::from(([10, 9, 9, 9], 4_444));
    assert_eq!(addresses.collect::<Vec<_>>(), [(own, own)]);
}

#[test]
// req: 9000-9.4-another-path
fn congestion_control_begins_anew_on_another_address_and_not_on_another_port() {
    let window_after = |address: SocketAddr| {
        let mut network = transfer(1, 1, Steering::ByConnectionId, Link::default(), 8_000_000);
        network.run_for(SECOND);
        let window = |network: &mut World| {
            network.server(0).connections().map(|(_, connection)| connection.stats().cwnd).sum()
        };
        let before: u64 = window(&mut network);
        network.rebind(0, address);
        let has_moved = |network: &mut World| counters(network, 1).migrations == 1;
        assert!(network.run_until(SECOND, has_moved));
        let after: u64 = window(&mut network);
        (before, after)
    };
    let (before, after) = window_after(([10, 0, 0, 1], 4_444).into());
    assert!(after > before / 2, "{before} bytes, then {after}");
    let (before, after) = window_after(([10, 9, 9, 9], 4_444).into());
    assert!(before > 100_000 && after < 20_000, "{before} bytes, then {after}");
}

#[test]
// req: 9000-9-move-though-disabled
// req: 9000-18.2-disable-active-migration
fn a_server_that_wants_nobody_to_move_keeps_who_was_moved() {
    let transport = Config { migration: false, ..Config::default() };
    let link = Link { rate: Some(200_000), ..Link::default() };
    let mut network = transfer_by(transport, 1, 1, Steering::ByConnectionId, link, 400_000);
    let must_stay = network.client(0).connections().all(|(_, connection)| connection.must_stay());
    assert!(must_stay, "the client has heard of it");
    network.rebind(0, ([10, 9, 9, 9], 4_444).into());
    assert!(network.run_until(60 * SECOND, is_done));
    assert_eq!(counters(&mut network, 1).paths_validated, 1);
}

#[test]
// req: 9000-9-no-move-if-disabled
fn a_client_that_must_stay_and_cannot_ends_its_connection() {
    for may_move in [true, false] {
        let transport = Config { migration: may_move, ..Config::default() };
        let link = Link { rate: Some(200_000), ..Link::default() };
        let mut network = transfer_by(transport, 1, 1, Steering::ByConnectionId, link, 400_000);
        network.rebind(0, ([10, 9, 9, 9], 4_444).into());
        network.client(0).local_address_changed();
        assert_eq!(network.run_until(60 * SECOND, is_done), may_move);
        let closed = network.client(0).application().closed().cloned();
        assert_eq!(closed, (!may_move).then_some(CloseReason::Stranded));
    }
}

#[test]
// req: 9000-8.2.3-data-of-a-challenge
fn who_copies_a_client_s_datagrams_and_brings_it_the_challenge_is_not_the_client() {
    let thief: SocketAddr = ([10, 6, 6, 6], 666).into();
    let mut carried = 0;
    for seed in 0..20 {
        let mut network = transfer(seed, 1, Steering::ByConnectionId, Link::default(), 600_000);
        (network.down.rate, network.down.queue) = (Some(200_000), 8_000);
        // All has gone up, and most of it has not come down.
        network.run_for(SECOND);
        assert!(!is_done(&mut network));
        // The answers to challenges are large, and so come from the client's own address; what else it says is overtaken.
        network.up.jitter = 15 * MS;
        network.carry(0, Some(thief));
        network.claim_small(0, thief, 1200);
        network.run_for(SECOND);
        network.carry(0, None);
        network.claim(0, None);
        carried += counters(&mut network, 1).migrations;
        assert!(network.run_until(60 * SECOND, is_done), "seed {seed}");
        assert!(!validated(&mut network).contains(&thief), "seed {seed}");
    }
    assert!(carried > 20, "{carried} moves are no attack");
}

#[test]
fn a_client_that_moves_a_thousand_times_keeps_its_connection() {
    let moves = count("STERNA_REBINDS", 60);
    let mut network = transfer(1, 2, Steering::ByConnectionId, Link::default(), 1000);
    assert!(network.run_until(10 * SECOND, is_done));
    let key = network.client(0).application().key();
    let mut expected = BTreeSet::new();
    for turn in 0..moves {
        let address: SocketAddr = ([10, 9, 9, 1 + (turn % 200) as u8], 1024 + turn as u16).into();
        expected.insert(address);
        network.rebind(0, address);
        network.client(0).local_address_changed();
        network.client(0).application().extra.push(payload(turn as usize, 100));
        network.client(0).touch(key);
        let wanted = 2 + turn as usize;
        let is_answered =
            |network: &mut World| network.client(0).application().answers.len() == wanted;
        assert!(network.run_until(20 * SECOND, is_answered), "move {turn}");
        network.run_for(100 * MS);
    }
    let sum = counters(&mut network, 2);
    assert_eq!((sum.connections_opened, sum.migrations, sum.paths_validated), (1, moves, moves));
}

/// Bytes that went to an address and that came from there.
fn exchanged(network: &World, address: SocketAddr) -> (usize, usize) {
    let bytes = |is_up| {
        let there = network.trace.iter().filter(|trace| trace.client == address);
        there.filter(|trace| trace.is_up == is_up).map(|trace| trace.bytes).sum()
    };
    (bytes(false), bytes(true))
}

#[test]
// req: 9000-9.3-limit
fn an_address_that_is_only_claimed_gets_three_times_what_came_from_there_at_most() {
    let victim: SocketAddr = ([10, 6, 6, 6], 666).into();
    let mut total = 0;
    for seed in 0..20 {
        let mut network = transfer(seed, 1, Steering::ByConnectionId, Link::default(), 600_000);
        (network.down.rate, network.down.queue) = (Some(200_000), 8_000);
        // Acknowledgements are small, and what goes up in a transfer is large.
        network.run_for(if seed % 2 == 0 { SECOND } else { 50 * MS });
        network.claim(0, Some(victim));
        network.run_for((seed + 1) as u32 * 10 * MS);
        network.claim(0, None);
        assert!(network.run_until(60 * SECOND, is_done), "seed {seed}");
        let (sent, received) = exchanged(&network, victim);
        assert!(sent <= 3 * received, "seed {seed}: {sent} bytes for {received}");
        total += sent;
    }
    assert!(total > 0, "nothing went there at all");
}

#[test]
// req: 9000-8.2.1-expand
fn a_client_that_says_one_small_thing_from_its_new_port_gets_its_download() {
    let (mut silent, mut short) = (0, 0);
    for seed in 0..40 {
        let loss = if seed % 4 == 3 { 0.02 } else { 0.0 };
        let link = Link { loss, ..Link::default() };
        // Nothing but what is acknowledged tells the server of the new port.
        let mut network =
            begin(Config::default(), seed, 1, Steering::ByConnectionId, link, 600_000);
        (network.down.rate, network.down.queue) = (Some(200_000), 8_000);
        network.run_for(SECOND + seed as u32 * 7 * MS);
        assert!(!is_done(&mut network));
        let new: SocketAddr = ([10, 0, 0, 1], 4_444).into();
        network.rebind(0, new);
        let has_moved = |network: &mut World| counters(network, 1).migrations == 1;
        if !network.run_until(SECOND, has_moved) {
            // It had nothing to acknowledge, and waits: nobody can know.
            silent += 1;
            continue;
        }
        let before = network.elapsed();
        assert!(network.run_until(60 * SECOND, is_done), "seed {seed} hangs");
        let took = network.elapsed() - before;
        assert!(took < 20 * SECOND, "seed {seed} took {took:?}");
        short += counters(&mut network, 1).path_challenges_short;
    }
    assert!(short > 10, "{short} of 40 clients said so little that a full packet was too much");
    assert!(silent < 30, "{silent} of 40 had nothing to say");
}
