//! Frames of HTTP/2 (RFC 9113 §4, §6): read as they come, content counted and not kept.

use bytes::{BufMut, BytesMut};

use crate::load::Failure;

/// One frame, or a part of DATA.
#[derive(Clone, Copy, Debug)]
pub(super) enum Frame<'a> {
    /// A part of a DATA frame; `length` is what counts for flow control, padding included.
    Data {
        id: u32,
        content: &'a [u8],
        length: u32,
        is_last: bool,
    },
    /// A whole field section, those of CONTINUATION included.
    Headers {
        id: u32,
        section: &'a [u8],
        is_last: bool,
    },
    Reset {
        id: u32,
        code: u32,
    },
    Settings {
        settings: Settings<'a>,
    },
    Ping {
        data: [u8; 8],
    },
    Goaway {
        last: u32,
        code: u32,
    },
    WindowUpdate {
        id: u32,
        increment: u32,
    },
    /// An acknowledgment, a priority, or what is unknown.
    Other,
}

/// Reads frames from a stream of bytes in any split.
#[derive(Debug, Default)]
pub(super) struct Reader {
    place: Place,
    /// A header or a payload that is not whole.
    held: Vec<u8>,
    /// A field section that goes on in CONTINUATION frames: its stream, and whether the stream ends with it.
    open: Option<(u32, bool)>,
    section: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy)]
enum Place {
    /// In the nine bytes of a frame header.
    #[default]
    Header,
    /// In DATA, behind its pad length.
    Data { id: u32, content: u32, padding: u32, is_last: bool },
    /// In a payload that is taken whole.
    Payload(Header),
    /// In a payload that nobody needs.
    Skip { left: u32 },
}

#[derive(Debug, Clone, Copy)]
struct Header {
    length: u32,
    kind: u8,
    flags: u8,
    id: u32,
}

