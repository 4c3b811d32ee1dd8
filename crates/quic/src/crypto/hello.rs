//! The one look at a ClientHello that rustls does not take: are the transport parameters where QUIC version 1 has them?
//!
//! rustls also takes them from the extension that drafts used, in any version. [`Watch`] is fed by the session with
//! what it hands to rustls, keeps no more than the first message, and ends with its verdict.

/// Reads the first handshake message of a client.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The message so far; the engine bounds it, and so does [`LONGEST`].
    message: Vec<u8>,
    is_done: bool,
    is_early: bool,
}

/// A ClientHello has no `quic_transport_parameters` of version 1 (RFC 9001 §8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoParameters;

impl Watch {
    /// Takes bytes of the CRYPTO stream in order, in any split.
    ///
    /// What is no ClientHello is left to rustls, which has its own words for it.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), NoParameters> {
        if self.is_done {
            return Ok(());
        }
        let room = LONGEST.saturating_sub(self.message.len());
        self.message.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let Some(hello) = Cursor(&self.message).message() else {
            self.is_done = self.message.len() == LONGEST;
            return Ok(());
        };
        self.is_early |= hello.has_extension(EARLY_DATA) == Some(true);
        let verdict = match hello.has_extension(TRANSPORT_PARAMETERS) {
            Some(false) => Err(NoParameters),
            Some(true) | None => Ok(()),
        };
        (self.message, self.is_done) = (Vec::new(), true);
        verdict
    }

    /// Whether the client sends early data behind it (RFC 8446 §4.2.10).
    pub(super) fn is_early(&self) -> bool {
        self.is_early
    }
}

/// Whether there is a handshake message to its end.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    Cursor(bytes).message().is_some()
}

/// What is left to read; every step is `None` where the bytes end too early.
#[derive(Clone, Copy)]
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// The body of a whole handshake message.
    fn message(mut self) -> Option<Self> {
        self.take(1)?;
        self.vector(3)
    }

    /// Whether a ClientHello has the extension (RFC 8446 §4.1.2).
    fn has_extension(mut self, wanted: u16) -> Option<bool> {
        self.take(VERSION_AND_RANDOM)?;
        self.vector(1)?; // legacy_session_id
        self.vector(2)?; // cipher_suites
        self.vector(1)?; // legacy_compression_methods
        let mut extensions = self.vector(2)?;
        while !extensions.0.is_empty() {
            let kind = extensions.take(2)?;
            extensions.vector(2)?;
            if kind == wanted.to_be_bytes() {
                return Some(true);
            }
        }
        Some(false)
    }

    /// A vector behind a length of `width` bytes.
    fn vector(&mut self, width: usize) -> Option<Self> {
        let length = self.take(width)?.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        self.take(length).map(Cursor)
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

/// `quic_transport_parameters` (RFC 9001 §8.2).
const TRANSPORT_PARAMETERS: u16 = 0x39;
/// `early_data` (RFC 8446 §4.2.10).
const EARLY_DATA: u16 = 42;
const VERSION_AND_RANDOM: usize = 2 + 32;
/// rustls refuses a longer handshake message.
const LONGEST: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello with extensions of these types, each of three bytes.
    fn hello(extensions: &[u16]) -> Vec<u8> {
        let list: Vec<u8> = extensions
            .iter()
            .flat_map(|kind| [&kind.to_be_bytes()[..], &[0, 3, 1, 2, 3]].concat())
            .collect();
        let length = u16::try_from(list.len()).unwrap().to_be_bytes();
        let body =
            [&[0x5A; VERSION_AND_RANDOM][..], &[0, 0, 2, 0x13, 1, 1, 0], &length, &list].concat();
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[1], &length[1..], &body].concat()
    }

    fn verdict(bytes: &[u8], piece: usize) -> Result<(), NoParameters> {
        let mut watch = Watch::default();
        bytes.chunks(piece).try_for_each(|piece| watch.read(piece))
    }

    // req: 9001-8.2-extension
    #[test]
    fn the_extension_of_drafts_does_not_stand_for_that_of_version_1() {
        for piece in [1, 7, 1000] {
            assert_eq!(verdict(&hello(&[0x0A, 0x39]), piece), Ok(()));
            assert_eq!(verdict(&hello(&[0x39, 0xFFA5]), piece), Ok(()));
            assert_eq!(verdict(&hello(&[0x0A, 0xFFA5]), piece), Err(NoParameters));
            assert_eq!(verdict(&hello(&[]), piece), Err(NoParameters));
        }
    }

    #[test]
    fn nothing_is_judged_before_the_last_byte_nor_after_the_first_message() {
        let bad = hello(&[0xFFA5]);
        assert_eq!(verdict(&bad[..bad.len() - 1], 1), Ok(()));
        let mut watch = Watch::default();
        assert_eq!(watch.read(&hello(&[0x39])), Ok(()));
        assert_eq!(watch.read(&bad), Ok(()));
        assert_eq!(watch.message.capacity(), 0);
    }

    #[test]
    fn what_is_no_client_hello_is_left_to_rustls() {
        let mut short_list = hello(&[0x0A]);
        let length = short_list.len();
        short_list[length - 4] = 4; // One more byte than there is.
        assert_eq!(verdict(&short_list, 1000), Ok(()));
        assert_eq!(verdict(&[20, 0, 0, 1, 9], 1), Ok(()));
    }

    #[test]
    fn no_more_is_kept_than_the_longest_message() {
        let mut watch = Watch::default();
        for _ in 0..3 {
            assert_eq!(watch.read(&[0xFF; LONGEST - 1]), Ok(()));
        }
        assert!(watch.is_done && watch.message.len() == LONGEST);
    }
}
