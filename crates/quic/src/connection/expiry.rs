//! Streams whose data are of no use after a time, such as one picture of a live film: what has not arrived by then is dropped.

use std::{collections::BTreeSet, time::Instant};

use rustc_hash::FxHashMap;

use super::Connection;
use crate::{Event, StreamId, config::varint};

/// Of one connection: as many entries as it has streams with a deadline that are not over.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    order: BTreeSet<(Instant, StreamId)>,
    /// When, and the code to reset it with.
    streams: FxHashMap<StreamId, (Instant, u64)>,
}

impl Expiry {
    fn set(&mut self, id: StreamId, at: Instant, code: u64) {
        self.forget(id);
        self.order.insert((at, id));
        self.streams.insert(id, (at, code));
    }

    fn forget(&mut self, id: StreamId) {
        if let Some((at, _)) = self.streams.remove(&id) {
            self.order.remove(&(at, id));
        }
    }

    /// The next one that is due, with its code.
    fn take_due(&mut self, now: Instant) -> Option<(StreamId, u64)> {
        let (_, id) = self.order.first().copied().filter(|(at, _)| *at <= now)?;
        self.order.pop_first();
        self.streams.remove(&id).map(|(_, code)| (id, code))
    }
}

impl Connection {
    /// What was written to the stream, and what is written to it later, is dropped unless all of it, FIN included, is acknowledged
    /// by `at`: the stream is reset with `code` (RESET_STREAM, RFC 9000 §19.4), nothing of it is sent or repeated any more, and the
    /// application hears [`Event::Expired`]. The peer may have read a part of it by then.
    ///
    /// A later call counts in place of an earlier one. False, and nothing, for a stream that is over.
    pub fn set_deadline(&mut self, id: StreamId, at: Instant, code: u64) -> bool {
        let is_open =
            self.sending(id).is_some_and(|id| self.engine.send_stream(id).stopped().is_ok());
        if is_open {
            self.expiry.get_or_insert_default().set(id, at, code);
        }
        is_open
    }

    /// The stream takes the time that it takes.
    pub fn clear_deadline(&mut self, id: StreamId) {
        if let Some(expiry) = &mut self.expiry {
            expiry.forget(id);
        }
        self.expiry.take_if(|expiry| expiry.streams.is_empty());
    }

    /// When the next stream is due.
    pub(crate) fn expires_at(&self) -> Option<Instant> {
        self.expiry.as_ref()?.order.first().map(|(at, _)| *at)
    }

    /// Drops what is late.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((id, code)) = self.expiry.as_mut().and_then(|expiry| expiry.take_due(now)) {
            let Some(engine_id) = self.sending(id) else { continue };
            // The last acknowledgement may have come in this turn, before anybody has heard of it.
            if self.engine.send_stream(engine_id).reset(varint(code)).is_ok() {
                self.queued = 0;
                self.events.push_back(Event::Expired(id));
            }
        }
        self.expiry.take_if(|expiry| expiry.streams.is_empty());
    }

    /// The streams are gone, and others will have their ids.
    pub(super) fn forget_deadlines(&mut self) {
        self.expiry = None;
    }
}
