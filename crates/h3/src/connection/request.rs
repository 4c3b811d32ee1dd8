//! A request stream (RFC 9114 §4.1): its frames, the message that we read and the one that we send.
//!
//! Bytes go through the frame decoder to the half that reads ([`Receiving`]); a field section that waits for the peer's
//! encoder stream stops that half ([`Blocked`]) until the connection calls [`RequestStream::resume`].

use std::collections::VecDeque;

use bytes::Bytes;
use sterna_qpack::Outcome;

use super::budget;
use super::shared::Shared;
use super::state::{Receiving, Sending};
use crate::frame::{FrameDecoder, FrameType, Header, Item, Payload};
use crate::message::Asked;
use crate::message::fields::Trailers;
use crate::message::request::RequestLines;
use crate::message::response::{self, ResponseLines};
use crate::message::section::{Kind, SectionReader};
use crate::{Code, Event, PeerMisbehaved, Role, StreamId};

mod send;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct RequestStream {
    id: StreamId,
    frames: FrameDecoder,
    receiving: Receiving,
    sending: Sending,
    asked: Asked,
    blocked: Option<Box<Blocked>>,
}

/// What waits until a field section can be decoded.
#[derive(Debug)]
struct Blocked {
    section: Bytes,
    /// What came behind it.
    rest: VecDeque<Bytes>,
    /// Of section and rest, in bytes.
    size: usize,
    has_ended: bool,
}

impl RequestStream {
    /// A stream on which nothing was sent or read.
    pub(super) fn new(id: StreamId) -> Self {
        Self {
            id,
            frames: FrameDecoder::default(),
            receiving: Receiving::Head,
            sending: Sending::Head,
            asked: Asked::Plain,
            blocked: None,
        }
    }

    /// Bytes of the peer's side, in any split.
    ///
    /// # Errors
    /// The rule that was broken; its scope says what is to end.
    pub(super) fn receive(
        &mut self,
        mut data: Bytes,
        fin: bool,
        shared: &mut Shared,
    ) -> Result<(), PeerMisbehaved> {
        if let Some(blocked) = &mut self.blocked {
            return blocked.push(data, fin, shared);
        }
        while self.receiving.is_read() {
            let Some(item) = self.frames.next(&mut data) else { break };
            match item {
                Item::Header(header) => self.on_frame(header, shared)?,
                Item::Piece(content) => self.on_content(content, shared)?,
                Item::Skipped(bytes) => shared.count_skipped(bytes)?,
                Item::Collected(_, section) => {
                    self.on_section(section, fin && data.is_empty(), shared)?;
                    if let Some(blocked) = &mut self.blocked {
                        return blocked.push(data, fin, shared);
                    }
                }
            }
        }
        if fin && self.receiving.is_open() { self.on_end(shared) } else { Ok(()) }
    }

    /// The section that blocked this stream can be decoded now.
    pub(super) fn resume(&mut self, shared: &mut Shared) -> Result<(), PeerMisbehaved> {
        let Some(blocked) = self.blocked.take() else { return Ok(()) };
        let Blocked { section, rest, size, has_ended } = *blocked;
        shared.blocked_bytes = shared.blocked_bytes.saturating_sub(size);
        shared.events.push_back(Event::Unblocked { id: self.id });
        self.on_section(section, has_ended && rest.is_empty(), shared)?;
        for data in rest {
            self.receive(data, false, shared)?;
        }
        if has_ended { self.receive(Bytes::new(), true, shared) } else { Ok(()) }
    }

    /// The peer gave its side up.
    ///
    /// # Errors
    /// [`PeerMisbehaved::RapidReset`], on a server.
    pub(super) fn on_reset(
        &mut self,
        code: u64,
        shared: &mut Shared,
    ) -> Result<(), PeerMisbehaved> {
        if !self.receiving.is_open() {
            return Ok(());
        }
        shared.counters.resets += 1;
        let is_announced = self.is_announced(shared.role);
        self.stop_receiving(shared);
        shared.cancel_sections(self.id);
        if is_announced {
            shared.events.push_back(Event::Reset { id: self.id, code });
        } else if self.sending.is_open() {
            // The application never heard of it, so that we answer the peer.
            self.sending = Sending::Abandoned;
            shared.output.reset(self.id, Code::RequestCancelled);
        }
        self.count_given_up(shared)
    }

