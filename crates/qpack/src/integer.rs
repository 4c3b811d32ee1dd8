//! Prefix integers (RFC 9204 §4.1.1, RFC 7541 §5.1), whole or one byte at a time.
//!
//! An integer begins in the low bits of a byte whose high bits mean something else. If it does not fit there, those bits
//! are all ones and the rest follows in groups of 7 bits, least significant first.

use bytes::BufMut;

/// An integer is longer than we accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

/// An integer of which some bytes have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partial {
    value: u64,
    shift: u32,
}

/// What a byte made of an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is complete.
    Done(u64),
    /// More bytes follow.
    More(Partial),
}

impl Partial {
    /// Begins with the first byte, of which the low `prefix` bits (1 to 8) belong to the integer.
    pub(crate) fn begin(first: u8, prefix: u32) -> Step {
        let mask = mask(prefix);
        let value = u64::from(first) & mask;
        if value < mask { Step::Done(value) } else { Step::More(Self { value, shift: 0 }) }
    }

    /// Adds one more byte.
    pub(crate) fn push(self, byte: u8) -> Result<Step, Overflow> {
        // req: 9204-4.1.1-integers-of-62-bits
        // Nine groups of 7 bits hold every 62-bit value, so a tenth byte is either too much or padding without end.
        if self.shift > MAX_SHIFT {
            return Err(Overflow);
        }
        let value = self.value + (u64::from(byte & 0x7f) << self.shift);
        if value > MAX {
            return Err(Overflow);
        }
        Ok(match byte & 0x80 {
            0 => Step::Done(value),
            _ => Step::More(Self { value, shift: self.shift + 7 }),
        })
    }
}

/// Appends `value` with a prefix of `prefix` bits; `flags` are the high bits of the first byte.
pub(crate) fn encode(out: &mut impl BufMut, flags: u8, prefix: u32, value: u64) {
    let mask = mask(prefix);
    if value < mask {
        out.put_u8(flags | low_byte(value));
        return;
    }
    out.put_u8(flags | low_byte(mask));
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.put_u8(0x80 | low_byte(rest & 0x7f));
        rest >>= 7;
    }
    out.put_u8(low_byte(rest));
}

const fn mask(prefix: u32) -> u64 {
    (1 << prefix) - 1
}

fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// The largest integer that we accept: the range of QUIC's own variable-length integers.
pub(crate) const MAX: u64 = (1 << 62) - 1;

/// The shift of the last group that may follow.
const MAX_SHIFT: u32 = 56;

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], prefix: u32) -> Result<Option<u64>, Overflow> {
        let mut step = Partial::begin(bytes[0], prefix);
        for &byte in &bytes[1..] {
            match step {
                Step::Done(_) => panic!("bytes follow the integer"),
                Step::More(partial) => step = partial.push(byte)?,
            }
        }
        Ok(match step {
            Step::Done(value) => Some(value),
            Step::More(_) => None,
        })
    }

    fn encoded(flags: u8, prefix: u32, value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, flags, prefix, value);
        out
    }

    /// RFC 7541 appendix C.1.
    #[test]
    fn examples_of_the_rfc_are_reproduced() {
        assert_eq!(encoded(0, 5, 10), [0x0a]);
        assert_eq!(encoded(0, 5, 1337), [0x1f, 0x9a, 0x0a]);
        assert_eq!(encoded(0, 8, 42), [0x2a]);
        assert_eq!(decode(&[0x0a], 5), Ok(Some(10)));
        assert_eq!(decode(&[0x1f, 0x9a, 0x0a], 5), Ok(Some(1337)));
        assert_eq!(decode(&[0x2a], 8), Ok(Some(42)));
    }

    #[test]
    fn every_prefix_round_trips_around_its_boundaries() {
        for prefix in 1..=8 {
            let edge = mask(prefix);
            let values =
                [0, edge - 1, edge, edge + 1, edge + 127, edge + 128, 1 << 32, MAX - 1, MAX];
            for value in values {
                assert_eq!(decode(&encoded(0, prefix, value), prefix), Ok(Some(value)));
            }
        }
    }

    // req: 9204-4.1.1-integers-of-62-bits
    #[test]
    fn the_largest_62_bit_integer_passes_and_the_next_overflows() {
        assert_eq!(decode(&encoded(0, 3, MAX), 3), Ok(Some(MAX)));
        assert_eq!(decode(&encoded(0, 3, MAX + 1), 3), Err(Overflow));
    }

    #[test]
    fn flags_are_kept_beside_the_prefix() {
        assert_eq!(encoded(0xe0, 5, 3), [0xe3]);
        assert_eq!(encoded(0xe0, 5, 31), [0xff, 0x00]);
        assert_eq!(decode(&[0xe3], 5), Ok(Some(3)));
    }

    #[test]
    fn zero_padding_is_accepted_up_to_nine_groups() {
        let mut padded = vec![0x1f];
        padded.extend([0x80; 8]);
        padded.push(0x00);
        assert_eq!(decode(&padded, 5), Ok(Some(31)));
        padded.pop();
        padded.extend([0x80, 0x00]);
        assert_eq!(decode(&padded, 5), Err(Overflow));
    }
}
