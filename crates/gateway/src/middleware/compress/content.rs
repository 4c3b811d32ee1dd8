//! Content that is encoded while it is sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Frame;

use super::coder::Coder;
use crate::body::{Body, BodyError};

/// The encoded form of a body. It holds no more than a piece on either side of the coder, and brings out what it has when
/// the source has nothing ready: an event of a stream leaves at once.
pub(super) struct Compressed {
    source: Body,
    /// Of the source, not encoded yet.
    input: Bytes,
    state: State,
}

enum State {
    /// Whether the coder holds back something is the `bool`.
    Coding(Box<Coder>, bool),
    /// The encoded form has ended; these follow it.
    Trailers(HeaderMap),
    Ended,
}

impl Compressed {
    pub(super) fn new(source: Body, coder: Coder) -> Self {
        Self { source, input: Bytes::new(), state: State::Coding(Box::new(coder), false) }
    }

    /// Ends the encoded form.
    fn finish(&mut self, next: State) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match std::mem::replace(&mut self.state, next) {
            State::Coding(coder, _) => match coder.finish() {
                Ok(rest) => Poll::Ready(Some(Ok(Frame::data(Bytes::from(rest))))),
                Err(error) => self.fail(error),
            },
            State::Trailers(_) | State::Ended => Poll::Ready(None),
        }
    }

    fn fail(&mut self, error: io::Error) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.state = State::Ended;
        Poll::Ready(Some(Err(BodyError::Source(error.into()))))
    }
}

impl http_body::Body for Compressed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let mut turn = 0;
        loop {
            let (coder, holds) = match &mut this.state {
                State::Coding(coder, holds) => (coder, holds),
                State::Trailers(_) => match std::mem::replace(&mut this.state, State::Ended) {
                    State::Trailers(trailers) => {
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                    State::Coding(..) | State::Ended => return Poll::Ready(None),
                },
                State::Ended => return Poll::Ready(None),
            };
            if coder.waiting() >= PIECE {
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from(coder.take())))));
            }
            if !this.input.is_empty() {
                if turn >= TURN {
                    // Others of this worker have their turn first.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let len = this.input.len().min(PIECE);
                turn += len;
                *holds = true;
                if let Err(error) = coder.write(this.input.get(..len).unwrap_or_default()) {
                    return this.fail(error);
                }
                this.input.advance(len);
                continue;
            }
            match http_body::Body::poll_frame(Pin::new(&mut this.source), context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.input = data,
                    Err(frame) => {
                        let next = frame.into_trailers().map_or(State::Ended, State::Trailers);
                        return this.finish(next);
                    }
                },
                Poll::Ready(Some(Err(error))) => {
                    this.state = State::Ended;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => return this.finish(State::Ended),
                Poll::Pending if *holds => {
                    *holds = false;
                    if let Err(error) = coder.flush() {
                        return this.fail(error);
                    }
                    let out = coder.take();
                    if !out.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(Bytes::from(out)))));
                    }
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

/// How much goes through the coder before somebody looks at what has come out.
const PIECE: usize = 16 << 10;
/// How much is encoded without a pause: less than a millisecond of work.
const TURN: usize = 128 << 10;
