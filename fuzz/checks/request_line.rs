//! Any lines as the head of a request: it is refused, or it makes an `http::Request` which survives our own writing.
//!
//! The input is lines: a byte that picks a name or the length of a literal one, a byte for the length of the value,
//! and the bytes.

use bytes::{Bytes, BytesMut};
use sterna_h3::{Command, Config, Connection, Event, RequestHead, Role, StreamId};
use sterna_qpack::{Encoder, EncoderConfig, FieldRef};

pub(crate) fn check(input: &[u8]) {
    let Some(head) = received(framed(&lines(input))) else { return };
    let Some(again) = sent(&head).and_then(received) else { return };
    assert_eq!((&again.method, &again.authority), (&head.method, &head.authority));
    assert_eq!((&again.scheme, &again.path), (&head.scheme, &head.path));
    // host may be left out where it says what :authority says.
    assert!(again.headers.len() <= head.headers.len());
    let mut request = http::Request::builder().method(head.method.clone());
    if let Some(path) = &head.path {
        let mut uri = http::uri::Parts::default();
        uri.path_and_query = Some(path.clone());
        uri.scheme = head.authority.as_ref().and(head.scheme.clone());
        uri.authority = head.authority.clone().filter(|_| head.scheme.is_some());
        let is_asterisk = path == "*";
        assert!(is_asterisk || path.as_str().starts_with('/'), "{path}");
        request = request.uri(http::Uri::from_parts(uri).expect("the parts of a URI"));
    }
    request.body(()).expect("what was taken is a request");
}

fn lines(mut input: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut lines = Vec::new();
    while let Some((&[what, length], rest)) = input.split_first_chunk() {
        let known = NAMES.get(usize::from(what));
        let literal = if known.is_some() { 0 } else { usize::from(what % 32) };
        let (name, rest) = rest.split_at(literal.min(rest.len()));
        let (value, rest) = rest.split_at(usize::from(length).min(rest.len()));
        input = rest;
        lines.push((known.map_or(name, |name| name.as_bytes()), value));
    }
    lines
}

/// A HEADERS frame of these lines.
fn framed(lines: &[(&[u8], &[u8])]) -> Bytes {
    let mut encoder = Encoder::new(EncoderConfig { max_table_capacity: 0, max_blocked_streams: 0 });
    let mut section = BytesMut::new();
    let refs = lines.iter().map(|&(name, value)| FieldRef { name, value, sensitive: false });
    encoder.encode(0, refs, &mut section);
    let length = u32::try_from(section.len()).expect("a short input") | 0x8000_0000;
    [&[1][..], &length.to_be_bytes(), &section].concat().into()
}

/// What a server makes of the bytes of a request stream.
fn received(stream: Bytes) -> Option<RequestHead> {
    let ids = [3, 7, 11].map(StreamId);
    let mut server = Connection::new(Role::Server, Config::default(), ids[0], ids[1], ids[2]);
    server.handle_stream(StreamId(0), stream, false).ok()?;
    match server.poll_event()? {
        Event::Request { head, .. } => Some(*head),
        _ => None,
    }
}

/// The bytes that a client writes for a head.
fn sent(head: &RequestHead) -> Option<Bytes> {
    let ids = [2, 6, 10].map(StreamId);
    let mut client = Connection::new(Role::Client, Config::default(), ids[0], ids[1], ids[2]);
    client.send_request(StreamId(0), head, false).ok()?;
    let mut stream = BytesMut::new();
    while let Some(command) = client.poll_command() {
        if let Command::Write { id: StreamId(0), data, .. } = command {
            stream.extend_from_slice(&data);
        }
    }
    Some(stream.freeze())
}

const NAMES: [&str; 9] = [
    ":method",
    ":scheme",
    ":authority",
    ":path",
    "host",
    "cookie",
    "te",
    "content-length",
    "priority",
];
