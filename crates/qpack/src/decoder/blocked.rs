//! Streams whose section waits for insertions (RFC 9204 §2.2.1).

use std::collections::BTreeSet;

use crate::error::DecompressionFailed;

/// The waiting streams, by what they wait for.
#[derive(Debug)]
pub(super) struct Streams {
    limit: u64,
    /// Required Insert Count and stream. One section of a stream waits at a time, because they come in order.
    waiting: BTreeSet<(u64, u64)>,
}

impl Streams {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, waiting: BTreeSet::new() }
    }

    /// Adds a stream, or refuses it if the limit is reached.
    pub(super) fn block(
        &mut self,
        stream: u64,
        required_insert_count: u64,
        insert_count: u64,
    ) -> Result<(), DecompressionFailed> {
        self.forget(stream);
        // Those that were freed but not yet polled are no longer blocked.
        let blocked = self.waiting.range((insert_count + 1, 0)..).count();
        if blocked as u64 >= self.limit {
            return Err(DecompressionFailed::BlockedStreams(self.limit));
        }
        self.waiting.insert((required_insert_count, stream));
        Ok(())
    }

    /// Takes a stream that no longer waits, with that many insertions here.
    pub(super) fn pop(&mut self, insert_count: u64) -> Option<u64> {
        let &(required, stream) = self.waiting.first()?;
        if required > insert_count {
            return None;
        }
        self.waiting.pop_first();
        Some(stream)
    }

    pub(super) fn forget(&mut self, stream: u64) {
        if !self.waiting.is_empty() {
            self.waiting.retain(|&(_, waiting)| waiting != stream);
        }
    }
}
