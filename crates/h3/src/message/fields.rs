//! Regular fields of a section: values, connection-specific ones, cookie crumbs, content-length.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use sterna_qpack::{Field, FieldRef};

use super::name::Name;
use super::section::{Kind, SectionReader};
use crate::PeerMisbehaved;

/// Gathers the regular fields of one section.
#[derive(Debug)]
pub(crate) struct Fields {
    headers: HeaderMap,
    /// Crumbs of `cookie` after the first (RFC 9114 §4.2.1).
    crumbs: Vec<HeaderValue>,
    content_length: Option<u64>,
    lines: usize,
    max_lines: usize,
    /// Room that is taken with the first field.
    usual: usize,
}

impl Fields {
    /// Accepts up to `max_lines` lines, pseudo-header fields and crumbs among them.
    pub(super) fn new(max_lines: usize, usual: usize) -> Self {
        Self {
            headers: HeaderMap::new(),
            crumbs: Vec::new(),
            content_length: None,
            lines: 0,
            max_lines,
            usual,
        }
    }

    /// Counts a line; what comes after too many is to be dropped.
    pub(super) fn count_line(&mut self) -> bool {
        self.lines = self.lines.saturating_add(1);
        self.lines <= self.max_lines
    }

    /// Whether there were more lines than we accept: the section is too large, not malformed.
    pub(super) const fn is_too_many(&self) -> bool {
        self.lines > self.max_lines
    }

    /// Whether a regular field came, after which no pseudo-header field may.
    pub(super) fn has_any(&self) -> bool {
        !self.headers.is_empty()
    }

    /// Adds a regular field.
    pub(super) fn push(&mut self, name: HeaderName, field: Field) -> Result<(), PeerMisbehaved> {
        check_connection_specific(&name, &field)?;
        if name == CONTENT_LENGTH {
            self.set_content_length(&field.value)?;
        }
        let value = value(field.value, field.never_indexed)?;
        if name == HOST && self.headers.contains_key(HOST) {
            return Err(PeerMisbehaved::HostTwice);
        }
        if self.headers.is_empty() {
            self.headers.reserve(self.usual.clamp(LEAST_CAPACITY, MOST_CAPACITY));
        }
        if name == COOKIE && self.headers.contains_key(COOKIE) {
            self.crumbs.push(value);
        } else {
            self.headers.append(name, value);
        }
        Ok(())
    }

    /// The fields, and the content-length among them.
    pub(super) fn finish(mut self) -> (HeaderMap, Option<u64>) {
        if !self.crumbs.is_empty() {
            self.join_crumbs();
        }
        (self.headers, self.content_length)
    }

    /// RFC 9114 §4.2.1: one field for whoever is not HTTP/2 or HTTP/3.
    fn join_crumbs(&mut self) {
        // req: 9114-4.2.1-join-cookies
        let Some(first) = self.headers.get_mut(COOKIE) else { return };
        let size: usize = self.crumbs.iter().map(|crumb| 2 + crumb.len()).sum();
        let mut joined = BytesMut::with_capacity(first.len() + size);
        joined.extend_from_slice(first.as_bytes());
        let mut is_sensitive = first.is_sensitive();
        for crumb in self.crumbs.drain(..) {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(crumb.as_bytes());
            is_sensitive |= crumb.is_sensitive();
        }
        // Valid values joined by valid characters are valid.
        if let Ok(mut value) = HeaderValue::from_maybe_shared(joined.freeze()) {
            value.set_sensitive(is_sensitive);
            *first = value;
        }
    }

    fn set_content_length(&mut self, value: &[u8]) -> Result<(), PeerMisbehaved> {
        if self.content_length.is_some() {
            // Even when both agree: intermediaries have disagreed on which one counts.
            return Err(PeerMisbehaved::ContentLengthTwice);
        }
        self.content_length = Some(content_length(value)?);
        Ok(())
    }
}

/// A trailer section (RFC 9110 §6.5).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trailers;

impl Kind for Trailers {
    fn line(
        &mut self,
        name: Name,
        field: Field,
        fields: &mut Fields,
    ) -> Result<(), PeerMisbehaved> {
        match name {
            // A second head would be here.
            // req: 9114-4.3-no-pseudo-in-trailers
            // req: 9114-4.1-one-response
            Name::Pseudo(_) => Err(PeerMisbehaved::PseudoInTrailers),
            // What frames or routes the message must not change after it was acted on.
            Name::Regular(CONTENT_LENGTH | HOST) => Err(PeerMisbehaved::ForbiddenTrailer),
            Name::Regular(name) => fields.push(name, field),
        }
    }
}

impl SectionReader<Trailers> {
    /// The trailers, or the first rule that they broke.
    pub(crate) fn finish(self) -> Result<HeaderMap, PeerMisbehaved> {
        let (_, fields) = self.into_parts()?;
        Ok(fields.finish().0)
    }
}

/// The fields that may go on the wire: without connection-specific ones, which an application that also speaks
/// HTTP/1.1 may have set (RFC 9114 §4.2).
pub(crate) fn to_send(headers: &HeaderMap) -> impl Iterator<Item = FieldRef<'_>> {
    // req: 9114-4.2-send-no-connection-specific
    headers.iter().filter_map(|(name, value)| line(name, value))
}

/// One field, if it may go on the wire.
pub(crate) fn line<'a>(name: &'a HeaderName, value: &'a HeaderValue) -> Option<FieldRef<'a>> {
    is_sent(name, value).then(|| FieldRef {
        name: name.as_str().as_bytes(),
        value: value.as_bytes(),
        sensitive: value.is_sensitive(),
    })
}

