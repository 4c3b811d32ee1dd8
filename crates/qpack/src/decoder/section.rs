//! Encoded field sections (RFC 9204 §4.5): the prefix, then field lines.
//!
//! ```text
//! Encoded Field Section   Required Insert Count (8+), S Delta Base (7+), Field Line …
//!
//! Indexed                            1 T Index (6+)
//! Indexed, post-base                 0 0 0 1 Index (4+)
//! Literal with name reference        0 1 N T Name Index (4+), H Value Length (7+), Value
//! Literal, post-base name reference  0 0 0 0 N Name Index (3+), H Value Length (7+), Value
//! Literal with literal name          0 0 1 N H Name Length (3+), Name, H Value Length (7+), Value
//! ```

use bytes::{Bytes, BytesMut};

use crate::{
    Field, LINE_OVERHEAD,
    error::DecompressionFailed,
    huffman,
    integer::{self, Step},
    literal, static_table,
    table::{Entry, Table},
};

/// What stands before the field lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    /// How many insertions the section needs.
    pub(super) required_insert_count: u64,
    /// Where relative and post-base indices count from.
    base: u64,
}

/// Reads the prefix and returns the field lines, which may be read only if their insertions are all in `table`.
pub(super) fn open<'a>(
    section: &'a Bytes,
    table: &'a Table,
    max_table_capacity: u64,
) -> Result<(Prefix, Lines<'a>), DecompressionFailed> {
    let mut reader = Reader { section, at: 0 };
    let encoded = reader.integer(8)?;
    let required_insert_count =
        required_insert_count(encoded, max_table_capacity, table.insert_count())
            .ok_or(DecompressionFailed::RequiredInsertCount(encoded))?;
    let first = reader.peek()?;
    let delta = reader.integer(7)?;
    let base = if first & 0x80 == 0 {
        required_insert_count.checked_add(delta)
    } else {
        required_insert_count.checked_sub(delta).and_then(|base| base.checked_sub(1))
    };
    // req: 9204-4.5.1.2-base-not-negative
    let base = base.ok_or(DecompressionFailed::NegativeBase)?;
    let prefix = Prefix { required_insert_count, base };
    Ok((prefix, Lines { reader, prefix, table, scratch: BytesMut::new() }))
}

/// Decodes the Required Insert Count, which is sent modulo twice the number of entries that the table could hold
/// (§4.5.1.1); `None` if no encoder can have meant it.
fn required_insert_count(encoded: u64, max_table_capacity: u64, insert_count: u64) -> Option<u64> {
    if encoded == 0 {
        return Some(0);
    }
    // req: 9204-4.5.1.1-invalid-required-insert-count
    let max_entries = max_table_capacity / LINE_OVERHEAD;
    let full_range = 2 * max_entries;
    if encoded > full_range {
        return None;
    }
    let max_value = insert_count + max_entries;
    let max_wrapped = max_value / full_range * full_range;
    let mut required = max_wrapped + encoded - 1;
    if required > max_value {
        required = required.checked_sub(full_range)?;
    }
    (required > 0).then_some(required)
}

/// The field lines of a section.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    reader: Reader<'a>,
    prefix: Prefix,
    table: &'a Table,
    /// Where Huffman-coded literals are decoded to: one allocation for all of them.
    scratch: BytesMut,
}

