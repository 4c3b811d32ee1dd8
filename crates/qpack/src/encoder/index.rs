//! Where content is found in the dynamic table: by a hash of name and value, or of the name.
//!
//! Two contents with one hash only cost compression: what is found is compared before it is used.

use std::hash::Hasher;

use rustc_hash::{FxHashMap, FxHasher};

/// The hashes of a field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) name: u64,
    pub(super) line: u64,
}

impl Keys {
    pub(super) fn of(name: &[u8], value: &[u8]) -> Self {
        let mut hasher = FxHasher::default();
        hasher.write(name);
        let name = hasher.finish();
        hasher.write(value);
        Self { name, line: hasher.finish() }
    }
}

/// The entries with one content: the one to refer to, and the newest, which may not have arrived yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) current: u64,
    pub(super) newer: Option<u64>,
}

impl Slot {
    pub(super) fn newest(self) -> u64 {
        self.newer.unwrap_or(self.current)
    }
}

/// Hash to absolute index.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: FxHashMap<u64, Slot>,
}

impl Index {
    pub(super) fn find(&self, key: u64) -> Option<Slot> {
        self.slots.get(&key).copied()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// An entry was inserted whose content is not found under this key, even if another's is.
    pub(super) fn insert(&mut self, key: u64, index: u64) {
        self.slots.insert(key, Slot { current: index, newer: None });
    }

    /// An entry was inserted whose content is that which is found under this key.
    pub(super) fn insert_again(&mut self, key: u64, index: u64) {
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.newer = Some(index);
        }
    }

    /// The newest entry is the one to refer to from now on.
    pub(super) fn promote(&mut self, key: u64) {
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.current = slot.newest();
            slot.newer = None;
        }
    }

    /// An entry was evicted.
    pub(super) fn evict(&mut self, key: u64, index: u64) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        if slot.current != index {
            return;
        }
        match slot.newer.take() {
            Some(newer) => slot.current = newer,
            None => {
                self.slots.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_of_two_is_used_once_promoted_or_when_the_older_goes() {
        let mut index = Index::default();
        index.insert(7, 0);
        index.insert_again(7, 3);
        assert_eq!(index.find(7), Some(Slot { current: 0, newer: Some(3) }));
        index.evict(7, 0);
        assert_eq!(index.find(7), Some(Slot { current: 3, newer: None }));
        index.insert_again(7, 5);
        index.promote(7);
        assert_eq!(index.find(7), Some(Slot { current: 5, newer: None }));
        index.evict(7, 3);
        assert_eq!(index.find(7), Some(Slot { current: 5, newer: None }));
        index.evict(7, 5);
        assert_eq!(index.find(7), None);
    }

    #[test]
    fn other_content_with_the_same_hash_takes_the_place() {
        let mut index = Index::default();
        index.insert(7, 0);
        index.insert_again(7, 1);
        index.insert(7, 2);
        assert_eq!(index.find(7), Some(Slot { current: 2, newer: None }));
        index.evict(7, 0);
        index.evict(7, 1);
        assert_eq!(index.find(7), Some(Slot { current: 2, newer: None }));
    }

    #[test]
    fn name_and_value_are_told_apart() {
        assert_ne!(Keys::of(b"ab", b"c").line, Keys::of(b"a", b"bc").line);
        assert_ne!(Keys::of(b"a", b"").line, Keys::of(b"a", b"").name);
        assert_eq!(Keys::of(b"a", b"x").name, Keys::of(b"a", b"y").name);
    }
}
