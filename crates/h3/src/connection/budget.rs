//! What a peer may waste (RFC 9114 §10.5).
//!
//! An allowance is spent by what has no use and earned back by what has, never above its capacity: a connection that
//! was good for long has no credit for an attack.

use crate::{Config, PeerMisbehaved};

/// The allowances of one connection.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: Allowance,
    resets: Allowance,
}

impl Budget {
    pub(super) const fn new(config: &Config) -> Self {
        Self {
            bytes: Allowance::full(config.flood_budget),
            resets: Allowance::full(config.reset_budget),
        }
    }

    /// A frame or stream of no use, of `bytes` bytes.
    ///
    /// # Errors
    /// [`PeerMisbehaved::Flood`] when nothing is left.
    // req: 9114-10.5-useless-frames
    pub(super) const fn waste(&mut self, bytes: u64) -> Result<(), PeerMisbehaved> {
        if self.bytes.spend(bytes) { Ok(()) } else { Err(PeerMisbehaved::Flood) }
    }

    /// Content or a message, of `bytes` bytes.
    pub(super) fn use_bytes(&mut self, bytes: u64) {
        self.bytes.earn(bytes);
    }

    /// The peer gave a request up, or made us do so.
    ///
    /// # Errors
    /// [`PeerMisbehaved::RapidReset`] when nothing is left.
    // req: 9114-10.5-rapid-reset
    pub(super) const fn give_up(&mut self) -> Result<(), PeerMisbehaved> {
        if self.resets.spend(1) { Ok(()) } else { Err(PeerMisbehaved::RapidReset) }
    }

    /// A request was answered.
    pub(super) fn complete(&mut self) {
        self.resets.earn(1);
    }
}

/// What a frame costs beside its payload, in bytes: looking at it is work.
pub(super) const FRAME: u64 = 64;

/// What an update, an interim response or a stream costs, in bytes: more work.
pub(super) const EXTRA: u64 = 256;

/// What a message earns, in bytes: room for the reserved frames and updates that come with it.
pub(super) const MESSAGE: u64 = 1024;

#[derive(Debug)]
struct Allowance {
    left: u64,
    capacity: u64,
}

impl Allowance {
    const fn full(capacity: u64) -> Self {
        Self { left: capacity, capacity }
    }

    const fn spend(&mut self, amount: u64) -> bool {
        match self.left.checked_sub(amount) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    fn earn(&mut self, amount: u64) {
        self.left = self.left.saturating_add(amount).min(self.capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_spent_to_the_last_and_earned_back_to_its_capacity() {
        let mut allowance = Allowance::full(10);
        assert!(allowance.spend(10));
        assert!(!allowance.spend(1), "nothing is left");
        allowance.earn(100);
        assert!(allowance.spend(10));
        assert!(!allowance.spend(1), "it never exceeds its capacity");
    }
}
