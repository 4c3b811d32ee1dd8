//! The least rate of clients: those who move, but hardly.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use http_body_util::BodyExt;
use sterna_net::{limit::MinRate, server::Config};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, time::Sleep};

use crate::world::{World, full, request, run, settled, text};

/// Other time-outs are far away: a byte in each of them would do.
fn config(bytes_per_second: u64) -> Config {
    let grace = Duration::from_millis(400);
    Config { min_rate: Some(MinRate { bytes_per_second, grace }), ..Config::default() }
}

/// `left` bytes, one every 20 ms.
struct Dribble {
    left: usize,
    timer: Pin<Box<Sleep>>,
}

impl Dribble {
    fn new(left: usize) -> Self {
        Self { left, timer: Box::pin(tokio::time::sleep(PAUSE)) }
    }
}

impl http_body::Body for Dribble {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.timer.as_mut().poll(cx));
        self.timer.as_mut().reset(tokio::time::Instant::now() + PAUSE);
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}

const PAUSE: Duration = Duration::from_millis(20);

#[test]
fn a_request_whose_content_comes_too_slowly_fails_for_its_reader() {
    run(async {
        // A byte each 20 ms is 50 in a second.
        let world = World::with(config(1000));
        let send = || request("POST", world.address, "/count", Dribble::new(1000).boxed_unsync());
        for version in ["HTTP/1.1", "HTTP/2"] {
            let started = Instant::now();
            let response = match version {
                "HTTP/2" => world.http2().await.send_request(send()).await,
                _ => world.http1().await.send_request(send()).await,
            };
            assert_eq!(response.unwrap().status(), StatusCode::BAD_REQUEST, "{version}");
            let elapsed = started.elapsed().as_millis();
            assert!((380..20_000).contains(&elapsed), "{version}: {elapsed} ms");
        }
        let client = world.http3().await;
        let ticket = client.start_post("/count");
        let (started, dribbling) = (Instant::now(), client.clone());
        let dribble = tokio::task::spawn_local(async move {
            loop {
                dribbling.data(ticket, "x", false);
                tokio::time::sleep(PAUSE).await;
            }
        });
        let exchange = client.until(|shared| {
            let exchange = &shared.exchanges[ticket];
            exchange.head.is_some().then(|| exchange.clone())
        });
        assert_eq!(exchange.await.status(), Some(StatusCode::BAD_REQUEST), "HTTP/3");
        dribble.abort();
        let elapsed = started.elapsed().as_millis();
        assert!((380..20_000).contains(&elapsed), "HTTP/3: {elapsed} ms");
        assert_eq!(world.running.counters().slow_clients, 3);
    });
}

#[test]
fn a_request_whose_content_comes_at_the_least_rate_is_read_to_its_end() {
    run(async {
        let world = World::with(config(20));
        let send = || request("POST", world.address, "/count", Dribble::new(60).boxed_unsync());
        let (mut http1, mut http2) = (world.http1().await, world.http2().await);
        let client = world.http3().await;
        let over_http3 = async {
            let ticket = client.start_post("/count");
            for _ in 0..60 {
                client.data(ticket, "x", false);
                tokio::time::sleep(PAUSE).await;
            }
            client.data(ticket, "", true);
            client.over(ticket).await
        };
        let (one, two, three) =
            tokio::join!(http1.send_request(send()), http2.send_request(send()), over_http3);
        assert_eq!(
            (one.unwrap().status(), two.unwrap().status()),
            (StatusCode::OK, StatusCode::OK)
        );
        assert_eq!(three.text(), "60");
        assert_eq!(world.running.counters().slow_clients, 0);
    });
}

#[test]
fn a_service_may_want_another_rate_for_a_request() {
    run(async {
        let world = World::unhurried(config(1000));
        let send = || request("POST", world.address, "/count", Dribble::new(40).boxed_unsync());
        let (mut http1, mut http2) = (world.http1().await, world.http2().await);
        let client = world.http3().await;
        let over_http3 = async {
            let ticket = client.start_post("/count");
            for _ in 0..40 {
                client.data(ticket, "x", false);
                tokio::time::sleep(PAUSE).await;
            }
            client.data(ticket, "", true);
            client.over(ticket).await
        };
        let (one, two, three) =
            tokio::join!(http1.send_request(send()), http2.send_request(send()), over_http3);
        let (one, two) = (text(one.unwrap()).await, text(two.unwrap()).await);
        assert_eq!([&*one, &*two, three.text()], ["40"; 3]);
        assert_eq!(world.running.counters().slow_clients, 0);
    });
}

#[test]
fn a_reader_that_is_too_slow_is_cut_off_over_tcp() {
    run(async {
        let world = World::with(config(10_000_000));
        let mut stream = world.tls_with_buffer(b"http/1.1", 16 * 1024).await.unwrap();
        let ask = b"GET /bytes/20000000 HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let started = Instant::now();
        // 400 KB in a second: something in each pause, and far less than the least.
        let reading = tokio::task::spawn_local(async move {
            let mut piece = [0; 4096];
            while let Ok(1..) = stream.read(&mut piece).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        settled(|| world.running.counters().slow_clients == 1).await;
        settled(|| world.running.counters().active_tcp_connections == 0).await;
        reading.abort();
        let elapsed = started.elapsed().as_millis();
        assert!((380..20_000).contains(&elapsed), "HTTP/1.1: {elapsed} ms");

        let mut client = world.http2_with_window(1024).await;
        let large = request("GET", world.address, "/bytes/1000000", full(""));
        let mut body = client.send_request(large).await.unwrap().into_body();
        while let Some(Ok(_)) = body.frame().await {
            tokio::time::sleep(PAUSE).await;
        }
        settled(|| world.running.counters().slow_clients == 2).await;
    });
}

#[test]
fn a_reader_that_is_too_slow_is_reset_on_http3_and_others_go_on() {
    run(async {
        let world = World::with(config(10_000_000));
        let transport =
            sterna_quic::Config { stream_window: 16 * 1024, ..sterna_quic::Config::default() };
        let client = world.http3_with(transport).await;
        // 16 KiB in each pause, 800 KB in a second: something each time, and far less than the least.
        let ticket = client.start_get("/bytes/20000000");
        client.pause(ticket);
        let reader = client.clone();
        let reading = tokio::task::spawn_local(async move {
            loop {
                reader.sip(ticket);
                tokio::time::sleep(PAUSE).await;
            }
        });
        let exchange = client.over(ticket).await;
        reading.abort();
        assert_eq!(exchange.reset, Some(0x10c), "H3_REQUEST_CANCELLED");
        assert!(!exchange.body.is_empty(), "it took something");
        assert_eq!(world.running.counters().slow_clients, 1);
        assert_eq!(client.get("/").await.status(), Some(StatusCode::OK));
    });
}
