//! A response of HTTP/3 as its bytes come, without keeping them: `:status`, and how much content there was.
//!
//! What a load generator has to know of a response is little, and decoding the rest costs more than receiving it. So
//! frames are counted, `:status` is looked up where every server puts it, in the static table, and is decoded in full only
//! where it is written otherwise. Whoever wants all of it checked asks for `verify`.

use bytes::Bytes;
use sterna_qpack::{Decoder, DecoderConfig, Field};

use crate::load::Failure;

/// One response in progress.
#[derive(Debug, Default)]
pub(super) struct Response {
    place: Place,
    /// Of the final head, once it has come.
    status: Option<u16>,
    content: u64,
}

impl Response {
    /// Takes the next bytes of the stream, and lends the content among them.
    ///
    /// # Errors
    /// What the server has broken; the response is void then.
    #[inline]
    pub(super) fn handle(
        &mut self,
        mut data: &[u8],
        content: &mut impl FnMut(&[u8]),
    ) -> Result<(), Failure> {
        while !data.is_empty() {
            match &mut self.place {
                Place::Header { bytes, filled } => {
                    // Nearly always whole, and at the front of what came.
                    let header = if *filled == 0 { frame_header(data) } else { None };
                    if let Some((kind, length, used)) = header {
                        data = &data[used..];
                        self.enter(kind, length)?;
                        continue;
                    }
                    let Some(slot) = bytes.get_mut(usize::from(*filled)) else {
                        return Err(broken("a frame header of more than 16 bytes"));
                    };
                    *slot = data[0];
                    *filled += 1;
                    data = &data[1..];
                    if let Some((kind, length, _)) = frame_header(&bytes[..usize::from(*filled)]) {
                        self.enter(kind, length)?;
                    }
                }
                Place::Data { left } => {
                    let taken = take(&mut data, left);
                    self.content += taken.len() as u64;
                    content(taken);
                    self.place.leave_if_over();
                }
                Place::Skip { left } => {
                    take(&mut data, left);
                    self.place.leave_if_over();
                }
                Place::Fields { left, section } => {
                    let taken = take(&mut data, left);
                    let is_whole = *left == 0;
                    let status = match (is_whole, section.is_empty()) {
                        (true, true) => Some(status(taken)?),
                        (_, _) => {
                            section.extend_from_slice(taken);
                            is_whole.then(|| status(section)).transpose()?
                        }
                    };
                    if let Some(status) = status {
                        // An interim one is not the answer (RFC 9114 §4.1).
                        self.status = (status >= 200).then_some(status);
                        self.place = Place::default();
                    }
                }
            }
        }
        Ok(())
    }

    /// The stream has ended: the status and the bytes of content of a whole response.
    ///
    /// # Errors
    /// [`Failure::Truncated`].
    pub(super) fn finish(&self) -> Result<(u16, u64), Failure> {
        match (&self.place, self.status) {
            (Place::Header { filled: 0, .. }, Some(status)) => Ok((status, self.content)),
            (Place::Header { filled: 0, .. }, None) => Err(Failure::Truncated("no response")),
            _ => Err(Failure::Truncated("inside a frame")),
        }
    }

    /// Where the payload of a frame goes.
    fn enter(&mut self, kind: u64, length: u64) -> Result<(), Failure> {
        self.place = match kind {
            FRAME_DATA if self.status.is_none() => {
                return Err(broken("DATA before the response's HEADERS"));
            }
            FRAME_DATA => Place::Data { left: length },
            // Once answered, these are trailers.
            FRAME_HEADERS if self.status.is_some() => Place::Skip { left: length },
            FRAME_HEADERS if length > LARGEST_SECTION => {
                return Err(broken("a field section of more than 64 KiB"));
            }
            FRAME_HEADERS if length == 0 => return Err(broken("an empty field section")),
            FRAME_HEADERS => Place::Fields { left: length, section: Vec::new() },
            // Those of the control stream, PUSH_PROMISE which was never allowed, and those of HTTP/2 (RFC 9114 §7.2).
            0x02..=0x09 | 0x0d => {
                return Err(broken(&format!("frame {kind:#x} on a request stream")));
            }
            _ => Place::Skip { left: length },
        };
        self.place.leave_if_over();
        Ok(())
    }
}

