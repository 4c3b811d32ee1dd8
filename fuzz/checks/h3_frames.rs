//! One stream of any bytes, whole and in pieces: nothing panics, and the verdict, the content and the trailers are the
//! same. The same bytes also go to the capsule codec and to the priority field.
//!
//! The input is a byte for the stream and the role, a byte for the size of the pieces, and the stream.

use bytes::{Bytes, BytesMut};
use sterna_h3::{
    Capsule, CapsuleDecoder, Config, Connection, Error, Event, PeerMisbehaved, Priority,
    RequestHead, Role, StreamId,
};

pub(crate) fn check(input: &[u8]) {
    let Some((&[target, size], stream)) = input.split_first_chunk() else { return };
    let size = usize::from(size).max(1);
    let whole = Seen::of(target, stream.chunks(stream.len().max(1)));
    let pieces = Seen::of(target, stream.chunks(size));
    assert_eq!(whole, pieces);
    assert_eq!(capsules(stream.chunks(stream.len().max(1))), capsules(stream.chunks(size)));
    let priority = Priority::parse(stream);
    assert!(priority.urgency <= 7);
}

/// What must not depend on the split.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    result: Option<Error>,
    misbehaved: Option<PeerMisbehaved>,
    heads: usize,
    content: Vec<u8>,
    trailers: Option<usize>,
    others: usize,
    finished: bool,
}

impl Seen {
    fn of<'a>(target: u8, pieces: impl Iterator<Item = &'a [u8]>) -> Self {
        let (mut connection, id) = connection(target);
        let mut seen = Self::default();
        let mut pieces = pieces.peekable();
        while let Some(piece) = pieces.next() {
            let fin = pieces.peek().is_none() && target & 0x80 != 0;
            let result = connection.handle_stream(id, Bytes::copy_from_slice(piece), fin);
            while let Some(event) = connection.poll_event() {
                seen.on(event);
            }
            while connection.poll_command().is_some() {}
            if let Err(error) = result {
                seen.result = Some(error);
                break;
            }
        }
        if seen.misbehaved == Some(PeerMisbehaved::ContentTooShort) {
            // Whether a head is told before its message turns out too short depends on what came with it.
            seen.heads = 0;
        }
        if seen.misbehaved == Some(PeerMisbehaved::ContentTooLong) {
            // Likewise how much of the content was told before it was too much.
            seen.content.clear();
        }
        seen
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Request { fin, .. } | Event::Response { fin, .. } => {
                self.heads += 1;
                self.finished |= fin;
            }
            Event::Data { data, .. } => {
                assert!(!data.is_empty());
                self.content.extend_from_slice(&data);
            }
            Event::Trailers { trailers, .. } => self.trailers = Some(trailers.len()),
            Event::Finished { .. } => self.finished = true,
            Event::Misbehaved { rule, .. } => self.misbehaved = Some(rule),
            _ => self.others += 1,
        }
    }
}

/// A request stream or one of the unidirectional ones, of either role.
fn connection(target: u8) -> (Connection, StreamId) {
    let config =
        Config { enable_connect_protocol: true, enable_datagrams: true, ..Config::default() };
    let ids = |first| [first, first + 4, first + 8].map(StreamId);
    if target & 1 == 0 {
        let [control, encoder, decoder] = ids(3);
        let server = Connection::new(Role::Server, config, control, encoder, decoder);
        return (server, StreamId(if target & 2 == 0 { 0 } else { 2 }));
    }
    let [control, encoder, decoder] = ids(2);
    let mut client = Connection::new(Role::Client, config, control, encoder, decoder);
    let head = RequestHead {
        method: if target & 4 == 0 { http::Method::GET } else { http::Method::HEAD },
        scheme: Some(http::uri::Scheme::HTTPS),
        authority: Some(http::uri::Authority::from_static("localhost")),
        path: Some(http::uri::PathAndQuery::from_static("/")),
        protocol: None,
        headers: http::HeaderMap::new(),
        priority: Priority::default(),
    };
    client.send_request(StreamId(0), &head, true).expect("a fresh connection takes a request");
    (client, StreamId(if target & 2 == 0 { 0 } else { 3 }))
}

/// The capsules of a stream, or nothing if it has an error; what is read is written again.
fn capsules<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Option<Vec<Capsule>> {
    let mut decoder = CapsuleDecoder::new(1000);
    let mut capsules = Vec::new();
    for piece in pieces {
        let mut piece = Bytes::copy_from_slice(piece);
        while let Some(capsule) = decoder.next(&mut piece).ok()? {
            let mut written = BytesMut::new();
            capsule.write(&mut written);
            let again = CapsuleDecoder::new(1000).next(&mut written.freeze());
            assert_eq!(again, Ok(Some(capsule.clone())));
            capsules.push(capsule);
        }
    }
    decoder.finish().ok()?;
    Some(capsules)
}