    /// The peer does not want our side any more.
    ///
    /// # Errors
    /// [`PeerMisbehaved::RapidReset`], on a server.
    pub(super) fn on_stop_sending(
        &mut self,
        code: u64,
        shared: &mut Shared,
    ) -> Result<(), PeerMisbehaved> {
        if !self.sending.is_open() {
            return Ok(());
        }
        if !self.is_announced(shared.role) {
            // A request that nobody wants answered is not worth reading.
            self.reset(Code::RequestCancelled, shared);
            return self.count_given_up(shared);
        }
        // The other half goes on.
        // req: 9114-4.1-keep-response
        self.sending = Sending::Abandoned;
        shared.output.reset(self.id, Code::RequestCancelled);
        shared.events.push_back(Event::Stopped { id: self.id, code });
        if self.receiving == Receiving::Abandoned { Ok(()) } else { self.count_given_up(shared) }
    }

    /// Ends both sides because of a rule that the peer broke on this stream.
    ///
    /// # Errors
    /// [`PeerMisbehaved::RapidReset`], on a server: making us reset is no better than resetting.
    pub(super) fn on_misbehaviour(
        &mut self,
        rule: PeerMisbehaved,
        shared: &mut Shared,
    ) -> Result<(), PeerMisbehaved> {
        shared.counters.misbehaved_streams += 1;
        self.reset(rule.code(), shared);
        shared.events.push_back(Event::Misbehaved { id: self.id, rule });
        self.count_given_up(shared)
    }

    /// Gives both sides up, as far as they are open.
    pub(super) fn reset(&mut self, code: Code, shared: &mut Shared) {
        shared.abort(self.id, self.sending.is_open(), self.receiving.is_open(), code);
        self.sending = if self.sending.is_open() { Sending::Abandoned } else { self.sending };
        self.stop_receiving(shared);
    }

    /// Gives the peer's side up, if it is open.
    pub(super) fn stop_reading(&mut self, code: Code, shared: &mut Shared) {
        shared.abort(self.id, false, self.receiving.is_open(), code);
        self.stop_receiving(shared);
    }

    /// Whether both sides are done with.
    pub(super) const fn is_closed(&self) -> bool {
        !self.sending.is_open() && !self.receiving.is_open()
    }

    /// Whether the application of this side was told of the stream, or told us.
    pub(super) fn is_announced(&self, role: Role) -> bool {
        role == Role::Client || self.receiving != Receiving::Head
    }

    /// Whether a field section waits for the peer's encoder stream.
    pub(super) const fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// What kind of request this is.
    pub(super) const fn asked(&self) -> Asked {
        self.asked
    }

    /// Whether the peer's side is open.
    pub(super) const fn is_receiving(&self) -> bool {
        self.receiving.is_open()
    }

    fn stop_receiving(&mut self, shared: &mut Shared) {
        if self.receiving.is_open() {
            self.receiving = Receiving::Abandoned;
        }
        if let Some(blocked) = self.blocked.take() {
            shared.blocked_bytes = shared.blocked_bytes.saturating_sub(blocked.size);
        }
    }

    fn count_given_up(&self, shared: &mut Shared) -> Result<(), PeerMisbehaved> {
        match shared.role {
            Role::Server => shared.budget.give_up(),
            Role::Client => Ok(()),
        }
    }

    /// A frame begins: may it, and what becomes of its payload?
    fn on_frame(&mut self, header: Header, shared: &mut Shared) -> Result<(), PeerMisbehaved> {
        match header.kind {
            FrameType::Data => {
                self.receiving.allow_data()?;
                shared.counters.data_frames += 1;
                if header.length == 0 {
                    shared.budget.waste(budget::FRAME)?;
                }
                self.frames.choose(Payload::Pass);
            }
            FrameType::Headers => {
                self.receiving.allow_headers()?;
                shared.counters.headers_frames += 1;
                if header.length > shared.config.max_field_section_size.saturating_add(PREFIX) {
                    self.frames.choose(Payload::Skip);
                    return self.on_oversized_section(shared);
                }
                self.frames.choose(Payload::Collect);
            }
            FrameType::Unknown => {
                // req: 9114-9-ignore-unknown-frames
                // req: 9114-7.2.8-reserved-frames
                // req: 9114-4.1-extension-frames
                shared.count_unknown_frame()?;
                self.frames.choose(Payload::Skip);
            }
            kind => return Err(misplaced(kind, shared.role)),
        }
        Ok(())
    }

