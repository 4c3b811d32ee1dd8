//! Skeleton. Validation with one variant for each rule.
use crate::Priority;
use http::{HeaderMap, Method, StatusCode};
use bytes::Bytes;

/// `:protocol` of an extended CONNECT (RFC 8441, RFC 9220).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol(pub Bytes);

/// Head of a request, valid by RFC 9114 §4.3.1.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// `:method`.
    pub method: Method,
    /// `:scheme`; `None` for plain CONNECT.
    pub scheme: Option<http::uri::Scheme>,
    /// `:authority`, or `host` when there was none. A `host` equal to it is left in `headers`.
    pub authority: Option<http::uri::Authority>,
    /// `:path`; `None` for plain CONNECT.
    pub path: Option<http::uri::PathAndQuery>,
    /// `:protocol`.
    pub protocol: Option<Protocol>,
    /// Fields, without pseudo-header fields; `cookie` crumbs joined (§4.2.1).
    pub headers: HeaderMap,
    /// The `priority` field, parsed (RFC 9218 §5); the default if absent or broken.
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
