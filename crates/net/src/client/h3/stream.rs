//! One request stream of the client: how far its request has come, and how far its response.

use std::{sync::Arc, time::Instant};

use http::{HeaderMap, StatusCode};
use sterna_h3::{RequestHead, StreamId};
use tokio::sync::oneshot;

use super::{
    super::{
        Error,
        exchange::EarlyData,
        request::{Interim, RequestBody},
    },
    handle::{Settled, Submission},
};
use crate::{
    body::{self, Upload},
    counters::WorkerCounters,
    h3::outgoing::Outgoing,
};

/// The state of one request stream.
pub(super) struct RequestStream {
    pub(super) id: StreamId,
    pub(super) head: Arc<RequestHead>,
    pub(super) sending: Sending,
    pub(super) outgoing: Outgoing,
    /// In line for the transport.
    pub(super) in_line: bool,
    pub(super) receiving: Receiving,
    pub(super) reply: Reply,
    pub(super) early_data: EarlyData,
    /// Interim responses: the first few.
    pub(super) interim: Vec<(StatusCode, HeaderMap)>,
    /// Who hears of them as they come.
    pub(super) told: Option<Interim>,
}

/// What is to be sent of the request.
pub(super) enum Sending {
    /// The body waits for the server's word, and until then at the longest (RFC 9110 §10.1.1).
    Held { body: RequestBody, until: Instant },
    /// The body may have a frame: it was woken, or never asked.
    Ready(RequestBody),
    /// The body has nothing now.
    Pending(RequestBody),
    /// All was queued, or nothing more is wanted.
    Over,
}

/// The receive side of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    /// Read when there is something.
    Open,
    /// Not read: the reader has enough for now.
    Paused,
    /// Read to its end, reset, or stopped by us.
    Over,
}

/// Who hears of the response.
pub(super) enum Reply {
    /// Nothing has come.
    Waiting(oneshot::Sender<Result<Settled, Error>>),
    /// The head was given, this takes the content.
    Content(Arc<Upload>),
    /// All was said.
    Over,
}

impl RequestStream {
    pub(super) fn new(
        id: StreamId,
        submission: Submission,
        early_data: EarlyData,
        continue_by: Instant,
        queued: Arc<WorkerCounters>,
    ) -> Self {
        let Submission { head, body, expects_continue, told, reply, .. } = submission;
        let sending = if body.is_empty() {
            Sending::Over
        } else if expects_continue {
            Sending::Held { body, until: continue_by }
        } else {
            Sending::Ready(body)
        };
        Self {
            id,
            head,
            sending,
            outgoing: Outgoing::new(queued),
            in_line: false,
            receiving: Receiving::Open,
            reply: Reply::Waiting(reply),
            early_data,
            interim: Vec::new(),
            told,
        }
    }

    /// The body that was held back may go.
    pub(super) fn release(&mut self) -> bool {
        match std::mem::replace(&mut self.sending, Sending::Over) {
            Sending::Held { body, .. } => {
                self.sending = Sending::Ready(body);
                true
            }
            other => {
                self.sending = other;
                false
            }
        }
    }

    /// Its body was woken.
    pub(super) fn wake_body(&mut self) {
        if let Sending::Pending(_) = self.sending
            && let Sending::Pending(body) = std::mem::replace(&mut self.sending, Sending::Over)
        {
            self.sending = Sending::Ready(body);
        }
    }

    pub(super) fn is_producing(&self) -> bool {
        matches!(self.sending, Sending::Ready(_))
    }

    /// Nobody waits for its response, or reads it.
    pub(super) fn is_unwanted(&self) -> bool {
        match &self.reply {
            Reply::Waiting(reply) => reply.is_closed(),
            Reply::Content(slot) => slot.is_abandoned(),
            Reply::Over => false,
        }
    }

    /// Nothing more will happen on it.
    pub(super) fn is_over(&self) -> bool {
        let is_told = matches!(self.reply, Reply::Over);
        self.outgoing.is_over() && self.receiving == Receiving::Over && is_told
    }

    /// The response will never be complete.
    pub(super) fn fail(&mut self, error: Error) {
        match std::mem::replace(&mut self.reply, Reply::Over) {
            Reply::Waiting(reply) => {
                // Nobody waits any more: then it was cancelled.
                let _ = reply.send(Err(error));
            }
            Reply::Content(slot) => slot.fail(body::Error::Response(error)),
            Reply::Over => {}
        }
        self.sending = Sending::Over;
    }
}
