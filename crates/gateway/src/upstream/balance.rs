//! Which of the backends that may be asked gets a request.
//!
//! To add a policy: its file with a `choose`, its variant of [`Policy`], its arm in [`Policy::choose`]. A policy sees a
//! [`Field`]: one tier of backends with their standing and their weights at this moment. Chance is an argument.

use http::HeaderName;

use super::Wanted;
use super::set::Field;

pub(super) mod hash;
mod least_conn;
pub(super) mod p2c_ewma;
mod random;
mod round_robin;

/// How backends are chosen. Weights count in all but [`Self::RoundRobin`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// One after the other, each as often as the others.
    RoundRobin,
    /// One after the other, each as often as its weight says, its turns spread: smooth weighted round robin.
    #[default]
    Weighted,
    /// By chance.
    Random,
    /// The one with the fewest requests under way for its weight.
    LeastConn,
    /// Of two by chance, the one whose latest answers took less, times its requests under way.
    P2cEwma,
    /// The same one for the same key, as long as it can be asked; when backends come or go, only keys of those move.
    Hash(Key),
}

/// What requests of the same backend have in common. One without it is sent by chance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The client's address.
    Client,
    /// The value of this field.
    Header(HeaderName),
    /// The value of this cookie.
    Cookie(String),
}

impl Policy {
    /// A backend of the field, if any may be asked.
    pub(super) fn choose(
        &self,
        field: Field<'_>,
        wanted: &Wanted<'_>,
        turn: u64,
        chance: &mut Chance,
    ) -> Option<usize> {
        match self {
            Self::RoundRobin => round_robin::choose(field, turn, chance),
            Self::Weighted => round_robin::choose_weighted(field, turn, chance),
            Self::Random => random::choose(field, chance),
            Self::LeastConn => least_conn::choose(field, chance),
            Self::P2cEwma => p2c_ewma::choose(field, chance),
            Self::Hash(key) => match hash::of(key, wanted) {
                Some(hash) => hash::choose(field, hash),
                None => random::choose(field, chance),
            },
        }
    }

    /// As the configuration writes it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::Weighted => "weighted",
            Self::Random => "random",
            Self::LeastConn => "least_conn",
            Self::P2cEwma => "p2c_ewma",
            Self::Hash(Key::Client) => "hash ip",
            Self::Hash(Key::Header(_)) => "hash header",
            Self::Hash(Key::Cookie(_)) => "hash cookie",
        }
    }
}

/// Numbers by chance: SplitMix64, whose state is an argument.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// Below `bound`, which is not 0; the bias is below 2⁻³² for all that is counted here.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or_default()
    }
}

/// Spreads the bits of a number over all of it; the finaliser of SplitMix64.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests;
