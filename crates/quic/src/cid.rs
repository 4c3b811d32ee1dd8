//! Connection IDs that carry, enciphered, which process and which worker they belong to.
//!
//! The cipher is small enough for a classic BPF program (`steer.rs`), so that the kernel hands a
//! datagram to the right socket; what it cannot, a worker reads here and forwards. It hides the
//! worker from onlookers and makes IDs of one connection unrelated to the eye; it is no
//! authentication (`docs/adr/0002`).
//!
//! # Layout
//! ```text
//! Connection ID { Nonce (32), Generation (8), Worker (8), Zero (16) }   enciphered as 8 bytes
//! ```

use std::{fmt, sync::Arc};

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};

/// Length of our connection IDs, in bytes.
pub(crate) const LENGTH: usize = 8;

/// What a connection ID says about its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// Which process, counted up by each binary upgrade.
    pub(crate) generation: u8,
    /// Which worker of it.
    pub(crate) worker: u8,
}

/// The secret of a group of workers: a Feistel network of four rounds over two halves of 32 bits.
#[derive(Clone)]
pub(crate) struct Cipher {
    pub(crate) rounds: [Round; 4],
}

/// One round's secret constants; both factors are odd, so that multiplying loses nothing.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    pub(crate) mask: u32,
    pub(crate) first: u32,
    pub(crate) second: u32,
}

/// Shifts of the round function.
pub(crate) const SHIFTS: (u32, u32) = (15, 13);

impl Cipher {
    pub(crate) fn new(rng: &mut impl RngCore) -> Self {
        let mut round = || Round {
            mask: rng.random(),
            first: rng.random::<u32>() | 1,
            second: rng.random::<u32>() | 1,
        };
        Self { rounds: [round(), round(), round(), round()] }
    }

    /// The connection ID of a route; different for each nonce.
    pub(crate) fn seal(&self, nonce: u32, route: Route) -> [u8; LENGTH] {
        let route = u32::from(route.generation) << 24 | u32::from(route.worker) << 16;
        let (mut left, mut right) = (nonce, route);
        // req: 9000-5.1-ids-unlinkable
        for round in &self.rounds {
            (left, right) = (right, left ^ round.mix(right));
        }
        join(left, right)
    }

    /// The route in a connection ID, or `None` when it cannot be one of ours.
    ///
    /// One in 65,536 of those that clients choose passes; whoever gets its datagram by mistake
    /// handles it as any other first flight.
    pub(crate) fn open(&self, cid: [u8; LENGTH]) -> Option<Route> {
        let (mut left, mut right) = split(cid);
        for round in self.rounds.iter().rev() {
            (left, right) = (right ^ round.mix(left), left);
        }
        let [generation, worker, 0, 0] = right.to_be_bytes() else { return None };
        Some(Route { generation, worker })
    }

    /// The route of a datagram, by the connection ID of its first packet (RFC 8999 §5).
    pub(crate) fn route(&self, datagram: &[u8]) -> Option<Route> {
        let is_long = datagram.first()? & 0x80 != 0;
        let cid = match is_long {
            true if *datagram.get(5)? as usize == LENGTH => datagram.get(6..)?,
            true => return None,
            false => datagram.get(1..)?,
        };
        self.open(*cid.first_chunk()?)
    }
}

impl Round {
    /// The round function: what classic BPF can compute, too.
    fn mix(&self, half: u32) -> u32 {
        let mut x = (half ^ self.mask).wrapping_mul(self.first);
        x ^= x >> SHIFTS.0;
        x = x.wrapping_mul(self.second);
        x ^ x >> SHIFTS.1
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(secret)")
    }
}

/// Issues connection IDs of one route.
pub(crate) struct Generator {
    cipher: Arc<Cipher>,
    route: Route,
    rng: StdRng,
}

impl Generator {
    pub(crate) fn new(cipher: Arc<Cipher>, route: Route, seed: [u8; 32]) -> Self {
        Self { cipher, route, rng: StdRng::from_seed(seed) }
    }
}

impl ConnectionIdGenerator for Generator {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.cipher.seal(self.rng.random(), self.route))
    }

    fn validate(&self, cid: &ConnectionId) -> Result<(), InvalidCid> {
        let cid = cid.first_chunk().filter(|_| cid.len() == LENGTH).ok_or(InvalidCid)?;
        self.cipher.open(*cid).map(|_| ()).ok_or(InvalidCid)
    }

    fn cid_len(&self) -> usize {
        LENGTH
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

fn split(cid: [u8; LENGTH]) -> (u32, u32) {
    let both = u64::from_be_bytes(cid);
    ((both >> 32) as u32, both as u32)
}

fn join(left: u32, right: u32) -> [u8; LENGTH] {
    (u64::from(left) << 32 | u64::from(right)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn cipher(seed: u64) -> Cipher {
        Cipher::new(&mut StdRng::seed_from_u64(seed))
    }

    #[test]
    fn every_route_comes_back_from_its_connection_id() {
        let cipher = cipher(1);
        for worker in 0..=u8::MAX {
            let route = Route { generation: worker.wrapping_mul(7), worker };
            for nonce in [0, 1, 0x8000_0000, u32::MAX] {
                assert_eq!(cipher.open(cipher.seal(nonce, route)), Some(route));
            }
        }
    }

    #[test]
    // req: 9000-5.1-ids-unlinkable
    fn ids_of_one_worker_share_no_byte_position_that_gives_it_away() {
        let cipher = cipher(2);
        let route = Route { generation: 0, worker: 3 };
        for position in 0..LENGTH {
            let seen: HashSet<u8> =
                (0..256).map(|nonce| cipher.seal(nonce, route)[position]).collect();
            assert!(seen.len() > 64, "byte {position} takes {} values", seen.len());
        }
    }

    #[test]
    fn an_id_of_another_secret_passes_once_in_65536_at_most() {
        let (ours, theirs) = (cipher(3), cipher(4));
        let route = Route { generation: 0, worker: 0 };
        let passed = (0..65_536).filter(|&nonce| ours.open(theirs.seal(nonce, route)).is_some());
        let passed = passed.count();
        assert!(passed <= 8, "{passed} of 65536 foreign IDs passed the check");
    }

    #[test]
    fn the_route_is_read_from_short_and_long_headers_and_from_nothing_else() {
        let cipher = cipher(5);
        let route = Route { generation: 1, worker: 2 };
        let cid = cipher.seal(9, route);
        let short = [&[0x40][..], &cid, b"rest"].concat();
        let long = [&[0xc0, 0, 0, 0, 1, 8][..], &cid, b"rest"].concat();
        assert_eq!(cipher.route(&short), Some(route));
        assert_eq!(cipher.route(&long), Some(route));
        assert_eq!(cipher.route(&short[..8]), None, "one byte short");
        assert_eq!(cipher.route(&long[..13]), None, "one byte short");
        assert_eq!(cipher.route(&[]), None);
        let other_length = [&[0xc0, 0, 0, 0, 1, 9][..], &cid, b"rest"].concat();
        assert_eq!(cipher.route(&other_length), None);
    }
}
