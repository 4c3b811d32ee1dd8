//! What an upstream is told of the client: `Forwarded` (RFC 7239) and `X-Forwarded-*`, written afresh.
//!
//! Whatever a client says about itself in such fields ends here. A trusted proxy's word is kept, and the proxy added to it,
//! in the field that is read from it (see [`crate::client`]); the other fields may be its client's.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{FORWARDED, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;
use sterna_net::{ClientIdentity, RequestContext};

use crate::Request;
use crate::client::Field;
use crate::exchange::Exchange;

/// In which fields an upstream is told of the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    #[default]
    XForwarded,
    /// `Forwarded`.
    Rfc7239,
    /// All of them.
    Both,
    /// None; what clients say of themselves is taken out all the same.
    Off,
}

/// What is to be told: taken from a request before its fields are changed for the upstream.
#[derive(Clone, Debug)]
pub(crate) struct Forwarded {
    peer: Option<IpAddr>,
    /// Who a trusted peer speaks for, and the field that said so.
    behind: Option<(IpAddr, Field)>,
    proto: &'static str,
    host: Option<HeaderValue>,
    /// What was taken off the path in front.
    prefix: Option<HeaderValue>,
    /// The client, where it has shown a certificate.
    client: Option<Arc<ClientIdentity>>,
}

impl Forwarded {
    pub(crate) fn of(exchange: &Exchange, request: &Request) -> Self {
        let context = RequestContext::of(request);
        let authority = request.uri().authority().map(|authority| authority.as_str());
        let authority = authority.map(|authority| HeaderValue::from_str(authority).ok());
        Self {
            peer: context.map(|context| context.peer_address().ip().to_canonical()),
            behind: exchange.behind_trusted_peer(),
            proto: if context.is_some_and(|context| context.tls().is_none()) {
                "http"
            } else {
                "https"
            },
            host: authority.unwrap_or_else(|| request.headers().get(HOST).cloned()),
            prefix: exchange
                .is_rewritten()
                .then(|| request.headers().get(X_FORWARDED_PREFIX).cloned())
                .flatten(),
            client: context.and_then(RequestContext::tls).and_then(|tls| tls.client.clone()),
        }
    }

    /// Makes the fields of a request for an upstream say this and no more.
    pub(crate) fn write(&self, style: Style, headers: &mut HeaderMap) {
        let kept = self.behind.map(|(_, field)| field);
        let has_real_ip = headers.contains_key(X_REAL_IP);
        remove_claims(headers, kept);
        // A proxy that writes the one may pass on the other as its client sent it: they say the same here.
        if let Some((client, Field::XForwardedFor)) = self.behind
            && has_real_ip
        {
            set(headers, X_REAL_IP, None, &[client.to_string()]);
        }
        if let Some(client) = self.client.as_ref().filter(|_| style != Style::Off) {
            tell_certificate(client, headers);
        }
        if let Some(prefix) = self.prefix.clone().filter(|_| style != Style::Off) {
            headers.insert(X_FORWARDED_PREFIX, prefix);
        }
        if matches!(style, Style::XForwarded | Style::Both) {
            self.write_x_forwarded(kept, headers);
        }
        if matches!(style, Style::Rfc7239 | Style::Both) {
            self.write_rfc7239(kept, headers);
        }
    }

    fn write_x_forwarded(&self, kept: Option<Field>, headers: &mut HeaderMap) {
        let is_kept = kept == Some(Field::XForwardedFor);
        let before = is_kept.then(|| joined(headers, &X_FORWARDED_FOR)).flatten();
        let hops = self.hops(before.is_some());
        set(headers, X_FORWARDED_FOR, before, hops);
        let proto = HeaderValue::from_static(self.proto);
        set_unless_kept(headers, X_FORWARDED_PROTO, Some(proto), is_kept);
        set_unless_kept(headers, X_FORWARDED_HOST, self.host.clone(), is_kept);
    }

    fn write_rfc7239(&self, kept: Option<Field>, headers: &mut HeaderMap) {
        let is_kept = kept == Some(Field::Forwarded);
        let before = is_kept.then(|| joined(headers, &FORWARDED)).flatten();
        let mut hops: Vec<String> = self.hops(before.is_some()).map(node).collect();
        if let Some(last) = hops.last_mut() {
            // Writing to a `String` does not fail.
            let _ = write!(last, ";proto={}", self.proto);
            if let Some(host) = self.host.as_ref().and_then(|host| host.to_str().ok())
                && host.bytes().all(|byte| byte != b'"' && byte != b'\\')
            {
                let _ = write!(last, ";host=\"{host}\"");
            }
        }
        set(headers, FORWARDED, before, hops);
    }

