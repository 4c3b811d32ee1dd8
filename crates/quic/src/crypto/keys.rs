//! Packet and header keys: from rustls's form into the engine's.
//!
//! With no observer the engine's call reaches rustls's key through the same two indirections as
//! the engine's own adaptor; an observer is a different type behind the first of them, so that
//! its absence costs no branch.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

use bytes::BytesMut;
use quinn_proto::crypto::{CryptoError, HeaderKey, KeyPair, Keys, PacketKey};
use rustls::quic::{self, Secrets};

use super::{Direction, Level, PacketObserver, padding, path::PathWatch};

/// Shared by the keys of one connection.
pub(super) type Observer = Option<Arc<dyn PacketObserver>>;

/// Who looks for validated paths: of a server's packets after the handshake.
pub(super) type Path<'a> = Option<&'a Arc<PathWatch>>;

/// Both directions of one level.
pub(super) fn pair(keys: quic::Keys, level: Level, observer: &Observer, path: Path<'_>) -> Keys {
    let quic::Keys { local, remote } = keys;
    Keys {
        header: KeyPair { local: header(local.header), remote: header(remote.header) },
        packet: KeyPair {
            local: packet(local.packet, level, observer, path),
            remote: packet(remote.packet, level, observer, path),
        },
    }
}

/// Both directions of the handshake; what can be opened proves the peer's address (RFC 9000 §8.1).
pub(super) fn handshake(keys: quic::Keys, observer: &Observer, path: Path<'_>) -> Keys {
    let mut keys = pair(keys, Level::Handshake, observer, None);
    if let Some(path) = path {
        keys.packet.remote = Box::new(Proving { key: keys.packet.remote, path: path.clone() });
    }
    keys
}

pub(super) fn header(key: Box<dyn quic::HeaderProtectionKey>) -> Box<dyn HeaderKey> {
    Box::new(Header(key))
}

pub(super) fn packet(
    key: Box<dyn quic::PacketKey>,
    level: Level,
    observer: &Observer,
    path: Path<'_>,
) -> Box<dyn PacketKey> {
    Packet { key, path: path.cloned() }.observed(level, observer)
}

/// The keys that `secrets` give. That for sending is derived when it is first used, which for most connections is never:
/// it costs the AEAD's tables. That for receiving has to be there before, so that no packet takes longer than another for
/// being the first of its phase (RFC 9001 §6.3).
pub(super) fn next(
    secrets: &Arc<Secrets>,
    observer: &Observer,
    path: Path<'_>,
) -> KeyPair<Box<dyn PacketKey>> {
    let remote = Secrets::clone(secrets).next_packet_keys().remote;
    let later = Later {
        secrets: secrets.clone(),
        observer: observer.clone(),
        path: path.cloned(),
        key: OnceLock::new(),
    };
    KeyPair { local: Box::new(later), remote: packet(remote, Level::OneRtt, observer, path) }
}

/// Keys of both directions that can be had more than once.
pub(super) struct Plain {
    header: KeyPair<Header<Arc<dyn quic::HeaderProtectionKey>>>,
    packet: KeyPair<Packet<Arc<dyn quic::PacketKey>>>,
}

impl Plain {
    pub(super) fn observed(&self, level: Level, observer: &Observer) -> Keys {
        let Self { header, packet } = self;
        Keys {
            header: KeyPair {
                local: Box::new(header.local.clone()),
                remote: Box::new(header.remote.clone()),
            },
            packet: KeyPair {
                local: packet.local.clone().observed(level, observer),
                remote: packet.remote.clone().observed(level, observer),
            },
        }
    }
}

impl From<quic::Keys> for Plain {
    fn from(keys: quic::Keys) -> Self {
        let quic::Keys { local, remote } = keys;
        Self {
            header: KeyPair {
                local: Header(local.header.into()),
                remote: Header(remote.header.into()),
            },
            packet: KeyPair {
                local: Packet { key: local.packet.into(), path: None },
                remote: Packet { key: remote.packet.into(), path: None },
            },
        }
    }
}

#[derive(Clone)]
struct Header<K>(K);

impl<K: Deref<Target = dyn quic::HeaderProtectionKey>> Header<K> {
    /// The sample, the first byte and what may be the packet number (RFC 9001 §5.4.2).
    ///
    /// The engine has checked that `packet` is long enough.
    fn split<'a>(&self, at: usize, packet: &'a mut [u8]) -> (&'a [u8], &'a mut u8, &'a mut [u8]) {
        let (header, rest) = packet.split_at_mut(at + 4);
        let (first, header) = header.split_first_mut().expect("the engine passes a packet");
        (&rest[..self.0.sample_len()], first, &mut header[at - 1..])
    }
}

