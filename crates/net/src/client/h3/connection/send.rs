//! From HTTP/3's commands and the requests' bodies to the transport, each stream in its turn.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use http_body::Body as _;
use sterna_h3::{Code, Command};

use super::{
    super::stream::{Receiving, Sending},
    At, Connection, Error, Kind,
};
use crate::{
    Protocol,
    h3::{LOW_MARK, QUANTUM, outgoing::Progress, quic_id},
};

impl Connection {
    /// Hands over what the transport can use now; the rest waits for acknowledgements.
    pub(super) fn send(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        self.carry_out(quic);
        self.send_own(quic, now);
        let mut budget = budget(quic);
        while budget > 0
            && let Some(slot) = self.line.pop_front()
        {
            let taken = self.serve(quic, slot, budget.min(QUANTUM), now);
            budget = budget.saturating_sub(taken.max(1));
        }
        // Trailers may have used the encoder stream.
        self.send_own(quic, now);
    }

    /// Serves one stream: fills its queue from the request's body, and writes.
    fn serve(
        &mut self,
        quic: &mut sterna_quic::Connection,
        slot: usize,
        quantum: usize,
        now: Instant,
    ) -> usize {
        match self.streams.get_mut(slot) {
            // The slot may have another stream by now, which is in line itself.
            Some(stream) if stream.in_line => stream.in_line = false,
            _ => return 0,
        }
        let mut total = 0;
        loop {
            self.fill(quic, slot);
            let Some(stream) = self.streams.get_mut(slot) else { return total };
            let id = quic_id(stream.id);
            let (taken, progress) = stream.outgoing.write(quic, id, quantum - total, now);
            total += taken;
            match progress {
                Progress::Empty if stream.is_producing() && total < quantum => {}
                Progress::Empty | Progress::Partial => {
                    self.enqueue(slot);
                    return total;
                }
                Progress::Blocked => return total,
                Progress::Finished | Progress::Gone => {
                    stream.sending = Sending::Over;
                    self.retire(slot);
                    return total;
                }
            }
        }
    }

    /// Asks the request's body for frames until enough is queued.
    fn fill(&mut self, quic: &mut sterna_quic::Connection, slot: usize) {
        while let Some(stream) = self.streams.get_mut(slot)
            && stream.is_producing()
            && stream.outgoing.bytes() < LOW_MARK
        {
            let more = self.produce(quic, slot);
            self.carry_out(quic);
            if !more {
                return;
            }
        }
    }

    /// Asks the body for one frame. False when it has none now, or never again.
    fn produce(&mut self, quic: &mut sterna_quic::Connection, slot: usize) -> bool {
        let Some(http) = self.phase.http() else { return false };
        let Some((stream, waker)) = self.streams.with_waker(slot) else { return false };
        let Sending::Ready(body) = &mut stream.sending else { return false };
        let mut cx = Context::from_waker(waker);
        let (sent, is_over) = match Pin::new(&mut *body).poll_frame(&mut cx) {
            Poll::Pending => {
                if let Sending::Ready(body) = std::mem::replace(&mut stream.sending, Sending::Over)
                {
                    stream.sending = Sending::Pending(body);
                }
                return false;
            }
            Poll::Ready(None) => (http.finish(stream.id).map_err(Into::into), true),
            Poll::Ready(Some(Err(error))) => (Err(error), true),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    let fin = body.is_end_stream();
                    (http.send_data(stream.id, data, fin).map_err(Into::into), fin)
                }
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => {
                        (http.send_trailers(stream.id, &trailers).map_err(Into::into), true)
                    }
                    // A kind of frame that HTTP/3 does not know.
                    Err(_) => return true,
                },
            },
        };
        if is_over {
            stream.sending = Sending::Over;
        }
        match sent {
            Ok(()) => !is_over,
            // The server must not take it for the whole.
            Err(why) => {
                let error = Error::new(At::Request, Kind::RequestBody).over(Protocol::Http3);
                self.give_up(quic, slot, Code::RequestCancelled, Some(error.because(why)));
                false
            }
        }
    }

    /// Puts a stream in line when it has something to send.
    pub(super) fn enqueue(&mut self, slot: usize) {
        if let Some(stream) = self.streams.get_mut(slot)
            && !stream.in_line
            && (stream.outgoing.has_work() || stream.is_producing())
        {
            stream.in_line = true;
            self.line.push_back(slot);
        }
    }

    /// Does on the transport what HTTP/3 asks for.
    fn carry_out(&mut self, quic: &mut sterna_quic::Connection) {
        while let Some(http) = self.phase.http()
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
                            stream.receiving = Receiving::Over;
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
                    let error = Error::new(At::FirstByte, Kind::Protocol { code: code.value() });
                    self.end(&error.over(Protocol::Http3).because(reason));
                }
            }
        }
    }

    /// Control, encoder and decoder streams go before everything: requests wait for what they carry.
    ///
    /// A server that gives no credit for them while it sends what has to be acknowledged would have us queue without end.
    fn send_own(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        let mut waiting = 0;
        for (id, own) in &mut self.own {
            if own.has_work() {
                own.write(quic, quic_id(*id), usize::MAX, now);
                waiting += own.bytes();
            }
        }
        if waiting > MAX_WAITING_INSTRUCTIONS {
            let reason = "no credit for the streams that requests need";
            let code = Code::ExcessiveLoad.value();
            quic.close(code, reason.as_bytes());
            let error = Error::new(At::FirstByte, Kind::Protocol { code });
            self.end(&error.over(Protocol::Http3).because(reason));
        }
    }
}

/// How much to hand over in this turn: what the congestion window allows, and a batch more, so that the transport
/// never waits for us.
fn budget(quic: &sterna_quic::Connection) -> usize {
    match usize::try_from(quic.headroom()).unwrap_or(usize::MAX) {
        0 => 0,
        headroom => headroom.saturating_add(QUANTUM),
    }
}

/// Instructions of QPACK and control frames that may wait for the server's credit, in bytes.
const MAX_WAITING_INSTRUCTIONS: usize = 64 * 1024;
