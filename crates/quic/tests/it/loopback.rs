//! Real sockets: handshake, streams, several workers, offload, limits and ends.

use std::{cell::Cell, io, net::SocketAddr, thread, time::Duration};

use bytes::Bytes;
use sterna_quic::{
    ClientConfig, CloseReason, ConnectError, Counters, Driver, Group, ServerConfig, SocketOptions,
};
use tokio::sync::oneshot;

use crate::peer::{Facts, Peer, configs, payload};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Servers on their threads; they end when this is dropped.
struct Servers {
    address: SocketAddr,
    running: Vec<(oneshot::Sender<()>, thread::JoinHandle<Outcome>)>,
}

/// What an application saw and its endpoint counted.
type Outcome = (Peer, Counters);

impl Servers {
    fn start(workers: usize, options: &SocketOptions, config: &ServerConfig) -> Self {
        Self::start_at(ANY, workers, options, config)
    }

    fn start_at(
        address: SocketAddr,
        workers: usize,
        options: &SocketOptions,
        config: &ServerConfig,
    ) -> Self {
        let group = Group::bind(address, workers, options).unwrap();
        let address = group.local_address();
        let running = group.into_members().into_iter().map(|member| {
            let config = config.clone();
            let (stop, stopped) = oneshot::channel();
            let thread = thread::spawn(move || {
                block_on(async move {
                    let mut driver = member.start(Some(config), Peer::default()).unwrap();
                    let turns = async {
                        loop {
                            driver.turn().await.unwrap();
                        }
                    };
                    tokio::select! { () = turns => {}, _ = stopped => {} }
                    // Whoever said goodbye is heard before the counting.
                    turn_until(&mut driver, |driver| {
                        let counters = driver.counters();
                        counters.connections_opened == counters.connections_closed
                    })
                    .await;
                    let counters = driver.counters();
                    (std::mem::take(driver.endpoint().application()), counters)
                })
            });
            (stop, thread)
        });
        Self { address, running: running.collect() }
    }

