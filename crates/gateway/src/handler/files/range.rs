//! `Range` and `Content-Range` for bytes (RFC 9110 §14).
//!
//! Pure: a field value and a length in, the part to send out. Whether the field applies at all
//! (method, `If-Range`) is decided by the caller.

use std::ops::RangeInclusive;

/// What a `Range` field asks of a representation of a known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// The field asks for nothing that we serve as a part: send the whole.
    Whole,
    /// One part, which is not empty and lies inside the representation.
    Part(Part),
    /// Two parts to [`MAX_PARTS`], in the order of the field; no two overlap or touch.
    Parts(Vec<Part>),
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

    /// Whether no byte lies between the two, or they share some.
    fn touches(self, other: Self) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }

    /// From the first byte of either to the last.
    fn join(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

impl Selection {
    /// Reads a `Range` field for a representation of `total` bytes.
    ///
    /// A field of another unit, with a mistake in it, or with more ranges than anyone needs selects the
    /// whole: RFC 9110 §14.2 lets a server ignore any `Range`, and a guess would send wrong bytes. Ranges
    /// that overlap or touch become one, so that no byte is sent twice however often it is asked for.
    pub(super) fn parse(field: &[u8], total: u64) -> Self {
        let Some(ranges) = ranges(field) else { return Self::Whole };
        let mut parts = Vec::new();
        for range in ranges {
            if let Some(part) = range.of(total) {
                insert(&mut parts, part);
            }
        }
        // req: 9110-15.3.7.2-not-for-one
        // req: 9110-15.3.7.2-order
        match parts[..] {
            [] => Self::Unsatisfiable,
            [part] => Self::Part(part),
            _ if parts.len() > MAX_PARTS => Self::Whole,
            _ => Self::Parts(parts),
        }
    }
}

/// The ranges of a field; `None` when it is not one of byte ranges, or has too many.
fn ranges(field: &[u8]) -> Option<Vec<ByteRange>> {
    // req: 9110-14.2-unknown-unit
    let (unit, set) = field.trim_ascii().split_at_checked(UNIT.len())?;
    if !unit.eq_ignore_ascii_case(UNIT) {
        return None;
    }
    let mut ranges = Vec::new();
    // A recipient takes a reasonable number of empty elements of a list (RFC 9110 §5.6.1.2).
    let written = set.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    for range in written.filter(|range| !range.is_empty()) {
        if ranges.len() == MAX_WRITTEN {
            return None;
        }
        ranges.push(ByteRange::parse(range)?);
    }
    (!ranges.is_empty()).then_some(ranges)
}

/// Adds a part at the end, or joins it with those it touches in the place of the first of them.
fn insert(parts: &mut Vec<Part>, part: Part) {
    let mut joined = part;
    let place = parts.iter().position(|other| other.touches(part));
    // Two that are there already do not touch, so that joining brings no new touch.
    parts.retain(|&other| {
        let touches = other.touches(part);
        if touches {
            joined = joined.join(other);
        }
        !touches
    });
    parts.insert(place.unwrap_or(parts.len()), joined);
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
    fn parse(range: &[u8]) -> Option<Self> {
        let dash = range.iter().position(|&byte| byte == b'-')?;
        let (first, last) = (&range[..dash], &range[dash + 1..]);
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

    /// What it is of `total` bytes, if anything.
    fn of(self, total: u64) -> Option<Part> {
        let end = total.checked_sub(1)?;
        let (first, last) = match self {
            Self::Closed { first, last } => (first, last.min(end)),
            Self::From { first } => (first, end),
            Self::Suffix { length: 0 } => return None,
            Self::Suffix { length } => (total.saturating_sub(length), end),
        };
        (first <= end).then_some(Part { first, last })
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

/// The most parts of one response; each costs a head of a few lines.
const MAX_PARTS: usize = 16;

/// The most ranges that a field may write; joining them takes the square of it.
const MAX_WRITTEN: usize = 128;

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
        for (field, total, expected) in table {
            let read = Selection::parse(field.as_bytes(), *total);
            assert_eq!(&read, expected, "{field:?} of {total}");
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
            "bytes=,",
            "bytes=0-0,x",
            "bytes=0-0,3-2",
            "lines=0-1",
            "bytes 0-1",
            "bytes=0-1;q=1",
            "bytes=0-\u{0661}",
        ];
        for field in fields {
            assert_eq!(Selection::parse(field.as_bytes(), 10), Selection::Whole, "{field:?}");
        }
    }

    fn parts(parts: &[(u64, u64)]) -> Selection {
        Selection::Parts(parts.iter().map(|&(first, last)| Part { first, last }).collect())
    }

    #[test]
    fn several_ranges_are_parts_in_the_order_of_the_field() {
        let table: &[(&str, Selection)] = &[
            ("bytes=0-1,4-5", parts(&[(0, 1), (4, 5)])),
            ("bytes=4-5,0-1", parts(&[(4, 5), (0, 1)])),
            ("bytes=0-1, ,4-5,", parts(&[(0, 1), (4, 5)])),
            ("bytes=0-1\t,\t-2", parts(&[(0, 1), (8, 9)])),
            ("bytes=0-1,10-,-0", part(0, 1)),
            ("bytes=10-,20-30", Selection::Unsatisfiable),
            ("bytes=0-1,2-3", part(0, 3)),
            ("bytes=0-1,1-3,8-9", parts(&[(0, 3), (8, 9)])),
            ("bytes=8-9,0-1,4-5,1-4", parts(&[(8, 9), (0, 5)])),
            ("bytes=0-,0-,0-", part(0, 9)),
        ];
        for (field, expected) in table {
            assert_eq!(&Selection::parse(field.as_bytes(), 10), expected, "{field:?}");
        }
    }

    #[test]
    fn as_many_parts_as_allowed_are_sent_and_one_more_is_the_whole() {
        let field = |count: u64| {
            let ranges: Vec<String> = (0..count).map(|at| format!("{0}-{0}", 2 * at)).collect();
            Selection::parse(format!("bytes={}", ranges.join(",")).as_bytes(), 1000)
        };
        let all: Vec<(u64, u64)> = (0..MAX_PARTS as u64).map(|at| (2 * at, 2 * at)).collect();
        assert_eq!(field(MAX_PARTS as u64), parts(&all));
        assert_eq!(field(MAX_PARTS as u64 + 1), Selection::Whole);
        let same = |count| {
            let set = vec!["0-0"; count].join(",");
            Selection::parse(format!("bytes={set}").as_bytes(), 1000)
        };
        assert_eq!(same(MAX_WRITTEN), part(0, 0));
        assert_eq!(same(MAX_WRITTEN + 1), Selection::Whole);
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

        /// Every byte asked for is in exactly one part, and no other byte is in any.
        #[test]
        fn parts_are_the_bytes_asked_for_and_none_twice(
            ranges in proptest::collection::vec((0u64..40, 0u64..6), 1..12),
            total in 1u64..40,
        ) {
            let set: Vec<String> = ranges.iter().map(|(at, more)| format!("{at}-{}", at + more)).collect();
            let field = format!("bytes={}", set.join(","));
            let parts = match Selection::parse(field.as_bytes(), total) {
                Selection::Whole => panic!("{field} is well formed"),
                Selection::Part(part) => vec![part],
                Selection::Parts(parts) => parts,
                Selection::Unsatisfiable => vec![],
            };
            for byte in 0..total + 8 {
                let is_wanted = byte < total
                    && ranges.iter().any(|&(at, more)| (at..=at + more).contains(&byte));
                let sent = parts.iter().filter(|part| (part.first..=part.last).contains(&byte));
                prop_assert_eq!(sent.count(), usize::from(is_wanted), "byte {} of {}", byte, field);
            }
        }

        #[test]
        fn the_parts_of_any_field_lie_inside(field in proptest::collection::vec(any::<u8>(), 0..24), total in any::<u64>()) {
            let field = [UNIT, &field].concat();
            let parts = match Selection::parse(&field, total) {
                Selection::Part(part) => vec![part],
                Selection::Parts(parts) => parts,
                Selection::Whole | Selection::Unsatisfiable => vec![],
            };
            for part in parts {
                prop_assert!(part.first <= part.last && part.last < total);
            }
        }
    }
}
