//! Certificates that are ordered from an authority by ACME (RFC 8555), and renewed.
//!
//! ```text
//!  configuration ── Settings ──▶ Acme ── what is kept is shown at once
//!                                  │
//!                 keeper's thread: due? ── lock ── order ── keep ── Operation::show ──▶ workers
//!                                                    │
//!                                        challenge: Tokens on plain HTTP, or the operator's program
//! ```
//! Only hosts of sites with `acme = true` are ordered for: what clients ask for orders nothing.

mod hook;
mod http;
mod keeper;
mod order;
mod pair;
mod schedule;
mod store;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use sterna_gateway::config::{Challenge, Model};
use sterna_gateway::handler::challenge::Tokens;
use sterna_net::ServerTls;
use tokio::sync::Notify;

use self::order::Proof;
use self::pair::Pair;
use self::schedule::Window;
use self::store::Store;
use crate::error::Error;
use crate::local_ca;
use crate::operation::Operation;

/// What a configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    directory: String,
    email: Option<String>,
    ca: Option<PathBuf>,
    storage: PathBuf,
    proof: Proof,
    hosts: Vec<String>,
}

impl Settings {
    /// Of a configuration that has been checked; `None` when it wants nothing of an authority.
    pub(crate) fn of(model: &Model) -> Result<Option<Self>, Error> {
        let hosts = model.acme_hosts();
        let Some(acme) = model.acme.as_ref().filter(|_| !hosts.is_empty()) else { return Ok(None) };
        let hook = acme.dns_hook.as_ref().map(|hook| hook.0.clone());
        let proof = match (acme.challenge, hook) {
            (Challenge::Dns01, Some(hook)) => Proof::Dns { hook },
            _ => Proof::Http,
        };
        Ok(Some(Self {
            directory: acme.directory.to_string(),
            email: acme.email.as_ref().map(|email| email.text.clone()),
            ca: acme.ca.as_ref().map(|ca| ca.0.clone()),
            storage: match &acme.storage {
                Some(storage) => storage.0.clone(),
                None => local_ca::directory()?.with_file_name("acme"),
            },
            proof,
            hosts,
        }))
    }

    fn store(&self) -> Store {
        Store::new(&self.storage, &self.directory)
    }
}

/// All that the process has of authorities. It lives through reloads; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acme {
    /// What plain HTTP answers.
    pub(crate) tokens: Tokens,
    state: Arc<Mutex<State>>,
    /// Wakes the keeper.
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    settings: Option<Settings>,
    /// By host.
    entries: BTreeMap<String, Entry>,
    renewals: Renewals,
    is_kept: bool,
}

/// How orders ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Renewals {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
}

/// A host, and what is known of its certificate.
#[derive(Clone, Debug)]
struct Entry {
    pair: Option<Pair>,
    /// When the next order is due.
    renew_at: SystemTime,
    /// When advice is asked for again.
    ask_at: SystemTime,
    /// When this process has got it.
    issued: Option<SystemTime>,
    /// Orders in a row that failed.
    failures: u32,
    error: Option<String>,
}

/// What people are told of a host.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) host: String,
    pub(crate) leaf: Option<CertificateDer<'static>>,
    pub(crate) issuer: Option<String>,
    pub(crate) not_after: Option<SystemTime>,
    pub(crate) renew_at: SystemTime,
    pub(crate) failures: u32,
    pub(crate) error: Option<String>,
}

impl Entry {
    fn new(pair: Option<Pair>, now: SystemTime) -> Self {
        let mut entry =
            Self { pair, renew_at: now, ask_at: now, issued: None, failures: 0, error: None };
        entry.plan(None);
        entry
    }

    /// When to renew, by what the authority advises.
    fn plan(&mut self, advice: Option<Window>) {
        let Some(pair) = &self.pair else { return };
        let renew_at = pair.lifetime.renew_at(advice, random());
        // An authority whose advice is always in the past is not asked for one certificate after the other.
        let earliest = self.issued.map(|at| at + pair.lifetime.pause());
        self.renew_at = earliest.map_or(renew_at, |earliest| renew_at.max(earliest));
    }
}

impl Acme {
    /// Goes on with what a configuration says from now on: what is kept for its hosts is read.
    pub(crate) fn follow(&self, settings: Option<Settings>) {
        let mut state = self.state();
        if state.settings == settings {
            return;
        }
        let now = SystemTime::now();
        let is_same_place = |new: &Settings| {
            state.settings.as_ref().is_some_and(|old| old.store() == new.store())
        };
        let mut entries = BTreeMap::new();
        if let Some(new) = &settings {
            let mut known = match is_same_place(new) {
                true => state.entries.clone(),
                false => BTreeMap::new(),
            };
            let store = new.store();
            for host in &new.hosts {
                let kept = || Entry::new(store.pair(host), now);
                entries.insert(host.clone(), known.remove(host).unwrap_or_else(kept));
            }
        }
        (state.settings, state.entries) = (settings, entries);
        drop(state);
        self.changed.notify_one();
    }

    /// Starts the thread that orders, where something is to be ordered and none runs.
    pub(crate) fn keep(&self, operation: &Weak<Operation>) -> Result<(), Error> {
        let mut state = self.state();
        if !state.is_kept && state.settings.is_some() {
            keeper::start(self.clone(), operation.clone()).map_err(Error::Signals)?;
            state.is_kept = true;
        }
        Ok(())
    }

    /// The certificates that there are, by host.
    pub(crate) fn issued(&self) -> BTreeMap<String, ServerTls> {
        let state = self.state();
        let issued = |(host, entry): (&String, &Entry)| {
            Some((host.clone(), entry.pair.as_ref()?.tls.clone()))
        };
        state.entries.iter().filter_map(issued).collect()
    }

    /// Orders anew, soon: for one host or for all. The hosts; none when that one is not ordered for.
    pub(crate) fn renew(&self, host: Option<&str>) -> Vec<String> {
        let mut state = self.state();
        let is_meant = |known: &str| host.is_none_or(|host| host.eq_ignore_ascii_case(known));
        let mut asked = Vec::new();
        for (host, entry) in state.entries.iter_mut().filter(|(host, _)| is_meant(host)) {
            entry.renew_at = SystemTime::UNIX_EPOCH;
            asked.push(host.clone());
        }
        drop(state);
        self.changed.notify_one();
        asked
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        let state = self.state();
        let row = |(host, entry): (&String, &Entry)| Row {
            host: host.clone(),
            leaf: entry.pair.as_ref().map(|pair| pair.leaf.clone()),
            issuer: entry.pair.as_ref().map(|pair| pair.issuer.clone()),
            not_after: entry.pair.as_ref().map(|pair| pair.lifetime.not_after),
            renew_at: entry.renew_at,
            failures: entry.failures,
            error: entry.error.clone(),
        };
        state.entries.iter().map(row).collect()
    }

    pub(crate) fn renewals(&self) -> Renewals {
        self.state().renewals
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From 0 to below 1.
fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness nothing is spread, and nothing else would work either.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

/// How long the keeper sleeps at most: the clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
