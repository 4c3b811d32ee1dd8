//! Instructions of the encoder stream and of the decoder stream (RFC 9204 §4.3, §4.4): writing them, and reading them in
//! any split.
//!
//! A reader holds at most one unfinished instruction. What an instruction does to a table is decided elsewhere.

pub(crate) mod decoder_stream;
pub(crate) mod encoder_stream;

/// Takes the next byte of `input`.
fn next_byte(input: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = input.split_first()?;
    *input = rest;
    Some(byte)
}
