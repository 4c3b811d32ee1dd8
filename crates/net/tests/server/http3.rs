//! What only HTTP/3 has: many streams, cancellation by stream, malformed messages.

use std::sync::atomic::Ordering;

use http::StatusCode;
use sterna_net::server::Config;

use crate::{
    client::{Action, head},
    world::{World, pattern, run, settled},
};

#[test]
fn two_hundred_streams_at_once_are_all_answered() {
    run(async {
        let mut config = Config::default();
        config.quic.max_bidi_streams = 200;
        let world = World::with(config);
        let client = world.http3().await;
        let tickets: Vec<_> = (0..200).map(|_| client.start_get("/bytes/20000")).collect();
        for ticket in tickets {
            let response = client.over(ticket).await;
            assert!(response.finished && response.body == pattern(20_000));
        }
        assert_eq!(world.running.counters().http3_requests, 200);
    });
}

#[test]
fn more_requests_than_the_stream_limit_fit_on_one_connection() {
    run(async {
        let mut config = Config::default();
        config.quic.max_bidi_streams = 10;
        let world = World::with(config);
        let client = world.http3().await;
        let tickets: Vec<_> = (0..300).map(|_| client.start_get("/")).collect();
        for ticket in tickets {
            assert_eq!(client.over(ticket).await.text(), "hello over HTTP/3");
        }
        let counters = world.running.counters();
        assert_eq!((counters.http3_requests, counters.quic_connections), (300, 1));
        assert_eq!((counters.active_requests, counters.cancelled_requests), (0, 0));
    });
}

#[test]
fn client_that_stops_its_request_ends_the_handler() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        let ticket = client.start_get("/never");
        settled(|| world.running.counters().active_requests == 1).await;
        client.act(Action::Cancel { ticket, code: 0x10c });
        settled(|| world.marks.dropped.load(Ordering::SeqCst) == 1).await;
        settled(|| world.marks.cancelled.load(Ordering::SeqCst) == 1).await;
        let counters = world.running.counters();
        assert_eq!((counters.active_requests, counters.cancelled_requests), (0, 1));
        assert_eq!(client.get("/").await.status(), Some(StatusCode::OK));
    });
}

#[test]
fn client_that_resets_its_upload_ends_a_handler_that_does_not_answer() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        let ticket = client.start_post("/never");
        client.data(ticket, "abc", false);
        settled(|| world.running.counters().active_requests == 1).await;
        client.act(Action::ResetUpload { ticket, code: 0x10c });
        settled(|| world.marks.dropped.load(Ordering::SeqCst) == 1).await;
        assert_eq!(client.over(ticket).await.reset, Some(0x10d), "H3_REQUEST_INCOMPLETE");
    });
}

#[test]
fn client_that_closes_its_connection_ends_all_of_its_handlers() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        for _ in 0..5 {
            client.start_get("/never");
        }
        settled(|| world.running.counters().active_requests == 5).await;
        client.act(Action::Close { code: 0x100 });
        settled(|| world.marks.dropped.load(Ordering::SeqCst) == 5).await;
        settled(|| world.marks.cancelled.load(Ordering::SeqCst) == 5).await;
        settled(|| world.running.counters().active_quic_connections == 0).await;
    });
}

#[test]
fn malformed_request_is_reset_and_the_connection_goes_on() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        let mut upper = head(http::Method::GET, "/");
        upper.headers.insert("content-length", "10".parse().unwrap());
        // Announces ten bytes and sends three.
        let ticket = client.start_post("/count");
        client.data(ticket, "abc", false);
        let raw = client.raw(HEADERS_WITHOUT_PSEUDO_FIELDS, true);
        let response = client.over(raw).await;
        assert_eq!((response.reset, response.finished), (Some(0x10e), false));
        client.data(ticket, "", true);
        assert_eq!(client.over(ticket).await.text(), "3");
        assert_eq!(world.running.counters().malformed_requests, 1);
    });
}

#[test]
fn frame_that_may_not_be_there_closes_the_connection_with_its_code() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        // A SETTINGS frame on a request stream (RFC 9114 §7.2.4).
        client.raw(&b"\x04\x00"[..], true);
        let reason = client.until(|shared| shared.closed.clone()).await;
        let sterna_quic::CloseReason::Application { code, .. } = reason else {
            panic!("not closed by the application: {reason:?}");
        };
        assert_eq!(code, 0x105, "H3_FRAME_UNEXPECTED");
        assert_eq!(world.running.counters().protocol_errors, 1);
        assert_eq!(world.http3().await.get("/").await.status(), Some(StatusCode::OK));
    });
}

#[test]
fn no_content_has_neither_content_nor_length() {
    run(async {
        let world = World::start();
        let response = world.http3().await.get("/no-content").await;
        assert_eq!(response.status(), Some(StatusCode::NO_CONTENT));
        assert_eq!((response.header("content-length"), response.finished), (None, true));
    });
}

#[test]
fn response_has_a_date_and_an_exact_length() {
    run(async {
        let world = World::start();
        let response = world.http3().await.get("/").await;
        assert!(httpdate::parse_http_date(response.header("date").unwrap()).is_ok());
        assert_eq!(response.header("content-length"), Some("17"));
    });
}

/// A HEADERS frame with `:method: GET` alone (static index 17): three pseudo-header fields are missing.
const HEADERS_WITHOUT_PSEUDO_FIELDS: &[u8] = b"\x01\x03\x00\x00\xd1";
