//! The Huffman code of string literals (RFC 9204 §4.1.2, RFC 7541 §5.2 and appendix B).
//!
//! The code is canonical, so the length of each symbol's code determines the code itself; both the encoder's and the
//! decoder's tables are computed from [`LENGTHS`] at compile time. The decoder looks up [`LOOKUP_BITS`] bits at once,
//! which settles everything that is common in field lines; longer codes are found by comparing with the first code of each
//! length. It takes its input in any split: what is not yet a whole symbol stays in [`Decoder`].

use bytes::BufMut;

use crate::error::HuffmanRule;

/// The number of bytes that `input` takes when coded.
pub(crate) fn encoded_len(input: &[u8]) -> usize {
    let bits: usize = input.iter().map(|&byte| usize::from(LENGTHS[usize::from(byte)])).sum();
    bits.div_ceil(8)
}

/// Appends `input` in code, padded with ones.
pub(crate) fn encode(input: &[u8], out: &mut impl BufMut) {
    let mut bits = 0u64;
    let mut count = 0;
    // Written out by blocks, because each append to a buffer has its price.
    let mut block = [0; 64];
    let mut filled = 0;
    for &byte in input {
        let length = u32::from(LENGTHS[usize::from(byte)]);
        bits = (bits << length) | u64::from(CODES[usize::from(byte)]);
        count += length;
        // A code has at most 30 bits, so 62 bits never overflow the 64.
        if count >= 32 {
            count -= 32;
            let [.., a, b, c, d] = (bits >> count).to_be_bytes();
            block[filled..filled + 4].copy_from_slice(&[a, b, c, d]);
            filled += 4;
            if filled == block.len() {
                out.put_slice(&block);
                filled = 0;
            }
        }
    }
    out.put_slice(&block[..filled]);
    let padding = count.next_multiple_of(8) - count;
    let [.., a, b, c, d] = ((bits << padding) | ((1 << padding) - 1)).to_be_bytes();
    let rest = count.div_ceil(8) as usize;
    out.put_slice(&[a, b, c, d][4 - rest..]);
}

/// An upper bound on the decoded length of `encoded` bytes: the shortest code has 5 bits.
pub(crate) const fn max_decoded_len(encoded: usize) -> usize {
    encoded.saturating_mul(8) / 5
}

/// Decodes one string, in any split of its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Decoder {
    /// Bits that are not yet decoded, from the top.
    bits: u64,
    /// How many they are.
    count: u32,
}

impl Decoder {
    /// Decodes `input` into the front of `out`; returns how many octets were written.
    ///
    /// If `out` is too small, decoding stops and returns one more than it holds. [`max_decoded_len`] of `input` is always
    /// enough, with [`CARRIED`] more if an earlier call may have left bits behind.
    pub(crate) fn decode(
        &mut self,
        mut input: &[u8],
        out: &mut [u8],
    ) -> Result<usize, HuffmanRule> {
        let room = out.len();
        let mut slots = out.iter_mut();
        loop {
            self.refill(&mut input);
            // As long as there are as many bits as are looked up, all that is found is there.
            let (mut bits, mut count) = (self.bits, self.count);
            while count >= LOOKUP_BITS {
                let (symbol, length) = lookup(bits);
                if length == 0 {
                    break;
                }
                let Some(slot) = slots.next() else { return Ok(room + 1) };
                *slot = symbol;
                bits <<= length;
                count -= length;
            }
            (self.bits, self.count) = (bits, count);
            if count < LOOKUP_BITS && !input.is_empty() {
                continue;
            }
            match self.symbol()? {
                Some((symbol, length)) => {
                    let Some(slot) = slots.next() else { return Ok(room + 1) };
                    *slot = symbol;
                    self.bits <<= length;
                    self.count -= length;
                }
                None if input.is_empty() => return Ok(room - slots.len()),
                // The code is longer than what is here, at most 29 bits, so that the next word fits.
                None => {}
            }
        }
    }

    /// Ends the string: what is left has to be padding.
    pub(crate) fn finish(self) -> Result<(), HuffmanRule> {
        // req: 9204-4.1.2-huffman-padding
        if self.count > 7 {
            return Err(HuffmanRule::PaddingTooLong);
        }
        let ones = !(u64::MAX >> self.count);
        if self.bits != ones { Err(HuffmanRule::PaddingNotOnes) } else { Ok(()) }
    }

    /// Takes as many bytes as are to be had, unless there are enough bits for any code.
    fn refill(&mut self, input: &mut &[u8]) {
        if self.count > 32 || input.is_empty() {
            return;
        }
        let word = input.first_chunk().copied().unwrap_or_else(|| {
            let mut word = [0; 8];
            word[..input.len()].copy_from_slice(input);
            word
        });
        // Bits of a byte that does not fit are set again, to the same, when it is taken.
        self.bits |= u64::from_be_bytes(word) >> self.count;
        let taken = ((63 - self.count) / 8).min(input.len().min(8) as u32);
        self.count += 8 * taken;
        *input = &input[taken as usize..];
    }

