//! Asks another server whether a request may pass: 2xx lets it, and any other answer is the client's.
//!
//! The question is a GET with the fields of the request and, as `X-Forwarded-Method`, `-Uri`, `-Proto`, `-Host` and
//! `-For`, what was asked for and by whom. When there is no answer nobody passes.

use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body_util::{BodyExt, Limited};
use sterna_net::BoxError;
use tokio::time::timeout;

use super::{Middleware, Step, Verdict};
use crate::body::Body;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::forwarded::{Forwarded, Style, remove_like};
use crate::shared::{Build, OutgoingClient};
use crate::{Request, Response};

/// Configuration of `forward_auth`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whom to ask.
    pub url: Uri,
    /// How long the answer may take.
    pub timeout: Duration,
    /// Which fields of the request go with the question; `None` is all.
    pub fields: Option<Vec<HeaderName>>,
    /// Fields of the answer that the request gets; a client's own of these names are taken out.
    pub copy: Vec<HeaderName>,
}

impl Config {
    pub(crate) fn build(&self, build: Build<'_>) -> ForwardAuth {
        ForwardAuth { config: self.clone(), client: build.shared.client().clone() }
    }
}

/// Asks.
#[derive(Debug)]
pub(crate) struct ForwardAuth {
    config: Config,
    client: OutgoingClient,
}

impl Middleware for ForwardAuth {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        for field in &self.config.copy {
            remove_like(request.headers_mut(), field);
        }
        if exchange.is_preflight() {
            return Step::pass();
        }
        let question = self.question(exchange, request);
        Step::Later(Box::pin(async move {
            match timeout(self.config.timeout, self.ask(question)).await {
                Ok(Ok(Answer::Yes(answer))) => {
                    for field in &self.config.copy {
                        for value in answer.get_all(field) {
                            request.headers_mut().append(field, value.clone());
                        }
                    }
                    Verdict::Continue(())
                }
                Ok(Ok(Answer::No(response))) => Verdict::Break(Ok(response)),
                Ok(Err(error)) => Verdict::Break(Err(Error::AuthFailed(error))),
                Err(_) => Verdict::Break(Err(Error::AuthTooLate)),
            }
        }))
    }
}

enum Answer {
    /// With its fields.
    Yes(HeaderMap),
    No(Response),
}

impl ForwardAuth {
    fn question(&self, exchange: &Exchange, request: &Request) -> http::Request<sterna_net::Body> {
        let mut headers = request.headers().clone();
        remove_hop_by_hop(&mut headers);
        for name in [CONTENT_LENGTH, EXPECT, HOST] {
            headers.remove(name);
        }
        if let Some(fields) = &self.config.fields {
            let is_else = |name: &&HeaderName| !fields.contains(name);
            let others: Vec<HeaderName> = headers.keys().filter(is_else).cloned().collect();
            for name in others {
                headers.remove(name);
            }
        }
        Forwarded::of(exchange, request).write(Style::XForwarded, &mut headers);
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        for (name, value) in [(METHOD, request.method().as_str()), (URI, target)] {
            match HeaderValue::from_str(value) {
                Ok(value) => drop(headers.insert(name, value)),
                Err(_) => drop(headers.remove(name)),
            }
        }
        let mut question = http::Request::new(sterna_net::Body::empty());
        *question.method_mut() = Method::GET;
        *question.uri_mut() = self.config.url.clone();
        *question.headers_mut() = headers;
        question
    }

    async fn ask(&self, question: http::Request<sterna_net::Body>) -> Result<Answer, BoxError> {
        let (mut head, body) = self.client.get()?.send(question).await?.into_parts();
        if head.status.is_success() {
            return Ok(Answer::Yes(head.headers));
        }
        let content = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
        remove_hop_by_hop(&mut head.headers);
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
        let mut response = Response::new(Body::full(content));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Ok(Answer::No(response))
    }
}

/// Takes out what is of one connection (RFC 9110 §7.6.1).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    let known = [
        CONNECTION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("proxy-authorization"),
        HeaderName::from_static("proxy-authenticate"),
    ];
    for name in named.into_iter().chain(known) {
        headers.remove(name);
    }
}

const METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Of an answer that is the client's, in bytes.
const MAX_ANSWER: usize = 1 << 20;

#[cfg(test)]
mod tests;
