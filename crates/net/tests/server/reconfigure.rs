//! Another generation: what comes after it meets the new one, what is under way goes on, and it is all or nothing.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use http::{Request, Response};
use sterna_net::{ReconfigureError, Server, server::Config};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::service_fn;

use crate::world::{World, certificate, full, request, run, settled, text};

/// A server in the clear whose answers count the services that were made.
fn counting(workers: usize, config: Config) -> (sterna_net::Running, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let make = move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        service_fn(move |_: Request<sterna_net::Body>| async move {
            Ok::<_, Infallible>(Response::new(Body::from(number.to_string())))
        })
    };
    let bound = Server::builder()
        .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
        .workers(workers)
        .config(config)
        .bind()
        .expect("bound");
    (bound.serve_with(make).expect("served"), made)
}

async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") || answer.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut answer).await.expect("read"), 0, "it was closed");
    }
    let answer = String::from_utf8(answer).expect("text");
    answer.rsplit("\r\n").next().expect("content").to_owned()
}

#[test]
fn every_worker_makes_its_service_anew_and_an_open_connection_meets_it() {
    run(async {
        let (running, made) = counting(3, Config::default());
        settled(|| made.load(Ordering::SeqCst) == 3).await;
        let mut open = TcpStream::connect(running.addresses()[0]).await.expect("connected");
        assert!(ask(&mut open).await.parse::<usize>().expect("a number") <= 3);
        running.control().reconfigure(None, Config::default()).expect("it follows");
        assert_eq!(made.load(Ordering::SeqCst), 6, "all of them, before it returned");
        assert!(ask(&mut open).await.parse::<usize>().expect("a number") > 3);
    });
}

#[test]
fn a_request_under_way_is_answered_by_the_service_that_it_met() {
    run(async {
        let world = World::start();
        let (mut http1, mut http2) = (world.http1().await, world.http2().await);
        let http3 = world.http3().await;
        let slow = || request("GET", world.address, "/slow/300", full(""));
        let first = tokio::task::spawn_local(http1.send_request(slow()));
        let second = tokio::task::spawn_local(http2.send_request(slow()));
        let third = http3.start_get("/slow/300");
        settled(|| world.running.counters().active_requests == 3).await;
        world.running.control().reconfigure(certificate().0, Config::default()).expect("followed");
        assert_eq!(text(first.await.expect("ran").expect("answered")).await, "slow");
        assert_eq!(text(second.await.expect("ran").expect("answered")).await, "slow");
        assert_eq!(http3.over(third).await.text(), "slow");
    });
}

#[test]
fn another_certificate_is_shown_over_tcp_and_quic_from_one_moment_on() {
    run(async {
        let world = World::start();
        let mut before = world.http1().await;
        world.running.control().reconfigure(certificate().0, Config::default()).expect("followed");
        world.tls(b"h2").await.expect_err("the client trusts the old one alone");
        let refused = world.http3().await;
        assert!(refused.shared().closed.is_some(), "over QUIC too");
        let response = before.send_request(request("GET", world.address, "/", full(""))).await;
        assert_eq!(response.expect("an open connection goes on").status(), 200);
    });
}

#[test]
fn what_belongs_to_sockets_is_refused_and_everything_stays() {
    run(async {
        let (running, made) = counting(1, Config::default());
        settled(|| made.load(Ordering::SeqCst) == 1).await;
        let refuse = |config| running.control().reconfigure(None, config).expect_err("refused");
        let without = refuse(Config { http3: false, ..Config::default() });
        assert!(matches!(without, ReconfigureError::Restart { .. }), "{without}");
        let smaller = refuse(Config { udp_buffer: 1, ..Config::default() });
        assert!(matches!(smaller, ReconfigureError::Restart { .. }), "{smaller}");
        let unsteered = refuse(Config { steering: false, ..Config::default() });
        assert!(matches!(unsteered, ReconfigureError::Restart { .. }), "{unsteered}");
        let tls = running.control().reconfigure(certificate().0, Config::default());
        assert!(matches!(tls, Err(ReconfigureError::Restart { .. })), "{tls:?}");
        assert_eq!(made.load(Ordering::SeqCst), 1, "no worker heard of it");
    });
}

#[test]
fn a_server_that_ends_follows_nobody() {
    run(async {
        let (running, _) = counting(1, Config::default());
        running.shutdown(Duration::from_secs(20));
        let refused = running.control().reconfigure(None, Config::default());
        assert!(matches!(refused, Err(ReconfigureError::Ending)), "{refused:?}");
    });
}

#[test]
fn the_limit_of_connections_grows_and_shrinks_while_the_server_runs() {
    run(async {
        let limited = |max_tcp_connections| Config { max_tcp_connections, ..Config::default() };
        let (running, _) = counting(1, limited(1));
        let address = running.addresses()[0];
        let active = || running.counters().active_tcp_connections;
        let connect = || async { TcpStream::connect(address).await.expect("in the backlog") };
        let mut first = connect().await;
        ask(&mut first).await;
        let mut second = connect().await;
        running.control().reconfigure(None, limited(2)).expect("followed");
        ask(&mut second).await;
        assert_eq!(active(), 2, "there is room for the one that waited");
        running.control().reconfigure(None, limited(1)).expect("followed");
        let mut third = connect().await;
        drop(second);
        settled(|| active() == 1).await;
        // The place of the second is gone with it.
        let waited = tokio::time::timeout(Duration::from_millis(100), ask(&mut third)).await;
        assert!(waited.is_err(), "one connection is open, and one may be");
        drop(first);
        // The question was sent already.
        let mut answer = [0; 1];
        third.read_exact(&mut answer).await.expect("now it is its turn");
    });
}

#[test]
fn connections_of_every_version_are_listed_until_they_end() {
    run(async {
        let world = World::start();
        let (http1, http2) = (world.http1().await, world.http2().await);
        let http3 = world.http3().await;
        let third = http3.start_get("/");
        http3.over(third).await;
        let control = world.running.control();
        let list = || {
            let found = control.inspect(10);
            let all = found.connections.iter().filter_map(|one| one.protocol);
            let mut all: Vec<&str> = all.map(sterna_net::Protocol::as_str).collect();
            all.sort_unstable();
            (found.missing, all)
        };
        settled(|| list() == (0, vec!["HTTP/1.1", "HTTP/2", "HTTP/3"])).await;
        let some = control.inspect(1);
        assert_eq!((some.connections.len(), some.more), (1, 2));
        assert!(some.quic.packets_sent > 0 && some.quic.connections_opened == 1, "{:?}", some.quic);
        drop((http1, http2));
        settled(|| list() == (0, vec!["HTTP/3"])).await;
    });
}
