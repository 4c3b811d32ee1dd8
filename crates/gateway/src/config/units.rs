//! Durations and sizes, with the unit in the value: `250ms`, `30s`, `16KiB`.
//!
//! A bare number is refused: nobody can tell whether `30` was meant in seconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration: `250ms`, `30s`, `5m`, `12h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = NotASpan;

    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let (count, unit) = split(text).ok_or(NotASpan)?;
        let millis = SPAN_UNITS.iter().find(|(name, _)| *name == unit).ok_or(NotASpan)?.1;
        count.checked_mul(millis).map(|ms| Self(Duration::from_millis(ms))).ok_or(NotASpan)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        write_largest(f, millis, &SPAN_UNITS)
    }
}

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a duration such as `250ms`, `30s` or `5m`")]
pub struct NotASpan;

/// A number of bytes: `512B`, `16KiB`, `10MB` or `2GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// As a length in memory; what is larger than any is the largest.
    pub(crate) fn as_len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    pub(crate) fn of_len(len: usize) -> Self {
        Self(u64::try_from(len).unwrap_or(u64::MAX))
    }
}

impl FromStr for ByteSize {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Self, NotASize> {
        let (count, unit) = split(text).ok_or(NotASize)?;
        let bytes = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or(NotASize)?.1;
        // TOML's integers and JSON's are signed in many programs.
        let size = count.checked_mul(bytes).filter(|size| i64::try_from(*size).is_ok());
        size.map(Self).ok_or(NotASize)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_largest(f, self.0, &SIZE_UNITS)
    }
}

/// Why a text is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a size such as `512B`, `16KiB` or `10MB`")]
pub struct NotASize;

/// The number and what follows it.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(end);
    Some((count.parse().ok()?, unit))
}

/// With the largest unit that divides it; the units are sorted so that the smallest is last.
fn write_largest(
    f: &mut fmt::Formatter<'_>,
    value: u64,
    units: &[(&'static str, u64)],
) -> fmt::Result {
    let divides = |unit: &&(&str, u64)| value != 0 && value.is_multiple_of(unit.1);
    let smallest = units.last().copied().unwrap_or(("", 1));
    let (name, unit) = units.iter().find(divides).copied().unwrap_or(smallest);
    write!(f, "{}{name}", value / unit)
}

/// In milliseconds.
const SPAN_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// In bytes.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1000),
    ("B", 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit_and_written_with_the_largest_that_fits() {
        for (text, millis, written) in [
            ("250ms", 250, "250ms"),
            ("30s", 30_000, "30s"),
            ("90s", 90_000, "90s"),
            ("60s", 60_000, "1m"),
            ("24h", 86_400_000, "1d"),
            ("0s", 0, "0ms"),
        ] {
            let span: Span = text.parse().expect("a duration");
            assert_eq!((span.0, &*span.to_string()), (Duration::from_millis(millis), written));
        }
    }

    #[test]
    fn sizes_are_read_with_their_unit_and_written_with_the_largest_that_fits() {
        for (text, bytes, written) in [
            ("512B", 512, "512B"),
            ("16KiB", 16_384, "16KiB"),
            ("1024KiB", 1 << 20, "1MiB"),
            ("10MB", 10_000_000, "10MB"),
            ("9223372036854775807B", i64::MAX as u64, "9223372036854775807B"),
        ] {
            let size: ByteSize = text.parse().expect("a size");
            assert_eq!((size.0, &*size.to_string()), (bytes, written));
        }
    }

    #[test]
    fn a_number_without_a_unit_and_a_unit_without_a_number_are_refused() {
        for text in ["", "30", "s", "30 s", "-1s", "1.5s", "30S", "1e3s", "18446744073709551615d"] {
            assert_eq!(text.parse::<Span>(), Err(NotASpan), "{text}");
        }
        for text in ["", "10", "KiB", "1kb", "1.5MiB", "-1B", "9223372036854775808B"] {
            assert_eq!(text.parse::<ByteSize>(), Err(NotASize), "{text}");
        }
    }
}
