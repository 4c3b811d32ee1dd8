//! Servers that are not there, go away, or send what they must not: a typed error that names phase and cause, and
//! nothing hangs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sterna_net::{
    Body, Client, Protocol,
    client::{Builder, Error, Kind, Phase, Timeouts, Versions},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

use crate::{
    peer::{Order, Peer},
    world::{World, body_error, exchange, run, settled, text},
};

fn get(scheme: &str, path: &str) -> http::Request<Body> {
    http::Request::get(format!("{scheme}://localhost{path}")).body(Body::empty()).unwrap()
}

/// A client for whatever is at this port of loopback.
fn at(port: u16, versions: Versions) -> Builder {
    let timeouts = Timeouts { total: Duration::from_secs(5), ..Timeouts::default() };
    Client::builder()
        .danger_accept_any_certificate(true)
        .connect_to("127.0.0.1", port)
        .versions(versions)
        .timeouts(timeouts)
}

/// A server in the clear that answers every connection's first bytes with these, and closes.
async fn canned(answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut seen = [0; 4096];
                let _ = stream.read(&mut seen).await;
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
                while stream.read(&mut seen).await.is_ok_and(|len| len > 0) {}
            });
        }
    });
    port
}

/// A server in the clear that answers whatever comes with these bytes, again and again, and ends no connection; how many it
/// has had.
async fn steady(answer: &'static str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut seen = [0; 4096];
                while stream.read(&mut seen).await.is_ok_and(|len| len > 0) {
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    (port, connections)
}

async fn failure(client: &Client, request: http::Request<Body>) -> Error {
    client.send(request).await.map(|response| response.status()).unwrap_err()
}

#[test]
fn port_where_nobody_listens_refuses() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        for versions in [Versions::ONLY_H1, Versions::ONLY_H2, Versions::ALL] {
            let client = at(port, versions).build().unwrap();
            let error = failure(&client, get("https", "/")).await;
            assert_eq!(
                (error.phase(), error.kind()),
                (Phase::Connect, Kind::Refused),
                "{versions:?}"
            );
            assert!(error.may_retry() && std::error::Error::source(&error).is_some());
            assert_eq!(client.counters().dials_failed, 1);
        }
    });
}

#[test]
fn name_that_does_not_exist_is_not_resolved() {
    run(async {
        let client = Client::builder().danger_accept_any_certificate(true).build().unwrap();
        let request =
            http::Request::get("https://no-such-host.invalid/").body(Body::empty()).unwrap();
        let error = failure(&client, request).await;
        assert_eq!(error.phase(), Phase::Resolve, "{error:?}");
        assert!(matches!(error.kind(), Kind::Dns | Kind::Timeout), "{error:?}");
    });
}

#[test]
fn server_that_does_not_speak_tls_fails_in_the_handshake() {
    run(async {
        for answer in
            ["HTTP/1.1 400 Bad Request\r\n\r\n", "220 mail.example ESMTP\r\n", "\0\0\0\0", ""]
        {
            let port = canned(answer.into()).await;
            let client = at(port, Versions { h3: false, ..Versions::ALL }).build().unwrap();
            let error = failure(&client, get("https", "/")).await;
            assert_eq!(error.phase(), Phase::Tls, "{answer:?} {error:?}");
            assert!(matches!(error.kind(), Kind::Tls | Kind::Lost), "{answer:?} {error:?}");
        }
    });
}

#[test]
fn server_that_does_not_speak_http_is_malformed_or_lost() {
    run(async {
        let cases: [(&str, &[Kind]); 5] = [
            ("SSH-2.0-OpenSSH_9.9\r\n", &[Kind::Malformed]),
            ("HTTP/1.1 abc\r\n\r\n", &[Kind::Malformed]),
            ("HTTP/1.1 200 OK\r\nbad header\r\n\r\n", &[Kind::Malformed]),
            ("HTTP/1.1 200 OK\r\ncontent-length: -4\r\n\r\nfour", &[Kind::Malformed]),
            ("", &[Kind::Lost]),
        ];
        for (answer, kinds) in cases {
            let client = at(canned(answer.into()).await, Versions::ONLY_H1).build().unwrap();
            let error = failure(&client, get("http", "/")).await;
            assert_eq!(
                (error.phase(), error.protocol()),
                (Phase::FirstByte, Some(Protocol::Http1))
            );
            assert!(kinds.contains(&error.kind()), "{answer:?} {error:?}");
            let client = at(canned(answer.into()).await, Versions::ONLY_H2).build().unwrap();
            let error = failure(&client, get("http", "/")).await;
            assert_eq!(error.protocol(), Some(Protocol::Http2), "{error:?}");
            assert_ne!(error.kind(), Kind::Timeout, "{answer:?} {error:?}");
        }
    });
}

