//! What an endpoint has counted since it began; each only grows.

use crate::early::{Outcome, Verdict};

/// Declares the counters and their list from one source, so that neither can miss a field.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Counters of one endpoint.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// Each by its name, what it counts, and how many there were.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name),)+].into_iter()
            }
        }

        impl std::ops::AddAssign for Counters {
            fn add_assign(&mut self, other: Self) {
                $(self.$name = self.$name.wrapping_add(other.$name);)+
            }
        }
    };
}

counters! {
    /// Datagrams that arrived on the socket.
    datagrams_received,
    /// Bytes in them.
    bytes_received,
    /// Turns in which the socket had something.
    batches_received,
    /// Datagrams that left.
    datagrams_sent,
    /// Bytes in them.
    bytes_sent,
    /// System calls that sent them.
    batches_sent,
    /// Times that the socket was full.
    sends_blocked,
    /// Batches that the system refused.
    sends_failed,
    /// Batches that the kernel could not split, so that they went out datagram by datagram.
    segmentation_failures,
    /// Datagrams that the kernel dropped because the socket's receive buffer was full.
    kernel_drops,
    /// Datagrams handed to the worker whose connection they belong to.
    forwarded,
    /// Datagrams lost because that worker's mailbox was full.
    mailbox_dropped,
    /// Datagrams of connections that no living worker has.
    strays_dropped,
    /// Connections that began.
    connections_opened,
    /// Connections that ended.
    connections_closed,
    /// Datagrams of first flights refused: too many connections, or no new ones wanted. A client's
    /// hello may take two.
    refused,
    /// Datagrams of first flights answered with Retry.
    retried,
    /// Times that load switched Retry on; it is on while this is more than the next one.
    retry_switched_on,
    /// Times that Retry went off again.
    retry_switched_off,
    /// First flights with a token that proves their address.
    tokens_accepted,
    /// Tokens that were not ours, or were changed.
    tokens_forged,
    /// Tokens that came too late.
    tokens_expired,
    /// Tokens that were used before, or that could not be remembered.
    tokens_replayed,
    /// Handshakes that began; as many are under way as this is more than the next one.
    handshakes_begun,
    /// Handshakes that ended, in whatever way.
    handshakes_over,
    /// First flights refused because as many handshakes as may be were under way.
    handshakes_refused,
    /// Stateless resets sent.
    resets_sent,
    /// Handshakes given up because they took too long.
    handshakes_timed_out,
    /// Handshakes whose early data (0-RTT) was taken.
    early_data_accepted,
    /// Handshakes whose early data was refused for any reason but those below: an old or unknown ticket, or one whose age
    /// does not fit.
    early_data_rejected,
    /// Handshakes whose early data was refused because its ticket had brought some before.
    early_data_replayed,
    /// Handshakes whose early data was refused because the replay guard had begun too short a time ago, or another
    /// process takes early data under the same keys.
    early_data_waiting,
    /// Handshakes whose early data was refused because the replay guard was full.
    early_data_overflowed,
    /// Changes of a peer's address, those included that a datagram only claimed, and those back.
    migrations,
    /// Those of them that changed the port alone, as a NAT does that forgot.
    rebinds,
    /// New addresses that answered a challenge, and so are the peer's own (RFC 9000 §8.2).
    paths_validated,
    /// New addresses that were given up before they had answered one.
    paths_failed,
    /// Challenges sent without padding, because three times what had come from the new address was less.
    path_challenges_short,
    /// Datagrams held back because three times what had come from their address was less: answers to challenges, and probes.
    path_answers_held,
    /// PATH_CHALLENGE frames sent on connections that have ended.
    path_challenges_sent,
    /// PATH_CHALLENGE frames received on connections that have ended.
    path_challenges_received,
    /// QUIC packets sent on connections that have ended.
    packets_sent,
    /// QUIC packets lost on connections that have ended: declared so by loss detection (RFC 9002).
    packets_lost,
    /// Times that the congestion window was cut, on connections that have ended.
    congestion_events,
}

impl Counters {
    pub(crate) fn note_early(&mut self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::NotOffered => return,
            Outcome::Accepted => &mut self.early_data_accepted,
            Outcome::Refused(Some(Verdict::Replayed)) => &mut self.early_data_replayed,
            Outcome::Refused(Some(Verdict::Young)) => &mut self.early_data_waiting,
            Outcome::Refused(Some(Verdict::Full)) => &mut self.early_data_overflowed,
            Outcome::Refused(Some(Verdict::Fresh) | None) => &mut self.early_data_rejected,
        };
        *counter += 1;
    }
}
