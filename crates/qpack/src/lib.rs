//! QPACK, the field compression of HTTP/3 (RFC 9204), sans-IO: bytes in, field lines out, and back.
//!
//! ```text
//!   field lines ──► Encoder ──► encoded field section ────────────► Decoder ──► field lines
//!                     │  ▲                                            ▲  │
//!                     │  └── decoder stream (acks) ◄──────────────────┼──┘ poll_instructions
//!                     └───── encoder stream (insertions) ─────────────┘
//! ```
//!
//! A connection owns one [`Encoder`] and one [`Decoder`]. Both are driven by calls alone: `encode` and `decode` for field
//! sections, `handle_*` for what arrived on the peer's QPACK streams, `poll_*` for what is to be written on ours.
//!
//! This crate ends at field lines. It does not know which names are allowed in HTTP, does not open streams and does not
//! know how a stream is flow controlled; it enforces every limit of RFC 9204 §7 (table capacity, blocked streams, size of
//! a section, length of a literal) by itself, so that no input makes it hold more than the limits that its caller chose.
#![forbid(unsafe_code)]

use bytes::Bytes;

mod decoder;
mod encoder;
mod error;
mod huffman;
mod instruction;
mod integer;
mod literal;
mod static_table;
mod table;

pub use decoder::{Decoder, DecoderConfig, Outcome};
pub use encoder::{Encoder, EncoderConfig};
pub use error::{DecoderStreamError, DecompressionFailed, EncoderStreamError, Error, HuffmanRule};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldRef<'a> {
    /// Field name, lower case.
    pub name: &'a [u8],
    /// Field value.
    pub value: &'a [u8],
    /// Never index this value (`HeaderValue::is_sensitive`).
    pub sensitive: bool,
}

impl<'a> From<&'a Field> for FieldRef<'a> {
    fn from(field: &'a Field) -> Self {
        Self { name: &field.name, value: &field.value, sensitive: field.never_indexed }
    }
}

/// What each line of a field section adds to its size, and each entry of a dynamic table to the table's, beside its octets
/// (RFC 9114 §4.2.2, RFC 9204 §3.2.1).
const LINE_OVERHEAD: u64 = 32;

#[cfg(test)]
mod tests;
