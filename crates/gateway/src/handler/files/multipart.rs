//! Several parts of a file in one response: `multipart/byteranges` (RFC 9110 §14.6).
//!
//! ```text
//! CRLF --boundary CRLF Content-Type: … CRLF Content-Range: bytes 0-1/10 CRLF CRLF  bytes  ← each part
//! CRLF --boundary-- CRLF
//! ```
//! The heads are made when the response is, for their length is part of its own; the bytes between
//! them come from memory ([`Multipart::assemble`]) or from the file as they are asked for
//! ([`MultipartStream`]).

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderValue;

use super::range::Part;
use super::stream::{FileStream, ReadError};
use super::value;

/// The parts of one response, each with the head before it.
#[derive(Debug)]
pub(super) struct Multipart {
    boundary: String,
    parts: VecDeque<(Bytes, Part)>,
    end: Bytes,
}

impl Multipart {
    /// `parts` of a representation of `total` bytes, which by itself has this type.
    pub(super) fn new(parts: Vec<Part>, total: u64, content_type: &HeaderValue) -> Self {
        let boundary = boundary();
        let content_type = content_type.to_str().unwrap_or("application/octet-stream");
        // req: 9110-15.3.7.2-part-content-range
        let head = |part: Part| {
            let range = part.content_range(total);
            format!(
                "\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {range}\r\n\r\n"
            )
        };
        let parts = parts.into_iter().map(|part| (head(part).into(), part)).collect();
        let end = format!("\r\n--{boundary}--\r\n").into();
        Self { boundary, parts, end }
    }

    /// The type of the response, which names the boundary.
    pub(super) fn content_type(&self) -> HeaderValue {
        // req: 9110-15.3.7.2-type
        value(&format!("multipart/byteranges; boundary={}", self.boundary))
    }

    /// How many bytes the response has, heads among them.
    pub(super) fn len(&self) -> u64 {
        let parts = self.parts.iter().map(|(head, part)| head.len() as u64 + part.len());
        parts.sum::<u64>() + self.end.len() as u64
    }

    /// All of it, of a representation that is in memory.
    pub(super) fn assemble(&self, content: &Bytes) -> Bytes {
        let mut whole = BytesMut::with_capacity(usize::try_from(self.len()).unwrap_or_default());
        for (head, part) in &self.parts {
            whole.extend_from_slice(head);
            let bytes = part.range().and_then(|range| content.get(range));
            whole.extend_from_slice(bytes.unwrap_or_default());
        }
        whole.extend_from_slice(&self.end);
        whole.freeze()
    }

    /// As a body that reads `file` when it is asked for more.
    pub(super) fn stream(self, file: FileStream) -> MultipartStream {
        MultipartStream { remaining: self.len(), parts: self.parts, end: self.end, file }
    }
}

/// The parts on their way.
#[derive(Debug)]
pub(crate) struct MultipartStream {
    parts: VecDeque<(Bytes, Part)>,
    /// Empty once it was sent.
    end: Bytes,
    /// Stands in the part whose head was sent last.
    file: FileStream,
    remaining: u64,
}

impl MultipartStream {
    /// How many bytes are still to come.
    pub(crate) fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The next chunk; `None` when all has been sent.
    pub(crate) fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ReadError>>> {
        let chunk = if self.file.remaining() > 0 {
            match self.file.poll_chunk(context) {
                Poll::Ready(Some(Ok(chunk))) => chunk,
                other => return other,
            }
        } else if let Some((head, part)) = self.parts.pop_front() {
            self.file.seek(part.first, part.len());
            head
        } else if self.end.is_empty() {
            return Poll::Ready(None);
        } else {
            std::mem::take(&mut self.end)
        };
        self.remaining -= chunk.len() as u64;
        Poll::Ready(Some(Ok(chunk)))
    }
}

/// What is not in the content, for nobody knew it when the content was written: 128 bits that differ
/// from response to response.
fn boundary() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("sterna-{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multipart(parts: &[(u64, u64)], total: u64) -> Multipart {
        let parts = parts.iter().map(|&(first, last)| Part { first, last }).collect();
        Multipart::new(parts, total, &HeaderValue::from_static("text/plain"))
    }

    #[test]
    fn what_is_assembled_has_the_announced_length_and_the_form_of_the_rfc() {
        let multipart = multipart(&[(4, 5), (0, 1)], 10);
        let whole = multipart.assemble(&Bytes::from_static(b"0123456789"));
        assert_eq!(whole.len() as u64, multipart.len());
        let b = &multipart.boundary;
        let expected = format!(
            "\r\n--{b}\r\nContent-Type: text/plain\r\nContent-Range: bytes 4-5/10\r\n\r\n45\
             \r\n--{b}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
             \r\n--{b}--\r\n"
        );
        assert_eq!(whole, expected.as_bytes());
        let named = format!("multipart/byteranges; boundary={b}");
        assert_eq!(multipart.content_type(), named.as_str());
    }

    #[test]
    fn no_two_responses_share_a_boundary_and_none_is_longer_than_allowed() {
        let (one, other) = (boundary(), boundary());
        assert_ne!(one, other);
        // RFC 2046 §5.1.1
        assert!(one.len() <= 70, "{one}");
    }
}
