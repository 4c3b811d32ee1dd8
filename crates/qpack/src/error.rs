//! What a peer can do wrong in QPACK: one variant for each rule, and the code that ends the connection for it.
//!
//! All of these are the peer's fault, and all of them end the connection (RFC 9204 §6): the two sides no longer agree on
//! a table. A section that is merely too large is no error of QPACK; see [`Outcome::TooLarge`](crate::Outcome).

use crate::integer;

/// What a peer did wrong. Close the connection with [`Error::code`].
///
/// Exhaustive, as RFC 9204 §6 is: a caller maps each to its own code without an arm for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An encoded field section cannot be decoded.
    #[error(transparent)]
    DecompressionFailed(#[from] DecompressionFailed),
    /// An instruction on the peer's encoder stream is invalid.
    #[error(transparent)]
    EncoderStream(#[from] EncoderStreamError),
    /// An instruction on the peer's decoder stream is invalid.
    #[error(transparent)]
    DecoderStream(#[from] DecoderStreamError),
}

impl Error {
    /// The HTTP/3 error code to close the connection with (RFC 9204 §6).
    pub const fn code(self) -> u64 {
        match self {
            // req: 9204-2.2.3-invalid-reference-in-section
            Self::DecompressionFailed(_) => QPACK_DECOMPRESSION_FAILED,
            Self::EncoderStream(_) => QPACK_ENCODER_STREAM_ERROR,
            Self::DecoderStream(_) => QPACK_DECODER_STREAM_ERROR,
        }
    }
}

/// Why an encoded field section cannot be decoded: `QPACK_DECOMPRESSION_FAILED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecompressionFailed {
    /// The section ends within its prefix or within a field line.
    #[error("field section ends within a field line")]
    Truncated,
    /// An integer is larger than 62 bits (§4.1.1).
    #[error("integer in a field section is larger than 62 bits")]
    IntegerOverflow,
    /// A Huffman-coded literal is invalid (§4.1.2).
    #[error("string literal in a field section is not valid huffman code: {0}")]
    Huffman(HuffmanRule),
    /// A field line names an entry that the static table does not have (§3.1).
    #[error("field section refers to entry {0} of the static table, which has 99")]
    StaticIndex(u64),
    /// The encoded Required Insert Count is none that an encoder can produce (§4.5.1.1).
    #[error("encoded required insert count {0} cannot be valid")]
    RequiredInsertCount(u64),
    /// Base is below zero (§4.5.1.2).
    #[error("field section has a negative base")]
    NegativeBase,
    /// A relative index reaches before the first entry that there ever was (§3.2.5).
    #[error("relative index {index} lies before the first entry with base {base}")]
    RelativeIndex {
        /// The relative index.
        index: u64,
        /// Base of the section.
        base: u64,
    },
    /// A field line refers to an entry at or above the section's own Required Insert Count (§2.2.3).
    #[error(
        "field section refers to entry {index} although its required insert count is {required}"
    )]
    BeyondRequiredInsertCount {
        /// Absolute index of the entry.
        index: u64,
        /// Required Insert Count of the section.
        required: u64,
    },
    /// A field line refers to an entry that has been evicted (§2.2.3).
    #[error("field section refers to entry {0}, which has been evicted")]
    EvictedEntry(u64),
    /// More streams are blocked than we promised to support (§2.1.2).
    #[error("more than {0} streams are blocked")]
    BlockedStreams(u64),
}

/// Why an instruction on the encoder stream is invalid: `QPACK_ENCODER_STREAM_ERROR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderStreamError {
    /// An integer is larger than 62 bits (§4.1.1).
    #[error("integer on the encoder stream is larger than 62 bits")]
    IntegerOverflow,
    /// A Huffman-coded literal is invalid (§4.1.2).
    #[error("string literal on the encoder stream is not valid huffman code: {0}")]
    Huffman(HuffmanRule),
    /// The capacity is above the one that we announced (§4.3.1).
    #[error("table capacity {capacity} is above the announced limit {limit}")]
    CapacityAboveLimit {
        /// What the peer wants.
        capacity: u64,
        /// What we announced.
        limit: u64,
    },
    /// The name refers to an entry that the static table does not have (§3.1).
    #[error("insertion refers to entry {0} of the static table, which has 99")]
    StaticIndex(u64),
    /// An insertion or a duplication refers to an entry that is not in the dynamic table (§2.2.3).
    #[error("encoder stream refers to relative index {0}, which is not in the dynamic table")]
    MissingEntry(u64),
    /// The entry is larger than the whole table (§3.2.2).
    #[error("entry is larger than the table capacity {capacity}")]
    EntryTooLarge {
        /// Capacity of the table.
        capacity: u64,
    },
}

/// Why an instruction on the decoder stream is invalid: `QPACK_DECODER_STREAM_ERROR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecoderStreamError {
    /// An integer is larger than 62 bits (§4.1.1).
    #[error("integer on the decoder stream is larger than 62 bits")]
    IntegerOverflow,
    /// A section is acknowledged on a stream that has none to acknowledge (§4.4.1).
    #[error("section acknowledgment for stream {0}, which has no unacknowledged section")]
    NothingToAcknowledge(u64),
    /// An Insert Count Increment of zero (§4.4.3).
    #[error("insert count increment of zero")]
    ZeroIncrement,
    /// An increment beyond what we have inserted (§4.4.3).
    #[error("insert count increment to {received}, but {inserted} entries were inserted")]
    IncrementBeyondInsertCount {
        /// The Known Received Count that would result.
        received: u64,
        /// Our Insert Count.
        inserted: u64,
    },
}

/// The rule of RFC 7541 §5.2 that a Huffman-coded string broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HuffmanRule {
    /// Padding is longer than 7 bits.
    #[error("padding is longer than 7 bits")]
    PaddingTooLong,
    /// Padding is not the beginning of the code for EOS, that is, not all ones.
    #[error("padding is not all ones")]
    PaddingNotOnes,
    /// The string contains the EOS symbol.
    #[error("it contains the end-of-string symbol")]
    EndOfString,
}

impl From<integer::Overflow> for DecompressionFailed {
    fn from(_: integer::Overflow) -> Self {
        Self::IntegerOverflow
    }
}

impl From<integer::Overflow> for EncoderStreamError {
    fn from(_: integer::Overflow) -> Self {
        Self::IntegerOverflow
    }
}

impl From<integer::Overflow> for DecoderStreamError {
    fn from(_: integer::Overflow) -> Self {
        Self::IntegerOverflow
    }
}

const QPACK_DECOMPRESSION_FAILED: u64 = 0x200;
const QPACK_ENCODER_STREAM_ERROR: u64 = 0x201;
const QPACK_DECODER_STREAM_ERROR: u64 = 0x202;
