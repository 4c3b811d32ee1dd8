//! Every phase has its time-out, and nothing hangs.

use std::{net::SocketAddr, time::Duration};

use http_body_util::BodyExt;
use sterna_net::client::{Kind, Phase, Timeouts, Versions};
use tokio::net::{TcpListener, UdpSocket};

use crate::world::{EACH, World, body_error, run};

const SHORT: Duration = Duration::from_millis(150);

#[test]
fn the_whole_may_take_no_longer_than_its_time_out_whatever_it_is_doing() {
    let world = World::start();
    run(async {
        for versions in EACH {
            let timeouts = Timeouts { total: SHORT, ..Timeouts::default() };
            let client = world.builder().versions(versions).timeouts(timeouts).build().unwrap();
            let error = client.send(world.get("/never")).await.unwrap_err();
            assert_eq!((error.phase(), error.kind()), (Phase::FirstByte, Kind::Timeout));
            // The handler is told: its request was given up.
            let dropped = world.marks.dropped.clone();
            crate::world::settled(|| dropped.swap(0, std::sync::atomic::Ordering::SeqCst) == 1)
                .await;
        }
    });
}

#[test]
fn body_that_pauses_for_too_long_fails_in_the_body() {
    let world = World::start();
    run(async {
        for versions in EACH {
            let timeouts = Timeouts { idle: SHORT, ..Timeouts::default() };
            let client = world.builder().versions(versions).timeouts(timeouts).build().unwrap();
            let (feed, fed) = crate::world::fed();
            let request = http::Request::post(world.url("/echo")).body(fed).unwrap();
            feed.send(http_body::Frame::data("some".into())).await.unwrap();
            let response = client.send(request).await.unwrap();
            let error = body_error(response).await;
            assert_eq!((error.phase(), error.kind()), (Phase::Body, Kind::Timeout), "{versions:?}");
            assert!(error.protocol().is_some());
        }
    });
}

#[test]
fn body_whose_pauses_are_short_may_take_longer_than_one_of_them() {
    let world = World::start();
    run(async {
        for versions in EACH {
            let timeouts = Timeouts { idle: 8 * SHORT, ..Timeouts::default() };
            let client = world.builder().versions(versions).timeouts(timeouts).build().unwrap();
            let (feed, fed) = crate::world::fed();
            let request = http::Request::post(world.url("/echo")).body(fed).unwrap();
            let feeding = async {
                for _ in 0..4 {
                    feed.send(http_body::Frame::data("some".into())).await.unwrap();
                    tokio::time::sleep(3 * SHORT).await;
                }
                drop(feed);
            };
            let reading = async {
                client.send(request).await.unwrap().into_body().collect().await.unwrap().to_bytes()
            };
            let (body, ()) = tokio::join!(reading, feeding);
            assert_eq!(body, "some".repeat(4), "{versions:?}");
        }
    });
}

/// A client for an address where something strange is.
fn at(address: SocketAddr, versions: Versions, timeouts: Timeouts) -> sterna_net::Client {
    sterna_net::Client::builder()
        .danger_accept_any_certificate(true)
        .connect_to(address.ip().to_string(), address.port())
        .versions(versions)
        .timeouts(timeouts)
        .build()
        .unwrap()
}

fn get(scheme: &str) -> http::Request<sterna_net::Body> {
    let url = format!("{scheme}://localhost/");
    http::Request::get(url).body(sterna_net::Body::empty()).unwrap()
}

#[test]
fn server_that_says_nothing_is_given_up_in_the_handshake() {
    run(async {
        let timeouts = Timeouts { connect: SHORT, tls: SHORT, ..Timeouts::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = at(listener.local_addr().unwrap(), Versions::ONLY_H2, timeouts);
        let error = client.send(get("https")).await.unwrap_err();
        // The kernel accepts for it, so that it is TLS which gets no answer.
        assert!(error.is_timeout() && error.may_retry(), "{error:?}");
        assert!(matches!(error.phase(), Phase::Tls | Phase::Connect), "{error:?}");

        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let client = at(silent.local_addr().unwrap(), Versions::ONLY_H3, timeouts);
        let error = client.send(get("https")).await.unwrap_err();
        assert_eq!((error.phase(), error.kind()), (Phase::Connect, Kind::Timeout));
        assert!(!error.trace().is_empty(), "it tells what was tried");
    });
}

#[test]
fn slow_reader_holds_the_server_back() {
    let world = World::start();
    run(async {
        for versions in [Versions::ONLY_H3, Versions::ONLY_H2] {
            world.marks.produced.store(0, std::sync::atomic::Ordering::SeqCst);
            let quic = sterna_quic_config(64 * 1024);
            let client = world.builder().versions(versions).quic(quic).build().unwrap();
            let response = client.send(world.get("/bytes/100000000")).await.unwrap();
            let mut body = response.into_body();
            body.frame().await.unwrap().unwrap();
            // Until the server makes nothing more.
            let mut before = 0;
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                let now = world.marks.produced.load(std::sync::atomic::Ordering::SeqCst);
                if now == before {
                    break;
                }
                before = now;
            }
            assert!(
                before < 30_000_000,
                "{before} bytes for a reader that takes none, {versions:?}"
            );
            if versions == Versions::ONLY_H3 {
                let waiting = client.counters().waiting_response_bytes;
                assert!((1..400_000).contains(&waiting), "{waiting} bytes wait");
                assert!(before < 2_000_000, "{before}");
            }
            // It goes on where it was.
            let mut left = 3;
            while left > 0 {
                body.frame().await.unwrap().unwrap();
                left -= 1;
            }
        }
    });
}

fn sterna_quic_config(window: u64) -> sterna_net::quic::Config {
    sterna_net::quic::Config {
        stream_window: window,
        max_bidi_streams: 0,
        ..sterna_net::quic::Config::default()
    }
}
