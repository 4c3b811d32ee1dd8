//! Variable-length integers (RFC 9000 §16), the alphabet of everything in this crate.
//!
//! Reading never needs more than the bytes it is given: a prefix that is too short is `None`, not an error.

use bytes::{BufMut, BytesMut};

/// The largest value.
pub(crate) const MAX: u64 = (1 << 62) - 1;

/// The largest encoding, in bytes.
pub(crate) const MAX_LEN: usize = 8;

/// The integer at the front and its length in bytes; `None` when more bytes are needed.
pub(crate) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let len = 1_usize << (first >> 6);
    if len == 1 {
        return Some((u64::from(first), 1));
    }
    let rest = bytes.get(1..len)?;
    let value =
        rest.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
    Some((value, len))
}

/// The length of the shortest encoding, in bytes.
pub(crate) const fn len(value: u64) -> usize {
    match value {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

/// Appends the shortest encoding; `value` is at most [`MAX`].
pub(crate) fn write(value: u64, out: &mut BytesMut) {
    debug_assert!(value <= MAX, "the caller checks what it did not count itself");
    let len = len(value);
    let length_bits = len.trailing_zeros() as u64;
    let marked = value | length_bits << (len * 8 - 2);
    let bytes = marked.to_be_bytes();
    out.put_slice(&bytes[MAX_LEN - len..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_read_as_it_says() {
        // RFC 9000 appendix A.1.
        let cases: [(&[u8], u64); 5] = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ];
        for (bytes, value) in cases {
            assert_eq!(read(bytes), Some((value, bytes.len())));
        }
    }

    #[test]
    fn each_boundary_survives_the_round_trip_in_its_shortest_form() {
        let boundaries =
            [0, 0x3f, 0x40, 0x3fff, 0x4000, 0x3fff_ffff, 0x4000_0000, MAX].map(|value| {
                let mut out = BytesMut::new();
                write(value, &mut out);
                assert_eq!(out.len(), len(value), "{value:#x}");
                assert_eq!(read(&out), Some((value, out.len())), "{value:#x}");
                out.len()
            });
        assert_eq!(boundaries, [1, 1, 2, 2, 4, 4, 8, 8]);
    }

    #[test]
    fn a_cut_integer_asks_for_more() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[0x40]), None);
        assert_eq!(read(&[0xc0, 0, 0, 0, 0, 0, 0]), None);
    }
}