/// The size of a section as RFC 9114 §4.2.2 counts, in bytes.
pub(crate) fn size<'a>(fields: impl Iterator<Item = FieldRef<'a>>) -> u64 {
    fields.map(|field| (field.name.len() + field.value.len()) as u64 + LINE_OVERHEAD).sum()
}

fn is_sent(name: &HeaderName, value: &HeaderValue) -> bool {
    !is_connection_specific(name.as_str()) && (name != http::header::TE || value == "trailers")
}

fn check_connection_specific(name: &HeaderName, field: &Field) -> Result<(), PeerMisbehaved> {
    if field.static_name.is_some() {
        // None of them is in the static table.
        return Ok(());
    }
    // req: 9114-4.2-connection-specific
    // req: 9114-4.1-no-transfer-codings
    if is_connection_specific(name.as_str()) {
        return Err(PeerMisbehaved::ConnectionSpecificField);
    }
    // req: 9114-4.2-te
    if name == http::header::TE && !field.value.eq_ignore_ascii_case(b"trailers") {
        return Err(PeerMisbehaved::TeNotTrailers);
    }
    Ok(())
}

fn is_connection_specific(name: &str) -> bool {
    matches!(
        name,
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade"
    )
}

fn value(bytes: Bytes, is_sensitive: bool) -> Result<HeaderValue, PeerMisbehaved> {
    if let [b' ' | b'\t', ..] | [.., b' ' | b'\t'] = bytes.as_ref() {
        return Err(PeerMisbehaved::PaddedValue);
    }
    // req: 9114-10.3-value-characters
    let mut value =
        HeaderValue::from_maybe_shared(bytes).map_err(|_| PeerMisbehaved::InvalidValue)?;
    value.set_sensitive(is_sensitive);
    Ok(value)
}

/// A content-length: digits only, so neither a sign nor a list (RFC 9110 §8.6).
pub(crate) fn content_length(value: &[u8]) -> Result<u64, PeerMisbehaved> {
    if value.is_empty() {
        return Err(PeerMisbehaved::ContentLengthInvalid);
    }
    value.iter().try_fold(0_u64, |length, byte| {
        if !byte.is_ascii_digit() {
            return Err(PeerMisbehaved::ContentLengthInvalid);
        }
        length
            .checked_mul(10)
            .and_then(|length| length.checked_add(u64::from(byte - b'0')))
            .ok_or(PeerMisbehaved::ContentLengthOverflow)
    })
}

/// What RFC 9114 §4.2.2 adds for each line, in bytes.
const LINE_OVERHEAD: u64 = 32;

/// Room for fields without growing: a place costs a hundred bytes.
const LEAST_CAPACITY: usize = 4;
const MOST_CAPACITY: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(value: &'static [u8], never_indexed: bool) -> Field {
        Field {
            name: Bytes::from_static(b"cookie"),
            value: Bytes::from_static(value),
            static_name: Some(5),
            never_indexed,
        }
    }

    #[test]
    fn one_sensitive_crumb_makes_the_cookie_sensitive() {
        // req: 9114-4.2.1-join-cookies
        for sensitive in [[true, false, false], [false, true, false], [false, false, true]] {
            let mut fields = Fields::new(10, 0);
            for (value, never_indexed) in [b"a=1", b"b=2", b"c=3"].into_iter().zip(sensitive) {
                fields.push(COOKIE, cookie(value, never_indexed)).unwrap();
            }
            let (headers, _) = fields.finish();
            assert_eq!(headers[COOKIE], "a=1; b=2; c=3");
            assert!(headers[COOKIE].is_sensitive(), "{sensitive:?}");
        }
    }

    #[test]
    fn no_byte_but_those_of_a_value_is_in_a_value() {
        // req: 9114-10.3-value-characters
        for byte in 0..=u8::MAX {
            let is_valid = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            let between = value(Bytes::from(vec![b'x', byte, b'x']), false);
            assert_eq!(between.is_ok(), is_valid, "{byte:#x}");
            let is_padding = matches!(byte, b' ' | b'\t');
            for padded in [vec![byte, b'x'], vec![b'x', byte], vec![byte]] {
                let found = value(Bytes::from(padded), false);
                assert_eq!(found.is_ok(), is_valid && !is_padding, "{byte:#x}");
            }
        }
    }

    #[test]
    fn a_content_length_is_digits_that_fit() {
        let cases: [(&[u8], Result<u64, PeerMisbehaved>); 7] = [
            (b"0", Ok(0)),
            (b"007", Ok(7)),
            (b"18446744073709551615", Ok(u64::MAX)),
            (b"18446744073709551616", Err(PeerMisbehaved::ContentLengthOverflow)),
            (b"", Err(PeerMisbehaved::ContentLengthInvalid)),
            (b"1 ", Err(PeerMisbehaved::ContentLengthInvalid)),
            (b"1,1", Err(PeerMisbehaved::ContentLengthInvalid)),
        ];
        for (field, expected) in cases {
            assert_eq!(content_length(field), expected, "{field:?}");
        }
    }

    #[test]
    fn a_section_is_measured_with_32_bytes_for_each_line() {
        // req: 9114-4.2.2-too-large
        let line = FieldRef { name: b"name", value: b"value", sensitive: false };
        assert_eq!(size([line, line].into_iter()), 2 * (4 + 5 + 32));
    }
}
