//! From HTTP/3's commands and the responses' bodies to the transport, in the order of priority.

use std::time::Instant;

use sterna_h3::{Code, Command, StreamId};

use super::{super::schedule::Entry, Connection, Phase};
use crate::{
    h3::{LOW_MARK, QUANTUM, outgoing::Progress, quic_id},
    service::HttpService,
};

impl<S: HttpService> Connection<S> {
    /// Hands over what the transport can use now; the rest waits for acknowledgements.
    pub(super) fn send(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        self.carry_out(quic);
        self.send_own(quic, now);
        let mut budget = budget(quic);
        while budget > 0
            && let Some(entry) = self.scheduler.next()
        {
            let taken = self.serve(quic, entry, budget.min(QUANTUM), now);
            budget = budget.saturating_sub(taken.max(1));
        }
        // Responses may have used the encoder stream (trailers).
        self.send_own(quic, now);
    }

    /// Serves one stream: fills its queue from the response's body, and writes.
    fn serve(
        &mut self,
        quic: &mut sterna_quic::Connection,
        entry: Entry,
        quantum: usize,
        now: Instant,
    ) -> usize {
        let Entry { slot, id, .. } = entry;
        let Some(stream) = self.streams.get_mut(slot).filter(|stream| stream.id == id) else {
            return 0;
        };
        stream.in_line = false;
        let mut total = 0;
        loop {
            self.fill(quic, slot);
            let Some(stream) = self.streams.get_mut(slot) else { return total };
            let (taken, progress) = stream.outgoing.write(quic, quic_id(id), quantum - total, now);
            total += taken;
            if taken > 0 {
                stream.taken(taken, now);
                stream.served = self.scheduler.turn();
            }
            match progress {
                Progress::Empty if stream.producing && total < quantum => {}
                Progress::Empty | Progress::Partial => {
                    self.enqueue(slot);
                    return total;
                }
                Progress::Blocked => {
                    stream.blocked(self.config.min_rate, now);
                    if let Some(by) = stream.write_by(self.config.write_timeout) {
                        self.remind(by);
                    }
                    return total;
                }
                Progress::Finished => {
                    self.unacknowledged.insert(id);
                    self.answered += 1;
                    self.sent_all(quic, slot);
                    return total;
                }
                Progress::Gone => {
                    stream.over();
                    self.sent_all(quic, slot);
                    return total;
                }
            }
        }
    }

    /// Asks the response's body for frames until enough is queued.
    fn fill(&mut self, quic: &mut sterna_quic::Connection, slot: usize) {
        while let Some(stream) = self.streams.get_mut(slot)
            && stream.producing
            && stream.outgoing.bytes() < LOW_MARK
        {
            let more = self.produce(slot);
            self.carry_out(quic);
            if !more {
                return;
            }
        }
    }

    fn sent_all(&mut self, quic: &mut sterna_quic::Connection, slot: usize) {
        self.stop_if_unread(quic, slot);
        self.carry_out(quic);
        self.retire(slot);
    }

    /// The transport takes more of a stream again.
    pub(super) fn writable(&mut self, id: StreamId) {
        if let Some(slot) = self.streams.slot(id) {
            self.enqueue(slot);
        }
    }

    /// Puts a stream in line when it has something to send.
    pub(super) fn enqueue(&mut self, slot: usize) {
        if let Some(stream) = self.streams.get_mut(slot)
            && !stream.in_line
            && (stream.outgoing.has_work() || stream.producing)
        {
            stream.in_line = true;
            if stream.served == 0 {
                stream.served = self.scheduler.turn();
            }
            let entry = Entry { slot, id: stream.id, served: stream.served };
            self.scheduler.insert(entry, stream.priority);
        }
    }

    /// Does on the transport what HTTP/3 asks for.
    fn carry_out(&mut self, quic: &mut sterna_quic::Connection) {
        while let Phase::Open(http) = &mut self.phase
            && let Some(command) = http.poll_command()
        {
            match command {
                Command::Write { id, data, fin } => {
                    if let Some(slot) = self.streams.slot(id) {
                        if let Some(stream) = self.streams.get_mut(slot) {
                            stream.outgoing.push(data, fin);
                        }
                        self.enqueue(slot);
                    } else if let Some((_, own)) = self.own.iter_mut().find(|(own, _)| *own == id) {
                        own.push(data, fin);
                    }
                }
                Command::Reset { id, code } => {
                    quic.reset(quic_id(id), code.value());
                    if let Some(slot) = self.streams.slot(id) {
                        if let Some(stream) = self.streams.get_mut(slot) {
                            stream.outgoing.discard();
                        }
                        self.retire(slot);
                    }
                }
                Command::StopSending { id, code } => {
                    quic.stop_sending(quic_id(id), code.value());
                    if let Some(slot) = self.streams.slot(id) {
                        if let Some(stream) = self.streams.get_mut(slot) {
                            stream.stop_receiving();
                        }
                        self.retire(slot);
                    }
                }
                Command::Datagram { data } => {
                    // Unreliable: what does not fit is lost.
                    quic.send_datagram(data);
                }
                Command::Close { code, reason } => {
                    quic.close(code.value(), reason.as_bytes());
                    self.lost();
                }
            }
        }
    }

    /// Control, encoder and decoder streams go before everything: responses wait for what they carry.
    ///
    /// A client that gives no credit for them while it goes on with requests and resets would have us queue without end.
    fn send_own(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        let mut waiting = 0;
        for (id, own) in &mut self.own {
            if own.has_work() {
                own.write(quic, quic_id(*id), usize::MAX, now);
                waiting += own.bytes();
            }
        }
        if waiting > MAX_WAITING_INSTRUCTIONS {
            self.dispatch.counters.protocol_errors.increment();
            let reason = b"no credit for the streams that requests and resets need";
            quic.close(Code::ExcessiveLoad.value(), reason);
            self.lost();
        }
    }
}

/// How much to hand over in this turn: what the congestion window allows, and a batch more, so that the transport
/// never waits for us. Without room nothing: the acknowledgement that makes room brings a turn.
fn budget(quic: &sterna_quic::Connection) -> usize {
    match usize::try_from(quic.headroom()).unwrap_or(usize::MAX) {
        0 => 0,
        headroom => headroom.saturating_add(QUANTUM),
    }
}

/// Instructions of QPACK and control frames that may wait for the client's credit, in bytes. Those of 1,800 requests at the
/// least, when a client has reason not to take more than it has room for: the connection's window is full of content.
const MAX_WAITING_INSTRUCTIONS: usize = 16 * 1024;
