//! Origins that break off, lie, stall and talk nonsense: the right error, and no connection that is used again.

use super::origin::{Script, Then};
use super::*;

const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

#[test]
fn response_that_is_cut_at_any_byte_is_never_shown_as_whole() {
    run(async {
        for (answer, then) in [
            (WHOLE, Then::Close),
            (CHUNKED, Then::Close),
            (WHOLE, Then::Reset),
            (CHUNKED, Then::Reset),
        ] {
            let head = answer.find("\r\n\r\n").expect("a head") + 4;
            for cut in 0..answer.len() {
                let script = Script::answer(&answer[..cut]).then(then).after(b"\r\n\r\nx");
                let origin = Origin::start(script).await;
                let gateway = gateway(config(&[&origin.address]));
                let body = sterna_net::Body::full("x");
                let seen = ask(&gateway, request(Method::POST, body)).await;
                if cut < head {
                    let told = (seen.status.as_u16(), seen.error());
                    assert_eq!(told, (502, "connection_terminated"), "{cut} {then:?}");
                } else {
                    assert_eq!(seen.status, 200);
                    let why = seen.content.expect_err("it is not whole");
                    assert_eq!(why, ProxyError::HttpResponseIncomplete, "{cut} {then:?}");
                }
                assert_eq!(origin.requests(), 1, "a POST is not sent again");
            }
        }
    });
}

#[test]
fn heads_that_are_none_are_answered_with_the_type_of_their_fault() {
    let huge = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(300));
    for (answer, then, expected) in [
        (b"\x16\x03\x01\x02\x00\x01".to_vec(), Then::Next, (502, "http_protocol_error")),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), Then::Next, (502, "http_protocol_error")),
        (b"HTTP/1.1 2000 OK\r\n\r\n".to_vec(), Then::Next, (502, "http_protocol_error")),
        (b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n".to_vec(), Then::Next, (502, "http_protocol_error")),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_vec(),
            Then::Next,
            (502, "http_protocol_error"),
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".to_vec(),
            Then::Next,
            (502, "http_protocol_error"),
        ),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"
                .to_vec(),
            Then::Next,
            (502, "http_protocol_error"),
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n5\r\n".to_vec(),
            Then::Next,
            (502, "http_response_transfer_coding"),
        ),
        (huge.into_bytes(), Then::Next, (502, "http_response_header_section_size")),
        (many.into_bytes(), Then::Next, (502, "http_response_header_section_size")),
        (b"HTTP/1.1 200 OK\r\nslow: ".to_vec(), Then::Next, (504, "http_response_timeout")),
        (Vec::new(), Then::Next, (504, "http_response_timeout")),
        (b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), Then::Repeat, (502, "http_protocol_error")),
        (
            b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".to_vec(),
            Then::Repeat,
            (502, "http_protocol_error"),
        ),
        (Vec::new(), Then::Close, (502, "connection_terminated")),
        (Vec::new(), Then::Reset, (502, "connection_terminated")),
    ] {
        run(async {
            let origin = Origin::start(Script::answer(answer.clone()).then(then)).await;
            let is_late = expected.0 == 504;
            let config = if is_late { impatient } else { config };
            let gateway = gateway(config(&[&origin.address]));
            let seen = get(&gateway).await;
            origin.wait_for(b"\r\n\r\n").await;
            let shown = String::from_utf8_lossy(&answer);
            let shown = shown.get(..40.min(shown.len())).unwrap_or_default();
            assert_eq!((seen.status.as_u16(), seen.error()), expected, "{shown:?} {then:?}");
            assert_eq!(origin.requests(), 1, "{shown:?}");
            if then == Then::Next || then == Then::Repeat {
                origin.wait_for_ended(1).await;
            }
        });
    }
}

