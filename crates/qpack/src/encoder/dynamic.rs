//! The encoder's side of the dynamic table: finding, inserting, making room.
//!
//! Two things keep the table open for what is new, although entries go oldest first and only when nothing refers to them:
//!
//! - **Draining** (RFC 9204 §2.1.1.1): after an insertion, the oldest entries that stand in the way of a quarter of the
//!   table are draining. A line that still uses one of them is duplicated, and refers to the copy.
//! - **Condemned** are the entries in whose favour an insertion was given up. Nothing refers to them any more, so that
//!   they can go within a round trip.
//!
//! Duplicates drain nothing. So a table that holds all that repeats comes to rest, however full it is.

use bytes::{Bytes, BytesMut};

use super::{
    index::{Index, Keys, Slot},
    policy::{Habit, History},
    sections::References,
};
use crate::{
    LINE_OVERHEAD,
    instruction::encoder_stream::{self, NameReference},
    static_table,
    table::{self, Entry, Table},
};

/// The encoder's dynamic table.
#[derive(Debug)]
pub(super) struct Dynamic {
    table: Table,
    index: Index,
    history: History,
    /// How many entries the peer's table could hold, which is what a Required Insert Count is sent modulo of.
    max_entries: u64,
    /// Entries before this one are draining.
    draining: u64,
    /// Entries before this one are condemned; they are draining too.
    condemned: u64,
    /// The insert count from which on entries may be condemned again.
    condemn_from: u64,
}

impl Dynamic {
    /// An empty table of capacity 0; `peer_capacity` is what the peer would allow.
    pub(super) fn new(peer_capacity: u64) -> Self {
        Self {
            table: Table::default(),
            index: Index::default(),
            history: History::default(),
            max_entries: peer_capacity / LINE_OVERHEAD,
            draining: 0,
            condemned: 0,
            condemn_from: 0,
        }
    }

    /// Raises the capacity; false if it is not raised by that.
    pub(super) fn grow(&mut self, capacity: u64) -> bool {
        // req: 9204-4.3.1-no-reduction-below-use
        let grows = capacity > self.table.capacity();
        if grows {
            self.table.set_capacity(capacity);
        }
        grows
    }

    pub(super) fn insert_count(&self) -> u64 {
        self.table.insert_count()
    }

    #[cfg(test)]
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    #[cfg(test)]
    pub(super) fn indexed(&self) -> usize {
        self.index.len()
    }

    /// The form in which a Required Insert Count above 0 is sent (§4.5.1.1).
    pub(super) fn encode_required_insert_count(&self, required: u64) -> u64 {
        // req: 9204-4.5.1.1-encoding
        required % (2 * self.max_entries) + 1
    }

    /// Whether a line that uses this entry is to be duplicated.
    pub(super) fn is_draining(&self, index: u64) -> bool {
        index < self.draining
    }

    /// Whether an entry is still here and may be referred to.
    pub(super) fn serves(&self, index: u64) -> bool {
        index >= self.table.oldest().max(self.condemned)
    }

    /// The entries that are this line.
    pub(super) fn find_line(&self, keys: Keys, name: &[u8], value: &[u8]) -> Option<Slot> {
        let slot = self.index.find(keys.line)?;
        let entry = self.table.get(slot.current)?;
        (entry.value == value && entry.name == name).then_some(slot)
    }

    /// The entries that have this name, which is not in the static table.
    pub(super) fn find_name(&self, keys: Keys, name: &[u8]) -> Option<Slot> {
        let slot = self.index.find(keys.name)?;
        (self.table.get(slot.current)?.name == name).then_some(slot)
    }

    /// The newer of the entries with this key is to be used from now on.
    pub(super) fn promote(&mut self, key: u64) {
        self.index.promote(key);
    }

    /// Whether this line, which is not in the table, is to be inserted.
    pub(super) fn is_worth_inserting(
        &mut self,
        habit: Habit,
        keys: Keys,
        name: &[u8],
        value: &[u8],
    ) -> bool {
        let size = table::size(name, value);
        match habit {
            Habit::Never => false,
            Habit::AtOnce if size <= self.table.capacity() / 8 => true,
            Habit::AtOnce | Habit::OnSecondSight => {
                self.history.saw(keys.line) && size <= self.table.capacity() / 2
            }
        }
    }

    /// Whether this name, which is in neither table, is to be inserted without a value: it came with several.
    pub(super) fn is_name_worth_inserting(&mut self, keys: Keys, name: &[u8]) -> bool {
        self.history.saw(keys.name) && table::size(name, b"") <= self.table.capacity() / 8
    }

