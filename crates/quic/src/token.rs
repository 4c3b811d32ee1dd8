//! Tokens by which clients prove their address: of a Retry, and those for next time (RFC 9000 §8.1.2, §8.1.3).
//!
//! The engine writes them (address, time, nonce) and looks at both; sealing them is ours, and so it is here that a token is
//! told from a guess, and a first use from a second. All workers of a group share one [`TokenKey`].

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::hkdf;
use quinn_proto::{
    TokenLog, TokenReuseError,
    crypto::{AeadKey, CryptoError, HandshakeTokenKey},
};
use rustc_hash::FxHashSet;

/// Life of the token in a Retry: its client comes back within a round trip.
pub(crate) const RETRY_LIFETIME: Duration = Duration::from_secs(15);

/// Life of a token for next time.
pub(crate) const NEXT_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Seals tokens and opens each once.
#[derive(Clone, Debug)]
pub(crate) struct TokenKey(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    key: hkdf::Prk,
    used: Mutex<Used>,
    counts: Counts,
}

/// What became of the tokens that came, on all workers.
#[derive(Debug, Default)]
struct Counts {
    forged: AtomicU64,
    expired: AtomicU64,
    replayed: AtomicU64,
}

/// Tokens that were used, of both kinds.
#[derive(Debug, Default)]
struct Used {
    retry: Window,
    next: Window,
}

/// The nonces of a lifetime and of the one before it, so many at most.
#[derive(Debug, Default)]
struct Window {
    /// Number of the lifetime since 1970.
    number: u64,
    now: FxHashSet<u64>,
    before: FxHashSet<u64>,
}

/// One token's key.
struct TokenAead {
    key: Box<dyn AeadKey>,
    nonce: u64,
    shared: Arc<Shared>,
}

impl TokenKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let key = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(key);
        Self(Arc::new(Shared { key, used: Mutex::default(), counts: Counts::default() }))
    }

    /// Tokens that were not ours or were changed, that were too old, and that came a second time.
    pub(crate) fn refused(&self) -> [u64; 3] {
        let Counts { forged, expired, replayed } = &self.0.counts;
        [forged, expired, replayed].map(|count| count.load(Ordering::Relaxed))
    }
}

impl HandshakeTokenKey for TokenKey {
    fn aead_from_hkdf(&self, nonce: &[u8]) -> Box<dyn AeadKey> {
        let first = nonce.first_chunk().copied().unwrap_or_default();
        Box::new(TokenAead {
            key: self.0.key.aead_from_hkdf(nonce),
            nonce: u64::from_le_bytes(first),
            shared: self.0.clone(),
        })
    }
}

impl AeadKey for TokenAead {
    fn seal(&self, data: &mut Vec<u8>, additional: &[u8]) -> Result<(), CryptoError> {
        self.key.seal(data, additional)
    }

