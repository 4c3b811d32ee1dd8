//! The body of a response: what the gateway has to send, and who wants to know when it has been sent.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use sterna_net::BoxError;

use crate::access_log::Entry;
use crate::error::ProxyError;
use crate::handler::files::{FileStream, MultipartStream, ReadError};
use crate::middleware::in_flight;

/// The body of a response of the gateway.
#[derive(Debug, Default)]
pub struct Body {
    content: Content,
    /// Written to the access log when the body ends or is dropped.
    entry: Option<Box<Entry>>,
    /// Given to others when the body ends or is dropped.
    places: Vec<in_flight::Place>,
}

/// Why a response could not be sent to its end. The client sees a reset, or a connection that ends too early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] ReadError),
    /// The response of a backend broke off.
    #[error("the response of the backend broke off: {why}")]
    Upstream {
        /// The type of the error.
        why: ProxyError,
        /// What caused it.
        #[source]
        cause: BoxError,
    },
    /// Whoever makes the content failed.
    #[error("the content of the response broke off")]
    Source(#[source] BoxError),
}

#[derive(Default)]
enum Content {
    #[default]
    Empty,
    /// In memory.
    Full(Bytes),
    File(Box<FileStream>),
    Multipart(Box<MultipartStream>),
    /// Made while it is sent; may have trailers.
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError>>>),
    /// Broken off, with more announced than was sent.
    Broken,
}

impl Body {
    /// A body without a byte.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body that is in memory.
    pub fn full(content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let content = if content.is_empty() { Content::Empty } else { Content::Full(content) };
        Self { content, ..Self::default() }
    }

    /// A body that somebody else makes while it is sent.
    pub fn stream(body: impl http_body::Body<Data = Bytes, Error = BodyError> + 'static) -> Self {
        Self { content: Content::Stream(Box::pin(body)), ..Self::default() }
    }

    pub(crate) fn file(stream: FileStream) -> Self {
        Self { content: Content::File(Box::new(stream)), ..Self::default() }
    }

    pub(crate) fn multipart(stream: MultipartStream) -> Self {
        Self { content: Content::Multipart(Box::new(stream)), ..Self::default() }
    }

    /// How many bytes are still to be sent, where that is known.
    pub fn len(&self) -> Option<u64> {
        match &self.content {
            Content::Empty | Content::Broken => Some(0),
            Content::Full(bytes) => Some(bytes.len() as u64),
            Content::File(stream) => Some(stream.remaining()),
            Content::Multipart(stream) => Some(stream.remaining()),
            Content::Stream(stream) => stream.size_hint().exact(),
        }
    }

    /// Whether it is known that nothing is left to be sent, trailers included.
    pub fn is_empty(&self) -> bool {
        match &self.content {
            Content::Stream(stream) => stream.is_end_stream(),
            _ => self.len() == Some(0),
        }
    }

    /// Whether somebody makes it while it is sent, and may make another for the next client.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.content, Content::Stream(_))
    }

    /// All of the body if it is in memory, else the body as it is.
    ///
    /// # Errors
    /// The body that is not in memory.
    pub(crate) fn try_into_full(mut self) -> Result<Bytes, Self> {
        match std::mem::take(&mut self.content) {
            Content::Empty => Ok(Bytes::new()),
            Content::Full(bytes) => Ok(bytes),
            other => Err(Self { content: other, ..self }),
        }
    }

    /// The body, if all of it is in memory.
    pub fn into_full(self) -> Option<Bytes> {
        match self.content {
            Content::Empty => Some(Bytes::new()),
            Content::Full(bytes) => Some(bytes),
            Content::File(_) | Content::Multipart(_) | Content::Stream(_) | Content::Broken => None,
        }
    }

    /// The same body, which tells `entry` what is sent of it.
    pub(crate) fn watched_by(self, entry: Option<Box<Entry>>) -> Self {
        Self { entry, ..self }
    }

    /// The same body, which holds these places until its end.
    pub(crate) fn holding(self, places: Vec<in_flight::Place>) -> Self {
        Self { places, ..self }
    }

    /// The next piece; `None` at the end.
    fn poll_content(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let chunk = match &mut self.content {
            Content::Empty | Content::Broken => None,
            Content::Full(bytes) => Some(Ok(std::mem::take(bytes))),
            Content::File(stream) => ready!(stream.poll_chunk(context)),
            Content::Multipart(stream) => ready!(stream.poll_chunk(context)),
            Content::Stream(stream) => return stream.as_mut().poll_frame(context),
        };
        if matches!(self.content, Content::Full(_)) {
            self.content = Content::Empty;
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data).map_err(BodyError::File)))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let was_broken = matches!(self.content, Content::Broken);
        let frame = ready!(self.poll_content(context));
        if matches!(frame, Some(Err(_))) {
            self.content = Content::Broken;
        }
        let is_whole = match &frame {
            None => !was_broken,
            Some(_) => http_body::Body::is_end_stream(&*self),
        };
        if is_whole || frame.as_ref().is_none_or(Result::is_err) {
            self.places = Vec::new();
        }
        if let Some(entry) = &mut self.entry {
            match &frame {
                Some(Ok(frame)) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    entry.sent(bytes as u64, is_whole);
                }
                None if is_whole => entry.sent(0, true),
                Some(Err(error)) => entry.broke(error),
                None => {}
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Full(_) | Content::Broken => false,
            Content::File(stream) => stream.remaining() == 0,
            Content::Multipart(stream) => stream.remaining() == 0,
            Content::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Stream(stream) => stream.size_hint(),
            _ => self.len().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Full(_) => "Full",
            Self::File(_) => "File",
            Self::Multipart(_) => "Multipart",
            Self::Stream(_) => "Stream",
            Self::Broken => "Broken",
        })
    }
}
