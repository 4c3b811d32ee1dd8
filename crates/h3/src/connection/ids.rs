//! Which streams of the peer were seen, in a few words of memory however many there were.
//!
//! Streams are opened in order but may be seen out of order; all below the largest were seen but for some gaps. So a
//! late byte of a stream that is gone is not mistaken for a new stream.

use crate::PeerMisbehaved;

/// The streams of one type.
#[derive(Debug, Default)]
pub(super) struct StreamIds {
    /// One above the largest index seen.
    next: u64,
    /// Indexes below `next` that were not seen: ranges in order, each with its end.
    gaps: Vec<(u64, u64)>,
}

impl StreamIds {
    /// Marks the stream of this index as seen; whether it is the first time.
    ///
    /// # Errors
    /// [`PeerMisbehaved::TooManyGaps`].
    pub(super) fn see(&mut self, index: u64) -> Result<bool, PeerMisbehaved> {
        if index == self.next {
            self.next += 1;
            return Ok(true);
        }
        if index > self.next {
            self.gaps.push((self.next, index));
            self.next = index + 1;
        } else if !self.fill(index) {
            return Ok(false);
        }
        if self.gaps.len() > MAX_GAPS { Err(PeerMisbehaved::TooManyGaps) } else { Ok(true) }
    }

    /// Whether the stream of this index was seen.
    pub(super) fn has_seen(&self, index: u64) -> bool {
        let at = self.gaps.partition_point(|(_, end)| *end <= index);
        index < self.next && self.gaps.get(at).is_none_or(|(start, _)| index < *start)
    }

    /// One above the largest index seen.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Takes an index out of the gap that it is in, if it is in one.
    fn fill(&mut self, index: u64) -> bool {
        let at = self.gaps.partition_point(|(_, end)| *end <= index);
        let Some(gap) = self.gaps.get_mut(at).filter(|(start, _)| *start <= index) else {
            return false;
        };
        let (start, end) = *gap;
        match (start == index, index + 1 == end) {
            (true, true) => {
                self.gaps.remove(at);
            }
            (true, false) => gap.0 = index + 1,
            (false, true) => gap.1 = index,
            (false, false) => {
                gap.1 = index;
                self.gaps.insert(at + 1, (index + 1, end));
            }
        }
        true
    }
}

/// Gaps at one time; a transport's stream limit is far below twice this.
const MAX_GAPS: usize = 1024;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_for_gaps_has_a_bound() {
        let mut ids = StreamIds::default();
        let mut every_other = (1..).step_by(2);
        for index in every_other.by_ref().take(MAX_GAPS) {
            assert_eq!(ids.see(index), Ok(true));
        }
        assert_eq!(ids.see(every_other.next().unwrap()), Err(PeerMisbehaved::TooManyGaps));
    }

    proptest! {
        #[test]
        fn each_stream_is_new_once_in_any_order(order in prop::collection::vec(0..40_u64, 0..80)) {
            let mut ids = StreamIds::default();
            let mut model = BTreeSet::new();
            for index in order {
                prop_assert_eq!(ids.see(index), Ok(model.insert(index)));
                for index in 0..45 {
                    prop_assert_eq!(ids.has_seen(index), model.contains(&index));
                }
            }
        }
    }
}
