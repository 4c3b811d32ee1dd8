//! Session tickets of TLS: sealed under keys that all workers share, that turn every twelve hours, and that may outlive the
//! process.
//!
//! ```text
//!  TCP   rustls asks a ticketer  ─┐
//!                                 ├─ Tickets ─ keys by the half day ─ KeyStore: memory, a directory, later a shared one
//!  QUIC  sterna-quic's own desk  ─┘      └──── replay guard of early data (0-RTT), shared by all workers
//! ```
//! A ticket opens under what it was sealed for alone: its transport, and whatever decides whom a site lets in. A server
//! takes early data on QUIC only; rustls has no way to take it over TCP on tickets that another process can open.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use sterna_quic::{Opened, ReplayGuard, Verdict};

use self::ring::{Epoch, Number, Ring};
pub use self::{
    file::FileKeys,
    ring::{Claim, Key, KeyStore, MemoryKeys},
};
use crate::context::lock;

pub use sterna_quic::Window;

mod file;
mod ring;

/// What a server's tickets are sealed with, and what guards its early data; shared by all of its workers.
pub struct Tickets {
    ring: Mutex<Arc<Ring>>,
    store: Box<dyn KeyStore>,
    is_asking: AtomicBool,
    // req: 8470-3-consistent
    guard: Mutex<Guard>,
}

struct Guard {
    register: ReplayGuard,
    right: Right,
    /// One moment by both clocks: TLS judges the age of a ticket by that of the wall, which may be set back.
    seen: (Instant, SystemTime),
}

/// Whether early data under these keys is ours to take.
enum Right {
    Held {
        _claim: Claim,
    },
    /// Somebody else had it when it was asked for, and will not be asked again before then.
    Missing {
        ask_again: Instant,
    },
}

impl Right {
    fn ask(store: &dyn KeyStore, now: Instant) -> Self {
        let claim = store.claim().unwrap_or_else(|error| {
            tracing::debug!(%error, "no early data: it is not known who else takes some");
            None
        });
        match claim {
            Some(claim) => Self::Held { _claim: claim },
            None => Self::Missing { ask_again: now + BETWEEN_CLAIMS },
        }
    }
}

impl Guard {
    /// Whether early data may be judged at all; asks again for the right where that is due.
    fn has_right(&mut self, store: &dyn KeyStore, now: Instant) -> bool {
        if let Right::Missing { ask_again } = self.right
            && now >= ask_again
        {
            self.right = Right::ask(store, now);
            // Whoever had it may have taken early data until just now.
            self.register.restart(now);
        }
        matches!(self.right, Right::Held { .. })
    }
}

