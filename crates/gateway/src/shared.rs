//! What outlives a configuration and is seen by all workers.
//!
//! Limits, the health of backends and counters must survive a reload and hold for the whole process. A part of the
//! configuration finds its state here by a key that says what it is; state that no part uses any more is forgotten.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use sterna_net::{BoxError, Client};

use crate::middleware::basic_auth::Verifier;
use crate::middleware::jwt::{RemoteConfig, RemoteKeys};

use crate::metrics::Metrics;
use crate::middleware::{bandwidth, in_flight, rate_limit};
use crate::route::Pattern;
use crate::upstream::{self, Upstream};

/// What outlives a configuration and is seen by all workers. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rates: Kept<(String, rate_limit::Limit), rate_limit::Buckets>,
    gates: Kept<(String, in_flight::Limit), in_flight::Gate>,
    bandwidths: Kept<(String, bandwidth::Limit), bandwidth::Accounts>,
    upstreams: Kept<String, Upstream>,
    keeper: upstream::Keeper,
    metrics: Metrics,
    verifier: Arc<Verifier>,
    remote_keys: Kept<RemoteConfig, RemoteKeys>,
    client: OutgoingClient,
    compression: Arc<crate::middleware::compress::Counters>,
    mirrors: Arc<crate::middleware::mirror::Counters>,
}

impl Shared {
    /// Who verifies passwords.
    pub(crate) fn verifier(&self) -> &Arc<Verifier> {
        &self.0.verifier
    }

    /// How many passwords were verified and right, were wrong, and were turned away unverified because too many waited.
    pub fn verifications(&self) -> [u64; 3] {
        self.0.verifier.counts()
    }

    /// Keys for tokens, by where they are fetched.
    pub(crate) fn remote_keys(&self) -> &Kept<RemoteConfig, RemoteKeys> {
        &self.0.remote_keys
    }

    /// Who asks other servers on behalf of access control.
    pub(crate) fn client(&self) -> &OutgoingClient {
        &self.0.client
    }

    /// What is counted of requests.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn upstreams(&self) -> &Kept<String, Upstream> {
        &self.0.upstreams
    }

    /// What became of copies of requests.
    pub fn mirrors(&self) -> &Arc<crate::middleware::mirror::Counters> {
        &self.0.mirrors
    }

    /// What became of responses that could have been encoded.
    pub fn compression(&self) -> &Arc<crate::middleware::compress::Counters> {
        &self.0.compression
    }

    /// Every upstream that is in use.
    pub fn all_upstreams(&self) -> Vec<Arc<Upstream>> {
        self.upstreams().all()
    }

    /// The upstream of this configuration, kept up to date. A new one goes on with what those before it know of the same
    /// backends.
    pub(crate) fn upstream(&self, config: &upstream::Config) -> Arc<Upstream> {
        let mut others = self.upstreams().all();
        // The last that knows a backend is believed: the one that is most alike.
        others.sort_by_cached_key(|other| other.config().likeness(config));
        let make = || Upstream::kept(config, &others, &self.0.keeper);
        self.upstreams().get_or_make(format!("{config:?}"), make)
    }

    /// What the limits of all sites and routes have done, in no order.
    pub fn limits(&self) -> Vec<LimitFigures> {
        let rates = self.rates().entries().into_iter().map(|((scope, limit), buckets)| {
            let (known, forgotten) = buckets.clients();
            let (limit, refused) = (limit.to_string(), buckets.refused());
            LimitFigures { kind: "rate_limit", scope, limit, refused, known, forgotten, waiting: 0 }
        });
        let gates = self.gates().entries().into_iter().map(|((scope, limit), gate)| {
            let (known, waiting, refused) = gate.figures();
            let limit = limit.max.to_string();
            LimitFigures { kind: "in_flight", scope, limit, refused, known, forgotten: 0, waiting }
        });
        let bandwidths = self.bandwidths().entries().into_iter();
        let bandwidths = bandwidths.map(|((scope, limit), accounts)| {
            let ((known, forgotten), limit) = (accounts.clients(), limit.to_string());
            let (refused, waiting) = (0, 0);
            LimitFigures { kind: "bandwidth", scope, limit, refused, known, forgotten, waiting }
        });
        rates.chain(gates).chain(bandwidths).collect()
    }

    /// The buckets of rate limits, by what they belong to and the limit.
    pub(crate) fn rates(&self) -> &Kept<(String, rate_limit::Limit), rate_limit::Buckets> {
        &self.0.rates
    }

    /// The places of limits on requests at once, likewise.
    pub(crate) fn gates(&self) -> &Kept<(String, in_flight::Limit), in_flight::Gate> {
        &self.0.gates
    }

    /// Bandwidth that responses share, likewise.
    pub(crate) fn bandwidths(&self) -> &Kept<(String, bandwidth::Limit), bandwidth::Accounts> {
        &self.0.bandwidths
    }
}

