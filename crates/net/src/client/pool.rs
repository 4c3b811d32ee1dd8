//! The connections of a client, by origin: who gets which, how many there are, and which go.
//!
//! HTTP/2 and HTTP/3 connections are shared, those of HTTP/1.1 lent. Whoever finds none starts a dial, which goes on
//! when its requester leaves, and waits; the first free connection goes to the first who waits. Nothing here waits while
//! the lock is held, and nothing here knows a socket.

mod lease;
mod origin;

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use hyper::client::conn::http1;
use tokio::{runtime::Handle, sync::futures::OwnedNotified};

pub(crate) use self::lease::{Lease, Shared};
use self::origin::{Idle, PerOrigin, Ready};
use super::{
    Error,
    config::PoolConfig,
    connection::{Carrier, Established, Info},
    counters::Counts,
    driver::Driver,
    error::{Kind, Phase},
    origin::Origin,
    tcp::TcpBody,
};
use crate::context::lock;

/// The pool. It is shared by the client's handles and by what it has lent.
pub(crate) struct Pool {
    inner: Mutex<Inner>,
    config: PoolConfig,
    counts: Arc<Counts>,
    /// Where what a request left behind is tidied up.
    runtime: Handle,
    /// Whoever reads a response keeps what drives its connection.
    _driver: Driver,
}

#[derive(Default)]
struct Inner {
    origins: HashMap<Origin, PerOrigin>,
    /// All connections of all origins, those included that are being made.
    connections: usize,
    is_closed: bool,
}

impl Pool {
    pub(crate) fn new(
        config: PoolConfig,
        counts: Arc<Counts>,
        runtime: Handle,
        driver: Driver,
    ) -> Arc<Self> {
        let inner = Mutex::default();
        let pool = Arc::new(Self { inner, config, counts, runtime, _driver: driver });
        pool.runtime.spawn(sweep(Arc::downgrade(&pool), config.idle_timeout));
        pool
    }

