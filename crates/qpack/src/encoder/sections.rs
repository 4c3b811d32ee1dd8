//! Sections that are out and not yet acknowledged (RFC 9204 §2.1.1, §2.1.4).
//!
//! Entries are evicted oldest first, so of what a section refers to only the oldest entry matters: nothing at or after it
//! may go before the section is acknowledged. A section is therefore three numbers, however many lines it has.

use std::collections::VecDeque;

use crate::error::DecoderStreamError;

/// What is out, and what the peer has.
#[derive(Debug, Default)]
pub(super) struct Sections {
    /// In the order in which they were sent.
    unacknowledged: VecDeque<Unacknowledged>,
    /// How many insertions the peer is known to have: the Known Received Count.
    known_received: u64,
    max_blocked: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unacknowledged {
    stream: u64,
    required_insert_count: u64,
    /// The oldest entry that it refers to.
    oldest: u64,
}

impl Sections {
    /// How many streams may wait for insertions at the peer.
    pub(super) fn set_max_blocked(&mut self, streams: u64) {
        self.max_blocked = streams;
    }

    /// Whether no further section that refers to the dynamic table may be sent.
    pub(super) fn is_full(&self) -> bool {
        self.unacknowledged.len() >= MAX_UNACKNOWLEDGED
    }

    /// Entries before this one may be evicted: they have arrived, and nothing that is out refers to them.
    fn evictable_before(&self) -> u64 {
        // req: 9204-2.1.1-evictable
        let oldest = self.unacknowledged.iter().map(|section| section.oldest).min();
        oldest.unwrap_or(u64::MAX).min(self.known_received)
    }

    /// Whether a section of this stream may refer to what the peer may not have yet.
    fn may_block(&self, stream: u64) -> bool {
        // req: 9204-2.1.2-blocked-streams-limit
        if self.max_blocked == 0 {
            return false;
        }
        let at_risk =
            || self.unacknowledged.iter().filter(|s| s.required_insert_count > self.known_received);
        // Sections are counted, not streams: at most the same, and a stream seldom has two.
        at_risk().any(|section| section.stream == stream)
            || (at_risk().count() as u64) < self.max_blocked
    }

    /// The peer decoded the oldest section of this stream (§4.4.1).
    pub(super) fn acknowledge(&mut self, stream: u64) -> Result<(), DecoderStreamError> {
        // req: 9204-4.4.1-nothing-to-acknowledge
        let section = self
            .unacknowledged
            .iter()
            .position(|section| section.stream == stream)
            .and_then(|at| self.unacknowledged.remove(at))
            .ok_or(DecoderStreamError::NothingToAcknowledge(stream))?;
        // req: 9204-2.1.4-known-received-count
        self.known_received = self.known_received.max(section.required_insert_count);
        Ok(())
    }

    /// The peer will decode no more sections of this stream (§4.4.2), which says nothing about insertions.
    pub(super) fn cancel(&mut self, stream: u64) {
        // req: 9204-2.2.2.2-cancellation-acknowledges-nothing
        self.unacknowledged.retain(|section| section.stream != stream);
    }

    /// The peer received `count` more insertions (§4.4.3).
    pub(super) fn increment(
        &mut self,
        count: u64,
        insert_count: u64,
    ) -> Result<(), DecoderStreamError> {
        // req: 9204-4.4.3-increment
        if count == 0 {
            return Err(DecoderStreamError::ZeroIncrement);
        }
        let received = self.known_received.saturating_add(count);
        if received > insert_count {
            return Err(DecoderStreamError::IncrementBeyondInsertCount {
                received,
                inserted: insert_count,
            });
        }
        self.known_received = received;
        Ok(())
    }
}

/// What the section that is being encoded refers to, on top of those that are out.
#[derive(Debug)]
pub(super) struct References<'a> {
    sections: &'a mut Sections,
    stream: u64,
    required_insert_count: u64,
    oldest: u64,
    /// Whether the stream may block; found out when it first matters.
    may_block: Option<bool>,
}

impl<'a> References<'a> {
    pub(super) fn new(sections: &'a mut Sections, stream: u64) -> Self {
        Self { sections, stream, required_insert_count: 0, oldest: u64::MAX, may_block: None }
    }

