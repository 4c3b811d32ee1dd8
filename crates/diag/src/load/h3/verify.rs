//! Responses decoded in full and checked, by the HTTP/3 of our own server and client: for `--verify`.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, uri::PathAndQuery};
use rustc_hash::FxHashMap;
use sterna_h3::{Command, Config, Event, Priority, RequestHead, Role};
use sterna_quic::{Connection, Dir, StreamId, Write};

use crate::load::{Failure, Plan, request};

/// HTTP/3 of one connection, in full.
pub(super) struct Verifier {
    h3: sterna_h3::Connection,
    head: RequestHead,
    /// Status and bytes of content so far.
    responses: FxHashMap<StreamId, (u16, u64)>,
    /// What our own streams could not take yet; and of the request that is being written.
    unwritten: FxHashMap<StreamId, BytesMut>,
}

/// What the verifier tells of a request.
#[derive(Debug)]
pub(super) enum Seen {
    /// Content.
    Content(StreamId, Bytes),
    /// A whole response, and its bytes of content.
    Done(StreamId, u16, u64),
    Failed(StreamId, Failure),
    Goaway(u64),
}

impl Verifier {
    /// Opens our three streams; `None` when the server has no room for them.
    pub(super) fn new(connection: &mut Connection, plan: &Plan) -> Option<Self> {
        let [control, encoder, decoder] =
            [connection.open(Dir::Uni)?, connection.open(Dir::Uni)?, connection.open(Dir::Uni)?]
                .map(|id| sterna_h3::StreamId(id.0));
        let h3 =
            sterna_h3::Connection::new(Role::Client, Config::default(), control, encoder, decoder);
        let head = head(plan)?;
        let mut verifier =
            Self { h3, head, responses: FxHashMap::default(), unwritten: FxHashMap::default() };
        verifier.settle(connection);
        Some(verifier)
    }

    /// The bytes of a request's head on a stream that was opened.
    pub(super) fn request(
        &mut self,
        id: StreamId,
        has_body: bool,
        connection: &mut Connection,
    ) -> Result<Bytes, Failure> {
        let refused = |misuse| Failure::Protocol(format!("{misuse}"));
        self.h3.send_request(h3_id(id), &self.head, !has_body).map_err(refused)?;
        self.responses.insert(id, (0, 0));
        self.settle(connection);
        Ok(self.unwritten.remove(&id).unwrap_or_default().freeze())
    }

    /// The bytes of a piece of content.
    pub(super) fn content(
        &mut self,
        id: StreamId,
        piece: Bytes,
        is_last: bool,
        connection: &mut Connection,
    ) -> Bytes {
        // It fails only for a stream that is over, where there is nothing more to say.
        let _ = self.h3.send_data(h3_id(id), piece, is_last);
        self.settle(connection);
        self.unwritten.remove(&id).unwrap_or_default().freeze()
    }

    /// Bytes of any stream of the server.
    ///
    /// # Errors
    /// The rule that the server has broken, for which the connection has to end.
    pub(super) fn handle(
        &mut self,
        id: StreamId,
        data: Bytes,
        is_end: bool,
        connection: &mut Connection,
        seen: &mut Vec<Seen>,
    ) -> Result<(), Failure> {
        let outcome = self.h3.handle_stream(h3_id(id), data, is_end);
        self.settle(connection);
        self.gather(seen);
        outcome.map_err(|error| Failure::Protocol(error.to_string()))
    }

    /// The server reset a stream.
    ///
    /// # Errors
    /// As [`Self::handle`].
    pub(super) fn reset(
        &mut self,
        id: StreamId,
        code: u64,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        self.responses.remove(&id);
        let outcome = self.h3.handle_reset(h3_id(id), code);
        self.h3.reset(h3_id(id), sterna_h3::Code::RequestCancelled);
        self.settle(connection);
        // Its failure is known.
        while self.h3.poll_event().is_some() {}
        outcome.map_err(|error| Failure::Protocol(error.to_string()))
    }

    /// A request is given up.
    pub(super) fn cancel(&mut self, id: StreamId, connection: &mut Connection) {
        self.responses.remove(&id);
        self.h3.reset(h3_id(id), sterna_h3::Code::RequestCancelled);
        self.settle(connection);
    }

    /// Room has come on a stream of ours.
    pub(super) fn on_writable(&mut self, id: StreamId, connection: &mut Connection) {
        if let Some(data) = self.unwritten.remove(&id) {
            self.write(id, data, connection);
        }
    }

