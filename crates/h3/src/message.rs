//! Messages: field lines in, valid heads out (RFC 9114 §4.1 to §4.5, RFC 9110).
//!
//! A [`SectionReader`](section::SectionReader) takes the lines of one field section as QPACK decodes them; its `finish`
//! yields the head or the first rule that was broken. What a valid head may then be followed by is a [`Length`].

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, StatusCode};

use crate::Priority;

pub(crate) mod fields;
pub(crate) mod length;
mod name;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod section;

pub(crate) use length::Length;

/// `:protocol` of an extended CONNECT (RFC 8441, RFC 9220): a token such as `websocket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol(pub Bytes);

/// Head of a request, valid by RFC 9114 §4.3.1.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// `:method`.
    pub method: Method,
    /// `:scheme`; `None` for plain CONNECT.
    pub scheme: Option<Scheme>,
    /// `:authority`, or `host` when there was none. A `host` equal to it is left in `headers`.
    pub authority: Option<Authority>,
    /// `:path`; `None` for plain CONNECT.
    pub path: Option<PathAndQuery>,
    /// `:protocol`.
    pub protocol: Option<Protocol>,
    /// Fields, without pseudo-header fields; `cookie` crumbs joined (§4.2.1).
    pub headers: HeaderMap,
    /// The `priority` field, parsed (RFC 9218 §5), or a PRIORITY_UPDATE that overtook the request; the default if
    /// there was neither. When sending, the field is taken from `headers` and this is not looked at.
    pub priority: Priority,
}

/// Head of a response, valid by RFC 9114 §4.3.2.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// `:status`.
    pub status: StatusCode,
    /// Fields.
    pub headers: HeaderMap,
}

/// What kind of request an exchange began with: it decides what its response may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// CONNECT: a tunnel if the response is 2xx.
    Connect,
    /// CONNECT with `:protocol`: likewise, and it may have datagrams.
    ExtendedConnect,
    /// HEAD: the response has no content.
    Head,
    /// Any other.
    Plain,
}

impl Asked {
    /// The kind of this request.
    pub(crate) fn by(head: &RequestHead) -> Self {
        match (&head.method, &head.protocol) {
            (&Method::CONNECT, None) => Self::Connect,
            (&Method::CONNECT, Some(_)) => Self::ExtendedConnect,
            (&Method::HEAD, _) => Self::Head,
            _ => Self::Plain,
        }
    }
}