    /// Inserts a line, if that evicts nothing that has to stay; returns its absolute index.
    pub(super) fn insert(
        &mut self,
        static_name: Option<u8>,
        name: &[u8],
        value: &[u8],
        references: &References<'_>,
        instructions: &mut BytesMut,
    ) -> Option<u64> {
        let size = table::size(name, value);
        if !self.make_room(size, || references.evictable_before()) {
            self.condemn(size);
            return None;
        }
        let keys = Keys::of(name, value);
        let static_entry = static_name.and_then(|index| static_table::entry(u64::from(index)));
        let entry = if let (Some(index), Some((static_name, _))) = (static_name, static_entry) {
            let reference = NameReference::Static(u64::from(index));
            encoder_stream::insert_with_name_reference(instructions, reference, value);
            Entry {
                name: Bytes::from_static(static_name.as_bytes()),
                value: Bytes::copy_from_slice(value),
                static_name: Some(index),
            }
        } else {
            match self.find_name(keys, name) {
                Some(slot) => {
                    let reference = NameReference::Dynamic(self.relative(slot.newest()));
                    encoder_stream::insert_with_name_reference(instructions, reference, value);
                }
                None => encoder_stream::insert_with_literal_name(instructions, name, value),
            }
            let mut value = Bytes::from([name, value].concat());
            let name = value.split_to(name.len());
            Entry { name, value, static_name: None }
        };
        let index = self.push(entry, keys);
        self.draining = self.draining.max(self.end_of_oldest_for(self.table.capacity() / 4));
        Some(index)
    }

    /// Inserts a copy of an entry, if that evicts nothing that has to stay; returns its absolute index.
    ///
    /// Only a condemned entry may be evicted by its own copy.
    pub(super) fn duplicate(
        &mut self,
        index: u64,
        references: &References<'_>,
        instructions: &mut BytesMut,
    ) -> Option<u64> {
        let entry = self.table.get(index)?.clone();
        let stays = if index < self.condemned { u64::MAX } else { index };
        if !self.make_room(entry.size(), || references.evictable_before().min(stays)) {
            return None;
        }
        // The decoder takes the entry before it evicts (§3.2.2).
        encoder_stream::duplicate(instructions, self.relative(index));
        let keys = Keys::of(&entry.name, &entry.value);
        Some(self.push(entry, keys))
    }

    /// What the encoder stream calls an entry: 0 is the newest (§3.2.5).
    fn relative(&self, index: u64) -> u64 {
        // req: 9204-3.2.5-relative-index
        self.table.insert_count() - 1 - index
    }

    fn push(&mut self, entry: Entry, keys: Keys) -> u64 {
        let index = self.table.insert_count();
        if self.find_line(keys, &entry.name, &entry.value).is_some() {
            self.index.insert_again(keys.line, index);
        } else {
            self.index.insert(keys.line, index);
        }
        if entry.static_name.is_some() {
            // Its name is found in the static table.
        } else if self.find_name(keys, &entry.name).is_some() {
            self.index.insert_again(keys.name, index);
        } else {
            self.index.insert(keys.name, index);
        }
        let inserted = self.table.insert(entry);
        debug_assert!(inserted, "room was made for it");
        index
    }

    /// Evicts until `size` is free, unless that would take an entry at or after `bound`.
    fn make_room(&mut self, size: u64, bound: impl FnOnce() -> u64) -> bool {
        if size <= self.table.free() {
            return true;
        }
        if size > self.table.capacity() {
            return false;
        }
        let end = self.end_of_oldest_for(size);
        // req: 9204-2.1.1-evictable
        if end > bound() {
            return false;
        }
        for index in self.table.oldest()..end {
            let Some(entry) = self.table.evict() else { break };
            let keys = Keys::of(&entry.name, &entry.value);
            self.index.evict(keys.line, index);
            if entry.static_name.is_none() {
                self.index.evict(keys.name, index);
            }
        }
        true
    }

    /// Gives up the oldest entries that stand in the way of `size`, once for each time that the table is renewed:
    /// otherwise a table too small for all that repeats would be busy with nothing else.
    fn condemn(&mut self, size: u64) {
        let insert_count = self.table.insert_count();
        if insert_count < self.condemn_from {
            return;
        }
        self.condemn_from = insert_count + (insert_count - self.table.oldest());
        self.condemned = self.condemned.max(self.end_of_oldest_for(size));
        self.draining = self.draining.max(self.condemned);
    }

    /// The entry up to which the oldest ones have to go for `size` to be free.
    fn end_of_oldest_for(&self, size: u64) -> u64 {
        let mut end = self.table.oldest();
        let mut free = self.table.free();
        while free < size
            && let Some(entry) = self.table.get(end)
        {
            free += entry.size();
            end += 1;
        }
        end
    }
}