    /// Whom this server adds: the peer, and before it its client where what the peer said of that is not kept.
    fn hops(&self, is_kept: bool) -> impl Iterator<Item = IpAddr> {
        let client = self.behind.map(|(client, _)| client).filter(|_| !is_kept);
        client.into_iter().chain(self.peer)
    }
}

/// Takes out what says who the client is, but for the word of a trusted peer.
pub(crate) fn remove_claims(headers: &mut HeaderMap, kept: Option<Field>) {
    let is_claim = |name: &HeaderName| {
        let name = name.as_str();
        let start = name.get(..FAMILY.len()).unwrap_or_default();
        if is_like(name, "forwarded") {
            kept != Some(Field::Forwarded)
        } else if is_like(name, "x-real-ip") {
            true
        } else if is_like(start, FAMILY) {
            kept != Some(Field::XForwardedFor) || name.contains('_')
        } else {
            CERTIFICATE.iter().any(|known| is_like(name, known.as_str()))
        }
    };
    remove_all(headers, is_claim);
}

/// Says whose certificate the client has shown.
fn tell_certificate(client: &ClientIdentity, headers: &mut HeaderMap) {
    let values =
        [format!(":{}:", client.encoded()), client.subject().into(), client.names().join(", ")];
    for (name, value) in CERTIFICATE.into_iter().zip(values) {
        // All of it is printable.
        if let Ok(value) = HeaderValue::try_from(value)
            && !value.is_empty()
        {
            headers.insert(name, value);
        }
    }
}

/// Takes out a field under all the names that somebody may take for its own.
pub(crate) fn remove_like(headers: &mut HeaderMap, field: &HeaderName) {
    remove_all(headers, |name| is_like(name.as_str(), field.as_str()));
}

fn remove_all(headers: &mut HeaderMap, is_meant: impl Fn(&HeaderName) -> bool) {
    let meant: SmallVec<[HeaderName; 4]> =
        headers.keys().filter(|name| is_meant(name)).cloned().collect();
    for name in meant {
        headers.remove(name);
    }
}

/// Whether programs of CGI's kind, to which `-` and `_` are one, take the two names for the same.
fn is_like(name: &str, known: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte };
    name.len() == known.len() && name.bytes().map(plain).eq(known.bytes().map(plain))
}

/// Lines of one name as one list.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    (!lines.is_empty()).then(|| lines.join(&b", "[..]))
}

/// Sets `name` to the list of what was there `before` and these.
fn set(
    headers: &mut HeaderMap,
    name: HeaderName,
    before: Option<Vec<u8>>,
    more: impl IntoIterator<Item = impl fmt::Display>,
) {
    // Room for any address.
    let mut list = before.unwrap_or_else(|| Vec::with_capacity(48));
    for element in more {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        // Writing to a `Vec` does not fail.
        let _ = write!(list, "{element}");
    }
    match HeaderValue::from_maybe_shared(bytes::Bytes::from(list)) {
        Ok(value) if !value.is_empty() => drop(headers.insert(name, value)),
        _ => drop(headers.remove(name)),
    }
}

/// Sets `name`, unless a trusted peer has said it, once.
fn set_unless_kept(
    headers: &mut HeaderMap,
    name: HeaderName,
    value: Option<HeaderValue>,
    is_kept: bool,
) {
    if is_kept && headers.get_all(&name).iter().count() == 1 {
        return;
    }
    match value {
        Some(value) => drop(headers.insert(name, value)),
        None => drop(headers.remove(name)),
    }
}

/// A node of RFC 7239 §6.
fn node(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("for={address}"),
        IpAddr::V6(address) => format!("for=\"[{address}]\""),
    }
}