impl Tickets {
    /// With the keys of `store`, which gets those that it lacks. Keys that others made may have sealed early data that was
    /// taken before this process knew of it: then none is taken for the time of the window. Nor is any while somebody else
    /// takes early data under these keys.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub fn open(store: impl KeyStore + 'static, window: Window) -> io::Result<Arc<Self>> {
        Self::open_at(store, window, Instant::now(), SystemTime::now())
    }

    /// With keys that end with the process.
    pub fn in_memory() -> Arc<Self> {
        let tickets = Self::open(MemoryKeys, Window::default());
        tickets.expect("memory always works")
    }

    fn open_at(
        store: impl KeyStore + 'static,
        window: Window,
        now: Instant,
        time: SystemTime,
    ) -> io::Result<Arc<Self>> {
        let right = Right::ask(&store, now);
        if matches!(right, Right::Missing { .. }) {
            tracing::info!(
                ?store,
                "no early data for now: another server takes it under these keys"
            );
        }
        let made = Ring::make(Epoch::of(time))?;
        let ring = Ring::of(store.exchange(made.keys(), Epoch::of(time).oldest())?);
        // Nothing was ever sealed under keys that are ours alone.
        let register = match ring.is_of(&made) {
            true => ReplayGuard::grown(window, now),
            false => ReplayGuard::new(window, now),
        };
        Ok(Arc::new(Self {
            ring: Mutex::new(Arc::new(ring)),
            store: Box::new(store),
            is_asking: AtomicBool::new(false),
            guard: Mutex::new(Guard { register, right, seen: (now, time) }),
        }))
    }

    /// For one transport, and for those who are let in as `binding` says: a ticket that was sealed under other bytes does not
    /// open.
    pub(crate) fn bound(self: &Arc<Self>, transport: &str, binding: &[u8]) -> Arc<BoundTickets> {
        let context = [transport.as_bytes(), &[0], binding].concat();
        Arc::new(BoundTickets { tickets: self.clone(), context })
    }

    fn seal(self: &Arc<Self>, context: &[u8], session: &[u8], time: SystemTime) -> Option<Vec<u8>> {
        let epoch = Epoch::of(time);
        let ring = lock(&self.ring).clone();
        if !ring.reaches(epoch.next()) {
            self.turn(epoch);
        }
        ring.seal(epoch, context, session)
    }

    fn unseal(&self, context: &[u8], ticket: &[u8], time: SystemTime) -> Option<(Number, Vec<u8>)> {
        let ring = lock(&self.ring).clone();
        ring.open(Epoch::of(time), context, ticket)
    }

    /// Gets the key of the next half day, on a thread of its own: a store may be a disk.
    fn turn(self: &Arc<Self>, epoch: Epoch) {
        if self.is_asking.swap(true, Ordering::AcqRel) {
            return;
        }
        let tickets = self.clone();
        let asked = thread::Builder::new().name("tickets".into()).spawn(move || {
            if let Err(error) = tickets.turn_now(epoch) {
                tracing::warn!(%error, "the next key of tickets is in this process alone");
            }
            tickets.is_asking.store(false, Ordering::Release);
        });
        if asked.is_err() {
            self.is_asking.store(false, Ordering::Release);
        }
    }

    fn turn_now(&self, epoch: Epoch) -> io::Result<()> {
        let made = lock(&self.ring).turned(epoch)?;
        let stored = self.store.exchange(made.keys(), epoch.oldest());
        // What cannot be stored serves this process all the same.
        let (ring, outcome) = match stored {
            Ok(keys) => (Ring::of(keys), Ok(())),
            Err(error) => (made, Err(error)),
        };
        *lock(&self.ring) = Arc::new(ring);
        outcome
    }

    fn judge(&self, number: Number, now: Instant, time: SystemTime) -> Verdict {
        let mut guard = lock(&self.guard);
        let (then, that_time) = guard.seen;
        let expected = that_time + now.saturating_duration_since(then);
        if time + CLOCK_SLACK < expected {
            // Set back: flights that had grown too old are young again, and may have been forgotten.
            guard.register.restart(now);
        }
        guard.seen = (now, time);
        if !guard.has_right(&*self.store, now) {
            return Verdict::Young;
        }
        guard.register.judge(number.0, now)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Tickets for one transport and one way to let clients in.
#[derive(Debug)]
pub(crate) struct BoundTickets {
    tickets: Arc<Tickets>,
    context: Vec<u8>,
}

impl sterna_quic::Tickets for BoundTickets {
    fn seal(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.tickets.seal(&self.context, session, SystemTime::now())
    }

    fn open(&self, ticket: &[u8], is_early: bool) -> Option<Opened> {
        let (now, time) = (Instant::now(), SystemTime::now());
        let (number, session) = self.tickets.unseal(&self.context, ticket, time)?;
        let verdict = match is_early {
            true => self.tickets.judge(number, now, time),
            false => Verdict::Fresh,
        };
        Some(Opened { session, verdict })
    }

    fn lifetime(&self) -> Duration {
        ring::LIFETIME
    }
}

impl rustls::server::ProducesTickets for BoundTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(ring::LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.tickets.seal(&self.context, session, SystemTime::now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (_, session) = self.tickets.unseal(&self.context, ticket, SystemTime::now())?;
        Some(session)
    }
}

/// Between two questions whether somebody else still takes early data.
const BETWEEN_CLAIMS: Duration = Duration::from_secs(1);

/// How far the clock of the wall may fall behind before it counts as set back.
const CLOCK_SLACK: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
