//! What a request costs: a client and a server of ours, in memory, in one loop. Made to be counted:
//!
//! ```text
//! cargo build --release -p sterna-h3 --example cost
//! valgrind --tool=callgrind --toggle-collect='*serve_one*' target/release/examples/cost 2000
//! ```
//! With `frames` after the number, `read_one` is counted instead: a body of 1 KiB comes as 64 small DATA frames, so what
//! is left is what a frame costs to parse.
//!
//! `serve_one` is the server's whole work for one request: bytes of the request in, the event, a response with a body of
//! 1 KiB, commands out. Divide the instructions by the number of requests.

use std::hint::black_box;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, DATE};
use http::header::{ACCEPT_LANGUAGE, ETAG, SERVER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use sterna_h3::{
    Command, Config, Connection, Event, Priority, RequestHead, ResponseHead, Role, StreamId,
};

fn main() {
    let count = std::env::args().nth(1).map_or(2000, |n| n.parse().expect("a number of requests"));
    let mut client =
        Connection::new(Role::Client, Config::default(), StreamId(2), StreamId(6), StreamId(10));
    let mut server =
        Connection::new(Role::Server, Config::default(), StreamId(3), StreamId(7), StreamId(11));
    let (request, body) = (request(), Bytes::from(vec![b'x'; 1024]));
    carry(&mut client, &mut server);
    carry(&mut server, &mut client);
    if std::env::args().nth(2).is_some_and(|what| what == "frames") {
        return frames(&mut client, &mut server, count);
    }
    let mut bytes_in = 0;
    let mut bytes_out = 0;
    for n in 0..count {
        client.send_request(StreamId(n * 4), &request, true).expect("a request");
        let mut input = Vec::new();
        while let Some(command) = client.poll_command() {
            let Command::Write { id, data, fin } = command else { continue };
            bytes_in += data.len();
            input.push((id, data, fin));
        }
        let output = serve_one(&mut server, input, &body);
        for command in output {
            let Command::Write { id, data, fin } = command else { continue };
            bytes_out += data.len();
            client.handle_stream(id, data, fin).expect("a response");
        }
        while client.poll_event().is_some() {}
    }
    println!(
        "{count} requests: {} bytes in and {} bytes out for each, {} left open",
        bytes_in / count as usize,
        bytes_out / count as usize,
        server.active_requests(),
    );
}

/// The server's part of one exchange.
#[inline(never)]
fn serve_one(
    server: &mut Connection,
    input: Vec<(StreamId, Bytes, bool)>,
    body: &Bytes,
) -> Vec<Command> {
    for (id, data, fin) in input {
        server.handle_stream(id, data, fin).expect("a request");
    }
    let mut output = Vec::with_capacity(8);
    while let Some(event) = server.poll_event() {
        if let Event::Request { id, head, .. } = event {
            black_box(head);
            let response = response();
            server.send_response(id, &response, false).expect("a response");
            server.send_data(id, body.clone(), true).expect("a body");
        }
    }
    while let Some(command) = server.poll_command() {
        output.push(command);
    }
    output
}

/// One upload of so many DATA frames, each of 16 bytes.
fn frames(client: &mut Connection, server: &mut Connection, count: u64) {
    client.send_request(StreamId(0), &request(), false).expect("a request");
    carry(client, server);
    let body: Bytes = [b"\x00\x10".as_slice(), &[b'x'; 16]].concat().repeat(64).into();
    let mut bytes = 0;
    for _ in 0..count {
        bytes += read_one(server, body.clone());
    }
    println!("{count} times 64 frames, {bytes} bytes in them");
}

/// The server's part of reading 64 frames.
#[inline(never)]
fn read_one(server: &mut Connection, data: Bytes) -> usize {
    server.handle_stream(StreamId(0), data, false).expect("frames");
    let mut bytes = 0;
    while let Some(event) = server.poll_event() {
        if let Event::Data { data, .. } = event {
            bytes += data.len();
        }
    }
    bytes
}

/// What a browser sends.
fn request() -> RequestHead {
    let fields: [(HeaderName, &'static str); 5] = [
        (USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0"),
        (ACCEPT, "text/html,application/xhtml+xml,image/avif,image/webp,*/*;q=0.8"),
        (ACCEPT_ENCODING, "gzip, deflate, br, zstd"),
        (ACCEPT_LANGUAGE, "en-US,en;q=0.9"),
        (HeaderName::from_static("priority"), "u=0, i"),
    ];
    RequestHead {
        method: Method::GET,
        scheme: Some(http::uri::Scheme::HTTPS),
        authority: Some("www.example.org".parse().expect("an authority")),
        path: Some("/assets/page.html".parse().expect("a path")),
        protocol: None,
        headers: map(fields),
        priority: Priority::default(),
    }
}

/// What a file server answers.
fn response() -> ResponseHead {
    let fields: [(HeaderName, &'static str); 6] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_LENGTH, "1024"),
        (CACHE_CONTROL, "max-age=0"),
        (ETAG, "\"0123456789abcdef\""),
        (DATE, "Sat, 21 Nov 2026 00:00:00 GMT"),
        (SERVER, "sterna"),
    ];
    ResponseHead { status: StatusCode::OK, headers: map(fields) }
}

fn map<const N: usize>(fields: [(HeaderName, &'static str); N]) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(N);
    for (name, value) in fields {
        map.append(name, HeaderValue::from_static(value));
    }
    map
}

fn carry(from: &mut Connection, to: &mut Connection) {
    while let Some(command) = from.poll_command() {
        if let Command::Write { id, data, fin } = command {
            to.handle_stream(id, data, fin).expect("we break no rule");
        }
    }
    while to.poll_event().is_some() {}
}
