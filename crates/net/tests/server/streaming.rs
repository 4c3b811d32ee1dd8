//! Content in both directions: it streams, it is held back by whoever is slow, and it ends as it should.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, Full};

use crate::{
    client::Action,
    world::{World, full, pattern, request, run},
};

#[test]
fn download_arrives_whole_on_every_version() {
    run(async {
        let world = World::start();
        let len = 3_000_000;
        let path = format!("/bytes/{len}");
        let ask = || request("GET", world.address, &path, full(""));
        let mut http1 = world.http1().await;
        let response = http1.send_request(ask()).await.unwrap();
        assert!(response.into_body().collect().await.unwrap().to_bytes() == pattern(len));
        let mut http2 = world.http2().await;
        let response = http2.send_request(ask()).await.unwrap();
        assert!(response.into_body().collect().await.unwrap().to_bytes() == pattern(len));
        let response = world.http3().await.get(&path).await;
        assert!(response.finished && response.body == pattern(len));
    });
}

#[test]
fn upload_is_echoed_whole_on_every_version() {
    run(async {
        let world = World::start();
        let data = Bytes::from(pattern(2_000_000));
        let send = || request("POST", world.address, "/echo", full(data.clone()));
        let mut http1 = world.http1().await;
        let response = http1.send_request(send()).await.unwrap();
        assert_eq!(response.headers()["x-protocol"], "HTTP/1.1");
        assert!(response.into_body().collect().await.unwrap().to_bytes() == data);
        let mut http2 = world.http2().await;
        let response = http2.send_request(send()).await.unwrap();
        assert_eq!(response.headers()["x-protocol"], "HTTP/2");
        assert!(response.into_body().collect().await.unwrap().to_bytes() == data);
        let response = world.http3().await.post("/echo", data.clone()).await;
        assert_eq!(response.header("x-protocol"), Some("HTTP/3"));
        assert!(response.finished && response.body == data);
        assert_eq!(world.running.counters().cancelled_requests, 0);
    });
}

#[test]
fn each_piece_of_an_echo_comes_back_before_the_next_is_sent() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        let ticket = client.start_post("/echo");
        let mut expected = Vec::new();
        for piece in [&b"one"[..], b"two", b"three"] {
            client.data(ticket, piece, false);
            expected.extend_from_slice(piece);
            client.until(|shared| (shared.exchanges[ticket].body == expected).then_some(())).await;
        }
        client.data(ticket, "", true);
        assert!(client.over(ticket).await.finished);
    });
}

#[test]
fn download_is_made_only_as_fast_as_the_client_reads() {
    run(async {
        let world = World::start();
        let transport =
            sterna_quic::Config { stream_window: 64 * 1024, ..sterna_quic::Config::default() };
        let client = world.http3_with(transport).await;
        let len = 4_000_000;
        let ticket = client.start_get(&format!("/bytes/{len}"));
        client.pause(ticket);
        let produced = || world.marks.produced.load(Ordering::SeqCst);
        // Until it stands still.
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(150)).await;
            if produced() > 0 && produced() == before {
                break;
            }
            before = produced();
        }
        let bound = 64 * 1024 + 64 * 1024;
        assert!(before <= bound, "{before} bytes were made for a client that takes 65536");
        let queued = world.running.counters().queued_response_bytes;
        assert!((1..=64 * 1024).contains(&queued), "{queued} bytes wait");
        client.resume(ticket);
        let response = client.over(ticket).await;
        assert!(response.body == pattern(len));
        assert_eq!(world.running.counters().queued_response_bytes, 0);
    });
}

#[test]
fn upload_is_held_back_while_nobody_reads_it() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        let len = 12_000_000;
        let ticket = client.start_post("/held");
        client.data(ticket, vec![7; len], true);
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(150)).await;
            let queued = world.running.counters().queued_upload_bytes;
            if queued > 0 && queued == before {
                break;
            }
            before = queued;
        }
        let bound = 256 * 1024 + 64 * 1024;
        assert!(before <= bound, "{before} bytes wait for the application");
        assert!(client.exchange(ticket).unsent > 0, "the client has something left");
        world.marks.release.notify_one();
        let response = client.over(ticket).await;
        assert_eq!(response.text(), len.to_string());
        assert_eq!(world.running.counters().queued_upload_bytes, 0);
    });
}

#[test]
fn trailers_of_a_response_arrive_on_http2_and_http3() {
    run(async {
        let world = World::start();
        let mut http2 = world.http2().await;
        let ask = request("GET", world.address, "/trailers", full(""));
        let body = http2.send_request(ask).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-count"], "4");
        let response = world.http3().await.get("/trailers").await;
        assert_eq!((response.text(), response.finished), ("four", true));
        assert_eq!(response.trailers.unwrap()["x-count"], "4");
    });
}

#[test]
fn trailers_of_a_request_arrive_on_http2_and_http3() {
    run(async {
        let world = World::start();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "abc".parse().unwrap());

        let mut http2 = world.http2().await;
        let sent = trailers.clone();
        let body = Full::new(Bytes::from_static(b"data"))
            .with_trailers(async move { Some(Ok(sent)) })
            .boxed_unsync();
        let response = http2.send_request(request("POST", world.address, "/count", body)).await;
        assert_eq!(response.unwrap().headers()["x-sum"], "abc");

        let client = world.http3().await;
        let ticket = client.start_post("/count");
        client.data(ticket, "data", false);
        client.act(Action::Trailers { ticket, trailers });
        let response = client.over(ticket).await;
        assert_eq!((response.text(), response.header("x-sum")), ("4", Some("abc")));
    });
}

