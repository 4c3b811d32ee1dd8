//! Limits and time-outs, on every version that has them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use sterna_net::server::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    client::head,
    world::{World, full, request, run, settled},
};

#[test]
fn head_beyond_the_limit_is_a_431_on_every_version() {
    run(async {
        let config = Config { max_header_size: 16 * 1024, ..Config::default() };
        let world = World::with(config);
        let large = "x".repeat(20_000);
        let ask = || {
            let mut request = request("GET", world.address, "/", full(""));
            request.headers_mut().insert("x-large", large.parse().unwrap());
            request
        };
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        assert_eq!(world.http1().await.send_request(ask()).await.unwrap().status(), status);
        assert_eq!(world.http2().await.send_request(ask()).await.unwrap().status(), status);

        let client = world.http3().await;
        let mut large_head = head(http::Method::GET, "/");
        large_head.headers.insert("x-large", large.parse().unwrap());
        let ticket = client.request(large_head, true);
        let response = client.over(ticket).await;
        // The client knows the limit from SETTINGS, or the server answers.
        assert!(response.status() == Some(status) || response.misbehaved.is_some());
        assert_eq!(client.get("/").await.status(), Some(StatusCode::OK));
    });
}

#[test]
fn body_beyond_the_limit_is_a_413_when_it_is_announced() {
    run(async {
        let config = Config { max_body_size: Some(1000), ..Config::default() };
        let world = World::with(config);
        let send = |len| request("POST", world.address, "/count", full(vec![0; len]));
        for (len, status) in [(1000, StatusCode::OK), (1001, StatusCode::PAYLOAD_TOO_LARGE)] {
            assert_eq!(world.http1().await.send_request(send(len)).await.unwrap().status(), status);
            assert_eq!(world.http2().await.send_request(send(len)).await.unwrap().status(), status);
            let client = world.http3().await;
            let mut announced = head(http::Method::POST, "/count");
            announced.headers.insert("content-length", len.into());
            let ticket = client.request(announced, false);
            client.data(ticket, vec![0; len], true);
            assert_eq!(client.over(ticket).await.status(), Some(status));
        }
    });
}

#[test]
fn body_beyond_the_limit_fails_when_it_is_not_announced() {
    run(async {
        let config = Config { max_body_size: Some(1000), ..Config::default() };
        let world = World::with(config);
        let client = world.http3().await;
        assert_eq!(client.post("/count", vec![0; 1000]).await.text(), "1000");
        let ticket = client.start_post("/count");
        client.data(ticket, vec![0; 1000], false);
        settled(|| world.running.counters().active_requests > 0).await;
        client.data(ticket, "x", true);
        let response = client.over(ticket).await;
        assert_eq!(response.status(), Some(StatusCode::BAD_REQUEST), "the handler saw an error");
    });
}

#[test]
fn head_that_dribbles_is_cut_on_http1() {
    run(async {
        let config = Config { header_timeout: Duration::from_millis(200), ..Config::default() };
        let world = World::with(config);
        let mut stream = world.tls(b"http/1.1").await.unwrap();
        let started = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: loc").await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(answer, b"");
        assert!(started.elapsed() >= Duration::from_millis(190), "{:?}", started.elapsed());
        assert_eq!(world.running.counters().timeouts, 1);
    });
}

#[test]
fn idle_connection_outlives_the_head_timeout_on_http1() {
    run(async {
        let config = Config {
            header_timeout: Duration::from_millis(150),
            keep_alive_timeout: Duration::from_millis(600),
            ..Config::default()
        };
        let world = World::with(config);
        let mut http1 = world.http1().await;
        let hello = || request("GET", world.address, "/", full(""));
        let first = http1.send_request(hello()).await.unwrap();
        first.into_body().collect().await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        http1.ready().await.unwrap();
        let second = http1.send_request(hello()).await.unwrap();
        second.into_body().collect().await.unwrap();
        let idle_since = Instant::now();
        while !http1.is_closed() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(idle_since.elapsed() >= Duration::from_millis(500));
    });
}

#[test]
fn silent_handshake_is_cut() {
    run(async {
        let config = Config { handshake_timeout: Duration::from_millis(100), ..Config::default() };
        let world = World::with(config);
        let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
        settled(|| world.running.counters().timeouts == 1).await;
    });
}

