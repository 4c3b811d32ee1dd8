//! The connection as its neighbours see it: bytes and calls in, events and commands out.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use sterna_qpack::{Encoder, EncoderConfig, FieldRef};

use super::*;
use crate::message::Protocol;

mod bounds;
mod exchange;
mod extensions;
mod lifecycle;
mod play;
mod recipes;
mod rules;
mod split;

/// The peer's streams as a server sees them, and as a client does.
const CLIENT_CONTROL: StreamId = StreamId(2);
const CLIENT_ENCODER: StreamId = StreamId(6);
const CLIENT_DECODER: StreamId = StreamId(10);
const SERVER_CONTROL: StreamId = StreamId(3);
const SERVER_ENCODER: StreamId = StreamId(7);
const SERVER_DECODER: StreamId = StreamId(11);

/// The first request stream.
const FIRST: StreamId = StreamId(0);

/// A server whose opening bytes were taken.
fn server(config: Config) -> Connection {
    let mut server =
        Connection::new(Role::Server, config, SERVER_CONTROL, SERVER_ENCODER, SERVER_DECODER);
    commands(&mut server);
    server
}

/// A client whose opening bytes were taken.
fn client(config: Config) -> Connection {
    let mut client =
        Connection::new(Role::Client, config, CLIENT_CONTROL, CLIENT_ENCODER, CLIENT_DECODER);
    commands(&mut client);
    client
}

/// A client that sent a GET on [`FIRST`].
fn client_that_asked(head: &RequestHead) -> Connection {
    let mut client = client(Config::default());
    client.send_request(FIRST, head, true).unwrap();
    commands(&mut client);
    client
}

fn events(connection: &mut Connection) -> Vec<Event> {
    std::iter::from_fn(|| connection.poll_event()).collect()
}

fn commands(connection: &mut Connection) -> Vec<Command> {
    std::iter::from_fn(|| connection.poll_command()).collect()
}

/// A client and a server with a transport between them that delivers in order.
struct Pair {
    client: Connection,
    server: Connection,
}

impl Pair {
    fn new(client: Config, server: Config) -> Self {
        let client =
            Connection::new(Role::Client, client, CLIENT_CONTROL, CLIENT_ENCODER, CLIENT_DECODER);
        let server =
            Connection::new(Role::Server, server, SERVER_CONTROL, SERVER_ENCODER, SERVER_DECODER);
        let mut pair = Self { client, server };
        pair.exchange();
        assert!(matches!(events(&mut pair.client).as_slice(), [Event::Settings(_)]));
        assert!(matches!(events(&mut pair.server).as_slice(), [Event::Settings(_)]));
        pair
    }

    /// Carries commands over until both sides are silent.
    fn exchange(&mut self) {
        loop {
            let to_server = carry(&mut self.client, &mut self.server);
            let to_client = carry(&mut self.server, &mut self.client);
            if to_server + to_client == 0 {
                return;
            }
        }
    }
}

/// Carries one side's commands to the other; how many there were.
fn carry(from: &mut Connection, to: &mut Connection) -> usize {
    let commands = commands(from);
    for command in &commands {
        deliver(command, to).unwrap();
    }
    commands.len()
}

fn deliver(command: &Command, to: &mut Connection) -> Result<(), Error> {
    match command.clone() {
        Command::Write { id, data, fin } => to.handle_stream(id, data, fin),
        Command::Reset { id, code } => to.handle_reset(id, code.value()),
        Command::StopSending { id, code } => to.handle_stop_sending(id, code.value()),
        Command::Datagram { data } => to.handle_datagram(data),
        Command::Close { .. } => Ok(()),
    }
}

/// A GET of `https://localhost/`.
fn get() -> RequestHead {
    request(Method::GET, &[])
}

fn request(method: Method, headers: &[(&'static str, &'static str)]) -> RequestHead {
    RequestHead {
        method,
        scheme: Some(http::uri::Scheme::HTTPS),
        authority: Some("localhost".parse().unwrap()),
        path: Some("/".parse().unwrap()),
        protocol: None,
        headers: header_map(headers),
        priority: Priority::default(),
    }
}

fn extended_connect(protocol: &'static str) -> RequestHead {
    let protocol = Some(Protocol(Bytes::from_static(protocol.as_bytes())));
    RequestHead { protocol, ..request(Method::CONNECT, &[]) }
}

fn response(status: StatusCode, headers: &[(&'static str, &'static str)]) -> ResponseHead {
    ResponseHead { status, headers: header_map(headers) }
}

fn header_map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
    let fields = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    fields.collect()
}

/// An encoded field section without the dynamic table.
fn section(lines: &[(&str, &str)]) -> Vec<u8> {
    let config = EncoderConfig { max_table_capacity: 0, max_blocked_streams: 0 };
    let mut out = BytesMut::new();
    let fields = lines.iter().map(|(name, value)| FieldRef {
        name: name.as_bytes(),
        value: value.as_bytes(),
        sensitive: false,
    });
    Encoder::new(config).encode(0, fields, &mut out);
    out.to_vec()
}

/// A frame of any type.
fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::write_header(kind, payload.len() as u64, &mut out);
    out.extend_from_slice(payload);
    out.to_vec()
}

/// A HEADERS frame.
fn headers(lines: &[(&str, &str)]) -> Vec<u8> {
    frame(frame::HEADERS, &section(lines))
}

/// A DATA frame.
fn data(content: &[u8]) -> Vec<u8> {
    frame(frame::DATA, content)
}

fn bytes(parts: &[&[u8]]) -> Bytes {
    Bytes::from(parts.concat())
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")];

const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")];
