//! One request under way: what of it is still to be sent, and what of its response has come.

use std::time::Instant;

use bytes::Bytes;
use sterna_quic::{Connection, StreamId, Write};

use super::super::{response::Response, verify::Verifier};
use crate::load::{
    Failure,
    events::Listener,
    hub::{Hub, Ticket},
};

/// One request under way.
pub(super) struct InFlight {
    pub(super) ticket: Ticket,
    pub(super) response: Response,
    pub(super) unsent: Unsent,
    listener: Option<Box<Listener>>,
}

/// What of a request the transport has not taken yet.
#[derive(Default)]
pub(super) struct Unsent {
    /// Bytes as they are, the head first.
    pub(super) head: Bytes,
    /// Bytes of content behind it.
    body: u64,
}

impl InFlight {
    pub(super) fn new(ticket: Ticket, head: Bytes, hub: &Hub) -> Self {
        Self {
            ticket,
            response: Response::default(),
            unsent: Unsent { head, body: hub.plan.request.body.len() },
            listener: hub.listener(),
        }
    }

    /// Takes bytes of the response.
    ///
    /// # Errors
    /// What the server has broken.
    #[inline]
    pub(super) fn handle(&mut self, data: &[u8], hub: &Hub, now: Instant) -> Result<(), Failure> {
        hub.answered(&mut self.ticket, now);
        let Self { ticket, response, listener, .. } = self;
        response.handle(data, &mut |content| {
            if let Some(listener) = listener {
                listener.handle(content, ticket, hub, now);
            }
        })
    }

    /// Takes content that others have found.
    pub(super) fn on_content(&mut self, content: &[u8], hub: &Hub, now: Instant) {
        hub.answered(&mut self.ticket, now);
        if let Some(listener) = &mut self.listener {
            listener.handle(content, &self.ticket, hub, now);
        }
    }
}

impl Unsent {
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.body == 0
    }

    /// Sends until all is sent, or the transport takes no more for now.
    pub(super) fn send(
        &mut self,
        connection: &mut Connection,
        hub: &Hub,
        id: StreamId,
        verifier: &mut Option<Box<Verifier>>,
    ) {
        while !self.is_empty() {
            if self.head.is_empty()
                && let Some(verifier) = verifier
            {
                let piece = hub.plan.request.body.next(self.body);
                self.body -= piece.len() as u64;
                hub.tally.borrow_mut().uploaded += piece.len() as u64;
                self.head = verifier.content(id, piece, self.body == 0, connection);
                if self.head.is_empty() {
                    // The stream is over.
                    return *self = Self::default();
                }
            }
            let is_head = !self.head.is_empty();
            let mut chunk = if is_head {
                [std::mem::take(&mut self.head)]
            } else {
                [hub.plan.request.body.next(self.body)]
            };
            let outcome = connection.write(id, &mut chunk);
            if is_head {
                [self.head] = chunk;
            }
            match outcome {
                Write::Taken(taken) if !is_head => {
                    self.body = self.body.saturating_sub(taken as u64);
                    hub.tally.borrow_mut().uploaded += taken as u64;
                }
                Write::Taken(_) => {}
                Write::Blocked => return,
                Write::Stopped(_) | Write::Closed => return *self = Self::default(),
            }
        }
        connection.finish(id);
    }
}
