//! Time-outs of streams: late heads, silent bodies, readers that take nothing.
//!
//! One deadline stands for all streams, no later than the first of theirs: progress moves a stream's own time-out and
//! leaves the deadline, which is corrected when it is over.

use std::time::Instant;

use sterna_h3::Code;

use super::{super::stream::Exchange, Connection, quic_id};
use crate::{body, service::HttpService};

impl<S: HttpService> Connection<S> {
    /// Time-outs of streams: late heads, silent bodies, readers that take nothing.
    pub(super) fn expire(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        let write_timeout = self.dispatch.config.write_timeout;
        let mut late = Vec::new();
        let mut next: Option<Instant> = None;
        for (slot, stream) in self.streams.iter_mut() {
            let write_by = stream.outgoing.blocked_since().map(|since| since + write_timeout);
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
        let config = self.dispatch.config.clone();
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let stalled = stream.outgoing.blocked_since();
        if stalled.is_some_and(|since| since + config.write_timeout <= now) {
            self.dispatch.counters.timeouts.increment();
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
            let by = now + config.body_idle_timeout;
            stream.receive_by = (!waited_for).then_some(by);
            if waited_for {
                self.dispatch.counters.timeouts.increment();
                upload.fail(body::Error::TimedOut);
            } else {
                self.remind(by);
            }
        }
    }
}
