//! Request heads (RFC 9114 §4.3.1, §4.4; RFC 9220): reading and checking, and what we send.

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method};
use sterna_qpack::{Field, FieldRef};

use super::fields::{self, Fields};
use super::name::{Name, Pseudo};
use super::section::{Kind, SectionReader};
use super::{Length, Protocol, RequestHead};
use crate::{ApiMisuse, PeerMisbehaved, Priority};

/// The pseudo-header fields of a request head.
#[derive(Debug, Default)]
pub(crate) struct RequestLines {
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    protocol: Option<Protocol>,
}

impl Kind for RequestLines {
    fn line(
        &mut self,
        name: Name,
        field: Field,
        fields: &mut Fields,
    ) -> Result<(), PeerMisbehaved> {
        match name {
            // req: 9114-4.3-pseudo-first
            Name::Pseudo(_) if fields.has_any() => Err(PeerMisbehaved::PseudoAfterField),
            Name::Pseudo(pseudo) => self.pseudo(pseudo, field.value),
            Name::Regular(name) => fields.push(name, field),
        }
    }
}

impl SectionReader<RequestLines> {
    /// The head and the content that it demands, or the first rule that was broken.
    ///
    /// `allows_protocol`: whether we announced SETTINGS_ENABLE_CONNECT_PROTOCOL.
    pub(crate) fn finish(
        self,
        allows_protocol: bool,
        last: &mut LastAuthority,
    ) -> Result<(RequestHead, Length), PeerMisbehaved> {
        let (lines, fields) = self.into_parts()?;
        let (headers, content_length) = fields.finish();
        // req: 9114-4.3.1-method
        let method = lines.method.ok_or(PeerMisbehaved::MissingMethod)?;
        let protocol = lines.protocol;
        let is_connect = method == Method::CONNECT;
        if protocol.is_some() {
            // req: 9220-3-only-connect
            if !is_connect {
                return Err(PeerMisbehaved::ProtocolWithoutConnect);
            }
            // req: 9220-3-only-if-enabled
            if !allows_protocol {
                return Err(PeerMisbehaved::ProtocolNotEnabled);
            }
        }
        let (scheme, authority, path) = if is_connect && protocol.is_none() {
            let authority =
                connect_target(lines.scheme.as_ref(), lines.path.as_ref(), lines.authority)?;
            check_host(&headers, &authority)?;
            (None, Some(authority), None)
        } else {
            // req: 9220-3-target
            let (scheme, path) = target(&method, lines.scheme, lines.path)?;
            (Some(scheme), Some(authority(lines.authority, &headers, last)?), Some(path))
        };
        let length = if is_connect { Length::Any } else { Length::declared(content_length) };
        let priority = priority(&headers);
        Ok((RequestHead { method, scheme, authority, path, protocol, headers, priority }, length))
    }
}

impl RequestLines {
    fn pseudo(&mut self, pseudo: Pseudo, value: Bytes) -> Result<(), PeerMisbehaved> {
        match pseudo {
            Pseudo::Method => set(&mut self.method, method(&value)?),
            Pseudo::Scheme => set(&mut self.scheme, scheme(&value)?),
            Pseudo::Authority => set(&mut self.authority, value),
            Pseudo::Path => set(&mut self.path, value),
            Pseudo::Protocol => set(&mut self.protocol, protocol(value)?),
            // req: 9114-4.3-response-pseudo-in-request
            Pseudo::Status => Err(PeerMisbehaved::StatusInRequest),
        }
    }
}

fn set<T>(place: &mut Option<T>, value: T) -> Result<(), PeerMisbehaved> {
    // req: 9114-4.3.1-exactly-one
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(PeerMisbehaved::PseudoTwice),
    }
}

fn method(value: &[u8]) -> Result<Method, PeerMisbehaved> {
    Method::from_bytes(value).map_err(|_| PeerMisbehaved::InvalidMethod)
}

fn scheme(value: &[u8]) -> Result<Scheme, PeerMisbehaved> {
    // `http` also takes a scheme that begins with a digit (RFC 3986 §3.1).
    if !value.first().is_some_and(u8::is_ascii_alphabetic) {
        return Err(PeerMisbehaved::InvalidScheme);
    }
    Scheme::try_from(value).map_err(|_| PeerMisbehaved::InvalidScheme)
}