impl Reader {
    /// Takes bytes, and gives each frame to `sink`.
    ///
    /// # Errors
    /// What the server has broken, and what the sink returns.
    pub(super) fn handle(
        &mut self,
        mut data: &[u8],
        sink: &mut impl FnMut(Frame<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        while !data.is_empty() {
            match self.place {
                Place::Header => {
                    let Some(header) = whole(&mut self.held, &mut data, HEADER) else {
                        return Ok(());
                    };
                    let header = Header::read(&header).ok_or_else(|| broken("a frame header"))?;
                    self.place = self.enter(header)?;
                    self.leave_if_empty(sink)?;
                }
                Place::Data { id, content, padding, is_last } => {
                    let left = content + padding;
                    let taken = (left as usize).min(data.len()) as u32;
                    let (part, rest) = data.split_at(taken as usize);
                    data = rest;
                    let of_content = taken.min(content);
                    let (content, padding) = (content - of_content, padding - (taken - of_content));
                    let is_over = content + padding == 0;
                    self.place = if is_over {
                        Place::Header
                    } else {
                        Place::Data { id, content, padding, is_last }
                    };
                    let is_last = is_last && is_over;
                    let content = part.get(..of_content as usize).unwrap_or_default();
                    sink(Frame::Data { id, content, length: taken, is_last })?;
                }
                Place::Skip { left } => {
                    let taken = (left as usize).min(data.len());
                    data = &data[taken..];
                    let left = left - taken as u32;
                    self.place = if left == 0 { Place::Header } else { Place::Skip { left } };
                }
                Place::Payload(header) => {
                    let length = header.length as usize;
                    // Nearly always whole, in what came.
                    if self.held.is_empty() && data.len() >= length {
                        let (payload, rest) = data.split_at(length);
                        data = rest;
                        self.place = Place::Header;
                        self.on_payload(header, payload, sink)?;
                        continue;
                    }
                    let Some(payload) = whole(&mut self.held, &mut data, length) else {
                        return Ok(());
                    };
                    self.place = Place::Header;
                    self.on_payload(header, &payload, sink)?;
                }
            }
        }
        Ok(())
    }

    /// A frame begins.
    fn enter(&self, header: Header) -> Result<Place, Failure> {
        let Header { length, kind, flags, id } = header;
        if length as usize > LARGEST {
            return Err(broken("a frame of more than 16 KiB"));
        }
        match (self.open, kind) {
            (Some((open, _)), CONTINUATION) if open == id => {}
            (Some(_), _) | (None, CONTINUATION) => {
                return Err(broken("a field section that is interrupted"));
            }
            (None, _) => {}
        }
        match kind {
            DATA if id == 0 => Err(broken("DATA on stream 0")),
            DATA if flags & PADDED == 0 => {
                let is_last = flags & END_STREAM != 0;
                Ok(Place::Data { id, content: length, padding: 0, is_last })
            }
            PUSH_PROMISE => Err(broken("a push, which was not allowed")),
            DATA | HEADERS | CONTINUATION | RST_STREAM | SETTINGS | PING | GOAWAY
            | WINDOW_UPDATE => Ok(Place::Payload(header)),
            _ => Ok(Place::Skip { left: length }),
        }
    }

    /// A frame without a payload is over at once.
    fn leave_if_empty(
        &mut self,
        sink: &mut impl FnMut(Frame<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match self.place {
            Place::Data { id, content: 0, padding: 0, is_last } => {
                self.place = Place::Header;
                sink(Frame::Data { id, content: &[], length: 0, is_last })
            }
            Place::Payload(header) if header.length == 0 => {
                self.place = Place::Header;
                self.on_payload(header, &[], sink)
            }
            Place::Skip { left: 0 } => {
                self.place = Place::Header;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn on_payload(
        &mut self,
        header: Header,
        payload: &[u8],
        sink: &mut impl FnMut(Frame<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Header { kind, flags, id, length } = header;
        let is_last = flags & END_STREAM != 0;
        match kind {
            DATA => {
                let content = unpadded(payload, flags)?;
                sink(Frame::Data { id, content, length, is_last })
            }
            HEADERS => {
                let fragment = unpadded(payload, flags)?;
                let fragment =
                    if flags & PRIORITY == 0 { Some(fragment) } else { fragment.get(5..) };
                let section = fragment.ok_or_else(|| broken("HEADERS that are too short"))?;
                if flags & END_HEADERS != 0 {
                    return sink(Frame::Headers { id, section, is_last });
                }
                self.section.clear();
                self.section.extend_from_slice(section);
                self.open = Some((id, is_last));
                Ok(())
            }
            CONTINUATION => {
                if self.section.len() + payload.len() > LARGEST_SECTION {
                    return Err(broken("a field section of more than 64 KiB"));
                }
                self.section.extend_from_slice(payload);
                if flags & END_HEADERS == 0 {
                    return Ok(());
                }
                let is_last = self.open.take().is_some_and(|(_, is_last)| is_last);
                sink(Frame::Headers { id, section: &self.section, is_last })
            }
            _ => sink(whole_frame(header, payload)?),
        }
    }
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, w, x, y, z] = *bytes else { return None };
        Some(Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            id: u32::from_be_bytes([w, x, y, z]) & STREAM,
        })
    }
}

/// A frame that is no more than its payload.
fn whole_frame(header: Header, payload: &[u8]) -> Result<Frame<'_>, Failure> {
    let Header { kind, flags, id, .. } = header;
    let size = || broken("a frame of a size that its type does not have");
    match kind {
        RST_STREAM => Ok(Frame::Reset { id, code: word(payload).ok_or_else(size)? }),
        SETTINGS if flags & ACK != 0 => Ok(Frame::Other),
        SETTINGS if payload.len().is_multiple_of(6) => {
            Ok(Frame::Settings { settings: Settings(payload) })
        }
        PING if flags & ACK != 0 => Ok(Frame::Other),
        PING => Ok(Frame::Ping { data: payload.try_into().map_err(|_| size())? }),
        GOAWAY => {
            let (last, rest) = payload.split_at_checked(4).ok_or_else(size)?;
            let code = rest.get(..4).and_then(word).ok_or_else(size)?;
            Ok(Frame::Goaway { last: word(last).ok_or_else(size)? & STREAM, code })
        }
        WINDOW_UPDATE => {
            let increment = word(payload).ok_or_else(size)? & STREAM;
            Ok(Frame::WindowUpdate { id, increment })
        }
        _ => Err(size()),
    }
}

/// The settings of a frame, in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings<'a>(&'a [u8]);

impl Iterator for Settings<'_> {
    type Item = (u16, u32);

    fn next(&mut self) -> Option<(u16, u32)> {
        let (setting, rest) = self.0.split_at_checked(6)?;
        self.0 = rest;
        let (name, value) = setting.split_at(2);
        Some((u16::from_be_bytes(name.try_into().ok()?), word(value)?))
    }
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

/// A payload without its pad length and padding.
fn unpadded(payload: &[u8], flags: u8) -> Result<&[u8], Failure> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let too_long = || broken("more padding than payload");
    let (&padding, rest) = payload.split_first().ok_or_else(too_long)?;
    let end = rest.len().checked_sub(padding.into()).ok_or_else(too_long)?;
    rest.get(..end).ok_or_else(too_long)
}

/// The next `length` bytes, once they are all there.
fn whole(held: &mut Vec<u8>, data: &mut &[u8], length: usize) -> Option<Vec<u8>> {
    let missing = length.saturating_sub(held.len()).min(data.len());
    let (taken, rest) = data.split_at(missing);
    *data = rest;
    held.extend_from_slice(taken);
    (held.len() == length).then(|| std::mem::take(held))
}

fn broken(what: &str) -> Failure {
    Failure::Protocol(what.to_owned())
}

/// Appends a frame header.
pub(super) fn put_header(out: &mut BytesMut, length: usize, kind: u8, flags: u8, id: u32) {
    out.put_uint(length as u64, 3);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u32(id);
}

/// Appends a field section, in CONTINUATION frames where it is larger than one frame may be.
pub(super) fn put_headers(out: &mut BytesMut, id: u32, section: &[u8], most: usize, is_last: bool) {
    let mut pieces = section.chunks(most.max(1)).peekable();
    let mut kind = HEADERS;
    while let Some(piece) = pieces.next() {
        let end_headers = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        let end_stream = if is_last && kind == HEADERS { END_STREAM } else { 0 };
        put_header(out, piece.len(), kind, end_headers | end_stream, id);
        out.extend_from_slice(piece);
        kind = CONTINUATION;
    }
}

pub(super) fn put_window_update(out: &mut BytesMut, id: u32, increment: u64) {
    put_header(out, 4, WINDOW_UPDATE, 0, id);
    out.put_u32((increment.min(u64::from(STREAM))) as u32);
}

pub(super) fn put_reset(out: &mut BytesMut, id: u32, code: u32) {
    put_header(out, 4, RST_STREAM, 0, id);
    out.put_u32(code);
}

/// Types (RFC 9113 §6).
pub(super) const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
pub(super) const SETTINGS: u8 = 0x4;
const PUSH_PROMISE: u8 = 0x5;
pub(super) const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;

/// Flags.
pub(super) const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Bits of a stream id, and the largest window.
const STREAM: u32 = 0x7fff_ffff;

/// Bytes of a frame header.
const HEADER: usize = 9;

/// Payload of a frame, in bytes, unless a peer says that it takes more; we do not.
pub(super) const LARGEST: usize = 16_384;

/// Bytes of a field section that are held.
const LARGEST_SECTION: usize = 64 * 1024;

#[cfg(test)]
mod tests;
