//! String literals (RFC 9204 §4.1.2): a flag for Huffman code, a length, the octets.

use bytes::BufMut;

use crate::{error::HuffmanRule, huffman, integer};

/// Appends `text`, in Huffman code where that is shorter.
///
/// The literal begins in a byte whose high bits are `flags`; the Huffman flag is the bit above the `prefix` bits of the
/// length.
pub(crate) fn encode(out: &mut impl BufMut, flags: u8, prefix: u32, text: &[u8]) {
    let coded = huffman::encoded_len(text);
    if coded < text.len() {
        integer::encode(out, flags | (1 << prefix), prefix, coded as u64);
        huffman::encode(text, out);
    } else {
        integer::encode(out, flags, prefix, text.len() as u64);
        out.put_slice(text);
    }
}

/// Whether the byte in which a literal begins says that it is in Huffman code.
pub(crate) const fn is_huffman(first: u8, prefix: u32) -> bool {
    first & (1 << prefix) != 0
}

/// A literal of which some octets have arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partial {
    /// Octets to come, as on the wire.
    remaining: u64,
    huffman: Option<huffman::Decoder>,
}

/// Why a literal that arrives in pieces was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// More text than there is room for.
    TooLong,
    Huffman(HuffmanRule),
}

impl Partial {
    pub(crate) fn begin(huffman: bool, length: u64) -> Self {
        Self { remaining: length, huffman: huffman.then(huffman::Decoder::default) }
    }

    /// Takes what `input` has of this literal and appends the text to `text`, which may not grow beyond `room`; true if
    /// the literal is complete.
    pub(crate) fn push(
        &mut self,
        input: &mut &[u8],
        text: &mut Vec<u8>,
        room: u64,
    ) -> Result<bool, Refused> {
        match &mut self.huffman {
            // The length is that of the text: refuse before any of it is buffered.
            None if self.remaining > room.saturating_sub(text.len() as u64) => {
                return Err(Refused::TooLong);
            }
            None => {
                let piece = take(input, self.remaining, usize::MAX);
                text.extend_from_slice(piece);
                self.remaining -= piece.len() as u64;
            }
            Some(decoder) => {
                while self.remaining > 0 && !input.is_empty() {
                    // In small pieces, because how long the text is shows only when it is decoded.
                    let piece = take(input, self.remaining, PIECE);
                    self.remaining -= piece.len() as u64;
                    let start = text.len();
                    let left = usize::try_from(room).unwrap_or(usize::MAX).saturating_sub(start);
                    let most = huffman::max_decoded_len(piece.len()) + huffman::CARRIED;
                    text.resize(start + most.min(left), 0);
                    let written =
                        decoder.decode(piece, &mut text[start..]).map_err(Refused::Huffman)?;
                    if start + written > text.len() {
                        return Err(Refused::TooLong);
                    }
                    text.truncate(start + written);
                }
                if self.remaining == 0 {
                    decoder.finish().map_err(Refused::Huffman)?;
                }
            }
        }
        Ok(self.remaining == 0)
    }
}

fn take<'a>(input: &mut &'a [u8], remaining: u64, most: usize) -> &'a [u8] {
    let count = usize::try_from(remaining).unwrap_or(usize::MAX).min(input.len()).min(most);
    let (piece, rest) = input.split_at(count);
    *input = rest;
    piece
}

/// Octets of Huffman code that are decoded at once.
const PIECE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, 0, 7, text);
        out
    }

    #[test]
    fn text_is_coded_only_where_that_makes_it_shorter() {
        assert_eq!(encoded(b"000"), [0x82, 0x00, 0x01], "15 bits for 24");
        assert_eq!(encoded(b"00"), [0x02, b'0', b'0'], "10 bits take two bytes as well");
        assert_eq!(encoded(b"{}"), [0x02, b'{', b'}'], "would be longer");
    }

    #[test]
    fn the_flag_stands_above_the_prefix() {
        let mut out = Vec::new();
        encode(&mut out, 0x20, 3, b"000");
        assert_eq!(out, [0x2a, 0x00, 0x01]);
        assert!(is_huffman(out[0], 3));
        assert!(!is_huffman(0x22, 3));
    }
}