    fn gather(&mut self, seen: &mut Vec<Seen>) {
        while let Some(event) = self.h3.poll_event() {
            match event {
                Event::Response { id, head, fin } => {
                    let id = StreamId(id.0);
                    let status = head.status.as_u16();
                    if fin {
                        self.responses.remove(&id);
                        seen.push(Seen::Done(id, status, 0));
                    } else if let Some(response) = self.responses.get_mut(&id) {
                        response.0 = status;
                    }
                }
                Event::Data { id, data } => {
                    let id = StreamId(id.0);
                    if let Some(response) = self.responses.get_mut(&id) {
                        response.1 += data.len() as u64;
                        seen.push(Seen::Content(id, data));
                    }
                }
                Event::Finished { id } => {
                    let id = StreamId(id.0);
                    if let Some((status, content)) = self.responses.remove(&id) {
                        seen.push(Seen::Done(id, status, content));
                    }
                }
                Event::Reset { id, code } => {
                    let id = StreamId(id.0);
                    self.responses.remove(&id);
                    seen.push(Seen::Failed(id, Failure::of_h3_reset(code)));
                }
                Event::Misbehaved { id, rule } => {
                    let id = StreamId(id.0);
                    self.responses.remove(&id);
                    seen.push(Seen::Failed(id, Failure::Protocol(rule.to_string())));
                }
                Event::Goaway { id } => seen.push(Seen::Goaway(id)),
                _ => {}
            }
        }
    }

    /// Does what HTTP/3 wants of the transport.
    fn settle(&mut self, connection: &mut Connection) {
        while let Some(command) = self.h3.poll_command() {
            match command {
                // A request's own are for the caller, who knows how much the stream takes.
                Command::Write { id, data, fin: _ } if id.is_request() => {
                    self.unwritten.entry(StreamId(id.0)).or_default().extend_from_slice(&data);
                }
                Command::Write { id, data, fin: _ } => {
                    let id = StreamId(id.0);
                    let mut all = self.unwritten.remove(&id).unwrap_or_default();
                    all.extend_from_slice(&data);
                    self.write(id, all, connection);
                }
                Command::Reset { id, code } => connection.reset(StreamId(id.0), code.value()),
                Command::StopSending { id, code } => {
                    connection.stop_sending(StreamId(id.0), code.value());
                }
                Command::Datagram { .. } => {}
                Command::Close { code, reason } => {
                    connection.close(code.value(), reason.as_bytes());
                }
            }
        }
    }

    /// Writes to a stream of ours what it takes.
    fn write(&mut self, id: StreamId, data: BytesMut, connection: &mut Connection) {
        let mut chunk = [data.freeze()];
        while !chunk[0].is_empty() {
            match connection.write(id, &mut chunk) {
                Write::Taken(_) => {}
                Write::Blocked if chunk[0].len() <= MOST_UNWRITTEN => {
                    let [left] = chunk;
                    self.unwritten.insert(id, left.into());
                    return;
                }
                Write::Blocked => {
                    return connection.close(H3_INTERNAL_ERROR, b"instructions are not taken");
                }
                Write::Stopped(_) | Write::Closed => return,
            }
        }
    }
}

fn head(plan: &Plan) -> Option<RequestHead> {
    let mut headers = HeaderMap::new();
    for (name, value) in request::regular(plan) {
        let name = name.parse::<http::HeaderName>().ok()?;
        headers.append(name, value.parse().ok()?);
    }
    let target = &plan.target;
    let host = plan.request.headers.iter().find(|(name, _)| name == "host");
    Some(RequestHead {
        method: plan.request.method.clone(),
        scheme: Some(if target.is_secure {
            http::uri::Scheme::HTTPS
        } else {
            http::uri::Scheme::HTTP
        }),
        authority: host.map_or(&target.authority, |(_, host)| host).parse().ok(),
        path: target.path.parse::<PathAndQuery>().ok(),
        protocol: None,
        headers,
        priority: Priority::default(),
    })
}

fn h3_id(id: StreamId) -> sterna_h3::StreamId {
    sterna_h3::StreamId(id.0)
}

/// Instructions and settings that may wait for the server to take them, in bytes.
const MOST_UNWRITTEN: usize = 1 << 20;

/// RFC 9114 §8.1.
const H3_INTERNAL_ERROR: u64 = 0x102;
