//! Transport parameters (RFC 9000 §18): the peer's as the engine is to see them, and one of ours that it cannot say alone.
//!
//! The engine issues as many connection IDs as the peer keeps, up to eight, all of them when the handshake is complete. Each
//! costs an HMAC for its stateless reset, a frame, and an entry in three tables for as long as the connection lives, and
//! one that is retired is replaced at once: a peer that migrates uses them one at a time.

use std::borrow::Cow;

/// What the peer sent, but with no more than [`MOST`] as its `active_connection_id_limit`.
///
/// What cannot be read is left as it is: the engine has an error for it.
pub(super) fn with_few_connection_ids(bytes: &[u8]) -> Cow<'_, [u8]> {
    match find(bytes) {
        // req: 9000-5.1.1-limit-issued
        Some(Place { value, before, after }) if value > u64::from(MOST) => {
            Cow::Owned([before, &[1, MOST], after].concat())
        }
        _ => Cow::Borrowed(bytes),
    }
}

/// Whether the peer asks us to stay at our address.
pub(super) fn forbid_migration(mut bytes: &[u8]) -> bool {
    let mut next = || {
        let (id, rest) = varint(bytes)?;
        let (length, rest) = varint(rest)?;
        bytes = rest.get(usize::try_from(length).ok()?..)?;
        Some(id)
    };
    std::iter::from_fn(&mut next).any(|id| id == DISABLE_ACTIVE_MIGRATION.into())
}

/// Asks the peer to stay at its address.
// req: 9000-18.2-disable-active-migration
pub(super) fn disable_active_migration(parameters: &mut Vec<u8>) {
    parameters.extend([DISABLE_ACTIVE_MIGRATION, 0]);
}

/// Where the limit is.
struct Place<'a> {
    value: u64,
    /// Up to its identifier, and that.
    before: &'a [u8],
    after: &'a [u8],
}

fn find(bytes: &[u8]) -> Option<Place<'_>> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (id, from_length) = varint(rest)?;
        let (length, from_value) = varint(from_length)?;
        let (value, after) = from_value.split_at_checked(usize::try_from(length).ok()?)?;
        if id == ACTIVE_CONNECTION_ID_LIMIT {
            let (number, []) = varint(value)? else { return None };
            let before = bytes.get(..bytes.len() - from_length.len())?;
            return Some(Place { value: number, before, after });
        }
        rest = after;
    }
    None
}

/// A variable-length integer (RFC 9000 §16), and what is behind it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    let (number, rest) = bytes.split_at_checked(1 << (first >> 6))?;
    let number = number.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    let length_bits = 8 * (bytes.len() - rest.len()) as u32;
    Some((number & (u64::MAX >> (66 - length_bits)), rest))
}

/// `active_connection_id_limit` (RFC 9000 §18.2).
const ACTIVE_CONNECTION_ID_LIMIT: u64 = 0x0e;

/// `disable_active_migration` (RFC 9000 §18.2): there, or not.
const DISABLE_ACTIVE_MIGRATION: u8 = 0x0c;

/// Connection IDs of ours that a peer has at a time: one in use, one for the path that it probes or moves to, and one more
/// for whoever moves again before it heard from us.
const MOST: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: [u8; 6] = [0x01, 2, 0x40, 100, 0x0f, 0];
    const AFTER: [u8; 5] = [0x52, 0x34, 2, 7, 7];

    /// The limit between two other parameters.
    fn parameters(limit: &[u8]) -> Vec<u8> {
        [&BEFORE[..], &[0x0e, limit.len() as u8], limit, &AFTER].concat()
    }

    // req: 9000-5.1.1-limit-issued
    #[test]
    fn a_larger_limit_becomes_three_and_the_others_stay_as_they_were() {
        for limit in [&[4][..], &[8], &[0x40, 64], &[0xFF; 8]] {
            assert_eq!(*with_few_connection_ids(&parameters(limit)), parameters(&[MOST]));
        }
    }

    #[test]
    fn a_small_limit_and_none_stay_as_they_were() {
        for bytes in [parameters(&[2]), parameters(&[3]), BEFORE.to_vec(), Vec::new()] {
            assert!(
                matches!(with_few_connection_ids(&bytes), Cow::Borrowed(same) if same == bytes)
            );
        }
    }

    #[test]
    // req: 9000-18.2-disable-active-migration
    fn a_server_that_wants_nobody_to_move_says_so() {
        let mut bytes = parameters(&[2]);
        assert!(!forbid_migration(&bytes));
        disable_active_migration(&mut bytes);
        assert!(forbid_migration(&bytes));
        assert_eq!(bytes, [&parameters(&[2])[..], &[0x0c, 0]].concat());
        assert!(!forbid_migration(&[0x01, 1, 0x0c]), "a value is no identifier");
        assert!(!forbid_migration(&[0x01, 9, 0x0c, 0]), "what cannot be read says nothing");
    }

    #[test]
    fn what_cannot_be_read_is_left_to_the_engine() {
        let long = parameters(&[9, 9]);
        let cut = parameters(&[0x40, 64]);
        for bytes in [&long[..], &cut[..9], &cut[..7], &[0x0e], &[0x0e, 0x40], &[0xC0]] {
            assert!(matches!(with_few_connection_ids(bytes), Cow::Borrowed(same) if same == bytes));
        }
    }
}
