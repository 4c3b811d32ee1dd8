//! What a TCP connection does, and by when it must have done more.
//!
//! hyper times a head from the end of the request before, which would make one time-out of two: an idle connection
//! may rest for a minute, a head that has begun may not take that long. So both are timed here.

use std::{
    cell::{Cell, OnceCell, Ref, RefCell},
    future::poll_fn,
    pin::pin,
    sync::{Arc, Weak},
    task::Poll,
};

use tokio::{
    net::TcpStream,
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::crowd::Crowd;
use crate::{
    context::acknowledged,
    counters::WorkerCounters,
    limit::{MinRate, patience::Patience},
    server::{Config, NEVER},
};

/// The clock of one connection, shared by its bytes, its requests and its watch.
pub(super) struct Activity {
    requests: Cell<usize>,
    /// Since when no request is being answered.
    idle_since: Cell<Instant>,
    /// When the first byte came after the last request; only timed where a byte means a head.
    head_since: Cell<Option<Instant>>,
    times_heads: Cell<bool>,
    /// Responses that gave data and were not asked for more since, and pieces of their data: they wait for the client.
    waiting: Cell<usize>,
    /// Since when responses wait without a pause.
    waiting_since: Cell<Instant>,
    /// With a client that takes something of them, but hardly; `None` as long as nobody looked.
    patience: Cell<Option<Patience>>,
    /// Where the kernel is asked what the client has acknowledged.
    stream: OnceCell<Weak<TcpStream>>,
    /// What it had when it was asked last.
    acknowledged: Cell<u64>,
    /// Acknowledged since patience was looked at.
    taken: Cell<u64>,
    is_overloading: Cell<bool>,
    /// When a response was last asked for more after it had given some, or some of a piece left.
    taken_at: Cell<Instant>,
    /// Its limits and time-outs, which a reload changes.
    config: RefCell<Arc<Config>>,
    crowd: Crowd,
    counters: Arc<WorkerCounters>,
    /// When [`Self::overdue`] looks again by itself.
    looks_at: Cell<Instant>,
    /// A deadline moved before that.
    sooner: Notify,
    /// When the poll of the connection began that runs: the clock is read once for all that happens in it.
    poll: Cell<Option<Instant>>,
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
    /// The client's address has too many requests.
    Overloading,
    /// Requests are being answered.
    Nothing,
}

impl Activity {
    pub(super) fn new(counters: Arc<WorkerCounters>, config: Arc<Config>) -> Self {
        let now = Instant::now();
        Self {
            requests: Cell::new(0),
            idle_since: Cell::new(now),
            head_since: Cell::new(None),
            times_heads: Cell::new(false),
            waiting: Cell::new(0),
            waiting_since: Cell::new(now),
            patience: Cell::new(None),
            stream: OnceCell::new(),
            acknowledged: Cell::new(0),
            taken: Cell::new(0),
            is_overloading: Cell::new(false),
            taken_at: Cell::new(now),
            config: RefCell::new(config),
            crowd: Crowd::default(),
            counters,
            looks_at: Cell::new(now),
            sooner: Notify::new(),
            poll: Cell::new(None),
        }
    }

    /// Where the kernel is asked what the client has acknowledged.
    pub(super) fn ask(&self, stream: Weak<TcpStream>) {
        let _ = self.stream.set(stream);
    }

    /// What the connection goes by now. Not to be kept over an `await`.
    pub(super) fn config(&self) -> Ref<'_, Arc<Config>> {
        self.config.borrow()
    }

    /// A reload has changed it.
    pub(super) fn follow(&self, config: Arc<Config>) {
        self.config.replace(config);
        self.sooner.notify_one();
        self.crowd.look_again();
    }

    /// Its requests.
    pub(super) fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    /// The client's address has too many requests: the connection is to end.
    pub(super) fn overloads(&self) {
        self.is_overloading.set(true);
        self.sooner.notify_one();
    }

    /// Asks the kernel whether the client has taken something since it was asked last. It is a system call, for when
    /// something would be due otherwise: bytes that hyper has handed over leave the kernel's buffer one by one, and it
    /// says that it takes more when a third of it is free.
    pub(super) fn takes(&self) -> bool {
        let stream = self.stream.get().and_then(Weak::upgrade);
        let Some(acknowledged) = stream.and_then(|stream| acknowledged(&stream)) else {
            return false;
        };
        let taken = acknowledged.saturating_sub(self.acknowledged.replace(acknowledged));
        self.taken.set(self.taken.get().saturating_add(taken));
        if taken > 0 {
            self.moved();
        }
        taken > 0
    }

    /// Whether the client is slower than it may be.
    fn is_slow(&self, rate: MinRate, now: Instant) -> bool {
        let mut patience = self.patience(rate);
        if patience.deadline().is_some_and(|deadline| deadline <= now.into_std()) {
            self.takes();
            let taken = usize::try_from(self.taken.take()).unwrap_or(usize::MAX);
            patience.moved(taken, now.into_std());
            patience.wait(now.into_std());
        }
        self.patience.set(Some(patience));
        let is_slow = patience.deadline().is_some_and(|deadline| deadline <= now.into_std());
        self.counters.slow_clients.add(is_slow.into());
        is_slow
    }

    fn patience(&self, rate: MinRate) -> Patience {
        self.patience.get().unwrap_or_else(|| {
            let mut patience = Patience::new(rate);
            patience.wait(self.waiting_since.get().into_std());
            patience
        })
    }

    /// From now on a byte between requests begins a head (HTTP/1.1); the first head has begun with the connection.
    pub(super) fn time_heads(&self) {
        self.times_heads.set(true);
        self.head_since.set(Some(Instant::now()));
    }

    /// All that happens before [`Self::poll_ends`] happens now.
    pub(super) fn poll_begins(&self) {
        self.poll.set(Some(Instant::now()));
    }

    pub(super) fn poll_ends(&self) {
        self.poll.set(None);
    }

    fn now(&self) -> Instant {
        self.poll.get().unwrap_or_else(Instant::now)
    }

    pub(super) fn received(&self) {
        if self.times_heads.get() && self.requests.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(self.now()));
        }
    }

    /// Requests that are being answered.
    pub(super) fn requests(&self) -> usize {
        self.requests.get()
    }

    pub(super) fn request_began(&self) {
        self.requests.set(self.requests.get() + 1);
        self.head_since.set(None);
    }

    pub(super) fn request_ended(&self) {
        self.requests.set(self.requests.get() - 1);
        let now = self.now();
        self.idle_since.set(now);
        if now + self.config().keep_alive_timeout < self.looks_at.get() {
            self.sooner.notify_one();
        }
    }

    /// A response gave data.
    pub(super) fn gave(&self) {
        if self.waiting.get() == 0 {
            let now = self.now();
            self.taken_at.set(now);
            self.waiting_since.set(now);
            self.patience.set(None);
        }
        self.waiting.set(self.waiting.get() + 1);
    }

    /// A response that had given data is asked for more, or is over.
    pub(super) fn taken(&self) {
        self.waiting.set(self.waiting.get() - 1);
        self.moved();
    }

    /// Some of what a response gave is on its way.
    pub(super) fn moved(&self) {
        self.taken_at.set(self.now());
    }

    pub(super) fn timed_out(&self) {
        self.counters.timeouts.increment();
    }

    /// What is due next.
    fn due(&self, config: &Config) -> Due {
        if self.is_overloading.get() {
            return Due::Overloading;
        }
        if self.requests.get() > 0 {
            let now = Instant::now();
            let is_late = || self.taken_at.get() + config.write_timeout <= now && !self.takes();
            let is_slow = || config.min_rate.is_some_and(|rate| self.is_slow(rate, now));
            let is_stalled = self.waiting.get() > 0 && (is_late() || is_slow());
            return if is_stalled { Due::Stalled } else { Due::Nothing };
        }
        match self.head_since.get() {
            Some(since) => Due::Head(since + config.header_timeout),
            None => Due::Idle(self.idle_since.get() + config.keep_alive_timeout),
        }
    }

    /// Waits until something is overdue. It looks again after each write time-out, so that a response which begins to
    /// wait need wake nobody: no stall that begins between two looks is due before the second, which learns when it is.
    ///
    /// Its task is that of the connection and polls the connection first: a head that begins there needs no waking.
    pub(super) async fn overdue(&self) -> Due {
        let mut timer = pin!(sleep_until(self.looks_at.get()));
        loop {
            let config = self.config().clone();
            let (due, now) = (self.due(&config), Instant::now());
            let grace = config.min_rate.map_or(NEVER, |rate| rate.grace);
            let again = now + config.write_timeout.min(grace);
            let at = match due {
                Due::Head(at) | Due::Idle(at) if at <= now => return due,
                Due::Stalled | Due::Overloading => return due,
                Due::Head(at) | Due::Idle(at) => at.min(again),
                Due::Nothing if self.waiting.get() > 0 => {
                    let at = self.taken_at.get() + config.write_timeout;
                    let patience = config.min_rate.map(|rate| self.patience(rate));
                    let slow_at = patience.and_then(|patience| patience.deadline());
                    slow_at.map_or(at, |slow_at| at.min(slow_at.into()))
                }
                Due::Nothing => again,
            };
            self.looks_at.set(at);
            timer.as_mut().reset(at);
            tokio::select! {
                () = &mut timer => {}
                () = self.sooner.notified() => {}
                () = poll_fn(|_| self.poll_moved()) => {}
            }
        }
    }

    /// Ready when what is due next is due before the next look. Wakes nobody.
    fn poll_moved(&self) -> Poll<()> {
        let config = self.config();
        let at = match self.head_since.get() {
            _ if self.requests.get() > 0 => return Poll::Pending,
            Some(since) => since + config.header_timeout,
            None => self.idle_since.get() + config.keep_alive_timeout,
        };
        if at < self.looks_at.get() { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::{rc::Rc, time::Duration};

    use super::{super::tracked::Busy, *};

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_noticed_when_it_is_due_wherever_it_begins_between_two_looks() {
        let config = Config { write_timeout: Duration::from_secs(60), ..Config::default() };
        let config = Arc::new(config);
        for begins in [1, 30, 59, 61, 100] {
            let activity = Rc::new(Activity::new(Arc::default(), config.clone()));
            let _busy = Busy::new(&activity);
            let start = Instant::now();
            let begin = async {
                tokio::time::sleep(Duration::from_secs(begins)).await;
                activity.gave();
            };
            let (due, ()) = tokio::join!(activity.overdue(), begin);
            assert_eq!(due, Due::Stalled);
            let waited = start.elapsed().as_secs();
            assert_eq!(waited, begins + 60, "for a stall that began after {begins} s");
        }
    }
}
