//! What the engine holds of streams that nobody can read yet, counted from above.
//!
//! The engine puts data that came out of order aside, chunk by chunk, and does not tell how much of it there is. The STREAM
//! frames pass here on their way to it. What a frame brings is charged until the stream has been read beyond everything that
//! came at that time.
//!
//! ```text
//!  open streams:   bytes that wait  +  entries of the most chunks that waited at a time
//!  ended streams:                      the same entries: the engine keeps their room for its next streams
//! ```

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Mutex, PoisonError},
};

use rustc_hash::FxHashMap;

use super::path::Frames;

/// One connection's.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    streams: FxHashMap<u64, Stream>,
    /// Of `streams`.
    total: u64,
    /// Of `streams`: what flow control counts.
    unread: u64,
    kept: Kept,
    /// Bytes that were read: what it was of use for.
    read: u64,
    /// Streams that were first heard of since anybody looked whether they are open.
    fresh: Vec<u64>,
}

/// A stream is charged in two rounds. The older one is over when all that had come by its end has been read: so the charge
/// ends on a stream, too, that is never without a gap.
#[derive(Debug, Default)]
struct Stream {
    /// Where the application is.
    read: u64,
    /// Where the data ends that has come.
    top: u64,
    /// Where it ended when the older round did.
    mark: u64,
    older: Round,
    newer: Round,
    /// Chunks that waited at a time.
    most: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Round {
    bytes: u64,
    chunks: u32,
}

impl Stream {
    /// Up to where its data ends, gaps included (RFC 9000 §4.1).
    fn unread(&self) -> u64 {
        self.top.saturating_sub(self.read)
    }

    fn charge(&self) -> u64 {
        self.older.bytes + self.newer.bytes + entries(self.most)
    }

    fn came(&mut self, end: u64, bytes: u64) {
        // The engine drops what has been read before.
        if end > self.read {
            self.top = self.top.max(end);
            self.newer.bytes = self.newer.bytes.saturating_add(bytes);
            self.newer.chunks = self.newer.chunks.saturating_add(1);
            self.most = self.most.max(self.older.chunks.saturating_add(self.newer.chunks));
        }
    }

    fn was_read(&mut self, bytes: u64) {
        self.read = self.read.saturating_add(bytes);
        if self.read >= self.top {
            (self.older, self.newer, self.mark) = Default::default();
            self.mark = self.top;
        } else if self.read >= self.mark {
            (self.older, self.newer) = (self.newer, Round::default());
            self.mark = self.top;
        }
    }
}

/// The room for chunks of streams that have ended: the engine has as many of them as streams may be open, and gives each
/// to another stream. So it is that of the largest.
#[derive(Debug, Default)]
struct Kept {
    most: BinaryHeap<Reverse<u32>>,
    total: u64,
}

impl Kept {
    fn add(&mut self, chunks: u32, streams: usize) {
        if chunks < FEW {
            return;
        }
        self.most.push(Reverse(chunks));
        self.total += entries(chunks);
        while self.most.len() > streams.max(1)
            && let Some(Reverse(least)) = self.most.pop()
        {
            self.total = self.total.saturating_sub(entries(least));
        }
    }
}

/// Bytes of so many entries, in a list that doubles when it grows, from whatever length it was made with last.
fn entries(chunks: u32) -> u64 {
    match chunks {
        0 => 0,
        chunks => u64::from(chunks.min(MOST)).saturating_mul(2).max(4) * ENTRY,
    }
}

impl Held {
    /// The frames of a packet that was opened.
    pub(super) fn on_received(&self, frames: &[u8]) {
        let mut state = None;
        // What is put aside keeps the whole packet: its first frame pays for that.
        let mut packet = frames.len() as u64 + PACKET;
        each(frames, |id, end, length| {
            let bytes = length.max(std::mem::take(&mut packet));
            state.get_or_insert_with(|| self.state()).change(id, true, |s| s.came(end, bytes));
        });
    }