    /// The next symbol and the length of its code, if all its bits are here.
    fn symbol(&self) -> Result<Option<(u8, u32)>, HuffmanRule> {
        match lookup(self.bits) {
            (_, 0) => self.long_symbol(),
            (_, length) if length > self.count => Ok(None),
            found => Ok(Some(found)),
        }
    }

    /// As [`Decoder::symbol`], for codes longer than [`LOOKUP_BITS`].
    #[cold]
    fn long_symbol(&self) -> Result<Option<(u8, u32)>, HuffmanRule> {
        let top = self.bits >> 32;
        for length in LOOKUP_BITS + 1..=MAX_LENGTH {
            if length > self.count {
                return Ok(None);
            }
            let group = GROUPS[length as usize];
            let offset = (top >> (32 - length)).wrapping_sub(u64::from(group.first_code));
            if offset < u64::from(group.symbols) {
                let index = usize::from(group.first_index) + usize::from(offset.to_le_bytes()[0]);
                // req: 9204-4.1.2-huffman-eos
                return match u8::try_from(ORDER[index]) {
                    Ok(symbol) => Ok(Some((symbol, length))),
                    Err(_) => Err(HuffmanRule::EndOfString),
                };
            }
        }
        Ok(None)
    }
}

/// What these bits begin with: a symbol and the length of its code, 0 if it is longer than [`LOOKUP_BITS`].
fn lookup(bits: u64) -> (u8, u32) {
    let [high, low, ..] = bits.to_be_bytes();
    let top = usize::from(u16::from_be_bytes([high, low]) >> (16 - LOOKUP_BITS));
    let [symbol, length] = LOOKUP[top].to_le_bytes();
    (symbol, u32::from(length))
}

/// The codes of one length: consecutive numbers, for symbols in ascending order.
#[derive(Clone, Copy)]
struct Group {
    first_code: u32,
    /// Where its symbols begin in [`ORDER`].
    first_index: u16,
    symbols: u16,
}

/// How many symbols may end with the first byte of a call because of the bits that earlier calls left behind.
pub(crate) const CARRIED: usize = 6;

const SYMBOLS: usize = 257;
const MAX_LENGTH: u32 = 30;

/// Ten bits settle every code of printable text but a few punctuation marks; the table is 2 KiB.
const LOOKUP_BITS: u32 = 10;

/// Symbols by the length of their code, then by value: the order in which a canonical code counts.
static ORDER: [u16; SYMBOLS] = {
    let mut order = [0; SYMBOLS];
    let mut next = 0;
    let mut length = 1;
    while length <= MAX_LENGTH {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as u32 == length {
                order[next] = symbol as u16;
                next += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    order
};

static GROUPS: [Group; MAX_LENGTH as usize + 1] = {
    let mut groups = [Group { first_code: 0, first_index: 0, symbols: 0 }; MAX_LENGTH as usize + 1];
    let mut code = 0;
    let mut index = 0;
    let mut length = 1;
    while length <= MAX_LENGTH as usize {
        let mut symbols = 0;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            symbols += (LENGTHS[symbol] as usize == length) as u16;
            symbol += 1;
        }
        code <<= 1;
        groups[length] = Group { first_code: code, first_index: index, symbols };
        code += symbols as u32;
        index += symbols;
        length += 1;
    }
    groups
};

/// The code of each symbol, in its low bits.
static CODES: [u32; SYMBOLS] = {
    let mut codes = [0; SYMBOLS];
    let mut index = 0;
    while index < SYMBOLS {
        let symbol = ORDER[index] as usize;
        let group = GROUPS[LENGTHS[symbol] as usize];
        codes[symbol] = group.first_code + (index as u32 - group.first_index as u32);
        index += 1;
    }
    codes
};

/// By the next [`LOOKUP_BITS`] bits: length of the code and symbol, or 0 if the code is longer.
static LOOKUP: [u16; 1 << LOOKUP_BITS] = {
    let mut lookup = [0; 1 << LOOKUP_BITS];
    let mut symbol = 0;
    while symbol < 256 {
        let length = LENGTHS[symbol] as u32;
        if length <= LOOKUP_BITS {
            let spare = LOOKUP_BITS - length;
            let first = (CODES[symbol] << spare) as usize;
            let mut at = first;
            while at < first + (1 << spare) {
                lookup[at] = ((length as u16) << 8) | symbol as u16;
                at += 1;
            }
        }
        symbol += 1;
    }
    lookup
};

/// The length in bits of each symbol's code (RFC 7541 appendix B); the last symbol is EOS.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
     6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,
     5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
    13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
    15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,
     6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

#[cfg(test)]
mod tests;
