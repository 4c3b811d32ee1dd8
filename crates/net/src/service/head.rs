//! How large the head of a request is, for a limit that a reload has lowered: what reads heads keeps that of its connection.

use http::Request;

use crate::Protocol;

/// Bytes of a request's head: as they are written over HTTP/1.1, else as RFC 9114 §4.2.2 and RFC 9113 §10.5.1 count.
pub(super) fn size<B>(request: &Request<B>, protocol: Protocol) -> usize {
    let uri = request.uri();
    let [authority, scheme] =
        [uri.authority().map(|authority| authority.as_str()), uri.scheme_str()]
            .map(|part| part.map_or(0, str::len));
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let line = request.method().as_str().len() + scheme + authority + path;
    let (around, of_line) = match protocol {
        // `: ` and the ends of the lines; two spaces and the version.
        Protocol::Http1 => (4, "  HTTP/1.1\r\n\r\n".len()),
        Protocol::Http2 | Protocol::Http3 => (32, PSEUDO_FIELDS),
    };
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        name.as_str().len() + value.len() + around
    };
    line + of_line + request.headers().iter().map(field).sum::<usize>()
}

/// The names of method, scheme, authority and path, with 32 bytes for each.
const PSEUDO_FIELDS: usize = ":method:scheme:authority:path".len() + 4 * 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_counted_as_its_version_writes_it() {
        let request = |uri: &str| {
            Request::get(uri).header("host", "a").header("x-one", "22").body(()).expect("whole")
        };
        let written = "GET /path?q HTTP/1.1\r\nhost: a\r\nx-one: 22\r\n\r\n";
        assert_eq!(size(&request("/path?q"), Protocol::Http1), written.len());
        let fields = [(":method", "GET"), (":scheme", "https"), (":authority", "b")];
        let fields = [&fields[..], &[(":path", "/p"), ("host", "a"), ("x-one", "22")]].concat();
        let counted: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
        assert_eq!(size(&request("https://b/p"), Protocol::Http3), counted);
    }
}