    fn on_content(&mut self, content: Bytes, shared: &mut Shared) -> Result<(), PeerMisbehaved> {
        let count = content.len() as u64;
        self.receiving = self.receiving.on_content(count)?;
        shared.counters.content_bytes += count;
        shared.budget.use_bytes(count);
        shared.events.push_back(Event::Data { id: self.id, data: content });
        Ok(())
    }

    fn on_section(
        &mut self,
        section: Bytes,
        is_last: bool,
        shared: &mut Shared,
    ) -> Result<(), PeerMisbehaved> {
        match (self.receiving, shared.role) {
            (Receiving::Head, Role::Server) => self.on_request(section, is_last, shared),
            (Receiving::Head, Role::Client) => self.on_response(section, is_last, shared),
            _ => self.on_trailers(section, shared),
        }
    }

    fn on_request(
        &mut self,
        section: Bytes,
        is_last: bool,
        shared: &mut Shared,
    ) -> Result<(), PeerMisbehaved> {
        let Some(lines) = self.decode::<RequestLines>(section, shared)? else { return Ok(()) };
        // No event before the whole section was checked.
        // req: 9114-4.1.2-malformed-not-forwarded
        let allows_protocol = shared.config.enable_connect_protocol;
        let (mut head, length) = lines.finish(allows_protocol, &mut shared.last_authority)?;
        shared.usual_fields = head.headers.len();
        self.asked = Asked::by(&head);
        self.receiving = match self.asked {
            Asked::Connect | Asked::ExtendedConnect => Receiving::Tunnel,
            Asked::Head | Asked::Plain => Receiving::Content(length),
        };
        if is_last {
            self.receiving = self.receiving.on_end(shared.role)?;
        }
        // req: 9218-7-update-wins
        if let Some(priority) = shared.early_priorities.take(self.id) {
            head.priority = priority;
        }
        shared.count_message();
        let head = Box::new(head);
        shared.events.push_back(Event::Request { id: self.id, head, fin: is_last });
        Ok(())
    }

    fn on_response(
        &mut self,
        section: Bytes,
        is_last: bool,
        shared: &mut Shared,
    ) -> Result<(), PeerMisbehaved> {
        let Some(lines) = self.decode::<ResponseLines>(section, shared)? else { return Ok(()) };
        let (head, content_length) = lines.finish()?;
        shared.usual_fields = head.headers.len();
        if head.status.is_informational() {
            shared.budget.waste(budget::EXTRA)?;
        } else {
            self.receiving = match self.asked {
                Asked::Connect | Asked::ExtendedConnect if head.status.is_success() => {
                    Receiving::Tunnel
                }
                asked => Receiving::Content(response::length(asked, head.status, content_length)),
            };
            shared.count_message();
        }
        if is_last {
            self.receiving = self.receiving.on_end(shared.role)?;
        }
        let head = Box::new(head);
        shared.events.push_back(Event::Response { id: self.id, head, fin: is_last });
        Ok(())
    }

    fn on_trailers(&mut self, section: Bytes, shared: &mut Shared) -> Result<(), PeerMisbehaved> {
        let Some(lines) = self.decode::<Trailers>(section, shared)? else { return Ok(()) };
        let trailers = Box::new(lines.finish()?);
        self.receiving = self.receiving.on_trailers()?;
        shared.events.push_back(Event::Trailers { id: self.id, trailers });
        Ok(())
    }

    fn on_end(&mut self, shared: &mut Shared) -> Result<(), PeerMisbehaved> {
        let is_read = self.receiving.is_read();
        // req: 9114-7.1-stream-ends-between-frames
        if is_read && !self.frames.is_at_boundary() {
            return Err(PeerMisbehaved::FrameTruncated);
        }
        self.receiving = self.receiving.on_end(shared.role)?;
        if is_read {
            shared.events.push_back(Event::Finished { id: self.id });
        }
        Ok(())
    }

