//! Field names: pseudo-header fields, and the names of QPACK's static table without parsing.

use http::{HeaderName, header};
use sterna_qpack::Field;

use crate::PeerMisbehaved;

/// The name of a field line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// Begins with a colon.
    Pseudo(Pseudo),
    /// Any other.
    Regular(HeaderName),
}

/// The pseudo-header fields that exist (RFC 9114 §4.3, RFC 8441 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pseudo {
    Authority,
    Method,
    Path,
    Protocol,
    Scheme,
    Status,
}

impl Name {
    /// The name of `field`.
    ///
    /// # Errors
    /// The rule that the name breaks.
    pub(super) fn of(field: &Field) -> Result<Self, PeerMisbehaved> {
        if let Some(name) = field.static_name.and_then(of_static_table) {
            return Ok(name);
        }
        match field.name.as_ref() {
            // req: 9114-4.3-unknown-pseudo
            [b':', rest @ ..] => {
                pseudo(rest).map(Self::Pseudo).ok_or(PeerMisbehaved::UnknownPseudo)
            }
            name => regular(name).map(Self::Regular),
        }
    }
}

fn pseudo(name: &[u8]) -> Option<Pseudo> {
    Some(match name {
        b"authority" => Pseudo::Authority,
        b"method" => Pseudo::Method,
        b"path" => Pseudo::Path,
        b"protocol" => Pseudo::Protocol,
        b"scheme" => Pseudo::Scheme,
        b"status" => Pseudo::Status,
        _ => return None,
    })
}

fn regular(name: &[u8]) -> Result<HeaderName, PeerMisbehaved> {
    // The one character that the parser of `http` takes although no token has it.
    if name.contains(&b'"') {
        return Err(PeerMisbehaved::InvalidName);
    }
    HeaderName::from_lowercase(name).map_err(|_| match name {
        [] => PeerMisbehaved::EmptyName,
        // req: 9114-4.2-lowercase-names
        name if name.iter().any(u8::is_ascii_uppercase) => PeerMisbehaved::UppercaseName,
        // req: 9114-10.3-name-characters
        _ => PeerMisbehaved::InvalidName,
    })
}

/// The name at an index of QPACK's static table (RFC 9204 appendix A).
fn of_static_table(index: u8) -> Option<Name> {
    Some(match index {
        0 => Name::Pseudo(Pseudo::Authority),
        1 => Name::Pseudo(Pseudo::Path),
        15..=21 => Name::Pseudo(Pseudo::Method),
        22..=23 => Name::Pseudo(Pseudo::Scheme),
        24..=28 | 63..=71 => Name::Pseudo(Pseudo::Status),
        _ => Name::Regular(regular_of_static_table(index)?),
    })
}

fn regular_of_static_table(index: u8) -> Option<HeaderName> {
    Some(match index {
        2 => header::AGE,
        3 => header::CONTENT_DISPOSITION,
        4 => header::CONTENT_LENGTH,
        5 => header::COOKIE,
        6 => header::DATE,
        7 => header::ETAG,
        8 => header::IF_MODIFIED_SINCE,
        9 => header::IF_NONE_MATCH,
        10 => header::LAST_MODIFIED,
        11 => header::LINK,
        12 => header::LOCATION,
        13 => header::REFERER,
        14 => header::SET_COOKIE,
        29..=30 => header::ACCEPT,
        31 => header::ACCEPT_ENCODING,
        32 => header::ACCEPT_RANGES,
        33..=34 | 75 => header::ACCESS_CONTROL_ALLOW_HEADERS,
        35 => header::ACCESS_CONTROL_ALLOW_ORIGIN,
        36..=41 => header::CACHE_CONTROL,
        42..=43 => header::CONTENT_ENCODING,
        44..=54 => header::CONTENT_TYPE,
        55 => header::RANGE,
        56..=58 => header::STRICT_TRANSPORT_SECURITY,
        59..=60 => header::VARY,
        61 => header::X_CONTENT_TYPE_OPTIONS,
        62 => header::X_XSS_PROTECTION,
        72 => header::ACCEPT_LANGUAGE,
        73..=74 => header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        76..=78 => header::ACCESS_CONTROL_ALLOW_METHODS,
        79 => header::ACCESS_CONTROL_EXPOSE_HEADERS,
        80 => header::ACCESS_CONTROL_REQUEST_HEADERS,
        81..=82 => header::ACCESS_CONTROL_REQUEST_METHOD,
        83 => header::ALT_SVC,
        84 => header::AUTHORIZATION,
        85 => header::CONTENT_SECURITY_POLICY,
        86 => EARLY_DATA,
        87 => EXPECT_CT,
        88 => header::FORWARDED,
        89 => header::IF_RANGE,
        90 => header::ORIGIN,
        91 => PURPOSE,
        92 => header::SERVER,
        93 => TIMING_ALLOW_ORIGIN,
        94 => header::UPGRADE_INSECURE_REQUESTS,
        95 => header::USER_AGENT,
        96 => X_FORWARDED_FOR,
        97..=98 => header::X_FRAME_OPTIONS,
        _ => return None,
    })
}

