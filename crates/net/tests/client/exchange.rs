//! What belongs to an exchange beside heads and bodies: trailers, interim responses, uploads, cancelling.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use sterna_net::client::{Kind, Phase, Versions};

use crate::world::{EACH, World, exchange, fed, run, settled, text};

#[test]
fn trailers_come_and_go() {
    let world = World::start();
    run(async {
        for versions in EACH {
            let client = world.client(versions);
            let mut request = world.get("/trailers");
            request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
            let response = client.send(request).await.unwrap();
            let collected = response.into_body().collect().await.unwrap();
            // With a known length HTTP/1.1 has no place for them.
            if versions != Versions::ONLY_H1 {
                assert_eq!(collected.trailers().unwrap()["x-count"], "4", "{versions:?}");
            }

            let (feed, fed) = fed();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("ten"));
            let feeding = async {
                feed.send(Frame::data("0123456789".into())).await.unwrap();
                feed.send(Frame::trailers(trailers)).await.unwrap();
                drop(feed);
            };
            let request = Request::post(world.url("/count"));
            let request = request.header("trailer", "x-sum").body(fed).unwrap();
            let (response, ()) = tokio::join!(client.send(request), feeding);
            assert_eq!(text(response.unwrap()).await, "10 ten", "{versions:?}");
        }
    });
}

#[test]
fn upload_goes_as_it_is_made_and_is_held_back_by_a_server_that_does_not_read() {
    let world = World::start();
    run(async {
        for versions in EACH {
            let client = world.client(versions);
            let (feed, body) = fed();
            let request = Request::post(world.url("/unread")).body(body).unwrap();
            let before = world.marks.requests.load(Ordering::SeqCst);
            let feeding = async {
                let chunk = bytes::Bytes::from(vec![7; 64 * 1024]);
                let mut taken = 0;
                // Until nothing has been taken for a while.
                while tokio::time::timeout(
                    Duration::from_millis(300),
                    feed.send(Frame::data(chunk.clone())),
                )
                .await
                .is_ok_and(|sent| sent.is_ok())
                {
                    taken += chunk.len();
                    assert!(taken < 64 << 20, "nothing holds it back, {versions:?}");
                }
                settled(|| world.marks.requests.load(Ordering::SeqCst) > before).await;
                world.marks.release.notify_waiters();
                taken
            };
            let (response, taken) = tokio::join!(client.send(request), feeding);
            assert!(taken > 100_000, "it began before the body was whole: {taken}");
            assert_eq!(response.unwrap().status(), StatusCode::OK);
        }
    });
}

#[test]
fn early_hints_are_told_with_the_response() {
    let world = World::start();
    run(async {
        let client = world.client(Versions::ONLY_H3);
        let response = client.send(world.get("/early")).await.unwrap();
        let interim = exchange(&response).interim.clone();
        assert_eq!(interim.len(), 1);
        assert_eq!(interim[0].0, StatusCode::EARLY_HINTS);
        assert_eq!(interim[0].1["link"], "</style.css>; rel=preload");
        assert_eq!(text(response).await, "hinted");
    });
}

#[test]
fn body_that_waits_for_the_servers_word_goes_when_it_is_asked_for() {
    let world = World::start();
    run(async {
        for versions in EACH {
            let client = world.client(versions);
            // Without the word it would always take a second; with it, only when the machine pauses.
            let mut least = Duration::MAX;
            for _ in 0..10 {
                let mut request = world.post("/count", "0123456789");
                request.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
                let began = Instant::now();
                let response = client.send(request).await.unwrap();
                assert_eq!(text(response).await, "10", "{versions:?}");
                least = least.min(began.elapsed());
                if least < Duration::from_millis(900) {
                    break;
                }
            }
            assert!(least < Duration::from_millis(900), "{versions:?}: {least:?}");
        }
    });
}

#[test]
fn body_that_waits_for_the_servers_word_stays_when_the_answer_is_no() {
    let config = sterna_net::server::Config {
        max_body_size: Some(10),
        ..sterna_net::server::Config::default()
    };
    let world = World::with(config);
    run(async {
        let client = world.client(Versions::ONLY_H3);
        let (feed, body) = fed();
        let request = Request::post(world.url("/count"))
            .header("expect", "100-continue")
            .header("content-length", "1000")
            .body(body)
            .unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        text(response).await;
        settled(|| feed.is_closed()).await;
        assert_eq!(text(client.send(world.get("/")).await.unwrap()).await, "hello over HTTP/3");
        assert_eq!(client.counters().http3_connections, 1, "the connection is as good as before");
    });
}

#[test]
fn request_that_is_dropped_is_cancelled_at_the_server() {
    let world = World::start();
    run(async {
        for versions in EACH {
            let client = world.client(versions);
            let (requests, dropped) = (world.marks.requests.clone(), world.marks.dropped.clone());
            let before = (requests.load(Ordering::SeqCst), dropped.load(Ordering::SeqCst));
            let hanging = tokio::spawn({
                let (client, request) = (client.clone(), world.get("/never"));
                async move { client.send(request).await }
            });
            settled(|| requests.load(Ordering::SeqCst) > before.0).await;
            hanging.abort();
            settled(|| dropped.load(Ordering::SeqCst) > before.1).await;
        }
    });
}

