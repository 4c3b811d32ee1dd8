//! Content that is read by one and copied for another.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Counters, count};

/// The content for its reader, and the copy of what they read. The copy may be `buffer` bytes behind, and is given up
/// beyond that.
pub(super) fn tee(
    content: sterna_net::Body,
    buffer: usize,
    counters: Arc<Counters>,
) -> (Original, Copy) {
    // What waits is counted in bytes, and an empty frame as one of them: that is the bound.
    let (to, from) = unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let hint = http_body::Body::size_hint(&content);
    let copy = Copy { from, waiting: Arc::clone(&waiting), hint, has_ended: false };
    (Original { content, to: Some(to), waiting, buffer, counters }, copy)
}

/// The content for its reader.
pub(super) struct Original {
    content: sterna_net::Body,
    /// To the copy, while there is one.
    to: Option<UnboundedSender<Part>>,
    waiting: Arc<AtomicUsize>,
    buffer: usize,
    counters: Arc<Counters>,
}

/// A copy of what was read.
enum Part {
    Data(Bytes),
    Trailers(http::HeaderMap),
    End,
}

impl Original {
    fn copy(&mut self, part: Part) {
        let Some(to) = &self.to else { return };
        let weight = part.weight();
        if self.waiting.fetch_add(weight, Ordering::Relaxed) + weight > self.buffer {
            count(&self.counters.lagged);
            self.to = None;
            return;
        }
        if to.send(part).is_err() {
            self.to = None;
        }
    }
}

impl Part {
    fn weight(&self) -> usize {
        match self {
            Self::Data(data) => data.len().max(1),
            Self::Trailers(_) | Self::End => 1,
        }
    }
}

impl http_body::Body for Original {
    type Data = Bytes;
    type Error = sterna_net::body::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.content).poll_frame(context));
        match &frame {
            None => self.copy(Part::End),
            Some(Err(_)) => self.to = None,
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.copy(Part::Data(data.clone()));
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.copy(Part::Trailers(trailers.clone()));
                }
                // Nobody asks again for what has been said to be the last.
                if self.content.is_end_stream() {
                    self.copy(Part::End);
                    self.to = None;
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

/// The copy. It ends as the original did, and breaks off where that was given up.
pub(super) struct Copy {
    from: UnboundedReceiver<Part>,
    waiting: Arc<AtomicUsize>,
    hint: SizeHint,
    has_ended: bool,
}

/// The content of the request was not read to its end, or the copy did not keep up.
#[derive(Debug, thiserror::Error)]
#[error("the copy of the request was given up")]
pub(super) struct GivenUp;

impl http_body::Body for Copy {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let part = ready!(self.from.poll_recv(context));
        let weight = part.as_ref().map_or(0, Part::weight);
        self.waiting.fetch_sub(weight, Ordering::Relaxed);
        Poll::Ready(match part {
            Some(Part::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Part::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Some(Part::End) => {
                self.has_ended = true;
                None
            }
            None => {
                self.has_ended = true;
                Some(Err(GivenUp))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    fn size_hint(&self) -> SizeHint {
        if self.has_ended { SizeHint::with_exact(0) } else { self.hint }
    }
}
