//! One HTTP/3 connection: where streams, QPACK and the application meet.
//!
//! This file is the face. Behind it, in `connection/`: `incoming` sorts what came by stream, `uni` knows the
//! unidirectional streams, `control` the control stream, `request` the request streams and `state` their two halves;
//! `output` gathers what leaves, `budget` counts what is wasted.

use std::collections::hash_map::Entry;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use rustc_hash::FxHashMap;

use crate::priority::Update;
use crate::{
    ApiMisuse, Code, Command, Config, Counters, Error, Event, PeerMisbehaved, Priority,
    RequestHead, ResponseHead, Role, Settings, StreamId, datagram, frame, varint,
};
use control::ControlStream;
use ids::StreamIds;
use request::RequestStream;
use shared::Shared;
use uni::UniStreams;

mod budget;
mod control;
mod ids;
mod incoming;
mod output;
mod request;
mod shared;
mod state;
mod uni;

/// One HTTP/3 connection, either role.
///
/// A: questions at any time. B: `handle_*`, from the network. C: commands of the application.
/// D: `poll_*`: events for the application and commands for the transport, until `None`, after each B or C.
///
/// # Backpressure
/// Content that came is handed out at once: the transport holds the peer back by not reading a stream whose content
/// nobody takes. The one thing held here is what comes behind a field section that waits for the peer's encoder stream:
/// a transport that does not read a stream while [`Connection::is_blocked`] keeps that in its flow control, too. What
/// comes nevertheless is held up to [`Config::max_blocked_bytes`].
#[derive(Debug)]
pub struct Connection {
    shared: Shared,
    requests: FxHashMap<StreamId, RequestStream>,
    /// Server: the client's request streams.
    ids: StreamIds,
    uni: UniStreams,
    control: ControlStream,
    /// Our own unidirectional streams.
    own: [StreamId; 3],
    /// Client: what it relied on in 0-RTT.
    remembered: Option<Settings>,
    shutdown: Shutdown,
    /// Client: requests from here on were not and will not be processed.
    peer_goaway: Option<u64>,
    is_closed: bool,
}

/// How far a graceful end has come (RFC 9114 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    Running,
    /// GOAWAY was sent, but every request is still taken.
    Announced,
    /// Server: requests from this id on are rejected.
    RejectFrom(StreamId),
}

impl Connection {
    /// A connection whose three unidirectional streams of ours are `control`, `encoder`, `decoder` (the caller
    /// opened them); stream types and SETTINGS are the first commands.
    pub fn new(
        role: Role,
        config: Config,
        control: StreamId,
        encoder: StreamId,
        decoder: StreamId,
    ) -> Self {
        let mut connection = Self {
            shared: Shared::new(role, config, encoder, decoder),
            requests: FxHashMap::default(),
            ids: StreamIds::default(),
            uni: UniStreams::default(),
            control: ControlStream::default(),
            own: [control, encoder, decoder],
            remembered: None,
            shutdown: Shutdown::Running,
            peer_goaway: None,
            is_closed: false,
        };
        connection.open_own_streams();
        connection
    }

    // A. Asked at any time.

    /// The peer's SETTINGS, once they have arrived.
    pub fn peer_settings(&self) -> Option<&Settings> {
        self.shared.peer.as_ref()
    }

    /// Requests that are neither finished nor reset on both sides.
    pub fn active_requests(&self) -> usize {
        self.requests.len()
    }

    /// Whether stream `id` waits for the peer's encoder stream: leave its bytes unread until [`Event::Unblocked`].
    pub fn is_blocked(&self, id: StreamId) -> bool {
        self.requests.get(&id).is_some_and(RequestStream::is_blocked)
    }

    /// What was seen so far.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    // B. From the network.

