//! HTTP/3 connections that go on from another address.

use std::sync::atomic::Ordering;

use http_body_util::BodyExt;
use sterna_net::client::Versions;

use crate::world::{World, exchange, pattern, run};

#[test]
fn download_goes_on_from_another_port() {
    let world = World::start();
    run(async {
        let client = world.client(Versions::ONLY_H3);
        let len = 8_000_000;
        let response = client.send(world.get(&format!("/bytes/{len}"))).await.unwrap();
        let mut body = response.into_body();
        let (mut received, mut moves) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            received.extend_from_slice(&frame.unwrap().into_data().unwrap());
            if received.len() > (moves + 1) * len / 4 && moves < 3 {
                client.rebind().await.unwrap();
                moves += 1;
            }
        }
        assert!(received == pattern(len));
        assert_eq!((moves, client.counters().migrations), (3, 3));
        assert_eq!(client.counters().http3_connections, 1, "all on one connection");
        let response = client.send(world.get("/")).await.unwrap();
        assert!(exchange(&response).reused);
    });
}

#[test]
fn server_sees_the_client_move() {
    let peer = crate::peer::Peer::start();
    run(async {
        let client = peer.builder().build().unwrap();
        client.send(peer.get("/")).await.unwrap();
        client.rebind().await.unwrap();
        client.send(peer.get("/")).await.unwrap();
        assert_eq!(peer.seen.connections.load(Ordering::SeqCst), 1);
        crate::world::settled(|| peer.seen.migrations.load(Ordering::SeqCst) == 1).await;
    });
}

#[test]
fn client_that_moves_again_and_again_keeps_its_connection_and_its_download() {
    // 1,000 by hand: STERNA_MIGRATIONS=1000.
    let moves =
        std::env::var("STERNA_MIGRATIONS").map_or(40, |text| text.parse().expect("a number"));
    let world = World::start();
    run(async {
        let client = world.client(Versions::ONLY_H3);
        let len = 20_000 * moves;
        let response = client.send(world.get(&format!("/bytes/{len}"))).await.unwrap();
        let mut body = response.into_body();
        let (mut received, mut done) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            received.extend_from_slice(&frame.unwrap().into_data().unwrap());
            if received.len() > done * 20_000 && done < moves {
                client.rebind().await.unwrap();
                done += 1;
            }
        }
        assert!(received == pattern(len), "{} of {len} bytes", received.len());
        while done < moves {
            client.rebind().await.unwrap();
            done += 1;
            client.send(world.get("/")).await.unwrap();
        }
        assert_eq!(client.counters().migrations, moves as u64);
        assert_eq!(client.counters().http3_connections, 1, "all on one connection");
    });
}

#[test]
fn client_without_connections_has_nothing_to_move() {
    let world = World::start();
    run(async {
        let client = world.client(Versions::ONLY_H2);
        client.rebind().await.unwrap();
        client.network_changed().await.unwrap();
        assert_eq!(client.counters().migrations, 0);
    });
}
