//! Instructions from an encoder to a decoder (RFC 9204 §4.3).
//!
//! ```text
//! Set Dynamic Table Capacity   0 0 1 Capacity (5+)
//! Insert with Name Reference   1 T Name Index (6+), H Value Length (7+), Value
//! Insert with Literal Name     0 1 H Name Length (5+), Name, H Value Length (7+), Value
//! Duplicate                    0 0 0 Index (5+)
//! ```

use bytes::{BufMut, Bytes};

use super::next_byte;
use crate::{
    LINE_OVERHEAD,
    error::EncoderStreamError,
    integer::{self, Step},
    literal::{self, Refused},
};

/// An instruction on the encoder stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    SetCapacity(u64),
    InsertWithNameReference { name: NameReference, value: Bytes },
    InsertWithLiteralName { name: Bytes, value: Bytes },
    Duplicate(u64),
}

/// Where the name of an insertion comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameReference {
    /// Index in the static table.
    Static(u64),
    /// Relative index in the dynamic table.
    Dynamic(u64),
}

pub(crate) fn set_capacity(out: &mut impl BufMut, capacity: u64) {
    integer::encode(out, 0x20, 5, capacity);
}

pub(crate) fn insert_with_name_reference(out: &mut impl BufMut, name: NameReference, value: &[u8]) {
    match name {
        NameReference::Static(index) => integer::encode(out, 0xc0, 6, index),
        NameReference::Dynamic(index) => integer::encode(out, 0x80, 6, index),
    }
    literal::encode(out, 0, 7, value);
}

pub(crate) fn insert_with_literal_name(out: &mut impl BufMut, name: &[u8], value: &[u8]) {
    literal::encode(out, 0x40, 5, name);
    literal::encode(out, 0, 7, value);
}

pub(crate) fn duplicate(out: &mut impl BufMut, index: u64) {
    integer::encode(out, 0x00, 5, index);
}

/// Reads instructions in any split, holding no more text of an unfinished one than the table has room for.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    state: State,
    /// Name and value of the unfinished insertion, as far as they have arrived.
    text: Vec<u8>,
}

/// How far the instruction has come.
#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Start,
    /// Within an integer, to be used for `purpose`.
    Integer { purpose: Purpose, partial: integer::Partial },
    /// Within the literal name of an insertion.
    Name(literal::Partial),
    /// Before the first byte of a value.
    ValueStart(Name),
    /// Within the value of an insertion.
    Value { name: Name, partial: literal::Partial },
}

/// What an integer means.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Capacity,
    DuplicateIndex,
    StaticName,
    DynamicName,
    NameLength { huffman: bool },
    ValueLength { name: Name, huffman: bool },
}

/// The name of the unfinished insertion.
#[derive(Clone, Copy, Debug)]
enum Name {
    Reference(NameReference),
    /// The first so many octets of the text.
    Literal(usize),
}

