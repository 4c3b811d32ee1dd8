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
