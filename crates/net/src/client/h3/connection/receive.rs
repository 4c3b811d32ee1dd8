//! From the transport to HTTP/3: events first, then the data of every stream that has some.

use std::time::Instant;

use bytes::Bytes;
use sterna_h3::Error;
use sterna_quic::{Dir, Event, Read};

use super::{
    super::stream::{Receiving, Reply},
    Connection, Phase,
};
use crate::h3::{READ_CHUNK, h3_id};

impl Connection {
    /// What the transport has: events first, then data.
    pub(super) fn receive(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        if let Some(setup) = &self.setup
            && quic.stats().received_bytes > 0
        {
            setup.progress.heard();
        }
        while let Some(event) = quic.poll_event() {
            match event {
                Event::Connected => self.connected(quic, now),
                Event::Readable(id) => self.readable.push(id),
                Event::Writable(id) => {
                    if let Some(slot) = self.streams.slot(h3_id(id)) {
                        self.enqueue(slot);
                    }
                }
                Event::Stopped(id, code) => {
                    if let Some(http) = self.phase.http() {
                        // Its error is in the commands, as a close.
                        let _ = http.handle_stop_sending(h3_id(id), code);
                        self.take_events(quic);
                    }
                }
                Event::Available(Dir::Bi) => self.shared.raise_stream_limit(),
                Event::Datagram(data) => {
                    if let Some(http) = self.phase.http() {
                        let _ = http.handle_datagram(data);
                        self.take_events(quic);
                    }
                }
                _ => {}
            }
        }
        if matches!(self.phase, Phase::Early(_) | Phase::Open(_)) {
            // Reading the encoder stream may unblock others: they join the end of the list.
            let mut next = 0;
            while let Some(&id) = self.readable.get(next) {
                next += 1;
                self.read(quic, id);
            }
            self.readable.clear();
        }
    }

    /// Reads a stream until it has no more, or its reader has enough.
    ///
    /// One chunk is held back, so that a FIN that follows at once is told with it: a response without content is then
    /// known to be one.
    pub(super) fn read(&mut self, quic: &mut sterna_quic::Connection, id: sterna_quic::StreamId) {
        let mut held = None;
        loop {
            if self.is_full(h3_id(id)) {
                self.deliver(quic, id, held, false);
                return;
            }
            let is_over = match quic.read(id, READ_CHUNK) {
                Read::Data(data) => {
                    if let Some(before) = held.replace(data) {
                        self.deliver(quic, id, Some(before), false);
                    }
                    continue;
                }
                Read::Finished => {
                    self.deliver(quic, id, Some(held.unwrap_or_default()), true);
                    true
                }
                Read::Reset(code) => {
                    self.deliver(quic, id, held, false);
                    if let Some(http) = self.phase.http() {
                        let _ = http.handle_reset(h3_id(id), code);
                        self.take_events(quic);
                    }
                    true
                }
                Read::Blocked => {
                    self.deliver(quic, id, held, false);
                    false
                }
                Read::Closed => {
                    self.deliver(quic, id, held, false);
                    self.vanished(quic, h3_id(id));
                    true
                }
            };
            if is_over && let Some(slot) = self.streams.slot(h3_id(id)) {
                if let Some(stream) = self.streams.get_mut(slot) {
                    stream.receiving = Receiving::Over;
                }
                self.retire(slot);
            }
            return;
        }
    }

    fn deliver(
        &mut self,
        quic: &mut sterna_quic::Connection,
        id: sterna_quic::StreamId,
        data: Option<Bytes>,
        fin: bool,
    ) {
        let (Some(data), Some(http)) = (data, self.phase.http()) else { return };
        match http.handle_stream(h3_id(id), data, fin) {
            // Closed: it was told before, and the command that closes waits.
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => tracing::debug!(%error, "HTTP/3 connection is closed"),
        }
        self.take_events(quic);
    }

    /// True when this stream is to be left alone for now: it waits for QPACK and `Unblocked` follows, or its reader has
    /// enough and its slot is woken when there is room.
    fn is_full(&mut self, id: sterna_h3::StreamId) -> bool {
        if self.phase.http().is_some_and(|http| http.is_blocked(id)) {
            return true;
        }
        let Some(slot) = self.streams.slot(id) else { return false };
        let Some(stream) = self.streams.get_mut(slot) else { return false };
        let is_full = matches!(&stream.reply, Reply::Content(slot) if slot.is_full());
        if is_full {
            stream.receiving = Receiving::Paused;
        }
        is_full
    }
}
