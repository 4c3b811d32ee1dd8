//! What comes on the streams of a connection: responses, and the server's own streams.

use std::time::Instant;

use bytes::Bytes;
use sterna_quic::{Connection, Read, StreamId};

use super::{H3_GENERAL_PROTOCOL_ERROR, H3_NO_ERROR, Session, State};
use crate::load::{Failure, h3::verify::Seen, hub::Hub};

impl Session {
    /// Reads what a stream has.
    pub(super) fn read(
        &mut self,
        id: StreamId,
        connection: &mut Connection,
        hub: &Hub,
        now: Instant,
    ) {
        // A response that is over, or was given up.
        let Some(request) = self.requests.get_mut(&id) else {
            return while let Read::Data(_) = connection.read(id, usize::MAX) {};
        };
        let outcome = loop {
            match connection.read(id, usize::MAX) {
                Read::Data(data) => {
                    if let Err(failure) = request.handle(&data, hub, now) {
                        connection.stop_sending(id, H3_MESSAGE_ERROR);
                        break Err(failure);
                    }
                }
                Read::Finished => break request.response.finish(),
                Read::Reset(code) => break Err(Failure::of_h3_reset(code)),
                Read::Blocked => return,
                Read::Closed => break Err(Failure::Truncated("the stream is gone")),
            }
        };
        self.end(id, outcome, connection, hub, now);
    }

    /// A request has ended.
    fn end(
        &mut self,
        id: StreamId,
        outcome: Result<(u16, u64), Failure>,
        connection: &mut Connection,
        hub: &Hub,
        now: Instant,
    ) {
        let Some(request) = self.requests.remove(&id) else { return };
        if !request.unsent.is_empty() {
            connection.reset(id, H3_NO_ERROR);
        }
        match outcome {
            Ok((status, content)) => {
                self.is_useless = false;
                hub.done(request.ticket, status, content, now);
            }
            Err(failure) => hub.failed(request.ticket, &failure, now),
        }
    }

    /// Reads what a stream has, and checks all of it.
    pub(super) fn verify(
        &mut self,
        id: StreamId,
        connection: &mut Connection,
        hub: &Hub,
        now: Instant,
    ) {
        let Some(mut verifier) = self.verifier.take() else { return };
        let mut seen = Vec::new();
        let outcome = loop {
            let handled = match connection.read(id, usize::MAX) {
                Read::Data(data) => verifier.handle(id, data, false, connection, &mut seen),
                Read::Finished => {
                    break verifier.handle(id, Bytes::new(), true, connection, &mut seen);
                }
                Read::Reset(code) => {
                    seen.push(Seen::Failed(id, Failure::of_h3_reset(code)));
                    break verifier.reset(id, code, connection);
                }
                Read::Blocked | Read::Closed => break Ok(()),
            };
            if handled.is_err() {
                break handled;
            }
        };
        self.verifier = Some(verifier);
        for seen in seen {
            match seen {
                Seen::Content(id, data) => {
                    if let Some(request) = self.requests.get_mut(&id) {
                        request.on_content(&data, hub, now);
                    }
                }
                Seen::Done(id, status, content) => {
                    self.end(id, Ok((status, content)), connection, hub, now);
                }
                Seen::Failed(id, failure) => self.end(id, Err(failure), connection, hub, now),
                Seen::Goaway(from) => self.on_goaway(from, connection, hub, now),
            }
        }
        if let Err(failure) = outcome {
            self.blamed.get_or_insert(failure);
        }
    }

    pub(super) fn read_uni(
        &mut self,
        id: StreamId,
        connection: &mut Connection,
        hub: &Hub,
        now: Instant,
    ) {
        loop {
            let data = match connection.read(id, usize::MAX) {
                Read::Data(data) => data,
                Read::Blocked => return,
                Read::Finished | Read::Reset(_) | Read::Closed => {
                    self.uni.remove(&id);
                    return;
                }
            };
            match self.uni.entry(id).or_default().handle(&data) {
                Ok(None) => {}
                Ok(Some(from)) => self.on_goaway(from, connection, hub, now),
                Err(failure) => {
                    self.blamed = Some(failure);
                    return connection.close(H3_GENERAL_PROTOCOL_ERROR, b"");
                }
            }
        }
    }

    /// The server takes no requests from this id on: those that it has will not be answered.
    fn on_goaway(&mut self, from: u64, connection: &mut Connection, hub: &Hub, now: Instant) {
        hub.tally.borrow_mut().goaways += 1;
        if self.state == State::Open {
            self.state = State::Finishing;
        }
        self.give_up(|id, _| id.0 >= from, &Failure::Goaway, connection, hub, now);
    }
}

/// RFC 9114 §8.1.
const H3_MESSAGE_ERROR: u64 = 0x10e;