    /// The application has read so many bytes of a stream.
    pub(crate) fn was_read(&self, id: u64, bytes: u64) {
        let mut state = self.state();
        state.read = state.read.saturating_add(bytes);
        state.change(id, false, |stream| stream.was_read(bytes));
    }

    /// The engine holds no data of it any more; `streams` may be open at a time. What was unread of it.
    pub(crate) fn is_over(&self, id: u64, streams: usize) -> u64 {
        let state = &mut *self.state();
        let Some(stream) = state.streams.remove(&id) else { return 0 };
        state.total = state.total.saturating_sub(stream.charge());
        state.unread = state.unread.saturating_sub(stream.unread());
        state.kept.add(stream.most, streams);
        stream.unread()
    }

    /// Streams that may be none: what comes late for one that is over is dropped by the engine.
    pub(crate) fn take_fresh(&self) -> Vec<u64> {
        let state = &mut *self.state();
        let fresh = std::mem::take(&mut state.fresh);
        let is_charged = |id: &u64| state.streams.get(id).is_some_and(|s| s.charge() > 0);
        fresh.into_iter().filter(is_charged).collect()
    }

    /// Bytes that are held at most.
    pub(crate) fn total(&self) -> u64 {
        let state = self.state();
        state.total.saturating_add(state.kept.total)
    }

    /// Credit of the connection's flow control that was used and not given back.
    pub(crate) fn unread(&self) -> u64 {
        self.state().unread
    }

    /// Gives back memory that only a busy connection needs.
    pub(crate) fn rest(&self) {
        let state = &mut *self.state();
        state.streams.shrink_to_fit();
        state.fresh.shrink_to_fit();
    }

    /// Bytes that have been read.
    pub(crate) fn read(&self) -> u64 {
        self.state().read
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn change(&mut self, id: u64, may_begin: bool, change: impl FnOnce(&mut Stream)) {
        let Self { streams, total, unread, fresh, .. } = self;
        let stream = match streams.entry(id) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) if may_begin => {
                fresh.push(id);
                entry.insert(Stream::default())
            }
            std::collections::hash_map::Entry::Vacant(_) => return,
        };
        let before = (stream.charge(), stream.unread());
        change(stream);
        *total = total.saturating_sub(before.0).saturating_add(stream.charge());
        *unread = unread.saturating_sub(before.1).saturating_add(stream.unread());
    }
}

/// Hands id, end and length of each STREAM frame to `take`, up to the first frame that cannot be read: the engine closes the
/// connection for that.
fn each(frames: &[u8], mut take: impl FnMut(u64, u64, u64)) {
    let mut rest = Frames(frames);
    loop {
        // A datagram of a handshake is PADDING for the most part.
        let padding = rest.0.iter().take_while(|&&byte| byte == PADDING).count();
        rest.0 = rest.0.get(padding..).unwrap_or_default();
        let mut ahead = Frames(rest.0);
        match ahead.varint() {
            None => return,
            Some(kind @ 0x08..=0x0f) => {
                let Some((id, end, length)) = stream(&mut ahead, kind) else { return };
                take(id, end, length);
                rest = ahead;
            }
            Some(_) if rest.next_frame().is_some() => {}
            Some(_) => return,
        }
    }
}

/// A STREAM frame behind its type (RFC 9000 §19.8).
fn stream(frames: &mut Frames<'_>, kind: u64) -> Option<(u64, u64, u64)> {
    let id = frames.varint()?;
    let offset = if kind & 4 != 0 { frames.varint()? } else { 0 };
    let length = if kind & 2 != 0 { frames.varint()? } else { frames.0.len() as u64 };
    frames.skip(usize::try_from(length).ok()?)?;
    Some((id, offset.saturating_add(length), length))
}

/// A frame of one byte (RFC 9000 §19.1).
const PADDING: u8 = 0;

/// An entry of the engine's list of chunks: 56 bytes, and an eighth of it for what allocators round up.
const ENTRY: u64 = 64;

/// What a packet costs beside its bytes, when a part of it is put aside.
const PACKET: u64 = 64;

/// Chunks that wait on one stream: the engine merges them above that, or ends the connection.
const MOST: u32 = 2 * 1024 + 1;