fn protocol(value: Bytes) -> Result<Protocol, PeerMisbehaved> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    // An upgrade token may carry a version: `name/version` (RFC 9110 §7.8).
    if value.is_empty() || !value.iter().all(|byte| is_token(byte) || *byte == b'/') {
        return Err(PeerMisbehaved::InvalidProtocol);
    }
    Ok(Protocol(value))
}

/// `:scheme` and `:path` of a request that is not a plain CONNECT.
fn target(
    method: &Method,
    scheme: Option<Scheme>,
    path: Option<Bytes>,
) -> Result<(Scheme, PathAndQuery), PeerMisbehaved> {
    // req: 9114-4.3.1-scheme
    let scheme = scheme.ok_or(PeerMisbehaved::MissingScheme)?;
    // req: 9114-4.3.1-path
    let path = path.ok_or(PeerMisbehaved::MissingPath)?;
    match path.as_ref() {
        // req: 9114-4.3.1-path-not-empty
        [] => return Err(PeerMisbehaved::EmptyPath),
        [b'/', ..] => {}
        b"*" if method == Method::OPTIONS => {}
        // req: 9114-4.3.1-path-absolute
        _ => return Err(PeerMisbehaved::RelativePath),
    }
    if path.contains(&b'#') {
        return Err(PeerMisbehaved::PathFragment);
    }
    // Only visible ASCII: what else there is has to be percent-encoded, and would mean something else to the next hop.
    if !path.iter().all(u8::is_ascii_graphic) {
        return Err(PeerMisbehaved::InvalidPath);
    }
    let path = PathAndQuery::from_maybe_shared(path).map_err(|_| PeerMisbehaved::InvalidPath)?;
    Ok((scheme, path))
}

/// The authority of the request before, which is nearly always that of the next: to compare costs less than to check.
#[derive(Debug, Default)]
pub(crate) struct LastAuthority(Option<Authority>);

impl LastAuthority {
    fn parse(&mut self, value: &[u8]) -> Result<Authority, PeerMisbehaved> {
        if let Some(last) = &self.0
            && last.as_str().as_bytes() == value
        {
            return Ok(last.clone());
        }
        // A copy: a slice would keep all that it came with.
        let authority = parse_authority(Bytes::copy_from_slice(value))?;
        self.0 = Some(authority.clone());
        Ok(authority)
    }
}

/// `:authority`, or else `host`.
fn authority(
    pseudo: Option<Bytes>,
    headers: &HeaderMap,
    last: &mut LastAuthority,
) -> Result<Authority, PeerMisbehaved> {
    match (pseudo, headers.get(HOST)) {
        (Some(value), _) => {
            let authority = last.parse(&value)?;
            check_host(headers, &authority)?;
            Ok(authority)
        }
        (None, Some(host)) => last.parse(host.as_bytes()),
        // req: 9114-4.3.1-authority-or-host
        (None, None) => Err(PeerMisbehaved::MissingAuthority),
    }
}

/// `host`, if there is one, says the same as `:authority`.
fn check_host(headers: &HeaderMap, authority: &Authority) -> Result<(), PeerMisbehaved> {
    // req: 9114-4.3.1-host-matches
    match headers.get(HOST) {
        Some(host) if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
            Err(PeerMisbehaved::HostMismatch)
        }
        _ => Ok(()),
    }
}

fn connect_target(
    scheme: Option<&Scheme>,
    path: Option<&Bytes>,
    authority: Option<Bytes>,
) -> Result<Authority, PeerMisbehaved> {
    // req: 9114-4.4-connect
    if scheme.is_some() {
        return Err(PeerMisbehaved::ConnectWithScheme);
    }
    if path.is_some() {
        return Err(PeerMisbehaved::ConnectWithPath);
    }
    let authority = parse_authority(authority.ok_or(PeerMisbehaved::ConnectWithoutAuthority)?)?;
    // There is no scheme that could have a default port.
    if authority.port_u16().is_none() {
        return Err(PeerMisbehaved::ConnectWithoutPort);
    }
    Ok(authority)
}