impl Reader {
    /// The next instruction that is complete.
    ///
    /// # Errors
    /// An integer overflows, Huffman code is invalid, or the text is too long for a table of `capacity`.
    pub(crate) fn next(
        &mut self,
        input: &mut &[u8],
        capacity: u64,
    ) -> Result<Option<Instruction>, EncoderStreamError> {
        // req: 9204-7.4-literal-limit
        let room = capacity.saturating_sub(LINE_OVERHEAD);
        loop {
            match &mut self.state {
                State::Start => {
                    let Some(byte) = next_byte(input) else { return Ok(None) };
                    let (purpose, prefix) = opening(byte);
                    let step = integer::Partial::begin(byte, prefix);
                    if let Some(instruction) = self.on_integer(purpose, step) {
                        return Ok(Some(instruction));
                    }
                }
                State::Integer { purpose, partial } => {
                    let Some(byte) = next_byte(input) else { return Ok(None) };
                    let (purpose, step) = (*purpose, partial.push(byte)?);
                    if let Some(instruction) = self.on_integer(purpose, step) {
                        return Ok(Some(instruction));
                    }
                }
                State::Name(partial) => {
                    let complete = partial.push(input, &mut self.text, room);
                    if !complete.map_err(|reason| refused(reason, capacity))? {
                        return Ok(None);
                    }
                    self.state = State::ValueStart(Name::Literal(self.text.len()));
                }
                State::ValueStart(name) => {
                    let Some(byte) = next_byte(input) else { return Ok(None) };
                    let huffman = literal::is_huffman(byte, 7);
                    let purpose = Purpose::ValueLength { name: *name, huffman };
                    // A length is never a whole instruction: its value follows.
                    self.on_integer(purpose, integer::Partial::begin(byte, 7));
                }
                State::Value { name, partial } => {
                    let name = *name;
                    let complete = partial.push(input, &mut self.text, room);
                    if !complete.map_err(|reason| refused(reason, capacity))? {
                        return Ok(None);
                    }
                    return Ok(Some(self.insertion(name)));
                }
            }
        }
    }

    /// Octets that are held of an unfinished instruction.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.text.len()
    }

    /// Goes on after an integer, which may be all there is.
    fn on_integer(&mut self, purpose: Purpose, step: Step) -> Option<Instruction> {
        let value = match step {
            Step::More(partial) => {
                self.state = State::Integer { purpose, partial };
                return None;
            }
            Step::Done(value) => value,
        };
        self.state = match purpose {
            Purpose::Capacity | Purpose::DuplicateIndex => State::Start,
            Purpose::StaticName => State::ValueStart(Name::Reference(NameReference::Static(value))),
            Purpose::DynamicName => {
                State::ValueStart(Name::Reference(NameReference::Dynamic(value)))
            }
            Purpose::NameLength { huffman } => State::Name(literal::Partial::begin(huffman, value)),
            Purpose::ValueLength { name, huffman } => {
                State::Value { name, partial: literal::Partial::begin(huffman, value) }
            }
        };
        match purpose {
            Purpose::Capacity => Some(Instruction::SetCapacity(value)),
            Purpose::DuplicateIndex => Some(Instruction::Duplicate(value)),
            Purpose::StaticName
            | Purpose::DynamicName
            | Purpose::NameLength { .. }
            | Purpose::ValueLength { .. } => None,
        }
    }

    fn insertion(&mut self, name: Name) -> Instruction {
        // One allocation of the exact size for both, because the table keeps it.
        let mut text = Bytes::copy_from_slice(&self.text);
        self.text.clear();
        if self.text.capacity() > KEEP {
            self.text = Vec::new();
        }
        self.state = State::Start;
        match name {
            Name::Reference(name) => Instruction::InsertWithNameReference { name, value: text },
            Name::Literal(length) => {
                let name = text.split_to(length);
                Instruction::InsertWithLiteralName { name, value: text }
            }
        }
    }
}

/// What the first byte of an instruction opens, and the prefix of the integer in it.
fn opening(byte: u8) -> (Purpose, u32) {
    // req: 9204-4.3-instructions
    match byte.leading_zeros() {
        0 if byte & 0x40 != 0 => (Purpose::StaticName, 6),
        0 => (Purpose::DynamicName, 6),
        1 => (Purpose::NameLength { huffman: literal::is_huffman(byte, 5) }, 5),
        2 => (Purpose::Capacity, 5),
        _ => (Purpose::DuplicateIndex, 5),
    }
}

fn refused(reason: Refused, capacity: u64) -> EncoderStreamError {
    match reason {
        Refused::TooLong => EncoderStreamError::EntryTooLarge { capacity },
        Refused::Huffman(rule) => EncoderStreamError::Huffman(rule),
    }
}

/// The buffer is kept from one insertion to the next up to this size: most field lines fit.
const KEEP: usize = 256;

#[cfg(test)]
mod tests;
