//! Skeleton.
use bytes::{Bytes, BytesMut};

use crate::{
    Error, FieldRef, integer, literal,
    static_table::{self, Match},
};

/// What our encoder may use at most, whatever the peer allows.
#[derive(Clone, Copy, Debug)]
pub struct EncoderConfig {
    /// Upper bound on the dynamic table capacity that we use, in bytes.
    pub max_table_capacity: u64,
    /// Upper bound on streams that we allow to block; 0 never risks head-of-line blocking.
    pub max_blocked_streams: u64,
}

/// Encodes field sections; owns our side's dynamic table.
#[derive(Debug)]
pub struct Encoder {}

impl Encoder {
    /// An encoder that uses the static table only, until [`Encoder::set_peer_limits`].
    pub fn new(_config: EncoderConfig) -> Self {
        Self {}
    }
    /// The peer's SETTINGS: the dynamic table may be used from now on, within the smaller of both limits.
    pub fn set_peer_limits(&mut self, _max_table_capacity: u64, _blocked_streams: u64) {}
    /// Appends the encoded field section of `stream` to `out`.
    ///
    /// Instructions for the encoder stream may become due: poll them first, send them first.
    pub fn encode<'a>(
        &mut self,
        _stream: u64,
        fields: impl IntoIterator<Item = FieldRef<'a>>,
        out: &mut BytesMut,
    ) {
        out.extend_from_slice(&[0, 0]);
        for field in fields {
            let never = u8::from(field.sensitive);
            match static_table::find(field.name, field.value) {
                Some(Match::Line(index)) if !field.sensitive => {
                    integer::encode(out, 0xc0, 6, u64::from(index));
                }
                Some(Match::Line(index) | Match::Name(index)) => {
                    integer::encode(out, 0x50 | never << 5, 4, u64::from(index));
                    literal::encode(out, 0, 7, field.value);
                }
                None => {
                    literal::encode(out, 0x20 | never << 4, 3, field.name);
                    literal::encode(out, 0, 7, field.value);
                }
            }
        }
    }
    /// Bytes of the peer's decoder stream, in any split.
    pub fn handle_decoder_stream(&mut self, _data: &[u8]) -> Result<(), Error> {
        Ok(())
    }
    /// Bytes to append to our encoder stream, if any.
    pub fn poll_instructions(&mut self) -> Option<Bytes> {
        None
    }
}
