//! The content of a request, whatever carried it; and a convenient body for responses.
//!
//! [`Body`] is `Send`, may be moved to another thread and polled there. It pulls: what nobody reads stays with the
//! client, held back by flow control.

mod upload;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

pub(crate) use upload::{Budget, Upload};

use crate::{BoxError, counters::WorkerCounters};

/// The content of a message: chunks as they come, then perhaps trailers.
pub struct Body {
    kind: Kind,
    /// Bytes that may still come.
    limit: Option<u64>,
}

enum Kind {
    Empty,
    Full(Bytes),
    Incoming { body: Incoming, idle: Idle },
    Upload(Arc<Upload>),
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
    /// The server gave the request up: its response failed or was late.
    #[error("the request was given up because its response failed")]
    GivenUp,
    /// The client broke a rule of HTTP in this message.
    #[error("the client sent a malformed message")]
    Malformed,
    /// Nothing came for longer than the body idle time-out.
    #[error("the client sent nothing for too long")]
    TimedOut,
    /// The body is larger than the server's limit.
    #[error("the body is larger than the server accepts")]
    TooLarge,
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
        Self::of(Kind::Empty)
    }

    /// All content at once.
    pub fn full(data: impl Into<Bytes>) -> Self {
        Self::of(Kind::Full(data.into()))
    }

    /// Any other body.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self::of(Kind::Boxed(body.map_err(Into::into).boxed_unsync()))
    }

    /// A request body of hyper, which must not pause for longer than `pause` while somebody waits for it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn incoming(
        body: Incoming,
        pause: Duration,
        counters: &Arc<WorkerCounters>,
    ) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        let (timer, counters) = (Box::pin(tokio::time::sleep(pause)), counters.clone());
        Self::of(Kind::Incoming { body, idle: Idle { timer, pause, running: false, counters } })
    }

    /// A request body of an HTTP/3 stream.
    pub(crate) fn upload(upload: Arc<Upload>) -> Self {
        Self::of(Kind::Upload(upload))
    }

    /// Fails with [`Error::TooLarge`] when more than `bytes` come; a smaller limit that it has already stays.
    pub fn limit(&mut self, bytes: u64) {
        self.limit = Some(self.limit.map_or(bytes, |limit| limit.min(bytes)));
    }

    const fn of(kind: Kind) -> Self {
        Self { kind, limit: None }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(data) => {
                let data = std::mem::take(data);
                self.kind = Kind::Empty;
                Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))))
            }
            Kind::Incoming { body, idle } => match Pin::new(body).poll_frame(cx) {
                Poll::Pending => idle.poll(cx).map(|()| Some(Err(Error::TimedOut))),
                Poll::Ready(frame) => {
                    idle.running = false;
                    Poll::Ready(frame.map(|frame| frame.map_err(Error::Http)))
                }
            },
            Kind::Upload(upload) => upload.poll_frame(cx),
            Kind::Boxed(body) => Pin::new(body).poll_frame(cx).map_err(Error::Other),
        };
        if let Some(limit) = &mut self.limit
            && let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            match limit.checked_sub(data.len() as u64) {
                Some(left) => *limit = left,
                None => return Poll::Ready(Some(Err(Error::TooLarge))),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(data) => data.is_empty(),
            Kind::Incoming { body, .. } => body.is_end_stream(),
            Kind::Upload(upload) => upload.is_end_stream(),
            Kind::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(data) => SizeHint::with_exact(data.len() as u64),
            Kind::Incoming { body, .. } => body.size_hint(),
            Kind::Upload(upload) => upload.size_hint(),
            Kind::Boxed(body) => body.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Kind::Upload(upload) = &self.kind {
            upload.abandon();
        }
    }
}

/// The clock of a body over TCP: it runs while somebody waits.
struct Idle {
    timer: Pin<Box<Sleep>>,
    pause: Duration,
    running: bool,
    counters: Arc<WorkerCounters>,
}

impl Idle {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.running {
            self.running = true;
            self.timer.as_mut().reset(Instant::now() + self.pause);
        }
        ready!(self.timer.as_mut().poll(cx));
        self.counters.timeouts.increment();
        Poll::Ready(())
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
        f.write_str(match self.kind {
            Kind::Empty => "Body::Empty",
            Kind::Full(_) => "Body::Full",
            Kind::Incoming { .. } => "Body::Incoming",
            Kind::Upload(_) => "Body::Upload",
            Kind::Boxed(_) => "Body::Boxed",
        })
    }
}
