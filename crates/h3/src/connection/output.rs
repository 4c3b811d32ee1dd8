//! Commands that wait for the transport, in order, with what belongs together in one write.
//!
//! Frame headers, field sections and small content of one stream gather in one buffer, so that a small response is one
//! [`Command::Write`]. Large content is never copied: it becomes a write of its own.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::{Code, Command, StreamId};

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Output {
    queue: VecDeque<Command>,
    /// What was written last and may still grow; allocated once and split off again and again.
    buffer: BytesMut,
    /// Whose bytes are in `buffer`.
    open: Option<StreamId>,
    /// How often a buffer was allocated, as far as it counts.
    refills: u8,
}

impl Output {
    /// Where to append bytes of stream `id`.
    pub(super) fn buffer(&mut self, id: StreamId) -> &mut BytesMut {
        if self.open != Some(id) {
            self.seal(false);
            self.open = Some(id);
            if self.buffer.capacity() < MIN_ROOM {
                self.buffer.reserve(FIRST_BUFFER << self.refills);
                self.refills = (self.refills + 1).min(MOST_REFILLS);
            }
        }
        &mut self.buffer
    }

    /// Bytes of stream `id`, copied only if they are few.
    pub(super) fn write(&mut self, id: StreamId, data: Bytes) {
        if data.len() <= MAX_COPIED {
            self.buffer(id).extend_from_slice(&data);
        } else {
            self.push(Command::Write { id, data, fin: false });
        }
    }

    /// Bytes that must leave before whatever `buffer` holds: instructions that a field section in it needs.
    pub(super) fn write_before(&mut self, id: StreamId, data: Bytes) {
        if self.open == Some(id) {
            // The stream's type is in it, as long as nothing else was written.
            return self.buffer.extend_from_slice(&data);
        }
        self.queue.push_back(Command::Write { id, data, fin: false });
    }

    /// The end of our side of stream `id`.
    pub(super) fn finish(&mut self, id: StreamId) {
        if self.open == Some(id) {
            return self.seal(true);
        }
        self.seal(false);
        match self.queue.back_mut() {
            Some(Command::Write { id: last, fin, .. }) if *last == id => *fin = true,
            _ => self.queue.push_back(Command::Write { id, data: Bytes::new(), fin: true }),
        }
    }

    /// RESET_STREAM.
    pub(super) fn reset(&mut self, id: StreamId, code: Code) {
        if self.open == Some(id) {
            self.buffer.clear();
            self.open = None;
        }
        self.push(Command::Reset { id, code });
    }

    /// STOP_SENDING.
    pub(super) fn stop_sending(&mut self, id: StreamId, code: Code) {
        self.push(Command::StopSending { id, code });
    }

    /// Any other command, after everything before it.
    pub(super) fn push(&mut self, command: Command) {
        self.seal(false);
        self.queue.push_back(command);
    }

    /// The next command.
    pub(super) fn poll(&mut self) -> Option<Command> {
        if self.queue.is_empty() {
            self.seal(false);
        }
        self.queue.pop_front()
    }

    /// No command waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.open.is_none()
    }

    /// Gives back what is spare.
    pub(super) fn rest(&mut self) {
        self.queue.shrink_to_fit();
        if self.open.is_none() {
            self.buffer = BytesMut::new();
            self.refills = 0;
        }
    }

    fn seal(&mut self, fin: bool) {
        if let Some(id) = self.open.take() {
            let data = self.buffer.split().freeze();
            self.queue.push_back(Command::Write { id, data, fin });
        }
    }
}

/// Content up to this size is copied behind its frame header, in bytes: one chunk less in the transport is worth more
/// than the copy.
const MAX_COPIED: usize = 512;

/// Size of the first buffer that writes are split off, in bytes. The next ones double up to 4 KiB: most connections are
/// idle after few requests, and what a pause gives back in small pieces is not given back to the system.
const FIRST_BUFFER: usize = 512;

/// Doublings until 4 KiB.
const MOST_REFILLS: u8 = 3;

/// Below this room a new buffer is taken, in bytes, so that a head is not moved as it grows.
const MIN_ROOM: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const A: StreamId = StreamId(0);
    const B: StreamId = StreamId(4);

    fn drain(output: &mut Output) -> Vec<Command> {
        std::iter::from_fn(|| output.poll()).collect()
    }

    fn write(id: StreamId, data: &'static [u8], fin: bool) -> Command {
        Command::Write { id, data: Bytes::from_static(data), fin }
    }

    #[test]
    fn what_belongs_together_leaves_in_one_write() {
        let mut output = Output::default();
        output.buffer(A).extend_from_slice(b"head");
        output.write(A, Bytes::from_static(b"content"));
        output.finish(A);
        output.buffer(B).extend_from_slice(b"other");
        assert_eq!(drain(&mut output), [write(A, b"headcontent", true), write(B, b"other", false)]);
    }

    #[test]
    fn large_content_is_not_copied_and_takes_the_end_along() {
        let content = Bytes::from(vec![7; MAX_COPIED + 1]);
        let mut output = Output::default();
        output.buffer(A).extend_from_slice(b"head");
        output.write(A, content.clone());
        output.finish(A);
        let commands = drain(&mut output);
        let last = Command::Write { id: A, data: content.clone(), fin: true };
        assert_eq!(commands, [write(A, b"head", false), last]);
        let Some(Command::Write { data, .. }) = commands.last() else { panic!("a write") };
        assert_eq!(data.as_ptr(), content.as_ptr(), "the content was copied");
    }

    #[test]
    fn instructions_overtake_the_section_that_needs_them() {
        let mut output = Output::default();
        output.buffer(A).extend_from_slice(b"section");
        output.write_before(B, Bytes::from_static(b"insert"));
        output.finish(A);
        assert_eq!(drain(&mut output), [write(B, b"insert", false), write(A, b"section", true)]);
    }

    #[test]
    fn a_rest_gives_the_buffer_back_but_for_what_is_in_it() {
        let mut output = Output::default();
        output.buffer(A).extend_from_slice(b"half");
        output.rest();
        assert_eq!(drain(&mut output), [write(A, b"half", false)]);
        assert!(output.buffer.capacity() > 0);
        output.rest();
        assert_eq!((output.buffer.capacity(), output.queue.capacity()), (0, 0));
        output.buffer(B).extend_from_slice(b"other");
        assert_eq!(drain(&mut output), [write(B, b"other", false)]);
    }

    #[test]
    fn buffers_grow_with_what_is_written() {
        let mut output = Output::default();
        // What the transport holds is not written over.
        let (mut sizes, mut held) = (Vec::new(), Vec::new());
        for number in 0..400 {
            let (id, before) = (StreamId(4 * number), output.buffer.capacity());
            output.buffer(id).extend_from_slice(&[0; 50]);
            let now = output.buffer.capacity();
            if now > before {
                sizes.push(now);
            }
            held.extend(drain(&mut output));
        }
        assert_eq!((sizes[0], sizes[1], sizes[2]), (512, 1024, 2048), "{sizes:?}");
        assert!(sizes[3..].iter().all(|size| *size == 4096), "{sizes:?}");
    }

    #[test]
    fn a_reset_voids_what_was_gathered() {
        let mut output = Output::default();
        output.buffer(A).extend_from_slice(b"half");
        output.reset(A, Code::InternalError);
        output.buffer(B).extend_from_slice(b"other");
        let reset = Command::Reset { id: A, code: Code::InternalError };
        assert_eq!(drain(&mut output), [reset, write(B, b"other", false)]);
    }
}
