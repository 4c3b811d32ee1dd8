//! Certificates that are ordered from an authority by ACME (RFC 8555), and renewed.
//!
//! ```text
//!  configuration ── Settings ──▶ Acme ── what is kept is shown at once
//!                                  │
//!                 keeper's thread: due? ── lock ── order ── keep ── Operation::show_issued ──▶ workers
//!                                                    │
//!                                        challenge: plain HTTP, a handshake, or the operator's program
//! ```
//! Only hosts of sites with `acme = true` are ordered for: what clients ask for orders nothing.

mod alpn;
mod entry;
mod flags;
mod hook;
mod http;
mod keeper;
mod order;
mod pair;
mod schedule;
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use sterna_gateway::config::{Challenge, Model};
use sterna_gateway::handler::challenge::Tokens;
use sterna_net::{Challenges, ServerTls};
use tokio::sync::Notify;

use self::entry::Entry;
pub(crate) use self::flags::Flags;
use self::order::Proof;
use self::pair::Pair;
use self::store::Store;
use crate::certificate::Certificate;
use crate::error::Error;
use crate::local_ca;
use crate::operation::Operation;

/// What a configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    directory: String,
    contact: Option<String>,
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
            (Challenge::TlsAlpn01, _) => Proof::Tls,
            _ => Proof::Http,
        };
        Ok(Some(Self {
            directory: acme.directory.to_string(),
            contact: acme.contact(),
            ca: acme.ca.as_ref().map(|ca| ca.0.clone()),
            storage: match &acme.storage {
                Some(storage) => storage.0.clone(),
                None => default_storage()?,
            },
            proof,
            hosts,
        }))
    }

    /// Where everything is kept.
    pub(crate) fn storage(&self) -> &Path {
        &self.storage
    }

    fn store(&self) -> Store {
        Store::new(&self.storage, &self.directory)
    }
}

/// Beside the local authority.
fn default_storage() -> Result<PathBuf, Error> {
    Ok(local_ca::directory()?.with_file_name("acme"))
}

/// All that the process has of authorities. It lives through reloads; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acme {
    pub(crate) answers: Answers,
    state: Arc<Mutex<State>>,
    /// Wakes the keeper.
    changed: Arc<Notify>,
}

/// What authorities are answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    /// Over plain HTTP.
    pub(crate) tokens: Tokens,
    /// In handshakes over TCP.
    challenges: Challenges,
}

impl Answers {
    /// With what this configuration needs to be answered in handshakes.
    fn attach(&self, tls: ServerTls, settings: Option<&Settings>) -> ServerTls {
        match settings {
            Some(Settings { proof: Proof::Tls, .. }) => {
                tls.with_challenges(self.challenges.clone())
            }
            _ => tls,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    settings: Option<Settings>,
    /// By host.
    entries: Entries,
    /// Who shows what has been obtained.
    operation: Weak<Operation>,
    is_kept: bool,
    figures: Figures,
}

type Entries = BTreeMap<String, Entry>;

/// How orders ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
}

/// What another configuration wants, with what is kept for its hosts: nothing goes by it yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    settings: Option<Settings>,
    entries: Entries,
    answers: Answers,
}

impl Prepared {
    /// What clients are to be shown, where this is shown without an authority.
    pub(crate) fn tls(&self, certificate: &Certificate) -> ServerTls {
        let tls = certificate.with(&issued(&self.entries));
        self.answers.attach(tls, self.settings.as_ref())
    }
}

/// What people are told of a host.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) host: String,
    /// What was obtained last.
    pub(crate) leaf: Option<CertificateDer<'static>>,
    pub(crate) renew_at: SystemTime,
    pub(crate) orders: u64,
    pub(crate) failures: u32,
    pub(crate) error: Option<String>,
}