    /// A connection for one request. `dial` starts an attempt for the place that it is given; its end is told by
    /// [`Self::established`] or [`Self::failed`].
    ///
    /// # Errors
    /// That of the attempt which this request waited for; [`Kind::Overloaded`]; [`Kind::Closed`].
    ///
    /// # Cancel safety
    /// The place in the queue is lost; a dial goes on.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        origin: &Origin,
        dial: impl Fn(Permit),
    ) -> Result<Lease, Error> {
        let mut waiting = Waiting { pool: self, origin, since: None };
        loop {
            // It is in the queue since the lock was held: what is told after that reaches it.
            let notify = match self.turn(&mut waiting, &dial)? {
                Turn::Ready(ready) => return Ok(self.lend(origin, ready)),
                Turn::Wait(notify) => notify,
            };
            notify.await;
        }
    }

    /// One look, under the lock.
    fn turn(
        self: &Arc<Self>,
        waiting: &mut Waiting<'_>,
        dial: &impl Fn(Permit),
    ) -> Result<Turn, Error> {
        let mut guard = lock(&self.inner);
        let inner = &mut *guard;
        if inner.is_closed {
            return Err(Error::new(Phase::Connect, Kind::Closed).unsent());
        }
        let origin = waiting.origin;
        // The usual case: one look into the table.
        if let Some(ready) = inner.origins.get_mut(origin).and_then(PerOrigin::take) {
            return Ok(Turn::Ready(ready));
        }
        let place = inner.origins.entry(origin.clone()).or_default();
        match waiting.since {
            Some(since) => {
                if let Some(error) = place.failure_since(since) {
                    return Err(error);
                }
            }
            None if place.waiting >= self.config.max_waiting_per_origin => {
                return Err(Error::new(Phase::Connect, Kind::Overloaded).unsent());
            }
            None => {
                place.waiting += 1;
                waiting.since = Some(place.failures());
            }
        }
        let permit = place.may_dial(self.config.max_connections_per_origin).then(|| {
            place.begin_dial();
            inner.connections += 1;
            Permit { pool: Arc::downgrade(self), origin: origin.clone(), is_dialling: true }
        });
        let notified = place.queue();
        drop(guard);
        if let Some(permit) = permit {
            dial(permit);
        }
        Ok(Turn::Wait(notified))
    }

    /// Starts attempts until there are `wanted` connections, or one that can be shared.
    pub(crate) fn warm(self: &Arc<Self>, origin: &Origin, wanted: usize, dial: impl Fn(Permit)) {
        let mut guard = lock(&self.inner);
        let inner = &mut *guard;
        if inner.is_closed || wanted == 0 {
            return;
        }
        let place = inner.origins.entry(origin.clone()).or_default();
        let lacking = place.lacking(wanted.min(self.config.max_connections_per_origin));
        let mut permits = Vec::with_capacity(lacking);
        for _ in 0..lacking {
            place.begin_dial();
            inner.connections += 1;
            permits.push(Permit {
                pool: Arc::downgrade(self),
                origin: origin.clone(),
                is_dialling: true,
            });
        }
        drop(guard);
        permits.into_iter().for_each(dial);
    }

    /// An attempt succeeded: the connection takes the place that was kept for it.
    pub(crate) fn established(self: &Arc<Self>, mut permit: Permit, connection: Established) {
        permit.is_dialling = false;
        let origin = permit.origin.clone();
        let mut inner = lock(&self.inner);
        let is_closed = inner.is_closed;
        let place = inner.origins.entry(origin).or_default();
        place.end_dial();
        self.counts.opened(connection.info.protocol);
        let Established { carrier, info, life } = connection;
        let info = Arc::new(info);
        match carrier {
            Carrier::Http1(sender) => {
                place.is_shared = Some(false);
                if !is_closed {
                    place.idle.push(Idle { sender, info, since: Instant::now() });
                }
            }
            carrier => {
                place.is_shared = Some(true);
                let notify = place.notify.clone();
                if !is_closed {
                    place.shared.push(Arc::new(Shared::new(carrier, info, notify)));
                }
            }
        }
        // All of them: who gets none of a connection that cannot be shared may start a dial now.
        place.notify.notify_waiters();
        let gone = self.trim(&mut inner);
        drop(inner);
        drop(gone);
        life.place(permit);
    }

    /// An attempt failed: everyone who waited for it hears why.
    pub(crate) fn failed(&self, mut permit: Permit, error: &Error) {
        permit.is_dialling = false;
        self.counts.dials_failed.increment();
        let mut inner = lock(&self.inner);
        if let Some(place) = inner.origins.get_mut(&permit.origin) {
            place.end_dial();
            place.fail(error.clone());
            place.notify.notify_waiters();
        }
    }

    /// No more from now on; what is idle goes, what is lent goes when it comes back.
    #[expect(clippy::iter_over_hash_type, reason = "all are treated alike")]
    pub(crate) fn close(&self) {
        let mut inner = lock(&self.inner);
        inner.is_closed = true;
        let mut gone = Vec::new();
        for place in inner.origins.values_mut() {
            gone.push((std::mem::take(&mut place.idle), std::mem::take(&mut place.shared)));
            place.notify.notify_waiters();
        }
        drop(inner);
        drop(gone);
    }

    /// Idle connections, and all that there are, those included that are being made.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let inner = lock(&self.inner);
        let places = inner.origins.values();
        places
            .fold((0, 0), |(idle, all), place| (idle + place.idle_count(), all + place.connections))
    }

    fn lend(self: &Arc<Self>, origin: &Origin, ready: Ready) -> Lease {
        match ready {
            Ready::Shared(used) => Lease::Shared { used, _pool: self.clone() },
            Ready::Http1(Idle { sender, info, .. }) => Lease::Http1 {
                sender: Some(sender),
                info,
                pool: self.clone(),
                origin: origin.clone(),
            },
        }
    }

    /// An HTTP/1.1 connection comes back, when it is ready for the next request; if it never is, it goes.
    fn give_back(
        self: &Arc<Self>,
        origin: Origin,
        mut sender: http1::SendRequest<TcpBody>,
        info: Arc<Info>,
    ) {
        if sender.is_closed() {
            return;
        }
        if sender.is_ready() {
            return self.put_idle(&origin, sender, info);
        }
        let returning = Returning::new(self, origin);
        self.runtime.spawn(async move {
            // A body that was left unread ends the connection; one that was read lets it be ready at once.
            if sender.ready().await.is_ok()
                && let Some(pool) = returning.pool.upgrade()
            {
                pool.put_idle(&returning.origin, sender, info);
            }
        });
    }

    fn put_idle(&self, origin: &Origin, sender: http1::SendRequest<TcpBody>, info: Arc<Info>) {
        let mut guard = lock(&self.inner);
        let inner = &mut *guard;
        if inner.is_closed {
            return;
        }
        let Some(place) = inner.origins.get_mut(origin) else { return };
        place.idle.push(Idle { sender, info, since: Instant::now() });
        place.notify.notify_one();
        // Nobody has to be looked for, among however many origins, where there are no more than may be idle.
        let is_few = place.idle.len() + place.shared.len() <= self.config.idle_per_origin;
        if is_few && inner.connections <= self.config.idle_total {
            return;
        }
        let gone = self.trim(inner);
        drop(guard);
        drop(gone);
    }

    /// Takes out what has been idle for too long.
    fn expire(&self) {
        let Some(before) = Instant::now().checked_sub(self.config.idle_timeout) else { return };
        let mut inner = lock(&self.inner);
        let mut gone: Vec<_> =
            inner.origins.values_mut().map(|place| place.expire(before)).collect();
        gone.push(self.trim(&mut inner));
        inner.origins.retain(|_, place| !place.is_unused());
        drop(inner);
        drop(gone);
    }

    /// Takes out idle connections that are too many, the longest idle first.
    #[expect(clippy::iter_over_hash_type, reason = "all are treated alike")]
    fn trim(&self, inner: &mut Inner) -> origin::Gone {
        let mut gone = origin::Gone::default();
        let mut idle = 0;
        for place in inner.origins.values_mut() {
            place.trim(self.config.idle_per_origin, &mut gone);
            idle += place.idle_count();
        }
        while idle > self.config.idle_total {
            let oldest = inner.origins.values_mut().min_by_key(|place| place.oldest_idle());
            let Some(place) = oldest else { break };
            place.remove_oldest(&mut gone);
            idle -= 1;
        }
        gone
    }
}

