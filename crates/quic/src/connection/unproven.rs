//! What a client gets before it has shown that its address is its own: three times what came from it, not a byte more
//! (RFC 9000 §8.1).
//!
//! The engine lets a whole datagram begin while one byte of that is left, so that up to 3.19 times as much leaves. Here it is
//! asked for datagrams only while there is room for full ones. It is a token of ours, or a packet under handshake keys, that
//! shows the address.

use super::Connection;

/// What has come and what has left so far, in bytes of UDP payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unproven {
    received: u64,
    sent: u64,
}

impl Unproven {
    fn room(self) -> u64 {
        (FACTOR * self.received).saturating_sub(self.sent)
    }
}

impl Connection {
    /// The client has proven nothing yet, and its first datagram had so many bytes.
    pub(crate) fn limit_unproven(&mut self, bytes: usize) {
        self.unproven = Some(Unproven { received: bytes as u64, sent: 0 });
    }

    /// A datagram of so many bytes came for this connection, whatever is in it.
    pub(crate) fn note_received(&mut self, bytes: usize) {
        if let Some(unproven) = &mut self.unproven {
            unproven.received += bytes as u64;
        }
    }

    /// How many of `datagrams` may be made now; `None` until more has come.
    // req: 9000-8.1-three-times
    pub(crate) fn allow_unproven(&mut self, datagrams: usize) -> Option<usize> {
        let Some(unproven) = self.unproven else { return Some(datagrams) };
        let path = self.handshake.as_ref().and_then(|handshake| handshake.path.as_deref());
        // req: 9000-8.1-handshake-packet-proves
        if path.is_some_and(|path| path.is_proven()) {
            self.unproven = None;
            return Some(datagrams);
        }
        let mtu = u64::from(self.engine.current_mtu()).max(1);
        let full = usize::try_from(unproven.room() / mtu).unwrap_or(usize::MAX);
        (full > 0).then(|| datagrams.min(full))
    }

    /// So many bytes left.
    pub(super) fn spend_unproven(&mut self, bytes: usize) {
        if let Some(unproven) = &mut self.unproven {
            unproven.sent += bytes as u64;
        }
    }
}

/// RFC 9000 §8.1.
const FACTOR: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    // req: 9000-8.1-three-times
    fn there_is_room_for_three_times_what_came_and_none_behind_it() {
        let at = |received, sent| Unproven { received, sent }.room();
        assert_eq!(at(1200, 0), 3600);
        assert_eq!(at(1200, 3599), 1);
        assert_eq!(at(1200, 3600), 0);
        assert_eq!(at(1200, 3700), 0);
        assert_eq!(at(2400, 3600), 3600);
    }
}
