//! The content of a request, whatever carried it; and a convenient body for responses.
//!
//! [`Body`] is `Send`, may be moved to another thread and polled there. It pulls: what nobody reads stays with the
//! client, held back by flow control.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;

use crate::BoxError;

/// The content of a message: chunks as they come, then perhaps trailers.
pub struct Body(Kind);

enum Kind {
    Empty,
    Full(Bytes),
    Incoming(Incoming),
    Boxed(UnsyncBoxBody<Bytes, BoxError>),
}

/// Why a body ended before its end. Never follows a clean end; a body never ends cleanly instead of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client gave the stream up, with this HTTP/3 code.
    #[error("the client reset the stream with code {code:#x}")]
    Reset {
        /// Application error code (RFC 9114 §8.1).
        code: u64,
    },
    /// The connection ended.
    #[error("the connection ended in the middle of the body")]
    ConnectionLost,
    /// The client broke a rule of HTTP in this message.
    #[error("the client sent a malformed message")]
    Malformed,
    /// Nothing came for longer than the body idle time-out.
    #[error("the client sent nothing for too long")]
    TimedOut,
    /// The HTTP/1.1 or HTTP/2 layer failed.
    #[error("the HTTP layer failed")]
    Http(#[source] hyper::Error),
    /// A body that the application made failed.
    #[error("the wrapped body failed")]
    Other(#[source] BoxError),
}

impl Body {
    /// No content.
    pub const fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// All content at once.
    pub fn full(data: impl Into<Bytes>) -> Self {
        Self(Kind::Full(data.into()))
    }

    /// Any other body.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Kind::Boxed(body.map_err(Into::into).boxed_unsync()))
    }

    pub(crate) fn incoming(body: Incoming) -> Self {
        Self(Kind::Incoming(body))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(data) => {
                let data = std::mem::take(data);
                self.0 = Kind::Empty;
                Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))))
            }
            Kind::Incoming(body) => Pin::new(body).poll_frame(cx).map_err(Error::Http),
            Kind::Boxed(body) => Pin::new(body).poll_frame(cx).map_err(Error::Other),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(data) => data.is_empty(),
            Kind::Incoming(body) => body.is_end_stream(),
            Kind::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(data) => SizeHint::with_exact(data.len() as u64),
            Kind::Incoming(body) => body.size_hint(),
            Kind::Boxed(body) => body.size_hint(),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for Body {
    fn from(data: Bytes) -> Self {
        Self::full(data)
    }
}

impl From<Vec<u8>> for Body {
    fn from(data: Vec<u8>) -> Self {
        Self::full(data)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::full(text)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::full(text)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Empty => "Body::Empty",
            Kind::Full(_) => "Body::Full",
            Kind::Incoming(_) => "Body::Incoming",
            Kind::Boxed(_) => "Body::Boxed",
        })
    }
}
