//! One request stream: how far its request has come, and how far its response.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sterna_h3::{Priority, StreamId};

use crate::{
    body::Upload,
    content::Content,
    context::RequestState,
    counters::WorkerCounters,
    h3::outgoing::Outgoing,
    limit::{MinRate, patience::Patience, per_source::Held},
    service::{Answer, HttpService},
};

/// The state of one request stream.
pub(super) struct RequestStream<S: HttpService> {
    pub(super) id: StreamId,
    pub(super) exchange: Exchange<S>,
    pub(super) receiving: Receiving,
    pub(super) upload: Option<Arc<Upload>>,
    /// Until the response's head is sent.
    pub(super) state: Option<Arc<RequestState>>,
    pub(super) outgoing: Outgoing,
    pub(super) priority: Priority,
    /// In the scheduler's line.
    pub(super) in_line: bool,
    /// When it was served last, by the scheduler's count of turns; 0 when it was never in line.
    pub(super) served: u64,
    /// The response body may have a frame: it was woken, or never asked.
    pub(super) producing: bool,
    pub(super) is_head: bool,
    pub(super) expects_continue: bool,
    /// The client gave its side up before the request was complete.
    pub(super) incomplete: bool,
    /// When the request's head, or the next piece of its body, is late.
    pub(super) receive_by: Option<Instant>,
    /// The least rate of its content.
    rate: Option<MinRate>,
    /// With a client that sends content, but hardly; and with one that takes the response so.
    sending: Option<Box<Patience>>,
    taking: Option<Box<Patience>>,
    /// Its place among the requests of its address.
    _place: Option<Held>,
}

/// What is being done for a request.
pub(super) enum Exchange<S: HttpService> {
    /// Its head has not arrived.
    Head,
    /// The service works on it.
    Service(Answer<S>),
    /// The response's head was sent, its content is under way.
    Content(Content<S::Content>),
    /// The response was given to the transport's queue, or the request was given up.
    Over,
}

/// The receive side of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    /// Read when there is something.
    Open,
    /// Not read: the application has enough for now.
    Paused,
    /// Read to its end, reset, or stopped by us.
    Over,
}

impl<S: HttpService> RequestStream<S> {
    pub(super) fn new(id: StreamId, counters: Arc<WorkerCounters>, receive_by: Instant) -> Self {
        Self {
            id,
            exchange: Exchange::Head,
            receiving: Receiving::Open,
            upload: None,
            state: None,
            outgoing: Outgoing::new(counters),
            priority: Priority::default(),
            in_line: false,
            served: 0,
            producing: false,
            is_head: false,
            expects_continue: false,
            incomplete: false,
            receive_by: Some(receive_by),
            rate: None,
            sending: None,
            taking: None,
            _place: None,
        }
    }

    /// The same, as far as its client is limited.
    pub(super) fn limited(mut self, place: Option<Held>, rate: Option<MinRate>) -> Self {
        (self._place, self.rate) = (place, rate);
        self
    }

    /// Another least rate of its content.
    pub(super) fn hold_to(&mut self, rate: Option<MinRate>, now: Instant, pause: Duration) {
        (self.rate, self.sending) = (rate, None);
        if self.receive_by.is_some() {
            self.expect_content(0, now, pause);
        }
    }

    /// Content came, or may come from now on: when the next of it is late.
    pub(super) fn expect_content(&mut self, came: usize, now: Instant, pause: Duration) -> Instant {
        let by = now + pause;
        let by = self.rate.map_or(by, |rate| {
            let patience = self.sending.get_or_insert_with(|| Box::new(Patience::new(rate)));
            patience.moved(came, now);
            patience.wait(now);
            patience.deadline().map_or(by, |deadline| deadline.min(by))
        });
        self.receive_by = Some(by);
        by
    }

    /// Nothing of it is expected for now.
    pub(super) fn rest(&mut self) {
        self.receive_by = None;
        if let Some(patience) = &mut self.sending {
            patience.rest();
        }
    }

    /// Whether its content comes slower than it must.
    pub(super) fn sends_slowly(&self, now: Instant) -> bool {
        is_over(self.sending.as_deref(), now)
    }

    /// The transport took so much of the response.
    pub(super) fn taken(&mut self, bytes: usize, now: Instant) {
        if let Some(patience) = &mut self.taking {
            patience.moved(bytes, now);
        }
    }

    /// The transport takes no more of the response: when the client is late with taking some.
    pub(super) fn blocked(&mut self, rate: Option<MinRate>, now: Instant) {
        if let Some(rate) = rate {
            self.taking.get_or_insert_with(|| Box::new(Patience::new(rate))).wait(now);
        }
    }

    /// When the client is late with taking some of the response.
    pub(super) fn write_by(&self, write_timeout: Duration) -> Option<Instant> {
        let by = self.outgoing.blocked_since()? + write_timeout;
        let slow_by = self.taking.as_ref().and_then(|patience| patience.deadline());
        Some(slow_by.map_or(by, |slow_by| slow_by.min(by)))
    }

    /// Whether the response is taken slower than it must be.
    pub(super) fn takes_slowly(&self, now: Instant) -> bool {
        is_over(self.taking.as_deref(), now)
    }

    /// Nothing more is read: it is at its end, reset, or stopped by us.
    pub(super) fn stop_receiving(&mut self) {
        self.receiving = Receiving::Over;
        self.receive_by = None;
    }

    /// Nothing more will happen on it.
    pub(super) fn is_over(&self) -> bool {
        self.outgoing.is_over() && self.receiving == Receiving::Over
    }

    /// Nobody will read what the client still sends.
    pub(super) fn is_unread(&self) -> bool {
        self.upload.as_ref().is_none_or(|upload| upload.is_abandoned())
    }
}

fn is_over(patience: Option<&Patience>, now: Instant) -> bool {
    patience.and_then(Patience::deadline).is_some_and(|deadline| deadline <= now)
}
