//! A backend and a request that belong together for a while.

use std::sync::Arc;
use std::time::Instant;

use super::{Backend, Outcome};

/// A backend that has been chosen for a request, which it counts as its own until this is dropped.
#[derive(Debug)]
pub struct Pick {
    backend: Arc<Backend>,
}

impl Pick {
    /// For a request that its backend has counted.
    pub(super) fn of(backend: Arc<Backend>) -> Self {
        Self { backend }
    }

    /// Whom.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// Tells what came of the request. The backend has it as one under way until `self` is dropped, which is when the
    /// response has ended.
    pub fn tell(&self, outcome: Outcome, now: Instant) {
        let backend = &self.backend;
        if !backend.note(outcome, backend.rules.millis(now)) {
            return;
        }
        // An upstream that is gone sends nobody there any more.
        if let Some(inner) = backend.of.upgrade() {
            inner.eject(backend, now);
        }
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.backend.end();
    }
}