#[test]
fn response_that_is_dropped_is_not_sent_on() {
    let world = World::start();
    run(async {
        for versions in EACH {
            let client = world.client(versions);
            let response = client.send(world.get("/bytes/1000000000")).await.unwrap();
            drop(response);
            let produced = &world.marks.produced;
            let mut before = usize::MAX;
            settled(|| {
                let now = produced.load(Ordering::SeqCst);
                std::mem::replace(&mut before, now) == now
            })
            .await;
            assert!(before < 100_000_000, "{before} bytes for nobody, {versions:?}");
            produced.store(0, Ordering::SeqCst);
            assert_eq!(client.send(world.get("/")).await.unwrap().status(), StatusCode::OK);
        }
    });
}

#[test]
fn request_body_that_fails_or_lies_about_its_length_is_the_requests_fault() {
    let world = World::start();
    run(async {
        for versions in EACH {
            let client = world.client(versions);
            let (feed, body) = fed();
            let request = Request::post(world.url("/echo"))
                .header("content-length", "10")
                .body(body)
                .unwrap();
            let feeding = async {
                feed.send(Frame::data("four".into())).await.unwrap();
                drop(feed);
            };
            let (outcome, ()) = tokio::join!(client.send(request), feeding);
            // The response may have begun: then its body is cut.
            let error = match outcome {
                Err(error) => error,
                Ok(response) => crate::world::body_error(response).await,
            };
            assert_ne!(error.kind(), Kind::Timeout, "{versions:?}");
            assert_ne!(error.phase(), Phase::Connect);
            assert!(!error.may_retry(), "{versions:?} {error:?}");
        }
    });
}

#[test]
fn request_body_that_panics_or_fails_takes_nothing_with_it() {
    let world = World::start();
    run(async {
        for versions in EACH {
            let client = world.client(versions);
            for is_panic in [true, false] {
                let request = Request::post(world.url("/count")).body(Fails { is_panic }).unwrap();
                let error = client.send(request).await.unwrap_err();
                assert_eq!(error.kind(), Kind::RequestBody, "{versions:?} {error:?}");
                assert!(!error.may_retry());
            }
            assert_eq!(client.send(world.get("/")).await.unwrap().status(), StatusCode::OK);
        }
    });
}

/// What of a body there is before it fails.
struct Fails {
    is_panic: bool,
}

impl http_body::Body for Fails {
    type Data = bytes::Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<bytes::Bytes>, &'static str>>> {
        assert!(!self.is_panic, "as the test wants");
        std::task::Poll::Ready(Some(Err("as the test wants")))
    }
}

#[test]
fn plain_http_goes_over_http1_and_over_http2_when_that_alone_is_allowed() {
    let world = World::on(sterna_net::server::Config::default(), false);
    run(async {
        for (versions, protocol) in [
            (Versions::ALL, "HTTP/1.1"),
            (Versions::ONLY_H1, "HTTP/1.1"),
            (Versions::ONLY_H2, "HTTP/2"),
        ] {
            let client = world.client(versions);
            let url = format!("http://localhost:{}/", world.address.port());
            let request = Request::get(url).body(sterna_net::Body::empty()).unwrap();
            let response = client.send(request).await.unwrap();
            assert!(exchange(&response).tls.is_none());
            assert_eq!(text(response).await, format!("hello over {protocol}"));
        }
        let client = world.client(Versions::ONLY_H3);
        let url = format!("http://localhost:{}/", world.address.port());
        let request = Request::get(url).body(sterna_net::Body::empty()).unwrap();
        let error = client.send(request).await.unwrap_err();
        assert_eq!((error.phase(), error.kind()), (Phase::Connect, Kind::Alpn));
    });
}

#[test]
fn head_that_is_larger_than_the_limit_is_refused_and_one_below_is_not() {
    let world = World::start();
    run(async {
        for versions in EACH {
            let limits = sterna_net::client::PoolConfig {
                max_header_size: 100_000,
                ..sterna_net::client::PoolConfig::default()
            };
            let client = world.builder().versions(versions).pool(limits).build().unwrap();
            let response = client.send(world.get("/headers/80")).await.unwrap();
            assert!(response.headers().len() > 80, "{versions:?}");
            text(response).await;
            let error = client.send(world.get("/headers/120")).await.unwrap_err();
            assert_eq!(error.phase(), Phase::FirstByte);
            // The HTTP/2 layer does not tell the two apart.
            let kind = match versions {
                Versions::ONLY_H2 => Kind::Malformed,
                // This server heard of the limit, and gives up by itself.
                Versions::ONLY_H3 => Kind::Reset { code: 0x102 },
                _ => Kind::HeadersTooLarge,
            };
            assert_eq!(error.kind(), kind, "{versions:?} {error:?}");
        }
    });
}
