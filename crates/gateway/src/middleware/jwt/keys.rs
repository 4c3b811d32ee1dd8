//! A set of keys (JWKS, RFC 7517), each with the algorithms that it may be used with.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use serde::Deserialize;

/// Keys that verify signatures. Those in a set that do something else, or that are not understood, are left out.
#[derive(Debug)]
pub struct KeySet(Vec<Arc<Key>>);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// It is no JSON, or no set.
    #[error("it is no JSON Web Key Set")]
    Malformed(#[from] serde_json::Error),
    /// More than 64.
    #[error("it has more than 64 keys")]
    TooMany,
    /// None of its keys can verify a signature.
    #[error(
        "none of its keys verifies a signature: RSA from 2048 bits, P-256, P-384 and Ed25519 do"
    )]
    NoKey,
}

/// A key and what it may verify.
pub(super) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a set. Secrets (`oct`) are keys only where `has_secrets`: one that is fetched from a URL is none.
    ///
    /// # Errors
    /// When no key comes of it.
    pub fn parse(json: &[u8], has_secrets: bool) -> Result<Self, KeySetError> {
        let document: Document = serde_json::from_slice(json)?;
        if document.keys.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let jwks = document.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        let keys = jwks.filter_map(|jwk: Jwk| Key::of(&jwk, has_secrets)).map(Arc::new);
        let keys: Vec<_> = keys.collect();
        if keys.is_empty() { Err(KeySetError::NoKey) } else { Ok(Self(keys)) }
    }

    /// The key for a token with this head: the one that it names, or without a name the one that fits. A name is no more
    /// than a hint: the key has to do the algorithm.
    pub(super) fn find(&self, header: &Header) -> Option<Arc<Key>> {
        let fits = |key: &&Arc<Key>| {
            key.does(header.alg) && (header.kid.is_none() || header.kid == key.id)
        };
        let mut fitting = self.0.iter().filter(fits);
        // Among several nobody chooses.
        fitting.next().filter(|_| fitting.next().is_none()).cloned()
    }
}

impl Key {
    fn of(jwk: &Jwk, has_secrets: bool) -> Option<Self> {
        let common = &jwk.common;
        let is_for_signatures =
            common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
        let may_verify = common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !is_for_signatures || !may_verify {
            return None;
        }
        use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512};
        use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
        let possible: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
            AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
                EllipticCurve::P256 => &[ES256],
                EllipticCurve::P384 => &[ES384],
                _ => &[],
            },
            AlgorithmParameters::OctetKeyPair(pair) => match pair.curve {
                EllipticCurve::Ed25519 => &[EdDSA],
                _ => &[],
            },
            AlgorithmParameters::OctetKey(secret) if has_secrets => {
                // RFC 7518 §3.2: a secret is as long as the hash at least.
                match URL_SAFE_NO_PAD.decode(&secret.value).ok()?.len() {
                    ..32 => &[],
                    32..48 => &[HS256],
                    48..64 => &[HS256, HS384],
                    64.. => &[HS256, HS384, HS512],
                }
            }
            _ => &[],
        };
        let wanted = |algorithm: &&Algorithm| {
            let name = common.key_algorithm.as_ref().map(ToString::to_string);
            name.is_none_or(|name| name == format!("{algorithm:?}"))
        };
        let algorithms: Vec<Algorithm> = possible.iter().filter(wanted).copied().collect();
        if algorithms.is_empty() {
            return None;
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        Some(Self { id: common.key_id.clone(), algorithms, key })
    }

    /// Whether it verifies signatures of this algorithm.
    pub(super) fn does(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.key
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, algorithms, key: _ } = self;
        f.debug_struct("Key").field("id", id).field("algorithms", algorithms).finish()
    }
}

const MAX_KEYS: usize = 64;
