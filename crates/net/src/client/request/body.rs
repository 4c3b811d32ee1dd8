//! The body of a request on its way: whether it can be sent again, and whether it is as long as it said.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use tokio::time::Instant;

use crate::{Body, BoxError, context::lock};

/// A request's body. A clone is the same body: a second attempt gets what the first one did not take.
#[derive(Clone)]
pub(crate) enum RequestBody {
    Empty,
    /// Can be sent again and again.
    Full(Bytes),
    Stream(Arc<Stream>),
}

/// A body that can be read once.
pub(crate) struct Stream {
    inner: Mutex<Source>,
    is_touched: AtomicBool,
}

/// A body, and how much of it was announced and has not come.
struct Source {
    body: Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError> + Send>>,
    left: Option<u64>,
    /// When the last frame was taken.
    moved: Option<Instant>,
}

impl Source {
    /// What is longer or shorter than it said is an error: the next request must not begin with the rest of this one, and
    /// the server must not wait for what never comes.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(self.body.as_mut().poll_frame(cx));
        self.moved = Some(Instant::now());
        let Some(left) = &mut self.left else { return Poll::Ready(frame) };
        let length = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Err(_)) => return Poll::Ready(frame),
            None if *left > 0 => return Poll::Ready(Some(Err(BodyLength::Shorter.into()))),
            None => 0,
        };
        match left.checked_sub(length) {
            Some(rest) => *left = rest,
            None => return Poll::Ready(Some(Err(BodyLength::Longer.into()))),
        }
        Poll::Ready(frame)
    }
}

/// A request's body is not as long as its `content-length` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyLength {
    /// It ended before.
    #[error("the body is shorter than its content-length")]
    Shorter,
    /// It goes on.
    #[error("the body is longer than its content-length")]
    Longer,
}

impl RequestBody {
    /// Looks for the types that can be sent again, boxes the rest. What is boxed has to be as long as was `declared`.
    pub(super) fn new<B>(body: B, declared: Option<u64>) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Self::Empty;
        }
        let any: &dyn Any = &body;
        let full = any.downcast_ref::<Body>().and_then(Body::as_full);
        if let Some(data) = full {
            return Self::Full(data);
        }
        if let Some(data) = any.downcast_ref::<Full<Bytes>>() {
            let mut data = data.clone();
            let polled =
                Pin::new(&mut data).poll_frame(&mut Context::from_waker(std::task::Waker::noop()));
            return match polled {
                Poll::Ready(Some(Ok(frame))) => Self::Full(frame.into_data().unwrap_or_default()),
                _ => Self::Empty,
            };
        }
        if any.is::<Empty<Bytes>>() {
            return Self::Empty;
        }
        let inner = Mutex::new(Source {
            body: Box::pin(body.map_err(Into::into)),
            left: declared,
            moved: None,
        });
        Self::Stream(Arc::new(Stream { inner, is_touched: AtomicBool::new(false) }))
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// All of it is there, and sent at once as far as anybody can say.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self, Self::Empty | Self::Full(_))
    }

    /// Nothing of it is left to be taken.
    pub(crate) fn is_whole(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Stream(stream) => {
                let source = lock(&stream.inner);
                source.left == Some(0) || source.body.is_end_stream()
            }
        }
    }

    /// When something of it was taken last.
    pub(crate) fn moved(&self) -> Option<Instant> {
        match self {
            Self::Empty | Self::Full(_) => None,
            Self::Stream(stream) => lock(&stream.inner).moved,
        }
    }

    /// A second attempt would send all of it.
    pub(crate) fn is_replayable(&self) -> bool {
        match self {
            Self::Empty | Self::Full(_) => true,
            Self::Stream(stream) => !stream.is_touched.load(Ordering::Acquire),
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(data) => {
                let data = std::mem::take(data);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Self::Stream(stream) => {
                // Its panic is this request's matter, not that of the connection which polls it.
                let polled = catch_unwind(AssertUnwindSafe(|| lock(&stream.inner).poll_frame(cx)));
                let polled = polled.unwrap_or_else(|_| {
                    tracing::error!("a request's body panicked");
                    Poll::Ready(Some(Err("the request's body panicked".into())))
                });
                if polled.is_ready() {
                    stream.is_touched.store(true, Ordering::Release);
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Stream(stream) => lock(&stream.inner).body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(data) => SizeHint::with_exact(data.len() as u64),
            Self::Stream(stream) => lock(&stream.inner).body.size_hint(),
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "RequestBody::Empty",
            Self::Full(_) => "RequestBody::Full",
            Self::Stream(_) => "RequestBody::Stream",
        })
    }
}