#[test]
fn bodies_that_are_none_break_the_response_off_and_end_the_connection() {
    for (body, expected) in [
        ("transfer-encoding: chunked\r\n\r\nzz\r\n", ProxyError::HttpProtocolError),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhelloX", ProxyError::HttpProtocolError),
        ("transfer-encoding: chunked\r\n\r\n-1\r\n", ProxyError::HttpProtocolError),
        ("transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n", ProxyError::HttpProtocolError),
    ] {
        run(async {
            let origin = Origin::start(Script::answer(format!("HTTP/1.1 200 OK\r\n{body}"))).await;
            let gateway = gateway(config(&[&origin.address]));
            let seen = get(&gateway).await;
            assert_eq!(
                (seen.status, seen.content.expect_err("broken")),
                (StatusCode::OK, expected)
            );
            origin.wait_for_ended(1).await;
        });
    }
}

#[test]
fn bytes_after_a_response_are_not_the_response_to_the_next_request() {
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    for answer in [
        format!("{WHOLE}{evil}"),
        format!("{CHUNKED}{evil}"),
        format!("HTTP/1.1 204 No Content\r\n\r\n{evil}"),
        format!("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n{evil}"),
    ] {
        run(async {
            let origin = Origin::start(Script::answer(answer.clone())).await;
            let gateway = gateway(config(&[&origin.address]));
            for _ in 0..3 {
                let seen = get(&gateway).await;
                assert_ne!(seen.content.as_deref().unwrap_or_default(), b"evil", "{answer:?}");
            }
            assert_eq!(origin.connections(), 3, "{answer:?}");
        });
    }
}

#[test]
fn connection_of_a_response_that_is_refused_is_not_used_again() {
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    for answer in [
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n{chunks}"),
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_owned(),
    ] {
        run(async {
            // It closes nothing, and would answer on.
            let origin = Origin::start(Script::answer(answer.clone())).await;
            let gateway = gateway(config(&[&origin.address]));
            for count in 1..4 {
                assert_eq!(get(&gateway).await.status, 502);
                assert_eq!(origin.connections(), count, "{answer:?}");
            }
            origin.wait_for_ended(3).await;
        });
    }
}

#[test]
fn content_in_response_to_head_is_not_the_response_to_the_next_request() {
    run(async {
        let origin = Origin::start(Script::answer(WHOLE)).await;
        let gateway = gateway(config(&[&origin.address]));
        let seen = ask(&gateway, request(Method::HEAD, sterna_net::Body::empty())).await;
        assert_eq!(seen.headers["content-length"], "5");
        assert_eq!(seen.content.expect("nothing"), "");
        assert_eq!(get(&gateway).await.content.expect("whole"), "hello");
        assert_eq!(origin.connections(), 2);
    });
}

#[test]
fn response_before_the_end_of_the_request_ends_the_connection() {
    run(async {
        let origin = Origin::start(Script::answer(WHOLE).after(b"begin\r\n")).await;
        let gateway = gateway(config(&[&origin.address]));
        let body = Frames::body([data("begin")], true);
        let seen = ask(&gateway, request(Method::POST, body)).await;
        assert_eq!(seen.content.expect("whole"), "hello");
        origin.wait_for_ended(1).await;
        let read = origin.read().remove(0);
        assert!(!read.ends_with("0\r\n\r\n"), "the request is not shown as finished: {read:?}");
    });
}

#[test]
fn expectation_that_fails_leaves_the_body_where_it_is() {
    run(async {
        let answer = "HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\n\r\n";
        let origin = Origin::start(Script::answer(answer)).await;
        let gateway = gateway(config(&[&origin.address]));
        let mut request = request(Method::POST, Frames::body([data("body")], false));
        let (name, value) = field("expect", "100-continue");
        request.headers_mut().insert(name, value);
        assert_eq!(ask(&gateway, request).await.status, 417);
        origin.wait_for_ended(1).await;
        assert!(!origin.read().concat().contains("body"), "{:?}", origin.read());
    });
}

#[test]
fn port_or_socket_where_nobody_listens_refuses() {
    run(async {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let refused = get(&gateway(config(&[&format!("127.0.0.1:{port}")]))).await;
        assert_eq!((refused.status.as_u16(), refused.error()), (502, "connection_refused"));
        let socket = get(&gateway(config(&["unix:/nonexistent/app.sock"]))).await;
        assert_eq!((socket.status.as_u16(), socket.error()), (502, "connection_refused"));
    });
}