    /// Stream bytes in order, in any split; `fin` with the last. Also the first sight of a stream.
    ///
    /// # Errors
    /// The rule that was broken when the connection must close (a `Close` command is queued too). A malformed
    /// message only resets its stream: [`Event::Misbehaved`] says so.
    pub fn handle_stream(&mut self, id: StreamId, data: Bytes, fin: bool) -> Result<(), Error> {
        self.guard(|connection| {
            if id.is_uni() {
                connection.on_uni_stream(id, data, fin)
            } else if connection.may_be_request(id)? {
                connection.on_request_stream(id, |stream, shared| stream.receive(data, fin, shared))
            } else {
                Ok(())
            }
        })
    }

    /// RESET_STREAM from the peer.
    ///
    /// # Errors
    /// As [`Connection::handle_stream`].
    pub fn handle_reset(&mut self, id: StreamId, code: u64) -> Result<(), Error> {
        self.guard(|connection| {
            if id.is_uni() {
                connection.on_uni_closed(id)
            } else if connection.may_be_request(id)? {
                connection.on_request_stream(id, |stream, shared| stream.on_reset(code, shared))
            } else {
                Ok(())
            }
        })
    }

    /// STOP_SENDING from the peer.
    ///
    /// # Errors
    /// As [`Connection::handle_stream`].
    pub fn handle_stop_sending(&mut self, id: StreamId, code: u64) -> Result<(), Error> {
        self.guard(|connection| {
            // req: 9114-6.2.1-control-not-stopped
            if connection.own.contains(&id) {
                return Err(PeerMisbehaved::CriticalStreamStopped);
            }
            if id.is_uni() || !connection.may_be_request(id)? {
                return Ok(());
            }
            connection.on_request_stream(id, |stream, shared| stream.on_stop_sending(code, shared))
        })
    }

    /// A QUIC DATAGRAM frame's payload.
    ///
    /// # Errors
    /// As [`Connection::handle_stream`].
    pub fn handle_datagram(&mut self, data: Bytes) -> Result<(), Error> {
        self.guard(|connection| connection.on_datagram(data))
    }

    // C. From the application.

    /// Client: sends a request head on a stream that the caller opened.
    ///
    /// Connection-specific fields (RFC 9114 §4.2) in `headers` are left out.
    ///
    /// # Errors
    /// Nothing was sent, and the stream is as before.
    pub fn send_request(
        &mut self,
        id: StreamId,
        head: &RequestHead,
        fin: bool,
    ) -> Result<(), ApiMisuse> {
        self.check_request(id, head)?;
        let mut stream = RequestStream::new(id);
        stream.send_request(head, fin, &mut self.shared)?;
        self.requests.insert(id, stream);
        Ok(())
    }

    /// Server: sends a response head; a 1xx head is interim and may be repeated.
    ///
    /// Connection-specific fields (RFC 9114 §4.2) in `headers` are left out.
    ///
    /// # Errors
    /// Nothing was sent, and the stream is as before.
    pub fn send_response(
        &mut self,
        id: StreamId,
        head: &ResponseHead,
        fin: bool,
    ) -> Result<(), ApiMisuse> {
        self.send_response_with(id, head, &[], fin)
    }

    /// The same, with fields that are sent where `head` has none of their name: those that all responses of a server
    /// carry need not be copied into the head of each.
    ///
    /// # Errors
    /// As [`Connection::send_response`].
    pub fn send_response_with(
        &mut self,
        id: StreamId,
        head: &ResponseHead,
        defaults: &[(HeaderName, HeaderValue)],
        fin: bool,
    ) -> Result<(), ApiMisuse> {
        if self.shared.role == Role::Client {
            return Err(ApiMisuse::WrongRole);
        }
        self.send(id, |stream, shared| stream.send_response(head, defaults, fin, shared))
    }

    /// Sends content: one DATA frame, or none if there is nothing but an end.
    ///
    /// # Errors
    /// Nothing was sent, and the stream is as before. After [`ApiMisuse::ContentTooShort`] and
    /// [`ApiMisuse::ContentTooLong`], reset the stream: the head promised something else.
    pub fn send_data(&mut self, id: StreamId, data: Bytes, fin: bool) -> Result<(), ApiMisuse> {
        self.send(id, |stream, shared| stream.send_data(data, fin, shared))
    }

