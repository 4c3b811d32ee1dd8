//! Skeleton.
use crate::{Error, Field};
use bytes::Bytes;

/// Limits that we announce (RFC 9204 §5) and enforce.
#[derive(Clone, Copy, Debug)]
pub struct DecoderConfig {
    /// SETTINGS_QPACK_MAX_TABLE_CAPACITY, in bytes as §3.2.1 counts.
    pub max_table_capacity: u64,
    /// SETTINGS_QPACK_BLOCKED_STREAMS.
    pub max_blocked_streams: u64,
    /// Largest field section, counted as RFC 9114 §4.2.2 (name + value + 32 for each line), in bytes.
    pub max_field_section_size: u64,
}

/// What became of a field section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All lines went to the sink. `size` as RFC 9114 §4.2.2 counts.
    Complete {
        /// Bytes.
        size: u64,
    },
    /// Needs insertions that have not arrived. Keep the bytes; decode again when `poll_unblocked` names the stream.
    Blocked,
    /// Larger than `max_field_section_size`; decoding stopped at the line that crossed it. Not a connection error.
    TooLarge,
}

/// Decodes field sections; owns the dynamic table that the peer's encoder fills.
#[derive(Debug)]
pub struct Decoder {}

impl Decoder {
    /// A decoder with an empty table.
    pub fn new(_config: DecoderConfig) -> Self {
        todo!()
    }
    /// Decodes one encoded field section of `stream`, line by line into `sink`.
    pub fn decode(
        &mut self,
        _stream: u64,
        _section: &Bytes,
        _sink: &mut dyn FnMut(Field),
    ) -> Result<Outcome, Error> {
        todo!()
    }
    /// Bytes of the peer's encoder stream, in any split.
    pub fn handle_encoder_stream(&mut self, _data: &[u8]) -> Result<(), Error> {
        todo!()
    }
    /// A stream whose blocked section can now be decoded, until `None`.
    pub fn poll_unblocked(&mut self) -> Option<u64> {
        todo!()
    }
    /// The stream was reset or abandoned before its sections were decoded (RFC 9204 §4.4.2).
    pub fn cancel(&mut self, _stream: u64) {
        todo!()
    }
    /// Bytes to append to our decoder stream, if any.
    pub fn poll_instructions(&mut self) -> Option<Bytes> {
        todo!()
    }
}
