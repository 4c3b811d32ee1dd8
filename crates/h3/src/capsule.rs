//! Capsules (RFC 9297 §3): typed records on the data stream of an upgraded request.
//!
//! The codec is for whoever speaks a protocol over extended CONNECT (CONNECT-UDP, WebTransport); this crate does
//! not look into tunnels. Content of any split goes in, capsules come out; nothing larger than the bound is held.

use bytes::{Buf, Bytes, BytesMut};

use crate::varint;

/// One capsule.
///
/// # Wire format (RFC 9297 §3.2)
/// ```text
/// Capsule { Capsule Type (i), Capsule Length (i), Capsule Value (..) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capsule {
    /// Capsule type; unknown ones are to be dropped without a sound (RFC 9297 §3.2).
    pub kind: u64,
    /// Capsule value.
    pub value: Bytes,
}

impl Capsule {
    /// The DATAGRAM capsule (RFC 9297 §3.5): an HTTP datagram that must arrive, or where QUIC has none.
    pub const DATAGRAM: u64 = 0x00;

    /// Appends the capsule.
    ///
    /// # Panics
    /// In debug builds, if the type does not fit a variable-length integer (62 bits).
    pub fn write(&self, out: &mut BytesMut) {
        varint::write(self.kind, out);
        varint::write(self.value.len() as u64, out);
        out.extend_from_slice(&self.value);
    }
}

/// What is wrong with a capsule stream; the message is then malformed (RFC 9297 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CapsuleError {
    /// A capsule is larger than the bound: the stream is to be reset.
    #[error("a capsule of {length} bytes is larger than the bound of {bound}")]
    TooLarge {
        /// Its length, in bytes.
        length: u64,
        /// The largest value that is accepted, in bytes.
        bound: u64,
    },
    /// The stream ended within a capsule.
    #[error("the stream ended within a capsule")]
    Truncated,
}

/// Cuts content into capsules.
#[derive(Debug)]
pub struct CapsuleDecoder {
    bound: u64,
    held: BytesMut,
}

impl CapsuleDecoder {
    /// A decoder that accepts values of up to `bound` bytes.
    pub fn new(bound: u64) -> Self {
        Self { bound, held: BytesMut::new() }
    }

    /// The next capsule, taken off the front of `content`; `None` when `content` is used up.
    ///
    /// # Errors
    /// [`CapsuleError::TooLarge`], before the value is buffered.
    pub fn next(&mut self, content: &mut Bytes) -> Result<Option<Capsule>, CapsuleError> {
        loop {
            match self.header()? {
                // Held whole, or cut after its header.
                Some((kind, header, whole)) => {
                    let missing = whole.saturating_sub(self.held.len());
                    let taken = content.split_to(missing.min(content.len()));
                    self.held.extend_from_slice(&taken);
                    if self.held.len() < whole {
                        return Ok(None);
                    }
                    let mut capsule = self.held.split_to(whole);
                    capsule.advance(header);
                    return Ok(Some(Capsule { kind, value: capsule.freeze() }));
                }
                None if content.is_empty() => return Ok(None),
                // Byte by byte, so that nothing of the next capsule is held.
                None => self.held.extend_from_slice(&content.split_to(1)),
            }
        }
    }

    /// The content has ended.
    ///
    /// # Errors
    /// [`CapsuleError::Truncated`] when it ended within a capsule.
    pub fn finish(&self) -> Result<(), CapsuleError> {
        // req: 9297-3.3-truncated
        if self.held.is_empty() { Ok(()) } else { Err(CapsuleError::Truncated) }
    }

    /// Type, length of the header, and of the whole capsule.
    fn header(&self) -> Result<Option<(u64, usize, usize)>, CapsuleError> {
        let Some((kind, kind_len)) = varint::read(&self.held) else { return Ok(None) };
        let rest = self.held.get(kind_len..).unwrap_or_default();
        let Some((length, length_len)) = varint::read(rest) else { return Ok(None) };
        let too_large = CapsuleError::TooLarge { length, bound: self.bound };
        if length > self.bound {
            return Err(too_large);
        }
        let header = kind_len + length_len;
        let value = usize::try_from(length).map_err(|_| too_large)?;
        Ok(Some((kind, header, header + value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capsules(content: &[u8], split: usize) -> Result<Vec<Capsule>, CapsuleError> {
        let mut decoder = CapsuleDecoder::new(8);
        let mut out = Vec::new();
        for piece in content.chunks(split) {
            let mut piece = Bytes::copy_from_slice(piece);
            while let Some(capsule) = decoder.next(&mut piece)? {
                out.push(capsule);
            }
        }
        decoder.finish()?;
        Ok(out)
    }

    #[test]
    fn any_split_gives_the_same_capsules() {
        let expected = vec![
            Capsule { kind: Capsule::DATAGRAM, value: Bytes::from_static(b"12345678") },
            Capsule { kind: 0x4321, value: Bytes::new() },
            Capsule { kind: 5, value: Bytes::from_static(b"x") },
        ];
        let mut content = BytesMut::new();
        for capsule in &expected {
            capsule.write(&mut content);
        }
        for split in 1..=content.len() {
            assert_eq!(capsules(&content, split), Ok(expected.clone()), "split {split}");
        }
    }

    #[test]
    fn a_capsule_above_the_bound_is_refused_at_its_header() {
        let too_large = Err(CapsuleError::TooLarge { length: 9, bound: 8 });
        assert_eq!(capsules(&[0x00, 0x09], 1), too_large);
    }

    #[test]
    fn an_end_within_a_capsule_is_seen() {
        // req: 9297-3.3-truncated
        assert_eq!(capsules(&[0x00], 1), Err(CapsuleError::Truncated));
        assert_eq!(capsules(&[0x00, 0x02, 0x61], 3), Err(CapsuleError::Truncated));
    }
}
