//! The last value of each name, coded.
//!
//! Most literals of a busy connection are those of the response before: the date, the entity tag of the same file. To code
//! one anew costs twenty instructions for each octet, to copy it next to none. What is here is one connection's own.

use bytes::{BufMut as _, BytesMut};

use crate::literal;

/// Values by the index of their name in the static table.
#[derive(Debug, Default)]
pub(super) struct Memo {
    places: [Place; PLACES],
}

/// A value and its literal.
#[derive(Clone, Copy, Debug)]
struct Place {
    value: [u8; LONGEST],
    value_len: u8,
    coded: [u8; LONGEST + 1],
    coded_len: u8,
}

impl Memo {
    /// Appends the literal of `value`.
    pub(super) fn value(&mut self, name: u8, value: &[u8], out: &mut BytesMut) {
        let place = &mut self.places[usize::from(name) % PLACES];
        if place.value() == value && place.coded_len > 0 {
            return out.put_slice(place.coded());
        }
        let start = out.len();
        literal::encode(out, 0x00, 7, value);
        place.keep(value, &out[start..]);
    }
}

impl Place {
    fn value(&self) -> &[u8] {
        &self.value[..usize::from(self.value_len)]
    }

    fn coded(&self) -> &[u8] {
        &self.coded[..usize::from(self.coded_len)]
    }

    /// Only what is worth a place: a short value must not take that of a longer one.
    fn keep(&mut self, value: &[u8], coded: &[u8]) {
        if !(SHORTEST..=LONGEST).contains(&value.len()) {
            return;
        }
        let (Ok(value_len), Ok(coded_len)) = (value.len().try_into(), coded.len().try_into())
        else {
            return;
        };
        self.value[..value.len()].copy_from_slice(value);
        self.coded[..coded.len()].copy_from_slice(coded);
        (self.value_len, self.coded_len) = (value_len, coded_len);
    }
}

impl Default for Place {
    fn default() -> Self {
        Self { value: [0; LONGEST], value_len: 0, coded: [0; LONGEST + 1], coded_len: 0 }
    }
}

/// Enough that the usual fields of a response do not share one.
const PLACES: usize = 8;

/// In octets. Up to the longest a literal is its length in one octet and no more octets than the value.
const SHORTEST: usize = 8;
const LONGEST: usize = 62;

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(value: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        literal::encode(&mut out, 0x00, 7, value);
        out
    }

    #[test]
    fn a_value_is_coded_the_same_from_memory_whatever_was_there_before() {
        let mut memo = Memo::default();
        let values: Vec<Vec<u8>> = (0..=70)
            .flat_map(|len| [vec![b'e'; len], vec![b'~'; len], (0..len as u8).collect()])
            .collect();
        for name in [6, 14, 83] {
            for value in values.iter().flat_map(|value| [value, value]) {
                let mut out = BytesMut::new();
                memo.value(name, value, &mut out);
                assert_eq!(out, plain(value), "{value:?}");
            }
        }
    }

    #[test]
    fn a_repeated_value_is_in_memory_and_a_short_one_takes_no_place() {
        let mut memo = Memo::default();
        let date = b"Sat, 21 Nov 2026 00:00:00 GMT";
        memo.value(6, date, &mut BytesMut::new());
        memo.value(6, b"short", &mut BytesMut::new());
        assert_eq!(memo.places[6].value(), date);
        assert_eq!(memo.places[6].coded(), plain(date));
    }
}