    /// Sends a trailer section and ends our side.
    ///
    /// # Errors
    /// As [`Connection::send_data`].
    pub fn send_trailers(&mut self, id: StreamId, trailers: &HeaderMap) -> Result<(), ApiMisuse> {
        self.send(id, |stream, shared| stream.send_trailers(trailers, shared))
    }

    /// Ends our side of the stream.
    ///
    /// # Errors
    /// As [`Connection::send_data`].
    pub fn finish(&mut self, id: StreamId) -> Result<(), ApiMisuse> {
        self.send(id, RequestStream::finish)
    }

    /// Gives the message up: RESET_STREAM for our side if it is open, STOP_SENDING for the peer's if it is open.
    pub fn reset(&mut self, id: StreamId, code: Code) {
        if let Some(mut stream) = self.requests.remove(&id)
            && !self.is_closed
        {
            stream.reset(code, &mut self.shared);
        }
    }

    /// Server, after a whole response: asks the peer to stop an upload that is not needed (H3_NO_ERROR, RFC 9114 §4.1).
    pub fn stop_reading(&mut self, id: StreamId, code: Code) {
        // req: 9114-4.1-stop-upload
        if let Entry::Occupied(mut entry) = self.requests.entry(id)
            && !self.is_closed
        {
            entry.get_mut().stop_reading(code, &mut self.shared);
            if entry.get().is_closed() {
                entry.remove();
            }
        }
    }

    /// Client: PRIORITY_UPDATE (RFC 9218 §7.2). A server has none to send, so that nothing happens there.
    pub fn update_priority(&mut self, id: StreamId, priority: Priority) {
        if self.shared.role == Role::Client && id.is_request() && !self.is_closed {
            Update { id, priority }.write(self.shared.output.buffer(self.own_control()));
        }
    }

    /// Sends an HTTP datagram of a request stream.
    ///
    /// # Errors
    /// Nothing was sent.
    #[expect(clippy::needless_pass_by_value, reason = "all payloads are handed over alike")]
    pub fn send_datagram(&mut self, id: StreamId, payload: Bytes) -> Result<(), ApiMisuse> {
        if self.is_closed {
            return Err(ApiMisuse::ConnectionClosed);
        }
        // req: 9297-2.1.1-negotiated
        let is_enabled_by_peer = self.peer_settings().is_some_and(|peer| peer.h3_datagram);
        if !self.shared.config.enable_datagrams || !is_enabled_by_peer {
            return Err(ApiMisuse::DatagramsNotNegotiated);
        }
        // req: 9297-2.1-not-before-stream
        if !self.requests.contains_key(&id) {
            return Err(ApiMisuse::StreamClosed);
        }
        let data = datagram::build(id, &payload);
        self.shared.output.push(Command::Datagram { data });
        Ok(())
    }

    /// GOAWAY. First call: the largest id, no request is refused yet. Second call: the first id that we did not
    /// process; later requests are rejected with H3_REQUEST_REJECTED.
    ///
    /// A client takes no requests, so that its first call says all. When `active_requests` is 0 after the second call,
    /// the connection can be closed with H3_NO_ERROR.
    pub fn shutdown(&mut self) {
        if self.is_closed {
            return;
        }
        // req: 9114-5.2-two-steps
        // req: 9114-5.2-send-no-increase
        let id = match (self.shutdown, self.shared.role) {
            (Shutdown::Running, Role::Server) => {
                self.shutdown = Shutdown::Announced;
                StreamId(varint::MAX & !3)
            }
            (Shutdown::Announced, Role::Server) => {
                let id = StreamId(self.ids.next() << 2);
                self.shutdown = Shutdown::RejectFrom(id);
                id
            }
            (Shutdown::Running, Role::Client) => {
                self.shutdown = Shutdown::Announced;
                StreamId(0)
            }
            (Shutdown::Announced | Shutdown::RejectFrom(_), _) => return,
        };
        let out = self.shared.output.buffer(self.own_control());
        frame::write_header(frame::GOAWAY, varint::len(id.0) as u64, out);
        varint::write(id.0, out);
    }

