//! What a connection has seen: plain numbers, for metrics and for whoever suspects a peer.

/// Counts of one connection, from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// DATA frames received.
    pub data_frames: u64,
    /// HEADERS frames received.
    pub headers_frames: u64,
    /// Frames received on the control stream, unknown ones apart.
    pub control_frames: u64,
    /// Frames of unknown or reserved types received and skipped.
    pub unknown_frames: u64,
    /// Payload skipped, in bytes.
    pub skipped_bytes: u64,
    /// Streams of unknown or reserved types that were not read.
    pub unknown_streams: u64,
    /// Content received, in bytes.
    pub content_bytes: u64,
    /// Messages whose head was handed to the application.
    pub messages: u64,
    /// Streams that were reset because of what the peer sent on them.
    pub misbehaved_streams: u64,
    /// Streams that the peer reset.
    pub resets: u64,
    /// Requests rejected after GOAWAY.
    pub rejected: u64,
    /// Field sections that waited for the peer's encoder stream.
    pub blocked_sections: u64,
    /// Field sections larger than we accept.
    pub oversized_sections: u64,
    /// Datagrams for streams that are not there.
    pub dropped_datagrams: u64,
}
