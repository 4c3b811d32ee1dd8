//! Skeleton.
use bytes::Bytes;

/// A stream id (RFC 9000 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// Bidirectional or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dir {
    /// Both sides send.
    Bi,
    /// Only the opener sends.
    Uni,
}

/// One step of reading a stream, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Data.
    Data(Bytes),
    /// The peer finished, all data has been read.
    Finished,
    /// The peer reset the stream.
    Reset(u64),
    /// Nothing now; an `Event::Readable` will come.
    Blocked,
    /// No such stream (any more).
    Closed,
}

/// One step of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// So many bytes were taken from the front of the chunks (the chunks are advanced).
    Taken(usize),
    /// Flow control or the send window is full; an `Event::Writable` will come.
    Blocked,
    /// The peer sent STOP_SENDING with this code.
    Stopped(u64),
    /// No such stream (any more).
    Closed,
}