#[test]
fn body_can_be_read_on_another_thread() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        let len = 3_000_000;
        // The reader is faster than the client: it waits on its own thread and is woken from the worker's.
        let ticket = client.start_post("/thread");
        for _ in 0..3 {
            client.data(ticket, vec![1; len / 3], false);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        client.data(ticket, "", true);
        assert_eq!(client.over(ticket).await.text(), len.to_string());
    });
}

#[test]
fn early_hints_come_before_the_response_on_http3() {
    run(async {
        let world = World::start();
        let response = world.http3().await.get("/early").await;
        let hints: Vec<_> = response
            .interim
            .iter()
            .map(|head| (head.status.as_u16(), head.headers["link"].to_str().unwrap()))
            .collect();
        assert_eq!(hints, [(103, "</style.css>; rel=preload")]);
        assert_eq!(response.text(), "hinted");
    });
}

#[test]
fn early_hints_are_refused_where_they_cannot_be_sent() {
    run(async {
        let world = World::start();
        let ask = request("GET", world.address, "/early", full(""));
        let response = world.http2().await.send_request(ask).await.unwrap();
        assert_eq!(crate::world::text(response).await, "not hinted");
    });
}

#[test]
fn expecting_client_is_told_to_continue_when_its_body_is_wanted() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        let mut head = crate::client::head(http::Method::POST, "/count");
        head.headers.insert("expect", "100-continue".parse().unwrap());
        let ticket = client.request(head, false);
        let status = client
            .until(|shared| shared.exchanges[ticket].interim.first().map(|head| head.status))
            .await;
        assert_eq!(status, http::StatusCode::CONTINUE);
        client.data(ticket, "abc", true);
        let response = client.over(ticket).await;
        assert_eq!((response.text(), response.interim.len()), ("3", 1));
    });
}

#[test]
fn response_before_the_end_of_the_upload_is_whole_and_stops_it_without_error() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        let ticket = client.start_post("/ignore");
        client.data(ticket, vec![0; 1000], false);
        let response = client.over(ticket).await;
        assert_eq!((response.text(), response.reset), ("ignored", None));
        let stopped = client.until(|shared| shared.exchanges[ticket].stopped).await;
        assert_eq!(stopped, 0x100, "H3_NO_ERROR");
        assert_eq!(client.get("/").await.status(), Some(http::StatusCode::OK));
    });
}

#[test]
fn endless_upload_to_a_handler_that_does_not_read_ends_with_its_response() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        let ticket = client.start_post("/ignore");
        client.data(ticket, vec![0; 20_000_000], true);
        let response = client.over(ticket).await;
        assert_eq!((response.text(), response.reset), ("ignored", None));
    });
}

#[test]
fn upload_that_is_reset_is_a_body_error_and_never_a_clean_end() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        let ticket = client.start_post("/count");
        client.data(ticket, vec![0; 5000], false);
        client.until(|shared| (shared.exchanges[ticket].unsent == 0).then_some(())).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        client.act(Action::ResetUpload { ticket, code: 0x10c });
        let response = client.over(ticket).await;
        assert_eq!(response.status(), Some(http::StatusCode::BAD_REQUEST));
        assert_eq!(world.marks.failed_bodies.load(Ordering::SeqCst), 1);
        assert_eq!(client.get("/").await.status(), Some(http::StatusCode::OK));
    });
}

#[test]
fn failing_body_is_a_reset_after_what_was_sent() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        let response = client.get("/error-body").await;
        assert_eq!((response.reset, response.finished), (Some(0x102), false));
        let response = client.get("/short").await;
        assert_eq!((response.reset, response.finished), (Some(0x102), false));
        assert_eq!(world.running.counters().service_errors, 2);
    });
}

#[test]
fn urgent_response_overtakes_a_long_one() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        let long = client.start_get("/bytes/6000000");
        client.until(|shared| (shared.exchanges[long].body.len() > 100_000).then_some(())).await;
        let mut head = crate::client::head(http::Method::GET, "/bytes/200000");
        head.headers.insert("priority", "u=0".parse().unwrap());
        let urgent = client.request(head, true);
        let (urgent, long) = (client.over(urgent).await, client.over(long).await);
        assert!(urgent.order < long.order, "the urgent one first");
        assert!(long.body == pattern(6_000_000));
    });
}

#[test]
fn response_that_becomes_urgent_overtakes_the_others() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        let first = client.start_get("/bytes/6000000");
        let second = client.start_get("/bytes/1000000");
        client.until(|shared| (shared.exchanges[first].body.len() > 100_000).then_some(())).await;
        let priority = sterna_h3::Priority { urgency: 1, incremental: false };
        client.act(Action::Reprioritise { ticket: second, priority });
        let (first, second) = (client.over(first).await, client.over(second).await);
        assert!(second.order < first.order, "it was asked for later and is more urgent now");
    });
}
