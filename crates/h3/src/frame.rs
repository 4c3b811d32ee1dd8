//! Frames (RFC 9114 §7): cutting a stream's bytes into them, and writing them.
//!
//! [`FrameDecoder`] is incremental: any split of the input gives the same frames. It first yields the
//! [`Header`]; the owner, who knows the stream and its state, answers with [`Payload`]: let it through, collect it,
//! or skip it. So a frame that is not allowed is refused before its payload is looked at, and nothing is buffered
//! that the owner did not put a bound on. What a frame *means* is decided in `connection/`.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{PeerMisbehaved, varint};

/// A frame type as far as this crate tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameType {
    /// RFC 9114 §7.2.1.
    Data,
    /// RFC 9114 §7.2.2.
    Headers,
    /// RFC 9114 §7.2.3.
    CancelPush,
    /// RFC 9114 §7.2.4.
    Settings,
    /// RFC 9114 §7.2.5.
    PushPromise,
    /// RFC 9114 §7.2.6.
    Goaway,
    /// RFC 9114 §7.2.7.
    MaxPushId,
    /// RFC 9218 §7.2, for a request.
    PriorityUpdateRequest,
    /// RFC 9218 §7.2, for a push.
    PriorityUpdatePush,
    /// A type that HTTP/2 uses and HTTP/3 forbids (RFC 9114 §11.2.1).
    Http2,
    /// Any other: extensions that we do not speak, and reserved types.
    Unknown,
}

impl FrameType {
    /// What a number on the wire stands for.
    pub(crate) const fn from_wire(value: u64) -> Self {
        match value {
            DATA => Self::Data,
            HEADERS => Self::Headers,
            CANCEL_PUSH => Self::CancelPush,
            SETTINGS => Self::Settings,
            PUSH_PROMISE => Self::PushPromise,
            GOAWAY => Self::Goaway,
            MAX_PUSH_ID => Self::MaxPushId,
            PRIORITY_UPDATE_REQUEST => Self::PriorityUpdateRequest,
            PRIORITY_UPDATE_PUSH => Self::PriorityUpdatePush,
            0x02 | 0x06 | 0x08 | 0x09 => Self::Http2,
            _ => Self::Unknown,
        }
    }
}

/// Type and length of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Type.
    pub(crate) kind: FrameType,
    /// Bytes of payload.
    pub(crate) length: u64,
}

/// What to do with the payload of the frame whose header was yielded last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Yield it piece by piece, as slices of the input.
    Pass,
    /// Yield it whole. The owner has compared the length with its bound.
    Collect,
    /// Drop it.
    Skip,
}

/// What the decoder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A frame begins: [`FrameDecoder::choose`] must be called before the next item is asked for.
    Header(Header),
    /// Part of a payload that passes; never empty.
    Piece(Bytes),
    /// A payload that was collected.
    Collected(FrameType, Bytes),
    /// This many bytes of payload were dropped; never zero.
    Skipped(u64),
}

/// Cuts one stream into frames.
#[derive(Debug, Default)]
pub(crate) struct FrameDecoder {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Between frames, or within a type or length.
    Header(Partial),
    /// The owner has not chosen yet.
    Choice(Header),
    Pass {
        remaining: u64,
    },
    Collect {
        kind: FrameType,
        remaining: u64,
        held: BytesMut,
    },
    Skip {
        remaining: u64,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Header(Partial::default())
    }
}

impl FrameDecoder {
    /// The next item, taken off the front of `input`; `None` when `input` is used up.
    pub(crate) fn next(&mut self, input: &mut Bytes) -> Option<Item> {
        match &mut self.state {
            State::Header(partial) => {
                let header = partial.read(input)?;
                self.state = State::Choice(header);
                Some(Item::Header(header))
            }
            State::Choice(header) => {
                debug_assert!(false, "no payload was chosen for {header:?}");
                None
            }
            State::Pass { remaining } => {
                let piece = take(input, remaining)?;
                self.end_if_done();
                Some(Item::Piece(piece))
            }
            State::Skip { remaining } => {
                let dropped = take(input, remaining)?;
                self.end_if_done();
                Some(Item::Skipped(dropped.len() as u64))
            }
            State::Collect { kind, remaining, held } => {
                let kind = *kind;
                let payload = collect(input, remaining, held)?;
                self.state = State::default();
                Some(Item::Collected(kind, payload))
            }
        }
    }

    /// Answers [`Item::Header`].
    pub(crate) fn choose(&mut self, payload: Payload) {
        let State::Choice(Header { kind, length }) = self.state else {
            debug_assert!(false, "a choice without a header");
            return;
        };
        self.state = match payload {
            Payload::Pass => State::Pass { remaining: length },
            Payload::Skip => State::Skip { remaining: length },
            Payload::Collect => State::Collect { kind, remaining: length, held: BytesMut::new() },
        };
        // An empty payload that is collected is still an item; the others have nothing to say.
        self.end_if_done();
    }

