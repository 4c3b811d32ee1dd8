//! Time-outs of streams: late heads, silent bodies, readers that take nothing.
//!
//! One deadline stands for all streams, no later than the first of theirs: progress moves a stream's own time-out and
//! leaves the deadline, which is corrected when it is over.

use std::time::Instant;

use sterna_h3::Code;

use super::{super::stream::Exchange, Connection};
use crate::{body, h3::quic_id, service::HttpService};

impl<S: HttpService> Connection<S> {
    /// Time-outs of streams: late heads, silent bodies, readers that take nothing.
    pub(super) fn expire(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        let write_timeout = self.config.write_timeout;
        let mut late = Vec::new();
        let mut next: Option<Instant> = None;
        for (slot, stream) in self.streams.iter_mut() {
            let write_by = stream.write_by(write_timeout);
            for at in [stream.receive_by, write_by].into_iter().flatten() {
                if at <= now {
                    late.push(slot);
                } else {
                    next = Some(next.map_or(at, |next| next.min(at)));
                }
            }
        }
        self.deadline = next;
        for slot in late {
            self.late(quic, slot, now);
        }
    }

    /// A time-out of this stream is over.
    fn late(&mut self, quic: &mut sterna_quic::Connection, slot: usize, now: Instant) {
        let config = self.config.clone();
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let write_by = stream.write_by(config.write_timeout);
        if write_by.is_some_and(|by| by <= now) {
            self.dispatch.counters.timeouts.increment();
            let is_slow = stream.takes_slowly(now);
            self.dispatch.counters.slow_clients.add(is_slow.into());
            self.abort(slot, Code::RequestCancelled);
        } else if matches!(stream.exchange, Exchange::Head) {
            self.dispatch.counters.timeouts.increment();
            // Nothing was done for it: the client may try again.
            let (id, code) = (quic_id(stream.id), Code::RequestRejected);
            self.abort(slot, code);
            // HTTP/3 does not know a stream of which no byte has come.
            quic.reset(id, code.value());
            quic.stop_sending(id, code.value());
            if let Some(stream) = self.streams.get_mut(slot) {
                stream.stop_receiving();
            }
            self.retire(slot);
        } else if let Some(upload) = stream.upload.clone() {
            let waited_for = upload.is_starving();
            if waited_for {
                let is_slow = stream.sends_slowly(now);
                stream.receive_by = None;
                self.dispatch.counters.slow_clients.add(is_slow.into());
                self.dispatch.counters.timeouts.increment();
                upload.fail(body::Error::TimedOut);
            } else {
                stream.rest();
                let by = stream.expect_content(0, now, config.body_idle_timeout);
                self.remind(by);
            }
        }
    }
}
