//! Content codings: which of them a client takes, which types are worth it, and how files are called that are encoded already.
//!
//! Pure: the fields of a request in, codings out, best first (RFC 9110 §12.5.3).

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use crate::weight::quality;

/// A content coding (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
    /// `gzip` (RFC 1952).
    Gzip,
}

impl Coding {
    /// All, in the order that decides when a client likes several alike: the smallest first.
    const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// As `Content-Encoding` says it.
    pub(crate) const fn token(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What follows the name of the original.
    pub(crate) const fn ending(self) -> &'static [u8] {
        match self {
            Self::Brotli => b".br",
            Self::Zstd => b".zst",
            Self::Gzip => b".gz",
        }
    }

    fn is_called(self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.token().as_bytes())
            || (self == Self::Gzip && name.eq_ignore_ascii_case(b"x-gzip"))
    }
}

/// The codings that a client likes at least as well as none, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepts {
    ranked: [Option<Coding>; 3],
}

impl Accepts {
    /// Reads `Accept-Encoding`; without it, none.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut ranked = weigh(headers, Coding::ALL);
        ranked.sort_by_key(|&(weight, _)| std::cmp::Reverse(weight));
        Self { ranked: ranked.map(|(_, coding)| coding) }
    }

    /// Best first.
    pub(crate) fn codings(self) -> impl Iterator<Item = Coding> {
        self.ranked.into_iter().flatten()
    }

    /// One character for each ranking, so that answers can be kept by it.
    pub(crate) fn key(self) -> char {
        let digits = self.ranked.map(|coding| match coding {
            None => 0,
            Some(Coding::Brotli) => 1,
            Some(Coding::Zstd) => 2,
            Some(Coding::Gzip) => 3,
        });
        char::from(digits.iter().fold(0, |key, digit| key << 2 | digit) + b'0')
    }
}

/// What the client gives to each of these codings, and the coding if it is at least as good as none.
fn weigh<const N: usize>(headers: &HeaderMap, codings: [Coding; N]) -> [(u16, Option<Coding>); N] {
    if !headers.contains_key(ACCEPT_ENCODING) {
        return codings.map(|_| (0, None));
    }
    let listed = || {
        let fields = headers.get_all(ACCEPT_ENCODING).iter();
        fields.flat_map(|field| field.as_bytes().split(|&byte| byte == b',')).filter_map(weighted)
    };
    let any = listed().find(|(name, _)| *name == b"*").map(|(_, weight)| weight);
    let identity = listed().find(|(name, _)| name.eq_ignore_ascii_case(b"identity"));
    let floor = identity.map_or(0, |(_, weight)| weight).max(1);
    codings.map(|coding| {
        let own = listed().find(|(name, _)| coding.is_called(name));
        let weight = own.map(|(_, weight)| weight).or(any).unwrap_or(0);
        (weight, (weight >= floor).then_some(coding))
    })
}

/// The one of `codings` that the client likes best; where it likes several alike, the first.
pub(crate) fn best(headers: &HeaderMap, codings: &[Coding]) -> Option<Coding> {
    if codings.is_empty() || !headers.contains_key(ACCEPT_ENCODING) {
        return None;
    }
    let mut best: Option<(u16, Coding)> = None;
    for &coding in codings {
        let [(weight, acceptable)] = weigh(headers, [coding]);
        if acceptable.is_some() && best.is_none_or(|(most, _)| weight > most) {
            best = Some((weight, coding));
        }
    }
    best.map(|(_, coding)| coding)
}

/// A name with its weight in thousandths (RFC 9110 §12.4.2); none for what is malformed.
fn weighted(element: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let weight = match parts.next() {
        None => 1000,
        Some(parameter) => quality(parameter)?,
    };
    Some((name, weight))
}

/// Whether files of this type are worth to be kept encoded: text, and what is written like it.
///
/// Pictures, films and archives are encoded in themselves. Only what this names is looked for in other
/// codings, and varies by `Accept-Encoding`.
pub(crate) fn is_compressible(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.starts_with("text/")
        || ["+xml", "+json"].iter().any(|suffix| essence.ends_with(suffix))
        || COMPRESSIBLE.contains(&essence)
}

const COMPRESSIBLE: [&str; 11] = [
    "application/javascript",
    "application/json",
    "application/pdf",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/xml",
    "application/x-javascript",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/x-icon",
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn accepts(fields: &[&str]) -> Vec<&'static str> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(ACCEPT_ENCODING, HeaderValue::try_from(*field).expect("a value"));
        }
        Accepts::of(&headers).codings().map(Coding::token).collect()
    }

    #[test]
    fn the_client_decides_and_we_where_it_likes_several_alike() {
        let table: &[(&[&str], &[&str])] = &[
            (&[], &[]),
            (&[""], &[]),
            (&["gzip, deflate, br, zstd"], &["br", "zstd", "gzip"]),
            (&["gzip"], &["gzip"]),
            (&["gzip", "br"], &["br", "gzip"]),
            (&["GZIP;q=0.5, BR;q=0.4"], &["gzip", "br"]),
            (&["gzip;q=1.0, br;q=0.999"], &["gzip", "br"]),
            (&["br;q=0, gzip"], &["gzip"]),
            (&["br;q=0.000"], &[]),
            (&["*"], &["br", "zstd", "gzip"]),
            (&["*;q=0.1, zstd"], &["zstd", "br", "gzip"]),
            (&["*, br;q=0"], &["zstd", "gzip"]),
            (&["*;q=0"], &[]),
            (&["identity, gzip;q=0.5"], &[]),
            (&["identity;q=0.5, gzip;q=0.5, br;q=0.4"], &["gzip"]),
            (&["identity;q=0, gzip"], &["gzip"]),
            (&["x-gzip"], &["gzip"]),
            (&["br ; q=0.3 , gzip"], &["gzip", "br"]),
            (&["brotli, deflate, compress"], &[]),
        ];
        for (fields, expected) in table {
            assert_eq!(accepts(fields), *expected, "{fields:?}");
        }
    }

    #[test]
    fn a_malformed_weight_takes_its_coding_away_and_no_other() {
        for weight in ["q=", "q=2", "q=1.001", "q=0.0001", "q=.5", "q=-1", "q=0,5x", "p=1", "q"] {
            assert_eq!(accepts(&[&format!("br;{weight}"), "gzip"]), ["gzip"], "{weight}");
        }
    }

    #[test]
    fn each_ranking_has_a_key_of_its_own() {
        let fields = ["", "br", "gzip", "zstd", "br, gzip", "gzip, br;q=0.5", "*", "zstd;q=0.1, *"];
        let keys: std::collections::HashSet<char> = fields
            .iter()
            .map(|field| {
                let value = HeaderValue::try_from(*field).expect("a value");
                Accepts::of(&[(ACCEPT_ENCODING, value)].into_iter().collect()).key()
            })
            .collect();
        assert_eq!(keys.len(), fields.len());
    }

    #[test]
    fn text_is_worth_it_and_pictures_are_not() {
        for yes in ["text/html; charset=utf-8", "image/svg+xml", "application/json", "font/ttf"] {
            assert!(is_compressible(yes), "{yes}");
        }
        for no in
            ["image/png", "video/mp4", "application/gzip", "font/woff2", "application/octet-stream"]
        {
            assert!(!is_compressible(no), "{no}");
        }
    }
}
