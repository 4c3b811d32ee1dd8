//! The endpoint's side of a connection: the engine's events become ours, each `Readable` once.

use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{Event as EngineEvent, StreamEvent};

use super::Connection;
use crate::{CloseReason, Event, StreamId, config::varint, crypto::HandshakeData};

impl Connection {
    /// Moves all that the engine has to tell into the queue of events.
    ///
    /// The queue is bounded by what the peer may do in one batch: each stream is in it once as
    /// readable, and flow control, stream limits and the datagram buffer bound the rest.
    pub(crate) fn gather(&mut self, now: Instant) {
        self.now = now;
        while let Some(event) = self.engine.poll() {
            match event {
                EngineEvent::Stream(event) => self.gather_stream(&event),
                EngineEvent::HandshakeDataReady => self.learn_handshake(),
                EngineEvent::Connected => {
                    self.learn_handshake();
                    self.events.push_back(Event::Connected);
                }
                EngineEvent::DatagramReceived => {
                    while let Some(data) = self.engine.datagrams().recv() {
                        self.events.push_back(Event::Datagram(data));
                    }
                }
                EngineEvent::DatagramsUnblocked => {}
                EngineEvent::ConnectionLost { reason } => {
                    self.ended.get_or_insert(reason.into());
                }
            }
        }
    }

    /// Tells the application of a new address of the peer, if there is one: the engine has no
    /// event for it, so this is called after everything that can move the path.
    pub(crate) fn note_path(&mut self) -> bool {
        // req: 9000-9.3-new-address
        let (from, to) = (self.remote, self.remote_address());
        if from == to {
            return false;
        }
        self.remote = to;
        self.events.push_back(Event::Migrated { from, to });
        true
    }

    /// So many bytes left for the network.
    pub(crate) fn note_sent(&mut self, bytes: usize) {
        self.queued = self.queued.saturating_sub(bytes as u64);
    }

    /// Nothing more wants to leave now. With nothing in flight either, all that was queued has gone,
    /// whatever the estimate says: without this an overestimate could hold the application for ever.
    pub(crate) fn note_quiet(&mut self) {
        let state = self.engine.congestion_state();
        if self.queued > 0 && state.metrics().congestion_window >= state.window() {
            self.queued = 0;
        }
    }

    /// Closes it, and the application hears `reason`.
    pub(crate) fn end(&mut self, code: u64, text: &[u8], reason: CloseReason) {
        // req: 9000-10.2-close-tells-the-code
        self.engine.close(self.now, varint(code), Bytes::copy_from_slice(text));
        self.ended.get_or_insert(reason);
    }

    /// The handshake took too long.
    pub(crate) fn give_up(&mut self, now: Instant) {
        self.now = now;
        self.end(0, b"handshake took too long", CloseReason::TimedOut);
    }

    /// Why it ended, once it has.
    pub(crate) fn ended(&self) -> Option<&CloseReason> {
        self.ended.as_ref()
    }

    fn gather_stream(&mut self, event: &StreamEvent) {
        match *event {
            // The engine names the direction only, and tells nothing of the data that came with
            // the opening frame.
            StreamEvent::Opened { dir } => {
                while let Some(id) = self.engine.streams().accept(dir) {
                    let id = StreamId::from(id);
                    self.events.push_back(Event::Opened(id));
                    self.push_readable(id);
                }
            }
            StreamEvent::Readable { id } => self.push_readable(id.into()),
            StreamEvent::Writable { id } => self.events.push_back(Event::Writable(id.into())),
            StreamEvent::Finished { id } => self.events.push_back(Event::Finished(id.into())),
            StreamEvent::Stopped { id, error_code } => {
                self.queued = 0;
                self.events.push_back(Event::Stopped(id.into(), error_code.into()));
            }
            StreamEvent::Available { dir } => self.events.push_back(Event::Available(dir.into())),
        }
    }

    fn push_readable(&mut self, id: StreamId) {
        if self.readable.insert(id) {
            self.events.push_back(Event::Readable(id));
        }
    }

    fn learn_handshake(&mut self) {
        let data = self.engine.crypto_session().handshake_data();
        if let Some(Ok(data)) = data.map(|data| data.downcast::<HandshakeData>()) {
            self.handshake = Some(data);
        }
    }
}
