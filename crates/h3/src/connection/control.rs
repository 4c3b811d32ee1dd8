//! The control streams (RFC 9114 §6.2.1): the peer's, frame by frame, and what we say on ours.

use bytes::Bytes;

use super::budget;
use super::shared::Shared;
use crate::frame::{self, FrameDecoder, FrameType, Header, Item, Payload};
use crate::priority::{self, Update};
use crate::settings::{self, Settings};
use crate::{PeerMisbehaved, Role, StreamId};

/// The peer's control stream.
#[derive(Debug, Default)]
pub(super) struct ControlStream {
    frames: FrameDecoder,
    phase: Phase,
    /// The identifier of the last GOAWAY.
    goaway: Option<u64>,
    /// The value of the last MAX_PUSH_ID.
    max_push_id: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing has come.
    #[default]
    ExpectSettings,
    /// SETTINGS came.
    Open,
}

/// A frame that the connection has to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ControlFrame {
    Settings(Settings),
    Goaway(u64),
    PriorityUpdate(Update),
}

impl ControlStream {
    /// The next frame to act on, taken off the front of `data`; `None` when `data` is used up.
    ///
    /// # Errors
    /// The rule that was broken; all of them end the connection.
    pub(super) fn next(
        &mut self,
        data: &mut Bytes,
        shared: &mut Shared,
    ) -> Result<Option<ControlFrame>, PeerMisbehaved> {
        while let Some(item) = self.frames.next(data) {
            match item {
                Item::Header(header) => {
                    let payload = self.on_frame(header, shared)?;
                    self.frames.choose(payload);
                }
                Item::Skipped(bytes) => shared.count_skipped(bytes)?,
                Item::Piece(_) => debug_assert!(false, "nothing passes on a control stream"),
                Item::Collected(kind, payload) => {
                    if let Some(frame) = self.on_payload(kind, payload, shared.role)? {
                        return Ok(Some(frame));
                    }
                }
            }
        }
        Ok(None)
    }

    /// A frame begins: may it, and what becomes of its payload?
    fn on_frame(&mut self, header: Header, shared: &mut Shared) -> Result<Payload, PeerMisbehaved> {
        // req: 9114-6.2.1-settings-first
        if self.phase == Phase::ExpectSettings && header.kind != FrameType::Settings {
            return Err(PeerMisbehaved::MissingSettings);
        }
        if header.kind == FrameType::Unknown {
            // req: 9114-9-ignore-unknown-frames
            shared.count_unknown_frame()?;
            return Ok(Payload::Skip);
        }
        self.check_place(header.kind, shared.role)?;
        shared.counters.control_frames += 1;
        let largest = match header.kind {
            FrameType::Settings => settings::MAX_PAYLOAD,
            FrameType::PriorityUpdateRequest => {
                shared.budget.waste(budget::EXTRA)?;
                priority::MAX_PAYLOAD
            }
            // req: 9114-7.1-payload-fits
            _ if header.length > crate::varint::MAX_LEN as u64 => {
                return Err(PeerMisbehaved::FrameLength);
            }
            _ => {
                shared.budget.waste(budget::FRAME)?;
                header.length
            }
        };
        if header.length > largest {
            return Err(PeerMisbehaved::ControlFrameTooLarge);
        }
        Ok(Payload::Collect)
    }

    fn check_place(&self, kind: FrameType, role: Role) -> Result<(), PeerMisbehaved> {
        match (kind, role) {
            // req: 9114-7.2.4-once
            (FrameType::Settings, _) if self.phase == Phase::Open => {
                Err(PeerMisbehaved::SettingsTwice)
            }
            // req: 9114-7.2.1-not-on-control-stream
            (FrameType::Data, _) => Err(PeerMisbehaved::DataOnControlStream),
            // req: 9114-7.2.2-not-on-control-stream
            (FrameType::Headers, _) => Err(PeerMisbehaved::HeadersOnControlStream),
            // req: 9114-7.2.5-not-on-control-stream
            (FrameType::PushPromise, _) => Err(PeerMisbehaved::PushPromiseOnControlStream),
            // req: 9114-7.2.7-not-from-server
            (FrameType::MaxPushId, Role::Client) => Err(PeerMisbehaved::MaxPushIdFromServer),
            // req: 9218-7.2-not-from-server
            (FrameType::PriorityUpdateRequest | FrameType::PriorityUpdatePush, Role::Client) => {
                Err(PeerMisbehaved::PriorityUpdateFromServer)
            }
            // req: 9218-7.2-push-promised
            (FrameType::PriorityUpdatePush, Role::Server) => {
                Err(PeerMisbehaved::PriorityUpdateUnknownPush)
            }
            // req: 9114-7.2.8-http2-frames
            (FrameType::Http2, _) => Err(PeerMisbehaved::Http2Frame),
            (
                FrameType::Settings
                | FrameType::CancelPush
                | FrameType::Goaway
                | FrameType::MaxPushId
                | FrameType::PriorityUpdateRequest
                | FrameType::Unknown,
                _,
            ) => Ok(()),
        }
    }

    fn on_payload(
        &mut self,
        kind: FrameType,
        payload: Bytes,
        role: Role,
    ) -> Result<Option<ControlFrame>, PeerMisbehaved> {
        match kind {
            FrameType::Settings => {
                let settings = Settings::parse(payload)?;
                self.phase = Phase::Open;
                Ok(Some(ControlFrame::Settings(settings)))
            }
            FrameType::Goaway => {
                let id = frame::only_integer(&payload)?;
                self.on_goaway(id, role)?;
                Ok(Some(ControlFrame::Goaway(id)))
            }
            FrameType::PriorityUpdateRequest => {
                Update::parse(payload).map(|update| Some(ControlFrame::PriorityUpdate(update)))
            }
            FrameType::MaxPushId => {
                // We never push, so that only the rule about the value is left.
                self.on_max_push_id(frame::only_integer(&payload)?).map(|()| None)
            }
            _ => {
                // req: 9114-7.2.3-known-push
                debug_assert_eq!(kind, FrameType::CancelPush);
                frame::only_integer(&payload)?;
                Err(PeerMisbehaved::CancelPushUnknown)
            }
        }
    }

    fn on_goaway(&mut self, id: u64, role: Role) -> Result<(), PeerMisbehaved> {
        // A server names a request, a client a push.
        // req: 9114-5.2-request-id
        if role == Role::Client && !StreamId(id).is_request() {
            return Err(PeerMisbehaved::GoawayNotRequestId);
        }
        // req: 9114-5.2-no-increase
        if self.goaway.replace(id).is_some_and(|before| id > before) {
            return Err(PeerMisbehaved::GoawayIncreased);
        }
        Ok(())
    }

    fn on_max_push_id(&mut self, id: u64) -> Result<(), PeerMisbehaved> {
        // req: 9114-7.2.7-no-decrease
        if self.max_push_id.replace(id).is_some_and(|before| id < before) {
            return Err(PeerMisbehaved::MaxPushIdReduced);
        }
        Ok(())
    }
}
