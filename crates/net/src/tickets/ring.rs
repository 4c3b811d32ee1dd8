//! The keys of tickets: one for each half day, made before it begins.
//!
//! A ticket is the number of its half day, a nonce and what AES-256-GCM makes of the session. With the key of the next half
//! day always there, servers that share a store turn without asking each other.

use std::{
    fmt, io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};

/// Where keys are kept.
pub trait KeyStore: fmt::Debug + Send + Sync {
    /// Takes those of `offered` for whose half day it has none, and gives all that it has from `oldest` on; older ones are
    /// to be forgotten. Asked at the start, and once for each half day.
    ///
    /// # Errors
    /// When it cannot be read or written.
    fn exchange(&self, offered: &[Key], oldest: u64) -> io::Result<Vec<Key>>;

    /// The right to take early data under these keys, which one guard at a time has: another one does not know which tickets
    /// have brought some. `None` while somebody else has it. Asked once in a second at most, on a worker's thread.
    ///
    /// # Errors
    /// When nobody can say who has it.
    fn claim(&self) -> io::Result<Option<Claim>>;
}

/// Gives the right back when it is dropped.
pub type Claim = Box<dyn fmt::Debug + Send + Sync>;

/// Keeps nothing: each process has its own.
#[derive(Clone, Copy, Debug)]
pub struct MemoryKeys;

impl KeyStore for MemoryKeys {
    fn exchange(&self, offered: &[Key], oldest: u64) -> io::Result<Vec<Key>> {
        Ok(offered.iter().filter(|key| key.epoch >= oldest).cloned().collect())
    }

    fn claim(&self) -> io::Result<Option<Claim>> {
        Ok(Some(Box::new(())))
    }
}

/// The key of one half day.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Which half day, from 1970 on.
    pub epoch: u64,
    /// What seals.
    pub secret: [u8; 32],
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// Half days since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Epoch(u64);

impl Epoch {
    pub(super) fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(since.as_secs() / TURN.as_secs())
    }

    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The first one whose tickets are still good.
    pub(super) fn oldest(self) -> u64 {
        self.0.saturating_sub(KEPT)
    }
}

/// A ticket's number: nobody chose it, and no two have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number(pub(super) u128);

/// Keys in the order of their half days.
pub(super) struct Ring {
    keys: Vec<Key>,
}

impl Ring {
    pub(super) fn of(mut keys: Vec<Key>) -> Self {
        keys.sort_by_key(|key| key.epoch);
        keys.truncate(MOST_KEYS);
        Self { keys }
    }

    /// New keys, for now and for the next half day.
    pub(super) fn make(epoch: Epoch) -> io::Result<Self> {
        Self { keys: Vec::new() }.turned(epoch)
    }

    /// The same keys without those that are too old, and with those that are missing.
    pub(super) fn turned(&self, epoch: Epoch) -> io::Result<Self> {
        let mut keys: Vec<Key> =
            self.keys.iter().filter(|key| key.epoch >= epoch.oldest()).cloned().collect();
        for Epoch(epoch) in [epoch, epoch.next()] {
            if keys.iter().all(|key| key.epoch != epoch) {
                let mut secret = [0; 32];
                rand::fill(&mut secret).map_err(|_| io::Error::other("no random numbers"))?;
                keys.push(Key { epoch, secret });
            }
        }
        Ok(Self::of(keys))
    }

    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Whether there is a key for this half day.
    pub(super) fn reaches(&self, epoch: Epoch) -> bool {
        self.key(epoch.0).is_some()
    }

    /// Whether all keys are those of `made`.
    pub(super) fn is_of(&self, made: &Self) -> bool {
        self.keys == made.keys
    }

    pub(super) fn seal(&self, epoch: Epoch, context: &[u8], session: &[u8]) -> Option<Vec<u8>> {
        let key = self.key(epoch.0)?.sealing()?;
        let head = u32::try_from(epoch.0).ok()?.to_be_bytes();
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = session.to_vec();
        let nonce_of = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce_of, Aad::from(context), &mut sealed).ok()?;
        Some([&head[..], &nonce, &sealed].concat())
    }

    pub(super) fn open(
        &self,
        now: Epoch,
        context: &[u8],
        ticket: &[u8],
    ) -> Option<(Number, Vec<u8>)> {
        let (number, sealed) = ticket.split_first_chunk::<{ HEAD_LEN + NONCE_LEN }>()?;
        let (head, nonce) = number.split_first_chunk::<HEAD_LEN>()?;
        let epoch = u64::from(u32::from_be_bytes(*head));
        // That of the next half day too: the clock of another server may be ahead.
        if epoch < now.oldest() || epoch > now.next().0 {
            return None;
        }
        let key = self.key(epoch)?.sealing()?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut session = sealed.to_vec();
        let length = key.open_in_place(nonce, Aad::from(context), &mut session).ok()?.len();
        session.truncate(length);
        Some((Number(u128::from_be_bytes(*number)), session))
    }

    fn key(&self, epoch: u64) -> Option<&Key> {
        self.keys.iter().find(|key| key.epoch == epoch)
    }
}

impl Key {
    fn sealing(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, &self.secret).ok().map(LessSafeKey::new)
    }
}

/// For how long a key seals.
const TURN: Duration = Duration::from_secs(12 * 3600);
/// For how many more half days it opens: no ticket is good for longer than 72 h.
const KEPT: u64 = 5;
/// How long clients may keep a ticket: one that is sealed at the end of its half day is good for so long.
pub(super) const LIFETIME: Duration = Duration::from_secs(KEPT * TURN.as_secs());
/// Keys of a store that are looked at.
const MOST_KEYS: usize = 64;
/// The number of the half day.
const HEAD_LEN: usize = 4;