#[test]
fn body_that_is_shorter_than_it_said_or_has_broken_chunks_is_not_taken_for_whole() {
    let endless_trailers = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n{}",
        "x-filler: filler\r\n".repeat(10_000)
    );
    run(async {
        let cases = [
            ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfour", Kind::Truncated),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n", Kind::Truncated),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nfour\r\n",
                Kind::Malformed,
            ),
            // A size beyond 64 bits; trailers without an end.
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nfour\r\n",
                Kind::Malformed,
            ),
            (&endless_trailers, Kind::Malformed),
        ];
        for (answer, kind) in cases {
            let client = at(canned(answer.into()).await, Versions::ONLY_H1).build().unwrap();
            let response = client.send(get("http", "/")).await.unwrap();
            let error = body_error(response).await;
            assert_eq!((error.phase(), error.kind()), (Phase::Body, kind), "{answer:?} {error:?}");
        }
    });
}

#[test]
fn response_with_a_framing_that_nobody_asked_for_is_the_last_of_its_connection() {
    run(async {
        for (answer, connections) in [
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 1),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 1),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                3,
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                3,
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                3,
            ),
            ("HTTP/1.1 204 No Content\r\ntransfer-encoding: gzip\r\n\r\n", 3),
            ("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", 3),
        ] {
            let (port, count) = steady(answer).await;
            let client = at(port, Versions::ONLY_H1).build().unwrap();
            for _ in 0..3 {
                let content = text(client.send(get("http", "/")).await.unwrap()).await;
                assert_eq!(content, if answer.contains("hello") { "hello" } else { "" });
            }
            assert_eq!(count.load(Ordering::SeqCst), connections, "{answer:?}");
        }
    });
}

#[test]
fn endless_head_ends_at_the_limit() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
                    while stream.write_all(&b"x-filler: filler\r\n".repeat(1000)).await.is_ok() {}
                });
            }
        });
        let client = at(port, Versions::ONLY_H1).build().unwrap();
        let error = failure(&client, get("http", "/")).await;
        assert_eq!((error.phase(), error.kind()), (Phase::FirstByte, Kind::HeadersTooLarge));
    });
}

#[test]
fn certificates_are_refused_for_each_reason_over_each_version() {
    let world = World::start();
    let other = crate::world::certificate(["localhost"]).1;
    run(async {
        for versions in crate::world::EACH {
            // Another authority.
            let roots = sterna_net::client::Roots::Only(vec![other.clone()]);
            let client = world.builder().versions(versions).roots(roots).build().unwrap();
            let error = failure(&client, world.get("/")).await;
            assert_eq!(error.kind(), Kind::Certificate, "{versions:?} {error:?}");
            // Another name.
            let client = world.client(versions);
            let request = http::Request::get("https://other.example/").body(Body::empty()).unwrap();
            let error = failure(&client, request).await;
            assert_eq!(error.kind(), Kind::Certificate, "{versions:?} {error:?}");
            let phase = if versions == Versions::ONLY_H3 { Phase::Connect } else { Phase::Tls };
            assert_eq!(error.phase(), phase);
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains("ertificate"), "{source}");
            // Nobody asks.
            let client = world
                .builder()
                .versions(versions)
                .danger_accept_any_certificate(true)
                .build()
                .unwrap();
            let request = http::Request::get("https://other.example/").body(Body::empty()).unwrap();
            assert_eq!(client.send(request).await.unwrap().status(), 200);
        }
    });
}

#[test]
fn responses_over_http3_that_break_a_rule_fail_alone() {
    let peer = Peer::start();
    run(async {
        let client = peer.builder().build().unwrap();
        for (path, kind) in [
            ("/no-status", Kind::Malformed),
            ("/status-twice", Kind::Malformed),
            ("/empty", Kind::Malformed),
            ("/reset", Kind::Reset { code: 0x102 }),
        ] {
            let error = failure(&client, peer.get(path)).await;
            assert_eq!((error.phase(), error.kind()), (Phase::FirstByte, kind), "{path} {error:?}");
            assert_eq!(error.protocol(), Some(Protocol::Http3));
        }
        for (path, kind) in [
            ("/short", Kind::ContentLength),
            ("/long", Kind::ContentLength),
            ("/cut", Kind::Reset { code: 0x102 }),
        ] {
            let error = match client.send(peer.get(path)).await {
                Ok(response) => body_error(response).await,
                Err(error) => error,
            };
            assert_eq!(error.kind(), kind, "{path} {error:?}");
        }
        assert_eq!(text(client.send(peer.get("/")).await.unwrap()).await, "hello");
    });
}

