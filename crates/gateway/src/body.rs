//! The body of a response: what the gateway has to send, and who wants to know when it has been sent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::access_log::Entry;
use crate::handler::files::{FileStream, MultipartStream, ReadError};

/// The body of a response of the gateway.
#[derive(Debug, Default)]
pub struct Body {
    content: Content,
    /// Written to the access log when the body ends or is dropped.
    entry: Option<Box<Entry>>,
}

#[derive(Debug, Default)]
enum Content {
    #[default]
    Empty,
    /// In memory.
    Full(Bytes),
    File(Box<FileStream>),
    Multipart(Box<MultipartStream>),
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
        Self { content, entry: None }
    }

    pub(crate) fn file(stream: FileStream) -> Self {
        Self { content: Content::File(Box::new(stream)), entry: None }
    }

    pub(crate) fn multipart(stream: MultipartStream) -> Self {
        Self { content: Content::Multipart(Box::new(stream)), entry: None }
    }

    /// How many bytes are still to be sent.
    pub fn len(&self) -> u64 {
        match &self.content {
            Content::Empty | Content::Broken => 0,
            Content::Full(bytes) => bytes.len() as u64,
            Content::File(stream) => stream.remaining(),
            Content::Multipart(stream) => stream.remaining(),
        }
    }

    /// Whether nothing is left to be sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The body, if all of it is in memory.
    pub fn into_full(self) -> Option<Bytes> {
        match self.content {
            Content::Empty => Some(Bytes::new()),
            Content::Full(bytes) => Some(bytes),
            Content::File(_) | Content::Multipart(_) | Content::Broken => None,
        }
    }

    /// The same body, which tells `entry` what is sent of it.
    pub(crate) fn watched_by(self, entry: Option<Box<Entry>>) -> Self {
        Self { entry, ..self }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = ReadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        let chunk = match &mut self.content {
            Content::Empty | Content::Broken => None,
            Content::Full(bytes) => Some(Ok(std::mem::take(bytes))),
            Content::File(stream) => ready!(stream.poll_chunk(context)),
            Content::Multipart(stream) => ready!(stream.poll_chunk(context)),
        };
        match (&chunk, &self.content) {
            (Some(Err(_)), _) => self.content = Content::Broken,
            (_, Content::Full(_)) => self.content = Content::Empty,
            _ => {}
        }
        let whole = http_body::Body::is_end_stream(&*self);
        if let Some(entry) = &mut self.entry
            && let Some(Ok(bytes)) = &chunk
        {
            entry.sent(bytes.len() as u64, whole);
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Full(_) | Content::Broken => false,
            Content::File(stream) => stream.remaining() == 0,
            Content::Multipart(stream) => stream.remaining() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}
