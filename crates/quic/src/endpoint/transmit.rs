//! Sending: one batch of each touched connection in turn, until all are quiet or the socket is full.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use quinn_proto::Transmit;

use super::{Application, Endpoint};
use crate::{
    Counters,
    wire::{Outgoing, Sent, Wire},
};

/// The buffer that batches are written to, and the batch that a full socket left in it.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    buffer: Vec<u8>,
    waiting: Option<Batch>,
}

/// An [`Outgoing`] whose data is in the buffer of the outbox.
#[derive(Clone, Copy, Debug)]
struct Batch {
    remote: SocketAddr,
    local_ip: Option<IpAddr>,
    ecn: u8,
    size: usize,
    segment: usize,
}

impl Outbox {
    pub(super) fn is_blocked(&self) -> bool {
        self.waiting.is_some()
    }

    /// Sends what waits; false when the socket is still full.
    fn flush(&mut self, wire: &mut impl Wire, counters: &mut Counters) -> bool {
        let Some(batch) = self.waiting.take() else { return true };
        if batch.send(&self.buffer, wire, counters) == Sent::Blocked {
            self.waiting = Some(batch);
        }
        self.waiting.is_none()
    }
}

impl Batch {
    fn new(transmit: &Transmit) -> Self {
        Self {
            // req: 9000-8.2.2-same-path
            remote: transmit.destination,
            local_ip: transmit.src_ip,
            ecn: transmit.ecn.map_or(0, |ecn| ecn as u8),
            size: transmit.size,
            segment: transmit.segment_size.unwrap_or(transmit.size),
        }
    }

    fn send(&self, buffer: &[u8], wire: &mut impl Wire, counters: &mut Counters) -> Sent {
        let Self { remote, local_ip, ecn, size, segment } = *self;
        let sent = wire.send(&Outgoing { remote, local_ip, ecn, data: &buffer[..size], segment });
        match sent {
            Sent::Done => {
                counters.batches_sent += 1;
                counters.datagrams_sent += size.div_ceil(segment.max(1)) as u64;
                counters.bytes_sent += size as u64;
            }
            Sent::Blocked => counters.sends_blocked += 1,
            Sent::Failed => counters.sends_failed += 1,
        }
        sent
    }
}

impl<A: Application> Endpoint<A> {
    /// Sends what the touched connections have, a batch of each in turn.
    ///
    /// What a full socket or the bound of batches leaves is sent by the next turn.
    pub(super) fn transmit(&mut self, now: Instant, wire: &mut impl Wire) {
        let Self { outbox, connections, touched, counters, .. } = self;
        if !outbox.flush(wire, counters) {
            return;
        }
        for _ in 0..BATCHES_EACH {
            let mut is_all_quiet = true;
            for &key in touched.iter() {
                let Some(slot) = connections.get_mut(key) else { continue };
                if slot.is_quiet {
                    continue;
                }
                let connection = &mut slot.connection;
                if let Some((remote, data)) = connection.challenge_due(now) {
                    ask(remote, data, wire, counters);
                }
                let mtu = usize::from(connection.engine.current_mtu()).max(1);
                let segments = wire.max_segments().min(MAX_PAYLOAD / mtu).max(1);
                let segments = connection.allow_unproven(segments);
                let segments = segments.and_then(|most| connection.pace(now, most));
                let Some(segments) = segments.and_then(|most| connection.credit(most)) else {
                    slot.is_quiet = true;
                    continue;
                };
                outbox.buffer.clear();
                let polled = connection.engine.poll_transmit(now, segments, &mut outbox.buffer);
                let Some(transmit) = polled else {
                    connection.note_quiet();
                    slot.is_quiet = true;
                    continue;
                };
                connection.note_sent(transmit.size);
                let (destination, size) =
                    connection.note_destination(transmit.destination, &outbox.buffer);
                counters.path_answers_held += u64::from(size == 0);
                let batch = Batch::new(&Transmit { destination, size, ..transmit });
                if size > 0 && batch.send(&outbox.buffer, wire, counters) == Sent::Blocked {
                    outbox.waiting = Some(batch);
                    return;
                }
                is_all_quiet = false;
            }
            if is_all_quiet {
                return;
            }
        }
    }

    /// Sends an answer that belongs to no connection. A full socket loses it, as the network might.
    pub(super) fn reply(&mut self, transmit: &Transmit, wire: &mut impl Wire) {
        Batch::new(transmit).send(&self.reply, wire, &mut self.counters);
    }
}

/// Sends a challenge beside the batches. A full socket loses it, as the network might.
fn ask(remote: SocketAddr, data: &[u8], wire: &mut impl Wire, counters: &mut Counters) {
    let batch = Batch { remote, local_ip: None, ecn: 0, size: data.len(), segment: data.len() };
    batch.send(data, wire, counters);
    counters.path_challenges_short += 1;
}

/// Batches of one connection in one turn; then the socket is read again before it gets more.
const BATCHES_EACH: usize = 8;

/// The largest payload of UDP over IPv4, in bytes: no batch may be larger, however many segments
/// the kernel would take.
const MAX_PAYLOAD: usize = 65_507;