/// Room for fewer chunks is not looked after when their stream has ended: 1 KiB for each stream that may be open.
const FEW: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(id: u8, offset: u8, data: &[u8]) -> Vec<u8> {
        [&[0x0e, id, offset, data.len() as u8][..], data].concat()
    }

    #[test]
    fn every_form_of_a_stream_frame_is_found_behind_others() {
        for (frames, expected) in [
            (&[0, 0, 0x01, 0, 0x0e, 4, 9, 2, 7, 7, 0][..], &[(4, 11, 2)][..]),
            (&[0x0a, 4, 2, 7, 7, 0x0f, 8, 1, 0], &[(4, 2, 2), (8, 1, 0)]),
            (&[0x0c, 4, 9, 7, 7, 7], &[(4, 12, 3)]),
            (&[0x08, 4, 7, 7], &[(4, 2, 2)]),
            (&[0x40, 0x08, 4, 7], &[(4, 1, 1)]),
            (&[0x0e, 4, 9, 5, 7], &[]),
            (&[0x1c, 0, 0, 0, 0x0a, 4, 1, 7], &[]),
        ] {
            let mut found = Vec::new();
            each(frames, |id, end, length| found.push((id, end, length)));
            assert_eq!(found, expected, "{frames:x?}");
        }
    }

    #[test]
    fn what_is_behind_a_gap_is_charged_until_it_has_been_read() {
        let held = Held::default();
        held.on_received(&frame(0, 10, &[7; 5]));
        held.on_received(&frame(0, 20, &[7; 5]));
        assert_eq!(held.total(), 2 * (9 + PACKET) + entries(2), "two packets of nine bytes");
        assert_eq!(held.unread(), 25, "gaps included");
        held.on_received(&frame(0, 0, &[7; 20]));
        held.was_read(0, 25);
        assert_eq!((held.total(), held.read()), (entries(3), 25), "the room for chunks stays");
        assert_eq!(held.unread(), 0);
        held.on_received(&frame(0, 3, &[7; 5]));
        assert_eq!(held.total(), entries(3), "it has been read before");
    }

    #[test]
    fn a_stream_that_never_is_without_a_gap_is_charged_for_what_is_near_it() {
        let held = Held::default();
        let mut most = 0;
        for at in (0..10_000).map(|step| step * 10) {
            held.state().change(0, true, |stream| stream.came(at + 20, 10));
            held.was_read(0, 10);
            most = most.max(held.total());
        }
        assert!(most <= 6 * 10 + entries(6), "{most}");
    }

    #[test]
    fn a_stream_that_is_over_is_charged_no_more() {
        let held = Held::default();
        held.on_received(&frame(0, 10, &[7; 5]));
        held.on_received(&frame(4, 10, &[7; 5]));
        assert_eq!((held.take_fresh(), held.unread()), (vec![0, 4], 30));
        held.is_over(0, 100);
        assert_eq!(held.unread(), 15);
        assert_eq!((held.total(), held.take_fresh()), (9 + PACKET + 4 * ENTRY, vec![]));
        held.on_received(&frame(0, 10, &[7; 5]));
        assert_eq!(held.take_fresh(), [0], "late, and to be looked at");
    }

    #[test]
    fn the_room_of_ended_streams_is_charged_for_as_many_as_may_be_open() {
        let held = Held::default();
        let end = |id: u64, chunks: u64| {
            let come = |at| held.state().change(id, true, |stream| stream.came(2 * at, 1));
            (1..=chunks).for_each(come);
            held.is_over(id, 3);
        };
        (0..3).for_each(|id| end(id, 100));
        assert_eq!(held.total(), 3 * entries(100));
        end(3, 50);
        assert_eq!(held.total(), 3 * entries(100), "it had the room of another one");
        end(4, 1000);
        assert_eq!(held.total(), 2 * entries(100) + entries(1000));
        end(5, 8);
        assert_eq!(held.total(), 2 * entries(100) + entries(1000), "too few to count");
    }
}