const FAMILY: &str = "x-forwarded-";
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// RFC 9440, and what is easier to read. The chain is taken out and not told.
const CERTIFICATE: [HeaderName; 4] = [
    HeaderName::from_static("client-cert"),
    HeaderName::from_static("x-client-cert-subject"),
    HeaderName::from_static("x-client-cert-san"),
    HeaderName::from_static("client-cert-chain"),
];
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::try_from(*value).expect("a value"))
        };
        lines.iter().map(field).collect()
    }

    fn told(behind: Option<(&str, Field)>) -> Forwarded {
        let behind = behind.map(|(client, field)| (client.parse().expect("an address"), field));
        let (peer, host) = ("10.0.0.1".parse().ok(), HeaderValue::from_str("a.test:8443").ok());
        Forwarded { peer, behind, proto: "https", host, prefix: None, client: None }
    }

    fn written(told: &Forwarded, style: Style, lines: &[(&'static str, &str)]) -> Vec<String> {
        let mut headers = headers(lines);
        told.write(style, &mut headers);
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().expect("text"))
        };
        let mut lines: Vec<String> = headers.iter().map(line).collect();
        lines.sort();
        lines
    }

    const CLAIMS: &[(&str, &str)] = &[
        ("forwarded", "for=6.6.6.6"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-for", "6.6.6.7"),
        ("x-forwarded-proto", "ftp"),
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-anything", "1"),
        ("x-real-ip", "6.6.6.6"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-forwarded_for", "6.6.6.6"),
        ("x_real_ip", "6.6.6.6"),
        ("client-cert", ":AAAA:"),
        ("client_cert", ":AAAA:"),
        ("client-cert-chain", ":AAAA:"),
        ("x-client-cert-subject", "CN=root"),
        ("x_client_cert-san", "email:root@example.com"),
        ("accept", "text/html"),
    ];

    #[test]
    fn what_a_client_says_of_itself_reaches_no_upstream() {
        let x_forwarded = [
            "accept: text/html",
            "x-forwarded-for: 10.0.0.1",
            "x-forwarded-host: a.test:8443",
            "x-forwarded-proto: https",
        ];
        let forwarded = "forwarded: for=10.0.0.1;proto=https;host=\"a.test:8443\"";
        for (style, expected) in [
            (Style::Off, &["accept: text/html"][..]),
            (Style::XForwarded, &x_forwarded),
            (Style::Rfc7239, &["accept: text/html", forwarded]),
            (Style::Both, &[&x_forwarded[..1], &[forwarded], &x_forwarded[1..]].concat()),
        ] {
            assert_eq!(written(&told(None), style, CLAIMS), expected, "{style:?}");
        }
    }

    #[test]
    fn a_trusted_proxy_is_added_to_what_it_said() {
        let behind = told(Some(("203.0.113.5", Field::XForwardedFor)));
        let lines = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "203.0.113.5"),
            ("x-forwarded-proto", "http"),
            ("x_forwarded_proto", "ftp"),
            ("forwarded", "for=6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
        ];
        assert_eq!(
            written(&behind, Style::XForwarded, &lines),
            [
                "x-forwarded-for: 6.6.6.6, 203.0.113.5, 10.0.0.1",
                "x-forwarded-host: a.test:8443",
                "x-forwarded-proto: http",
                "x-real-ip: 203.0.113.5",
            ]
        );
    }

    #[test]
    fn the_field_that_a_trusted_proxy_does_not_write_is_written_afresh() {
        let behind = told(Some(("2001:db8::5", Field::XForwardedFor)));
        let lines = [("x-forwarded-for", "2001:db8::5"), ("forwarded", "for=6.6.6.6")];
        assert_eq!(
            written(&behind, Style::Rfc7239, &lines)[0],
            "forwarded: for=\"[2001:db8::5]\", for=10.0.0.1;proto=https;host=\"a.test:8443\""
        );
        let behind = told(Some(("203.0.113.5", Field::Forwarded)));
        let lines = [
            ("forwarded", "for=203.0.113.5;proto=http"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-proto", "ftp"),
        ];
        assert_eq!(
            written(&behind, Style::Both, &lines),
            [
                "forwarded: for=203.0.113.5;proto=http, for=10.0.0.1;proto=https;host=\"a.test:8443\"",
                "x-forwarded-for: 203.0.113.5, 10.0.0.1",
                "x-forwarded-host: a.test:8443",
                "x-forwarded-proto: https",
            ]
        );
    }

    #[test]
    fn a_trusted_proxy_that_said_the_protocol_twice_is_not_believed() {
        let behind = told(Some(("203.0.113.5", Field::XForwardedFor)));
        let lines = [("x-forwarded-proto", "http"), ("x-forwarded-proto", "https")];
        let lines = written(&behind, Style::XForwarded, &lines);
        assert!(lines.contains(&"x-forwarded-proto: https".to_owned()), "{lines:?}");
    }
}
