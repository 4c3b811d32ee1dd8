//! What can go wrong with a request here, and the response that says so.
//!
//! A handler returns an [`Error`]; the gateway turns it into a response. Its [`page()`] tells the client
//! what it may know; the cause, where there is one, goes to the log.

use std::io;
use std::time::Duration;

use http::header::{ALLOW, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use sterna_net::BoxError;

use crate::Response;
use crate::handler::files::ReadError;
use crate::middleware::rate_limit;

mod page;
mod proxy;

pub(crate) use self::page::page;
pub use self::proxy::ProxyError;

/// Why a handler gives no answer of its own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request target cannot be read: 400.
    #[error("the path of the request is malformed")]
    Malformed,
    /// Nothing is served under this name: 404.
    #[error("nothing is served under this name")]
    NotFound,
    /// Something is there, and this process may not read it: 403.
    #[error("the permissions of the file forbid it")]
    Forbidden,
    /// The resource does not do this: 405.
    #[error("the method is not one of {allow}")]
    MethodNotAllowed {
        /// What it does, as `Allow` says it.
        allow: &'static str,
    },
    /// The content of the request is larger than is allowed: 413.
    #[error("the content of the request is larger than is allowed")]
    TooLarge,
    /// The client sent nothing of its request for too long: 408.
    #[error("the client sent nothing for too long")]
    TooSlow,
    /// Something that this server does not do: 501.
    #[error("this server does not do that")]
    NotImplemented,
    /// It could not be passed on, or its response not be had: the status of the proxy error type.
    #[error(transparent)]
    Unpassed(Box<Unpassed>),
    /// The client is not one of those who may come in: 403.
    #[error("the client is not one of those who may come in")]
    Denied,
    /// Without credentials, or with wrong ones: 401.
    #[error("the client has not said who it is, or not rightly")]
    Unauthorized {
        /// What it has to say, as `WWW-Authenticate` says it.
        challenge: HeaderValue,
    },
    /// The field of the credentials is malformed: 400.
    #[error("the credentials of the client are malformed")]
    BadCredentials {
        /// What it has to say, as `WWW-Authenticate` says it.
        challenge: HeaderValue,
    },
    /// The connection's client is not one that the site lets in by its certificate: 421, for another connection may be.
    #[error("this connection was opened without a client certificate that the site asks for")]
    Misdirected,
    /// It came in early data and has to wait, and too many wait already: 425.
    #[error("the request came before its handshake was complete, and too many wait for theirs")]
    TooEarly,
    /// The client asks more often than it may: 429.
    #[error("the client asks more often than it may")]
    TooOften {
        /// After which it may again.
        retry_after: Duration,
    },
    /// More requests are in work than may be at once: 503.
    #[error("more requests are in work than may be at once")]
    Overloaded {
        /// After which another attempt is worth it.
        retry_after: Duration,
    },
    /// There are no keys to judge tokens by: 503.
    #[error("there are no keys to judge tokens by")]
    KeysUnavailable(#[source] BoxError),
    /// Whoever decides who may pass gives no answer: 502.
    #[error("the server that decides who may pass gives no answer")]
    AuthFailed(#[source] BoxError),
    /// Whoever decides who may pass takes too long: 504.
    #[error("the server that decides who may pass takes too long")]
    AuthTooLate,
    /// The process is out of file descriptors or memory: 503.
    #[error("out of file descriptors or memory")]
    Exhausted(#[source] io::Error),
    /// The operating system failed: 500.
    #[error("the operating system failed")]
    Io(#[source] io::Error),
    /// The content of a file could not be read before anything was sent: 500.
    #[error("the content of a file cannot be read")]
    Content(#[source] ReadError),
}

impl Error {
    /// The status that the client gets.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Unpassed(unpassed) => unpassed.why.status(),
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::BadCredentials { .. } => StatusCode::BAD_REQUEST,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::TooEarly => StatusCode::TOO_EARLY,
            Self::TooOften { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::AuthFailed(_) => StatusCode::BAD_GATEWAY,
            Self::AuthTooLate => StatusCode::GATEWAY_TIMEOUT,
            Self::Overloaded { .. } | Self::KeysUnavailable(_) | Self::Exhausted(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Io(_) | Self::Content(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether it is ours or the machine's to mend, and so to be logged.
    fn is_ours(&self) -> bool {
        // Limits do what they are for; their counters tell how often.
        self.status().is_server_error() && !matches!(self, Self::Overloaded { .. })
    }

    /// The answer that tells the client, in the form that the fields of its request ask for.
    pub(crate) fn into_response(self, asked: &HeaderMap) -> Response {
        if self.is_ours() {
            tracing::warn!(error = &self as &dyn std::error::Error, "a request failed");
        }
        let mut response = page(self.status(), asked);
        let field = match &self {
            // req: 9110-15.5.6-allow
            Self::MethodNotAllowed { allow } => Some((ALLOW, HeaderValue::from_static(allow))),
            Self::Unpassed(unpassed) => {
                unpassed.proxy_status().map(|status| (PROXY_STATUS, status))
            }
            Self::Unauthorized { challenge } | Self::BadCredentials { challenge } => {
                Some((WWW_AUTHENTICATE, challenge.clone()))
            }
            Self::TooOften { retry_after } | Self::Overloaded { retry_after } => {
                let seconds = rate_limit::seconds(*retry_after);
                Some((RETRY_AFTER, HeaderValue::from(seconds)))
            }
            _ => None,
        };
        response.headers_mut().extend(field);
        response
    }
}

/// A request that could not be passed on.
#[derive(Debug, thiserror::Error)]
#[error("a request could not be passed on: {why}")]
pub struct Unpassed {
    /// The type of the error.
    pub why: ProxyError,
    /// Who says so.
    pub(crate) name: std::sync::Arc<str>,
    #[source]
    pub(crate) cause: Option<crate::handler::proxy::Cause>,
}

impl Unpassed {
    /// The field of RFC 9209 §2.
    fn proxy_status(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("{}; error={}", self.name, self.why.token())).ok()
    }
}

const PROXY_STATUS: http::HeaderName = http::HeaderName::from_static("proxy-status");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_has_the_status_and_the_allowed_methods() {
        let error = Error::MethodNotAllowed { allow: "GET, HEAD" };
        let response = error.into_response(&HeaderMap::new());
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
    }
}