    /// Whether the stream may end here: no frame is cut.
    pub(crate) fn is_at_boundary(&self) -> bool {
        matches!(&self.state, State::Header(partial) if partial.is_empty())
    }

    fn end_if_done(&mut self) {
        if let State::Pass { remaining: 0 } | State::Skip { remaining: 0 } = self.state {
            self.state = State::default();
        }
    }
}

/// Up to `remaining` bytes off the front; `None` when there are none.
fn take(input: &mut Bytes, remaining: &mut u64) -> Option<Bytes> {
    let count = usize::try_from(*remaining).unwrap_or(usize::MAX).min(input.len());
    if count == 0 {
        return None;
    }
    *remaining -= count as u64;
    Some(input.split_to(count))
}

/// The whole payload once it is there: a slice of the input if it came in one piece.
///
/// What is held grows with what arrived, not with what the length promises.
fn collect(input: &mut Bytes, remaining: &mut u64, held: &mut BytesMut) -> Option<Bytes> {
    if *remaining == 0 {
        return Some(held.split().freeze());
    }
    let piece = take(input, remaining)?;
    if *remaining == 0 && held.is_empty() {
        return Some(piece);
    }
    held.extend_from_slice(&piece);
    (*remaining == 0).then(|| held.split().freeze())
}

/// The bytes of a frame header that came before its end.
#[derive(Clone, Copy, Debug, Default)]
struct Partial {
    bytes: [u8; 2 * varint::MAX_LEN],
    len: usize,
}

impl Partial {
    const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The header, taken off `input`; else all of `input` is kept here.
    fn read(&mut self, input: &mut Bytes) -> Option<Header> {
        if self.is_empty()
            && let Some((header, len)) = parse_header(input)
        {
            input.advance(len);
            return Some(header);
        }
        while input.has_remaining() {
            // Two integers never need more bytes than there are places.
            *self.bytes.get_mut(self.len)? = input.get_u8();
            self.len += 1;
            if let Some((header, _)) = self.bytes.get(..self.len).and_then(parse_header) {
                return Some(header);
            }
        }
        None
    }
}

fn parse_header(bytes: &[u8]) -> Option<(Header, usize)> {
    let (kind, kind_len) = varint::read(bytes)?;
    let (length, length_len) = varint::read(bytes.get(kind_len..)?)?;
    Some((Header { kind: FrameType::from_wire(kind), length }, kind_len + length_len))
}

/// The one integer that is the whole payload of CANCEL_PUSH, GOAWAY and MAX_PUSH_ID.
///
/// # Errors
/// [`PeerMisbehaved::FrameLength`] when bytes are missing or left over.
pub(crate) fn only_integer(payload: &[u8]) -> Result<u64, PeerMisbehaved> {
    // req: 9114-7.1-payload-fits
    match varint::read(payload) {
        Some((value, len)) if len == payload.len() => Ok(value),
        _ => Err(PeerMisbehaved::FrameLength),
    }
}

/// Appends type and length of a frame.
pub(crate) fn write_header(kind: u64, length: u64, out: &mut BytesMut) {
    varint::write(kind, out);
    varint::write(length, out);
}

/// Appends a HEADERS frame whose section `encode` appends.
///
/// The length is not known before: two bytes are kept free for it, which fit sections below 16 KiB.
pub(crate) fn write_headers(out: &mut BytesMut, encode: impl FnOnce(&mut BytesMut)) {
    varint::write(HEADERS, out);
    let at = out.len();
    out.put_u16(0x4000);
    encode(out);
    let length = out.len() - at - 2;
    match u16::try_from(length) {
        Ok(short @ 0..0x4000) => {
            let marked = (short | 0x4000).to_be_bytes();
            out[at..at + 2].copy_from_slice(&marked);
        }
        _ => {
            let section = out.split_off(at + 2);
            out.truncate(at);
            varint::write(length as u64, out);
            out.unsplit(section);
        }
    }
}

/// A frame type that means nothing (RFC 9114 §7.2.8).
pub(crate) const fn reserved(n: u64) -> u64 {
    0x1f * n + 0x21
}

pub(crate) const DATA: u64 = 0x00;
pub(crate) const HEADERS: u64 = 0x01;
pub(crate) const CANCEL_PUSH: u64 = 0x03;
pub(crate) const SETTINGS: u64 = 0x04;
pub(crate) const PUSH_PROMISE: u64 = 0x05;
pub(crate) const GOAWAY: u64 = 0x07;
pub(crate) const MAX_PUSH_ID: u64 = 0x0d;
pub(crate) const PRIORITY_UPDATE_REQUEST: u64 = 0xf0700;
pub(crate) const PRIORITY_UPDATE_PUSH: u64 = 0xf0701;

#[cfg(test)]
mod tests;
