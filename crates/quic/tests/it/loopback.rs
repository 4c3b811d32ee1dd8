//! Real sockets: handshake, streams, several workers, offload, limits and ends.

use std::{net::SocketAddr, thread, time::Duration};

use bytes::Bytes;
use sterna_quic::{
    ClientConfig, CloseReason, Counters, Driver, Group, ServerConfig, SocketOptions,
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
        let group = Group::bind(ANY, workers, options).unwrap();
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
        })
    );

    let (peer, counters) = servers.stop().pop().unwrap();
    let reason = Bytes::from_static(b"done");
    assert_eq!(peer.closed(), Some(&CloseReason::Application { code: 7, reason }));
    assert_eq!(peer.facts.unwrap().server_name.as_deref(), Some("localhost"));
    assert_eq!((counters.connections_opened, counters.connections_closed), (1, 1));
}
