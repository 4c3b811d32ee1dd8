//! One backend: what it has to do, and what is known of it. All of it is atomic; no worker waits for another.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::StatusCode;

use super::balance::hash;
use super::balance::p2c_ewma::Latency;
use super::{Address, Config, Inner, MOST_WEIGHT, Outcome, breaker, check, eject};

/// One backend.
#[derive(Debug)]
pub struct Backend {
    identity: Identity,
    pub(super) of: Weak<Inner>,
    pub(super) rules: Rules,
    /// Of its identity, for consistent hashing.
    pub(super) seed: u64,
    pub(super) in_flight: AtomicU32,
    pub(super) latency: Latency,
    /// As configured or discovered, until an operator says otherwise.
    weight: AtomicU32,
    has_operators_weight: AtomicBool,
    is_draining: AtomicBool,
    is_gone: AtomicBool,
    verdict: AtomicU8,
    failures_in_row: AtomicU32,
    /// Milliseconds of the upstream's time: when an ejection ends, and how often it was doubled; 0 if there was none.
    ejected_until: AtomicU64,
    ejection_level: AtomicU32,
    /// When its share began to rise; 0 if it never had to.
    ramp_from: AtomicU64,
    pub(super) counts: Counts,
}

/// What its upstream says of each of its backends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// When the upstream's time began.
    pub(super) epoch: Instant,
    /// Failures in a row that are too many.
    pub(super) failures: u32,
    pub(super) limits: breaker::Config,
}

/// What tells one backend from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) address: Address,
    /// Where its connections go, if discovery has found it by the name in `address`.
    pub(super) socket: Option<SocketAddr>,
}

/// What has happened since the backend is known.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) ejections: AtomicU64,
    pub(super) refused_full: AtomicU64,
    pub(super) checks: AtomicU64,
    pub(super) failed_checks: AtomicU64,
}

/// What active checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// None has ended yet, or there are none.
    Unknown,
    Healthy,
    Unhealthy,
}

/// Whether a backend may be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Open,
    /// It has as much to do as it may have.
    Full,
    /// An operator, a check or its failures are against it.
    Closed,
}

impl Backend {
    pub(super) fn new(identity: Identity, weight: u32, of: Weak<Inner>, rules: Rules) -> Self {
        Self {
            seed: hash::of_bytes(identity.to_string().as_bytes()),
            identity,
            of,
            rules,
            in_flight: AtomicU32::new(0),
            latency: Latency::default(),
            weight: AtomicU32::new(weight.min(MOST_WEIGHT)),
            has_operators_weight: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            verdict: AtomicU8::new(0),
            failures_in_row: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            ejection_level: AtomicU32::new(0),
            ramp_from: AtomicU64::new(0),
            counts: Counts::default(),
        }
    }

    /// How it is reached.
    pub fn address(&self) -> &Address {
        &self.identity.address
    }

    /// Where to connect to, if that is not for the resolver to say: discovery has found it behind the name in
    /// [`Self::address`], which stays what TLS and `Host` are about.
    pub fn connect_to(&self) -> Option<SocketAddr> {
        self.identity.socket
    }

    /// Its share among the others; 0 takes nothing new.
    pub fn weight(&self) -> u32 {
        self.weight.load(Relaxed)
    }

