//! The decoder (RFC 9204 §2.2): field sections in, field lines out.
//!
//! A section whose insertions have not all arrived is *blocked*: its caller keeps the bytes and comes back when
//! [`Decoder::poll_unblocked`] names the stream. What the decoder learns is owed to the peer's encoder as instructions on
//! our decoder stream; poll them once for each turn, after all input, so that one Insert Count Increment says it all.

use bytes::{Bytes, BytesMut};

use crate::{
    Error, Field, LINE_OVERHEAD,
    error::EncoderStreamError,
    instruction::{decoder_stream, encoder_stream},
    static_table,
    table::{Entry, Table},
};

mod blocked;
mod section;

/// Limits that we announce (RFC 9204 §5) and enforce.
#[derive(Clone, Copy, Debug)]
pub struct DecoderConfig {
    /// SETTINGS_QPACK_MAX_TABLE_CAPACITY, in bytes as §3.2.1 counts.
    pub max_table_capacity: u64,
    /// SETTINGS_QPACK_BLOCKED_STREAMS.
    pub max_blocked_streams: u64,
    /// Largest field section, counted as RFC 9114 §4.2.2 (name + value + 32 for each line), in bytes.
    pub max_field_section_size: u64,
}

/// What became of a field section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All lines went to the sink. `size` as RFC 9114 §4.2.2 counts.
    Complete {
        /// Bytes.
        size: u64,
    },
    /// Needs insertions that have not arrived. Keep the bytes; decode again when `poll_unblocked` names the stream.
    Blocked,
    /// Larger than `max_field_section_size`; decoding stopped before the line that crossed it. Not a connection error.
    TooLarge,
}

/// Decodes field sections; owns the dynamic table that the peer's encoder fills.
#[derive(Debug)]
pub struct Decoder {
    config: DecoderConfig,
    table: Table,
    blocked: blocked::Streams,
    encoder_stream: encoder_stream::Reader,
    /// Section Acknowledgments and Stream Cancellations that are not yet polled.
    instructions: BytesMut,
    /// How many insertions the peer knows, or will know from `instructions`, to have arrived.
    acknowledged: u64,
}

impl Decoder {
    /// A decoder with an empty table.
    pub fn new(config: DecoderConfig) -> Self {
        Self {
            config,
            table: Table::default(),
            blocked: blocked::Streams::new(config.max_blocked_streams),
            encoder_stream: encoder_stream::Reader::default(),
            instructions: BytesMut::new(),
            acknowledged: 0,
        }
    }

    /// Decodes one encoded field section of `stream`, line by line into `sink`.
    ///
    /// Names and values are slices of `section`, of the table or of one buffer for the section, so that a field line costs
    /// no allocation of its own; they keep that memory alive.
    ///
    /// Sections of one stream have to come in order. After [`Outcome::TooLarge`] the section is done with: its references
    /// are acknowledged, and the stream may go on.
    ///
    /// # Errors
    /// [`Error::DecompressionFailed`]; lines that went to the sink before it are void.
    pub fn decode(
        &mut self,
        stream: u64,
        section: &Bytes,
        sink: &mut dyn FnMut(Field),
    ) -> Result<Outcome, Error> {
        let insert_count = self.table.insert_count();
        let (prefix, mut lines) =
            section::open(section, &self.table, self.config.max_table_capacity)?;
        if prefix.required_insert_count > insert_count {
            // req: 9204-2.2.1-blocked-limit
            self.blocked.block(stream, prefix.required_insert_count, insert_count)?;
            return Ok(Outcome::Blocked);
        }
        self.blocked.forget(stream);

        let mut size = 0;
        let mut outcome = None;
        while let Some(field) = lines.next()? {
            // Counted line by line: a section of one-byte references to a long entry is cut off at the limit.
            size += field.name.len() as u64 + field.value.len() as u64 + LINE_OVERHEAD;
            if size > self.config.max_field_section_size {
                outcome = Some(Outcome::TooLarge);
                break;
            }
            sink(field);
        }
        if prefix.required_insert_count > 0 {
            self.acknowledge(stream, prefix.required_insert_count);
        }
        Ok(outcome.unwrap_or(Outcome::Complete { size }))
    }

