//! What a server keeps for strangers, and what it sends them.

use std::time::Duration;

use sterna_quic::{
    ClientConfig, Config, Counters, Retry, ServerConfig,
    sim::{Link, Network},
};

use crate::peer::{Peer, configs, configs_named, configs_of};

type World = Network<Peer, Peer>;

const SECOND: Duration = Duration::from_secs(1);

fn world(seed: u64, server: &ServerConfig, clients: usize) -> World {
    let mut network = Network::new(seed, server, [Peer::default()]).unwrap();
    for _ in 0..clients {
        network.add_client(Peer::default());
    }
    network
}

fn server_of(transport: Config) -> (ServerConfig, ClientConfig) {
    let (mut server, client) = configs();
    server.transport = Config { idle_timeout: 10 * SECOND, ..transport };
    (server, client)
}

fn counters(network: &mut World) -> Counters {
    network.server(0).counters()
}

fn bytes(network: &World, is_up: bool) -> usize {
    network.trace.iter().filter(|trace| trace.is_up == is_up).map(|trace| trace.bytes).sum()
}

fn is_connected(network: &mut World, client: usize) -> bool {
    network.client(client).application().facts.is_some()
}

#[test]
// req: 9000-8.1-three-times
fn a_client_that_says_no_more_gets_three_times_its_first_flight_whatever_the_certificate_is() {
    for names in [1, 40, 150, 400] {
        let names: Vec<_> = (0..names).map(|at| format!("host{at}.example")).collect();
        let (server, client) = configs_named(&names);
        let mut network = world(1, &server, 1);
        network.connect(0, &client).unwrap();
        network.run_until(SECOND, |network| !network.trace.is_empty());
        let sent = bytes(&network, true);
        network.up = Link { loss: 1.0, ..Link::default() };
        network.run_for(60 * SECOND);
        let received = bytes(&network, false);
        println!("{} names: {received} bytes for {sent}", names.len());
        assert!(received <= 3 * sent, "{received} bytes for {sent}");
        assert!(received > 0);
        assert_eq!(counters(&mut network).handshakes_timed_out, 1);
    }
}

#[test]
// req: 9000-8.1-handshake-packet-proves
fn a_long_certificate_arrives_in_full_whatever_is_lost() {
    let names: Vec<_> = (0..400).map(|at| format!("host{at}.example")).collect();
    let names = [&["localhost".to_owned()][..], &names].concat();
    for (seed, loss) in [(1, 0.0), (2, 0.1), (3, 0.3), (4, 0.3)] {
        let (server, client) = configs_named(&names);
        let mut network = world(seed, &server, 1);
        network.up = Link { loss, ..Link::default() };
        network.down = network.up;
        network.connect(0, &client).unwrap();
        assert!(
            network.run_until(10 * SECOND, |network| is_connected(network, 0)),
            "seed {seed} at {loss}"
        );
    }
}

#[test]
fn a_certificate_of_up_to_three_datagrams_comes_in_one_round_trip_to_a_short_hello_too() {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups.retain(|group| group.name() == rustls::NamedGroup::X25519);
    for names in [1, 60, 100, 130] {
        let names: Vec<_> = (0..names).map(|at| format!("host{at}.example")).collect();
        let names = [&["localhost".to_owned()][..], &names].concat();
        let (server, client) = configs_of(&names, provider.clone());
        let mut network = world(1, &server, 1);
        network.connect(0, &client).unwrap();
        assert!(network.run_until(SECOND, |network| is_connected(network, 0)));
        // 20 ms, and the clock stands where something happens next.
        let took = network.elapsed();
        assert!(took <= Duration::from_millis(30), "{took:?} with {} names", names.len());
    }
}

#[test]
fn a_flood_switches_retry_on_everyone_gets_through_and_calm_switches_it_off() {
    let (server, client) = server_of(Config { retry: Retry::Above(10), ..Config::default() });
    let mut network = world(2, &server, 60);
    for at in 0..60 {
        network.connect(at, &client).unwrap();
    }
    let all = |network: &mut World| (0..60).all(|at| is_connected(network, at));
    assert!(network.run_until(10 * SECOND, all));
    let seen = counters(&mut network);
    assert_eq!((seen.retry_switched_on, seen.retry_switched_off), (1, 0));
    assert!(seen.retried >= 40, "{seen:?}");
    assert!(seen.tokens_accepted >= 40, "{seen:?}");
    assert_eq!((seen.handshakes_begun, seen.handshakes_refused), (60, 0));
    network.run_for(2 * SECOND);
    assert_eq!(counters(&mut network).retry_switched_off, 1);
}

#[test]
fn while_memory_is_short_clients_prove_their_address() {
    let (server, client) = server_of(Config::default());
    let mut network = world(3, &server, 2);
    network.server(0).set_pressure(true);
    network.connect(0, &client).unwrap();
    assert!(network.run_until(SECOND, |network| is_connected(network, 0)));
    let retried = counters(&mut network).retried;
    assert!(retried > 0);
    network.server(0).set_pressure(false);
    network.connect(1, &client).unwrap();
    assert!(network.run_until(SECOND, |network| is_connected(network, 1)));
    assert_eq!(counters(&mut network).retried, retried);
}

#[test]
fn handshakes_under_way_have_a_bound_and_their_time_ends() {
    let transport = Config {
        retry: Retry::Never,
        max_handshakes: 8,
        handshake_timeout: 3 * SECOND,
        ..Config::default()
    };
    let (server, client) = server_of(transport);
    let mut network = world(4, &server, 21);
    // Nobody hears an answer.
    network.down = Link { loss: 1.0, ..Link::default() };
    for at in 0..20 {
        network.connect(at, &client).unwrap();
    }
    network.run_for(SECOND);
    let seen = counters(&mut network);
    assert_eq!(seen.handshakes_begun - seen.handshakes_over, 8);
    assert!(seen.handshakes_refused >= 12, "{seen:?}");
    network.run_for(20 * SECOND);
    let seen = counters(&mut network);
    assert_eq!(seen.handshakes_begun, seen.handshakes_over, "the memory is free again");
    network.down = Link::default();
    network.connect(20, &client).unwrap();
    assert!(network.run_until(SECOND, |network| is_connected(network, 20)));
}

#[test]
// req: 9000-8.1.3-next-time
fn a_client_that_was_here_before_needs_no_retry_and_a_restart_changes_nothing() {
    let (server, client) = server_of(Config { retry: Retry::Always, ..Config::default() });
    let mut network = world(5, &server, 1);
    let again = |network: &mut World| {
        network.client(0).application().facts = None;
        network.connect(0, &client).unwrap();
        assert!(network.run_until(SECOND, |network| is_connected(network, 0)));
        // The token for the next time comes behind the handshake.
        network.run_for(SECOND);
        let seen = counters(network);
        (seen.retried > 0, seen.tokens_accepted)
    };
    assert_eq!(again(&mut network), (true, 1), "by a Retry");
    let retried = counters(&mut network).retried;
    assert_eq!(again(&mut network), (true, 2), "by a token of before");
    assert_eq!(counters(&mut network).retried, retried);
    network.restart(&server, [Peer::default()]).unwrap();
    assert_eq!(again(&mut network), (false, 1), "by a token of before the restart");
}
