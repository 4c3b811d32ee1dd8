//! What can go wrong with a request here, and the page that says so.
//!
//! A handler returns an [`Error`]; the gateway turns it into a response. The page tells the client
//! what it may know; the cause, where there is one, goes to the log.

use std::io;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use crate::Response;
use crate::body::Body;
use crate::handler::files::ReadError;

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
            Self::Exhausted(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Io(_) | Self::Content(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether it is ours or the machine's to mend, and so to be logged.
    fn is_ours(&self) -> bool {
        self.status().is_server_error()
    }

    /// The answer that tells the client.
    pub(crate) fn into_response(self) -> Response {
        if self.is_ours() {
            tracing::warn!(error = &self as &dyn std::error::Error, "a request failed");
        }
        let mut response = page(self.status());
        // req: 9110-15.5.6-allow
        if let Self::MethodNotAllowed { allow } = self {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

/// A small page for people that names the status.
pub(crate) fn page(status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or("Error");
    let html = PAGE.replace("{status}", status.as_str()).replace("{reason}", reason);
    let mut response = Response::new(Body::full(Bytes::from(html.into_bytes())));
    *response.status_mut() = status;
    let len = response.body().len();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    response
}

const PAGE: &str = include_str!("error/page.html");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_the_status_and_the_allowed_methods() {
        let response = Error::MethodNotAllowed { allow: "GET, HEAD" }.into_response();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
        let length = response.body().len().to_string();
        assert_eq!(response.headers()[CONTENT_LENGTH], length.as_str());
        let Some(html) = response.into_body().into_full() else { panic!("a page is in memory") };
        let html = std::str::from_utf8(&html).expect("text");
        assert!(html.contains("405") && html.contains("Method Not Allowed"), "{html}");
        assert!(!html.contains('{') || !html.contains("{status}"), "nothing is left to fill in");
    }
}
