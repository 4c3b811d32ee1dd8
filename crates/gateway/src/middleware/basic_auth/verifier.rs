//! How many passwords are verified at once in the process, and who has to wait or is turned away.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::{Credentials, Users};
use crate::error::Error;

/// Verifies passwords, a few at once. One for the process.
///
/// Half of the cores may do it; 32 verifications may wait or run, four of them for one client: a flood of wrong passwords
/// takes no more than that from others. Beyond, 429 for the client that has too many and 503 for all.
pub(crate) struct Verifier {
    permits: Arc<Semaphore>,
    places: Arc<Mutex<Places>>,
    counts: Counts,
}

/// What became of those who came with a password that was not remembered.
#[derive(Debug, Default)]
struct Counts {
    verified: AtomicU64,
    wrong: AtomicU64,
    turned_away: AtomicU64,
}

#[derive(Default)]
struct Places {
    all: usize,
    of_client: HashMap<Option<IpAddr>, usize>,
}

impl Default for Verifier {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self::new((cores / 2).max(1))
    }
}

impl Verifier {
    fn new(at_once: usize) -> Self {
        let permits = Arc::new(Semaphore::new(at_once));
        Self { permits, places: Arc::default(), counts: Counts::default() }
    }

    /// Whether they are right.
    ///
    /// # Errors
    /// When too many wait already.
    ///
    /// # Cancel safety
    /// What was begun is brought to its end in its thread, and keeps its place until then.
    pub(super) async fn verify(
        &self,
        client: Option<IpAddr>,
        users: &Arc<Users>,
        credentials: Credentials,
    ) -> Result<bool, Error> {
        let place = self.place(client).inspect_err(|_| increment(&self.counts.turned_away))?;
        let permit = self.permits.clone().acquire_owned().await;
        let users = users.clone();
        let verified = tokio::task::spawn_blocking(move || {
            let is_right = users.verify(&credentials);
            if is_right {
                users.note(&credentials, Instant::now());
            }
            drop((place, permit));
            is_right
        });
        // It fails when it panicked, or when the process ends.
        let is_right = verified.await.unwrap_or(false);
        increment(if is_right { &self.counts.verified } else { &self.counts.wrong });
        Ok(is_right)
    }

    /// How many were verified, were wrong, were turned away.
    pub(crate) fn counts(&self) -> [u64; 3] {
        let Counts { verified, wrong, turned_away } = &self.counts;
        [verified, wrong, turned_away].map(|count| count.load(Ordering::Relaxed))
    }

    fn place(&self, client: Option<IpAddr>) -> Result<Place, Error> {
        let client = client.map(prefix);
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.all >= MAX_PLACES {
            return Err(Error::Overloaded { retry_after: RETRY_AFTER });
        }
        let of_client = places.of_client.entry(client).or_default();
        if *of_client >= MAX_OF_CLIENT {
            return Err(Error::TooOften { retry_after: RETRY_AFTER });
        }
        *of_client += 1;
        places.all += 1;
        Ok(Place { places: self.places.clone(), client })
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("counts", &self.counts).finish_non_exhaustive()
    }
}

/// A network of IPv6 that one customer has is one client: he has all of its addresses.
fn prefix(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & (u128::MAX << 64)).into()),
    }
}

fn increment(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// One that waits or runs.
struct Place {
    places: Arc<Mutex<Places>>,
    client: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.all = places.all.saturating_sub(1);
        if let Some(of_client) = places.of_client.get_mut(&self.client) {
            *of_client = of_client.saturating_sub(1);
            if *of_client == 0 {
                places.of_client.remove(&self.client);
            }
        }
    }
}

pub(super) const MAX_PLACES: usize = 32;
pub(super) const MAX_OF_CLIENT: usize = 4;
const RETRY_AFTER: Duration = Duration::from_secs(1);
