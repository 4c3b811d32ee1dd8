//! Streams as the application sees them: an id, and the outcome of one read or write.

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

/// What is behind the data that a stream had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadEnd {
    /// The peer finished.
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

impl StreamId {
    /// The direction, from the second bit (RFC 9000 §2.1).
    pub const fn dir(self) -> Dir {
        if self.0 & 0b10 == 0 { Dir::Bi } else { Dir::Uni }
    }

    /// The client opened it, from the first bit (RFC 9000 §2.1).
    pub const fn is_of_client(self) -> bool {
        self.0 & 0b01 == 0
    }
}

impl From<Dir> for quinn_proto::Dir {
    fn from(dir: Dir) -> Self {
        match dir {
            Dir::Bi => Self::Bi,
            Dir::Uni => Self::Uni,
        }
    }
}

impl From<quinn_proto::Dir> for Dir {
    fn from(dir: quinn_proto::Dir) -> Self {
        match dir {
            quinn_proto::Dir::Bi => Self::Bi,
            quinn_proto::Dir::Uni => Self::Uni,
        }
    }
}

impl From<quinn_proto::StreamId> for StreamId {
    fn from(id: quinn_proto::StreamId) -> Self {
        Self(id.into())
    }
}