    /// Whether the section may refer to this entry.
    pub(super) fn may_refer(&mut self, index: u64) -> bool {
        index < self.sections.known_received
            || *self.may_block.get_or_insert_with(|| self.sections.may_block(self.stream))
    }

    /// The section refers to this entry.
    pub(super) fn add(&mut self, index: u64) {
        // req: 9204-2.1.2-required-insert-count
        self.required_insert_count = self.required_insert_count.max(index + 1);
        self.oldest = self.oldest.min(index);
    }

    /// As [`Sections::evictable_before`], with this section.
    pub(super) fn evictable_before(&self) -> u64 {
        self.sections.evictable_before().min(self.oldest)
    }

    /// Ends the section; its Required Insert Count.
    pub(super) fn finish(self) -> u64 {
        if self.required_insert_count > 0 {
            self.sections.unacknowledged.push_back(Unacknowledged {
                stream: self.stream,
                required_insert_count: self.required_insert_count,
                oldest: self.oldest,
            });
        }
        self.required_insert_count
    }
}

/// Sections that are kept account of: a peer that never acknowledges costs us 24 KiB, and then only compression.
///
/// More than the streams of a busy connection within one round trip.
const MAX_UNACKNOWLEDGED: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    impl Sections {
        /// Nothing is out, and the peer has all that was inserted.
        pub(in crate::encoder) fn assert_settled(&self, insert_count: u64) {
            assert_eq!(self.unacknowledged, []);
            assert_eq!(self.known_received, insert_count);
        }

        fn sent(&mut self, stream: u64, required_insert_count: u64, oldest: u64) {
            let mut references = References::new(self, stream);
            references.add(oldest);
            references.add(required_insert_count - 1);
            assert_eq!(references.finish(), required_insert_count);
        }
    }

    // req: 9204-2.1.1-evictable
    #[test]
    fn only_what_arrived_and_is_referred_to_by_nothing_is_evictable() {
        let mut sections = Sections::default();
        assert_eq!(sections.evictable_before(), 0);
        sections.increment(5, 10).unwrap();
        assert_eq!(sections.evictable_before(), 5);
        sections.sent(0, 5, 3);
        sections.sent(4, 5, 2);
        assert_eq!(sections.evictable_before(), 2);
        sections.acknowledge(4).unwrap();
        assert_eq!(sections.evictable_before(), 3);
        sections.cancel(0);
        assert_eq!(sections.evictable_before(), 5);
    }

    // req: 9204-2.1.4-known-received-count
    #[test]
    fn acknowledging_a_section_acknowledges_the_insertions_that_it_needed() {
        let mut sections = Sections::default();
        sections.sent(0, 7, 6);
        sections.sent(0, 3, 2);
        sections.acknowledge(0).unwrap();
        assert_eq!(sections.known_received, 7);
        sections.acknowledge(0).unwrap();
        assert_eq!(sections.known_received, 7, "never goes back");
    }

    // req: 9204-2.2.2.2-cancellation-acknowledges-nothing
    #[test]
    fn cancelling_a_stream_acknowledges_no_insertion() {
        let mut sections = Sections::default();
        sections.sent(0, 7, 6);
        sections.cancel(0);
        assert_eq!(sections.known_received, 0);
        assert_eq!(sections.acknowledge(0), Err(DecoderStreamError::NothingToAcknowledge(0)));
    }

    // req: 9204-2.1.2-blocked-streams-limit
    #[test]
    fn as_many_streams_as_allowed_may_block_and_not_one_more() {
        let mut sections = Sections::default();
        assert!(!sections.may_block(0));
        sections.set_max_blocked(2);
        sections.sent(0, 1, 0);
        assert!(sections.may_block(4));
        sections.sent(4, 2, 1);
        assert!(!sections.may_block(8));
        assert!(sections.may_block(4), "it is at risk already");
        sections.increment(1, 2).unwrap();
        assert!(sections.may_block(8), "stream 0 has all it needs");
    }

    #[test]
    fn a_full_account_takes_no_more() {
        let mut sections = Sections::default();
        for stream in 0..MAX_UNACKNOWLEDGED as u64 {
            assert!(!sections.is_full());
            sections.sent(stream, 1, 0);
        }
        assert!(sections.is_full());
        sections.acknowledge(0).unwrap();
        assert!(!sections.is_full());
    }
}
