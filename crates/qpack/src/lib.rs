//! QPACK (RFC 9204), sans-IO: contract skeleton, to be filled.
#![forbid(unsafe_code)]

mod decoder;
mod encoder;

pub use decoder::{Decoder, DecoderConfig, Outcome};
pub use encoder::{Encoder, EncoderConfig};

use bytes::Bytes;

/// One field line, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Field name, lower case on the wire (not checked here).
    pub name: Bytes,
    /// Field value.
    pub value: Bytes,
    /// Index of the name in the static table (RFC 9204 appendix A), if it came from there.
    pub static_name: Option<u8>,
    /// The `N` bit: never to be indexed (RFC 9204 §4.5.4).
    pub never_indexed: bool,
}

/// A field line to encode.
#[derive(Clone, Copy, Debug)]
pub struct FieldRef<'a> {
    /// Field name, lower case.
    pub name: &'a [u8],
    /// Field value.
    pub value: &'a [u8],
    /// Never index this value (`HeaderValue::is_sensitive`).
    pub sensitive: bool,
}

/// What a peer did wrong, one variant for each rule; [`Error::code`] is the wire code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Placeholder.
    #[error("placeholder")]
    Placeholder,
}

impl Error {
    /// 0x200 QPACK_DECOMPRESSION_FAILED, 0x201 QPACK_ENCODER_STREAM_ERROR or 0x202 QPACK_DECODER_STREAM_ERROR.
    pub const fn code(self) -> u64 {
        match self {
            Self::Placeholder => 0x200,
        }
    }
}
