//! Bytes of one stream on their way to the transport.
//!
//! The queue is short on purpose: a response body is asked for more only when the scheduler serves its stream and
//! the queue has run low, so that what waits, waits in the application.

use std::{sync::Arc, time::Instant};

use bytes::{Buf, Bytes};
use smallvec::SmallVec;
use sterna_quic::{StreamId, Write};

use crate::counters::WorkerCounters;

/// The send side of a stream.
pub(crate) struct Outgoing {
    /// Nearly always one, or a head and what follows.
    chunks: SmallVec<[Bytes; 2]>,
    bytes: usize,
    end: End,
    /// Since when the peer takes nothing although something waits.
    blocked_since: Option<Instant>,
    counters: Arc<WorkerCounters>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// More may follow.
    Open,
    /// FIN follows the queue.
    Queued,
    /// The transport has everything, or the stream was reset.
    Over,
}

/// How a write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The queue is empty.
    Empty,
    /// The transport has everything, FIN included.
    Finished,
    /// The quantum was used up.
    Partial,
    /// The transport takes no more: `Writable` follows.
    Blocked,
    /// There is no stream any more, or the peer stopped it.
    Gone,
}

impl Outgoing {
    pub(crate) fn new(counters: Arc<WorkerCounters>) -> Self {
        Self { chunks: SmallVec::new(), bytes: 0, end: End::Open, blocked_since: None, counters }
    }

    pub(crate) fn push(&mut self, data: Bytes, fin: bool) {
        if self.end != End::Open {
            return;
        }
        if fin {
            self.end = End::Queued;
        }
        if !data.is_empty() {
            self.bytes += data.len();
            self.counters.queued_response_bytes.add_alone(data.len() as u64);
            self.chunks.push(data);
        }
    }

    /// Hands over at most `quantum` bytes; returns how many were taken.
    pub(crate) fn write(
        &mut self,
        quic: &mut sterna_quic::Connection,
        id: StreamId,
        quantum: usize,
        now: Instant,
    ) -> (usize, Progress) {
        let mut taken = 0;
        while self.bytes > 0 {
            if taken >= quantum {
                return (taken, Progress::Partial);
            }
            match self.offer(quic, id, quantum - taken) {
                Write::Taken(0) | Write::Blocked => {
                    self.blocked_since.get_or_insert(now);
                    return (taken, Progress::Blocked);
                }
                Write::Taken(len) => {
                    taken += len;
                    self.taken(len);
                }
                Write::Stopped(_) | Write::Closed => {
                    self.discard();
                    return (taken, Progress::Gone);
                }
            }
        }
        match self.end {
            End::Open => (taken, Progress::Empty),
            End::Queued => {
                quic.finish(id);
                self.end = End::Over;
                (taken, Progress::Finished)
            }
            End::Over => (taken, Progress::Gone),
        }
    }

    /// Offers whole chunks up to `quantum`, or a part of the first one.
    fn offer(&mut self, quic: &mut sterna_quic::Connection, id: StreamId, quantum: usize) -> Write {
        let chunks = self.chunks.as_mut_slice();
        let mut sum = 0;
        let whole = chunks
            .iter()
            .take_while(|chunk| {
                sum += chunk.len();
                sum <= quantum
            })
            .count();
        match chunks {
            [first, ..] if whole == 0 => {
                let mut part = [first.slice(..quantum.min(first.len()))];
                let write = quic.write(id, &mut part);
                if let Write::Taken(len) = write {
                    first.advance(len);
                }
                write
            }
            _ => quic.write(id, &mut chunks[..whole]),
        }
    }

    fn taken(&mut self, len: usize) {
        self.blocked_since = None;
        self.bytes -= len;
        self.counters.queued_response_bytes.subtract_alone(len as u64);
        let empty = self.chunks.iter().take_while(|chunk| chunk.is_empty()).count();
        self.chunks.drain(..empty);
    }

    /// The stream was reset: what waits is void.
    pub(crate) fn discard(&mut self) {
        self.counters.queued_response_bytes.subtract_alone(self.bytes as u64);
        self.chunks.clear();
        self.bytes = 0;
        self.end = End::Over;
        self.blocked_since = None;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn has_work(&self) -> bool {
        self.bytes > 0 || self.end == End::Queued
    }

    pub(crate) fn is_over(&self) -> bool {
        self.end == End::Over
    }

    pub(crate) fn blocked_since(&self) -> Option<Instant> {
        self.blocked_since
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.counters.queued_response_bytes.subtract_alone(self.bytes as u64);
    }
}
