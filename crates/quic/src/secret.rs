//! What outlives the process, so that a restart breaks no token and no connection waits for its idle time-out.

use std::{fmt, net::SocketAddr};

use aws_lc_rs::hmac;
use rand::{Rng, rngs::StdRng};

/// What a server's connection IDs, reset tokens and Retry tokens are made with. Whoever has it can end any connection of
/// which they see an ID (RFC 9000 §21.11), and forge a proof of any address.
#[derive(Clone)]
pub struct Secret([u8; Self::LENGTH]);

impl Secret {
    /// Length, in bytes.
    pub const LENGTH: usize = 32;

    /// From random bytes that were kept.
    pub fn new(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    pub(crate) fn random(rng: &mut StdRng) -> Self {
        Self(rng.random())
    }

    /// That of one listen address: an ID of one listener is none of another's, which has never heard of it and would answer
    /// with a reset that ends the connection (RFC 9000 §10.3).
    // req: 9000-21.11-no-reset-for-a-sibling
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        Self(self.derive(&format!("listener {address}")))
    }

    /// A key for one purpose.
    // req: 9000-10.3.2-hard-to-guess
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), purpose.as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(tag.as_ref());
        key
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    // req: 9000-10.3.2-hard-to-guess
    fn each_purpose_and_each_listener_has_its_own_key_and_always_the_same() {
        let secret = || Secret::new([7; 32]);
        let at = |port: u16| secret().at(([127, 0, 0, 1], port).into());
        assert_eq!(at(443).derive("reset"), at(443).derive("reset"));
        assert_ne!(at(443).derive("reset"), at(444).derive("reset"));
        assert_ne!(at(443).derive("reset"), at(443).derive("token"));
        assert_ne!(at(443).derive("reset"), secret().derive("reset"));
    }
}
