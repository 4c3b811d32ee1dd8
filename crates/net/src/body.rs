//! The content of a request, whatever carried it; and a convenient body for responses.
//!
//! [`Body`] is `Send`, may be moved to another thread and polled there. It pulls: what nobody reads stays with the
//! client, held back by flow control.

mod upload;

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

pub(crate) use upload::{Budget, Upload};

use crate::{
    BoxError,
    client::{self, Download},
    counters::WorkerCounters,
    limit::{MinRate, patience::Patience},
};

/// The content of a message: chunks as they come, then perhaps trailers.
pub struct Body {
    kind: Kind,
    /// Bytes that may still come.
    limit: Option<u64>,
    /// Where the bytes that were read are counted.
    count: Option<Arc<AtomicU64>>,
}

enum Kind {
    Empty,
    Full(Bytes),
    Incoming { body: Incoming, idle: Idle },
    Upload(Arc<Upload>),
    Download(Download),
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
    /// A response of our client ended before its end.
    #[error("the response failed")]
    Response(#[source] client::Error),
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

    /// A request body of hyper, which must not pause for longer than `pause` while somebody waits for it, nor come slower
    /// than at `rate`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn incoming(
        body: Incoming,
        pause: Duration,
        rate: Option<MinRate>,
        counters: &Arc<WorkerCounters>,
    ) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        let (timer, counters) = (Box::pin(tokio::time::sleep(pause)), counters.clone());
        let patience = rate.map(Patience::new);
        let idle = Idle { timer, pause, patience, running: false, counters };
        Self::of(Kind::Incoming { body, idle })
    }

    /// A request body of an HTTP/3 stream.
    pub(crate) fn upload(upload: Arc<Upload>) -> Self {
        Self::of(Kind::Upload(upload))
    }

    /// A response's body.
    pub(crate) fn download(download: Download) -> Self {
        if download.is_end_stream() { Self::empty() } else { Self::of(Kind::Download(download)) }
    }

    /// The content, when it is in memory.
    pub(crate) fn as_full(&self) -> Option<Bytes> {
        match &self.kind {
            Kind::Empty => Some(Bytes::new()),
            Kind::Full(data) => Some(data.clone()),
            Kind::Incoming { .. } | Kind::Upload(_) | Kind::Download(_) | Kind::Boxed(_) => None,
        }
    }

    /// Fails with [`Error::TooLarge`] when more than `bytes` come; a smaller limit that it has already stays.
    pub fn limit(&mut self, bytes: u64) {
        self.limit = Some(self.limit.map_or(bytes, |limit| limit.min(bytes)));
    }

    /// What a client sends must come at this rate while somebody waits for it, in place of the server's own; `None` lets it
    /// take its time, up to the longest pause. Nothing changes for other bodies.
    pub fn min_rate(&mut self, rate: Option<MinRate>) {
        match &mut self.kind {
            Kind::Incoming { idle, .. } => idle.patience = rate.map(Patience::new),
            Kind::Upload(upload) => upload.set_rate(rate),
            Kind::Empty | Kind::Full(_) | Kind::Download(_) | Kind::Boxed(_) => {}
        }
    }

    /// Adds the bytes of what is read of it to this number.
    pub fn count_into(&mut self, count: Arc<AtomicU64>) {
        self.count = Some(count);
    }

    const fn of(kind: Kind) -> Self {
        Self { kind, limit: None, count: None }
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
                    idle.moved(frame.as_ref());
                    Poll::Ready(frame.map(|frame| frame.map_err(Error::Http)))
                }
            },
            Kind::Upload(upload) => upload.poll_frame(cx),
            Kind::Download(download) => download
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Error::Response))),
            Kind::Boxed(body) => Pin::new(body).poll_frame(cx).map_err(Error::Other),
        };
        if let Some(count) = &self.count
            && let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            count.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
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
            Kind::Download(download) => download.is_end_stream(),
            Kind::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(data) => SizeHint::with_exact(data.len() as u64),
            Kind::Incoming { body, .. } => body.size_hint(),
            Kind::Upload(upload) => upload.size_hint(),
            Kind::Download(download) => download.size_hint(),
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
    patience: Option<Patience>,
    running: bool,
    counters: Arc<WorkerCounters>,
}

impl Idle {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.running {
            self.running = true;
            let now = Instant::now();
            let patience = self.patience.as_mut().and_then(|patience| {
                patience.wait(now.into_std());
                patience.deadline()
            });
            let by = now + self.pause;
            self.timer.as_mut().reset(patience.map_or(by, |deadline| by.min(deadline.into())));
        }
        ready!(self.timer.as_mut().poll(cx));
        let patience = self.patience.and_then(|patience| patience.deadline());
        let is_slow = patience.is_some_and(|deadline| deadline <= Instant::now().into_std());
        self.counters.slow_clients.add(is_slow.into());
        self.counters.timeouts.increment();
        Poll::Ready(())
    }

    /// Nobody waits any more: this came, or the end.
    fn moved<E>(&mut self, frame: Option<&Result<Frame<Bytes>, E>>) {
        if std::mem::take(&mut self.running)
            && let Some(patience) = &mut self.patience
        {
            let data = frame.and_then(|frame| frame.as_ref().ok()?.data_ref());
            patience.moved(data.map_or(0, Bytes::len), Instant::now().into_std());
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
        f.write_str(match self.kind {
            Kind::Empty => "Body::Empty",
            Kind::Full(_) => "Body::Full",
            Kind::Incoming { .. } => "Body::Incoming",
            Kind::Upload(_) => "Body::Upload",
            Kind::Download(_) => "Body::Download",
            Kind::Boxed(_) => "Body::Boxed",
        })
    }
}
