//! The connections of one origin.

use std::{pin::Pin, sync::Arc, time::Instant};

use hyper::client::conn::http1;
use tokio::sync::{Notify, futures::OwnedNotified};

use super::{
    super::{Error, connection::Info, tcp::TcpBody},
    lease::Shared,
};

/// The connections of one origin, and who waits for one.
#[derive(Default)]
pub(super) struct PerOrigin {
    /// HTTP/2 and HTTP/3.
    pub(super) shared: Vec<Arc<Shared>>,
    /// HTTP/1.1 that nobody uses, the one that came last at the end.
    pub(super) idle: Vec<Idle>,
    /// All that there are: idle, used, being made, coming to their end.
    pub(super) connections: usize,
    /// Of these, being made.
    dialling: usize,
    /// HTTP/1.1 connections that are about to be idle.
    pub(super) returning: usize,
    /// Requests in the queue.
    pub(super) waiting: usize,
    /// What the last connection was; nobody knows before the first.
    pub(super) is_shared: Option<bool>,
    /// Attempts that failed, and how the last of them did.
    failures: u64,
    failure: Option<Error>,
    pub(super) notify: Arc<Notify>,
}

/// An HTTP/1.1 connection that nobody uses.
pub(super) struct Idle {
    pub(super) sender: http1::SendRequest<TcpBody>,
    pub(super) info: Arc<Info>,
    pub(super) since: Instant,
}

/// What a request can go on.
pub(super) enum Ready {
    Shared(super::lease::Use),
    Http1(Idle),
}

/// Connections that were taken out, to be dropped without the lock.
#[derive(Default)]
pub(super) struct Gone {
    _idle: Vec<Idle>,
    _shared: Vec<Arc<Shared>>,
}

impl PerOrigin {
    /// A connection that takes one more request.
    pub(super) fn take(&mut self) -> Option<Ready> {
        self.shared.retain(|shared| !shared.is_over());
        // The one with the most to do that still has room: the others get idle and go.
        let mut open: Vec<_> = Vec::new();
        if let [only] = &self.shared[..] {
            return only.reserve().map(Ready::Shared);
        }
        open.extend(self.shared.iter());
        open.sort_by_key(|shared| std::cmp::Reverse(shared.active()));
        if let Some(used) = open.into_iter().find_map(|shared| shared.reserve()) {
            return Some(Ready::Shared(used));
        }
        while let Some(idle) = self.idle.pop() {
            if idle.sender.is_ready() {
                return Some(Ready::Http1(idle));
            }
        }
        None
    }

    /// Whether one more connection should be made, now that a request found none.
    ///
    /// One that can be shared may serve all who wait, so that a second one is made only when the first is full; of those
    /// that cannot, each who waits gets one.
    pub(super) fn may_dial(&self, most: usize) -> bool {
        let wanted = if self.is_shared == Some(false) { self.waiting } else { 1 };
        self.connections < most && self.dialling + self.returning < wanted
    }

    /// How many more connections it takes until there are `wanted`; one that can be shared stands for all.
    pub(super) fn lacking(&self, wanted: usize) -> usize {
        let wanted = if self.is_shared == Some(false) { wanted } else { wanted.min(1) };
        wanted.saturating_sub(self.connections)
    }

    /// A place in the queue, to be taken while the lock is held.
    pub(super) fn queue(&self) -> Pin<Box<OwnedNotified>> {
        let mut word = Box::pin(self.notify.clone().notified_owned());
        // Otherwise it is in the queue from its first look on, and of several words until then one is kept. Whether
        // there is one already is seen then.
        let _ = word.as_mut().enable();
        word
    }

    pub(super) fn begin_dial(&mut self) {
        self.connections += 1;
        self.dialling += 1;
    }

    pub(super) fn end_dial(&mut self) {
        self.dialling -= 1;
    }

    pub(super) fn fail(&mut self, error: Error) {
        self.failures += 1;
        self.failure = Some(error);
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures
    }

    /// How the last attempt failed, if one did since then and no other is under way.
    pub(super) fn failure_since(&self, failures: u64) -> Option<Error> {
        self.failure.clone().filter(|_| self.failures > failures && self.dialling == 0)
    }

    pub(super) fn idle_count(&self) -> usize {
        self.idle.len() + self.shared.iter().filter(|shared| shared.active() == 0).count()
    }

    /// Nothing is left that is worth remembering.
    pub(super) fn is_unused(&self) -> bool {
        self.connections == 0 && self.waiting == 0 && self.returning == 0
    }

    /// Takes out what has been idle since before then, and what has ended.
    pub(super) fn expire(&mut self, before: Instant) -> Gone {
        let is_old = |since: Option<Instant>| since.is_some_and(|since| since < before);
        Gone {
            _idle: self
                .idle
                .extract_if(.., |idle| idle.sender.is_closed() || is_old(Some(idle.since)))
                .collect(),
            _shared: self
                .shared
                .extract_if(.., |shared| shared.is_over() || is_old(shared.idle_since()))
                .collect(),
        }
    }

    /// Takes out idle connections beyond `most`.
    pub(super) fn trim(&mut self, most: usize, gone: &mut Gone) {
        while self.idle_count() > most {
            self.remove_oldest(gone);
        }
    }

    /// Since when the connection is idle that has been so for longest. Later than everything when there is none.
    pub(super) fn oldest_idle(&self) -> (bool, Option<Instant>) {
        let shared = self.shared.iter().filter_map(|shared| shared.idle_since());
        let oldest = self.idle.iter().map(|idle| idle.since).chain(shared).min();
        (oldest.is_none(), oldest)
    }

    pub(super) fn remove_oldest(&mut self, gone: &mut Gone) {
        let (_, Some(oldest)) = self.oldest_idle() else { return };
        if let Some(at) = self.idle.iter().position(|idle| idle.since == oldest) {
            gone._idle.push(self.idle.remove(at));
        } else if let Some(at) =
            self.shared.iter().position(|shared| shared.idle_since() == Some(oldest))
        {
            gone._shared.push(self.shared.remove(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn one_connection_is_enough_unless_they_are_known_not_to_be_shared() {
        let mut place = PerOrigin::default();
        assert_eq!((place.lacking(0), place.lacking(3)), (0, 1));
        place.begin_dial();
        assert_eq!(place.lacking(3), 0, "one that is being made counts");
        place.is_shared = Some(false);
        assert_eq!(place.lacking(3), 2);
        place.is_shared = Some(true);
        assert_eq!(place.lacking(3), 0);
    }

    #[test]
    fn each_of_two_who_wait_hears_one_of_two_words_though_neither_has_looked_yet() {
        let place = PerOrigin::default();
        let mut waiting = [place.queue(), place.queue()];
        place.notify.notify_one();
        place.notify.notify_one();
        let mut cx = Context::from_waker(Waker::noop());
        for (number, one) in waiting.iter_mut().enumerate() {
            assert!(one.as_mut().poll(&mut cx).is_ready(), "{number} sleeps on");
        }
    }
}
