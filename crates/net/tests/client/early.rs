//! Early data: what is sent before the handshake is complete, and what becomes of it.

use std::sync::atomic::Ordering;

use http::{Request, Response, StatusCode};
use sterna_net::{Body, client::EarlyData};

use crate::{
    peer::{Order, Peer},
    world::{exchange, run, settled, text},
};

/// A client that has been there before: it has a ticket, and no connection.
async fn returning(peer: &Peer) -> sterna_net::Client {
    let pool = sterna_net::client::PoolConfig {
        idle_timeout: std::time::Duration::from_millis(50),
        ..sterna_net::client::PoolConfig::default()
    };
    let client = peer.builder().early_data(true).pool(pool).build().unwrap();
    let response = client.send(peer.get("/")).await.unwrap();
    assert_eq!(exchange(&response).early_data, EarlyData::NotOffered, "there was no ticket");
    text(response).await;
    settled(|| client.counters().connections == 0).await;
    client
}

/// Sends a request while the server takes its time: on loopback the handshake would be complete before there is one.
async fn early(peer: &Peer, client: &sterna_net::Client, path: &str) -> Response<Body> {
    let offered = client.counters().early_data_offered;
    peer.order(Order::Pause);
    let resume = async {
        settled(|| client.counters().early_data_offered > offered).await;
        peer.order(Order::Resume);
    };
    let (response, ()) = tokio::join!(client.send(peer.get(path)), resume);
    response.unwrap()
}

#[test]
fn safe_request_of_a_returning_client_goes_before_the_handshake() {
    let peer = Peer::start();
    run(async {
        let client = returning(&peer).await;
        let response = early(&peer, &client, "/").await;
        assert_eq!(response.headers()["x-early"], "1");
        assert_eq!(exchange(&response).early_data, EarlyData::Accepted);
        assert_eq!(text(response).await, "hello");
        let counters = client.counters();
        assert_eq!((counters.early_data_offered, counters.early_data_accepted), (1, 1));
        assert_eq!(peer.seen.early_requests.load(Ordering::SeqCst), 1);
    });
}

// req: 8470-4-client-safe-only
#[test]
fn request_that_is_not_safe_or_has_a_body_waits_for_the_handshake() {
    let peer = Peer::start();
    run(async {
        for (method, body) in
            [("POST", Body::empty()), ("DELETE", Body::empty()), ("GET", Body::full("x"))]
        {
            let client = returning(&peer).await;
            let uri = peer.get("/").uri().clone();
            let request = Request::builder().method(method).uri(uri).body(body).unwrap();
            let response = client.send(request).await.unwrap();
            assert_eq!(response.headers()["x-early"], "0", "{method}");
            assert_eq!(exchange(&response).early_data, EarlyData::NotOffered);
        }
        assert_eq!(peer.seen.early_requests.load(Ordering::SeqCst), 0);
    });
}

// req: 8470-4-client-retries-after-rejection
#[test]
fn early_data_that_is_refused_is_sent_again_after_the_handshake() {
    let peer = Peer::start();
    run(async {
        let client = returning(&peer).await;
        peer.order(Order::Forget);
        peer.order(Order::Pause);
        let resume = async {
            settled(|| client.counters().early_data_offered == 3).await;
            peer.order(Order::Resume);
        };
        let all =
            [client.send(peer.get("/")), client.send(peer.get("/")), client.send(peer.get("/"))];
        let (responses, ()) = tokio::join!(crate::futures::join_all(all), resume);
        for response in responses {
            let response = response.unwrap();
            assert_eq!(response.headers()["x-early"], "0");
            assert_eq!(exchange(&response).early_data, EarlyData::Rejected);
            assert_eq!(text(response).await, "hello");
        }
        let counters = client.counters();
        assert_eq!((counters.early_data_offered, counters.early_data_rejected), (3, 3));
        assert_eq!(counters.retries, 0, "it is one attempt");
    });
}

// req: 8470-5.2-retry
#[test]
fn answer_too_early_is_tried_again_once_after_the_handshake() {
    let peer = Peer::start();
    run(async {
        let client = returning(&peer).await;
        let response = early(&peer, &client, "/425").await;
        assert_eq!((response.status(), exchange(&response).attempts), (StatusCode::OK, 2));
        assert_eq!(response.headers()["x-early"], "0");
        text(response).await;

        let client = returning(&peer).await;
        let response = early(&peer, &client, "/425-always").await;
        assert_eq!((response.status(), exchange(&response).attempts), (StatusCode::TOO_EARLY, 2));

        // Without early data it is an answer like any other.
        let client = peer.builder().build().unwrap();
        let response = client.send(peer.get("/425-always")).await.unwrap();
        assert_eq!((response.status(), exchange(&response).attempts), (StatusCode::TOO_EARLY, 1));
    });
}
