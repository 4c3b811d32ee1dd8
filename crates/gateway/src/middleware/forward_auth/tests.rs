//! Another server's word, and what becomes of a request without it.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use http::header::{AUTHORIZATION, COOKIE, LOCATION, SET_COOKIE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::shared::Shared;

/// A server that says one thing, and the question that it was asked.
async fn judge(answer: &'static str) -> (Uri, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}/verify?realm=a", listener.local_addr().expect("an address"));
    let question = Arc::new(Mutex::new(String::new()));
    let asked = question.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut head).await.is_ok_and(|len| len == 0) {
                    break;
                }
            }
            *asked.lock().expect("not poisoned") = String::from_utf8(head).expect("text");
            if answer == "never" {
                std::future::pending::<()>().await;
            }
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url.parse().expect("a URL"), question)
}

fn station(url: Uri, fields: Option<Vec<HeaderName>>) -> ForwardAuth {
    let copy = vec![HeaderName::from_static("x-user"), HeaderName::from_static("x-groups")];
    let timeout = Duration::from_millis(500);
    let config = Config { url, timeout, fields, copy };
    config.build(Build { shared: &Shared::default(), path: None })
}

fn request() -> Request {
    http::Request::builder()
        .method(Method::PUT)
        .uri("https://site.test/files/a?b=c")
        .header(AUTHORIZATION, "Bearer abc")
        .header(COOKIE, "session=1")
        .header(CONTENT_LENGTH, "5")
        .header(CONNECTION, "x-hop")
        .header("x-hop", "1")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-forwarded-method", "GET")
        .header("x-forwarded-uri", "/public")
        .header("x-user", "root")
        .header("x_user", "root")
        .body(sterna_net::Body::full("hello"))
        .expect("a request")
}

async fn verdict(station: &ForwardAuth, request: &mut Request) -> Verdict {
    let mut exchange = Exchange::begin(request, None);
    station.on_request(&mut exchange, request).verdict().await
}

const YES: &str =
    "HTTP/1.1 204 Yes\r\nx-user: alice\r\nx-groups: a\r\nx-groups: b\r\nx-else: 1\r\n\r\n";

#[tokio::test]
async fn a_yes_lets_pass_with_the_fields_that_are_copied() {
    let (url, question) = judge(YES).await;
    let mut request = request();
    let passed = verdict(&station(url, None), &mut request).await;
    assert!(matches!(passed, ControlFlow::Continue(())));
    let values = |name: &str| {
        let all = request.headers().get_all(name).iter();
        all.map(|value| value.to_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(values("x-user"), ["alice"]);
    assert_eq!(values("x-groups"), ["a", "b"]);
    assert_eq!((values("x_user"), values("x-else")), (vec![], vec![]));
    assert_eq!(request.method(), Method::PUT, "the request is what it was");
    let question = question.lock().expect("not poisoned").to_lowercase();
    assert!(question.starts_with("get /verify?realm=a http/1.1\r\n"), "{question}");
    for line in [
        "x-forwarded-method: put\r\n",
        "x-forwarded-uri: /files/a?b=c\r\n",
        "x-forwarded-host: site.test\r\n",
        "authorization: bearer abc\r\n",
        "cookie: session=1\r\n",
    ] {
        assert_eq!(question.matches(line).count(), 1, "{line} in {question}");
    }
    assert!(question.contains("\r\nhost: 127.0.0.1:"), "{question}");
    for spoofed in ["6.6.6.6", "/public", "x-hop", "content-length: 5", "root"] {
        assert!(!question.contains(spoofed), "{spoofed} in {question}");
    }
}

#[tokio::test]
async fn only_the_fields_that_are_named_go_with_the_question() {
    let (url, question) = judge(YES).await;
    let station = station(url, Some(vec![COOKIE]));
    assert!(verdict(&station, &mut request()).await.is_continue());
    let question = question.lock().expect("not poisoned").to_lowercase();
    assert!(question.contains("cookie: session=1"), "{question}");
    assert!(question.contains("x-forwarded-uri: /files/a?b=c"), "{question}");
    assert!(!question.contains("authorization"), "{question}");
}

#[tokio::test]
async fn any_other_answer_is_the_client_s() {
    let to_login = "HTTP/1.1 302 Found\r\nlocation: https://login.test/\r\nset-cookie: a=1\r\nkeep-alive: x\r\ncontent-length: 5\r\n\r\nlogin";
    let (url, _) = judge(to_login).await;
    let answered = verdict(&station(url, None), &mut request()).await;
    let ControlFlow::Break(Ok(response)) = answered else { panic!("no answer") };
    let (head, body) = response.into_parts();
    assert_eq!(head.status, StatusCode::FOUND);
    assert_eq!(head.headers[LOCATION], "https://login.test/");
    assert_eq!(head.headers[SET_COOKIE], "a=1");
    assert_eq!(head.headers[CONTENT_LENGTH], "5");
    assert_eq!(head.headers.get("keep-alive"), None);
    assert_eq!(body.into_full().as_deref(), Some(&b"login"[..]));
}

#[tokio::test]
async fn without_an_answer_nobody_passes() {
    for (answer, status) in [
        ("never", StatusCode::GATEWAY_TIMEOUT),
        ("", StatusCode::BAD_GATEWAY),
        ("nonsense\r\n\r\n", StatusCode::BAD_GATEWAY),
        ("HTTP/1.1 401 No\r\ncontent-length: 2000000\r\n\r\nx", StatusCode::BAD_GATEWAY),
        ("HTTP/1.1 401 No\r\ncontent-length: 5\r\n\r\nx", StatusCode::BAD_GATEWAY),
    ] {
        let (url, _) = judge(answer).await;
        let ended = verdict(&station(url, None), &mut request()).await;
        let ControlFlow::Break(Err(error)) = ended else { panic!("{answer}: it passes") };
        assert_eq!(error.status(), status, "{answer}: {error}");
    }
    let nowhere: Uri = "http://127.0.0.1:1/".parse().expect("a URL");
    let ended = verdict(&station(nowhere, None), &mut request()).await;
    assert!(matches!(ended, ControlFlow::Break(Err(Error::AuthFailed(_)))), "nobody is there");
}
