//! The request streams of one connection, by slot and by id; a waker for each slot.

use std::{sync::Arc, task::Waker};

use rustc_hash::FxHashMap;
use slab::Slab;
use sterna_h3::StreamId;

use super::wake::{ConnectionWake, SlotWaker};

/// The request streams of one connection.
pub(crate) struct Streams<T> {
    slots: Slab<(StreamId, T)>,
    by_id: FxHashMap<StreamId, usize>,
    /// One for each slot that was used since the connection rested: bounded by the streams that may be open at once.
    wakers: Vec<(Arc<SlotWaker>, Waker)>,
    connection: Arc<ConnectionWake>,
}

impl<T> Streams<T> {
    pub(crate) fn new(connection: Arc<ConnectionWake>) -> Self {
        Self { slots: Slab::new(), by_id: FxHashMap::default(), wakers: Vec::new(), connection }
    }

    pub(crate) fn insert(&mut self, id: StreamId, stream: T) -> usize {
        if self.slots.capacity() == 0 {
            // Most connections have one request at a time.
            self.slots.reserve_exact(1);
        }
        let slot = self.slots.insert((id, stream));
        while self.wakers.len() <= slot {
            let waker = Arc::new(SlotWaker::new(self.connection.clone(), self.wakers.len()));
            self.wakers.push((waker.clone(), Waker::from(waker)));
        }
        self.by_id.insert(id, slot);
        slot
    }

    pub(crate) fn remove(&mut self, slot: usize) -> Option<T> {
        let (id, stream) = self.slots.try_remove(slot)?;
        self.by_id.remove(&id);
        Some(stream)
    }

    pub(crate) fn slot(&self, id: StreamId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.slots.get_mut(slot).map(|(_, stream)| stream)
    }

    /// The stream and the waker of its slot.
    pub(crate) fn with_waker(&mut self, slot: usize) -> Option<(&mut T, &Waker)> {
        Some((&mut self.slots.get_mut(slot)?.1, &self.wakers.get(slot)?.1))
    }

    pub(crate) fn waker(&self, slot: usize) -> Option<&Waker> {
        self.wakers.get(slot).map(|(_, waker)| waker)
    }

    /// The slot was taken from the list of the woken.
    pub(crate) fn rearm(&self, slot: usize) {
        if let Some((waker, _)) = self.wakers.get(slot) {
            waker.rearm();
        }
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        self.slots.iter_mut().map(|(slot, (_, stream))| (slot, stream))
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Gives back what only requests need.
    pub(crate) fn rest(&mut self) {
        if self.slots.is_empty() {
            self.slots = Slab::new();
            self.by_id = FxHashMap::default();
            self.wakers = Vec::new();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.by_id.clear();
    }
}
