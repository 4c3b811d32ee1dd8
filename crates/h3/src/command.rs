//! What the connection wants from the transport.

use bytes::Bytes;

use crate::{Code, StreamId};

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
