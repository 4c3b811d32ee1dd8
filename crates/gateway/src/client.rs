//! Who the client is: the peer, or whom a trusted proxy names.
//!
//! ```text
//!  client ──▶ proxy A ──▶ proxy B ──▶ here           X-Forwarded-For: anything, client, A
//!                         the peer                   read from the right: A is trusted, client is not: it is the client
//! ```
//! What a client writes into the field itself stands left of what the proxies add, and reading ends before it. Only one
//! field is read, the one that the proxies write: a proxy passes on the other as its client sent it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};
use sterna_net::Network;

/// Which peers are believed, and in which field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The networks of the proxies. Default: none, and the peer is the client.
    pub trusted: Vec<Network>,
    /// The field that they write.
    pub field: Field,
}

/// The field in which proxies tell whom they speak for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Field {
    /// `X-Forwarded-For`: addresses in a list.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// What the way of a request says of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody that is believed said anything: the peer is the client.
    Peer,
    /// The peer is a trusted proxy, and this is who is behind it.
    Behind(IpAddr),
}

impl Config {
    /// Who is behind `peer`. What cannot be read, where reading gets to it, says nothing: then it is the peer.
    pub(crate) fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> Origin {
        if !self.trusts(peer) {
            return Origin::Peer;
        }
        let mut last = None;
        let lines: Vec<_> = headers.get_all(self.field.name()).iter().collect();
        // Lines of one name are one list (RFC 9110 §5.3), which is read from its end.
        let elements = lines.iter().rev().flat_map(|line| self.field.elements(line.as_bytes()));
        for address in elements.take(MAX_HOPS) {
            let Some(address) = address else { return Origin::Peer };
            last = Some(address);
            if !self.trusts(address) {
                break;
            }
        }
        last.map_or(Origin::Peer, Origin::Behind)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

impl Field {
    /// Its name.
    pub(crate) const fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            Self::Forwarded => FORWARDED,
        }
    }

    /// The elements of a line, the last one first; `None` for one that names no address.
    fn elements(self, line: &[u8]) -> Elements<'_> {
        Elements { field: self, rest: Some(line) }
    }
}

struct Elements<'a> {
    field: Field,
    rest: Option<&'a [u8]>,
}

impl Iterator for Elements<'_> {
    type Item = Option<IpAddr>;

    fn next(&mut self) -> Option<Option<IpAddr>> {
        let rest = self.rest.take()?;
        let (element, before) = match self.field {
            Field::XForwardedFor => split_last(rest, false),
            // Quotation marks are counted from the end too: what a client left open does not reach what a proxy added.
            Field::Forwarded => split_last(rest, true),
        };
        self.rest = before;
        let element = element.trim_ascii();
        Some(match self.field {
            Field::XForwardedFor => node(element),
            Field::Forwarded => forwarded_for(element),
        })
    }
}

/// What stands behind the last comma, and what before it. Within quotation marks a comma is none, where there are any.
fn split_last(list: &[u8], has_quotes: bool) -> (&[u8], Option<&[u8]>) {
    let mut is_quoted = false;
    for (at, byte) in list.iter().enumerate().rev() {
        match byte {
            b'"' if has_quotes => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                let (before, element) = list.split_at(at);
                return (element.get(1..).unwrap_or_default(), Some(before));
            }
            _ => {}
        }
    }
    (list, None)
}

/// The address behind `for` in an element of `Forwarded` (RFC 7239 §4), all of which must be well-formed.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    let mut names: Vec<&[u8]> = Vec::new();
    for pair in element.split(|&byte| byte == b';') {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (pair.get(..equals)?, pair.get(equals + 1..)?);
        let value = unquoted(value)?;
        // No parameter may be there twice, in whatever case.
        let is_again = names.iter().any(|other| other.eq_ignore_ascii_case(name));
        if is_again || name.is_empty() || !name.iter().copied().all(is_token) {
            return None;
        }
        names.push(name);
        if name.eq_ignore_ascii_case(b"for") {
            found = Some(node(value)?);
        }
    }
    found
}

/// A token, or what a quoted string says. A backslash, or a `;` in quotation marks, is in no address that a proxy writes,
/// and refused.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    if let Some(quoted) = value.strip_prefix(b"\"") {
        let inner = quoted.strip_suffix(b"\"")?;
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        return inner.iter().all(is_plain).then_some(inner);
    }
    (!value.is_empty() && value.iter().copied().all(is_token)).then_some(value)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The address of a node, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`, and `2001:db8::1`. An
/// obfuscated one and `unknown` are none. An IPv4 address in one of IPv6 is told as such.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port_is_well = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return Some(address.parse::<Ipv6Addr>().ok().filter(|_| port_is_well)?.to_canonical());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port) = text.split_once(':')?;
    Some(address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port))?.into())
}

/// A port, or an obfuscated one (RFC 7239 §6.3).
fn is_port(text: &str) -> bool {
    let is_number = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    let is_obfuscated = text.strip_prefix('_').is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    });
    is_number || is_obfuscated
}

/// Proxies in a row. Beyond, the last that was read is held to account.
const MAX_HOPS: usize = 32;

#[cfg(test)]
mod tests;
