//! What has been tried for a request, and the backend that has it now.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use smallvec::SmallVec;

use super::failure::{Cause, Failure};
use crate::error::ProxyError;
use crate::exchange::Proxied;
use crate::upstream::{Backend, Outcome, Pick};

/// A request at a backend. Dropping it says that nobody waits any more, unless something else was told.
#[derive(Debug)]
pub(super) struct Attempt {
    pick: Pick,
    began: Instant,
    is_told: bool,
}

impl Attempt {
    pub(super) fn begin(pick: Pick, now: Instant) -> Self {
        Self { pick, began: now, is_told: false }
    }

    pub(super) fn backend(&self) -> &Arc<Backend> {
        self.pick.backend()
    }

    /// The head of a response is here; how long it took.
    pub(super) fn answered(&mut self, status: StatusCode) -> Duration {
        let now = Instant::now();
        let after = now - self.began;
        self.is_told = true;
        self.pick.tell(Outcome::Answered { status, after }, now);
        after
    }

    /// There is no response, or no end of it.
    pub(super) fn failed(&mut self) {
        self.is_told = true;
        self.pick.tell(Outcome::Failed, Instant::now());
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_told {
            self.pick.tell(Outcome::GivenUp, Instant::now());
        }
    }
}

/// The attempts that failed.
#[derive(Debug, Default)]
pub(super) struct Tried {
    backends: SmallVec<[Arc<Backend>; 2]>,
    last: Option<(ProxyError, Cause)>,
}

impl Tried {
    /// One more.
    pub(super) fn failed(&mut self, mut attempt: Attempt, failure: Failure) {
        if failure.is_of_backend() {
            attempt.failed();
        }
        self.backends.push(attempt.backend().clone());
        self.last = Some((failure.reason(), failure.into_cause()));
    }

    pub(super) fn backends(&self) -> &[Arc<Backend>] {
        &self.backends
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.backends.len()).unwrap_or(u32::MAX)
    }

    /// Why the last of them failed.
    pub(super) fn reason(&self) -> Option<ProxyError> {
        self.last.as_ref().map(|(why, _)| *why)
    }

    /// What caused that.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.last.as_ref().map(|(_, cause)| cause.clone())
    }

    /// What is told of a request that could not be passed on.
    pub(super) fn proxied(&self, why: ProxyError) -> Proxied {
        Proxied {
            backend: self.backends.last().cloned(),
            attempts: self.count(),
            first_byte: None,
            error: Some(why),
        }
    }
}
