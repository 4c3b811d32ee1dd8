//! The same exchange over every version.

use http::StatusCode;
use http_body_util::BodyExt;
use sterna_net::{Protocol, client::EarlyData};

use crate::world::{EACH, World, exchange, pattern, run, text};

#[test]
fn request_is_answered_over_every_version_and_the_second_goes_over_the_same_connection() {
    let world = World::start();
    run(async {
        for (versions, protocol) in
            EACH.into_iter().zip([Protocol::Http1, Protocol::Http2, Protocol::Http3])
        {
            let client = world.client(versions);
            for is_second in [false, true] {
                let response = client.send(world.get("/")).await.unwrap();
                assert_eq!(response.status(), StatusCode::OK);
                let exchange = exchange(&response).clone();
                assert_eq!((exchange.protocol, exchange.reused), (protocol, is_second));
                assert_eq!((exchange.remote, exchange.attempts), (world.address, 1));
                assert_eq!(exchange.early_data, EarlyData::NotOffered);
                assert_eq!(exchange.trace.is_empty(), is_second);
                assert_eq!(exchange.timings.connect.is_zero(), is_second);
                assert_eq!(text(response).await, format!("hello over {protocol}"));
            }
            let counters = client.counters();
            assert_eq!((counters.requests, counters.connections), (2, 1));
        }
    });
}

#[test]
fn bodies_go_both_ways_whole() {
    let world = World::start();
    run(async {
        for versions in EACH {
            let client = world.client(versions);
            let sent = pattern(300_000);
            let response = client.send(world.post("/echo", sent.clone())).await.unwrap();
            let received = response.into_body().collect().await.unwrap().to_bytes();
            assert!(received == sent, "{versions:?}");
            let response = client.send(world.get("/bytes/3000000")).await.unwrap();
            let received = response.into_body().collect().await.unwrap().to_bytes();
            assert!(received == pattern(3_000_000), "{versions:?}");
        }
    });
}
