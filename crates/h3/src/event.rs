//! What the application is told.

use bytes::Bytes;
use http::HeaderMap;

use crate::{PeerMisbehaved, Priority, RequestHead, ResponseHead, Settings, StreamId};

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
    /// The peer gave its side up: the message is incomplete. Our side goes on until
    /// [`Connection::reset`](crate::Connection::reset).
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
    ///
    /// On a server it may name a stream whose request was never seen.
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
    /// Server: PRIORITY_UPDATE for a request that was announced; one that overtakes its request is found in
    /// [`RequestHead::priority`].
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
    /// The field section that [`Connection::is_blocked`](crate::Connection::is_blocked) was about has been decoded:
    /// read the stream again.
    Unblocked {
        /// Stream.
        id: StreamId,
    },
    /// An HTTP datagram (RFC 9297).
    Datagram {
        /// Request stream.
        id: StreamId,
        /// Payload.
        payload: Bytes,
    },
}