    /// Requests that it has been given and whose responses have not ended.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Discovery does not find it any more: it will never be chosen again.
    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Relaxed)
    }

    pub(super) fn set_gone(&self) {
        self.is_gone.store(true, Relaxed);
    }

    pub(super) fn is_of(&self, upstream: &Weak<Inner>) -> bool {
        self.of.ptr_eq(upstream)
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn set_weight(&self, weight: u32) {
        self.has_operators_weight.store(true, Relaxed);
        self.weight.store(weight.min(MOST_WEIGHT), Relaxed);
    }

    /// What the configuration or discovery says, which an operator's word outweighs.
    pub(super) fn suggest_weight(&self, weight: u32) {
        if !self.has_operators_weight.load(Relaxed) {
            self.weight.store(weight.min(MOST_WEIGHT), Relaxed);
        }
    }

    pub(super) fn set_draining(&self, is_draining: bool) {
        self.is_draining.store(is_draining, Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Relaxed)
    }

    pub(super) fn verdict(&self) -> Verdict {
        match self.verdict.load(Relaxed) {
            1 => Verdict::Healthy,
            2 => Verdict::Unhealthy,
            _ => Verdict::Unknown,
        }
    }

    /// Takes what checks say; one that was unhealthy begins with a small share.
    pub(super) fn set_verdict(&self, verdict: Verdict, now: u64) {
        let before = self.verdict();
        let code = match verdict {
            Verdict::Unknown => 0,
            Verdict::Healthy => 1,
            Verdict::Unhealthy => 2,
        };
        self.verdict.store(code, Relaxed);
        if before == Verdict::Unhealthy && verdict == Verdict::Healthy {
            self.begin_ramp(now);
        }
    }

    /// Takes the answer to a check.
    pub(super) fn on_check(
        &self,
        config: &check::Config,
        health: &mut check::Health,
        failure: Option<&check::probe::Failure>,
        now: Instant,
    ) {
        self.counts.checks.fetch_add(1, Relaxed);
        if failure.is_some() {
            self.counts.failed_checks.fetch_add(1, Relaxed);
        }
        let Some(verdict) = health.on_answer(config, failure.is_none()) else { return };
        self.set_verdict(verdict, self.rules.millis(now));
        let backend = &self.identity;
        match failure {
            None => tracing::info!(%backend, "a backend is healthy"),
            Some(failure) => {
                let error: &dyn std::error::Error = failure;
                tracing::warn!(%backend, error, "a backend is unhealthy");
            }
        }
    }

    pub(super) fn begin_ramp(&self, now: u64) {
        self.ramp_from.store(now.max(1), Relaxed);
    }

    pub(super) fn is_ejected(&self, now: u64) -> bool {
        now < self.ejected_until.load(Relaxed)
    }

    pub(super) fn ejected_until(&self) -> u64 {
        self.ejected_until.load(Relaxed)
    }

    /// Neither checks nor its failures are against it.
    pub(super) fn is_healthy(&self, now: u64) -> bool {
        self.verdict() != Verdict::Unhealthy && !self.is_ejected(now)
    }

    /// Whether it may be asked; its health does not count when all are asked.
    pub(super) fn standing(&self, now: u64, all: bool) -> Standing {
        if self.is_draining() || self.weight() == 0 || !(all || self.is_healthy(now)) {
            return Standing::Closed;
        }
        let is_full = self.rules.limits.requests.is_some_and(|most| self.in_flight() >= most);
        if is_full { Standing::Full } else { Standing::Open }
    }

    /// How much of its weight counts now, in parts of [`WHOLE`].
    pub(super) fn share(&self, now: u64, slow_start: u64) -> u64 {
        let from = self.ramp_from.load(Relaxed);
        if from == 0 || slow_start == 0 {
            return WHOLE;
        }
        let risen = now.saturating_sub(from).saturating_mul(WHOLE) / slow_start;
        risen.clamp(LEAST_SHARE, WHOLE)
    }

    /// Takes the place of one more request; `false` if there is none.
    pub(super) fn begin(&self) -> bool {
        let most = self.rules.limits.requests;
        let more = |has: u32| most.is_none_or(|most| has < most).then_some(has.saturating_add(1));
        let has_begun = self.in_flight.fetch_update(Relaxed, Relaxed, more).is_ok();
        let count = if has_begun { &self.counts.requests } else { &self.counts.refused_full };
        count.fetch_add(1, Relaxed);
        has_begun
    }

    /// Gives the place of a request back.
    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Notes what came of a request; `true` if the backend should be ejected.
    pub(super) fn note(&self, outcome: Outcome, now: u64) -> bool {
        match outcome {
            Outcome::GivenUp => return false,
            Outcome::Answered { status, after } if !is_failure(status) => {
                self.latency.note(after, now);
                // Written only when it changes anything: the line is read by all workers.
                if self.failures_in_row.load(Relaxed) != 0 {
                    self.failures_in_row.store(0, Relaxed);
                }
                return false;
            }
            Outcome::Answered { after, .. } => self.latency.note_failure(Some(after), now),
            Outcome::Failed => self.latency.note_failure(None, now),
        }
        self.counts.failures.fetch_add(1, Relaxed);
        // What was sent before an ejection says nothing that is not known.
        if self.is_ejected(now) {
            return false;
        }
        let add = |count: u32| Some(count.saturating_add(1));
        let before = self.failures_in_row.fetch_update(Relaxed, Relaxed, add).unwrap_or_default();
        before.saturating_add(1) >= self.rules.failures
    }

    /// Leaves it out; it comes back on probation and with a small share.
    pub(super) fn eject(&self, config: &eject::Config, now: u64) -> Duration {
        let ended = self.ejected_until.load(Relaxed);
        let before =
            (ended != 0).then(|| (self.ejection_level.load(Relaxed), now.saturating_sub(ended)));
        let (level, time) = config.next(before);
        let until = now.saturating_add(time).max(1);
        self.ejection_level.store(level, Relaxed);
        self.failures_in_row.store(config.after.saturating_sub(1), Relaxed);
        self.begin_ramp(until);
        self.ejected_until.store(until, Relaxed);
        self.counts.ejections.fetch_add(1, Relaxed);
        Duration::from_millis(time)
    }

    /// Goes on with what was known of the same backend in another configuration.
    pub(super) fn adopt(&self, other: &Self, config: &Config) {
        if other.has_operators_weight.load(Relaxed) {
            self.set_weight(other.weight());
        }
        self.set_draining(other.is_draining());
        self.ramp_from.store(other.ramp_from.load(Relaxed), Relaxed);
        self.latency.adopt(&other.latency);
        // What nobody would ever correct is left where it is.
        if config.check.is_some() {
            self.verdict.store(other.verdict.load(Relaxed), Relaxed);
        }
        if config.eject.is_some() {
            self.failures_in_row.store(other.failures_in_row.load(Relaxed), Relaxed);
            self.ejection_level.store(other.ejection_level.load(Relaxed), Relaxed);
            self.ejected_until.store(other.ejected_until.load(Relaxed), Relaxed);
        }
    }
}

impl Rules {
    /// Milliseconds of the upstream's time.
    pub(super) fn millis(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.socket {
            Some(socket) => write!(f, "{} at {socket}", self.address),
            None => self.address.fmt(f),
        }
    }
}

/// Answers of a gateway before the backend, or of one that has no capacity: the request was not served. Others may be what
/// the request deserved.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}

/// A share that is not reduced.
pub(super) const WHOLE: u64 = 1024;

/// With how much one begins that is back.
const LEAST_SHARE: u64 = WHOLE.div_ceil(10);