impl Acme {
    /// Reads what is kept for the hosts of a configuration.
    pub(crate) fn prepare(&self, settings: Option<Settings>) -> Prepared {
        let now = SystemTime::now();
        let mut known = self.known(settings.as_ref());
        let mut entries = BTreeMap::new();
        if let Some(settings) = &settings {
            let store = settings.store();
            for host in &settings.hosts {
                let kept = || match store.pair(host) {
                    Some(pair) => Entry::new(Some(pair), now, random()),
                    // That of another authority is shown until this one has issued its own.
                    None => Entry::in_place_of(self.pair(host), now, random()),
                };
                entries.insert(host.clone(), known.remove(host).unwrap_or_else(kept));
            }
        }
        Prepared { settings, entries, answers: self.answers.clone() }
    }

    /// Goes by it from now on.
    pub(crate) fn follow(&self, prepared: Prepared) {
        let Prepared { settings, mut entries, answers: _ } = prepared;
        // An order may have ended since it was prepared.
        for (host, entry) in self.known(settings.as_ref()) {
            entries.entry(host).and_modify(|prepared| *prepared = entry);
        }
        {
            let mut state = self.state();
            (state.settings, state.entries) = (settings, entries);
        }
        self.keep();
        self.changed.notify_one();
    }

    /// Hands what is obtained to this server, from now on.
    pub(crate) fn attach(&self, operation: &Arc<Operation>) {
        self.state().operation = Arc::downgrade(operation);
        self.keep();
    }

    /// What clients are to be shown, where this is shown without an authority.
    pub(crate) fn tls(&self, certificate: &Certificate) -> ServerTls {
        let state = self.state();
        self.answers.attach(certificate.with(&issued(&state.entries)), state.settings.as_ref())
    }

    /// What to tell of hosts that have no certificate yet.
    pub(crate) fn missing(&self) -> Vec<String> {
        let state = self.state();
        let missing = state.entries.iter().filter(|(_, entry)| entry.pair.is_none());
        let told = |(host, _): (&String, &Entry)| {
            format!("{host} is shown by the local authority until a certificate is obtained")
        };
        missing.map(told).collect()
    }

    /// Orders anew, soon: for one host, or for all. What is known of them; nothing when that one is not ordered for.
    pub(crate) fn renew(&self, host: Option<&str>) -> Vec<Row> {
        let mut state = self.state();
        let is_meant = |known: &str| host.is_none_or(|host| host.eq_ignore_ascii_case(known));
        let meant = state.entries.iter_mut().filter(|(host, _)| is_meant(host));
        let hurry = |(host, entry): (&String, &mut Entry)| {
            entry.hurry();
            row(host, entry)
        };
        let rows = meant.map(hurry).collect();
        drop(state);
        self.changed.notify_one();
        rows
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.state().entries.iter().map(|(host, entry)| row(host, entry)).collect()
    }

    pub(crate) fn figures(&self) -> Figures {
        self.state().figures
    }

    /// What is known already, if another configuration is about the same authority and directory.
    fn known(&self, settings: Option<&Settings>) -> Entries {
        let state = self.state();
        match (&state.settings, settings) {
            (Some(before), Some(after)) if before.store() == after.store() => state.entries.clone(),
            _ => Entries::new(),
        }
    }

    fn pair(&self, host: &str) -> Option<Pair> {
        self.state().entries.get(host)?.pair.clone()
    }

    /// Starts the thread that orders, where something is to be ordered and none runs.
    fn keep(&self) {
        let mut state = self.state();
        if state.is_kept || state.settings.is_none() || state.operation.strong_count() == 0 {
            return;
        }
        match keeper::start(self.clone(), state.operation.clone()) {
            Ok(()) => state.is_kept = true,
            Err(error) => tracing::error!(%error, "no thread to order certificates with"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The certificates that there are, by host.
fn issued(entries: &Entries) -> BTreeMap<String, ServerTls> {
    let issued =
        |(host, entry): (&String, &Entry)| Some((host.clone(), entry.pair.as_ref()?.tls.clone()));
    entries.iter().filter_map(issued).collect()
}

fn row(host: &str, entry: &Entry) -> Row {
    Row {
        host: host.to_owned(),
        leaf: entry.pair.as_ref().map(|pair| pair.leaf.clone()),
        renew_at: entry.renew_at,
        orders: entry.orders,
        failures: entry.failures,
        error: entry.error.clone(),
    }
}

/// From 0 to below 1.
fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness nothing is spread, and nothing else would work either.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
