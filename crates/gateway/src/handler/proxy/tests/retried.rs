//! What is sent again, to whom, and what never is.

use super::origin::{Script, Then};
use super::*;

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// A place where nobody listens.
fn nowhere() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    free.local_addr().expect("an address").to_string()
}

/// So many requests, over both backends in turn.
async fn statuses(config: Config, method: Method, body: fn() -> sterna_net::Body) -> Vec<u16> {
    let gateway = gateway(config);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(ask(&gateway, request(method.clone(), body())).await.status.as_u16());
    }
    statuses.sort_unstable();
    statuses
}

fn stream() -> sterna_net::Body {
    Frames::body([data("x")], false)
}

#[test]
fn request_that_was_not_sent_goes_to_another_backend_whatever_its_method_and_body() {
    run(async {
        let well = Origin::start(Script::answer(HELLO).after(b"\r\n")).await;
        let both = [nowhere(), well.address.clone()];
        let both: Vec<&str> = both.iter().map(String::as_str).collect();
        for body in [sterna_net::Body::empty, stream] {
            assert_eq!(statuses(config(&both), Method::POST, body).await, [200; 4]);
        }
        let none = Config { retries: 0, ..config(&both) };
        assert_eq!(statuses(none, Method::POST, stream).await, [200, 200, 502, 502]);
    });
}

#[test]
fn request_that_may_have_had_an_effect_is_sent_again_only_if_that_does_no_harm() {
    run(async {
        let broken = Origin::start(Script::answer("").then(Then::Close)).await;
        let well = Origin::start(Script::answer(HELLO)).await;
        let both = [&*broken.address, &well.address];
        assert_eq!(statuses(config(&both), Method::GET, sterna_net::Body::empty).await, [200; 4]);
        let post = statuses(config(&both), Method::POST, sterna_net::Body::empty).await;
        assert_eq!(post, [200, 200, 502, 502]);
        let read = statuses(config(&both), Method::PUT, stream).await;
        assert_eq!(read, [200, 200, 502, 502], "its body was read, and is gone");
    });
}

#[test]
fn attempt_has_a_time_of_its_own() {
    run(async {
        let silent = Origin::start(Script::answer("")).await;
        let well = Origin::start(Script::answer(HELLO)).await;
        let both = [&*silent.address, &well.address];
        let try_timeout = Some(Duration::from_millis(1500));
        let config = || Config { try_timeout, ..config(&both) };
        assert_eq!(statuses(config(), Method::GET, sterna_net::Body::empty).await, [200; 4]);
        let post = statuses(config(), Method::POST, sterna_net::Body::empty).await;
        assert_eq!(post, [200, 200, 504, 504]);
    });
}

#[test]
fn answers_are_not_tried_again_whatever_they_say() {
    run(async {
        for status in [421, 425, 429, 500, 502, 503, 504] {
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
            let origin = Origin::start(Script::answer(answer)).await;
            let well = Origin::start(Script::answer(HELLO)).await;
            let both = [&*origin.address, &well.address];
            let seen = statuses(config(&both), Method::GET, sterna_net::Body::empty).await;
            assert_eq!(seen, [200, 200, status, status]);
        }
    });
}

#[test]
fn connection_that_the_backend_closes_at_the_next_request_costs_none_that_does_no_harm() {
    run(async {
        let origin = Origin::start(Script::answer(HELLO).then(Then::HangUp)).await;
        let gateway = gateway(config(&[&origin.address]));
        for _ in 0..5 {
            assert_eq!(get(&gateway).await.status, 200);
        }
        let post = ask(&gateway, request(Method::POST, sterna_net::Body::empty())).await;
        assert_eq!((post.status.as_u16(), post.error()), (502, "connection_terminated"));
        let again = ask(&gateway, request(Method::POST, sterna_net::Body::empty())).await;
        assert_eq!(again.status, 200, "on a connection of its own");
    });
}
