//! A worker's place in its group: which connection IDs are its own, and the keys that all share.

use std::sync::Arc;

use aws_lc_rs::hmac;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    Secret,
    cid::{Cipher, Generator, Route},
    mailbox::Mailbox,
    token::TokenKey,
};

/// One worker's place.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) route: Route,
    pub(crate) cipher: Arc<Cipher>,
    pub(crate) mailbox: Mailbox,
    keys: Keys,
    /// Makes the engine's random choices, connection IDs among them.
    seed: [u8; 32],
}

/// Keys that outlive connections: of stateless resets and of Retry tokens.
#[derive(Clone, Debug)]
struct Keys {
    reset: Arc<hmac::Key>,
    token: TokenKey,
}

/// Whose datagram it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Ours, or nobody's: a first flight, for instance.
    Us,
    /// Another worker's.
    Sibling(u8),
    /// Someone's whom we cannot reach; it must not be answered with a reset.
    Absent,
}

impl Place {
    /// Places for `workers` workers, at most 256. All random choices come from `rng`, all keys from `secret`.
    pub(crate) fn group(workers: usize, secret: &Secret, rng: &mut StdRng) -> Vec<Self> {
        let cipher = StdRng::from_seed(secret.derive("connection IDs"));
        let cipher = Arc::new(Cipher::new(&mut { cipher }));
        let keys = Keys::new(secret);
        let mailboxes = Mailbox::group(workers, MAILBOX_CAPACITY);
        let numbered = (0..=u8::MAX).zip(mailboxes);
        numbered
            .map(|(worker, mailbox)| Self {
                route: Route { generation: GENERATION, worker },
                cipher: cipher.clone(),
                mailbox,
                keys: keys.clone(),
                seed: rng.random(),
            })
            .collect()
    }

    /// Whose a datagram is, before the engine sees it: the engine would answer a sibling's with a
    /// stateless reset (RFC 9000 §10.3).
    pub(crate) fn owner(&self, datagram: &[u8]) -> Owner {
        if self.mailbox.workers() == 1 {
            return Owner::Us;
        }
        match self.cipher.route(datagram) {
            None => Owner::Us,
            Some(route) if route == self.route => Owner::Us,
            Some(route) if route.generation != self.route.generation => Owner::Absent,
            Some(route) if usize::from(route.worker) < self.mailbox.workers() => {
                Owner::Sibling(route.worker)
            }
            Some(_) => Owner::Absent,
        }
    }

    /// What the engine has to know for it.
    pub(crate) fn engine_config(&self) -> quinn_proto::EndpointConfig {
        // req: 9000-10.3-reset-what-is-forgotten
        let mut config = quinn_proto::EndpointConfig::new(self.keys.reset.clone());
        let (cipher, route) = (self.cipher.clone(), self.route);
        let mut rng = StdRng::from_seed(self.seed);
        let seed: [u8; 32] = rng.random();
        config
            .cid_generator(move || Box::new(Generator::new(cipher.clone(), route, seed)))
            // req: 9000-6.1-unknown-version
            // req: 9000-5.2.2-short-unknown-version
            .supported_versions(vec![crate::crypto::VERSION_1])
            // req: 9000-8.2.1-unpredictable
            .rng_seed(Some(rng.random()));
        config
    }

    pub(crate) fn token_key(&self) -> &TokenKey {
        &self.keys.token
    }

    /// Which worker of its group it is.
    pub(crate) fn worker(&self) -> u8 {
        self.route.worker
    }
}

impl Keys {
    fn new(secret: &Secret) -> Self {
        let reset = hmac::Key::new(hmac::HMAC_SHA256, &secret.derive("resets"));
        Self { reset: Arc::new(reset), token: TokenKey::new(&secret.derive("tokens")) }
    }
}

/// Counted up by each binary upgrade, which does not exist yet.
const GENERATION: u8 = 0;

/// Datagrams that may wait for a worker: a few batches, 1.5 MB at most on a common path.
const MAILBOX_CAPACITY: usize = 1024;
