//! Unidirectional streams (RFC 9114 §6.2): which of the peer's streams is what.

use bytes::{Buf, Bytes};
use rustc_hash::FxHashMap;

use super::ids::StreamIds;
use crate::{PeerMisbehaved, Role, StreamId, varint};

/// The peer's unidirectional streams.
#[derive(Debug, Default)]
pub(super) struct UniStreams {
    ids: StreamIds,
    control: Option<StreamId>,
    encoder: Option<StreamId>,
    decoder: Option<StreamId>,
    /// Streams whose type is not whole.
    untyped: FxHashMap<StreamId, Partial>,
}

/// What a stream of the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UniStream {
    /// The control stream (RFC 9114 §6.2.1).
    Control,
    /// The encoder stream (RFC 9204 §4.2).
    Encoder,
    /// The decoder stream (RFC 9204 §4.2).
    Decoder,
    /// A type that means nothing to us; this is the first that we know of it.
    Unknown,
    /// Its type is not whole, or we stopped reading it.
    Silent,
}

impl UniStream {
    /// The rule that closing this stream breaks, if it must stay open.
    pub(super) const fn closed(self) -> Option<PeerMisbehaved> {
        match self {
            // req: 9114-6.2.1-control-stays-open
            Self::Control => Some(PeerMisbehaved::ControlStreamClosed),
            // req: 9204-4.2-streams-not-closed
            Self::Encoder => Some(PeerMisbehaved::EncoderStreamClosed),
            Self::Decoder => Some(PeerMisbehaved::DecoderStreamClosed),
            // req: 9114-6.2-closed-without-type
            Self::Unknown | Self::Silent => None,
        }
    }
}

impl UniStreams {
    /// What stream `id` is, now that `data` came on it; the type is taken off. `role` is ours.
    ///
    /// # Errors
    /// The rule that was broken; all of them end the connection.
    pub(super) fn receive(
        &mut self,
        id: StreamId,
        data: &mut Bytes,
        role: Role,
    ) -> Result<UniStream, PeerMisbehaved> {
        let known = self.find(id);
        if known != UniStream::Silent {
            return Ok(known);
        }
        if self.ids.see(id.0 >> 2)? {
            self.untyped.insert(id, Partial::default());
        }
        let Some(partial) = self.untyped.get_mut(&id) else { return Ok(UniStream::Silent) };
        let Some(kind) = partial.read(data) else {
            return self.check_untyped();
        };
        self.untyped.remove(&id);
        self.assign(id, kind, role)
    }

    /// The peer ended or reset stream `id`; what it was.
    pub(super) fn close(&mut self, id: StreamId) -> Result<UniStream, PeerMisbehaved> {
        self.ids.see(id.0 >> 2)?;
        self.untyped.remove(&id);
        Ok(self.find(id))
    }

    fn find(&self, id: StreamId) -> UniStream {
        match Some(id) {
            id if id == self.control => UniStream::Control,
            id if id == self.encoder => UniStream::Encoder,
            id if id == self.decoder => UniStream::Decoder,
            _ => UniStream::Silent,
        }
    }

    fn assign(&mut self, id: StreamId, kind: u64, role: Role) -> Result<UniStream, PeerMisbehaved> {
        let (place, found, twice) = match (kind, role) {
            // req: 9114-6.2.1-one-control-stream
            (CONTROL, _) => {
                (&mut self.control, UniStream::Control, PeerMisbehaved::ControlStreamTwice)
            }
            // req: 9204-4.2-streams-once
            (QPACK_ENCODER, _) => {
                (&mut self.encoder, UniStream::Encoder, PeerMisbehaved::EncoderStreamTwice)
            }
            (QPACK_DECODER, _) => {
                (&mut self.decoder, UniStream::Decoder, PeerMisbehaved::DecoderStreamTwice)
            }
            // req: 9114-6.2.2-only-servers-push
            (PUSH, Role::Server) => return Err(PeerMisbehaved::PushStreamFromClient),
            // req: 9114-4.6-push-within-limit
            (PUSH, Role::Client) => return Err(PeerMisbehaved::PushStreamNotAllowed),
            // req: 9114-6.2-unknown-types
            // req: 9114-6.2.3-reserved-types
            _ => return Ok(UniStream::Unknown),
        };
        match place.replace(id) {
            None => Ok(found),
            Some(_) => Err(twice),
        }
    }

    fn check_untyped(&self) -> Result<UniStream, PeerMisbehaved> {
        if self.untyped.len() > MAX_UNTYPED {
            Err(PeerMisbehaved::TooManyUntypedStreams)
        } else {
            Ok(UniStream::Silent)
        }
    }
}

/// The bytes of a stream type that came before its end.
#[derive(Clone, Copy, Debug, Default)]
struct Partial {
    bytes: [u8; varint::MAX_LEN],
    len: usize,
}

impl Partial {
    fn read(&mut self, data: &mut Bytes) -> Option<u64> {
        while data.has_remaining() {
            *self.bytes.get_mut(self.len)? = data.get_u8();
            self.len += 1;
            if let Some((kind, _)) = self.bytes.get(..self.len).and_then(varint::read) {
                return Some(kind);
            }
        }
        None
    }
}

pub(super) const CONTROL: u64 = 0x00;
pub(super) const PUSH: u64 = 0x01;
pub(super) const QPACK_ENCODER: u64 = 0x02;
pub(super) const QPACK_DECODER: u64 = 0x03;

/// Streams that may lack their type at one time. Types come in the first byte of the first packet; more than a few wait
/// only at a peer that means to.
const MAX_UNTYPED: usize = 32;