fn parse_authority(value: Bytes) -> Result<Authority, PeerMisbehaved> {
    // req: 9114-4.3.1-authority-not-empty
    if value.is_empty() {
        return Err(PeerMisbehaved::EmptyAuthority);
    }
    // req: 9114-4.3.1-no-userinfo
    if value.contains(&b'@') {
        return Err(PeerMisbehaved::AuthorityUserinfo);
    }
    let authority =
        Authority::from_maybe_shared(value).map_err(|_| PeerMisbehaved::InvalidAuthority)?;
    // The parser takes any characters between the last colon and the end for a port.
    let host = authority.host();
    let port = authority.as_str().get(host.len()..).unwrap_or_default();
    let is_port_valid = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => digits.is_empty() || authority.port_u16().is_some(),
    };
    if host.is_empty() || !is_port_valid {
        return Err(PeerMisbehaved::InvalidAuthority);
    }
    Ok(authority)
}

fn priority(headers: &HeaderMap) -> Priority {
    let mut values = headers.get_all("priority").iter();
    match (values.next(), values.next()) {
        (None, _) => Priority::default(),
        (Some(value), None) => Priority::parse(value.as_bytes()),
        // Several lines are one list (RFC 9110 §5.3).
        _ => {
            let lines: Vec<_> =
                headers.get_all("priority").iter().map(HeaderValue::as_bytes).collect();
            Priority::parse(&lines.join(&b", "[..]))
        }
    }
}

/// Whether a request that we send is whole.
///
/// # Errors
/// [`ApiMisuse::MalformedHead`] when method, scheme, authority, path and protocol do not fit one another.
pub(crate) fn check_to_send(head: &RequestHead) -> Result<(), ApiMisuse> {
    let is_plain_connect = head.method == Method::CONNECT && head.protocol.is_none();
    let is_whole = head.scheme.is_some() && head.path.is_some();
    let is_bare = head.scheme.is_none() && head.path.is_none();
    let has_authority = head.authority.is_some() || head.headers.contains_key(HOST);
    let fits = if is_plain_connect { is_bare && head.authority.is_some() } else { is_whole };
    if !fits || !has_authority || (head.protocol.is_some() && head.method != Method::CONNECT) {
        return Err(ApiMisuse::MalformedHead);
    }
    Ok(())
}

/// The field lines of a request that we send.
pub(crate) fn to_send(head: &RequestHead) -> impl Iterator<Item = FieldRef<'_>> {
    let pseudos = [
        line(":method", Some(head.method.as_str().as_bytes())),
        line(":scheme", head.scheme.as_ref().map(|scheme| scheme.as_str().as_bytes())),
        line(":authority", head.authority.as_ref().map(|name| name.as_str().as_bytes())),
        line(":path", head.path.as_ref().map(|path| path.as_str().as_bytes())),
        line(":protocol", head.protocol.as_ref().map(|protocol| protocol.0.as_ref())),
    ];
    pseudos.into_iter().flatten().chain(fields::to_send(&head.headers))
}

fn line<'a>(name: &'static str, value: Option<&'a [u8]>) -> Option<FieldRef<'a>> {
    value.map(|value| FieldRef { name: name.as_bytes(), value, sensitive: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authority_of_the_request_before_is_taken_for_the_same_alone() {
        let mut last = LastAuthority::default();
        let first = last.parse(b"a.example").unwrap();
        let again = last.parse(b"a.example").unwrap();
        assert_eq!(again.as_str().as_ptr(), first.as_str().as_ptr(), "it was read again");
        assert_eq!(last.parse(b"A.example").unwrap().as_str(), "A.example");
        assert_eq!(last.parse(b"a.example:443").unwrap().as_str(), "a.example:443");
        assert_eq!(last.parse(b"me@a.example"), Err(PeerMisbehaved::AuthorityUserinfo));
        assert_eq!(last.parse(b"a.example:443").unwrap().port_u16(), Some(443));
    }
}
