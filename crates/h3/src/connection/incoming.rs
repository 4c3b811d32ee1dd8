//! Where what came belongs: by stream, to the part that knows it; and what a broken rule ends.

use std::collections::hash_map::Entry;

use bytes::Bytes;

use super::budget::EXTRA;
use super::control::ControlFrame;
use super::request::RequestStream;
use super::shared::Shared;
use super::uni::UniStream;
use super::{Connection, Shutdown};
use crate::message::Asked;
use crate::priority::Update;
use crate::{
    Code, Command, Error, Event, PeerMisbehaved, Role, Scope, Settings, StreamId, datagram,
};

impl Connection {
    /// Runs one input; a broken rule closes the connection.
    pub(super) fn guard(
        &mut self,
        input: impl FnOnce(&mut Self) -> Result<(), PeerMisbehaved>,
    ) -> Result<(), Error> {
        if self.is_closed {
            return Err(Error::Closed);
        }
        input(self).map_err(|rule| {
            self.is_closed = true;
            self.shared.output.push(Command::Close { code: rule.code(), reason: rule.sentence() });
            Error::PeerMisbehaved(rule)
        })
    }

    /// Whether what came on stream `id` may be for a request; a server takes new ones here.
    pub(super) fn may_be_request(&mut self, id: StreamId) -> Result<bool, PeerMisbehaved> {
        match self.shared.role {
            Role::Client if id.is_server_initiated() => {
                // req: 9114-6.1-no-server-bidi
                Err(PeerMisbehaved::ServerOpenedBidirectional)
            }
            Role::Client => Ok(true),
            Role::Server if id.is_server_initiated() => Ok(false),
            Role::Server => {
                if self.ids.has_seen(id.0 >> 2) {
                    return Ok(true);
                }
                self.ids.see(id.0 >> 2)?;
                self.accept(id)
            }
        }
    }

    /// Server: takes a new request stream, or rejects it.
    fn accept(&mut self, id: StreamId) -> Result<bool, PeerMisbehaved> {
        if let Shutdown::RejectFrom(first) = self.shutdown
            && id >= first
        {
            // req: 9114-5.2-reject-later-requests
            // req: 9114-4.1.1-rejected-means-untouched
            self.shared.counters.rejected += 1;
            self.shared.abort(id, true, true, Code::RequestRejected);
            self.shared.budget.waste(EXTRA)?;
            return Ok(false);
        }
        self.requests.insert(id, RequestStream::new(id));
        Ok(true)
    }

    /// Runs one input of a request stream, if it is not gone; a broken rule may end only the stream.
    pub(super) fn on_request_stream(
        &mut self,
        id: StreamId,
        input: impl FnOnce(&mut RequestStream, &mut Shared) -> Result<(), PeerMisbehaved>,
    ) -> Result<(), PeerMisbehaved> {
        let Entry::Occupied(mut entry) = self.requests.entry(id) else { return Ok(()) };
        let stream = entry.get_mut();
        match input(stream, &mut self.shared) {
            Ok(()) => {}
            // req: 9114-4.1.2-malformed-is-stream-error
            Err(rule) => match rule.scope() {
                Scope::Stream => stream.on_misbehaviour(rule, &mut self.shared)?,
                Scope::Connection => return Err(rule),
            },
        }
        if stream.is_closed() {
            entry.remove();
            self.shared.early_priorities.take(id);
        }
        Ok(())
    }

    pub(super) fn on_uni_stream(
        &mut self,
        id: StreamId,
        mut data: Bytes,
        fin: bool,
    ) -> Result<(), PeerMisbehaved> {
        if self.is_own(id) {
            return Ok(());
        }
        let stream = self.uni.receive(id, &mut data, self.shared.role)?;
        match stream {
            UniStream::Control => self.on_control_stream(&mut data)?,
            UniStream::Encoder => self.on_encoder_stream(&data)?,
            UniStream::Decoder => {
                self.shared.budget.waste(data.len() as u64)?;
                self.shared.encoder.handle_decoder_stream(&data).map_err(PeerMisbehaved::Qpack)?;
            }
            UniStream::Unknown => {
                // req: 9114-6.2-unknown-types
                self.shared.counters.unknown_streams += 1;
                self.shared.budget.waste(EXTRA)?;
                if !fin {
                    self.shared.output.stop_sending(id, Code::StreamCreationError);
                }
            }
            UniStream::Silent => {}
        }
        if fin { self.on_uni_closed(id) } else { Ok(()) }
    }

