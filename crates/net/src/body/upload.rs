//! The slot between an HTTP/3 stream and whoever reads the body that comes on it: a request's on the server, where it is an
//! upload, and a response's at the client.
//!
//! The connection's thread pushes, the body's owner takes; on the server that is the same thread nearly always, so that the
//! lock is not contended. The slot is bounded by its pusher, which stops reading the stream when [`Upload::is_full`] says so
//! and is woken when there is room again: the peer then waits for flow-control credit.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::Error;
use crate::{context::lock, counters::WorkerCounters, limit::MinRate};

/// A body in transit: one for each stream that has content.
pub(crate) struct Upload {
    slot: Mutex<Slot>,
    /// Wakes the connection: there is room, or the reader went away.
    connection: Waker,
    budget: Budget,
    /// `content-length`, when the peer sent one.
    declared: Option<u64>,
    counters: Arc<WorkerCounters>,
}

struct Slot {
    chunks: VecDeque<Bytes>,
    /// Behind `chunks`: small pieces, copied. Each as a chunk of its own would cost far more than it counts, and keep
    /// the datagram alive that it came in.
    gathered: BytesMut,
    /// Of both.
    bytes: usize,
    taken: u64,
    /// Held back until the end says that the message is valid.
    trailers: Option<HeaderMap>,
    end: End,
    reader: Reader,
    /// The pusher waits for room.
    paused: bool,
    /// Another least rate that its reader wants, until the pusher has heard of it.
    rate: Option<Option<MinRate>>,
}

/// How the body goes on after the chunks.
enum End {
    Open,
    Trailers(HeaderMap),
    Clean,
    Failed(Error),
    /// The failure was told.
    Told,
}

enum Reader {
    /// Polls now and then.
    Present,
    /// Polled, found nothing and waits.
    Waiting(Waker),
    /// Dropped the body: what still comes is discarded.
    Gone,
}

impl Upload {
    pub(crate) fn new(
        connection: Waker,
        budget: Budget,
        declared: Option<u64>,
        counters: Arc<WorkerCounters>,
    ) -> Self {
        let slot = Slot {
            chunks: VecDeque::new(),
            gathered: BytesMut::new(),
            bytes: 0,
            taken: 0,
            trailers: None,
            end: End::Open,
            reader: Reader::Present,
            paused: false,
            rate: None,
        };
        Self { slot: Mutex::new(slot), connection, budget, declared, counters }
    }

    // From the connection.

    /// Content arrived.
    pub(crate) fn push(&self, data: Bytes) {
        let mut slot = lock(&self.slot);
        if matches!(slot.reader, Reader::Gone) || data.is_empty() {
            return;
        }
        self.budget.0.waiting.fetch_add(data.len(), Ordering::Relaxed);
        self.counters.queued_upload_bytes.add(data.len() as u64);
        slot.push(data);
        slot.wake_reader();
    }

    /// Trailers arrived; the end follows.
    pub(crate) fn trailers(&self, trailers: HeaderMap) {
        lock(&self.slot).trailers = Some(trailers);
    }

    /// The message is complete and valid.
    pub(crate) fn finish(&self) {
        let mut slot = lock(&self.slot);
        if matches!(slot.end, End::Open) {
            slot.end = slot.trailers.take().map_or(End::Clean, End::Trailers);
        }
        slot.wake_reader();
    }

    /// The message will never be complete. What waits is void: its reader must not take it for the whole.
    pub(crate) fn fail(&self, error: Error) {
        let mut slot = lock(&self.slot);
        if matches!(slot.end, End::Open) {
            self.clear(&mut slot);
            slot.end = End::Failed(error);
        }
        slot.wake_reader();
    }

    /// True when the pusher should stop reading; it is woken when there is room.
    pub(crate) fn is_full(&self) -> bool {
        let mut slot = lock(&self.slot);
        slot.paused = self.budget.is_spent(slot.bytes);
        slot.paused
    }

    /// True when somebody waits for content that has not come.
    pub(crate) fn is_starving(&self) -> bool {
        matches!(lock(&self.slot).reader, Reader::Waiting(_))
    }

