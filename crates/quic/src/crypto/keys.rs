//! Packet and header keys: from rustls's form into the engine's.
//!
//! With no observer the engine's call reaches rustls's key through the same two indirections as
//! the engine's own adaptor; an observer is a different type behind the first of them, so that
//! its absence costs no branch.

use std::sync::Arc;

use bytes::BytesMut;
use quinn_proto::crypto::{CryptoError, HeaderKey, KeyPair, Keys, PacketKey};
use rustls::quic;

use super::{Direction, Level, PacketObserver};

/// Shared by the keys of one connection.
pub(super) type Observer = Option<Arc<dyn PacketObserver>>;

/// Both directions of one level.
pub(super) fn pair(keys: quic::Keys, level: Level, observer: &Observer) -> Keys {
    Keys {
        header: KeyPair { local: header(keys.local.header), remote: header(keys.remote.header) },
        packet: KeyPair {
            local: packet(keys.local.packet, level, observer),
            remote: packet(keys.remote.packet, level, observer),
        },
    }
}

pub(super) fn header(key: Box<dyn quic::HeaderProtectionKey>) -> Box<dyn HeaderKey> {
    Box::new(Header(key))
}

pub(super) fn packet(
    key: Box<dyn quic::PacketKey>,
    level: Level,
    observer: &Observer,
) -> Box<dyn PacketKey> {
    match observer {
        None => Box::new(Packet(key)),
        Some(observer) => {
            Box::new(Observed { key: Packet(key), level, observer: observer.clone() })
        }
    }
}

struct Header(Box<dyn quic::HeaderProtectionKey>);

impl Header {
    /// The sample, the first byte and what may be the packet number (RFC 9001 §5.4.2).
    ///
    /// The engine has checked that `packet` is long enough.
    fn split<'a>(&self, at: usize, packet: &'a mut [u8]) -> (&'a [u8], &'a mut u8, &'a mut [u8]) {
        let (header, rest) = packet.split_at_mut(at + 4);
        let (first, header) = header.split_first_mut().expect("the engine passes a packet");
        (&rest[..self.0.sample_len()], first, &mut header[at - 1..])
    }
}

impl HeaderKey for Header {
    fn decrypt(&self, pn_offset: usize, packet: &mut [u8]) {
        let (sample, first, number) = self.split(pn_offset, packet);
        self.0.decrypt_in_place(sample, first, number).expect("sample and number have their sizes");
    }

    fn encrypt(&self, pn_offset: usize, packet: &mut [u8]) {
        let (sample, first, number) = self.split(pn_offset, packet);
        self.0.encrypt_in_place(sample, first, number).expect("sample and number have their sizes");
    }

    fn sample_size(&self) -> usize {
        self.0.sample_len()
    }
}

struct Packet(Box<dyn quic::PacketKey>);

impl PacketKey for Packet {
    #[inline]
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        let (header, payload) = buf.split_at_mut(header_len);
        let end = payload.len() - self.0.tag_len();
        let (payload, tag) = payload.split_at_mut(end);
        let sealed = self.0.encrypt_in_place(packet, header, payload);
        tag.copy_from_slice(sealed.expect("a packet is shorter than the AEAD's limit").as_ref());
    }

    #[inline]
    fn decrypt(&self, packet: u64, header: &[u8], buf: &mut BytesMut) -> Result<(), CryptoError> {
        let plain = self.0.decrypt_in_place(packet, header, buf).map_err(|_| CryptoError)?;
        let length = plain.len();
        buf.truncate(length);
        Ok(())
    }

    fn tag_len(&self) -> usize {
        self.0.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.0.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.0.integrity_limit()
    }
}

struct Observed {
    key: Packet,
    level: Level,
    observer: Arc<dyn PacketObserver>,
}

impl PacketKey for Observed {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        let frames = &buf[header_len..buf.len() - self.key.tag_len()];
        self.observer.packet(Direction::Sent, self.level, packet, frames);
        self.key.encrypt(packet, buf, header_len);
    }

    fn decrypt(&self, packet: u64, header: &[u8], buf: &mut BytesMut) -> Result<(), CryptoError> {
        self.key.decrypt(packet, header, buf)?;
        self.observer.packet(Direction::Received, self.level, packet, buf);
        Ok(())
    }

    fn tag_len(&self) -> usize {
        self.key.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.key.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.key.integrity_limit()
    }
}
