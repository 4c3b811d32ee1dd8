//! The orderly end: what runs completes, what is new is refused, and nothing outlives the deadline.

use std::time::{Duration, Instant};

use http::StatusCode;
use http_body_util::BodyExt;

use crate::{
    client::Action,
    world::{World, full, pattern, request, run, settled, text},
};

const LONG: Duration = Duration::from_secs(20);

#[test]
fn running_request_completes_on_every_version_and_the_server_ends() {
    run(async {
        let world = World::start();
        let (mut http1, mut http2) = (world.http1().await, world.http2().await);
        let http3 = world.http3().await;
        let slow = || request("GET", world.address, "/slow/400", full(""));
        let first = tokio::task::spawn_local(http1.send_request(slow()));
        let second = tokio::task::spawn_local(http2.send_request(slow()));
        let third = http3.start_get("/slow/400");
        settled(|| world.running.counters().active_requests == 3).await;
        world.running.shutdown(LONG);

        let response = first.await.unwrap().unwrap();
        assert_eq!(response.headers()["connection"], "close");
        assert_eq!(text(response).await, "slow");
        assert_eq!(text(second.await.unwrap().unwrap()).await, "slow");
        let response = http3.over(third).await;
        assert_eq!((response.text(), response.reset), ("slow", None));
        let reason = http3.until(|shared| shared.closed.clone()).await;
        let sterna_quic::CloseReason::Application { code, .. } = reason else {
            panic!("not closed by the application: {reason:?}");
        };
        assert_eq!(code, 0x100, "H3_NO_ERROR");
        let goaways = http3.shared().goaways.clone();
        assert_eq!(goaways, [(1 << 62) - 4, 4], "first the largest id, then the real one");

        let counters = world.running.counters();
        tokio::task::spawn_blocking(|| world.running.wait()).await.unwrap().unwrap();
        assert_eq!(counters.cancelled_requests, 0);
    });
}

#[test]
fn download_under_way_is_whole_when_the_connection_closes() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        let ticket = client.start_get("/bytes/5000000");
        client.until(|shared| (shared.exchanges[ticket].body.len() > 10_000).then_some(())).await;
        world.running.shutdown(LONG);
        client.until(|shared| shared.closed.clone()).await;
        let response = client.exchange(ticket);
        assert!(response.finished && response.body == pattern(5_000_000));
    });
}

#[test]
fn new_connections_are_refused_while_it_drains() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        client.start_get("/never");
        settled(|| world.running.counters().active_requests == 1).await;
        world.running.shutdown(LONG);
        while tokio::net::TcpStream::connect(world.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // UDP hears of it in the same moment, perhaps after TCP.
        while world.http3().await.shared().connected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn idle_connections_end_at_once() {
    run(async {
        let world = World::start();
        let (mut http1, mut http2) = (world.http1().await, world.http2().await);
        let http3 = world.http3().await;
        let hello = || request("GET", world.address, "/", full(""));
        http1.send_request(hello()).await.unwrap().into_body().collect().await.unwrap();
        http2.send_request(hello()).await.unwrap().into_body().collect().await.unwrap();
        http3.get("/").await;
        let started = Instant::now();
        world.running.shutdown(LONG);
        tokio::task::spawn_blocking(|| world.running.wait()).await.unwrap().unwrap();
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    });
}

#[test]
fn deadline_ends_what_does_not_end_by_itself() {
    run(async {
        let world = World::start();
        let (mut http1, mut http2) = (world.http1().await, world.http2().await);
        let http3 = world.http3().await;
        let never = || request("GET", world.address, "/never", full(""));
        let first = tokio::task::spawn_local(http1.send_request(never()));
        let second = tokio::task::spawn_local(http2.send_request(never()));
        http3.start_get("/never");
        settled(|| world.running.counters().active_requests == 3).await;
        let started = Instant::now();
        world.running.shutdown(LONG);
        // An earlier deadline counts.
        world.running.shutdown(Duration::from_millis(200));
        let marks = world.marks.clone();
        tokio::task::spawn_blocking(|| world.running.wait()).await.unwrap().unwrap();
        assert!((200..2000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
        assert!(first.await.unwrap().is_err());
        assert!(second.await.unwrap().is_err());
        assert_eq!(marks.dropped.load(std::sync::atomic::Ordering::SeqCst), 3);
        let reason = http3.until(|shared| shared.closed.clone()).await;
        assert!(matches!(reason, sterna_quic::CloseReason::Application { code: 0x100, .. }));
    });
}

#[test]
fn request_after_the_goaway_is_rejected_and_may_be_tried_elsewhere() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        let running = client.start_get("/slow/500");
        settled(|| world.running.counters().active_requests == 1).await;
        world.running.shutdown(LONG);
        client.until(|shared| (shared.goaways.len() == 2).then_some(())).await;
        // This client does not care for GOAWAY: HEADERS with four fields of the static table.
        let late = client.raw(&b"\x01\x06\x00\x00\xd1\xd7\xc1\xc0"[..], true);
        assert_eq!(client.over(late).await.reset, Some(0x10b), "H3_REQUEST_REJECTED");
        assert_eq!(client.over(running).await.status(), Some(StatusCode::OK));
        client.act(Action::Close { code: 0x100 });
    });
}
