//! A connection that can carry requests, whatever the version: what the dialler gives to the pool.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::client::conn::{http1, http2};

use super::{
    Error,
    memory::Place,
    pool::Permit,
    race::TraceEntry,
    tcp::{HeadBudget, TcpBody},
};
use crate::{Protocol, TlsFacts, context::lock};

/// A connection, fresh from the dialler.
pub(crate) struct Established {
    pub(crate) carrier: Carrier,
    pub(crate) info: Info,
    pub(crate) life: Arc<Life>,
}

/// What takes requests.
pub(crate) enum Carrier {
    /// One at a time.
    Http1(http1::SendRequest<TcpBody>),
    /// Many at once; a clone is the same connection.
    Http2(http2::SendRequest<TcpBody>),
    /// Likewise.
    Http3(super::h3::Handle),
}

/// What is known of a connection.
#[derive(Debug)]
pub(crate) struct Info {
    pub(crate) protocol: Protocol,
    pub(crate) remote: SocketAddr,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) tls: Option<Arc<TlsFacts>>,
    pub(crate) resolve: Duration,
    pub(crate) connect: Duration,
    pub(crate) tls_took: Duration,
    pub(crate) trace: Vec<TraceEntry>,
    /// The round-trip time, where it is known.
    pub(crate) rtt: Option<Duration>,
    /// Whose address it is, for what is remembered of HTTP/3.
    pub(crate) place: Option<Place>,
    /// Of HTTP/1.1.
    pub(crate) head_budget: Arc<HeadBudget>,
    /// Why it ended, over TCP: who had sent nothing on it yet does not hear.
    pub(crate) ended: Arc<OnceLock<Error>>,
    is_used: AtomicBool,
}

impl Info {
    pub(crate) fn new(protocol: Protocol, remote: SocketAddr) -> Self {
        Self {
            protocol,
            remote,
            local: None,
            tls: None,
            resolve: Duration::ZERO,
            connect: Duration::ZERO,
            tls_took: Duration::ZERO,
            trace: Vec::new(),
            rtt: None,
            place: None,
            head_budget: Arc::default(),
            ended: Arc::default(),
            is_used: AtomicBool::new(false),
        }
    }

    /// Whether a request was sent on it before; one is now.
    pub(crate) fn use_it(&self) -> bool {
        self.is_used.swap(true, Ordering::AcqRel)
    }
}

/// Holds a connection's place in its pool from the moment that it is there until it has ended, whichever comes first.
#[derive(Debug, Default)]
pub(crate) struct Life(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    /// It lives, and the pool does not know it.
    #[default]
    Unknown,
    /// It lives in this place.
    Placed(#[expect(dead_code, reason = "it is held to be dropped")] Permit),
    Ended,
}

impl Life {
    /// The pool has a place for it, which is free again when the connection has ended.
    pub(crate) fn place(&self, permit: Permit) {
        let mut state = lock(&self.0);
        if matches!(*state, State::Unknown) {
            *state = State::Placed(permit);
        } else {
            drop(state);
            drop(permit);
        }
    }

    fn end(&self) {
        let before = std::mem::replace(&mut *lock(&self.0), State::Ended);
        // The pool has a lock of its own.
        drop(before);
    }
}

/// Ends a [`Life`] when it is dropped, with the task that drives the connection.
#[derive(Debug)]
pub(crate) struct LifeGuard(Arc<Life>);

impl LifeGuard {
    pub(crate) fn new(life: Arc<Life>) -> Self {
        Self(life)
    }
}

impl Drop for LifeGuard {
    fn drop(&mut self) {
        self.0.end();
    }
}