    /// Bytes of the peer's encoder stream, in any split.
    ///
    /// # Errors
    /// [`Error::EncoderStream`].
    pub fn handle_encoder_stream(&mut self, mut data: &[u8]) -> Result<(), Error> {
        loop {
            match self.encoder_stream.next(&mut data, self.table.capacity())? {
                Some(instruction) => self.on_instruction(instruction)?,
                None => return Ok(()),
            }
        }
    }

    /// A stream whose blocked section can now be decoded, until `None`.
    pub fn poll_unblocked(&mut self) -> Option<u64> {
        self.blocked.pop(self.table.insert_count())
    }

    /// The stream was reset or abandoned before its sections were decoded (RFC 9204 §4.4.2).
    ///
    /// Call it also if no section has arrived: the peer may have sent one that is lost with the stream.
    pub fn cancel(&mut self, stream: u64) {
        self.blocked.forget(stream);
        // req: 9204-2.2.2.2-cancellation
        if self.config.max_table_capacity > 0 {
            decoder_stream::Instruction::Cancel(stream).encode(&mut self.instructions);
        }
    }

    /// Bytes to append to our decoder stream, if any.
    pub fn poll_instructions(&mut self) -> Option<Bytes> {
        let unknown = self.table.insert_count() - self.acknowledged;
        if unknown > 0 {
            // req: 9204-2.2.2.3-increment
            decoder_stream::Instruction::Increment(unknown).encode(&mut self.instructions);
            self.acknowledged = self.table.insert_count();
        }
        (!self.instructions.is_empty()).then(|| self.instructions.split().freeze())
    }

    /// Owes the peer a Section Acknowledgment, which also tells it of the insertions that the section needed.
    fn acknowledge(&mut self, stream: u64, required_insert_count: u64) {
        // req: 9204-2.2.2.1-acknowledgment
        decoder_stream::Instruction::Acknowledge(stream).encode(&mut self.instructions);
        self.acknowledged = self.acknowledged.max(required_insert_count);
    }

    fn on_instruction(
        &mut self,
        instruction: encoder_stream::Instruction,
    ) -> Result<(), EncoderStreamError> {
        use encoder_stream::{Instruction, NameReference};
        let entry = match instruction {
            Instruction::SetCapacity(capacity) => {
                let limit = self.config.max_table_capacity;
                // req: 9204-4.3.1-capacity-limit
                if capacity > limit {
                    return Err(EncoderStreamError::CapacityAboveLimit { capacity, limit });
                }
                self.table.set_capacity(capacity);
                return Ok(());
            }
            Instruction::InsertWithNameReference { name: NameReference::Static(index), value } => {
                // req: 9204-3.1-invalid-static-index
                let (name, _) =
                    static_table::entry(index).ok_or(EncoderStreamError::StaticIndex(index))?;
                let name = Bytes::from_static(name.as_bytes());
                Entry { name, value, static_name: u8::try_from(index).ok() }
            }
            Instruction::InsertWithNameReference { name: NameReference::Dynamic(index), value } => {
                // req: 9204-3.2.2-reference-to-evicted-by-itself
                // The named entry may be evicted by this very insertion, so its name is taken first.
                let named = self.entry(index)?;
                Entry { name: named.name.clone(), value, static_name: named.static_name }
            }
            Instruction::InsertWithLiteralName { name, value } => {
                Entry { name, value, static_name: None }
            }
            // req: 9204-3.2-duplicates-allowed
            Instruction::Duplicate(index) => self.entry(index)?.clone(),
        };
        // req: 9204-3.2.2-entry-larger-than-table
        let capacity = self.table.capacity();
        if self.table.insert(entry) {
            Ok(())
        } else {
            Err(EncoderStreamError::EntryTooLarge { capacity })
        }
    }

    /// The entry that the encoder stream refers to by a relative index.
    fn entry(&self, relative: u64) -> Result<&Entry, EncoderStreamError> {
        // req: 9204-2.2.3-invalid-reference-on-encoder-stream
        let index = self.table.absolute(relative);
        index
            .and_then(|index| self.table.get(index))
            .ok_or(EncoderStreamError::MissingEntry(relative))
    }
}

#[cfg(test)]
mod tests;
