//! A share of the requests goes to another upstream as well, whose answers nobody sees.
//!
//! The copy never slows the request down: it has a task of its own, its content is what the handler reads of the
//! request's, and when the other side does not keep up with that, the copy is given up and counted.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body::Body as _;

use self::tee::tee;
use super::canary::draw;
use super::{Middleware, Step};
use crate::error::Error;
use crate::exchange::Exchange;
use crate::handler::{Handler, proxy};
use crate::shared::Build;
use crate::{Request, Response};

mod tee;

/// Configuration of `mirror`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where copies go.
    pub proxy: proxy::Config,
    /// How many of a hundred requests are copied, from 0 to 100.
    pub percent: u16,
    /// How far behind the request the copy's content may be, in bytes.
    pub buffer: usize,
    /// How long a copy may take.
    pub timeout: Duration,
}

impl Config {
    pub(crate) fn build(&self, build: Build<'_>) -> Mirror<proxy::Proxy> {
        Mirror {
            share: self.percent.min(100) * 100,
            buffer: self.buffer,
            timeout: self.timeout,
            to: Rc::new(self.proxy.build(build)),
            counters: Arc::clone(build.shared.mirrors()),
            open: Rc::default(),
        }
    }
}

/// What became of copies, over all workers.
#[derive(Debug, Default)]
pub struct Counters {
    sent: AtomicU64,
    failed: AtomicU64,
    lagged: AtomicU64,
    skipped: AtomicU64,
}

impl Counters {
    /// Copies that were begun.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Copies without an answer: nobody there, too late, given up.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Copies that were given up because they were too far behind.
    pub fn lagged(&self) -> u64 {
        self.lagged.load(Ordering::Relaxed)
    }

    /// Requests that were not copied because too many copies were under way.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Copies requests to a handler.
pub(crate) struct Mirror<H> {
    /// Of ten thousand.
    share: u16,
    buffer: usize,
    timeout: Duration,
    to: Rc<H>,
    counters: Arc<Counters>,
    /// Copies under way, of this worker.
    open: Rc<Cell<usize>>,
}

impl<H: Handler + 'static> Middleware for Mirror<H> {
    fn on_request<'a>(&'a self, _: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        if draw() < self.share {
            match Place::take(&self.open) {
                Some(place) => {
                    count(&self.counters.sent);
                    let copy = self.copy(request);
                    tokio::task::spawn_local(self.send(copy, place));
                }
                None => count(&self.counters.skipped),
            }
        }
        Step::pass()
    }
}

impl<H: Handler + 'static> Mirror<H> {
    /// The same head, and content that is fed by whoever reads that of the request.
    ///
    /// Without what ties the request to its connection: an interim response to the copy is none to the client.
    fn copy(&self, request: &mut Request) -> Request {
        let content = if request.body().is_end_stream() {
            sterna_net::Body::empty()
        } else {
            let original = std::mem::take(request.body_mut());
            let (original, copy) = tee(original, self.buffer, Arc::clone(&self.counters));
            *request.body_mut() = sterna_net::Body::new(original);
            sterna_net::Body::new(copy)
        };
        let mut copy = Request::new(content);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        copy
    }

    /// Sends a copy, and throws away what comes back.
    fn send(&self, mut copy: Request, place: Place) -> impl Future<Output = ()> + 'static + use<H> {
        let (to, counters, timeout) =
            (Rc::clone(&self.to), Arc::clone(&self.counters), self.timeout);
        async move {
            let sent = async {
                let mut exchange = Exchange::begin(&copy, None);
                let response = to.handle(&mut exchange, &mut copy).await?;
                discard(response).await;
                Ok::<_, Error>(())
            };
            if !matches!(tokio::time::timeout(timeout, sent).await, Ok(Ok(()))) {
                count(&counters.failed);
            }
            drop(place);
        }
    }
}

/// Reads a short answer to its end, so that its connection can serve again; a long one is cut.
async fn discard(response: Response) {
    let (mut body, mut read) = (response.into_body(), 0);
    while read <= SHORT {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let Some(Ok(frame)) = frame else { return };
        read += frame.data_ref().map_or(0, bytes::Bytes::len);
    }
}

const SHORT: usize = 64 << 10;

/// Leave to send a copy; given back when it is dropped.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(open: &Rc<Cell<usize>>) -> Option<Self> {
        (open.get() < MOST).then(|| {
            open.set(open.get() + 1);
            Self(Rc::clone(open))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// How many copies of a route and worker are under way at the same time.
const MOST: usize = 256;

impl<H> fmt::Debug for Mirror<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("share", &self.share).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
