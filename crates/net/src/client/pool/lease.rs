//! What a request holds of a connection while it uses it.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use hyper::client::conn::http1;
use tokio::sync::Notify;

use super::{
    super::{
        Error,
        connection::{Carrier, Info},
        error::Kind,
        origin::Origin,
        tcp::TcpBody,
    },
    Pool,
};
use crate::context::lock;

/// A connection, for the length of one exchange. Dropping it gives it back.
pub(crate) enum Lease {
    /// One of many that use it.
    Shared { used: Use, _pool: Arc<Pool> },
    /// It is nobody else's meanwhile.
    Http1 {
        sender: Option<http1::SendRequest<TcpBody>>,
        info: Arc<Info>,
        pool: Arc<Pool>,
        origin: Origin,
    },
}

impl Lease {
    pub(crate) fn info(&self) -> &Arc<Info> {
        match self {
            Self::Shared { used, .. } => &used.0.info,
            Self::Http1 { info, .. } => info,
        }
    }

    /// The connection failed a request: unless that was the request's own matter, it gets no more.
    pub(crate) fn retire_after(&mut self, error: &Error) {
        match error.kind() {
            Kind::Reset { .. } | Kind::RequestBody | Kind::HeadersTooLarge | Kind::Request => {}
            _ => self.retire(),
        }
    }

    /// The connection gets no more requests: it made one wait for too long, or it is going away.
    pub(crate) fn retire(&mut self) {
        match self {
            Self::Shared { used, .. } => used.0.is_retired.store(true, Ordering::Release),
            Self::Http1 { sender, .. } => *sender = None,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Self::Http1 { sender, info, pool, origin } = self
            && let Some(sender) = sender.take()
        {
            pool.give_back(origin.clone(), sender, info.clone());
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(self.info()).finish()
    }
}

/// A connection that many requests use at once.
pub(crate) struct Shared {
    carrier: Carrier,
    info: Arc<Info>,
    active: AtomicUsize,
    is_retired: AtomicBool,
    /// Since when nobody uses it.
    idle_since: Mutex<Option<Instant>>,
    /// Who waits for a connection to the origin.
    notify: Arc<Notify>,
}

impl Shared {
    pub(super) fn new(carrier: Carrier, info: Arc<Info>, notify: Arc<Notify>) -> Self {
        let idle_since = Mutex::new(Some(Instant::now()));
        Self {
            carrier,
            info,
            active: AtomicUsize::new(0),
            is_retired: AtomicBool::new(false),
            idle_since,
            notify,
        }
    }

    /// One more request, if the peer allows it.
    pub(super) fn reserve(self: &Arc<Self>) -> Option<Use> {
        // The pool's lock is held: nobody else reserves meanwhile.
        if self.active.load(Ordering::Acquire) >= self.limit() {
            return None;
        }
        if self.active.fetch_add(1, Ordering::AcqRel) == 0 {
            *lock(&self.idle_since) = None;
        }
        Some(Use(self.clone()))
    }

    /// Requests that it takes at once.
    fn limit(&self) -> usize {
        match &self.carrier {
            Carrier::Http3(handle) => handle.stream_limit(),
            Carrier::Http2(_) => H2_STREAMS,
            Carrier::Http1(_) => 1,
        }
    }

    pub(super) fn active(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    pub(super) fn idle_since(&self) -> Option<Instant> {
        // The end of one use and the beginning of the next may overlap.
        (*lock(&self.idle_since)).filter(|_| self.active() == 0)
    }

    /// It takes no more requests.
    pub(super) fn is_over(&self) -> bool {
        self.is_retired.load(Ordering::Acquire)
            || match &self.carrier {
                Carrier::Http3(handle) => handle.is_over(),
                Carrier::Http2(sender) => sender.is_closed(),
                Carrier::Http1(sender) => sender.is_closed(),
            }
    }
}

/// One use of a [`Shared`].
pub(crate) struct Use(Arc<Shared>);

impl Use {
    pub(crate) fn carrier(&self) -> &Carrier {
        &self.0.carrier
    }

    pub(crate) fn info(&self) -> &Info {
        &self.0.info
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let before = self.0.active.fetch_sub(1, Ordering::AcqRel);
        if before == 1 {
            *lock(&self.0.idle_since) = Some(Instant::now());
        }
        if before >= self.0.limit() {
            self.0.notify.notify_one();
        }
    }
}

/// Requests at once on one HTTP/2 connection: what nearly every server allows. hyper holds back what is too many for one
/// that allows less.
const H2_STREAMS: usize = 100;
