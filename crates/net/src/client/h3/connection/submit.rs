//! From the queue to streams: as many as the server allows, in order.

use std::{task::Context, time::Instant};

use sterna_h3::{ApiMisuse, Code};
use sterna_quic::Dir;

use super::{
    super::{
        super::exchange::EarlyData,
        handle::Submission,
        stream::{Receiving, Reply, RequestStream},
    },
    At, CONTINUE_PATIENCE, Connection, Error, Kind, Phase, SUBMITTED,
};
use crate::{
    Protocol,
    h3::{h3_id, quic_id},
};

impl Connection {
    /// Looks at what is new or was woken.
    pub(super) fn work(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        self.wake.take(&mut self.ready);
        let mut ready = std::mem::take(&mut self.ready);
        for slot in ready.drain(..) {
            if slot == SUBMITTED {
                self.submitted.rearm();
                continue;
            }
            self.streams.rearm(slot);
            if self.cancel_if_unwanted(quic, slot) {
                continue;
            }
            let Some(stream) = self.streams.get_mut(slot) else { continue };
            stream.wake_body();
            if stream.receiving == Receiving::Paused {
                stream.receiving = Receiving::Open;
                let id = quic_id(stream.id);
                self.read(quic, id);
            }
            self.enqueue(slot);
        }
        if self.ready.is_empty() {
            self.ready = ready;
        }
        self.submit(quic, now);
    }

    /// Opens streams for the requests that wait.
    fn submit(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        loop {
            if self.waiting.is_empty() {
                self.shared.take(&mut self.waiting);
            }
            let next = match self.phase {
                Phase::Open(_) if !self.waiting.is_empty() => 0,
                // req: 8470-4-client-safe-only
                Phase::Early(_) => {
                    match self.waiting.iter().position(|waiting| waiting.may_be_early) {
                        Some(next) => next,
                        None => return,
                    }
                }
                Phase::Open(_) | Phase::Opening | Phase::Closed => return,
            };
            if self.waiting.get(next).is_none_or(|waiting| waiting.reply.is_closed()) {
                self.waiting.remove(next);
                continue;
            }
            let Some(id) = quic.open(Dir::Bi) else {
                self.shared.set_stream_limit(self.streams.len());
                return;
            };
            if let Some(submission) = self.waiting.remove(next) {
                self.start(quic, id, submission, now);
            }
        }
    }

    fn start(
        &mut self,
        quic: &mut sterna_quic::Connection,
        id: sterna_quic::StreamId,
        submission: Submission,
        now: Instant,
    ) {
        let is_early = matches!(self.phase, Phase::Early(_));
        let Some(http) = self.phase.http() else { return };
        let fin = submission.body.is_empty();
        if let Err(misuse) = http.send_request(h3_id(id), &submission.head, fin) {
            quic.reset(id, Code::RequestCancelled.value());
            quic.stop_sending(id, Code::RequestCancelled.value());
            let _ = submission.reply.send(Err(refused(misuse)));
            return;
        }
        let early_data = match (is_early, submission.was_rejected) {
            (true, _) => {
                self.common.counts.early_data_offered.increment();
                // Known when the handshake is complete; no answer comes before.
                EarlyData::Accepted
            }
            (false, true) => EarlyData::Rejected,
            (false, false) => EarlyData::NotOffered,
        };
        let continue_by = now + CONTINUE_PATIENCE;
        if submission.expects_continue {
            self.remind(continue_by);
        }
        let queued = self.common.queued.clone();
        let stream = RequestStream::new(h3_id(id), submission, early_data, continue_by, queued);
        let slot = self.streams.insert(h3_id(id), stream);
        if let Some((stream, waker)) = self.streams.with_waker(slot)
            && let Reply::Waiting(reply) = &mut stream.reply
        {
            // Woken when nobody waits any more.
            let _ = reply.poll_closed(&mut Context::from_waker(waker));
        }
        self.enqueue(slot);
    }
}

/// Why HTTP/3 does not take a request.
fn refused(misuse: ApiMisuse) -> Error {
    let kind = match misuse {
        ApiMisuse::GoingAway => Kind::GoAway,
        ApiMisuse::ConnectionClosed => Kind::Lost,
        _ => Kind::Request,
    };
    Error::new(At::Request, kind).over(Protocol::Http3).because(misuse).unsent()
}
