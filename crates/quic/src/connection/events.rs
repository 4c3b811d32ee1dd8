//! The endpoint's side of a connection: the engine's events become ours, each `Readable` once.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use quinn_proto::{ConnectionError, Event as EngineEvent, StreamEvent};

use super::{Connection, doubt::Doubt};
use crate::{
    CloseReason, Counters, Event, StreamId, config::varint, crypto::HandshakeData, early::Outcome,
};

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
                EngineEvent::HandshakeDataReady => {
                    self.learn_handshake();
                    self.early_news = self.handshake.as_ref().map(|handshake| handshake.early);
                }
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
                    let reason = self.tls_failure(&reason).unwrap_or_else(|| reason.into());
                    self.ended.get_or_insert(reason);
                }
            }
        }
    }

    /// Tells the application of a new address of the peer, if there is one: the engine has no
    /// event for it, so this is called after everything that can move the path.
    pub(crate) fn note_path(&mut self, counters: &mut Counters) {
        // req: 9000-9.3-new-address
        let (from, to) = (self.remote, self.remote_address());
        if from == to {
            return;
        }
        self.remote = to;
        self.elsewhere.forget(to);
        self.events.push_back(Event::Migrated { from, to });
        counters.migrations += 1;
        counters.rebinds += u64::from(from.ip() == to.ip());
        if let Some(path) = self.path_watch() {
            counters.paths_failed += u64::from(path.is_open());
            // Back at the last one, as after a path that could not be validated, nothing is in doubt.
            // req: 9000-9.3-validates
            // req: 9000-9.3.2-back-to-the-last-one
            let is_in_doubt = to != self.validated;
            if is_in_doubt {
                path.begin();
            } else {
                path.end();
            }
            // What moved it came from there.
            let received = if self.arrived.0 == to { self.arrived.1 } else { 0 };
            let before = self.doubt.take();
            self.doubt = is_in_doubt.then(|| Box::new(Doubt::new(received, before)));
        }
        if to == self.validated {
            // What was lost on the way to the other address is found out by what is acknowledged from here.
            self.engine.ping();
        }
    }

    /// Tells the application when the peer has proven that its new address is its own.
    pub(crate) fn note_validation(&mut self, counters: &mut Counters) {
        let Some(path) = self.path_watch().filter(|path| path.is_open() && path.is_answered())
        else {
            return;
        };
        path.end();
        self.doubt = None;
        counters.paths_validated += 1;
        self.validated = self.remote;
        self.events.push_back(Event::PathValidated { address: self.remote });
    }

    /// What became of early data, once.
    pub(crate) fn take_early_news(&mut self) -> Option<Outcome> {
        self.early_news.take()
    }

    /// So many bytes left for the network.
    pub(crate) fn note_sent(&mut self, bytes: usize) {
        self.queued = self.queued.saturating_sub(bytes as u64);
        self.spend_unproven(bytes);
        if let Some(pacer) = &mut self.pacer {
            pacer.spend(bytes);
        }
    }

    /// How many of `datagrams` may leave now; `None` until [`Self::paced_until`].
    pub(crate) fn pace(&mut self, now: Instant, datagrams: usize) -> Option<usize> {
        let Some(pacer) = &mut self.pacer else { return Some(datagrams) };
        let rate = self.engine.congestion_state().metrics().pacing_rate?;
        pacer.allow(now, rate, self.engine.current_mtu()).map(|allowed| allowed.min(datagrams))
    }

    /// The time that it waited for has come: it is asked again when it transmits, which a full socket may put off.
    pub(crate) fn pacing_over(&mut self, now: Instant) {
        if let Some(pacer) = &mut self.pacer {
            pacer.stop_waiting(now);
        }
    }

    /// When more may leave, if that is what it waits for.
    pub(crate) fn paced_until(&self) -> Option<Instant> {
        self.pacer.as_ref()?.waits_until()
    }

    /// Nothing more wants to leave now. With nothing in flight either, all that was queued has gone,
    /// whatever the estimate says: without this an overestimate could hold the application for ever.
    pub(crate) fn note_quiet(&mut self) {
        let state = self.engine.congestion_state();
        if self.queued > 0 && state.metrics().congestion_window >= state.window() {
            self.queued = 0;
        }
    }

    /// Client: our address is another one from now on.
    pub(crate) fn local_address_changed(&mut self) {
        // req: 9000-9-no-move-if-disabled
        if self.must_stay() {
            self.end(0, b"gone from the address that it must stay at", CloseReason::Stranded);
        } else {
            // req: 9000-9.5-another-id
            self.engine.local_address_changed();
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
            StreamEvent::Finished { id } => {
                self.clear_deadline(id.into());
                self.events.push_back(Event::Finished(id.into()));
            }
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
        if let Some(data) = self.handshake_data() {
            self.handshake = Some(data);
        }
        if self.is_early_data_rejected() {
            // What was written early will never leave.
            self.queued = 0;
            self.forget_deadlines();
        }
    }

    /// The engine knows a failure of TLS as a code and a text; the session has kept what it was.
    fn tls_failure(&self, reason: &ConnectionError) -> Option<CloseReason> {
        let ConnectionError::TransportError(failure) = reason else { return None };
        let error = self.handshake_data()?.failure.clone()?;
        Some(CloseReason::Tls { code: failure.code.into(), error })
    }

    fn handshake_data(&self) -> Option<Arc<HandshakeData>> {
        let data = self.engine.crypto_session().handshake_data()?;
        data.downcast::<Arc<HandshakeData>>().ok().map(|data| *data)
    }
}
