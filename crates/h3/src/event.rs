//! Skeleton.
use crate::{PeerMisbehaved, Priority, RequestHead, ResponseHead, Settings, StreamId};
use bytes::Bytes;
use http::HeaderMap;

/// What the application is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The peer's SETTINGS arrived.
    Settings(Settings),
    /// Server: a request head. `fin`: no content and no trailers follow (then no `Finished` comes).
    Request {
        /// Stream.
        id: StreamId,
        /// Head, boxed because events are moved around.
        head: Box<RequestHead>,
        /// The message ended with the head.
        fin: bool,
    },
    /// Client: a response head; 1xx heads come first, each as an event of its own.
    Response {
        /// Stream.
        id: StreamId,
        /// Head.
        head: Box<ResponseHead>,
        /// The message ended with the head.
        fin: bool,
    },
    /// Content.
    Data {
        /// Stream.
        id: StreamId,
        /// Never empty.
        data: Bytes,
    },
    /// Trailer section; `Finished` follows.
    Trailers {
        /// Stream.
        id: StreamId,
        /// Fields.
        trailers: Box<HeaderMap>,
    },
    /// The message is complete and valid (content-length checked).
    Finished {
        /// Stream.
        id: StreamId,
    },
    /// The peer gave its side up: the message is incomplete.
    Reset {
        /// Stream.
        id: StreamId,
        /// Application error code.
        code: u64,
    },
    /// The peer does not want our message any more (STOP_SENDING); our side was reset.
    Stopped {
        /// Stream.
        id: StreamId,
        /// Application error code.
        code: u64,
    },
    /// The message broke a rule; the stream was reset with the rule's code. The connection lives.
    Misbehaved {
        /// Stream.
        id: StreamId,
        /// Rule.
        rule: PeerMisbehaved,
    },
    /// Server: the field section is larger than we accept; answer 431 and stop reading, or reset.
    HeadTooLarge {
        /// Stream.
        id: StreamId,
    },
    /// Server: PRIORITY_UPDATE for a request, which may not have arrived yet.
    Priority {
        /// Stream.
        id: StreamId,
        /// Value.
        priority: Priority,
    },
    /// GOAWAY. On a client: requests from this id on were not processed.
    Goaway {
        /// Stream (or push) id.
        id: u64,
    },
    /// An HTTP datagram (RFC 9297).
    Datagram {
        /// Request stream.
        id: StreamId,
        /// Payload.
        payload: Bytes,
    },
}