#[test]
fn server_that_breaks_the_rules_of_http3_loses_its_connection() {
    let peer = Peer::start();
    run(async {
        let client = peer.builder().retries(0).build().unwrap();
        for (path, code) in [
            ("/data-first", 0x105),
            ("/settings", 0x105),
            ("/push", 0x108),
            ("/half-frame", 0x106),
            ("/bad-qpack", 0x200),
            ("/close", 0x102),
        ] {
            let error = failure(&client, peer.get(path)).await;
            assert_eq!(error.kind(), Kind::Protocol { code }, "{path} {error:?}");
            assert_eq!((error.phase(), error.code()), (Phase::FirstByte, Some(code)), "{path}");
            // The next one has a connection of its own.
            assert_eq!(text(client.send(peer.get("/")).await.unwrap()).await, "hello");
        }
    });
}

#[test]
fn server_that_sends_without_end_over_http3_is_stopped() {
    let peer = Peer::start();
    run(async {
        let client = peer.builder().build().unwrap();
        for path in ["/endless-head", "/endless-interim", "/endless-unknown"] {
            let error = failure(&client, peer.get(path)).await;
            let kind = error.kind();
            assert!(
                matches!(kind, Kind::HeadersTooLarge | Kind::Protocol { code: 0x107 }),
                "{path} {error:?}"
            );
            assert!(client.counters().waiting_response_bytes < 1 << 20);
        }
    });
}

#[test]
fn request_that_the_server_did_not_process_is_sent_again() {
    run(async {
        // By RESET_STREAM with H3_REQUEST_REJECTED, or by GOAWAY, whatever the method.
        for path in ["/rejected-once", "/goaway-once"] {
            let peer = Peer::start();
            let client = peer.builder().build().unwrap();
            let request = http::Request::post(peer.get(path).uri().clone());
            let response = client.send(request.body(Body::full("data")).unwrap()).await.unwrap();
            let attempts = exchange(&response).attempts;
            assert_eq!((response.status().as_u16(), attempts), (200, 2), "{path}");
        }
        // By the loss of the connection, when the method is idempotent.
        let peer = Peer::start();
        let client = peer.builder().build().unwrap();
        let response = client.send(peer.get("/close-once")).await.unwrap();
        assert_eq!((response.status().as_u16(), exchange(&response).attempts), (200, 2));
        assert_eq!(client.counters().retries, 1);
        let peer = Peer::start();
        let client = peer.builder().build().unwrap();
        let uri = peer.get("/close-once").uri().clone();
        let request = http::Request::post(uri).body(Body::full("data")).unwrap();
        let error = failure(&client, request).await;
        assert_eq!((error.kind(), error.may_retry()), (Kind::Lost, false));
        assert_eq!(peer.seen.requests.load(Ordering::SeqCst), 1, "a POST goes once");
    });
}

#[test]
fn server_that_goes_away_gets_no_more_and_the_next_request_has_another_connection() {
    let peer = Peer::start();
    run(async {
        let client = peer.builder().build().unwrap();
        text(client.send(peer.get("/")).await.unwrap()).await;
        peer.order(Order::Goaway);
        settled(|| client.counters().connections == 0).await;
        assert_eq!(peer.seen.requests.load(Ordering::SeqCst), 1);
        let response = client.send(peer.get("/")).await.unwrap();
        assert!(!exchange(&response).reused);
    });
}

#[test]
fn garbage_over_udp_is_no_server() {
    run(async {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let noise = tokio::spawn(async move {
            let mut datagram = [0; 2048];
            while let Ok((len, from)) = socket.recv_from(&mut datagram).await {
                for byte in [0x00, 0x40, 0x80, 0xc0, 0xff] {
                    let _ = socket.send_to(&vec![byte; len], from).await;
                    // The client's own words, and some of them changed.
                    datagram[0] ^= byte;
                    let _ = socket.send_to(&datagram[..len], from).await;
                }
            }
        });
        let timeouts = Timeouts { connect: Duration::from_millis(500), ..Timeouts::default() };
        let client = at(port, Versions::ONLY_H3).timeouts(timeouts).build().unwrap();
        let error = failure(&client, get("https", "/")).await;
        assert_eq!(error.phase(), Phase::Connect, "{error:?}");
        assert!(matches!(
            error.kind(),
            Kind::Timeout | Kind::Alpn | Kind::Protocol { .. } | Kind::Lost
        ));
        noise.abort();
    });
}
