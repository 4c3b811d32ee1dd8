//! The server's unidirectional streams: of all that is on them, GOAWAY is what a load generator heeds.

use super::response::{broken, frame_header, varint};
use crate::load::Failure;

/// One stream of the server, by what it turned out to be.
#[derive(Debug)]
pub(super) enum UniStream {
    /// Its type is not whole yet.
    Type { bytes: [u8; 8], filled: u8 },
    /// The control stream, between or inside frames.
    Control { bytes: [u8; 16], filled: u8 },
    /// The control stream, inside a frame that says nothing to us.
    Skip { left: u64 },
    /// Any other: QPACK without a dynamic table says nothing, and what is unknown is ignored (RFC 9114 §6.2).
    Ignored,
}

impl Default for UniStream {
    fn default() -> Self {
        Self::Type { bytes: [0; 8], filled: 0 }
    }
}

impl UniStream {
    /// Takes the next bytes; the id of a GOAWAY if there was one, of the last if there were more.
    ///
    /// # Errors
    /// What the server has broken.
    pub(super) fn handle(&mut self, mut data: &[u8]) -> Result<Option<u64>, Failure> {
        let mut goaway = None;
        while let Some((&byte, rest)) = data.split_first() {
            match self {
                Self::Ignored => return Ok(goaway),
                Self::Skip { left } => {
                    let skipped = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                    data = &data[skipped..];
                    *left -= skipped as u64;
                    if *left == 0 {
                        *self = Self::control();
                    }
                }
                Self::Type { bytes, filled } => {
                    data = rest;
                    if let Some(kind) = push(bytes, filled, byte).and_then(varint) {
                        *self = match kind.0 {
                            STREAM_CONTROL => Self::control(),
                            STREAM_PUSH => return Err(broken("a push, which was not allowed")),
                            _ => Self::Ignored,
                        };
                    }
                }
                Self::Control { bytes, filled } => {
                    data = rest;
                    let Some(header) = push(bytes, filled, byte) else {
                        return Err(broken("GOAWAY of more than 16 bytes"));
                    };
                    let Some((kind, length, used)) = frame_header(header) else { continue };
                    match kind {
                        FRAME_GOAWAY if length == 0 || length > 8 => {
                            return Err(broken("GOAWAY without an id"));
                        }
                        FRAME_GOAWAY if (header.len() - used) < length as usize => {}
                        FRAME_GOAWAY => {
                            let id = varint(&header[used..]);
                            goaway = Some(id.ok_or_else(|| broken("GOAWAY without an id"))?.0);
                            *self = Self::control();
                        }
                        _ if length == 0 => *self = Self::control(),
                        _ => *self = Self::Skip { left: length },
                    }
                }
            }
        }
        Ok(goaway)
    }

    fn control() -> Self {
        Self::Control { bytes: [0; 16], filled: 0 }
    }
}

/// Appends a byte, and gives all there are; `None` when there is no room.
fn push<'a, const N: usize>(bytes: &'a mut [u8; N], filled: &mut u8, byte: u8) -> Option<&'a [u8]> {
    *bytes.get_mut(usize::from(*filled))? = byte;
    *filled += 1;
    bytes.get(..usize::from(*filled))
}

/// Stream types (RFC 9114 §11.2.4).
const STREAM_CONTROL: u64 = 0x00;
const STREAM_PUSH: u64 = 0x01;

/// RFC 9114 §7.2.6.
const FRAME_GOAWAY: u64 = 0x07;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(parts: &[&[u8]]) -> Result<Option<u64>, Failure> {
        let (mut stream, mut last) = (UniStream::default(), None);
        for part in parts {
            last = stream.handle(part)?.or(last);
        }
        Ok(last)
    }

    #[test]
    fn goaway_is_found_between_other_frames_however_they_are_split() {
        let whole = b"\x00\x04\x02\x01\x00\x21\x03abc\x21\x00\x07\x02\x41\x00\x21\x01x";
        for at in 0..=whole.len() {
            let (head, tail) = whole.split_at(at);
            assert_eq!(read(&[head, tail]), Ok(Some(0x100)), "split at {at}");
        }
        assert_eq!(read(&whole.chunks(1).collect::<Vec<_>>()), Ok(Some(0x100)));
    }

    #[test]
    fn streams_of_qpack_and_of_unknown_types_are_ignored() {
        assert_eq!(read(&[b"\x02\x07\x01\x00"]), Ok(None));
        assert_eq!(read(&[b"\x40\x21\x07\x01\x00"]), Ok(None));
    }

    #[test]
    fn a_push_and_a_goaway_without_an_id_break_the_protocol() {
        assert_eq!(read(&[b"\x01\x00"]).unwrap_err().kind(), "protocol");
        assert_eq!(read(&[b"\x00\x07\x00"]).unwrap_err().kind(), "protocol");
        assert_eq!(read(&[b"\x00\x07\x01\x40"]).unwrap_err().kind(), "protocol");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(data in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&[&data]);
            let _ = read(&[b"\x00", &data]);
            let _ = read(&data.chunks(1).collect::<Vec<_>>());
        }
    }
}