    /// The lines of a section; `None` when it has to wait, or was too large.
    fn decode<K: Kind + Default>(
        &mut self,
        section: Bytes,
        shared: &mut Shared,
    ) -> Result<Option<SectionReader<K>>, PeerMisbehaved> {
        let mut reader = SectionReader::new(shared.config.max_field_lines, shared.usual_fields);
        let outcome = shared.decoder.decode(self.id.0, &section, &mut |field| reader.push(field));
        shared.send_decoder_instructions();
        match outcome.map_err(PeerMisbehaved::Qpack)? {
            Outcome::Complete { .. } if !reader.is_too_many() => Ok(Some(reader)),
            Outcome::Complete { .. } | Outcome::TooLarge => {
                self.on_oversized_section(shared).map(|()| None)
            }
            Outcome::Blocked => {
                self.block(section, shared);
                Ok(None)
            }
        }
    }

    fn block(&mut self, section: Bytes, shared: &mut Shared) {
        shared.counters.blocked_sections += 1;
        let size = section.len();
        shared.blocked_bytes += size;
        let rest = VecDeque::new();
        self.blocked = Some(Box::new(Blocked { section, rest, size, has_ended: false }));
    }

    /// RFC 9114 §4.2.2: a server may still answer 431; anything else ends the stream.
    fn on_oversized_section(&mut self, shared: &mut Shared) -> Result<(), PeerMisbehaved> {
        // req: 9114-4.2.2-too-large
        shared.counters.oversized_sections += 1;
        if self.is_announced(shared.role) {
            return Err(PeerMisbehaved::FieldSectionTooLarge);
        }
        self.receiving = Receiving::Oversized;
        shared.cancel_sections(self.id);
        shared.events.push_back(Event::HeadTooLarge { id: self.id });
        Ok(())
    }
}

impl Blocked {
    fn push(&mut self, data: Bytes, fin: bool, shared: &mut Shared) -> Result<(), PeerMisbehaved> {
        self.has_ended |= fin;
        if data.is_empty() {
            return Ok(());
        }
        self.size += data.len();
        shared.blocked_bytes += data.len();
        self.rest.push_back(data);
        if shared.blocked_bytes > shared.config.max_blocked_bytes {
            return Err(PeerMisbehaved::BlockedTooLarge);
        }
        Ok(())
    }
}

/// Why a known frame may not be on a request stream; `role` is ours.
const fn misplaced(kind: FrameType, role: Role) -> PeerMisbehaved {
    match (kind, role) {
        // req: 9114-7.2.3-not-on-request-stream
        (FrameType::CancelPush, _) => PeerMisbehaved::CancelPushOnRequestStream,
        // req: 9114-7.2.4-not-on-request-stream
        (FrameType::Settings, _) => PeerMisbehaved::SettingsOnRequestStream,
        // req: 9114-7.2.5-not-from-client
        (FrameType::PushPromise, Role::Server) => PeerMisbehaved::PushPromiseFromClient,
        // req: 9114-7.2.5-within-limit
        (FrameType::PushPromise, Role::Client) => PeerMisbehaved::PushPromiseNotAllowed,
        // req: 9114-7.2.6-not-on-request-stream
        (FrameType::Goaway, _) => PeerMisbehaved::GoawayOnRequestStream,
        // req: 9114-7.2.7-not-on-request-stream
        (FrameType::MaxPushId, _) => PeerMisbehaved::MaxPushIdOnRequestStream,
        // req: 9218-7.2-not-on-request-stream
        (FrameType::PriorityUpdateRequest | FrameType::PriorityUpdatePush, _) => {
            PeerMisbehaved::PriorityUpdateOnRequestStream
        }
        // req: 9114-7.2.8-http2-frames
        (FrameType::Http2 | FrameType::Data | FrameType::Headers | FrameType::Unknown, _) => {
            PeerMisbehaved::Http2Frame
        }
    }
}

/// Room for the prefix of an encoded field section beyond what its lines may have, in bytes.
const PREFIX: u64 = 20;