enum Turn {
    Ready(Ready),
    Wait(Pin<Box<OwnedNotified>>),
}

/// A request in the queue of an origin.
struct Waiting<'a> {
    pool: &'a Pool,
    origin: &'a Origin,
    /// The failures of the origin when it came into the queue.
    since: Option<u64>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.since.is_some()
            && let Some(place) = lock(&self.pool.inner).origins.get_mut(self.origin)
        {
            place.waiting -= 1;
        }
    }
}

/// An HTTP/1.1 connection that is about to be idle: nobody needs a new one instead.
struct Returning {
    pool: Weak<Pool>,
    origin: Origin,
}

impl Returning {
    fn new(pool: &Arc<Pool>, origin: Origin) -> Self {
        if let Some(place) = lock(&pool.inner).origins.get_mut(&origin) {
            place.returning += 1;
        }
        Self { pool: Arc::downgrade(pool), origin }
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        if let Some(place) = lock(&pool.inner).origins.get_mut(&self.origin) {
            place.returning -= 1;
            // If it did not come, someone has to make another.
            place.notify.notify_one();
        }
    }
}

/// The place of one connection of an origin, from the moment that it is dialled until it has ended.
pub(crate) struct Permit {
    pool: Weak<Pool>,
    origin: Origin,
    is_dialling: bool,
}

impl Permit {
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        let mut guard = lock(&pool.inner);
        let inner = &mut *guard;
        if let Some(place) = inner.origins.get_mut(&self.origin) {
            place.connections -= 1;
            inner.connections -= 1;
            if self.is_dialling {
                // Its task was dropped: the runtime ends.
                place.end_dial();
                place.fail(Error::new(Phase::Connect, Kind::Closed).unsent());
                place.notify.notify_waiters();
            } else {
                place.notify.notify_one();
            }
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.origin).finish()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (idle, connections) = self.sizes();
        f.debug_struct("Pool").field("idle", &idle).field("connections", &connections).finish()
    }
}

/// Looks at the idle connections now and then, as long as there is a pool.
async fn sweep(pool: Weak<Pool>, idle_timeout: Duration) {
    let period = (idle_timeout / 4).clamp(SWEEP.0, SWEEP.1);
    loop {
        tokio::time::sleep(period).await;
        match pool.upgrade() {
            Some(pool) => pool.expire(),
            None => return,
        }
    }
}

/// Shortest and longest time between two looks at the idle connections.
const SWEEP: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));
