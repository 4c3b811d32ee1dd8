//! A connection against any sequence of what a peer and an application can do: nothing panics, nothing comes after a
//! close, and what the application gave up is forgotten.
//!
//! The input is a byte for role and limits, then operations: a byte that says what, a byte that says on which stream, a
//! byte that says how long, and so many bytes.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use sterna_h3::{
    Code, Command, Config, Connection, Error, Event, Priority, Protocol, RequestHead, ResponseHead,
    Role, Settings, StreamId,
};

pub(crate) fn check(input: &[u8]) {
    let Some((&what, operations)) = input.split_first() else { return };
    let mut play = Play::new(what);
    play.run(operations);
    play.end();
}

struct Play {
    connection: Connection,
    is_closed: bool,
    opened: Vec<StreamId>,
}

impl Play {
    fn new(what: u8) -> Self {
        let config = Config {
            max_field_section_size: if what & 2 == 0 { 64 * 1024 } else { 200 },
            max_field_lines: if what & 4 == 0 { 256 } else { 8 },
            max_blocked_bytes: if what & 8 == 0 { 1 << 20 } else { 64 },
            enable_connect_protocol: what & 16 != 0,
            enable_datagrams: what & 32 != 0,
            flood_budget: 4096,
            reset_budget: 8,
            ..Config::default()
        };
        let (role, first) = if what & 1 == 0 { (Role::Server, 3) } else { (Role::Client, 2) };
        let [control, encoder, decoder] = [first, first + 4, first + 8].map(StreamId);
        let mut connection = Connection::new(role, config, control, encoder, decoder);
        if what & 64 != 0 {
            connection.remember_settings(Settings {
                enable_connect_protocol: true,
                max_field_section_size: Some(100),
                ..Settings::default()
            });
        }
        Self { connection, is_closed: false, opened: Vec::new() }
    }

    fn run(&mut self, mut operations: &[u8]) {
        while let Some((&[what, stream, length], rest)) = operations.split_first_chunk() {
            let (data, rest) = rest.split_at(usize::from(length).min(rest.len()));
            operations = rest;
            let id = StreamId(u64::from(stream));
            if what & 1 == 0 {
                self.peer(what >> 1, id, Bytes::copy_from_slice(data));
            } else {
                self.application(what >> 1, id, Bytes::copy_from_slice(data));
            }
            self.drain();
        }
    }

    fn peer(&mut self, what: u8, id: StreamId, data: Bytes) {
        let code = u64::from(what);
        let result = match what % 8 {
            0..4 => self.connection.handle_stream(id, data, what & 8 != 0),
            4 => self.connection.handle_reset(id, code),
            5 => self.connection.handle_stop_sending(id, code),
            6 => self.connection.handle_datagram(data),
            _ => self.connection.handle_stream(id, Bytes::new(), true),
        };
        assert!(!self.is_closed || result == Err(Error::Closed));
        self.is_closed |= result.is_err();
    }

    fn application(&mut self, what: u8, id: StreamId, data: Bytes) {
        let fin = what & 64 != 0;
        let connection = &mut self.connection;
        let _ = match what % 11 {
            0 => {
                self.opened.push(id);
                connection.send_request(id, &request(what), fin)
            }
            1 => connection.send_response(id, &response(what), fin),
            2 => connection.send_data(id, data, fin),
            3 => connection.send_trailers(id, &HeaderMap::new()),
            4 => connection.finish(id),
            5 => {
                connection.reset(id, Code::InternalError);
                Ok(())
            }
            6 => {
                connection.stop_reading(id, Code::NoError);
                Ok(())
            }
            7 => {
                connection.update_priority(id, Priority::parse(&data));
                Ok(())
            }
            8 => connection.send_datagram(id, data),
            9 => {
                connection.shutdown();
                Ok(())
            }
            _ => {
                connection.is_blocked(id);
                Ok(())
            }
        };
    }

    fn drain(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            if let Event::Request { id, .. } = event {
                self.opened.push(id);
            }
        }
        let mut has_closed = false;
        while let Some(command) = self.connection.poll_command() {
            assert!(!has_closed, "{command:?} after a close");
            has_closed = matches!(command, Command::Close { .. });
        }
        assert!(!has_closed || self.is_closed);
    }

    /// The application gives up what it knows; only what it was never told may be left.
    fn end(&mut self) {
        let before = self.connection.active_requests();
        for id in std::mem::take(&mut self.opened) {
            self.connection.reset(id, Code::NoError);
        }
        self.drain();
        assert!(self.connection.active_requests() <= before);
    }
}

fn request(what: u8) -> RequestHead {
    let is_extended = what & 16 != 0;
    RequestHead {
        method: match what % 3 {
            _ if is_extended => Method::CONNECT,
            0 => Method::GET,
            1 => Method::HEAD,
            _ => Method::CONNECT,
        },
        scheme: (what & 8 == 0).then_some(http::uri::Scheme::HTTPS),
        authority: Some(http::uri::Authority::from_static("localhost:443")),
        path: (what & 8 == 0).then(|| http::uri::PathAndQuery::from_static("/")),
        protocol: is_extended.then(|| Protocol(Bytes::from_static(b"websocket"))),
        headers: HeaderMap::new(),
        priority: Priority::default(),
    }
}

fn response(what: u8) -> ResponseHead {
    let status = [100, 101, 103, 200, 204, 304, 404, 500].get(usize::from(what >> 1 & 7));
    let status = status.and_then(|status| StatusCode::from_u16(*status).ok());
    let mut headers = HeaderMap::new();
    if what & 32 != 0 {
        headers.insert(http::header::CONTENT_LENGTH, http::HeaderValue::from_static("3"));
    }
    ResponseHead { status: status.unwrap_or_default(), headers }
}
