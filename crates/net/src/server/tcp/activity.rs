//! What a TCP connection does, and by when it must have done more.
//!
//! hyper times a head from the end of the request before, which would make one time-out of two: an idle connection
//! may rest for a minute, a head that has begun may not take that long. So both are timed here.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use http_body::{Frame, SizeHint};
use tokio::{sync::Notify, time::Instant};

use crate::{counters::WorkerCounters, server::Config};

/// The clock of one connection, shared by its bytes, its requests and its watch.
pub(super) struct Activity {
    requests: Cell<usize>,
    /// Since when no request is being answered.
    idle_since: Cell<Instant>,
    /// When the first byte came after the last request; only timed where a byte means a head.
    head_since: Cell<Option<Instant>>,
    times_heads: Cell<bool>,
    /// Responses that gave data and were not asked for more since: they wait for the client.
    waiting: Cell<usize>,
    /// When a response was last asked for more after it had given some.
    taken_at: Cell<Instant>,
    counters: Arc<WorkerCounters>,
    /// A deadline moved closer.
    sooner: Notify,
}

/// What is due on a connection, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A head has begun and is late.
    Head(Instant),
    /// No request for a long time.
    Idle(Instant),
    /// The client takes nothing of the responses that wait for it.
    Stalled,
    /// Requests are being answered.
    Nothing,
}

impl Activity {
    pub(super) fn new(counters: Arc<WorkerCounters>) -> Self {
        Self {
            requests: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            head_since: Cell::new(None),
            times_heads: Cell::new(false),
            waiting: Cell::new(0),
            taken_at: Cell::new(Instant::now()),
            counters,
            sooner: Notify::new(),
        }
    }

    /// From now on a byte between requests begins a head (HTTP/1.1); the first head has begun with the connection.
    pub(super) fn time_heads(&self) {
        self.times_heads.set(true);
        self.head_since.set(Some(Instant::now()));
    }

    pub(super) fn received(&self) {
        if self.times_heads.get() && self.requests.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
            self.sooner.notify_one();
        }
    }

    pub(super) fn request_began(&self) {
        self.requests.set(self.requests.get() + 1);
        self.head_since.set(None);
    }

    pub(super) fn request_ended(&self) {
        self.requests.set(self.requests.get() - 1);
        self.idle_since.set(Instant::now());
        self.sooner.notify_one();
    }

    /// A response gave data.
    fn gave(&self) {
        if self.waiting.get() == 0 {
            self.taken_at.set(Instant::now());
        }
        self.waiting.set(self.waiting.get() + 1);
    }

    /// A response that had given data is asked for more, or is over.
    fn taken(&self) {
        self.waiting.set(self.waiting.get() - 1);
        self.taken_at.set(Instant::now());
    }

    pub(super) fn timed_out(&self) {
        self.counters.timeouts.increment();
    }

    /// What is due next.
    pub(super) fn due(&self, config: &Config) -> Due {
        if self.requests.get() > 0 {
            let is_stalled = self.waiting.get() > 0
                && self.taken_at.get() + config.write_timeout <= Instant::now();
            return if is_stalled { Due::Stalled } else { Due::Nothing };
        }
        match self.head_since.get() {
            Some(since) => Due::Head(since + config.header_timeout),
            None => Due::Idle(self.idle_since.get() + config.keep_alive_timeout),
        }
    }

    /// Waits until something is overdue. It looks again after each write time-out, so that a response which begins to
    /// wait need wake nobody; a stall is noticed after one to two of them.
    pub(super) async fn overdue(&self, config: &Config) -> Due {
        loop {
            let (due, now) = (self.due(config), Instant::now());
            let again = now + config.write_timeout;
            let at = match due {
                Due::Head(at) | Due::Idle(at) if at <= now => return due,
                Due::Stalled => return due,
                Due::Head(at) | Due::Idle(at) => at.min(again),
                Due::Nothing => again,
            };
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = self.sooner.notified() => {}
            }
        }
    }
}

/// A request is being answered: until its response is given whole, the connection is not idle.
pub(super) struct Busy(Rc<Activity>);

impl Busy {
    pub(super) fn new(activity: &Rc<Activity>) -> Self {
        activity.request_began();
        Self(activity.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.request_ended();
    }
}

/// A response body that keeps its connection [`Busy`], and tells when it waits for the client: hyper asks for more
/// only when the client's windows have room.
pub(super) struct Tracked<B> {
    content: B,
    is_waiting: bool,
    busy: Busy,
}

impl<B> Tracked<B> {
    pub(super) fn new(content: B, busy: Busy) -> Self {
        Self { content, is_waiting: false, busy }
    }

    fn set_waiting(&mut self, waits: bool) {
        if waits != self.is_waiting {
            self.is_waiting = waits;
            let activity = &self.busy.0;
            if waits { activity.gave() } else { activity.taken() }
        }
    }
}

impl<B: http_body::Body + Unpin> http_body::Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.set_waiting(false);
        let polled = Pin::new(&mut self.content).poll_frame(cx);
        self.set_waiting(matches!(polled, Poll::Ready(Some(Ok(_)))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

impl<B> Drop for Tracked<B> {
    fn drop(&mut self) {
        self.set_waiting(false);
    }
}
