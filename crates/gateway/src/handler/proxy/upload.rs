//! The content of a request on its way to a backend, and what its client did wrong with it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use sterna_net::body::Error;

use super::message;
use crate::error::ProxyError;

/// The content of a request.
///
/// A backend takes content of a known length for whole with its last byte, which a client may send and then reset the
/// stream. So the last piece stays here until the client has ended its message.
pub(super) struct Upload {
    content: sterna_net::Body,
    fault: Fault,
    /// How much is still to come, where that is known.
    left: Option<u64>,
    /// The last piece.
    held: Option<Bytes>,
    /// The trailers that came behind it.
    trailers: Option<Frame<Bytes>>,
}

/// What the client did wrong, which the way to a backend does not always tell: its HTTP/2 says that a stream was reset.
#[derive(Clone, Debug, Default)]
pub(super) struct Fault(Option<Arc<AtomicU8>>);

/// What a client can do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It sent more than it may.
    TooLarge = 1,
    /// It sent nothing for too long.
    TooSlow = 2,
    /// It left, or its message was none.
    Broken = 3,
}

/// Why a request could not be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Client(Wrong),
    Backend(ProxyError),
}

impl Why {
    pub(super) fn as_error(self) -> ProxyError {
        match self {
            Self::Client(_) => ProxyError::HttpRequestError,
            Self::Backend(why) => why,
        }
    }
}

impl Fault {
    /// For a request with this content.
    pub(super) fn of(content: &sterna_net::Body) -> Self {
        Self((!content.is_end_stream()).then(Arc::default))
    }

    /// What it was, if it was something.
    fn what(&self) -> Option<Wrong> {
        let known = [Wrong::TooLarge, Wrong::TooSlow, Wrong::Broken];
        let noted = self.0.as_ref()?.load(Ordering::Acquire);
        known.into_iter().find(|wrong| *wrong as u8 == noted)
    }

    /// Why a request could not be passed on: what its client did wrong has the first word.
    pub(super) fn or(&self, why: ProxyError) -> Why {
        self.what().map_or(Why::Backend(why), Why::Client)
    }

    fn note(&self, error: &Error) {
        let wrong = match error {
            Error::TooLarge => Wrong::TooLarge,
            Error::TimedOut => Wrong::TooSlow,
            _ => Wrong::Broken,
        };
        if let Some(noted) = &self.0 {
            noted.store(wrong as u8, Ordering::Release);
        }
    }
}

impl Upload {
    pub(super) fn new(content: sterna_net::Body, fault: &Fault) -> Self {
        let left = content.size_hint().exact();
        Self { content, fault: fault.clone(), left, held: None, trailers: None }
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.content).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = &polled {
            self.fault.note(error);
        }
        polled.map(|frame| frame.map(|frame| frame.map(message::sane_of_client)))
    }

    /// Whether this is the last of what was announced, and the end is not there yet.
    fn is_to_be_held(&mut self, data: &Bytes) -> bool {
        let Some(left) = &mut self.left else { return false };
        *left = left.saturating_sub(data.len() as u64);
        *left == 0 && !data.is_empty() && !self.content.is_end_stream()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(trailers)));
        }
        loop {
            let frame = match ready!(self.poll_content(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(self.held.take().map(|data| Ok(Frame::data(data)))),
            };
            match frame.into_data() {
                Ok(data) if self.held.is_some() => {
                    if !data.is_empty() {
                        self.fault.note(&Error::Malformed);
                        return Poll::Ready(Some(Err(Error::Malformed)));
                    }
                }
                Ok(data) if self.is_to_be_held(&data) => self.held = Some(data),
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(trailers) => match self.held.take() {
                    None => return Poll::Ready(Some(Ok(trailers))),
                    Some(data) => {
                        self.trailers = Some(trailers);
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.trailers.is_none() && self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.held {
            None => self.content.size_hint(),
            Some(data) => SizeHint::with_exact(data.len() as u64),
        }
    }
}
