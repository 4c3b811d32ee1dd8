//! What a message looks like on the other side: the one place where requests for backends and responses from them are made.
//!
//! A request is passed on as one message and nothing else: one host, one length that the content is held to, no field that
//! belongs to a connection, and no character that ends a line. Path and query are as they came.

use bytes::Bytes;
use http::header::{
    ALT_SVC, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, MAX_FORWARDS, TE,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method, StatusCode, Version, response};
use http_body::{Body as _, Frame};
use smallvec::SmallVec;
use sterna_net::client::Message;
use sterna_net::{Protocol, RequestContext};

use super::upload::{Fault, Upload};
use super::{Proxy, ToldHost};
use crate::error::{Error, ProxyError};
use crate::exchange::Exchange;
use crate::forwarded::{Forwarded, remove_claims};
use crate::hop::tokens;
use crate::{Body, Request, Response};

/// What is said of the way that a request came (RFC 9110 §7.6.3): the version that it came by, and our name.
#[derive(Debug)]
pub(super) struct Via([HeaderValue; 3]);

impl Via {
    /// # Panics
    /// When the name cannot stand in a field; the configuration has checked it.
    pub(super) fn new(name: &str) -> Self {
        Self(["1.1", "2", "3"].map(|version| {
            HeaderValue::try_from(format!("{version} {name}")).expect("the name was checked")
        }))
    }

    /// How often a request has come by here already, as far as its fields say so.
    fn passes(headers: &HeaderMap, name: &str) -> usize {
        let members = headers.get_all(VIA).iter().flat_map(tokens);
        let names = members.filter_map(|member| member.split(|&byte| byte == b' ').nth(1));
        names.filter(|other| *other == name.as_bytes()).count()
    }

    fn of(&self, request: &Request) -> HeaderValue {
        let Self([h1, h2, h3]) = self;
        match RequestContext::of(request).map_or(Protocol::Http1, RequestContext::protocol) {
            Protocol::Http1 => h1.clone(),
            Protocol::Http2 => h2.clone(),
            Protocol::Http3 => h3.clone(),
        }
    }
}

/// What is not passed on but answered here.
///
/// # Errors
/// Methods and protocols that no backend is asked for.
pub(super) fn answered_here(request: &mut Request) -> Result<Option<Response>, Error> {
    match *request.method() {
        // What comes back would show fields that others have added, and cookies that scripts must not see.
        Method::TRACE | Method::CONNECT => return Err(Error::MethodNotAllowed { allow: PASSED }),
        Method::OPTIONS if request.headers().contains_key(MAX_FORWARDS) => {
            return count_down(request);
        }
        _ => {}
    }
    let wanted = request.headers().get_all(UPGRADE).iter();
    if wanted.flat_map(tokens).any(|token| token.eq_ignore_ascii_case(b"websocket")) {
        return Err(Error::NotImplemented);
    }
    Ok(None)
}

/// `Max-Forwards` (RFC 9110 §7.6.2): at zero the answer is ours.
fn count_down(request: &mut Request) -> Result<Option<Response>, Error> {
    let left = request.headers().get(MAX_FORWARDS).and_then(|value| value.to_str().ok());
    match left.and_then(|left| left.trim().parse::<u32>().ok()) {
        None => Err(Error::Malformed),
        Some(0) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static(PASSED));
            Ok(Some(response))
        }
        Some(left) => {
            request.headers_mut().insert(MAX_FORWARDS, (left - 1).into());
            Ok(None)
        }
    }
}

