//! What one address may use, on every version.

use std::{num::NonZeroU32, time::Duration};

use http::StatusCode;
use sterna_net::{limit::Quota, server::Config};
use sterna_quic::CloseReason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    client::Client,
    world::{World, full, request, run, settled},
};

/// So many, and then none for long.
fn quota(count: u32) -> Option<Quota> {
    let count = NonZeroU32::new(count).expect("not zero");
    Some(Quota::new(count, Duration::from_secs(3600), count))
}

/// The code with which the server closed the connection.
async fn closed(client: &Client) -> u64 {
    client
        .until(|shared| match &shared.closed {
            Some(CloseReason::Application { code, .. } | CloseReason::Transport { code, .. }) => {
                Some(*code)
            }
            Some(other) => panic!("closed otherwise: {other:?}"),
            None => None,
        })
        .await
}

#[test]
fn connections_of_an_address_are_counted_over_tcp_and_quic_together() {
    run(async {
        let config = Config { connections_per_ip: Some(2), ..Config::default() };
        let world = World::on(config, 2, true);
        let http2 = world.http2().await;
        let http3 = world.http3().await;
        // The client's handshake is complete before the server's, which counts the connection: an answer tells of that.
        assert_eq!(http3.get("/").await.status(), Some(StatusCode::OK), "the second");
        assert!(world.tls(b"http/1.1").await.is_err(), "TCP: the third");
        let third = world.http3().await;
        assert_eq!(closed(&third).await, 0x2, "QUIC: CONNECTION_REFUSED, after a Retry");
        let counters = world.running.counters();
        assert!(counters.refused_connections >= 2, "{counters:?}");
        assert_eq!(http3.get("/").await.status(), Some(StatusCode::OK), "the others go on");

        drop(http2);
        settled(|| world.running.counters().active_tcp_connections == 0).await;
        let hello = request("GET", world.address, "/", full(""));
        assert_eq!(world.http1().await.send_request(hello).await.unwrap().status(), 200);
    });
}

#[test]
fn handshakes_of_an_address_have_a_rate() {
    run(async {
        let world = World::with(Config { handshakes_per_ip: quota(2), ..Config::default() });
        let _first = world.http2().await;
        let _second = world.http1().await;
        assert!(world.tls(b"h2").await.is_err(), "the third");
        settled(|| world.running.counters().refused_handshakes == 1).await;

        // Those over QUIC have units of their own until they have proved their address: who forges it uses up these.
        let _unproven = [world.http3().await, world.http3().await];
        let third = world.http3().await;
        assert_eq!(closed(&third).await, 0x2, "CONNECTION_REFUSED, after a Retry");
        assert!(world.running.counters().refused_handshakes >= 2);
    });
}

#[test]
fn a_connection_with_more_requests_than_its_address_may_have_is_closed() {
    run(async {
        let config = Config { streams_per_ip: Some(2), ..Config::default() };

        let world = World::with(config.clone());
        let client = world.http3().await;
        let _waiting = [client.start_get("/never"), client.start_get("/never")];
        settled(|| world.running.counters().active_requests == 2).await;
        client.start_get("/never");
        assert_eq!(closed(&client).await, 0x107, "H3_EXCESSIVE_LOAD");
        settled(|| world.running.counters().active_requests == 0).await;
        assert_eq!(world.running.counters().overloading_connections, 1);
        let again = world.http3().await;
        assert_eq!(
            again.get("/").await.status(),
            Some(StatusCode::OK),
            "its places are free again"
        );

        let world = World::with(config.clone());
        let never = || request("GET", world.address, "/never", full(""));
        let client = world.http2().await;
        let waiting: Vec<_> = (0..2)
            .map(|_| tokio::task::spawn_local(client.clone().send_request(never())))
            .collect();
        settled(|| world.running.counters().active_requests == 2).await;
        let refused = client.clone().send_request(never()).await.unwrap_err();
        let cause = std::error::Error::source(&refused).and_then(|cause| cause.downcast_ref());
        let reason = cause.and_then(h2::Error::reason);
        assert_eq!(reason, Some(h2::Reason::ENHANCE_YOUR_CALM), "{refused:?}");
        settled(|| world.running.counters().active_tcp_connections == 0).await;
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_err(), "the whole connection is closed");
        }
        assert_eq!(world.running.counters().overloading_connections, 1);

        let world = World::with(config);
        let ask = b"GET /never HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let mut connections = Vec::new();
        for _ in 0..3 {
            let mut stream = world.tls(b"http/1.1").await.unwrap();
            stream.write_all(ask).await.unwrap();
            connections.push(stream);
        }
        settled(|| world.running.counters().overloading_connections == 1).await;
        settled(|| world.running.counters().active_tcp_connections == 2).await;
    });
}

#[test]
fn a_connection_that_begins_requests_too_fast_is_closed() {
    run(async {
        let world = World::with(Config { requests_per_ip: quota(3), ..Config::default() });
        let client = world.http3().await;
        for _ in 0..3 {
            assert_eq!(client.get("/").await.status(), Some(StatusCode::OK));
        }
        client.start_get("/");
        assert_eq!(closed(&client).await, 0x107, "H3_EXCESSIVE_LOAD");
        let mut stream = world.tls(b"http/1.1").await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(answer, b"", "HTTP/1.1 has no way to say it");
        assert_eq!(world.running.counters().overloading_connections, 2);
    });
}
