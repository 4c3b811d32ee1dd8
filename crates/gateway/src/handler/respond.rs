//! One fixed answer.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::Handler;
use crate::body::Body;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::{Request, Response};

/// Configuration of `respond`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The status; must allow content when there is some.
    pub status: StatusCode,
    /// The media type of the content.
    pub content_type: HeaderValue,
    /// The content.
    pub content: Bytes,
}

impl Config {
    /// 200 with text.
    pub fn text(text: &'static str) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: HeaderValue::from_static("text/plain; charset=utf-8"),
            content: Bytes::from_static(text.as_bytes()),
        }
    }

    pub(crate) fn build(&self) -> Respond {
        Respond { config: self.clone() }
    }
}

/// Gives every request the same answer.
#[derive(Debug)]
pub(crate) struct Respond {
    config: Config,
}

impl Handler for Respond {
    async fn handle(&self, _: &mut Exchange, _: &mut Request) -> Result<Response, Error> {
        let Config { status, content_type, content } = &self.config;
        let mut response = Response::new(Body::full(content.clone()));
        *response.status_mut() = *status;
        response.headers_mut().insert(CONTENT_TYPE, content_type.clone());
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
        Ok(response)
    }
}