/// The request for a backend; head and content are taken out of `request`.
///
/// # Errors
/// A target that names no path, or a host that is none.
pub(super) fn request(
    exchange: &Exchange,
    request: &mut Request,
    proxy: &Proxy,
    fault: &Fault,
) -> Result<Message, Error> {
    if Via::passes(request.headers(), &proxy.name) >= MOST_PASSES {
        return Err(proxy.refusal(ProxyError::ProxyLoopDetected, None));
    }
    let path = path_of(request)?;
    let of_client = authority_of(request)?;
    let authority = match &proxy.host {
        ToldHost::Client => of_client,
        ToldHost::Backend => None,
        ToldHost::Fixed(host) => Some(host.clone()),
    };
    let via = proxy.via.of(request);
    let hints = early_hints(request);
    let told = Forwarded::of(exchange, request);
    // req: 8470-5.1-field-not-removed
    let is_early = is_early(request) || says_early(request.headers());
    let method = request.method().clone();
    let content = std::mem::take(request.body_mut());
    let mut headers = std::mem::take(request.headers_mut());
    let takes_trailers = headers.get_all(TE).iter().flat_map(tokens).any(is_trailers);
    strip(&mut headers, |name| is_of_hop(name) || (!proxy.underscores && name.contains('_')));
    declare(&mut headers, &content, &method);
    join_cookies(&mut headers);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if is_early {
        // req: 8470-5.1-early-data-field
        headers.insert(EARLY_DATA, HeaderValue::from_static("1"));
    }
    // Here, where `Connection` cannot name these fields any more.
    told.write(proxy.forwarded, &mut headers);
    headers.append(VIA, via);
    let message = Message::new(method, authority, path, headers, Upload::new(content, fault));
    let mut message = message.map_err(|_| Error::Malformed)?;
    if let Some(context) = hints {
        message.on_interim(move |status, headers| {
            if status == StatusCode::EARLY_HINTS {
                let mut headers = headers.clone();
                strip(&mut headers, is_of_hop);
                // One too many is left out.
                context.send_early_hints(headers);
            }
        });
    }
    Ok(message)
}

/// Whether content came in a coding that is more than chunks, which are gone by now.
pub(super) fn is_coded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let first = codings.next();
    let is_plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    codings.next().is_some() || first.is_some_and(|value| !is_plain(value))
}

/// The response for the client.
pub(super) fn response(
    response: http::Response<sterna_net::Body>,
    is_head: bool,
) -> (response::Parts, sterna_net::Body) {
    let (mut head, content) = response.into_parts();
    head.version = Version::HTTP_11;
    head.extensions.clear();
    strip(&mut head.headers, |name| is_of_hop(name) || name == ALT_SVC.as_str());
    let known = content.size_hint().exact();
    if known.is_some_and(|known| says(&head.headers, known)) && head.status == StatusCode::OK {
        return (head, content);
    }
    let length = head.headers.remove(CONTENT_LENGTH);
    let length = match head.status {
        StatusCode::NO_CONTENT => None,
        // It is that of what is not sent.
        StatusCode::NOT_MODIFIED => length,
        _ if is_head => length,
        _ => known.map(HeaderValue::from),
    };
    if let Some(length) = length {
        head.headers.insert(CONTENT_LENGTH, length);
    }
    (head, content)
}

/// Whether the fields say once, and as we would write it, that the content has so many bytes.
fn says(headers: &HeaderMap, length: u64) -> bool {
    let mut fields = headers.get_all(CONTENT_LENGTH).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return false };
    let digits = field.as_bytes();
    let is_plain =
        digits == b"0" || digits.first().is_some_and(|digit| (b'1'..=b'9').contains(digit));
    is_plain && field.to_str().ok().and_then(|text| text.parse().ok()) == Some(length)
}

