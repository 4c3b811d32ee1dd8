//! The attempts of one transport that are still to be made, in their order.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{SocketAddr, plan::Candidate};

/// Hands candidates out, one in each step.
#[derive(Debug, Default)]
pub(super) struct Track {
    queue: VecDeque<Candidate>,
    /// Whatever was ever here, so that a later answer brings none twice.
    seen: Vec<SocketAddr>,
    /// When the next one may go; `None` before the first.
    next_at: Option<Instant>,
}

impl Track {
    /// Takes what is new, up to a bound.
    pub(super) fn extend(&mut self, candidates: Vec<Candidate>) {
        for candidate in candidates {
            if self.seen.len() < MOST && !self.seen.contains(&candidate.address) {
                self.seen.push(candidate.address);
                self.queue.push_back(candidate);
            }
        }
    }

    /// The next one, if its time has come.
    pub(super) fn pop(&mut self, now: Instant, step: Duration) -> Option<Candidate> {
        // req: 8305-5-attempt-delay
        let candidate = self.queue.pop_front()?;
        self.next_at = Some(now + step);
        Some(candidate)
    }

    /// One has failed, so the next one need not wait.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.next_at = self.next_at.map(|at| at.min(now));
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.queue.is_empty() && self.next_at.is_none_or(|at| at <= now)
    }

    /// When there is something to do.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.next_at.filter(|_| !self.queue.is_empty())
    }

    pub(super) fn first(&self) -> Option<&Candidate> {
        self.queue.front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// Attempts of one transport in one race.
pub(super) const MOST: usize = 16;