const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");
const EXPECT_CT: HeaderName = HeaderName::from_static("expect-ct");
const PURPOSE: HeaderName = HeaderName::from_static("purpose");
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sterna_qpack::{Decoder, DecoderConfig};

    use super::*;

    fn field(name: &'static [u8]) -> Field {
        Field {
            name: Bytes::from_static(name),
            value: Bytes::new(),
            static_name: None,
            never_indexed: false,
        }
    }

    #[test]
    fn each_static_index_maps_to_the_name_that_qpack_gives_it() {
        let mut decoder = Decoder::new(DecoderConfig {
            max_table_capacity: 0,
            max_blocked_streams: 0,
            max_field_section_size: 1000,
        });
        for index in 0..99_u8 {
            // A literal field line with the name of that index and an empty value (RFC 9204 §4.5.4).
            let reference = match index {
                0..15 => vec![0x50 | index],
                15.. => vec![0x5f, index - 15],
            };
            let section = Bytes::from([&[0, 0], reference.as_slice(), &[0]].concat());
            let mut fields = Vec::new();
            decoder.decode(0, &section, &mut |field| fields.push(field)).unwrap();
            let [field] = fields.as_slice() else { panic!("one line went in") };
            assert_eq!(field.static_name, Some(index));
            let spelled = Field { static_name: None, ..field.clone() };
            assert_eq!(Name::of(field), Name::of(&spelled), "index {index}");
        }
    }

    #[test]
    fn a_name_that_breaks_a_rule_names_the_rule() {
        // req: 9114-4.3-unknown-pseudo
        // req: 9114-4.2-lowercase-names
        // req: 9114-10.3-name-characters
        let cases: [(&[u8], PeerMisbehaved); 8] = [
            (b"", PeerMisbehaved::EmptyName),
            (b":", PeerMisbehaved::UnknownPseudo),
            (b":foo", PeerMisbehaved::UnknownPseudo),
            (b":Method", PeerMisbehaved::UnknownPseudo),
            (b"Accept", PeerMisbehaved::UppercaseName),
            (b"x-a b", PeerMisbehaved::InvalidName),
            (b"x:a", PeerMisbehaved::InvalidName),
            (b"x\0", PeerMisbehaved::InvalidName),
        ];
        for (name, rule) in cases {
            assert_eq!(Name::of(&field(name)), Err(rule), "{name:?}");
        }
        let name = HeaderName::from_static("x-own");
        assert_eq!(Name::of(&field(b"x-own")), Ok(Name::Regular(name)));
    }

    #[test]
    fn no_byte_but_those_of_a_token_is_in_a_name() {
        for byte in 0..=u8::MAX {
            let name = Bytes::from(vec![b'x', byte, b'x']);
            let is_token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let is_valid = is_token && !byte.is_ascii_uppercase();
            let found = Name::of(&Field { name, ..field(b"") });
            assert_eq!(found.is_ok(), is_valid, "{byte:#x}");
        }
    }
}