impl Lines<'_> {
    /// The next field line, or `None` at the end of the section.
    pub(super) fn next(&mut self) -> Result<Option<Field>, DecompressionFailed> {
        let Ok(first) = self.reader.peek() else { return Ok(None) };
        // req: 9204-4.5-field-lines
        let field = match first.leading_zeros() {
            0 => self.indexed(first)?,
            1 => self.literal_with_name_reference(first)?,
            2 => self.literal_with_literal_name(first)?,
            3 => {
                let index = self.reader.integer(4)?;
                from_entry(self.post_base(index)?)
            }
            _ => {
                let index = self.reader.integer(3)?;
                // req: 9204-4.5.4-only-the-name
                let Entry { name, static_name, .. } = self.post_base(index)?;
                let (name, static_name) = (name.clone(), *static_name);
                let value = self.literal(7)?;
                Field { name, value, static_name, never_indexed: first & 0x08 != 0 }
            }
        };
        Ok(Some(field))
    }

    fn indexed(&mut self, first: u8) -> Result<Field, DecompressionFailed> {
        let index = self.reader.integer(6)?;
        if first & 0x40 == 0 {
            return Ok(from_entry(self.relative(index)?));
        }
        // req: 9204-3.1-invalid-static-index
        let (name, value) =
            static_table::entry(index).ok_or(DecompressionFailed::StaticIndex(index))?;
        Ok(Field {
            name: Bytes::from_static(name.as_bytes()),
            value: Bytes::from_static(value.as_bytes()),
            static_name: u8::try_from(index).ok(),
            never_indexed: false,
        })
    }

    fn literal_with_name_reference(&mut self, first: u8) -> Result<Field, DecompressionFailed> {
        let index = self.reader.integer(4)?;
        let (name, static_name) = if first & 0x10 == 0 {
            let entry = self.relative(index)?;
            (entry.name.clone(), entry.static_name)
        } else {
            let (name, _) =
                static_table::entry(index).ok_or(DecompressionFailed::StaticIndex(index))?;
            (Bytes::from_static(name.as_bytes()), u8::try_from(index).ok())
        };
        let value = self.literal(7)?;
        Ok(Field { name, value, static_name, never_indexed: first & 0x20 != 0 })
    }

    fn literal_with_literal_name(&mut self, first: u8) -> Result<Field, DecompressionFailed> {
        let name = self.literal(3)?;
        let value = self.literal(7)?;
        Ok(Field { name, value, static_name: None, never_indexed: first & 0x10 != 0 })
    }

    /// The entry `index` below Base: 0 is the one just below it (§3.2.5).
    fn relative(&self, index: u64) -> Result<&Entry, DecompressionFailed> {
        // req: 9204-3.2.5-relative-index
        let base = self.prefix.base;
        let absolute = base.checked_sub(1).and_then(|newest| newest.checked_sub(index));
        self.entry(absolute.ok_or(DecompressionFailed::RelativeIndex { index, base })?)
    }

    /// The entry `index` above Base: 0 is the one at it (§3.2.6).
    fn post_base(&self, index: u64) -> Result<&Entry, DecompressionFailed> {
        // req: 9204-3.2.6-post-base-index
        // Base has at most 63 bits, index 62.
        self.entry(self.prefix.base.saturating_add(index))
    }

    fn entry(&self, index: u64) -> Result<&Entry, DecompressionFailed> {
        let required = self.prefix.required_insert_count;
        // req: 9204-2.2.1-required-insert-count-too-small
        if index >= required {
            return Err(DecompressionFailed::BeyondRequiredInsertCount { index, required });
        }
        // req: 9204-2.2.3-invalid-reference-in-section
        self.table.get(index).ok_or(DecompressionFailed::EvictedEntry(index))
    }

    /// A string literal whose length has a prefix of that many bits.
    fn literal(&mut self, prefix: u32) -> Result<Bytes, DecompressionFailed> {
        let huffman = literal::is_huffman(self.reader.peek()?, prefix);
        let length = self.reader.integer(prefix)?;
        let text = self.reader.take(length)?;
        if !huffman {
            return Ok(self.reader.section.slice_ref(text));
        }
        let most = huffman::max_decoded_len(text.len());
        if self.scratch.capacity() < most {
            // Enough for all that may follow.
            self.scratch.reserve(huffman::max_decoded_len(text.len() + self.reader.rest().len()));
        }
        self.scratch.resize(most, 0);
        let mut decoder = huffman::Decoder::default();
        let written =
            decoder.decode(text, &mut self.scratch).map_err(DecompressionFailed::Huffman)?;
        decoder.finish().map_err(DecompressionFailed::Huffman)?;
        self.scratch.truncate(written);
        Ok(self.scratch.split().freeze())
    }
}

fn from_entry(entry: &Entry) -> Field {
    Field {
        name: entry.name.clone(),
        value: entry.value.clone(),
        static_name: entry.static_name,
        never_indexed: false,
    }
}

/// Reads a section from front to back.
#[derive(Debug)]
struct Reader<'a> {
    section: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.section.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Result<u8, DecompressionFailed> {
        self.section.get(self.at).copied().ok_or(DecompressionFailed::Truncated)
    }

    fn integer(&mut self, prefix: u32) -> Result<u64, DecompressionFailed> {
        let mut step = integer::Partial::begin(self.peek()?, prefix);
        loop {
            self.at += 1;
            match step {
                Step::Done(value) => return Ok(value),
                Step::More(partial) => step = partial.push(self.peek()?)?,
            }
        }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], DecompressionFailed> {
        let length = usize::try_from(length).map_err(|_| DecompressionFailed::Truncated)?;
        let taken = self.rest().get(..length).ok_or(DecompressionFailed::Truncated)?;
        self.at += length;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9204 §4.5.1.1: a table of 100 bytes holds 3 entries, so the count is sent modulo 6.
    #[test]
    fn the_example_of_the_rfc_decodes_to_nine() {
        assert_eq!(required_insert_count(4, 100, 10), Some(9));
    }

    // req: 9204-4.5.1.1-encoding
    #[test]
    fn every_count_that_can_be_meant_is_recovered_across_the_wrap() {
        for capacity in [32, 63, 64, 100, 4096] {
            let max_entries = capacity / LINE_OVERHEAD;
            for insert_count in 0..5 * max_entries {
                // What was evicted before these cannot be referred to.
                let first = (insert_count + 1).saturating_sub(max_entries).max(1);
                for required in first..=insert_count + max_entries {
                    let encoded = required % (2 * max_entries) + 1;
                    let decoded = required_insert_count(encoded, capacity, insert_count);
                    assert_eq!(decoded, Some(required), "{capacity} {insert_count}");
                }
            }
        }
    }

    // req: 9204-4.5.1.1-invalid-required-insert-count
    #[test]
    fn a_count_that_no_encoder_can_mean_is_refused() {
        assert_eq!(required_insert_count(1, 0, 0), None, "no table, no references");
        assert_eq!(required_insert_count(1, 31, 0), None, "a table that holds nothing");
        assert_eq!(required_insert_count(7, 100, 10), None, "above the full range");
        assert_eq!(required_insert_count(6, 100, 0), None, "would be below zero");
        assert_eq!(required_insert_count(1, 100, 0), None, "zero is encoded as zero");
        assert_eq!(required_insert_count(4, 100, 0), Some(3));
        assert_eq!(required_insert_count(5, 100, 0), None, "more than the table can hold");
    }
}
