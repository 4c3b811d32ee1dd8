//! The response on its way back: its head, and its content as it comes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use sterna_net::{body, client};

use super::attempt::{Attempt, Tried};
use super::message;
use crate::Response;
use crate::body::{Body, BodyError};
use crate::error::ProxyError;
use crate::exchange::{Exchange, Proxied};

/// The response for the client.
pub(super) fn pass_on(
    exchange: &mut Exchange,
    mut attempt: Attempt,
    response: http::Response<sterna_net::Body>,
    tried: &Tried,
    is_head: bool,
) -> Response {
    let first_byte = attempt.answered(response.status());
    exchange.answered_by(|| Proxied {
        backend: Some(attempt.backend().clone()),
        attempts: tried.count() + 1,
        first_byte: Some(first_byte),
        error: None,
    });
    let (head, content) = message::response(response, is_head);
    let content = if http_body::Body::is_end_stream(&content) {
        Body::empty()
    } else {
        Body::stream(Content { content, attempt })
    };
    Response::from_parts(head, content)
}

/// Content that comes from a backend, which has the request until this is dropped.
struct Content {
    content: sterna_net::Body,
    attempt: Attempt,
}

impl http_body::Body for Content {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.content).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(message::sane(frame))),
            Some(Err(error)) => {
                self.attempt.failed();
                Some(Err(broken(error)))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

fn broken(error: body::Error) -> BodyError {
    let of_client = |error: &client::Error| ProxyError::from(error);
    let why = match &error {
        body::Error::Response(error) => of_client(error),
        _ => ProxyError::HttpResponseIncomplete,
    };
    BodyError::Upstream { why, cause: error.into() }
}
