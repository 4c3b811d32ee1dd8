//! What both ends of HTTP/3 need on the QUIC driver's thread: queues of what leaves, the streams of a connection, and the
//! way from a task's waker to its connection.

pub(crate) mod outgoing;
pub(crate) mod streams;
pub(crate) mod wake;

use sterna_h3::StreamId;

pub(crate) fn h3_id(id: sterna_quic::StreamId) -> StreamId {
    StreamId(id.0)
}

pub(crate) fn quic_id(id: StreamId) -> sterna_quic::StreamId {
    sterna_quic::StreamId(id.0)
}

/// Read from the transport at once, in bytes: more than a datagram's worth in any case.
pub(crate) const READ_CHUNK: usize = 64 * 1024;

/// The share of one stream before the next one gets its own, in bytes: about one batch of segments for the kernel.
pub(crate) const QUANTUM: usize = 64 * 1024;

/// A message's body is asked for more when less than this waits, in bytes.
pub(crate) const LOW_MARK: usize = 32 * 1024;
