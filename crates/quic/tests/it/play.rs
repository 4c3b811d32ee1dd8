//! Random play: whatever the network and the client do, and in whatever order, nothing panics, data
//! is never wrong, and once the network is well again every request is answered.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use sterna_quic::{
    Config, Retry,
    congestion::Algorithm,
    sim::{Link, Network, Steering},
};

use crate::peer::{Peer, configs, payload};

/// One move of the game.
#[derive(Clone, Debug)]
enum Move {
    /// The client asks for this many bytes to be echoed.
    Request(usize),
    /// Time passes, in milliseconds.
    Wait(u64),
    /// The link to the server, or the one back, changes: per cent of loss and duplication, jitter in
    /// milliseconds, and thousands of bytes for each second.
    Weather { is_up: bool, loss: u8, duplicate: u8, jitter: u64, rate: Option<u64> },
    /// The client's NAT gives it another port.
    Rebind(u16),
    /// The kernel begins or ceases to steer.
    Steer(bool),
    /// The client's socket is full, or has room.
    Full(bool),
    /// A task wakes the client's connection.
    Wake,
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => (0_usize..200_000).prop_map(Move::Request),
        4 => (0_u64..300).prop_map(Move::Wait),
        2 => (any::<bool>(), 0_u8..30, 0_u8..30, 0_u64..20, proptest::option::of(20_u64..5000))
            .prop_map(|(is_up, loss, duplicate, jitter, rate)| Move::Weather {
                is_up, loss, duplicate, jitter, rate,
            }),
        1 => (1000_u16..60_000).prop_map(Move::Rebind),
        1 => any::<bool>().prop_map(Move::Steer),
        1 => any::<bool>().prop_map(Move::Full),
        1 => Just(Move::Wake),
    ]
}

fn link(loss: u8, duplicate: u8, jitter: u64, rate: Option<u64>) -> Link {
    Link {
        loss: f64::from(loss) / 100.0,
        duplicate: f64::from(duplicate) / 100.0,
        jitter: Duration::from_millis(jitter),
        rate: rate.map(|rate| rate * 1000),
        ..Link::default()
    }
}

/// Plays, lets the network recover, and compares the answers with the requests.
fn play(seed: u64, workers: usize, transport: Config, moves: Vec<Move>) {
    let (mut server, mut client) = configs();
    (server.transport, client.transport) = (transport.clone(), transport);
    let peers = (0..workers).map(|_| Peer::default());
    let mut network: Network<Peer, Peer> = Network::new(seed, &server, peers).unwrap();
    network.add_client(Peer::default());
    let key = network.connect(0, &client).unwrap();
    // QUIC relies on an address that stays for the length of the handshake (RFC 9000 §9).
    network.run_for(Duration::from_secs(1));
    assert!(network.client(0).application().facts.is_some(), "no handshake in good weather");
    let mut requests: Vec<Bytes> = Vec::new();
    for step in moves {
        match step {
            Move::Request(length) => {
                requests.push(payload(requests.len(), length));
                network.client(0).application().extra.extend(requests.last().cloned());
                network.client(0).touch(key);
            }
            Move::Wait(milliseconds) => network.run_for(Duration::from_millis(milliseconds)),
            Move::Weather { is_up, loss, duplicate, jitter, rate } => {
                let changed = link(loss, duplicate, jitter, rate);
                *(if is_up { &mut network.up } else { &mut network.down }) = changed;
            }
            Move::Rebind(port) => network.rebind(0, ([10, 7, 7, 7], port).into()),
            Move::Steer(true) => network.steering = Steering::ByConnectionId,
            Move::Steer(false) => network.steering = Steering::ByAddress,
            Move::Full(is_full) => network.set_full(0, is_full),
            Move::Wake => network.client(0).application().woken.push(key),
        }
    }
    network.set_full(0, false);
    (network.up, network.down) = (Link::default(), Link::default());
    let is_done = network.run_until(Duration::from_secs(120), |network| {
        network.client(0).application().answers.len() == requests.len()
    });
    let peer = network.client(0).application();
    assert_eq!(peer.closed(), None);
    assert!(is_done, "{} of {} answers", peer.answers.len(), requests.len());
    let mut expected: Vec<_> = requests.iter().map(|request| request.to_vec()).collect();
    expected.sort();
    peer.answers.sort();
    assert!(peer.answers == expected, "an echo differs");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_answered_once_the_network_is_well_again(
        seed: u64,
        workers in 1_usize..4,
        is_reno: bool,
        always_retry: bool,
        bidi_streams in 1_u64..20,
        moves in proptest::collection::vec(moves(), 0..40),
    ) {
        let transport = Config {
            // A network that is ill for as long as this game must not end the connection.
            idle_timeout: Duration::from_secs(60),
            // A client that only waits for an answer does not notice that its NAT forgot it; what it
            // says next tells the server.
            keep_alive: Some(Duration::from_secs(1)),
            congestion: if is_reno { Algorithm::Reno } else { Algorithm::Cubic }.into(),
            retry: if always_retry { Retry::Always } else { Retry::Never },
            max_bidi_streams: bidi_streams,
            ..Config::default()
        };
        play(seed, workers, transport, moves);
    }
}
