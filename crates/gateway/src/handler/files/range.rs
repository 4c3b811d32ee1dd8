//! `Range` and `Content-Range` for bytes (RFC 9110 §14).
//!
//! Pure: a field value and a length in, the part to send out. Whether the field applies at all
//! (method, `If-Range`) is decided by the caller.

use std::ops::RangeInclusive;

/// What a `Range` field asks of a representation of a known length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// The field asks for nothing that we serve as a part: send the whole.
    Whole,
    /// One part, which is not empty and lies inside the representation.
    Part(Part),
    /// The field is well formed, and no byte of the representation is in it: 416.
    Unsatisfiable,
}

/// Bytes `first..=last` of a representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Part {
    /// How many bytes the part has; never zero.
    pub(super) fn len(self) -> u64 {
        self.last - self.first + 1
    }

    /// The part as indices into content in memory; `None` if it is larger than that can be.
    pub(super) fn range(self) -> Option<RangeInclusive<usize>> {
        Some(usize::try_from(self.first).ok()?..=usize::try_from(self.last).ok()?)
    }

    /// The value of `Content-Range` for this part of `total` bytes.
    pub(super) fn content_range(self, total: u64) -> String {
        format!("bytes {}-{}/{total}", self.first, self.last)
    }
}

impl Selection {
    /// Reads a `Range` field for a representation of `total` bytes.
    ///
    /// A field of another unit, with a mistake in it, or with several ranges selects the whole:
    /// RFC 9110 §14.2 lets a server ignore any `Range`, and a guess would send wrong bytes.
    pub(super) fn parse(field: &[u8], total: u64) -> Self {
        match ByteRange::parse(field) {
            Some(range) => range.of(total),
            None => Self::Whole,
        }
    }
}

/// The three forms of one byte range, as written by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByteRange {
    /// `first-last`
    Closed { first: u64, last: u64 },
    /// `first-`
    From { first: u64 },
    /// `-length`
    Suffix { length: u64 },
}

impl ByteRange {
    fn parse(field: &[u8]) -> Option<Self> {
        let field = field.trim_ascii();
        let (unit, set) = field.split_at_checked(UNIT.len())?;
        if !unit.eq_ignore_ascii_case(UNIT) {
            return None;
        }
        let set = set.trim_ascii();
        let dash = set.iter().position(|&byte| byte == b'-')?;
        let (first, last) = (&set[..dash], &set[dash + 1..]);
        match (first.is_empty(), last.is_empty()) {
            (true, true) => None,
            (true, false) => Some(Self::Suffix { length: number(last)? }),
            (false, true) => Some(Self::From { first: number(first)? }),
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Closed { first, last })
            }
        }
    }

    fn of(self, total: u64) -> Selection {
        let Some(end) = total.checked_sub(1) else { return Selection::Unsatisfiable };
        let (first, last) = match self {
            Self::Closed { first, last } => (first, last.min(end)),
            Self::From { first } => (first, end),
            Self::Suffix { length: 0 } => return Selection::Unsatisfiable,
            Self::Suffix { length } => (total.saturating_sub(length), end),
        };
        if first > end {
            return Selection::Unsatisfiable;
        }
        Selection::Part(Part { first, last })
    }
}

/// Decimal digits as a number; one that does not fit is as good as the largest that does.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(value.saturating_mul(10).saturating_add(digit))
    })
}

const UNIT: &[u8] = b"bytes=";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(first: u64, last: u64) -> Selection {
        Selection::Part(Part { first, last })
    }

    #[test]
    fn every_form_selects_what_the_rfc_says() {
        let table: &[(&str, u64, Selection)] = &[
            ("bytes=0-0", 10, part(0, 0)),
            ("bytes=0-9", 10, part(0, 9)),
            ("bytes=0-10", 10, part(0, 9)),
            ("bytes=9-9", 10, part(9, 9)),
            ("bytes=9-", 10, part(9, 9)),
            ("bytes=10-", 10, Selection::Unsatisfiable),
            ("bytes=10-20", 10, Selection::Unsatisfiable),
            ("bytes=-1", 10, part(9, 9)),
            ("bytes=-10", 10, part(0, 9)),
            ("bytes=-11", 10, part(0, 9)),
            ("bytes=-0", 10, Selection::Unsatisfiable),
            ("bytes=0-", 0, Selection::Unsatisfiable),
            ("bytes=-5", 0, Selection::Unsatisfiable),
            ("BYTES=2-3", 10, part(2, 3)),
            (" bytes=2-3 ", 10, part(2, 3)),
            ("bytes= 2-3", 10, part(2, 3)),
            ("bytes=2-99999999999999999999999", 10, part(2, 9)),
            ("bytes=99999999999999999999999-", 10, Selection::Unsatisfiable),
            ("bytes=-99999999999999999999999", 10, part(0, 9)),
        ];
        for &(field, total, expected) in table {
            let read = Selection::parse(field.as_bytes(), total);
            assert_eq!(read, expected, "{field:?} of {total}");
        }
    }

    #[test]
    fn what_is_not_one_byte_range_selects_the_whole() {
        let fields = [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1-0",
            "bytes=1",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=0x1-2",
            "bytes=1 - 2",
            "bytes=--1",
            "bytes=0-0,2-3",
            "lines=0-1",
            "bytes 0-1",
            "bytes=0-1;q=1",
            "bytes=0-\u{0661}",
        ];
        for field in fields {
            assert_eq!(Selection::parse(field.as_bytes(), 10), Selection::Whole, "{field:?}");
        }
    }

    proptest! {
        /// Against a second reading of RFC 9110 §14.1.2 that marks every wanted byte one by one.
        #[test]
        fn agrees_with_marking_each_byte(
            first in proptest::option::of(0u64..24),
            last in proptest::option::of(0u64..24),
            total in 0u64..16,
        ) {
            let text = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
            let field = format!("bytes={}-{}", text(first), text(last));
            let wanted: Vec<u64> = (0..total)
                .filter(|&at| match (first, last) {
                    (Some(first), Some(last)) => first <= at && at <= last,
                    (Some(first), None) => first <= at,
                    (None, Some(length)) => at + length >= total,
                    (None, None) => true,
                })
                .collect();
            let broken = match (first, last) {
                (Some(first), Some(last)) => first > last,
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            let expected = match (broken, wanted.first(), wanted.last()) {
                (true, _, _) => Selection::Whole,
                (false, Some(&first), Some(&last)) => part(first, last),
                (false, _, _) => Selection::Unsatisfiable,
            };
            prop_assert_eq!(Selection::parse(field.as_bytes(), total), expected);
        }

        #[test]
        fn a_part_of_any_field_lies_inside(field in proptest::collection::vec(any::<u8>(), 0..24), total in any::<u64>()) {
            let field = [UNIT, &field].concat();
            if let Selection::Part(part) = Selection::parse(&field, total) {
                prop_assert!(part.first <= part.last && part.last < total);
            }
        }
    }
}
