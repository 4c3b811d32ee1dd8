//! Checking a response as its bytes come, without keeping them.
//!
//! The field section is read only as far as `:status`: a server that was told capacity 0 has no dynamic table, and
//! pseudo-fields come first (RFC 9114 §4.3), so the first field line is enough. Unknown frames are skipped.

/// One response in progress.
#[derive(Debug, Default)]
pub(crate) struct Response {
    place: Place,
    answered: bool,
    body: u64,
}

/// What is wrong with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Breach {
    #[error("field section does not begin with a static :status of 200 or an interim one")]
    Status,
    #[error("DATA before the final HEADERS")]
    DataBeforeHeaders,
    #[error("frame type {0:#x} on a request stream")]
    ForbiddenFrame(u64),
    #[error("stream ended inside a frame")]
    Truncated,
    #[error("stream ended before the final HEADERS")]
    NoResponse,
    #[error("body has {got} bytes, not {want}")]
    Size { got: u64, want: u64 },
}

impl Response {
    /// Takes the next bytes of the stream.
    pub(crate) fn handle(&mut self, mut data: &[u8]) -> Result<(), Breach> {
        while !data.is_empty() {
            match &mut self.place {
                Place::Header { bytes, filled } => {
                    bytes[usize::from(*filled)] = data[0];
                    *filled += 1;
                    data = &data[1..];
                    if let Some((kind, length)) = frame_header(&bytes[..usize::from(*filled)]) {
                        self.place = self.enter(kind, length)?;
                    }
                }
                Place::Data { left } => {
                    let taken = take(&mut data, left).len() as u64;
                    self.body += taken;
                }
                Place::Skip { left } => {
                    take(&mut data, left);
                }
                Place::Fields { left, start, filled } => {
                    for &byte in take(&mut data, left) {
                        if let Some(slot) = start.get_mut(*filled) {
                            *slot = byte;
                            *filled += 1;
                        }
                    }
                    if *left == 0 {
                        self.answered = is_final(start)?;
                    }
                }
            }
            if self.place.is_over() {
                self.place = Place::default();
            }
        }
        Ok(())
    }

    /// The stream has ended: a whole response with a body of `size` bytes, or not.
    pub(crate) fn finish(&self, size: u64) -> Result<(), Breach> {
        match self.place {
            Place::Header { filled: 0, .. } if !self.answered => Err(Breach::NoResponse),
            Place::Header { filled: 0, .. } if self.body == size => Ok(()),
            Place::Header { filled: 0, .. } => Err(Breach::Size { got: self.body, want: size }),
            _ => Err(Breach::Truncated),
        }
    }

    /// Where the payload of a frame goes.
    fn enter(&self, kind: u64, length: u64) -> Result<Place, Breach> {
        match kind {
            0x00 if !self.answered => Err(Breach::DataBeforeHeaders),
            0x00 => Ok(Place::Data { left: length }),
            // Once answered, these are trailers.
            0x01 if self.answered => Ok(Place::Skip { left: length }),
            0x01 if length < 3 => Err(Breach::Status),
            0x01 => Ok(Place::Fields { left: length, start: [0; 4], filled: 0 }),
            // Those of the control stream, PUSH_PROMISE which was never allowed, and those of HTTP/2 (RFC 9114 §7.2).
            0x02..=0x09 | 0x0d => Err(Breach::ForbiddenFrame(kind)),
            _ => Ok(Place::Skip { left: length }),
        }
    }
}

/// Where in the stream the next byte lies.
#[derive(Debug)]
enum Place {
    /// In the type and length of a frame, two varints.
    Header {
        bytes: [u8; 16],
        filled: u8,
    },
    /// In HEADERS before the final response; `start` keeps what `:status` may need.
    Fields {
        left: u64,
        start: [u8; 4],
        filled: usize,
    },
    Data {
        left: u64,
    },
    Skip {
        left: u64,
    },
}

impl Default for Place {
    fn default() -> Self {
        Self::Header { bytes: [0; 16], filled: 0 }
    }
}

impl Place {
    fn is_over(&self) -> bool {
        matches!(
            self,
            Self::Fields { left: 0, .. } | Self::Data { left: 0 } | Self::Skip { left: 0 }
        )
    }
}

/// Whether a field section is that of the final response (200) or of an interim one (100, 103).
fn is_final(start: &[u8; 4]) -> Result<bool, Breach> {
    match start {
        [0x00, 0x00, 0xd9, _] => Ok(true),
        [0x00, 0x00, 0xd8, _] | [0x00, 0x00, 0xff, 0x00] => Ok(false),
        _ => Err(Breach::Status),
    }
}

fn take<'a>(data: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
    let (head, tail) = data.split_at(length);
    *left -= length as u64;
    *data = tail;
    head
}

fn frame_header(bytes: &[u8]) -> Option<(u64, u64)> {
    let (kind, rest) = varint(bytes)?;
    let (length, _) = varint(rest)?;
    Some((kind, length))
}

/// RFC 9000 §16.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    let (value, rest) = bytes.split_at_checked(1 << (first >> 6))?;
    let start = u64::from(first & 0x3f);
    Some((value[1..].iter().fold(start, |value, byte| value << 8 | u64::from(*byte)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &[u8] = b"\x01\x03\x00\x00\xd9";

    fn check(parts: &[&[u8]], size: u64) -> Result<(), Breach> {
        let mut response = Response::default();
        for part in parts {
            response.handle(part)?;
        }
        response.finish(size)
    }

    #[test]
    fn a_response_split_at_every_byte_is_the_same_response() {
        let whole = [OK, b"\x21\x01x\x00\x02ab\x00\x00\x00\x40\x01c"].concat();
        for at in 0..=whole.len() {
            let (head, tail) = whole.split_at(at);
            assert_eq!(check(&[head, tail], 3), Ok(()), "split at {at}");
        }
    }

    #[test]
    fn an_interim_response_is_not_the_answer() {
        let early = b"\x01\x03\x00\x00\xd8";
        assert_eq!(check(&[early, OK], 0), Ok(()));
        assert_eq!(check(&[early], 0), Err(Breach::NoResponse));
    }

    #[test]
    fn any_other_status_is_a_breach() {
        assert_eq!(check(&[b"\x01\x03\x00\x00\xdb"], 0), Err(Breach::Status));
    }

    #[test]
    fn a_dynamic_reference_is_a_breach() {
        assert_eq!(check(&[b"\x01\x03\x02\x00\xd9"], 0), Err(Breach::Status));
    }

    #[test]
    fn a_body_one_byte_short_or_long_is_a_breach() {
        let response = [OK, b"\x00\x02ab"].concat();
        assert_eq!(check(&[&response], 2), Ok(()));
        assert_eq!(check(&[&response], 1), Err(Breach::Size { got: 2, want: 1 }));
        assert_eq!(check(&[&response], 3), Err(Breach::Size { got: 2, want: 3 }));
    }

    #[test]
    fn a_stream_that_ends_inside_a_frame_is_truncated() {
        assert_eq!(check(&[OK, b"\x00\x02a"], 2), Err(Breach::Truncated));
        assert_eq!(check(&[OK, b"\x00"], 0), Err(Breach::Truncated));
    }

    #[test]
    fn settings_on_a_request_stream_are_a_breach() {
        assert_eq!(check(&[b"\x04\x00"], 0), Err(Breach::ForbiddenFrame(4)));
    }
}
