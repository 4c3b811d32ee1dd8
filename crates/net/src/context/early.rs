//! Requests in early data (0-RTT, RFC 8470): what came before the handshake was complete, and who waits for its end.
//!
//! Until a handshake is complete nobody knows whether the client is there at all: what came before may be a copy of what it
//! said once, from whoever kept it. What must not happen twice waits.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
};

use super::{RequestContext, lock};
use crate::counters::WorkerCounters;

/// Too many requests in early data wait for their handshakes: this one is to be sent again after its own (425, RFC 8470 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MOST_HELD} requests of a worker wait for their handshakes: try again after this one")]
pub struct TooManyHeld;

impl RequestContext {
    /// Whether it came in early data; it may be a replay.
    pub fn came_in_early_data(&self) -> bool {
        self.request.came_early.load(Ordering::Relaxed)
    }

    /// Whether it came in early data and the handshake is not complete yet.
    pub fn is_early(&self) -> bool {
        self.came_in_early_data()
            && self.connection.early.as_ref().is_some_and(|gate| !gate.is_complete())
    }

    /// Waits until the handshake is complete: from then on the request is nobody's replay. At once where it is.
    ///
    /// # Errors
    /// [`TooManyHeld`], without a wait.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped, as it is when the connection ends.
    pub async fn handshake(&self) -> Result<(), TooManyHeld> {
        match &self.connection.early {
            Some(gate) if self.is_early() => gate.wait().await,
            _ => Ok(()),
        }
    }
}

/// A handshake that requests may wait for.
#[derive(Debug)]
pub(crate) struct Gate {
    is_complete: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
    counters: Arc<WorkerCounters>,
}

impl Gate {
    pub(crate) fn new(counters: Arc<WorkerCounters>) -> Self {
        Self { is_complete: AtomicBool::new(false), waiting: Mutex::default(), counters }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }

    /// The handshake is complete: whoever waited goes on.
    pub(crate) fn complete(&self) {
        self.is_complete.store(true, Ordering::Release);
        for waker in std::mem::take(&mut *lock(&self.waiting)) {
            waker.wake();
        }
    }

    async fn wait(&self) -> Result<(), TooManyHeld> {
        if self.counters.queued_early_requests.value() >= MOST_HELD {
            self.counters.refused_early_requests.increment();
            return Err(TooManyHeld);
        }
        let _held = Held::new(&self.counters);
        poll_fn(|cx| {
            if self.is_complete() {
                return Poll::Ready(());
            }
            let mut wakers = lock(&self.waiting);
            if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            drop(wakers);
            // Complete between the look and the registration.
            if self.is_complete() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Ok(())
    }
}

/// One that waits, as long as it does.
struct Held<'a>(&'a WorkerCounters);

impl<'a> Held<'a> {
    fn new(counters: &'a WorkerCounters) -> Self {
        counters.queued_early_requests.increment();
        Self(counters)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.queued_early_requests.decrement();
    }
}

/// Requests of one worker that may wait for handshakes.
const MOST_HELD: u64 = 1000;

#[cfg(test)]
mod tests {
    use std::{pin::Pin, task::Context};

    use super::*;

    type Waiting<'a> = Pin<Box<dyn Future<Output = Result<(), TooManyHeld>> + 'a>>;

    fn poll(waiting: &mut Waiting<'_>) -> Poll<Result<(), TooManyHeld>> {
        waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    // req: 8470-5.2-too-early
    #[test]
    fn who_waits_for_a_handshake_goes_on_when_it_is_complete_and_no_more_wait_than_may() {
        let counters: Arc<WorkerCounters> = Arc::default();
        let gate = Gate::new(counters.clone());
        let mut waiting: Vec<Waiting<'_>> =
            (0..MOST_HELD).map(|_| Box::pin(gate.wait()) as Waiting<'_>).collect();
        for one in &mut waiting {
            assert_eq!(poll(one), Poll::Pending);
        }
        assert_eq!(counters.queued_early_requests.value(), MOST_HELD);
        let mut one_more: Waiting<'_> = Box::pin(gate.wait());
        assert_eq!(poll(&mut one_more), Poll::Ready(Err(TooManyHeld)));
        assert_eq!(counters.refused_early_requests.value(), 1);
        drop(waiting.pop());
        let mut another: Waiting<'_> = Box::pin(gate.wait());
        assert_eq!(poll(&mut another), Poll::Pending, "there is room again");
        gate.complete();
        for one in waiting.iter_mut().chain([&mut another]) {
            assert_eq!(poll(one), Poll::Ready(Ok(())));
        }
        drop((waiting, another));
        assert_eq!(counters.refused_early_requests.value(), 1, "nobody is refused from then on");
        assert_eq!(counters.queued_early_requests.value(), 0);
        assert!(lock(&gate.waiting).is_empty());
    }
}
