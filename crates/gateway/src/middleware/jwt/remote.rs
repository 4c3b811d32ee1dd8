//! Keys that are fetched from their issuer, kept for a while, and fetched again for a key that nobody knows.
//!
//! ```text
//!        fresh                 stale                        gone
//!  ├── refresh ────────┼── refresh again ───────┼──▶  time since they were fetched
//!  used                  used, and fetched anew   503 until they are there
//! ```
//! At most one fetch at a time and one in ten seconds, whatever tokens say: an unknown name is no way to have the issuer
//! asked without end.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::time::Instant;

use http::{Method, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use jsonwebtoken::Header;
use sterna_net::{Body, BoxError};
use tokio::time::timeout;

use super::keys::{Key, KeySet};
use crate::error::Error;
use crate::shared::OutgoingClient;

/// Where keys are fetched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// The URL.
    pub url: Uri,
    /// How long they are fresh.
    pub refresh: Duration,
}

/// Keys of an issuer. One for the process: its workers and configurations share what was fetched.
pub(crate) struct RemoteKeys {
    config: Config,
    client: OutgoingClient,
    state: Mutex<State>,
    /// Held by whoever fetches.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    keys: Option<(Arc<KeySet>, Instant)>,
    asked: Option<Instant>,
}

/// Whether the token's key is among them.
pub(super) enum Found {
    Key(Arc<Key>),
    Nothing,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the keys for tokens were asked for a moment ago, in vain")]
    TooSoon,
    #[error("the keys for tokens did not come in time")]
    TooLate,
    #[error("the keys for tokens cannot be fetched")]
    Failed(#[source] BoxError),
    #[error("whoever has the keys for tokens answered {0}")]
    Status(StatusCode),
}

impl RemoteKeys {
    pub(crate) fn new(config: Config, client: OutgoingClient) -> Self {
        Self { config, client, state: Mutex::default(), fetching: Arc::default() }
    }

    /// The key for a token, if it is known and fresh.
    pub(super) fn find_now(&self, header: &Header, now: Instant) -> Option<Arc<Key>> {
        self.kept(now, self.config.refresh)?.find(header)
    }

    /// The same, after fetching them where that is needed and may be done.
    ///
    /// # Errors
    /// When there are none to judge by: nobody is let in then.
    pub(super) async fn find(self: &Arc<Self>, header: &Header) -> Result<Found, Error> {
        let longest = self.config.refresh.saturating_mul(2);
        let stale = |now| Some(self.kept(now, longest)?.find(header));
        let begun = Instant::now();
        if let Some(Some(key)) = stale(begun)
            && (self.fetching.try_lock().is_err() || !self.may_ask(begun))
        {
            // Somebody fetches, or has just tried: the old ones have to do.
            return Ok(Found::Key(key));
        }
        let fetching = self.fetching.clone().lock_owned().await;
        // Others may have fetched while this one waited.
        if let Some(key) = self.find_now(header, Instant::now()) {
            return Ok(Found::Key(key));
        }
        let keys = self.clone();
        // A task of its own: a client that leaves must not take the keys of the others with it.
        let fetch = tokio::spawn(async move {
            let fetched = keys.fetch().await;
            drop(fetching);
            fetched
        });
        let fetched = fetch.await.unwrap_or(Err(FetchError::TooLate));
        match (fetched, stale(Instant::now())) {
            (_, Some(Some(key))) => Ok(Found::Key(key)),
            (_, Some(None)) => Ok(Found::Nothing),
            (Err(error), None) => Err(Error::KeysUnavailable(Box::new(error))),
            (Ok(()), None) => Ok(Found::Nothing),
        }
    }

    async fn fetch(&self) -> Result<(), FetchError> {
        let now = Instant::now();
        if !self.may_ask(now) {
            return Err(FetchError::TooSoon);
        }
        self.state().asked = Some(now);
        let fetched = timeout(PATIENCE, self.ask()).await.unwrap_or(Err(FetchError::TooLate));
        match fetched {
            Ok(keys) => {
                self.state().keys = Some((Arc::new(keys), now));
                Ok(())
            }
            Err(error) => {
                let cause = &error as &dyn std::error::Error;
                tracing::warn!(url = %self.config.url, error = cause, "no keys for tokens");
                Err(error)
            }
        }
    }

    async fn ask(&self) -> Result<KeySet, FetchError> {
        let failed = |error: BoxError| FetchError::Failed(error);
        let request = http::Request::builder().method(Method::GET).uri(self.config.url.clone());
        let request = request.header(http::header::ACCEPT, "application/json");
        let request = request.body(Body::empty()).map_err(|error| failed(error.into()))?;
        let client = self.client.get().map_err(failed)?;
        let response = client.send(request).await.map_err(|error| failed(error.into()))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let content = Limited::new(response.into_body(), MAX_SIZE).collect().await;
        let content = content.map_err(failed)?.to_bytes();
        KeySet::parse(&content, false).map_err(|error| failed(error.into()))
    }

    fn may_ask(&self, now: Instant) -> bool {
        let asked = self.state().asked;
        asked.is_none_or(|asked| now.saturating_duration_since(asked) >= PAUSE)
    }

    fn kept(&self, now: Instant, longest: Duration) -> Option<Arc<KeySet>> {
        let state = self.state();
        let (keys, at) = state.keys.as_ref()?;
        (now.saturating_duration_since(*at) < longest).then(|| keys.clone())
    }

    /// As if so much time had passed since the last fetch.
    #[cfg(test)]
    pub(super) fn age(&self, by: Duration) {
        let mut state = self.state();
        let before = |at: Instant| at.checked_sub(by).expect("the clock goes far enough back");
        state.asked = state.asked.map(before);
        state.keys = state.keys.take().map(|(keys, at)| (keys, before(at)));
    }

    /// As if the pause were over.
    #[cfg(test)]
    pub(super) fn forget_that_it_asked(&self) {
        self.state().asked = None;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys").field("config", &self.config).finish_non_exhaustive()
    }
}

/// For one fetch.
const PATIENCE: Duration = Duration::from_secs(5);

/// From one fetch to the next, at least.
const PAUSE: Duration = Duration::from_secs(10);

/// Of what is fetched, in bytes.
const MAX_SIZE: usize = 256 * 1024;