    pub(super) fn on_uni_closed(&mut self, id: StreamId) -> Result<(), PeerMisbehaved> {
        if self.is_own(id) {
            return Ok(());
        }
        match self.uni.close(id)?.closed() {
            Some(rule) => Err(rule),
            None => Ok(()),
        }
    }

    /// Whether this side opened the stream; the transport lets nobody else write on it.
    fn is_own(&self, id: StreamId) -> bool {
        id.is_server_initiated() == (self.shared.role == Role::Server)
    }

    fn on_encoder_stream(&mut self, data: &Bytes) -> Result<(), PeerMisbehaved> {
        // Insertions are of use only to the messages that refer to them, which earn it back.
        self.shared.budget.waste(data.len() as u64)?;
        let result = self.shared.decoder.handle_encoder_stream(data);
        self.shared.send_decoder_instructions();
        result.map_err(PeerMisbehaved::Qpack)?;
        while let Some(id) = self.shared.decoder.poll_unblocked() {
            self.on_request_stream(StreamId(id), RequestStream::resume)?;
        }
        Ok(())
    }

    fn on_control_stream(&mut self, data: &mut Bytes) -> Result<(), PeerMisbehaved> {
        while let Some(frame) = self.control.next(data, &mut self.shared)? {
            match frame {
                ControlFrame::Settings(settings) => self.on_settings(settings)?,
                ControlFrame::PriorityUpdate(update) => self.on_priority_update(update),
                ControlFrame::Goaway(id) => {
                    self.peer_goaway = Some(id);
                    self.shared.events.push_back(Event::Goaway { id });
                }
            }
        }
        Ok(())
    }

    fn on_settings(&mut self, settings: Settings) -> Result<(), PeerMisbehaved> {
        // req: 9114-7.2.4.2-not-reduced
        if self.remembered.take().is_some_and(|remembered| settings.is_less_than(&remembered)) {
            return Err(PeerMisbehaved::SettingsReduced);
        }
        self.shared
            .encoder
            .set_peer_limits(settings.qpack_max_table_capacity, settings.qpack_blocked_streams);
        self.shared.max_section_at_peer = settings.max_field_section_size;
        self.shared.peer = Some(settings.clone());
        self.shared.events.push_back(Event::Settings(settings));
        Ok(())
    }

    fn on_priority_update(&mut self, Update { id, priority }: Update) {
        match self.requests.get(&id) {
            Some(stream) if stream.is_announced(self.shared.role) => {
                self.shared.events.push_back(Event::Priority { id, priority });
            }
            Some(_) => self.shared.early_priorities.put(id, priority),
            None if !self.ids.has_seen(id.0 >> 2) => self.shared.early_priorities.put(id, priority),
            // The request is gone.
            None => {}
        }
    }

    pub(super) fn on_datagram(&mut self, data: Bytes) -> Result<(), PeerMisbehaved> {
        let (id, payload) = datagram::parse(data)?;
        let Some(stream) = self.requests.get(&id).filter(|stream| {
            // A request whose head has not come may be overtaken by its datagrams, which may be lost anyway.
            stream.is_announced(self.shared.role) && stream.is_receiving()
        }) else {
            // req: 9297-2.1-drop-late
            self.shared.counters.dropped_datagrams += 1;
            return Ok(());
        };
        if !self.shared.config.enable_datagrams || stream.asked() != Asked::ExtendedConnect {
            // req: 9297-2-only-with-meaning
            return self.on_request_stream(id, |_, _| Err(PeerMisbehaved::DatagramWithoutMeaning));
        }
        self.shared.events.push_back(Event::Datagram { id, payload });
        Ok(())
    }
}