#[test]
fn garbage_instead_of_tls_is_counted_and_harms_nobody() {
    run(async {
        let world = World::start();
        let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        settled(|| world.running.counters().tls_failures == 1).await;
        let hello = request("GET", world.address, "/", full(""));
        assert_eq!(world.http1().await.send_request(hello).await.unwrap().status(), 200);
    });
}

#[test]
fn body_that_pauses_too_long_fails_for_who_waits_for_it() {
    run(async {
        let config = Config { body_idle_timeout: Duration::from_millis(150), ..Config::default() };
        let world = World::with(config);

        let client = world.http3().await;
        let ticket = client.start_post("/count");
        client.data(ticket, "abc", false);
        assert_eq!(client.over(ticket).await.status(), Some(StatusCode::BAD_REQUEST));

        let never_ends = Full::new(Bytes::from_static(b"abc"))
            .with_trailers(std::future::pending())
            .boxed_unsync();
        let send = request("POST", world.address, "/count", never_ends);
        let response = world.http2().await.send_request(send).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert!(world.running.counters().timeouts >= 1);
    });
}

#[test]
fn request_whose_head_never_comes_is_rejected_on_http3() {
    run(async {
        let config = Config { header_timeout: Duration::from_millis(150), ..Config::default() };
        let world = World::with(config);
        let client = world.http3().await;
        let started = Instant::now();
        // The type and length of a HEADERS frame, and then nothing.
        let ticket = client.raw(&b"\x01\x20"[..], false);
        let response = client.over(ticket).await;
        assert_eq!(response.reset, Some(0x10b), "H3_REQUEST_REJECTED: it may be tried again");
        assert!(started.elapsed() >= Duration::from_millis(140));
        assert_eq!(world.running.counters().timeouts, 1);
        assert_eq!(client.get("/").await.status(), Some(StatusCode::OK));
    });
}

#[test]
fn client_that_takes_nothing_is_cut_off_on_http3() {
    run(async {
        let config = Config { write_timeout: Duration::from_millis(200), ..Config::default() };
        let world = World::with(config);
        let transport =
            sterna_quic::Config { stream_window: 16 * 1024, ..sterna_quic::Config::default() };
        let client = world.http3_with(transport).await;
        let ticket = client.start_get("/bytes/1000000");
        client.pause(ticket);
        settled(|| world.running.counters().timeouts > 0).await;
        client.resume(ticket);
        assert_eq!(client.over(ticket).await.reset, Some(0x10c));
        assert_eq!(client.get("/").await.status(), Some(StatusCode::OK), "the others go on");
        assert_eq!(world.running.counters().queued_response_bytes, 0);
    });
}