/// What one limit has done since it was first built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitFigures {
    /// The key of the configuration: `rate_limit`, `in_flight` or `bandwidth`.
    pub kind: &'static str,
    /// The table that it is written in: `defaults`, a site by its hosts, a route by site and paths, or `process`.
    pub scope: String,
    /// The limit, as it is written.
    pub limit: String,
    /// Requests that it refused.
    pub refused: u64,
    /// Clients that it knows now; of `in_flight`, requests in work.
    pub known: usize,
    /// Clients that it forgot because there were too many.
    pub forgotten: u64,
    /// Requests that wait for a place.
    pub waiting: usize,
}

/// A client of HTTP for the whole process, which starts when it is first asked for. A clone is the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutgoingClient(Arc<OnceLock<Client>>);

impl OutgoingClient {
    /// The client.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn get(&self) -> Result<Client, BoxError> {
        if let Some(client) = self.0.get() {
            return Ok(client.clone());
        }
        // Two that start it at once make two, of which one is dropped.
        let client = Client::builder().build()?;
        Ok(self.0.get_or_init(|| client).clone())
    }
}

/// For whom a part of the gateway is built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Build<'a> {
    pub(crate) shared: &'a Shared,
    /// The paths of the route.
    pub(crate) path: Option<&'a Pattern>,
}

/// Values by what they are, as long as someone holds them.
pub(crate) struct Kept<K, V>(Mutex<HashMap<K, Weak<V>>>);

impl<K: Eq + Hash, V> Kept<K, V> {
    /// What is there under this key, or what `make` gives.
    pub(crate) fn get_or_make(&self, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = kept.get(&key).and_then(Weak::upgrade) {
            return value;
        }
        // Only a reload adds: so often the dead are looked for.
        kept.retain(|_, value| value.strong_count() > 0);
        let value = Arc::new(make());
        kept.insert(key, Arc::downgrade(&value));
        value
    }

    /// All that somebody holds, by what it is.
    pub(crate) fn entries(&self) -> Vec<(K, Arc<V>)>
    where
        K: Clone,
    {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = |(key, value): (&K, &Weak<V>)| Some((key.clone(), value.upgrade()?));
        kept.iter().filter_map(entry).collect()
    }

    /// All that somebody holds.
    pub(crate) fn all(&self) -> Vec<Arc<V>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.values().filter_map(Weak::upgrade).collect()
    }
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, V> fmt::Debug for Kept<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_found_again_while_somebody_holds_it_and_forgotten_after() {
        let kept = Kept::<&str, u32>::default();
        let first = kept.get_or_make("limit", || 1);
        assert_eq!(*kept.get_or_make("limit", || 2), 1);
        assert_eq!(kept.all().len(), 1);
        drop(first);
        assert_eq!(*kept.get_or_make("limit", || 3), 3);
        let other = kept.get_or_make("other", || 4);
        assert_eq!((kept.all(), *other), (vec![other.clone()], 4), "the first is forgotten");
    }
}
