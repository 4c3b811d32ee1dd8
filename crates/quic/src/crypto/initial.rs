//! Keys of Initial packets (RFC 9001 §5.2), derived once for each connection of a server.
//!
//! The engine asks for them twice: to look into a first flight, and again when it makes a connection of it, which is the next
//! thing that it does. So the last ones are kept.

use std::sync::{Mutex, PoisonError};

use quinn_proto::{ConnectionId, crypto::Keys};
use rustls::quic::{Suite, Version};

use super::{
    Level,
    keys::{self, Observer, Plain},
};

/// The suite of Initial packets, and a server's last keys of them.
pub(super) struct Initial {
    suite: Suite,
    last: Mutex<Option<(ConnectionId, Plain)>>,
}

impl Initial {
    pub(super) fn new(suite: Suite) -> Self {
        Self { suite, last: Mutex::new(None) }
    }

    /// For a first flight: nobody is told of what is in it.
    pub(super) fn server_keys(&self, cid: &ConnectionId, version: Version) -> Keys {
        let plain = Plain::from(self.suite.keys(cid, rustls::Side::Server, version));
        let keys = plain.observed(Level::Initial, &None);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((*cid, plain));
        keys
    }

    /// For a connection.
    pub(super) fn keys(
        &self,
        cid: &ConnectionId,
        side: rustls::Side,
        version: Version,
        observer: &Observer,
    ) -> Keys {
        if side == rustls::Side::Server
            && let Some((of, plain)) =
                self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
            && of == *cid
        {
            return plain.observed(Level::Initial, observer);
        }
        keys::pair(self.suite.keys(cid, side, version), Level::Initial, observer, None)
    }
}

#[cfg(test)]
mod tests {
    use quinn_proto::crypto::PacketKey;

    use super::*;

    fn initial() -> Initial {
        let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
        Initial::new(suite.tls13().and_then(|suite| suite.quic_suite()).expect("a suite of QUIC"))
    }

    /// What the key makes of nothing, which tells keys apart.
    fn tag(key: &dyn PacketKey) -> Vec<u8> {
        let mut packet = vec![0; key.tag_len()];
        key.encrypt(0, &mut packet, 0);
        packet
    }

    #[test]
    fn kept_keys_are_those_of_their_connection_id_and_of_no_other() {
        let [ours, other] = [1, 2].map(|byte| ConnectionId::new(&[byte; 8]));
        let keys = |initial: &Initial, cid| {
            let keys = initial.keys(cid, rustls::Side::Server, Version::V1, &None);
            [tag(&*keys.packet.local), tag(&*keys.packet.remote)]
        };
        for cid in [&ours, &other] {
            let initial = initial();
            initial.server_keys(&ours, Version::V1);
            assert_eq!(keys(&initial, cid), keys(&self::initial(), cid));
            assert!(initial.last.lock().unwrap().is_none(), "they serve once");
        }
    }
}
