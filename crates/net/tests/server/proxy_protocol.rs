//! The PROXY protocol in front of TLS, HTTP/1.1 and HTTP/2.

use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sterna_net::server::Config;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::world::{World, full, request, run, settled, text};

fn behind(network: &str) -> Config {
    let proxies = vec![network.parse().expect("a network")];
    Config { proxy_protocol: proxies, ..Config::default() }
}

const VERSION_1: &[u8] = b"PROXY TCP4 203.0.113.5 192.0.2.1 50332 443\r\n";
const VERSION_2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xcb\0\x71\x06\xc0\0\x02\x01\xc4\x9c\x01\xbb\x04\0\x01\x09";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[test]
fn the_peer_of_a_connection_is_whom_the_header_names() {
    run(async {
        let world = World::with(behind("127.0.0.0/8"));
        for (header, peer) in
            [(VERSION_1, "203.0.113.5"), (VERSION_2, "203.0.113.6"), (LOCAL, "127.0.0.1")]
        {
            let ask = || request("GET", world.address, "/facts", full(""));
            let stream = world.tls_after(header, b"http/1.1").await.expect("TLS");
            let (mut http1, connection) = http1::handshake(TokioIo::new(stream)).await.expect("ok");
            tokio::spawn(connection);
            let facts = text(http1.send_request(ask()).await.expect("an answer")).await;
            assert!(facts.ends_with(&format!("peer={peer}")), "{facts}");

            let stream = world.tls_after(header, b"h2").await.expect("TLS");
            let (mut http2, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("ok");
            tokio::spawn(connection);
            let facts = text(http2.send_request(ask()).await.expect("an answer")).await;
            assert!(facts.ends_with(&format!("peer={peer}")), "{facts}");
        }
        assert_eq!(world.running.counters().proxy_protocol_errors, 0);
    });
}

#[test]
fn clients_behind_a_balancer_are_counted_each_for_itself() {
    run(async {
        let config = Config { connections_per_ip: Some(1), ..behind("127.0.0.0/8") };
        let world = World::with(config);
        let _first = world.tls_after(VERSION_1, b"h2").await.expect("the balancer has one");
        let _second = world.tls_after(VERSION_2, b"h2").await.expect("another client has its own");
        assert!(
            world.tls_after(VERSION_1, b"h2").await.is_err(),
            "the first client has one already"
        );
        assert_eq!(world.running.counters().refused_connections, 1);
    });
}

#[test]
fn header_and_request_in_one_segment_without_tls_are_both_read() {
    run(async {
        let world = World::on(behind("127.0.0.1"), 1, false);
        let mut stream = TcpStream::connect(world.address).await.expect("connected");
        let ask = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(&[VERSION_2, ask].concat()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    });
}

#[test]
fn a_peer_that_has_to_send_it_and_does_not_is_cut_off_and_counted() {
    run(async {
        let world = World::with(behind("127.0.0.0/8"));
        for (i, begin) in [
            &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
            b"PROXY TCP4 203.0.113.5 192.0.2.1 50332 70000\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        ]
        .into_iter()
        .enumerate()
        {
            let mut stream = TcpStream::connect(world.address).await.expect("connected");
            stream.write_all(begin).await.expect("sent");
            let mut answer = Vec::new();
            // An end or a reset: what was not read yet makes the difference.
            let _ = stream.read_to_end(&mut answer).await;
            assert_eq!(answer, b"", "nothing is answered");
            settled(|| world.running.counters().proxy_protocol_errors == i as u64 + 1).await;
        }
        assert!(world.tls(b"h2").await.is_err(), "TLS without the header");
    });
}

#[test]
fn a_peer_that_holds_the_header_back_is_cut_off_in_time() {
    run(async {
        let handshake_timeout = Duration::from_millis(100);
        let world = World::with(Config { handshake_timeout, ..behind("127.0.0.0/8") });
        let mut stream = TcpStream::connect(world.address).await.expect("connected");
        stream.write_all(b"PROXY TCP4 203").await.expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        settled(|| world.running.counters().timeouts == 1).await;
        assert_eq!(world.running.counters().proxy_protocol_errors, 0);
    });
}

#[test]
fn a_peer_that_is_not_named_cannot_say_who_it_is() {
    run(async {
        let world = World::with(behind("192.0.2.0/24"));
        assert!(world.tls_after(VERSION_1, b"h2").await.is_err(), "it is garbage before TLS");
        settled(|| world.running.counters().tls_failures == 1).await;
        assert!(world.tls(b"h2").await.is_ok(), "and without it all is well");
    });
}

#[test]
fn http3_from_such_a_peer_is_refused_and_from_others_goes_on() {
    run(async {
        for (network, is_refused) in [("127.0.0.0/8", true), ("192.0.2.0/24", false)] {
            let world = World::with(behind(network));
            let client = world.http3().await;
            if is_refused {
                client.until(|shared| shared.closed.is_some().then_some(())).await;
            } else {
                assert!(client.get("/facts").await.text().ends_with("peer=127.0.0.1"));
            }
            let refused = world.running.counters().proxy_protocol_errors;
            assert_eq!(refused, u64::from(is_refused), "{network}");
        }
    });
}