    fn stop(self) -> Vec<Outcome> {
        let (stops, threads): (Vec<_>, Vec<_>) = self.running.into_iter().unzip();
        drop(stops);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

fn client(options: &SocketOptions, peer: Peer) -> Driver<Peer> {
    let group = Group::client(ANY, options).unwrap();
    group.into_members().pop().unwrap().start(None, peer).unwrap()
}

/// Turns until `done`; the time limit makes a hang a failure.
async fn turn_until(driver: &mut Driver<Peer>, mut done: impl FnMut(&mut Driver<Peer>) -> bool) {
    let turns = async {
        while !done(driver) {
            driver.turn().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), turns).await.expect("it hangs");
}

/// Sends the requests on one connection and returns the client after it was closed.
fn exchange(address: SocketAddr, config: &ClientConfig, requests: Vec<Bytes>) -> Outcome {
    block_on(async {
        let peer = Peer { requests, close_when_done: Some(7), ..Peer::default() };
        let mut driver = client(&SocketOptions::default(), peer);
        driver.connect(config, address, "localhost").unwrap();
        turn_until(&mut driver, |driver| driver.endpoint().application().closed().is_some()).await;
        let counters = driver.counters();
        (std::mem::take(driver.endpoint().application()), counters)
    })
}

#[test]
// req: 9000-10.2-close-tells-the-code
fn a_request_is_answered_and_both_sides_learn_how_it_ended() {
    let (server, config) = configs();
    let servers = Servers::start(1, &SocketOptions::default(), &server);
    let request = payload(1, 3000);
    let (peer, _) = exchange(servers.address, &config, vec![request.clone()]);
    assert_eq!(peer.answers, [request.to_vec()]);
    assert_eq!(peer.closed(), Some(&CloseReason::Local));
    assert_eq!(
        peer.facts,
        Some(Facts {
            server_name: None,
            alpn: Some(b"echo".to_vec()),
            cipher_suite: Some(rustls::CipherSuite::TLS13_AES_256_GCM_SHA384),
            key_exchange: Some(rustls::NamedGroup::X25519MLKEM768),
            certificates: 1,
            peer: ANY.ip(),
        })
    );

    let (peer, counters) = servers.stop().pop().unwrap();
    let reason = Bytes::from_static(b"done");
    assert_eq!(peer.closed(), Some(&CloseReason::Application { code: 7, reason }));
    assert_eq!(peer.facts.unwrap().server_name.as_deref(), Some("localhost"));
    assert_eq!((counters.connections_opened, counters.connections_closed), (1, 1));
}

#[test]
fn every_worker_takes_connections_and_every_request_is_answered() {
    let (server, config) = configs();
    for steering in [true, false] {
        let options = SocketOptions { steering, ..SocketOptions::default() };
        let servers = Servers::start(3, &options, &server);
        for round in 0..24 {
            let request = payload(round, 20_000);
            let (peer, _) = exchange(servers.address, &config, vec![request.clone()]);
            assert_eq!(peer.answers, [request.to_vec()], "round {round}");
        }
        let counters: Vec<Counters> =
            servers.stop().into_iter().map(|(_, counters)| counters).collect();
        let opened: Vec<u64> =
            counters.iter().map(|counters| counters.connections_opened).collect();
        assert_eq!(opened.iter().sum::<u64>(), 24);
        assert!(opened.iter().all(|&opened| opened > 0), "the hash spreads clients: {opened:?}");
        assert!(counters.iter().all(|counters| counters.mailbox_dropped == 0));
    }
}

#[test]
fn a_megabyte_goes_out_in_few_system_calls_and_comes_in_whole() {
    let (server, config) = configs();
    for segmentation in [true, false] {
        let options = SocketOptions { segmentation, ..SocketOptions::default() };
        let servers = Servers::start(1, &options, &server);
        let request = payload(3, 4 << 20);
        let (peer, client) = exchange(servers.address, &config, vec![request.clone()]);
        assert!(peer.answers == [request.to_vec()], "the echo differs");
        let (_, server) = servers.stop().pop().unwrap();
        let per_call = server.datagrams_sent as f64 / server.batches_sent as f64;
        match segmentation {
            true => assert!(per_call > 4.0, "{per_call} datagrams in each call"),
            false => assert_eq!(server.datagrams_sent, server.batches_sent),
        }
        assert_eq!((server.segmentation_failures, client.segmentation_failures), (0, 0));
        assert_eq!((server.sends_failed, client.sends_failed), (0, 0));
    }
}

#[test]
fn a_thousand_streams_pass_a_limit_of_a_hundred() {
    let (server, config) = configs();
    let servers = Servers::start(1, &SocketOptions::default(), &server);
    let requests: Vec<Bytes> = (0..1000).map(|seed| payload(seed, 50)).collect();
    let (mut peer, _) = exchange(servers.address, &config, requests.clone());
    let mut expected: Vec<Vec<u8>> = requests.iter().map(|request| request.to_vec()).collect();
    expected.sort();
    peer.answers.sort();
    assert!(peer.answers == expected, "{} answers", peer.answers.len());
}

#[test]
fn a_port_in_use_is_an_error_and_not_a_share_of_its_datagrams() {
    let group = Group::bind(ANY, 2, &SocketOptions::default()).unwrap();
    for workers in [1, 2] {
        let error = Group::bind(group.local_address(), workers, &SocketOptions::default());
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::AddrInUse, "{workers} workers");
    }
    let address = group.local_address();
    drop(group);
    Group::bind(address, 2, &SocketOptions::default()).unwrap();
}

#[test]
fn no_worker_and_more_than_256_are_refused() {
    for (workers, is_possible) in [(0, false), (1, true), (256, true), (257, false)] {
        let group = Group::bind(ANY, workers, &SocketOptions::default());
        assert_eq!(group.is_ok(), is_possible, "{workers} workers");
    }
}

#[test]
fn one_dual_stack_socket_serves_both_families() {
    let (server, config) = configs();
    let servers =
        Servers::start_at("[::]:0".parse().unwrap(), 1, &SocketOptions::default(), &server);
    let port = servers.address.port();
    let request = payload(1, 100);
    let (peer, _) = exchange(([127, 0, 0, 1], port).into(), &config, vec![request.clone()]);
    assert_eq!(peer.answers, [request.to_vec()]);
    let (peer, _) = servers.stop().pop().unwrap();
    assert_eq!(peer.facts.unwrap().peer, ANY.ip(), "no mapped address");
}

#[test]
fn an_idle_driver_takes_no_turns() {
    let (server, config) = configs();
    let servers = Servers::start(1, &SocketOptions::default(), &server);
    block_on(async {
        let mut driver = client(&SocketOptions::default(), Peer::default());
        driver.connect(&config, servers.address, "localhost").unwrap();
        turn_until(&mut driver, |driver| driver.endpoint().application().facts.is_some()).await;
        let mut turns = 0;
        let count = async {
            loop {
                driver.turn().await.unwrap();
                turns += 1;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), count).await;
        // What is left of the handshake and of the search for the path's MTU.
        assert!(turns < 60, "{turns} turns in a second without work");
        let key = driver.endpoint().application().key();
        driver.endpoint().connection(key).unwrap().1.close(0, b"");
        turn_until(&mut driver, |driver| driver.endpoint().application().closed().is_some()).await;
    });
    servers.stop();
}

/// A box between client and server that changes its outer port now and then, as a NAT may.
async fn relay(inner: tokio::net::UdpSocket, server: SocketAddr, switches: &Cell<u32>) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let mut outer = tokio::net::UdpSocket::bind(ANY).await.unwrap();
    let mut client = None;
    let mut since_switch = 0;
    loop {
        since_switch += 1;
        tokio::select! {
            received = inner.recv_from(&mut up) => {
                let (length, from) = received.unwrap();
                client = Some(from);
                if since_switch >= 150 {
                    since_switch = 0;
                    outer = tokio::net::UdpSocket::bind(ANY).await.unwrap();
                    switches.set(switches.get() + 1);
                }
                outer.send_to(&up[..length], server).await.unwrap();
            }
            received = outer.recv_from(&mut down) => {
                let (length, _) = received.unwrap();
                inner.send_to(&down[..length], client.unwrap()).await.unwrap();
            }
        }
    }
}

