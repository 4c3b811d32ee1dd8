//! Skeleton. Split as connection/{control,request,uni}.rs from the first commit.
use crate::{ApiMisuse, Code, Error, Event, Priority, RequestHead, ResponseHead, Settings, StreamId};
use bytes::Bytes;
use http::HeaderMap;

/// Which side we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We opened the connection.
    Client,
    /// We accepted it.
    Server,
}

/// Limits and choices of our side.
#[derive(Clone, Debug)]
pub struct Config {
    /// SETTINGS_MAX_FIELD_SECTION_SIZE that we announce and enforce, in bytes (RFC 9114 §4.2.2). Default: 64 KiB.
    pub max_field_section_size: u64,
    /// Our decoder's dynamic table, in bytes. Default: 4096.
    pub qpack_max_table_capacity: u64,
    /// Streams of the peer that may block on our decoder. Default: 100.
    pub qpack_blocked_streams: u64,
    /// What our encoder uses at most of the peer's table. Default: 4096.
    pub qpack_encoder_table_capacity: u64,
    /// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 9220). Default: false.
    pub enable_connect_protocol: bool,
    /// SETTINGS_H3_DATAGRAM (RFC 9297). Default: false.
    pub enable_datagrams: bool,
    /// Send a reserved setting and frame (RFC 9114 §7.2.8). Default: true.
    pub grease: bool,
}

impl Default for Config {
    fn default() -> Self {
        todo!()
    }
}

/// What to do on the transport, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Append to the stream; `fin` ends our side.
    Write {
        /// Stream.
        id: StreamId,
        /// May be empty when `fin`.
        data: Bytes,
        /// End our side after the data.
        fin: bool,
    },
    /// RESET_STREAM; what is queued for it is void.
    Reset {
        /// Stream.
        id: StreamId,
        /// Application error code.
        code: Code,
    },
    /// STOP_SENDING.
    StopSending {
        /// Stream.
        id: StreamId,
        /// Application error code.
        code: Code,
    },
    /// An unreliable datagram (RFC 9297 §2.1), quarter stream id included.
    Datagram {
        /// Payload.
        data: Bytes,
    },
    /// CONNECTION_CLOSE; nothing after it.
    Close {
        /// Application error code.
        code: Code,
        /// For people who read traces.
        reason: &'static str,
    },
}

/// One HTTP/3 connection, either role.
///
/// A: questions at any time. B: `handle_*`, from the network. C: commands of the application.
/// D: `poll_*`: events for the application and commands for the transport, until `None`, after each B or C.
#[derive(Debug)]
pub struct Connection {}

impl Connection {
    /// A connection whose three unidirectional streams of ours are `control`, `encoder`, `decoder` (the caller
    /// opened them); stream types and SETTINGS are the first commands.
    pub fn new(_role: Role, _config: Config, _control: StreamId, _encoder: StreamId, _decoder: StreamId) -> Self {
        todo!()
    }

    // A. Asked at any time.

    /// The peer's SETTINGS, once they have arrived.
    pub fn peer_settings(&self) -> Option<&Settings> {
        todo!()
    }
    /// Requests that are neither finished nor reset on both sides.
    pub fn active_requests(&self) -> usize {
        todo!()
    }

    // B. From the network.

    /// Stream bytes in order, in any split; `fin` with the last. Also the first sight of a stream.
    ///
    /// # Errors
    /// The rule that was broken when the connection must close (a `Close` command is queued too). A malformed
    /// message only resets its stream: [`Event::Misbehaved`] says so.
    pub fn handle_stream(&mut self, _id: StreamId, _data: Bytes, _fin: bool) -> Result<(), Error> {
        todo!()
    }
    /// RESET_STREAM from the peer.
    pub fn handle_reset(&mut self, _id: StreamId, _code: u64) -> Result<(), Error> {
        todo!()
    }
    /// STOP_SENDING from the peer.
    pub fn handle_stop_sending(&mut self, _id: StreamId, _code: u64) -> Result<(), Error> {
        todo!()
    }
    /// A QUIC DATAGRAM frame's payload.
    pub fn handle_datagram(&mut self, _data: Bytes) -> Result<(), Error> {
        todo!()
    }

    // C. From the application.

    /// Client: sends a request head on a stream that the caller opened.
    pub fn send_request(&mut self, _id: StreamId, _head: &RequestHead, _fin: bool) -> Result<(), ApiMisuse> {
        todo!()
    }
    /// Server: sends a response head; a 1xx head is interim and may be repeated.
    pub fn send_response(&mut self, _id: StreamId, _head: &ResponseHead, _fin: bool) -> Result<(), ApiMisuse> {
        todo!()
    }
    /// Sends content: one DATA frame.
    pub fn send_data(&mut self, _id: StreamId, _data: Bytes, _fin: bool) -> Result<(), ApiMisuse> {
        todo!()
    }
    /// Sends a trailer section and ends our side.
    pub fn send_trailers(&mut self, _id: StreamId, _trailers: &HeaderMap) -> Result<(), ApiMisuse> {
        todo!()
    }
    /// Ends our side of the stream.
    pub fn finish(&mut self, _id: StreamId) -> Result<(), ApiMisuse> {
        todo!()
    }
    /// Gives the message up: RESET_STREAM for our side if it is open, STOP_SENDING for the peer's if it is open.
    pub fn reset(&mut self, _id: StreamId, _code: Code) {
        todo!()
    }
    /// Server, after a whole response: asks the peer to stop an upload that is not needed (H3_NO_ERROR, RFC 9114 §4.1).
    pub fn stop_reading(&mut self, _id: StreamId, _code: Code) {
        todo!()
    }
    /// Client: PRIORITY_UPDATE (RFC 9218 §7.2).
    pub fn update_priority(&mut self, _id: StreamId, _priority: Priority) {
        todo!()
    }
    /// Sends an HTTP datagram of a request stream.
    pub fn send_datagram(&mut self, _id: StreamId, _payload: Bytes) -> Result<(), ApiMisuse> {
        todo!()
    }
    /// GOAWAY. First call: the largest id, no request is refused yet. Second call: the first id that we did not
    /// process; later requests are rejected with H3_REQUEST_REJECTED.
    pub fn shutdown(&mut self) {
        todo!()
    }

    // D. Out.

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }
    /// The next command for the transport.
    pub fn poll_command(&mut self) -> Option<Command> {
        todo!()
    }
}