    /// Client: the server's SETTINGS of an earlier connection, on which the requests of 0-RTT rely (RFC 9114 §7.2.4.2).
    ///
    /// Call it before anything is sent; they hold until the server's SETTINGS arrive, which must not be less.
    pub fn remember_settings(&mut self, settings: Settings) {
        if self.shared.role == Role::Client && self.shared.peer.is_none() {
            // req: 9114-7.2.4.2-comply-in-early-data
            self.shared.max_section_at_peer = settings.max_field_section_size;
            self.remembered = Some(settings);
        }
    }

    // D. Out.

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.shared.events.pop_front()
    }

    /// The next command for the transport.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.shared.output.poll()
    }

    /// Gives back memory that only a busy connection needs: most connections are idle most of the time. Call it when
    /// nothing has happened for a while; as long as there are requests or commands it does nothing.
    pub fn rest(&mut self) {
        if !self.requests.is_empty() || !self.shared.output.is_empty() {
            return;
        }
        self.shared.encoder.rest();
        self.shared.last_authority = Default::default();
        self.requests = FxHashMap::default();
        self.shared.events.shrink_to_fit();
        self.shared.output.rest();
    }

    fn open_own_streams(&mut self) {
        let [control, encoder, decoder] = self.own;
        let settings = self.shared.config.settings(self.shared.role);
        let grease = self.shared.config.grease;
        let out = self.shared.output.buffer(control);
        varint::write(uni::CONTROL, out);
        // req: 9114-6.2-critical-first
        // req: 9114-7.2.4-send-first
        settings.write(grease, out);
        if grease {
            frame::write_header(frame::reserved(GREASE), 0, out);
        }
        varint::write(uni::QPACK_ENCODER, self.shared.output.buffer(encoder));
        varint::write(uni::QPACK_DECODER, self.shared.output.buffer(decoder));
    }

    const fn own_control(&self) -> StreamId {
        let [control, _, _] = self.own;
        control
    }

    /// Whether a client may send this request on this stream.
    fn check_request(&self, id: StreamId, head: &RequestHead) -> Result<(), ApiMisuse> {
        if self.is_closed {
            return Err(ApiMisuse::ConnectionClosed);
        }
        if self.shared.role == Role::Server {
            return Err(ApiMisuse::WrongRole);
        }
        // req: 9114-5.2-no-request-after-goaway
        if self.peer_goaway.is_some() {
            return Err(ApiMisuse::GoingAway);
        }
        // req: 9114-4.1-one-request
        if !id.is_request() || self.requests.contains_key(&id) {
            return Err(ApiMisuse::NotRequestStream);
        }
        // Nothing else waits for SETTINGS.
        // req: 9220-3-client-waits-for-setting
        // req: 9114-7.2.4.2-no-waiting
        let peer = self.shared.peer.as_ref().or(self.remembered.as_ref());
        if head.protocol.is_some() && !peer.is_some_and(|peer| peer.enable_connect_protocol) {
            return Err(ApiMisuse::ExtendedConnectNotEnabled);
        }
        Ok(())
    }

    /// Runs one command on a request stream.
    fn send(
        &mut self,
        id: StreamId,
        command: impl FnOnce(&mut RequestStream, &mut Shared) -> Result<(), ApiMisuse>,
    ) -> Result<(), ApiMisuse> {
        if self.is_closed {
            return Err(ApiMisuse::ConnectionClosed);
        }
        let Entry::Occupied(mut entry) = self.requests.entry(id) else {
            return Err(ApiMisuse::StreamClosed);
        };
        command(entry.get_mut(), &mut self.shared)?;
        if entry.get().is_closed() {
            entry.remove();
        }
        Ok(())
    }
}

/// Which of the reserved frame types we send; a sans-IO crate has no dice, and any will do.
const GREASE: u64 = 0x0b;

#[cfg(test)]
mod tests;