/// Echoes a megabyte through a NAT that rebinds many times, and returns the servers' counters.
fn exchange_while_rebinding(steering: bool) -> Vec<Counters> {
    let (server, config) = configs();
    let options = SocketOptions { steering, ..SocketOptions::default() };
    let servers = Servers::start(2, &options, &server);
    let request = payload(1, 3 << 20);
    let peer =
        Peer { requests: vec![request.clone()], close_when_done: Some(0), ..Peer::default() };
    block_on(async {
        let inner = tokio::net::UdpSocket::bind(ANY).await.unwrap();
        let nat = inner.local_addr().unwrap();
        let switches = Cell::new(0);
        let mut driver = client(&SocketOptions::default(), peer);
        driver.connect(&config, nat, "localhost").unwrap();
        // Until it is drained, for the box has to carry the goodbye as well.
        let is_drained = |driver: &mut Driver<Peer>| driver.endpoint().is_empty();
        tokio::select! {
            () = relay(inner, servers.address, &switches) => {}
            () = turn_until(&mut driver, is_drained) => {}
        }
        assert!(driver.endpoint().application().answers == [request.to_vec()], "the echo differs");
        assert!(switches.get() > 8, "{} addresses", switches.get());
    });
    servers.stop().into_iter().map(|(_, counters)| counters).collect()
}

#[test]
fn the_kernel_finds_the_worker_of_a_client_that_changes_its_address() {
    let counters = exchange_while_rebinding(true);
    let forwarded: Vec<u64> = counters.iter().map(|counters| counters.forwarded).collect();
    assert_eq!(forwarded, [0, 0]);
    assert!(counters.iter().map(|counters| counters.migrations).sum::<u64>() > 8);
}

#[test]
fn without_steering_siblings_forward_to_each_other() {
    let counters = exchange_while_rebinding(false);
    assert!(counters.iter().any(|counters| counters.forwarded > 0));
    assert!(counters.iter().all(|counters| counters.mailbox_dropped == 0));
    assert!(counters.iter().map(|counters| counters.migrations).sum::<u64>() > 8);
}

/// What a server says to a first datagram of `length` bytes in a version that nobody has.
fn answer_to_unknown_version(length: usize) -> Option<Vec<u8>> {
    let (server, _) = configs();
    let servers = Servers::start(1, &SocketOptions::default(), &server);
    let socket = std::net::UdpSocket::bind(ANY).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut datagram = vec![0xc0, 0xfa, 0xce, 0xb0, 0x0c, 8];
    datagram.extend_from_slice(b"12345678");
    datagram.extend_from_slice(&[2, b'm', b'e']);
    datagram.resize(length, 0);
    socket.send_to(&datagram, servers.address).unwrap();
    let mut answer = vec![0; 2000];
    let length = socket.recv(&mut answer).ok()?;
    answer.truncate(length);
    Some(answer)
}

// req: 9000-6.1-unknown-version
// req: 9000-5.2.2-short-unknown-version
#[test]
fn an_unknown_version_is_answered_with_ours_and_a_short_datagram_with_nothing() {
    let answer = answer_to_unknown_version(1200).expect("an answer to 1200 bytes");
    assert_eq!(answer[1..5], [0; 4], "version negotiation");
    assert_eq!(answer[5..8], [2, b'm', b'e'], "to the client's own connection ID");
    let versions: Vec<_> = answer[17..].chunks(4).collect();
    assert!(versions.contains(&&[0, 0, 0, 1][..]), "{versions:?}");
    assert_eq!(answer_to_unknown_version(1199), None);
}

#[test]
fn a_connection_that_cannot_start_says_why() {
    let (_, config) = configs();
    let tls = rustls::ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let old = ClientConfig { tls: tls.into(), ..config.clone() };
    block_on(async {
        let mut driver = client(&SocketOptions::default(), Peer::default());
        let mut connect = |config, port, name| {
            let remote = SocketAddr::new(ANY.ip(), port);
            driver.connect(config, remote, name).unwrap_err()
        };
        let name = connect(&config, 443, "not a name");
        assert!(matches!(name, ConnectError::ServerName(name) if name == "not a name"));
        assert!(matches!(connect(&config, 0, "localhost"), ConnectError::Address(_)));
        assert!(matches!(connect(&old, 443, "localhost"), ConnectError::Version));
        assert!(driver.endpoint().is_empty());
    });
}