#[test]
fn client_that_takes_nothing_is_cut_off_on_http1() {
    run(async {
        let config = Config { write_timeout: Duration::from_millis(300), ..Config::default() };
        let world = World::with(config);
        let mut stream = world.tls(b"http/1.1").await.unwrap();
        stream.write_all(b"GET /bytes/50000000 HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        settled(|| world.running.counters().timeouts > 0).await;
        settled(|| world.running.counters().active_tcp_connections == 0).await;
    });
}

/// The kernel says that it takes more when a third of its buffer is free, which may be long after the client took something.
#[test]
fn client_that_takes_little_is_not_cut_off_on_http1() {
    run(async {
        let config = Config { write_timeout: Duration::from_millis(300), ..Config::default() };
        let world = World::with(config);
        let mut stream = world.tls_with_buffer(b"http/1.1", 64 * 1024).await.unwrap();
        let ask = b"GET /bytes/6000000 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let (mut received, mut piece) = (0, vec![0; 16 * 1024]);
        loop {
            match stream.read(&mut piece).await.expect("all of it") {
                0 => break,
                length => received += length,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(received > 6_000_000, "{received} bytes");
        assert_eq!(world.running.counters().timeouts, 0);
    });
}

#[test]
fn client_that_opens_no_window_is_cut_off_on_http2() {
    run(async {
        let config = Config { write_timeout: Duration::from_millis(200), ..Config::default() };
        let world = World::with(config);
        let mut client = world.http2_with_window(16).await;
        let large = || request("GET", world.address, "/bytes/1000000", full(""));
        let _unread = client.send_request(large()).await.unwrap();
        settled(|| world.running.counters().timeouts > 0).await;
        settled(|| world.running.counters().active_tcp_connections == 0).await;
    });
}

#[test]
fn client_that_opens_no_window_for_the_last_piece_is_cut_off_on_http2() {
    run(async {
        let config = Config {
            write_timeout: Duration::from_millis(200),
            keep_alive_timeout: Duration::from_millis(100),
            ..Config::default()
        };
        let world = World::with(config);
        let mut client = world.http2_with_window(16).await;
        let small = || request("GET", world.address, "/bytes/1000", full(""));
        let _unread = client.send_request(small()).await.unwrap();
        settled(|| world.running.counters().active_tcp_connections == 0).await;
        assert_eq!(world.running.counters().timeouts, 1);
    });
}

/// The body is one piece, which hyper has long before the client.
#[test]
fn large_piece_is_not_cut_while_its_client_takes_it() {
    run(async {
        let config = Config {
            write_timeout: Duration::from_millis(700),
            keep_alive_timeout: Duration::from_millis(100),
            ..Config::default()
        };
        let world = World::with(config);
        let pause = || tokio::time::sleep(Duration::from_millis(10));

        let mut stream = world.tls(b"http/1.1").await.unwrap();
        let ask = b"GET /whole/40000000 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let (mut received, mut pauses, mut piece) = (0, 0, vec![0; 256 * 1024]);
        loop {
            match stream.read(&mut piece).await.expect("all of it") {
                0 => break,
                length => received += length,
            }
            while pauses < received / piece.len() {
                pause().await;
                pauses += 1;
            }
        }
        assert!(received > 40_000_000, "HTTP/1.1: {received} bytes");

        let mut client = world.http2_with_window(64 * 1024).await;
        let large = request("GET", world.address, "/whole/2000000", full(""));
        let mut body = client.send_request(large).await.unwrap().into_body();
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            received += frame.unwrap().into_data().unwrap().len();
            pause().await;
        }
        assert_eq!(received, 2_000_000, "HTTP/2");
        assert_eq!(world.running.counters().timeouts, 0);
    });
}

#[test]
fn slow_answer_is_no_stall_of_the_client_on_http2() {
    run(async {
        let config = Config { write_timeout: Duration::from_millis(50), ..Config::default() };
        let world = World::with(config);
        let slow = request("GET", world.address, "/slow/400", full(""));
        assert_eq!(world.http2().await.send_request(slow).await.unwrap().status(), 200);
        assert_eq!(world.running.counters().timeouts, 0);
    });
}

#[test]
fn connection_above_the_limit_waits_for_another_to_end() {
    run(async {
        let world = World::with(Config { max_tcp_connections: 1, ..Config::default() });
        let mut first = world.http1().await;
        let hello = || request("GET", world.address, "/", full(""));
        assert_eq!(first.send_request(hello()).await.unwrap().status(), 200);
        let second = tokio::time::timeout(Duration::from_millis(200), world.http1()).await;
        assert!(second.is_err(), "the kernel keeps it");
        drop(first);
        let third = world.http1().await.send_request(hello()).await;
        assert_eq!(third.unwrap().status(), 200);
    });
}

#[test]
fn a_worker_that_is_behind_refuses_new_requests_until_it_has_caught_up() {
    run(async {
        let config = Config { max_lag: Some(Duration::from_millis(30)), ..Config::default() };
        let world = World::with(config);
        let ask = |path: &str| request("GET", world.address, path, full(""));
        // Each keeps the worker for longer than it may be late.
        let mut busy = Vec::new();
        for _ in 0..4 {
            let mut http1 = world.http1().await;
            let block = ask("/block");
            let (head, _) = block.into_parts();
            busy.push(tokio::task::spawn_local(async move {
                loop {
                    let again = http::Request::from_parts(head.clone(), full(""));
                    let response = http1.send_request(again).await.unwrap();
                    let status = response.status();
                    let later = response.headers().get("retry-after").cloned();
                    response.into_body().collect().await.unwrap();
                    if status != StatusCode::OK {
                        break (status, later);
                    }
                    http1.ready().await.unwrap();
                }
            }));
        }
        for busy in busy {
            let (status, later) = busy.await.unwrap();
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(later.unwrap(), "1");
        }
        assert!(world.running.counters().shed_requests >= 4);
        // Nobody keeps it any more.
        let client = world.http3().await;
        loop {
            match client.get("/").await.status() {
                Some(StatusCode::SERVICE_UNAVAILABLE) => tokio::time::sleep(TICK).await,
                status => break assert_eq!(status, Some(StatusCode::OK)),
            }
        }
    });
}

const TICK: Duration = Duration::from_millis(5);
