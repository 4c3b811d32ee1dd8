//! Addresses that a server has heard from and that are not the client's: what may go there in answer.
//!
//! A PATH_CHALLENGE is answered where it came from (RFC 9000 §8.2.2), by a datagram of 1200 bytes. Whoever has a connection could
//! have that sent to anybody for forty bytes with a forged source.

use std::net::SocketAddr;

/// What may still go to each, in bytes; the addresses heard from last.
#[derive(Debug, Default)]
pub(super) struct Elsewhere(Vec<(SocketAddr, u64)>);

impl Elsewhere {
    /// So many bytes came from there.
    pub(super) fn arrived(&mut self, from: SocketAddr, bytes: u64) {
        let allowance = FACTOR * bytes;
        match self.0.iter_mut().find(|(address, _)| *address == from) {
            Some((_, room)) => *room = room.saturating_add(allowance),
            None => {
                if self.0.len() == MOST {
                    self.0.remove(0);
                }
                self.0.push((from, allowance));
            }
        }
    }

    /// Counts what wants to go there; false when it is too much, and must not.
    // req: 9000-8.2.2-limit
    pub(super) fn spend(&mut self, to: SocketAddr, bytes: usize) -> bool {
        let Some((_, room)) = self.0.iter_mut().find(|(address, _)| *address == to) else {
            return false;
        };
        let left = room.checked_sub(bytes as u64);
        *room = left.unwrap_or(*room);
        left.is_some()
    }

    /// It is the client's now, or may be.
    pub(super) fn forget(&mut self, address: SocketAddr) {
        self.0.retain(|(known, _)| *known != address);
    }
}

/// RFC 9000 §8.1.
const FACTOR: u64 = 3;

/// More than the engine keeps challenges for: what is held back fills its congestion window until it counts as lost.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    // req: 9000-8.2.2-limit
    fn three_times_what_came_may_go_back_and_nothing_to_who_said_nothing() {
        let [one, other]: [SocketAddr; 2] =
            ["192.0.2.1:1", "192.0.2.1:2"].map(|a| a.parse().unwrap());
        let mut elsewhere = Elsewhere::default();
        elsewhere.arrived(one, 400);
        assert!(!elsewhere.spend(other, 1));
        assert!(!elsewhere.spend(one, 1201));
        assert!(elsewhere.spend(one, 1200));
        assert!(!elsewhere.spend(one, 1));
        elsewhere.arrived(one, 1);
        assert!(elsewhere.spend(one, 3));
        elsewhere.forget(one);
        elsewhere.arrived(other, 1);
        assert!(!elsewhere.spend(one, 1));
    }

    #[test]
    fn only_the_last_addresses_are_remembered() {
        let mut elsewhere = Elsewhere::default();
        let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
        (0..=MOST as u16).for_each(|port| elsewhere.arrived(address(port), 1));
        assert_eq!(elsewhere.0.len(), MOST);
        assert!(!elsewhere.spend(address(0), 1));
        assert!(elsewhere.spend(address(1), 1));
    }
}
