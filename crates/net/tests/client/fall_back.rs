//! From HTTP/3 to what there is, and up again when the server says so.

use std::time::{Duration, Instant};

use sterna_net::{
    Client, Protocol,
    client::{Exchange, Kind, Roots, Share, Source, Timeouts, TraceEvent, Transport, Versions},
    server::Config,
};
use tokio::net::UdpSocket;

use crate::world::{World, exchange, run, settled, text};

fn without_http3() -> World {
    World::with(Config { http3: false, ..Config::default() })
}

async fn protocol(client: &Client, world: &World) -> Protocol {
    let response = client.send(world.get("/")).await.unwrap();
    let protocol = exchange(&response).protocol;
    text(response).await;
    protocol
}

#[test]
fn server_without_http3_is_reached_over_tcp_at_once() {
    let world = without_http3();
    run(async {
        // Nobody listens on UDP; loopback says so, but an unconnected socket does not hear it.
        // The machine may pause in one attempt, and not in all.
        let mut least = Duration::MAX;
        for _ in 0..5 {
            let client = world.builder().build().unwrap();
            let began = Instant::now();
            assert_eq!(protocol(&client, &world).await, Protocol::Http2);
            assert_eq!(client.counters().http2_connections, 1);
            least = least.min(began.elapsed());
            if least < Duration::from_secs(1) {
                break;
            }
        }
        assert!(least < Duration::from_secs(1), "{least:?}");
    });
}

#[test]
fn udp_that_leads_nowhere_falls_back_to_http2_and_then_to_http1() {
    let world = without_http3();
    run(async {
        // A socket that takes everything and says nothing.
        let hole = UdpSocket::bind(world.address).await.unwrap();
        let client = world.builder().build().unwrap();
        assert_eq!(protocol(&client, &world).await, Protocol::Http2);
        assert_eq!(client.counters().fallbacks, 1);
        let versions = Versions { h2: false, ..Versions::ALL };
        let client = world.builder().versions(versions).build().unwrap();
        assert_eq!(protocol(&client, &world).await, Protocol::Http1);
        drop(hole);
    });
}

/// Answers each long header with a Version Negotiation packet (RFC 9000 §17.2.1) of these versions.
async fn negotiate(socket: UdpSocket, versions: &'static [u32]) {
    let mut datagram = [0; 2048];
    while let Ok((len, from)) = socket.recv_from(&mut datagram).await {
        let Some((destination, source)) = ids(&datagram[..len]) else { continue };
        let mut answer = vec![0xca, 0, 0, 0, 0];
        for id in [source, destination] {
            answer.push(id.len() as u8);
            answer.extend_from_slice(id);
        }
        answer.extend(versions.iter().flat_map(|version| version.to_be_bytes()));
        socket.send_to(&answer, from).await.unwrap();
    }
}

/// The connection IDs of a long header: destination, source.
fn ids(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = datagram.get(5..).filter(|_| datagram[0] & 0x80 != 0)?;
    let (len, rest) = rest.split_first()?;
    let (destination, rest) = rest.split_at_checked((*len).into())?;
    let (len, rest) = rest.split_first()?;
    Some((destination, rest.get(..usize::from(*len))?))
}

// req: 9000-6.2-abandon
#[test]
fn server_that_speaks_another_version_of_quic_is_reached_over_tcp_at_once() {
    let world = without_http3();
    run(async {
        let socket = UdpSocket::bind(world.address).await.unwrap();
        let other = tokio::spawn(negotiate(socket, &[0x6b33_43cf, 0x1a2a_3a4a]));
        let only = world.client(Versions::ONLY_H3);
        let error = only.send(world.get("/")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::QuicVersion, "{error:?}");
        let pool = sterna_net::client::PoolConfig {
            idle_timeout: Duration::from_millis(50),
            ..sterna_net::client::PoolConfig::default()
        };
        let client = world.builder().pool(pool).build().unwrap();
        assert_eq!(protocol(&client, &world).await, Protocol::Http2);
        // The attempt has failed, and the client learns of it: sooner or later QUIC is not tried any more.
        let is_quic = |event: &TraceEvent| {
            matches!(event, TraceEvent::Started { transport: Transport::Quic, .. })
        };
        let mut has_learnt = false;
        for _ in 0..50 {
            settled(|| client.counters().connections == 0).await;
            let response = client.send(world.get("/")).await.unwrap();
            assert_eq!(exchange(&response).protocol, Protocol::Http2);
            has_learnt = !exchange(&response).trace.iter().any(|entry| is_quic(&entry.event));
            if has_learnt {
                break;
            }
        }
        assert!(has_learnt, "it is tried again and again");
        other.abort();
    });
}

