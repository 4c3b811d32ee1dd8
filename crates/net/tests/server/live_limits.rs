//! A reload changes limits and time-outs: what connections go by that were open before.

use std::time::Duration;

use http::{Method, StatusCode};
use sterna_net::server::Config;
use tokio::{io::AsyncReadExt, time::sleep};

use crate::{
    client::{Client, Ticket, head},
    world::{World, certificate, full, request, run, settled},
};

const A_WHILE: Duration = Duration::from_millis(100);

fn reload(world: &World, config: Config) {
    world.running.control().reconfigure(certificate().0, config).expect("followed");
}

/// Over HTTP/3, from the begin on and by growth.
fn http3_streams(most: u64) -> Config {
    let mut config = Config { max_http3_streams: most, ..Config::default() };
    config.quic.max_bidi_streams = most;
    config
}

/// How many of these requests have got a stream, when no more get one.
async fn sent(client: &Client, requests: &[Ticket]) -> usize {
    sleep(A_WHILE).await;
    requests.iter().filter(|ticket| client.exchange(**ticket).sent).count()
}

#[test]
fn an_open_http3_connection_gets_more_streams_and_no_more_than_a_lower_limit_again() {
    run(async {
        let world = World::with(http3_streams(4));
        let client = world.http3().await;
        // A request without a stream holds up what the client does after it.
        let mut requests: Vec<_> = (0..5).map(|_| client.start_post("/count")).collect();
        assert_eq!(sent(&client, &requests).await, 4);
        reload(&world, http3_streams(8));
        requests.extend((0..3).map(|_| client.start_post("/count")));
        assert_eq!(sent(&client, &requests).await, 8);
        reload(&world, http3_streams(2));
        for ticket in &requests[..7] {
            client.data(*ticket, "", true);
            assert_eq!(client.over(*ticket).await.status(), Some(StatusCode::OK));
        }
        requests.extend((0..2).map(|_| client.start_post("/count")));
        assert_eq!(sent(&client, &requests).await, 9, "two of them are open");
    });
}

#[test]
fn requests_of_an_open_http2_connection_stand_in_line_behind_a_lower_limit() {
    run(async {
        let limited = |max_http2_streams| Config { max_http2_streams, ..Config::default() };
        let world = World::with(limited(10));
        let client = world.http2().await;
        let active = || world.running.counters().active_requests;
        let never = || {
            let mut client = client.clone();
            let request = request("GET", world.address, "/never", full(""));
            tokio::task::spawn_local(async move { client.send_request(request).await.map(drop) })
        };
        let mut requests: Vec<_> = (0..3).map(|_| never()).collect();
        settled(|| active() == 3).await;
        reload(&world, limited(2));
        requests.extend((0..2).map(|_| never()));
        sleep(A_WHILE).await;
        assert_eq!(active(), 3, "what was begun goes on, and no more is");
        // Whoever gives up leaves its place, in the line or in work.
        requests.pop().expect("the last in line").abort();
        requests[0].abort();
        settled(|| active() == 2).await;
        sleep(A_WHILE).await;
        assert_eq!(active(), 2);
        requests[1].abort();
        sleep(A_WHILE).await;
        assert_eq!(active(), 2, "the first in line has begun");
        requests.extend((0..2).map(|_| never()));
        sleep(A_WHILE).await;
        assert_eq!(active(), 2);
        reload(&world, limited(4));
        settled(|| active() == 4).await;
    });
}

#[test]
fn an_idle_connection_goes_after_the_time_of_now() {
    run(async {
        let world = World::start();
        let mut idle = world.tls(b"http/1.1").await.expect("a TLS connection");
        let mut client = world.http1().await;
        let mut ask = async || {
            client.send_request(request("GET", world.address, "/", full(""))).await.map(drop)
        };
        ask().await.expect("an answer");
        let keep_alive_timeout = A_WHILE;
        let header_timeout = A_WHILE;
        reload(&world, Config { keep_alive_timeout, header_timeout, ..Config::default() });
        // Without a goodbye of TLS: there is nobody to answer.
        idle.read(&mut [0; 1]).await.expect_err("no head came");
        settled(|| world.running.counters().active_tcp_connections == 0).await;
        ask().await.expect_err("it has gone");
    });
}

#[test]
fn a_lower_limit_of_heads_holds_on_open_connections_of_every_version() {
    run(async {
        let world = World::start();
        let (mut http1, mut http2) = (world.http1().await, world.http2().await);
        let http3 = world.http3().await;
        let with = |size: usize| {
            let mut request = request("GET", world.address, "/", full(""));
            request.headers_mut().insert("x-long", "x".repeat(size).parse().expect("a value"));
            request
        };
        let mut statuses = async |size: usize| {
            let first = http1.send_request(with(size)).await.expect("an answer").status();
            let second = http2.send_request(with(size)).await.expect("an answer").status();
            let mut head = head(Method::GET, "/");
            head.headers.insert("x-long", "x".repeat(size).parse().expect("a value"));
            let third = http3.over(http3.request(head, true)).await.status().expect("a head");
            [first, second, third]
        };
        let (large, fine) = (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, StatusCode::OK);
        assert_eq!(statuses(3000).await, [fine; 3]);
        reload(&world, Config { max_header_size: 2000, ..Config::default() });
        assert_eq!(statuses(3000).await, [large; 3]);
        assert_eq!(statuses(1000).await, [fine; 3]);
    });
}