impl<K> HeaderKey for Header<K>
where
    K: Deref<Target = dyn quic::HeaderProtectionKey> + Send + Sync,
{
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

#[derive(Clone)]
struct Packet<K> {
    key: K,
    path: Option<Arc<PathWatch>>,
}

impl<K: Deref<Target = dyn quic::PacketKey> + Send + Sync + 'static> Packet<K> {
    fn observed(self, level: Level, observer: &Observer) -> Box<dyn PacketKey> {
        match observer {
            None => Box::new(self),
            Some(observer) => Box::new(Observed { key: self, level, observer: observer.clone() }),
        }
    }

    /// Decrypts in place; what is left are the frames, PADDING among them.
    #[inline]
    fn open(&self, packet: u64, header: &[u8], buf: &mut BytesMut) -> Result<(), CryptoError> {
        let plain = self.key.decrypt_in_place(packet, header, buf).map_err(|_| CryptoError)?;
        let length = plain.len();
        buf.truncate(length);
        if let Some(path) = &self.path {
            path.held.on_received(buf);
            if path.is_open() {
                path.on_received(buf);
            }
        }
        Ok(())
    }
}

impl<K: Deref<Target = dyn quic::PacketKey> + Send + Sync + 'static> PacketKey for Packet<K> {
    #[inline]
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        let (header, payload) = buf.split_at_mut(header_len);
        let tag_len = self.key.tag_len();
        let mut end = payload.len() - tag_len;
        if let Some(path) = self.path.as_ref().filter(|path| path.is_open()) {
            path.on_sent(&payload[..end]);
            // What is behind it is not sent: whoever transmits asks for the length.
            end = path.length_to_seal(&payload[..end], header_len, tag_len);
        }
        let (payload, tag) = payload[..end + tag_len].split_at_mut(end);
        let sealed = self.key.encrypt_in_place(packet, header, payload);
        tag.copy_from_slice(sealed.expect("a packet is shorter than the AEAD's limit").as_ref());
    }

    #[inline]
    fn decrypt(&self, packet: u64, header: &[u8], buf: &mut BytesMut) -> Result<(), CryptoError> {
        self.open(packet, header, buf)?;
        buf.truncate(padding::length_without(buf).max(padding::least_of_first(header, buf)));
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

/// The key for sending in the next phase.
struct Later {
    secrets: Arc<Secrets>,
    observer: Observer,
    path: Option<Arc<PathWatch>>,
    key: OnceLock<Box<dyn PacketKey>>,
}

impl Later {
    fn key(&self) -> &dyn PacketKey {
        &**self.key.get_or_init(|| {
            let local = Secrets::clone(&self.secrets).next_packet_keys().local;
            packet(local, Level::OneRtt, &self.observer, self.path.as_ref())
        })
    }
}

impl PacketKey for Later {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        self.key().encrypt(packet, buf, header_len);
    }

    fn decrypt(&self, packet: u64, header: &[u8], buf: &mut BytesMut) -> Result<(), CryptoError> {
        self.key().decrypt(packet, header, buf)
    }

    fn tag_len(&self) -> usize {
        self.key().tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.key().confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.key().integrity_limit()
    }
}

/// The key for what a client sends in the handshake.
struct Proving {
    key: Box<dyn PacketKey>,
    path: Arc<PathWatch>,
}

impl PacketKey for Proving {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        self.key.encrypt(packet, buf, header_len);
    }

    fn decrypt(&self, packet: u64, header: &[u8], buf: &mut BytesMut) -> Result<(), CryptoError> {
        self.key.decrypt(packet, header, buf)?;
        self.path.prove();
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

struct Observed<K> {
    key: Packet<K>,
    level: Level,
    observer: Arc<dyn PacketObserver>,
}

impl<K: Deref<Target = dyn quic::PacketKey> + Send + Sync + 'static> PacketKey for Observed<K> {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        let frames = &buf[header_len..buf.len() - self.key.tag_len()];
        self.observer.packet(Direction::Sent, self.level, packet, frames);
        self.key.encrypt(packet, buf, header_len);
    }

    fn decrypt(&self, packet: u64, header: &[u8], buf: &mut BytesMut) -> Result<(), CryptoError> {
        self.key.open(packet, header, buf)?;
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