// req: 9000-6.2-abandon
#[test]
fn version_negotiation_that_names_our_own_version_is_no_end() {
    let world = without_http3();
    run(async {
        let socket = UdpSocket::bind(world.address).await.unwrap();
        let forger = tokio::spawn(negotiate(socket, &[1, 0x6b33_43cf]));
        let timeouts = Timeouts { connect: Duration::from_secs(1), ..Timeouts::default() };
        let only = world.builder().versions(Versions::ONLY_H3).timeouts(timeouts).build().unwrap();
        let error = only.send(world.get("/")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout, "it waited for the real answer: {error:?}");
        forger.abort();
    });
}

#[test]
fn alt_svc_brings_the_next_connection_to_http3() {
    let world = World::start();
    run(async {
        let pool = sterna_net::client::PoolConfig {
            idle_timeout: Duration::from_millis(50),
            ..sterna_net::client::PoolConfig::default()
        };
        let roots = Roots::Only(vec![world.certificate.clone()]);
        let client = Client::builder().roots(roots).speculate(false).pool(pool).build().unwrap();
        let get = || {
            let url = format!("https://{}/", world.address);
            client.send(http::Request::get(url).body(sterna_net::Body::empty()).unwrap())
        };
        let response = get().await.unwrap();
        assert_eq!(exchange(&response).protocol, Protocol::Http2, "nobody has said it yet");
        text(response).await;
        let is_tried = |exchange: &Exchange| {
            exchange.trace.iter().any(|entry| {
                let source = Source::AltSvc;
                matches!(entry.event, TraceEvent::Started { source: from, .. } if from == source)
            })
        };
        // It may lose a race on a network where nobody knows that it works, but only until it has shown that.
        loop {
            settled(|| client.counters().connections == 0).await;
            let response = get().await.unwrap();
            assert!(is_tried(exchange(&response)), "{:?}", exchange(&response).trace);
            if exchange(&response).protocol == Protocol::Http3 {
                break;
            }
        }
    });
}

#[test]
fn http3_that_is_switched_off_is_not_tried() {
    let world = World::start();
    run(async {
        let none = Share::Percent { percent: 0, key: "eu".into() };
        for share in [Share::Off, none] {
            let client = world.builder().http3(share).build().unwrap();
            assert_eq!(protocol(&client, &world).await, Protocol::Http2);
            assert_eq!(client.counters().fallbacks, 0);
        }
        let all = Share::Percent { percent: 100, key: "eu".into() };
        let client = world.builder().http3(all).versions(Versions::ONLY_H3).build().unwrap();
        assert_eq!(protocol(&client, &world).await, Protocol::Http3);
    });
}

#[test]
fn broken_http3_is_remembered() {
    let world = without_http3();
    run(async {
        let hole = UdpSocket::bind(world.address).await.unwrap();
        let pool = sterna_net::client::PoolConfig {
            idle_timeout: Duration::from_millis(50),
            ..sterna_net::client::PoolConfig::default()
        };
        let timeouts = Timeouts { connect: Duration::from_millis(400), ..Timeouts::default() };
        let client = world.builder().pool(pool).timeouts(timeouts).build().unwrap();
        assert_eq!(protocol(&client, &world).await, Protocol::Http2);
        let mut datagram = [0; 2048];
        let mut first = 0;
        // Whatever is sent for the attempt that lost, until it is given up.
        while tokio::time::timeout(Duration::from_millis(800), hole.recv(&mut datagram))
            .await
            .is_ok()
        {
            first += 1;
        }
        assert!(first > 0, "it was tried");
        settled(|| client.counters().connections == 0).await;
        assert_eq!(protocol(&client, &world).await, Protocol::Http2);
        let second =
            tokio::time::timeout(Duration::from_millis(300), hole.recv(&mut datagram)).await;
        assert!(second.is_err(), "it is not tried again so soon");
    });
}
