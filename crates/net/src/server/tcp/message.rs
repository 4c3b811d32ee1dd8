//! What hyper lets pass, and what others would read in another way: refused here, for every handler.
//!
//! `sterna_h3` checks the same for HTTP/3.

use http::{
    HeaderMap, HeaderValue, Request, StatusCode, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

use super::host;

/// Why the request is not to be handled, if it is not.
pub(super) fn refusal<B>(request: &Request<B>) -> Option<StatusCode> {
    if !is_plain(request.headers()) {
        return Some(StatusCode::NOT_IMPLEMENTED);
    }
    let is_valid = host::is_valid(request)
        && (request.version() != Version::HTTP_2 || is_of_http2(request.headers()));
    (!is_valid).then_some(StatusCode::BAD_REQUEST)
}

/// Whether the content is in no other coding than chunks, which hyper takes off: it looks at the last coding alone, and what
/// would go on then is content in a coding that nobody names any more (RFC 9112 §6.1).
fn is_plain(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let first = codings.next();
    codings.next().is_none()
        && first.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// Whether the fields are those of HTTP/2: the `h2` crate lets names with a quotation mark pass, values with space around
/// them (RFC 9113 §8.2.1), and a length of no digits.
fn is_of_http2(headers: &HeaderMap) -> bool {
    let is_edge = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let is_length = headers.get(CONTENT_LENGTH).is_none_or(|length| !length.is_empty());
    is_length
        && headers.iter().all(|(name, value): (_, &HeaderValue)| {
            let value = value.as_bytes();
            !name.as_str().contains('"') && !is_edge(value.first()) && !is_edge(value.last())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(version: Version, fields: &[(&str, &str)]) -> Option<u16> {
        let mut builder = Request::builder().version(version).uri("https://a/").header("host", "a");
        for (name, value) in fields {
            builder = builder.header(*name, HeaderValue::from_bytes(value.as_bytes()).expect(name));
        }
        refusal(&builder.body(()).expect("a request")).map(|status| status.as_u16())
    }

    #[test]
    fn content_is_in_chunks_and_in_no_other_coding() {
        for coding in ["chunked", "Chunked"] {
            assert_eq!(refused(Version::HTTP_11, &[("transfer-encoding", coding)]), None);
        }
        for codings in [
            &["gzip, chunked"][..],
            &["identity, chunked"],
            &["chunked, chunked"],
            &["chunked,"],
            &["chunked", "chunked"],
            &["gzip", "chunked"],
            &["", "chunked"],
        ] {
            let fields: Vec<_> =
                codings.iter().map(|coding| ("transfer-encoding", *coding)).collect();
            assert_eq!(refused(Version::HTTP_11, &fields), Some(501), "{codings:?}");
        }
    }

    #[test]
    fn http2_fields_are_tokens_and_values_without_space_around_them() {
        let of = |name, value| refused(Version::HTTP_2, &[(name, value)]);
        for (name, value) in [("x-y", "a b"), ("x-y", ""), ("content-length", "0")] {
            assert_eq!(of(name, value), None, "{name}: {value:?}");
        }
        for (name, value) in [
            ("x\"y", "a"),
            ("x", " a"),
            ("x", "a "),
            ("x", "\ta"),
            ("x", " "),
            ("content-length", ""),
        ] {
            let of_http2 = http::HeaderName::from_lowercase(name.as_bytes()).expect("h2 takes it");
            let mut request = Request::builder().version(Version::HTTP_2).uri("https://a/");
            request = request
                .header(of_http2, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
            let request = request.body(()).expect("a request");
            assert_eq!(refusal(&request), Some(StatusCode::BAD_REQUEST), "{name}: {value:?}");
        }
    }
}
