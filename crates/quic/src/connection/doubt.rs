//! An address that the peer has not answered from yet: how much may go there, and the short challenge that asks for more.
//!
//! Until it is validated, three times what came from an address may go there (RFC 9000 §8.1, §9.3.1). A client behind a NAT that
//! forgot may say no more than an acknowledgement of forty bytes from its new port before it waits, and the engine's packets
//! are full ones, data and all: with those alone both would wait until the connection is over. But the first packet that the
//! engine makes after a move holds a PATH_CHALLENGE for the address that was left, and nothing else. Without its padding
//! (`crypto/path.rs`) it fits, and goes to both; the answer to it is 1200 bytes long, which is enough for a full packet.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Connection, canonical};
use crate::crypto::PathWatch;

/// What came from the address and what went there, since the peer moved.
#[derive(Debug)]
pub(super) struct Doubt {
    received: u64,
    sent: u64,
    /// Nothing was made since the peer moved.
    is_new: bool,
    /// A sealed challenge without padding.
    short: Vec<u8>,
    asked: u32,
    /// It is time to send it.
    is_due: bool,
    /// When to send it again.
    ask_at: Option<Instant>,
}

impl Doubt {
    /// Of an address from which so many bytes have come, after the doubt of another.
    pub(super) fn new(received: u64, before: Option<Box<Self>>) -> Self {
        // The engine challenges the address that was left if that was valid alone. What was sealed before serves as well.
        let short = before.map_or_else(Vec::new, |before| before.short);
        let is_due = !short.is_empty();
        Self { received, sent: 0, is_new: true, short, asked: 0, is_due, ask_at: None }
    }

    fn allowance(&self) -> u64 {
        (FACTOR * self.received).saturating_sub(self.sent)
    }

    /// Counts what wants to leave; false when it is too much, and must not.
    // req: 9000-9.3-limit
    fn spend(&mut self, bytes: usize) -> bool {
        let is_allowed = bytes as u64 <= self.allowance();
        if is_allowed {
            self.sent += bytes as u64;
        }
        is_allowed
    }
}

impl Connection {
    /// A datagram from there is about to be handled.
    pub(crate) fn note_arrival(&mut self, from: SocketAddr, bytes: usize) {
        let from = canonical(from);
        self.arrived = (from, bytes as u64);
        if from != self.remote && from != self.validated {
            self.elsewhere.arrived(from, bytes as u64);
        } else if let Some(doubt) = self.doubt.as_mut().filter(|_| from == self.remote) {
            doubt.received += bytes as u64;
        }
        if let Some(path) = self.path_watch().filter(|path| path.is_open()) {
            path.arrives(from == self.remote);
        }
    }

    // req: 9000-8.2.1-expand
    /// How many of `datagrams` may be made now; `None` until more has come.
    pub(crate) fn credit(&mut self, datagrams: usize) -> Option<usize> {
        let mtu = u64::from(self.engine.current_mtu());
        let Some(doubt) = &mut self.doubt else { return Some(datagrams) };
        let full = usize::try_from(doubt.allowance() / mtu.max(1)).unwrap_or(usize::MAX);
        let is_new = std::mem::take(&mut doubt.is_new);
        if let Some(path) = self.handshake.as_ref().and_then(|handshake| handshake.path.as_deref())
        {
            path.set_short(full == 0);
        }
        match full {
            0 => is_new.then_some(1),
            full => Some(datagrams.min(full)),
        }
    }

    /// Where the packets that were just made go, and how many of their bytes: less than all of a short one, or none.
    pub(crate) fn note_destination(
        &mut self,
        destination: SocketAddr,
        data: &[u8],
    ) -> (SocketAddr, usize) {
        let Some(path) = self.handshake.as_ref().and_then(|handshake| handshake.path.as_deref())
        else {
            return (destination, data.len());
        };
        let size = path.cut().unwrap_or(data.len()).min(data.len());
        let to = canonical(destination);
        let is_there = to == self.remote;
        if !is_there && to != self.validated && !self.elsewhere.spend(to, size) {
            path.left(false);
            return (destination, 0);
        }
        let Some(doubt) = &mut self.doubt else { return (destination, size) };
        if is_there && doubt.spend(size) {
            path.left(true);
            return (destination, size);
        }
        path.left(false);
        if is_there {
            if size > self.engine.current_mtu().into() {
                // A probe of what this path carries, and no other.
                return (destination, 0);
            }
            // Too much for there, and it may hold what is not made again soon: perhaps the peer is still where it was.
            return (like(self.validated, destination), size);
        }
        if size < data.len() {
            doubt.short = data[..size].to_vec();
            doubt.is_due = true;
        }
        (destination, size)
    }

    /// The short challenge and where it goes, when it is time for it.
    pub(crate) fn challenge_due(&mut self, now: Instant) -> Option<(SocketAddr, &[u8])> {
        let again = (self.engine.rtt() + GRACE) * (1 << self.doubt.as_ref()?.asked.min(MOST_ASKED));
        let doubt = self.doubt.as_mut()?;
        if !std::mem::take(&mut doubt.is_due) || !doubt.spend(doubt.short.len()) {
            return None;
        }
        doubt.asked += 1;
        doubt.ask_at = (doubt.asked < MOST_ASKED).then(|| now + again);
        Some((self.engine.remote_address(), &doubt.short))
    }

    /// When the short challenge is due once more.
    pub(crate) fn asks_at(&self) -> Option<Instant> {
        self.doubt.as_ref()?.ask_at
    }

    /// The time that it waited for has come, if it has: it is asked for the challenge when it transmits.
    pub(crate) fn waiting_over(&mut self, now: Instant) {
        if let Some(doubt) = self.doubt.as_mut().filter(|doubt| doubt.ask_at <= Some(now)) {
            doubt.is_due |= doubt.ask_at.take().is_some();
        }
    }

    pub(super) fn path_watch(&self) -> Option<&PathWatch> {
        self.handshake.as_ref()?.path.as_deref()
    }
}

/// An address in the form that the socket of another wants: one of IPv6 may carry IPv4 as well.
fn like(address: SocketAddr, other: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if other.is_ipv6() => {
            SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
        }
        _ => address,
    }
}

/// RFC 9000 §8.1.
const FACTOR: u64 = 3;

/// Times that a short challenge is sent; two or three are what forty bytes pay for.
const MOST_ASKED: u32 = 3;

/// What an answer takes beside the round trip.
const GRACE: Duration = Duration::from_millis(25);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    // req: 9000-9.3-limit
    fn three_times_what_came_may_go_and_not_a_byte_more() {
        let mut doubt = Doubt::new(40, None);
        assert!(!doubt.spend(1200));
        assert!(doubt.spend(100));
        assert!(!doubt.spend(21));
        assert!(doubt.spend(20));
        assert!(!doubt.spend(1));
        doubt.received += 400;
        assert!(doubt.spend(1200));
        assert!(!doubt.spend(1));
    }

    #[test]
    fn an_address_is_written_as_the_socket_wants_it() {
        let [v4, v6, mapped]: [SocketAddr; 3] =
            ["192.0.2.1:1", "[2001:db8::1]:2", "[::ffff:192.0.2.1]:1"]
                .map(|text| text.parse().unwrap());
        assert_eq!((like(v4, v4), like(v4, v6), like(v6, v6)), (v4, mapped, v6));
    }
}
