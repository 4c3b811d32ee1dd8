//! The dynamic table (RFC 9204 §3.2): a queue of entries, oldest first, that the encoder and the decoder keep alike.
//!
//! An entry's absolute index never changes: the first one inserted has 0. Relative and post-base indices are arithmetic on
//! it (§3.2.5, §3.2.6) and belong to those who read and write them. When entries may be evicted is the encoder's concern.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::LINE_OVERHEAD;

/// An entry of the dynamic table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: Bytes,
    pub(crate) value: Bytes,
    /// The entry of the static table that the name came from, if any.
    pub(crate) static_name: Option<u8>,
}

impl Entry {
    /// RFC 9204 §3.2.1.
    pub(crate) fn size(&self) -> u64 {
        size(&self.name, &self.value)
    }
}

/// What an entry of that name and value takes of the capacity.
pub(crate) fn size(name: &[u8], value: &[u8]) -> u64 {
    // req: 9204-3.2.1-entry-size
    name.len() as u64 + value.len() as u64 + LINE_OVERHEAD
}

/// The dynamic table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    entries: VecDeque<Entry>,
    /// How many were evicted: the absolute index of the oldest that is left.
    evicted: u64,
    size: u64,
    // req: 9204-3.2.3-capacity-zero-at-first
    capacity: u64,
}

impl Table {
    /// The entry with that absolute index.
    pub(crate) fn get(&self, index: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.checked_sub(self.evicted)?).ok()?)
    }

    /// The absolute index of what the encoder stream calls `relative`: 0 is the newest entry (§3.2.5).
    pub(crate) fn absolute(&self, relative: u64) -> Option<u64> {
        self.insert_count().checked_sub(1)?.checked_sub(relative)
    }

    /// How many entries were ever inserted: the absolute index of the next one.
    pub(crate) fn insert_count(&self) -> u64 {
        self.evicted + self.entries.len() as u64
    }

    /// The absolute index of the oldest entry, or of the next one if there is none.
    pub(crate) fn oldest(&self) -> u64 {
        self.evicted
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// What may be inserted without eviction.
    pub(crate) fn free(&self) -> u64 {
        self.capacity - self.size
    }

    /// Changes the capacity, which evicts what no longer fits (§3.2.2).
    pub(crate) fn set_capacity(&mut self, capacity: u64) {
        // req: 9204-3.2.2-evict-on-reduction
        while self.size > capacity {
            self.evict();
        }
        self.capacity = capacity;
    }

    /// Inserts an entry, evicting as many as needed; false, and nothing changed, if it is larger than the table.
    #[must_use]
    pub(crate) fn insert(&mut self, entry: Entry) -> bool {
        let size = entry.size();
        if size > self.capacity {
            return false;
        }
        // req: 9204-3.2.2-evict-before-insertion
        while self.size > self.capacity - size {
            self.evict();
        }
        self.size += size;
        self.entries.push_back(entry);
        true
    }

    /// Removes the oldest entry.
    pub(crate) fn evict(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.size -= entry.size();
        self.evicted += 1;
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &'static str, value: &'static str) -> Entry {
        Entry { name: name.into(), value: value.into(), static_name: None }
    }

    fn table(capacity: u64) -> Table {
        let mut table = Table::default();
        table.set_capacity(capacity);
        table
    }

    // req: 9204-3.2.1-entry-size
    #[test]
    fn an_entry_that_fills_the_table_fits_and_one_octet_more_does_not() {
        let mut table = table(40);
        assert!(table.insert(entry("name", "1234")));
        assert_eq!(table.free(), 0);
        assert!(!table.insert(entry("name", "12345")));
        assert_eq!(
            table.get(0),
            Some(&entry("name", "1234")),
            "a refused insertion evicts nothing"
        );
    }

    // req: 9204-3.2.2-evict-before-insertion
    #[test]
    fn insertion_evicts_the_oldest_and_keeps_absolute_indices() {
        let mut table = table(100);
        for value in ["0", "1", "2", "3"] {
            assert!(table.insert(entry("a", value)));
        }
        assert_eq!(table.insert_count(), 4);
        assert_eq!(table.oldest(), 2);
        assert_eq!(table.get(1), None);
        assert_eq!(table.get(2), Some(&entry("a", "2")));
        assert_eq!(table.get(3), Some(&entry("a", "3")));
        assert_eq!(table.get(4), None);
    }

    // req: 9204-3.2.2-evict-on-reduction
    #[test]
    fn reducing_the_capacity_evicts_until_it_fits() {
        let mut table = table(102);
        for value in ["0", "1", "2"] {
            assert!(table.insert(entry("a", value)));
        }
        table.set_capacity(68);
        assert_eq!((table.oldest(), table.free()), (1, 0));
        table.set_capacity(67);
        assert_eq!((table.oldest(), table.free()), (2, 33));
        table.set_capacity(0);
        assert_eq!((table.oldest(), table.insert_count()), (3, 3));
    }

    // req: 9204-3.2.5-relative-index
    #[test]
    fn relative_index_zero_is_the_newest_entry() {
        let mut table = table(1000);
        assert_eq!(table.absolute(0), None);
        for value in ["0", "1", "2"] {
            assert!(table.insert(entry("a", value)));
        }
        assert_eq!(table.absolute(0), Some(2));
        assert_eq!(table.absolute(2), Some(0));
        assert_eq!(table.absolute(3), None);
    }
}
