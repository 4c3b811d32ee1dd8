//! One field section on its way out: which form each line takes, and the prefix that goes before them.

use bytes::{BufMut, BytesMut};

use super::{
    dynamic::Dynamic,
    index::{Keys, Slot},
    memo::Memo,
    policy::Habit,
    sections::{References, Sections},
};
use crate::{
    FieldRef, integer, literal,
    static_table::{self, Match},
};

/// The section that is being encoded.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// The insert count at the beginning of the section: later insertions are referred to after it.
    base: u64,
    /// `None` if the section may not refer to the dynamic table.
    dynamic: Option<&'a mut Dynamic>,
    memo: Option<&'a mut Memo>,
    references: References<'a>,
    instructions: &'a mut BytesMut,
}

/// What a line may refer to in the dynamic table, by absolute index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reference {
    Nothing,
    /// An entry with its name.
    Name(u64),
    /// The very line.
    Line(u64),
}

impl<'a> Section<'a> {
    pub(super) fn new(
        stream: u64,
        dynamic: Option<&'a mut Dynamic>,
        memo: Option<&'a mut Memo>,
        sections: &'a mut Sections,
        instructions: &'a mut BytesMut,
    ) -> Self {
        let base = dynamic.as_ref().map_or(0, |dynamic| dynamic.insert_count());
        Self { base, dynamic, memo, references: References::new(sections, stream), instructions }
    }

    /// Appends one field line.
    pub(super) fn line(&mut self, field: FieldRef<'_>, out: &mut BytesMut) {
        let FieldRef { name, value, sensitive } = field;
        let static_name = match static_table::find(name, value) {
            // A sensitive line stays a literal, because only a literal says that it is sensitive.
            Some(Match::Line(index)) if !sensitive => {
                return integer::encode(out, 0xc0, 6, u64::from(index));
            }
            Some(Match::Line(index) | Match::Name(index)) => Some(index),
            None => None,
        };
        // req: 9204-7.1.3-never-indexed
        let never_indexed = u8::from(sensitive);
        let reference = match sensitive {
            true => Reference::Nothing,
            false => self.refer(static_name, name, value),
        };
        match (reference, static_name) {
            (Reference::Line(index), _) => return self.indexed(index, out),
            (_, Some(index)) => {
                integer::encode(out, 0x50 | never_indexed << 5, 4, u64::from(index));
            }
            (Reference::Name(index), None) => self.name_reference(index, out),
            (Reference::Nothing, None) => {
                literal::encode(out, 0x20 | never_indexed << 4, 3, name);
            }
        }
        match (&mut self.memo, static_name) {
            (Some(memo), Some(index)) => memo.value(index, value, out),
            _ => literal::encode(out, 0x00, 7, value),
        }
    }

    /// Writes the prefix in the two bytes that were left for it at `start`, or in more.
    pub(super) fn finish(self, out: &mut BytesMut, start: usize) {
        let required = self.references.finish();
        let Some(dynamic) = self.dynamic.filter(|_| required > 0) else { return };
        let mut prefix = [0; MAX_PREFIX];
        let mut rest = prefix.as_mut_slice();
        integer::encode(&mut rest, 0x00, 8, dynamic.encode_required_insert_count(required));
        match self.base.checked_sub(required) {
            Some(delta) => integer::encode(&mut rest, 0x00, 7, delta),
            None => integer::encode(&mut rest, 0x80, 7, required - self.base - 1),
        }
        let length = MAX_PREFIX - rest.len();
        let lines = start + 2..out.len();
        if length > 2 {
            out.put_bytes(0, length - 2);
            out.copy_within(lines, start + length);
        }
        out[start..start + length].copy_from_slice(&prefix[..length]);
    }

    fn indexed(&self, index: u64, out: &mut BytesMut) {
        match self.base.checked_sub(index + 1) {
            Some(relative) => integer::encode(out, 0x80, 6, relative),
            None => integer::encode(out, 0x10, 4, index - self.base),
        }
    }

    fn name_reference(&self, index: u64, out: &mut BytesMut) {
        match self.base.checked_sub(index + 1) {
            Some(relative) => integer::encode(out, 0x40, 4, relative),
            None => integer::encode(out, 0x00, 3, index - self.base),
        }
    }

    /// Finds what a line may refer to, and inserts it if that will pay.
    fn refer(&mut self, static_name: Option<u8>, name: &[u8], value: &[u8]) -> Reference {
        let habit = Habit::of(static_name, name, value);
        // What is never inserted is never found.
        if self.dynamic.is_none() || (habit == Habit::Never && static_name.is_some()) {
            return Reference::Nothing;
        }
        let keys = Keys::of(name, value);
        if let Some(index) = self.refer_line(habit, keys, static_name, name, value) {
            self.references.add(index);
            return Reference::Line(index);
        }
        if static_name.is_none()
            && let Some(index) = self.refer_name(keys, name)
        {
            self.references.add(index);
            return Reference::Name(index);
        }
        Reference::Nothing
    }

    /// An entry that is this line, found or inserted, that may be referred to.
    fn refer_line(
        &mut self,
        habit: Habit,
        keys: Keys,
        static_name: Option<u8>,
        name: &[u8],
        value: &[u8],
    ) -> Option<u64> {
        let dynamic = self.dynamic.as_deref_mut()?;
        if let Some(slot) = dynamic.find_line(keys, name, value) {
            return self.choose(keys.line, slot);
        }
        if !dynamic.is_worth_inserting(habit, keys, name, value) {
            return None;
        }
        let index =
            dynamic.insert(static_name, name, value, &self.references, self.instructions)?;
        self.references.may_refer(index).then_some(index)
    }

    /// An entry with this name, found or inserted, that may be referred to.
    fn refer_name(&mut self, keys: Keys, name: &[u8]) -> Option<u64> {
        let dynamic = self.dynamic.as_deref_mut()?;
        if let Some(slot) = dynamic.find_name(keys, name) {
            return self.choose(keys.name, slot);
        }
        if !dynamic.is_name_worth_inserting(keys, name) {
            return None;
        }
        let index = dynamic.insert(None, name, b"", &self.references, self.instructions)?;
        self.references.may_refer(index).then_some(index)
    }

    /// Which of the entries with one content to refer to, if any.
    fn choose(&mut self, key: u64, slot: Slot) -> Option<u64> {
        let dynamic = self.dynamic.as_deref_mut()?;
        if let Some(newer) = slot.newer
            && self.references.may_refer(newer)
        {
            dynamic.promote(key);
            return Some(newer);
        }
        let index = slot.current;
        if !self.references.may_refer(index) {
            return None;
        }
        // While a copy is on its way, the old one still serves.
        if slot.newer.is_some() || !dynamic.is_draining(index) {
            return Some(index);
        }
        match dynamic.duplicate(index, &self.references, self.instructions) {
            Some(copy) if self.references.may_refer(copy) => Some(copy),
            Some(_) | None => dynamic.serves(index).then_some(index),
        }
    }
}

/// Two integers of at most ten bytes each.
const MAX_PREFIX: usize = 20;
