//! Any `Range` field for any length: what is sent lies inside, no byte of it twice, and is what was asked for.
//!
//! The input is a byte for the length, and the field.

use super::range::{Part, Selection};

pub(crate) fn check(input: &[u8]) {
    let Some((&length, field)) = input.split_first() else { return };
    for total in [u64::from(length % 64), u64::MAX - u64::from(length)] {
        let parts = match Selection::parse(field, total) {
            Selection::Whole | Selection::Unsatisfiable => Vec::new(),
            Selection::Part(part) => vec![part],
            Selection::Parts(parts) => {
                assert!((2..=16).contains(&parts.len()));
                parts
            }
        };
        assert!(parts.iter().all(|part| part.first <= part.last && part.last < total));
        assert!(parts.iter().all(|part| part.len() <= total));
        for (at, part) in parts.iter().enumerate() {
            let others = &parts[at + 1..];
            assert!(others.iter().all(|other| part.last < other.first || other.last < part.first));
        }
        if total < 64 && !parts.is_empty() {
            assert_eq!(bytes_of(&parts), asked_for(field, total));
        }
    }
}

/// The bytes of all parts, one bit each.
fn bytes_of(parts: &[Part]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.first..=part.last);
    bytes.fold(0, |bits, byte| bits | 1 << byte)
}

/// The bytes that a field asks for, byte by byte and with nothing of the parser.
fn asked_for(field: &[u8], total: u64) -> u64 {
    let text = String::from_utf8_lossy(field);
    let set = text.trim_matches(' ').split_once('=').map_or("", |(_, set)| set);
    let mut bits = 0;
    for range in set.split(',') {
        let Some((first, last)) = range.trim_ascii().split_once('-') else { continue };
        let number = |text: &str| text.parse::<u128>().unwrap_or(u128::MAX);
        for byte in 0..total {
            let (at, from_end) = (u128::from(byte), u128::from(total - byte));
            let wanted = match (first, last) {
                ("", length) => from_end <= number(length),
                (first, "") => at >= number(first),
                (first, last) => at >= number(first) && at <= number(last),
            };
            bits |= u64::from(wanted) << byte;
        }
    }
    bits
}
