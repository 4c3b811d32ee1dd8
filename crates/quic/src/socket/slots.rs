//! Buffers that the kernel fills, and how their contents go on without staying pinned.

use std::{array, io, io::IoSliceMut};

use bytes::BytesMut;
use quinn_udp::{BATCH_SIZE, RecvMeta};

use crate::wire::Datagram;

/// As many buffers as one system call fills, each large enough for any batch of one sender.
#[derive(Debug)]
pub(super) struct Slots {
    buffers: [BytesMut; BATCH_SIZE],
    metas: [RecvMeta; BATCH_SIZE],
    filled: usize,
}

impl Slots {
    /// Calls `receive` with all buffers, each of its full size.
    pub(super) fn receive(
        &mut self,
        receive: impl FnOnce(&mut [IoSliceMut<'_>], &mut [RecvMeta]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        // Only those that were filled can have given their front away.
        self.buffers.iter_mut().take(self.filled).for_each(super::restore);
        let mut buffers = self.buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
        receive(&mut buffers, &mut self.metas)
    }

    /// Appends the datagrams of the first `filled` buffers, each split as it was sent.
    pub(super) fn take(&mut self, filled: usize, datagrams: &mut Vec<Datagram>) {
        self.filled = filled;
        for (buffer, meta) in self.buffers.iter_mut().zip(&self.metas).take(filled) {
            let mut data = if meta.len < OWNED {
                // A few small datagrams must not keep 64 KiB alive while an application holds
                // some bytes of theirs.
                BytesMut::from(&buffer[..meta.len])
            } else {
                buffer.split_to(meta.len)
            };
            let stride = meta.stride.max(1);
            while !data.is_empty() {
                let data = data.split_to(stride.min(data.len()));
                let ecn = meta.ecn.map_or(0, |ecn| ecn as u8);
                datagrams.push(Datagram { remote: meta.addr, local_ip: meta.dst_ip, ecn, data });
            }
        }
    }

    /// Every buffer was filled, so that more may wait.
    pub(super) fn is_full(&self) -> bool {
        self.filled == BATCH_SIZE
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            buffers: array::from_fn(|_| BytesMut::zeroed(SLOT)),
            metas: array::from_fn(|_| RecvMeta::default()),
            filled: 0,
        }
    }
}

/// Size of a buffer, in bytes: the largest that the kernel hands over in one piece.
pub(super) const SLOT: usize = 64 * 1024;

/// From this many bytes on a buffer goes on as it is, without a copy.
const OWNED: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots of which the first `lengths.len()` were filled, in datagrams of `stride` bytes.
    fn filled(lengths: &[usize], stride: usize) -> (Slots, Vec<Datagram>) {
        let (mut slots, mut datagrams) = (Slots::default(), Vec::new());
        fill(&mut slots, lengths, stride, &mut datagrams);
        (slots, datagrams)
    }

    fn fill(slots: &mut Slots, lengths: &[usize], stride: usize, datagrams: &mut Vec<Datagram>) {
        let received = slots.receive(|buffers, metas| {
            assert!(buffers.iter().all(|buffer| buffer.len() == SLOT));
            for (number, length) in lengths.iter().enumerate() {
                buffers[number][..*length].fill(number as u8 + 1);
                (metas[number].len, metas[number].stride) = (*length, stride);
            }
            Ok(lengths.len())
        });
        slots.take(received.unwrap(), datagrams);
    }

    #[test]
    fn a_batch_is_split_as_it_was_sent_and_the_last_may_be_shorter() {
        let (_, datagrams) = filled(&[2500, 1000], 1000);
        let sizes: Vec<_> = datagrams.iter().map(|datagram| datagram.data.len()).collect();
        assert_eq!(sizes, [1000, 1000, 500, 1000]);
        assert_eq!(
            datagrams.iter().map(|datagram| datagram.data[0]).collect::<Vec<_>>(),
            [1, 1, 1, 2]
        );
    }

    #[test]
    fn a_small_datagram_pins_no_more_than_itself() {
        let (_, mut datagrams) = filled(&[1200], 1200);
        assert_eq!(datagrams.pop().unwrap().data.capacity(), 1200);
    }

    #[test]
    fn a_large_batch_goes_on_without_a_copy_and_its_memory_comes_back() {
        let mut slots = Slots::default();
        let memory = slots.buffers[0].as_ptr();
        let mut datagrams = Vec::new();
        fill(&mut slots, &[OWNED], 1024, &mut datagrams);
        assert_eq!(datagrams[0].data.as_ptr(), memory);

        datagrams.clear();
        fill(&mut slots, &[SLOT], 1024, &mut datagrams);
        assert_eq!(datagrams[0].data.as_ptr(), memory, "dropped, so it is used again");

        fill(&mut slots, &[SLOT], 1024, &mut datagrams);
        assert_ne!(datagrams[64].data.as_ptr(), memory, "still held, so it is left alone");
        assert!(datagrams[..64].iter().all(|datagram| datagram.data == [1; 1024][..]));
    }
}