/// A frame without the trailers that would be taken for fields of a head (RFC 9110 §6.5.1).
pub(super) fn sane(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            let is_framing = |name: &str| {
                // req: 8470-5.1-no-trailer
                is_of_hop(name)
                    || matches!(name, "content-length" | "early-data" | "host" | "trailer")
            };
            strip(&mut trailers, is_framing);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// The same of a client, whose trailers say no more about it than its fields may.
pub(super) fn sane_of_client(frame: Frame<Bytes>) -> Frame<Bytes> {
    match sane(frame).into_trailers() {
        Ok(mut trailers) => {
            remove_claims(&mut trailers, None);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// Path and query, as they came.
fn path_of(request: &Request) -> Result<PathAndQuery, Error> {
    let path = request.uri().path_and_query().ok_or(Error::Malformed)?;
    match path.as_str() {
        "*" if request.method() == Method::OPTIONS => Ok(path.clone()),
        text if text.starts_with('/') => Ok(path.clone()),
        // A URL without a path but with a query (RFC 9112 §3.2.1).
        text if text.starts_with('?') => {
            PathAndQuery::try_from(format!("/{text}")).map_err(|_| Error::Malformed)
        }
        _ => Err(Error::Malformed),
    }
}

/// The host that the request names: that of its target, else that of its field, which are the same over HTTP/2 and HTTP/3.
fn authority_of(request: &Request) -> Result<Option<Authority>, Error> {
    let mut fields = request.headers().get_all(HOST).iter();
    let (field, another) = (fields.next(), fields.next());
    let authority = match (request.uri().authority(), field) {
        _ if another.is_some() => return Err(Error::Malformed),
        (Some(authority), _) => authority.clone(),
        (None, Some(host)) => Authority::try_from(host.as_bytes()).map_err(|_| Error::Malformed)?,
        // HTTP/1.0.
        (None, None) => return Ok(None),
    };
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(Error::Malformed);
    }
    Ok(Some(authority))
}

/// Who can be sent interim responses.
fn early_hints(request: &Request) -> Option<RequestContext> {
    RequestContext::of(request).filter(|context| context.protocol() == Protocol::Http3).cloned()
}

/// Takes out the fields that `unwanted` names, those that `Connection` names (RFC 9110 §7.6.1), and `host`.
fn strip(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let mut out: SmallVec<[HeaderName; 8]> = SmallVec::new();
    if headers.contains_key(CONNECTION) {
        let named = headers.get_all(CONNECTION).iter().flat_map(tokens);
        out.extend(named.filter_map(|name| HeaderName::from_bytes(name).ok()));
    }
    out.extend(headers.keys().filter(|name| unwanted(name.as_str())).cloned());
    for name in out {
        headers.remove(name);
    }
}

/// Whether it may be a replay, as far as we know.
pub(super) fn is_early(request: &Request) -> bool {
    RequestContext::of(request).is_some_and(RequestContext::is_early)
}

/// Whether a request was in early data somewhere before us.
pub(super) fn says_early(headers: &HeaderMap) -> bool {
    headers.contains_key(EARLY_DATA)
}

/// RFC 8470 §5.1.
pub(super) const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");

/// Fields of a connection, of the way to this server, and one that scripts take for a variable (`Proxy`).
fn is_of_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "host"
            | "http2-settings"
            | "keep-alive"
            | "proxy"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Says how long the content is, once, and no more than is known.
fn declare(headers: &mut HeaderMap, content: &sterna_net::Body, method: &Method) {
    let was_declared = headers.remove(CONTENT_LENGTH).is_some();
    let length = content.size_hint().exact();
    let is_worth_saying = was_declared || !content.is_end_stream();
    if let Some(length) = length.filter(|_| is_worth_saying)
        && (length > 0 || !matches!(*method, Method::GET | Method::HEAD))
    {
        headers.insert(CONTENT_LENGTH, length.into());
    }
}

/// One `cookie` field of several (RFC 9113 §8.2.3): HTTP/1.1 knows one alone.
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, cookie);
    }
}

fn is_trailers(token: &[u8]) -> bool {
    token.eq_ignore_ascii_case(b"trailers")
}

/// How often a request may come by here: more is a loop. Two servers of one name may well stand behind each other.
const MOST_PASSES: usize = 8;

/// What is passed on, as `Allow` says it.
const PASSED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_stays_as_it_came_only_if_it_is_said_once_as_we_would() {
        let says = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_LENGTH, HeaderValue::from_static(value));
            }
            says(&headers, 10)
        };
        assert!(says(&["10"]));
        for other in [&[][..], &["10", "10"], &["010"], &["+10"], &["10, 10"], &["9"], &[""]] {
            assert!(!says(other), "{other:?}");
        }
    }

    // req: 8470-5.1-no-trailer
    #[test]
    fn trailers_are_what_belongs_to_no_head() {
        let mut trailers = HeaderMap::new();
        for name in ["early-data", "host", "content-length", "te", "x-checksum"] {
            trailers.append(name, HeaderValue::from_static("1"));
        }
        let trailers = sane(Frame::trailers(trailers)).into_trailers().unwrap();
        assert_eq!(trailers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-checksum"]);
    }

    #[test]
    fn trailers_of_a_client_tell_a_backend_nothing_of_who_it_is() {
        let mut trailers = HeaderMap::new();
        for name in ["client-cert", "x_client_cert_subject", "x-real-ip", "forwarded", "x-checksum"]
        {
            trailers.append(name, HeaderValue::from_static("1"));
        }
        let trailers = sane_of_client(Frame::trailers(trailers)).into_trailers().unwrap();
        assert_eq!(trailers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-checksum"]);
    }
}
