//! One request stream: how far its request has come, and how far its response.

use std::{pin::Pin, sync::Arc, task::Waker, time::Instant};

use http::Response;
use rustc_hash::FxHashMap;
use slab::Slab;
use sterna_h3::{Priority, StreamId};

use super::{
    outgoing::Outgoing,
    wake::{ConnectionWake, SlotWaker},
};
use crate::{body::Upload, content::Content, context::RequestState, counters::WorkerCounters};

/// The state of one request stream.
pub(super) struct RequestStream<B> {
    pub(super) id: StreamId,
    pub(super) exchange: Exchange<B>,
    pub(super) receiving: Receiving,
    pub(super) upload: Option<Arc<Upload>>,
    pub(super) state: Option<Arc<RequestState>>,
    pub(super) outgoing: Outgoing,
    pub(super) priority: Priority,
    /// In the scheduler's line.
    pub(super) in_line: bool,
    /// The response body may have a frame: it was woken, or never asked.
    pub(super) producing: bool,
    pub(super) is_head: bool,
    pub(super) expects_continue: bool,
    /// The client gave its side up before the request was complete.
    pub(super) incomplete: bool,
    /// When the request's head, or the next piece of its body, is late.
    pub(super) receive_by: Option<Instant>,
}

/// What is being done for a request.
pub(super) enum Exchange<B> {
    /// Its head has not arrived.
    Head,
    /// The service works on it.
    Service(Answer<B>),
    /// The response's head was sent, its content is under way.
    Content(Content<B>),
    /// The response was given to the transport's queue, or the request was given up.
    Over,
}

/// The service's future, with its request.
pub(super) type Answer<B> = Pin<Box<dyn Future<Output = Response<Content<B>>>>>;

/// The receive side of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    /// Read when there is something.
    Open,
    /// Not read: the application has enough for now.
    Paused,
    /// Read to its end, reset, or stopped by us.
    Over,
}

impl<B> RequestStream<B> {
    pub(super) fn new(id: StreamId, counters: Arc<WorkerCounters>, receive_by: Instant) -> Self {
        Self {
            id,
            exchange: Exchange::Head,
            receiving: Receiving::Open,
            upload: None,
            state: None,
            outgoing: Outgoing::new(counters),
            priority: Priority::default(),
            in_line: false,
            producing: false,
            is_head: false,
            expects_continue: false,
            incomplete: false,
            receive_by: Some(receive_by),
        }
    }

    /// Nothing more is read: it is at its end, reset, or stopped by us.
    pub(super) fn stop_receiving(&mut self) {
        self.receiving = Receiving::Over;
        self.receive_by = None;
    }

    /// Nothing more will happen on it.
    pub(super) fn is_over(&self) -> bool {
        self.outgoing.is_over() && self.receiving == Receiving::Over
    }

    /// Nobody will read what the client still sends.
    pub(super) fn is_unread(&self) -> bool {
        self.upload.as_ref().is_none_or(|upload| upload.is_abandoned())
    }
}

/// The request streams of one connection, by slot and by id.
pub(super) struct Streams<B> {
    slots: Slab<RequestStream<B>>,
    by_id: FxHashMap<StreamId, usize>,
    /// One for each slot that was ever used: bounded by the streams that the client may have open.
    wakers: Vec<(Arc<SlotWaker>, Waker)>,
    connection: Arc<ConnectionWake>,
}

impl<B> Streams<B> {
    pub(super) fn new(connection: Arc<ConnectionWake>) -> Self {
        Self { slots: Slab::new(), by_id: FxHashMap::default(), wakers: Vec::new(), connection }
    }

    pub(super) fn insert(&mut self, stream: RequestStream<B>) -> usize {
        let id = stream.id;
        let slot = self.slots.insert(stream);
        while self.wakers.len() <= slot {
            let waker = Arc::new(SlotWaker::new(self.connection.clone(), self.wakers.len()));
            self.wakers.push((waker.clone(), Waker::from(waker)));
        }
        self.by_id.insert(id, slot);
        slot
    }

    pub(super) fn remove(&mut self, slot: usize) {
        if let Some(stream) = self.slots.try_remove(slot) {
            self.by_id.remove(&stream.id);
        }
    }

    pub(super) fn slot(&self, id: StreamId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut RequestStream<B>> {
        self.slots.get_mut(slot)
    }

    /// The stream and the waker of its slot.
    pub(super) fn with_waker(&mut self, slot: usize) -> Option<(&mut RequestStream<B>, &Waker)> {
        Some((self.slots.get_mut(slot)?, &self.wakers.get(slot)?.1))
    }

    pub(super) fn waker(&self, slot: usize) -> Option<&Waker> {
        self.wakers.get(slot).map(|(_, waker)| waker)
    }

    /// The slot was taken from the list of the woken.
    pub(super) fn rearm(&self, slot: usize) {
        if let Some((waker, _)) = self.wakers.get(slot) {
            waker.rearm();
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut RequestStream<B>)> {
        self.slots.iter_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.by_id.clear();
    }
}