    // req: 9000-8.1.4-not-forged
    fn open<'a>(&self, data: &'a mut [u8], additional: &[u8]) -> Result<&'a mut [u8], CryptoError> {
        let Ok(token) = self.key.open(data, additional) else {
            self.shared.counts.forged.fetch_add(1, Ordering::Relaxed);
            return Err(CryptoError);
        };
        match self.shared.judge(token, self.nonce, SystemTime::now()) {
            Verdict::First => Ok(token),
            Verdict::Expired => {
                // The engine looks at the time, too, and answers.
                self.shared.counts.expired.fetch_add(1, Ordering::Relaxed);
                Ok(token)
            }
            Verdict::Replayed => {
                self.shared.counts.replayed.fetch_add(1, Ordering::Relaxed);
                Err(CryptoError)
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    First,
    Expired,
    Replayed,
}

impl Shared {
    /// `token`: what the engine wrote, its kind first and the seconds of its time last.
    fn judge(&self, token: &[u8], nonce: u64, now: SystemTime) -> Verdict {
        let (Some(kind), Some(seconds)) = (token.first(), token.last_chunk()) else {
            return Verdict::Expired;
        };
        let lifetime = if *kind == RETRY { RETRY_LIFETIME } else { NEXT_LIFETIME };
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let issued = Duration::from_secs(u64::from_be_bytes(*seconds));
        if issued.saturating_add(lifetime) < since(now) {
            return Verdict::Expired;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let window = if *kind == RETRY { &mut used.retry } else { &mut used.next };
        let number = since(now).as_secs() / lifetime.as_secs();
        if window.is_first(nonce, number) { Verdict::First } else { Verdict::Replayed }
    }
}

impl Window {
    // req: 9000-8.1.4-once
    /// Whether this nonce is new. When there is no room to remember it, it counts as used: that costs its client the round
    /// trip of a Retry, the other way would let it be used for ever.
    fn is_first(&mut self, nonce: u64, number: u64) -> bool {
        if number > self.number {
            let now = mem::take(&mut self.now);
            self.before = if number == self.number + 1 { now } else { FxHashSet::default() };
            self.number = number;
        }
        if self.before.contains(&nonce) || self.now.len() >= MOST_USED {
            return false;
        }
        self.now.insert(nonce)
    }
}

/// The engine's own register of tokens for next time; [`TokenKey`] has looked already.
pub(crate) struct Looked;

impl TokenLog for Looked {
    fn check_and_insert(&self, _: u128, _: SystemTime, _: Duration) -> Result<(), TokenReuseError> {
        Ok(())
    }
}

/// The first byte of a Retry's token.
const RETRY: u8 = 0;

/// Tokens of one kind that are remembered in a lifetime, some 2 MiB of them.
const MOST_USED: usize = 1 << 17;

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_secs(1_800_000_000);

    fn token(kind: u8, issued: Duration) -> Vec<u8> {
        [&[kind, 0, 127, 0, 0, 1][..], &issued.as_secs().to_be_bytes()].concat()
    }

    fn judge(key: &TokenKey, kind: u8, age: Duration, nonce: u64) -> Verdict {
        key.0.judge(&token(kind, AT - age), nonce, UNIX_EPOCH + AT)
    }

    #[test]
    // req: 9000-8.1.4-once
    fn a_token_counts_once_and_while_it_lives() {
        let key = TokenKey::new(&[1; 32]);
        for (kind, lifetime) in [(RETRY, RETRY_LIFETIME), (1, NEXT_LIFETIME)] {
            assert_eq!(judge(&key, kind, lifetime, 7), Verdict::First);
            assert_eq!(judge(&key, kind, lifetime, 7), Verdict::Replayed);
            assert_eq!(judge(&key, kind, lifetime, 8), Verdict::First);
            assert_eq!(judge(&key, kind, lifetime + Duration::from_secs(1), 9), Verdict::Expired);
        }
    }

    #[test]
    // req: 9000-8.1.4-not-forged
    fn a_token_with_any_bit_changed_or_under_another_key_does_not_open() {
        let (key, other) = (TokenKey::new(&[1; 32]), TokenKey::new(&[2; 32]));
        let mut sealed = token(RETRY, AT);
        key.aead_from_hkdf(&[3; 16]).seal(&mut sealed, &[]).unwrap();
        let bits = sealed.len() * 8;
        for bit in 0..bits {
            let mut forged = sealed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(key.aead_from_hkdf(&[3; 16]).open(&mut forged, &[]).is_err(), "bit {bit}");
        }
        assert!(key.aead_from_hkdf(&[4; 16]).open(&mut sealed.clone(), &[]).is_err());
        assert!(other.aead_from_hkdf(&[3; 16]).open(&mut sealed.clone(), &[]).is_err());
        assert_eq!(key.refused()[0], bits as u64 + 1);
        assert_eq!(other.refused(), [1, 0, 0]);
    }

    #[test]
    fn what_was_used_is_remembered_for_a_lifetime_and_up_to_a_bound() {
        let mut window = Window::default();
        assert!(window.is_first(1, 10));
        assert!(!window.is_first(1, 11), "of the lifetime before");
        assert!(window.is_first(1, 13), "long ago, when it has expired");
        assert!((2..=MOST_USED as u64).all(|nonce| window.is_first(nonce, 13)));
        assert!(!window.is_first(0, 13), "there is no room to remember it");
        assert!(window.is_first(0, 14));
        assert!(!window.is_first(1, 14));
        assert!(window.now.len() + window.before.len() <= 2 * MOST_USED);
    }
}
