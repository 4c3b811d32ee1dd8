//! What operators see of an upstream and say to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::backend::{Backend, Verdict, WHOLE};
use super::{Address, Inner, Upstream};

/// An upstream at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Its name, or its backends.
    pub name: String,
    /// How backends are chosen.
    pub policy: &'static str,
    /// Too few are healthy, so that all are asked.
    pub is_in_panic: bool,
    /// Every name has been resolved once.
    pub is_resolved: bool,
    /// Its backends.
    pub backends: Vec<BackendStatus>,
    /// How often a backend was asked for.
    pub picks: u64,
    /// Choices among all, when too few were healthy.
    pub panic_picks: u64,
    /// Requests for which no backend could be asked.
    pub unavailable: u64,
    /// Requests for which all backends had too much to do.
    pub full: u64,
    /// Retries that were allowed.
    pub retries: u64,
    /// Retries for which the budget had nothing left.
    pub retries_refused: u64,
    /// Backends that would have been ejected if not too many had been already.
    pub ejections_refused: u64,
    /// Backends that were found beyond [`MOST_BACKENDS`](super::MOST_BACKENDS).
    pub backends_left_out: u64,
    /// Names that were looked up.
    pub lookups: u64,
    /// Those which failed: the backends stayed as they were.
    pub lookups_failed: u64,
}

/// A backend at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendStatus {
    /// How it is reached.
    pub address: Address,
    /// Where, if discovery has found it by its name.
    pub socket: Option<SocketAddr>,
    /// 0 for those that are asked first.
    pub tier: usize,
    /// Its share among the others.
    pub weight: u32,
    /// How many percent of its weight count yet, after it has come back.
    pub share: u8,
    /// An operator has taken it out of service.
    pub is_draining: bool,
    /// What is thought of it.
    pub condition: Condition,
    /// Requests under way.
    pub in_flight: u32,
    /// The moving average of the time to answer.
    pub latency: Option<Duration>,
    /// Requests that it was given.
    pub requests: u64,
    /// Those which failed.
    pub failures: u64,
    /// How often it was ejected.
    pub ejections: u64,
    /// Requests that it had no place for.
    pub refused_full: u64,
    /// Checks.
    pub checks: u64,
    /// Those which failed.
    pub failed_checks: u64,
}

/// What is thought of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// No check has said anything, and nothing is against it.
    Unchecked,
    /// Checks find it well.
    Healthy,
    /// Checks find it ill.
    Unhealthy,
    /// Its requests failed; it is left out for this long.
    Ejected(Duration),
}

/// There is no such backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no backend `{0}`")]
pub struct NoSuchBackend(pub String);

impl Upstream {
    /// All that can be told of it.
    pub fn status(&self, now: Instant) -> Status {
        let inner = &*self.inner;
        let (set, now) = (inner.set.load(), inner.millis(now));
        let of = |count: &AtomicU64| count.load(Relaxed);
        let counts = &inner.counts;
        Status {
            name: inner.config.label(),
            policy: inner.config.balance.name(),
            is_in_panic: set.is_in_panic(inner.config.panic_below, now),
            is_resolved: set.is_whole,
            backends: set
                .with_priorities()
                .map(|(tier, one)| one.status(inner, tier, now))
                .collect(),
            picks: of(&inner.turn),
            panic_picks: of(&counts.panic_picks),
            unavailable: of(&counts.unavailable),
            full: of(&counts.full),
            retries: of(&counts.retries),
            retries_refused: of(&counts.retries_refused),
            ejections_refused: of(&counts.ejections_refused),
            backends_left_out: of(&counts.backends_left_out),
            lookups: of(&counts.lookups),
            lookups_failed: of(&counts.lookups_failed),
        }
    }

    /// Takes a backend out of service, or puts it back: it gets no new requests, and those under way go on. It is named as
    /// [`Status`] shows it: by its address, or by where it was found, which may be several at once.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn set_draining(&self, backend: &str, is_draining: bool) -> Result<(), NoSuchBackend> {
        self.each(backend, |backend| backend.set_draining(is_draining))
    }

    /// Gives a backend another share, at most [`MOST_WEIGHT`](super::MOST_WEIGHT); 0 takes nothing new. It holds until the
    /// backend is gone, whatever the configuration says.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn set_weight(&self, backend: &str, weight: u32) -> Result<(), NoSuchBackend> {
        self.each(backend, |backend| backend.set_weight(weight))?;
        self.inner.change(|set| set.reweighted());
        Ok(())
    }

    fn each(&self, name: &str, apply: impl Fn(&Backend)) -> Result<(), NoSuchBackend> {
        let set = self.inner.set.load();
        let mut named = set.backends().filter(|backend| backend.is_named(name)).peekable();
        if named.peek().is_none() {
            return Err(NoSuchBackend(name.to_owned()));
        }
        named.for_each(|backend| apply(backend));
        Ok(())
    }
}

impl Backend {
    fn is_named(&self, name: &str) -> bool {
        let socket = self.connect_to().map(|socket| socket.to_string());
        self.address().to_string() == name
            || socket.as_deref() == Some(name)
            || self.identity().to_string() == name
    }

    fn status(&self, inner: &Inner, tier: usize, now: u64) -> BackendStatus {
        let slow_start = u64::try_from(inner.config.slow_start.as_millis()).unwrap_or(u64::MAX);
        let of = |count: &AtomicU64| count.load(Relaxed);
        let condition = match self.verdict() {
            _ if self.is_ejected(now) => {
                Condition::Ejected(Duration::from_millis(self.ejected_until().saturating_sub(now)))
            }
            Verdict::Unknown => Condition::Unchecked,
            Verdict::Healthy => Condition::Healthy,
            Verdict::Unhealthy => Condition::Unhealthy,
        };
        BackendStatus {
            address: self.address().clone(),
            socket: self.connect_to(),
            tier,
            weight: self.weight(),
            share: u8::try_from(self.share(now, slow_start) * 100 / WHOLE).unwrap_or(100),
            is_draining: self.is_draining(),
            condition,
            in_flight: self.in_flight(),
            latency: self.latency.average(now),
            requests: of(&self.counts.requests),
            failures: of(&self.counts.failures),
            ejections: of(&self.counts.ejections),
            refused_full: of(&self.counts.refused_full),
            checks: of(&self.counts.checks),
            failed_checks: of(&self.counts.failed_checks),
        }
    }
}

impl super::Config {
    /// Its name, or its backends.
    pub fn label(&self) -> String {
        let backends = || {
            let backends: Vec<_> =
                self.backends.iter().map(|member| member.source.to_string()).collect();
            backends.join(" ")
        };
        self.name.clone().unwrap_or_else(backends)
    }
}

impl std::fmt::Display for super::Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(address) => address.fmt(f),
            Self::Names(address) => write!(f, "dns:{address}"),
            Self::Services { scheme, name } => write!(f, "srv:{}://{name}", scheme.as_str()),
        }
    }
}