/// Where in the stream the next byte lies.
#[derive(Debug)]
enum Place {
    /// In the type and length of a frame, two varints.
    Header { bytes: [u8; 16], filled: u8 },
    /// In HEADERS before the final response; what has come of them, where they came in pieces.
    Fields { left: u64, section: Vec<u8> },
    /// In DATA.
    Data { left: u64 },
    /// In what nobody needs.
    Skip { left: u64 },
}

impl Default for Place {
    fn default() -> Self {
        Self::Header { bytes: [0; 16], filled: 0 }
    }
}

impl Place {
    fn leave_if_over(&mut self) {
        if matches!(self, Self::Data { left: 0 } | Self::Skip { left: 0 }) {
            *self = Self::default();
        }
    }
}

/// `:status` of a field section.
///
/// We announced a table of no capacity, so that references are static, and pseudo-header fields come first
/// (RFC 9114 §4.3), so that the first line is enough.
fn status(section: &[u8]) -> Result<u16, Failure> {
    // RFC 9204 appendix A, indices 24 to 28 and 63 to 71.
    let status = match section {
        [0x00, 0x00, line @ 0xd8..=0xdc, ..] => STATUS_24[usize::from(line - 0xd8)],
        [0x00, 0x00, 0xff, line @ 0x00..=0x08, ..] => STATUS_63[usize::from(*line)],
        _ => return decoded(section),
    };
    Ok(status)
}

/// As [`status`], for a server that writes it in another way.
#[cold]
fn decoded(section: &[u8]) -> Result<u16, Failure> {
    let mut decoder = Decoder::new(DecoderConfig {
        max_table_capacity: 0,
        max_blocked_streams: 0,
        max_field_section_size: u64::MAX,
    });
    let mut status = None;
    let mut sink = |field: Field| {
        if field.name.as_ref() == b":status" {
            status = std::str::from_utf8(&field.value).ok().and_then(|text| text.parse().ok());
        }
    };
    decoder
        .decode(0, &Bytes::copy_from_slice(section), &mut sink)
        .map_err(|error| broken(&error.to_string()))?;
    status.filter(|status| (100..1000).contains(status)).ok_or_else(|| broken("no :status"))
}

pub(super) fn broken(what: &str) -> Failure {
    Failure::Protocol(what.to_owned())
}

fn take<'a>(data: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
    let (head, tail) = data.split_at(length);
    *data = tail;
    *left -= length as u64;
    head
}

/// Type and length of a frame, and how many bytes they took.
#[inline]
pub(super) fn frame_header(bytes: &[u8]) -> Option<(u64, u64, usize)> {
    let (kind, first) = varint(bytes)?;
    let (length, second) = varint(bytes.get(first..)?)?;
    Some((kind, length, first + second))
}

/// A variable-length integer (RFC 9000 §16), and how many bytes it took.
#[inline]
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let used = 1 << (first >> 6);
    let rest = bytes.get(1..used)?;
    let start = u64::from(first & 0x3f);
    Some((rest.iter().fold(start, |value, byte| value << 8 | u64::from(*byte)), used))
}

const STATUS_24: [u16; 5] = [103, 200, 304, 404, 503];
const STATUS_63: [u16; 9] = [100, 204, 206, 302, 400, 403, 421, 425, 500];

/// Frame types (RFC 9114 §11.2.1).
const FRAME_DATA: u64 = 0x00;
const FRAME_HEADERS: u64 = 0x01;

/// Bytes of a field section that are held while it is not whole.
const LARGEST_SECTION: u64 = 64 * 1024;

#[cfg(test)]
mod tests;
