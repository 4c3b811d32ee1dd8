//! How many requests may be in work at once: those beyond wait in a bounded queue, and get 503 when it is full or they have
//! waited for too long.
//!
//! A request is in work until the last byte of its response is handed over. Who waits is let in in the order of arrival. The
//! places are the process's: all workers share them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{Middleware, Step, Verdict};
use crate::Request;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::shared::Build;

/// Configuration of `in_flight`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the places belong to, such as the site that the limit is written in.
    pub scope: String,
    /// How many, and who waits.
    pub limit: Limit,
}

/// How many at once, how many wait, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Requests at once.
    pub max: usize,
    /// Requests that wait for a place.
    pub queue: usize,
    /// Longest time that one waits.
    pub wait: Duration,
}

impl Config {
    pub(crate) fn build(&self, build: Build<'_>) -> InFlight {
        let key = (self.scope.clone(), self.limit.clone());
        let gate = build.shared.gates().get_or_make(key, || Gate::new(self.limit.clone()));
        InFlight { gate }
    }
}

/// Lets requests in while there is room.
#[derive(Debug)]
pub(crate) struct InFlight {
    gate: Arc<Gate>,
}

/// The places, and the queue for them.
#[derive(Debug)]
pub(crate) struct Gate {
    limit: Limit,
    /// It is fair: a place that is freed goes to who has waited longest, before anyone who comes later.
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    refused: AtomicU64,
}

/// A place; dropping it gives it to the next.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Gate {
    fn new(limit: Limit) -> Self {
        let places = Arc::new(Semaphore::new(limit.max.min(Semaphore::MAX_PERMITS)));
        Self { limit, places, waiting: AtomicUsize::new(0), refused: AtomicU64::new(0) }
    }

    fn try_enter(&self) -> Option<Place> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        Some(Place { _permit: permit })
    }

    /// Waits for a place.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue.
    async fn wait(&self, _turn: Turn<'_>) -> Result<Place, Error> {
        match timeout(self.limit.wait, self.places.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place { _permit: permit }),
            // Nobody closes it.
            Ok(Err(_)) | Err(_) => Err(self.refuse()),
        }
    }

    /// A place in the queue, while it has one.
    fn queue(&self) -> Option<Turn<'_>> {
        let turn = Turn(&self.waiting);
        // Counted before it is looked at, so that two who come together do not take the same place.
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        (before < self.limit.queue).then_some(turn)
    }

    fn refuse(&self) -> Error {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Error::Overloaded { retry_after: self.limit.wait.max(Duration::from_secs(1)) }
    }

    /// Requests in work and waiting now, and those refused so far.
    pub(crate) fn figures(&self) -> (usize, usize, u64) {
        let in_work = self.limit.max.saturating_sub(self.places.available_permits());
        let waiting = self.waiting.load(Ordering::Relaxed);
        (in_work, waiting, self.refused.load(Ordering::Relaxed))
    }
}

/// One who waits; dropping it leaves the queue.
struct Turn<'a>(&'a AtomicUsize);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Middleware for InFlight {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: &'a mut Request) -> Step<'a> {
        if let Some(place) = self.gate.try_enter() {
            exchange.places.push(place);
            return Step::pass();
        }
        let Some(turn) = self.gate.queue() else { return Step::refuse(self.gate.refuse()) };
        Step::Later(Box::pin(async move {
            match self.gate.wait(turn).await {
                Ok(place) => {
                    exchange.places.push(place);
                    Verdict::Continue(())
                }
                Err(error) => Verdict::Break(Err(error)),
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http_body_util::BodyExt;

    use super::*;
    use crate::{Body, Response, Shared};

    fn build(shared: &Shared, max: usize, queue: usize) -> InFlight {
        let limit = Limit { max, queue, wait: Duration::from_secs(10) };
        Config { scope: "site".to_owned(), limit }.build(Build { shared, path: None })
    }

    /// A request that has been let in, or why not.
    async fn enter(limit: &InFlight) -> Result<Exchange, Error> {
        let mut request = Request::default();
        let mut exchange = Exchange::begin(&request, None);
        match limit.on_request(&mut exchange, &mut request).verdict().await {
            Verdict::Continue(()) => Ok(exchange),
            Verdict::Break(Err(error)) => Err(error),
            Verdict::Break(Ok(_)) => panic!("a limit has no answer of its own"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_queue_one_too_many_is_refused_at_once_with_a_time_to_come_again() {
        let shared = Shared::default();
        let limit = build(&shared, 1, 0);
        let inside = enter(&limit).await.expect("there is room");
        let refused =
            enter(&limit).await.expect_err("there is none").into_response(&http::HeaderMap::new());
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()["retry-after"], "10");
        assert_eq!(limit.gate.figures(), (1, 0, 1));
        drop(inside);
        assert!(enter(&limit).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_and_served_in_the_order_of_arrival() {
        let shared = Shared::default();
        let limit = build(&shared, 1, 2);
        let inside = enter(&limit).await.expect("there is room");
        let order = std::cell::RefCell::new(Vec::new());
        let wait = async |name| {
            let exchange = enter(&limit).await;
            order.borrow_mut().push((name, exchange.is_ok()));
        };
        let leave = async {
            assert_eq!(limit.gate.figures().1, 2, "two wait, the third was refused");
            drop(inside);
        };
        tokio::join!(wait("first"), wait("second"), wait("third"), leave);
        assert_eq!(*order.borrow(), [("third", false), ("first", true), ("second", true)]);
        assert_eq!(limit.gate.figures(), (0, 0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_too_long_is_refused() {
        let limit = build(&Shared::default(), 1, 1);
        let _inside = enter(&limit).await.expect("there is room");
        let began = tokio::time::Instant::now();
        assert!(matches!(enter(&limit).await, Err(Error::Overloaded { .. })));
        assert_eq!(began.elapsed().as_secs(), 10);
        assert_eq!(limit.gate.figures(), (1, 0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_leaves_the_queue_and_takes_no_place() {
        let limit = build(&Shared::default(), 1, 1);
        let inside = enter(&limit).await.expect("there is room");
        let given_up = timeout(Duration::from_secs(1), enter(&limit)).await;
        assert!(given_up.is_err(), "it waited");
        assert_eq!(limit.gate.figures(), (1, 0, 0));
        drop(inside);
        assert_eq!(limit.gate.figures(), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_kept_until_the_response_has_been_handed_over() {
        let limit = build(&Shared::default(), 1, 0);
        let exchange = enter(&limit).await.expect("there is room");
        let response = exchange.end(Response::new(Body::full("content")));
        assert!(enter(&limit).await.is_err());
        let content = response.into_body().collect().await.expect("it is whole");
        assert_eq!(content.to_bytes(), "content");
        assert!(enter(&limit).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn workers_and_reloads_share_the_places() {
        let shared = Shared::default();
        let limit = build(&shared, 1, 0);
        let _inside = enter(&limit).await.expect("there is room");
        assert!(enter(&build(&shared, 1, 0)).await.is_err());
    }
}
