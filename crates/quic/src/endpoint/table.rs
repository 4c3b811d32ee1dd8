//! Connections by index, each use of an index with its own key.

use std::time::Instant;

use quinn_proto::{ConnectionHandle, EndpointEvent};

use super::Application;
use crate::{Connection, ConnectionKey, timer::Armed};

/// All connections of an endpoint. The index is the engine's handle.
pub(super) struct Table<S> {
    entries: Vec<Entry<S>>,
    len: usize,
}

struct Entry<S> {
    /// How many connections this index has seen: the upper half of a key.
    generation: u32,
    /// Boxed, because the engine's state is some kilobytes and the table grows.
    slot: Option<Box<Slot<S>>>,
}

/// One connection and what the endpoint keeps beside it.
pub(super) struct Slot<S> {
    pub(super) connection: Connection,
    /// The application's, until it was told of the end.
    pub(super) state: Option<S>,
    pub(super) armed: Armed,
    pub(super) handshake_deadline: Option<Instant>,
    handle: ConnectionHandle,
    /// In the list of those to run.
    is_due: bool,
    /// In the list of those to transmit.
    pub(super) is_touched: bool,
    /// Has nothing to send.
    pub(super) is_quiet: bool,
    /// The engine has forgotten it.
    pub(super) is_drained: bool,
}

impl<S> Slot<S> {
    pub(super) fn new(
        handle: ConnectionHandle,
        connection: Connection,
        state: S,
        handshake_deadline: Instant,
    ) -> Self {
        Self {
            connection,
            state: Some(state),
            armed: Armed::default(),
            handshake_deadline: Some(handshake_deadline),
            handle,
            is_due: false,
            is_touched: false,
            is_quiet: false,
            is_drained: false,
        }
    }

    /// Enters it in both lists, where it is not in yet.
    pub(super) fn touch(&mut self, due: &mut Vec<ConnectionKey>, touched: &mut Vec<ConnectionKey>) {
        let key = self.connection.key();
        if !self.is_due {
            self.is_due = true;
            due.push(key);
        }
        if !self.is_touched {
            self.is_touched = true;
            touched.push(key);
        }
        self.is_quiet = false;
    }

    /// It leaves the list of those to run.
    pub(super) fn begin_run(&mut self, now: Instant) {
        self.is_due = false;
        self.connection.gather(now);
    }

    /// Carries what the connection has for the endpoint, and the answers back: new connection IDs
    /// are issued here, before the transmit that tells the peer of them.
    pub(super) fn relay(&mut self, engine: &mut quinn_proto::Endpoint) {
        while let Some(event) = self.connection.engine.poll_endpoint_events() {
            self.is_drained |= event.is_drained();
            if let Some(answer) = engine.handle_event(self.handle, event) {
                self.connection.engine.handle_event(answer);
            }
        }
    }

    /// Whether nothing of it is needed any more, after transmit.
    pub(super) fn is_over(&mut self, engine: &mut quinn_proto::Endpoint) -> bool {
        let is_abandoned = self.connection.is_abandoned && self.state.is_none() && self.is_quiet;
        if is_abandoned && !self.is_drained {
            self.is_drained = true;
            engine.handle_event(self.handle, EndpointEvent::drained());
        }
        self.is_drained
    }

    /// When something has to happen, whoever wants it.
    pub(super) fn deadline<A: Application<State = S>>(&mut self, app: &A) -> Option<Instant> {
        let transport = self.connection.engine.poll_timeout();
        let application = self.state.as_ref().and_then(|state| app.timeout(state));
        let pacing = self.connection.paced_until();
        let path = self.connection.asks_at();
        let stream = self.connection.expires_at();
        let all = [transport, application, pacing, path, stream, self.handshake_deadline];
        all.into_iter().flatten().min()
    }
}

impl<S> Table<S> {
    /// The key that the next connection at the engine's handle gets.
    pub(super) fn next_key(&mut self, handle: ConnectionHandle) -> ConnectionKey {
        let index = handle.0;
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, || Entry { generation: 0, slot: None });
        }
        ConnectionKey(u64::from(self.entries[index].generation) << 32 | index as u64)
    }

    /// Enters a connection under the key that [`Self::next_key`] gave.
    pub(super) fn insert(&mut self, key: ConnectionKey, slot: Slot<S>) -> &mut Slot<S> {
        self.len += 1;
        self.entries[index(key)].slot.insert(Box::new(slot))
    }

    pub(super) fn remove(&mut self, key: ConnectionKey) {
        let entry = &mut self.entries[index(key)];
        if entry.generation == generation(key) && entry.slot.take().is_some() {
            entry.generation = entry.generation.wrapping_add(1);
            self.len -= 1;
        }
    }

    pub(super) fn get(&self, key: ConnectionKey) -> Option<&Slot<S>> {
        let entry = self.entries.get(index(key))?;
        entry.slot.as_deref().filter(|_| entry.generation == generation(key))
    }

    pub(super) fn get_mut(&mut self, key: ConnectionKey) -> Option<&mut Slot<S>> {
        let entry = self.entries.get_mut(index(key))?;
        entry.slot.as_deref_mut().filter(|_| entry.generation == generation(key))
    }

    pub(super) fn of_handle(&mut self, handle: ConnectionHandle) -> Option<&mut Slot<S>> {
        self.entries.get_mut(handle.0)?.slot.as_deref_mut()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot<S>> {
        self.entries.iter_mut().filter_map(|entry| entry.slot.as_deref_mut())
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl<S> Default for Table<S> {
    fn default() -> Self {
        Self { entries: Vec::new(), len: 0 }
    }
}

fn index(key: ConnectionKey) -> usize {
    (key.0 & u64::from(u32::MAX)) as usize
}

fn generation(key: ConnectionKey) -> u32 {
    (key.0 >> 32) as u32
}