    /// True when the body was dropped.
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(lock(&self.slot).reader, Reader::Gone)
    }

    /// Another least rate, if the reader wants one.
    pub(crate) fn take_rate(&self) -> Option<Option<MinRate>> {
        lock(&self.slot).rate.take()
    }

    // From the body.

    pub(crate) fn set_rate(&self, rate: Option<MinRate>) {
        lock(&self.slot).rate = Some(rate);
    }

    pub(crate) fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut slot = lock(&self.slot);
        if let Some(data) = slot.pop() {
            slot.taken += data.len() as u64;
            slot.reader = Reader::Present;
            self.release(data.len());
            // At half, so that the connection is not woken for every chunk.
            let resume = slot.paused && slot.bytes <= self.budget.half();
            if resume {
                slot.paused = false;
            }
            drop(slot);
            if resume {
                self.connection.wake_by_ref();
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match std::mem::replace(&mut slot.end, End::Told) {
            End::Open => {
                slot.end = End::Open;
                slot.reader = Reader::Waiting(cx.waker().clone());
                Poll::Pending
            }
            End::Trailers(trailers) => {
                slot.end = End::Clean;
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            End::Clean => {
                slot.end = End::Clean;
                Poll::Ready(None)
            }
            End::Failed(error) => Poll::Ready(Some(Err(error))),
            End::Told => Poll::Ready(None),
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        let slot = lock(&self.slot);
        slot.bytes == 0 && matches!(slot.end, End::Clean | End::Told)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let slot = lock(&self.slot);
        match (&slot.end, self.declared) {
            (End::Clean | End::Trailers(_), _) => SizeHint::with_exact(slot.bytes as u64),
            (_, Some(declared)) => SizeHint::with_exact(declared.saturating_sub(slot.taken)),
            (_, None) => {
                let mut hint = SizeHint::new();
                hint.set_lower(slot.bytes as u64);
                hint
            }
        }
    }

    /// The body was dropped.
    pub(crate) fn abandon(&self) {
        let mut slot = lock(&self.slot);
        slot.reader = Reader::Gone;
        // A message that came whole leaves the connection nothing to do for its reader's end.
        let is_whole = matches!(slot.end, End::Clean | End::Trailers(_));
        self.clear(&mut slot);
        drop(slot);
        if !is_whole {
            self.connection.wake_by_ref();
        }
    }

    fn clear(&self, slot: &mut Slot) {
        self.release(slot.bytes);
        slot.chunks.clear();
        slot.gathered = BytesMut::new();
        slot.bytes = 0;
    }

    fn release(&self, bytes: usize) {
        self.budget.0.waiting.fetch_sub(bytes, Ordering::Relaxed);
        self.counters.queued_upload_bytes.subtract(bytes as u64);
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let bytes = lock(&self.slot).bytes;
        self.release(bytes);
    }
}

/// How much may wait for the application: in one slot, and in all slots of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Sums>);

#[derive(Debug)]
struct Sums {
    /// The limits, which a reload may change.
    stream: AtomicUsize,
    connection: AtomicUsize,
    waiting: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(stream: usize, connection: usize) -> Self {
        let (stream, connection) = (stream.into(), connection.into());
        Self(Arc::new(Sums { stream, connection, waiting: AtomicUsize::new(0) }))
    }

    /// So much from now on, in all slots that there are.
    pub(crate) fn resize(&self, stream: usize, connection: usize) {
        self.0.stream.store(stream, Ordering::Relaxed);
        self.0.connection.store(connection, Ordering::Relaxed);
    }

    /// What a slot that was full has to be down to before more is taken.
    fn half(&self) -> usize {
        self.0.stream.load(Ordering::Relaxed) / 2
    }

    /// Bytes that wait in all slots.
    pub(crate) fn waiting(&self) -> u64 {
        self.0.waiting.load(Ordering::Relaxed) as u64
    }

    /// An empty slot is always filled, whatever the others hold: its reader may be the only one that reads.
    fn is_spent(&self, bytes: usize) -> bool {
        let [stream, connection, all] = [&self.0.stream, &self.0.connection, &self.0.waiting]
            .map(|sum| sum.load(Ordering::Relaxed));
        bytes >= stream || (bytes > 0 && all >= connection)
    }
}

impl Slot {
    fn push(&mut self, data: Bytes) {
        let is_empty = self.bytes == 0;
        self.bytes += data.len();
        // What comes into an empty slot is taken at once, as a rule.
        if data.len() < MIN_CHUNK && !is_empty {
            if self.gathered.len() + data.len() > MAX_GATHERED {
                self.seal();
            }
            self.gathered.extend_from_slice(&data);
        } else {
            self.seal();
            self.chunks.push_back(data);
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        if self.chunks.is_empty() {
            self.seal();
        }
        let data = self.chunks.pop_front()?;
        self.bytes -= data.len();
        Some(data)
    }

    /// What was gathered is a chunk now.
    fn seal(&mut self) {
        if !self.gathered.is_empty() {
            self.chunks.push_back(std::mem::take(&mut self.gathered).freeze());
        }
    }

    fn wake_reader(&mut self) {
        if let Reader::Waiting(_) = self.reader
            && let Reader::Waiting(waker) = std::mem::replace(&mut self.reader, Reader::Present)
        {
            waker.wake();
        }
    }
}

/// A piece from this size on stays where it is, in bytes.
const MIN_CHUNK: usize = 512;

/// Small pieces gather to chunks of this size, in bytes.
const MAX_GATHERED: usize = 16 * 1024;

#[cfg(test)]
mod tests;
