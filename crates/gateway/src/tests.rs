//! The life of a request from end to end, with the access log.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, SERVER};
use http::{HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;

use super::*;
use crate::handler::respond;
use crate::route::Pattern;

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines of the access log after `visit`, without what differs from run to run.
async fn log_of<F: Future<Output = ()>>(visit: impl FnOnce(Gateway) -> F) -> Vec<String> {
    let output = Output::default();
    let log = AccessLog::start(access_log::Format::Text, output.clone()).expect("started");
    visit(Gateway::new(&config(), &Shared::default(), Some(log.recorders().make()))).await;
    log.finish(Duration::from_secs(20));
    let written = output.0.lock().expect("not poisoned").clone();
    let text = String::from_utf8(written).expect("text");
    let facts = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let cut = if words.last() == Some(&"cut") { " cut" } else { "" };
        format!("{}{cut}", words[3..7].join(" "))
    };
    text.lines().map(facts).collect()
}

fn config() -> Config {
    let respond = |text| handler::Config::Respond(respond::Config::text(text));
    let route = |path: &str, handler| {
        let path = path.parse::<Pattern>().expect("a pattern");
        route::Config::new(path, handler)
    };
    let server = (SERVER, HeaderValue::from_static("test").into());
    let response = middleware::headers::Edit { set: vec![server], ..Default::default() };
    let named = middleware::headers::Config { response, ..Default::default() };
    let named = middleware::Config::Headers(named);
    Config {
        routes: vec![
            route("/a/*", respond("a prefix")),
            route("/a/longer/*", respond("a longer prefix")),
            route("/a/longer/exact", respond("exact")),
            route::Config { middleware: vec![named], ..route("/named", respond("named")) },
        ],
        client: client::Config::default(),
    }
}

fn request(method: Method, path: &str) -> Request {
    let request = http::Request::builder().method(method).uri(path);
    request.body(sterna_net::Body::empty()).expect("a request")
}

async fn fetch(gateway: &Gateway, method: Method, path: &str) -> (Response, String) {
    let (head, body) = gateway.handle(&mut request(method, path)).await.into_parts();
    let content = body.collect().await.expect("whole").to_bytes();
    let text = String::from_utf8(content.to_vec()).expect("text");
    (Response::from_parts(head, Body::empty()), text)
}

#[tokio::test]
async fn the_most_specific_route_answers_in_whatever_order() {
    let mut reversed = config();
    reversed.routes.reverse();
    for config in [config(), reversed] {
        let gateway = Gateway::new(&config, &Shared::default(), None);
        for (path, content) in [
            ("/a/", "a prefix"),
            ("/a/longer", "a prefix"),
            ("/a/longer/", "a longer prefix"),
            ("/a/longer/exact", "exact"),
            ("/%61/longer/e%78act", "exact"),
            ("/a/longer/exact/", "a longer prefix"),
        ] {
            assert_eq!(fetch(&gateway, Method::GET, path).await.1, content, "{path}");
        }
        let (response, page) = fetch(&gateway, Method::GET, "/elsewhere").await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert!(page.contains("404"), "{page}");
    }
}

#[tokio::test]
async fn a_path_that_others_may_take_for_that_of_another_route_is_refused() {
    let gateway = Gateway::new(&config(), &Shared::default(), None);
    for path in [
        "/x/../a/y",
        "/a/../named",
        "/a/%2e%2e/named",
        "//named",
        "/named;x=1",
        "/a%2Flonger%2Fexact",
        "/a//longer/x",
        "/a/longer%252Fx",
        "/named%00.html",
        "/a/x%2f..%2f..%2fnamed",
    ] {
        assert_eq!(fetch(&gateway, Method::GET, path).await.0.status(), 400, "{path}");
    }
    for path in ["/a/b%2Fc", "/a//b", "/a/b;v=1/c", "/a/b%20c%252F", "/a/.well-known/x"] {
        assert_eq!(fetch(&gateway, Method::GET, path).await.1, "a prefix", "{path}");
    }
}

#[tokio::test]
async fn a_middleware_sees_the_answers_of_its_route_alone() {
    let gateway = Gateway::new(&config(), &Shared::default(), None);
    let (named, _) = fetch(&gateway, Method::GET, "/named").await;
    assert_eq!(named.headers()[SERVER], "test");
    let (other, _) = fetch(&gateway, Method::GET, "/a/").await;
    assert_eq!(other.headers().get(SERVER), None);
}

#[tokio::test]
async fn head_is_answered_without_content_whatever_the_handler_made() {
    let gateway = Gateway::new(&config(), &Shared::default(), None);
    // req: 9110-9.3.2-no-content
    for (path, length) in [("/a/", "8"), ("/elsewhere", "")] {
        let (head, content) = fetch(&gateway, Method::HEAD, path).await;
        assert_eq!(content, "", "{path}");
        if !length.is_empty() {
            assert_eq!(head.headers()[CONTENT_LENGTH], length);
        }
    }
}

#[tokio::test]
async fn a_request_is_logged_when_its_response_has_ended() {
    let lines = log_of(|gateway| async move {
        fetch(&gateway, Method::GET, "/a/?secret").await;
        fetch(&gateway, Method::HEAD, "/a/").await;
        fetch(&gateway, Method::GET, "/else%0awhere").await;
    });
    let [whole, head, missing] = &lines.await[..] else { panic!("three lines") };
    assert_eq!((&whole[..], &head[..]), ("GET /a/ 200 8", "HEAD /a/ 200 0"));
    assert!(missing.starts_with("GET /else%0awhere 404 "), "{missing}");
}

#[tokio::test]
async fn a_response_that_nobody_read_to_its_end_is_logged_as_cut() {
    let lines = log_of(|gateway| async move {
        drop(gateway.handle(&mut request(Method::GET, "/a/")).await);
    });
    assert_eq!(lines.await, ["GET /a/ 200 0 cut"]);
}

#[tokio::test]
async fn a_request_given_up_before_its_answer_is_logged_without_a_status() {
    let lines = log_of(|gateway| async move {
        let mut service = gateway;
        drop(service.call(request(Method::GET, "/a/")));
        let exchange = Exchange::begin(&request(Method::GET, "/b"), service.recorder.as_ref());
        drop(exchange);
    });
    // The first was dropped before it began: nothing was done for it.
    assert_eq!(lines.await, ["GET /b - 0 cut"]);
}

#[test]
fn the_future_of_a_request_is_smaller_than_two_requests() {
    let gateway = Gateway::new(&config(), &Shared::default(), None);
    let future = size_of_val(&gateway.handle(&mut request(Method::GET, "/a/")));
    // It is moved into its box, and an open request holds it.
    let bound = 2 * size_of::<Request>();
    assert!(future <= bound, "{future} bytes, bound {bound}, request {}", size_of::<Request>());
}
