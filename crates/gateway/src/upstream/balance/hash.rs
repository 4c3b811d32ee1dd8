//! The same backend for the same key: weighted rendezvous hashing.
//!
//! Each backend has a score for each key, and the best one that may be asked gets the request. So when a backend comes, only
//! the keys move which it wins; when it goes, only its own, and they are spread over all others. There is no table to be
//! made anew, and processes that know the same backends agree without speaking to each other.

use http::header::COOKIE;

use super::{Key, mix};
use crate::upstream::Wanted;
use crate::upstream::set::Field;

/// The hash of what the key says of a request; none if the request does not have it.
pub(super) fn of(key: &Key, wanted: &Wanted<'_>) -> Option<u64> {
    match key {
        Key::Client => match wanted.client?.to_canonical() {
            std::net::IpAddr::V4(address) => Some(of_bytes(&address.octets())),
            std::net::IpAddr::V6(address) => Some(of_bytes(&address.octets())),
        },
        Key::Header(name) => wanted.headers.get(name).map(|value| of_bytes(value.as_bytes())),
        Key::Cookie(name) => {
            let lines = wanted.headers.get_all(COOKIE).iter();
            let mut pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
            pairs.find_map(|pair| {
                let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
                (!value.is_empty()).then(|| of_bytes(value))
            })
        }
    }
}

/// FNV-1a with its bits spread. No secret is in it: who may choose a backend by its key could as well send more requests.
pub(in crate::upstream) fn of_bytes(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    mix(hash)
}

pub(super) fn choose(field: Field<'_>, hash: u64) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (i, weight) in field.open() {
        let Some(backend) = field.get(i) else { continue };
        let score = score(hash ^ backend.seed, weight);
        if best.is_none_or(|(_, most)| score > most) {
            best = Some((i, score));
        }
    }
    best.map(|(i, _)| i)
}

/// −weight / ln(u) with u by chance in (0, 1): each backend wins as many keys as its weight says, whoever the others are.
fn score(bits: u64, weight: u64) -> f64 {
    let bits = (mix(bits) >> 12) as f64;
    let unit = (bits + 0.5) / (1u64 << 52) as f64;
    -(weight as f64) / unit.ln()
}
