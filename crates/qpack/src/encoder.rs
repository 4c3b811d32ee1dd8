//! The encoder (RFC 9204 §2.1): field lines in, field sections out.
//!
//! Each line becomes the shortest of: a reference to the static table, a reference to the dynamic table, a literal with a
//! name from either table, a literal. What is worth inserting is decided in `policy`; where content is found in the
//! dynamic table, in `index`; which references are out, in `sections`.
//!
//! The encoder allows no stream to block unless both sides allow it: with `max_blocked_streams` 0 it refers only to
//! entries that the peer has acknowledged, so that no section waits for the encoder stream, whatever is lost on the way.

use bytes::{Bytes, BytesMut};

use crate::{
    Error, FieldRef, LINE_OVERHEAD,
    instruction::{decoder_stream, encoder_stream},
};

mod dynamic;
mod index;
mod memo;
mod policy;
mod section;
mod sections;

use dynamic::Dynamic;
use memo::Memo;
use section::Section;
use sections::Sections;

/// What our encoder may use at most, whatever the peer allows.
#[derive(Clone, Copy, Debug)]
pub struct EncoderConfig {
    /// Upper bound on the dynamic table capacity that we use, in bytes.
    pub max_table_capacity: u64,
    /// Upper bound on streams that we allow to block; 0 never risks head-of-line blocking.
    pub max_blocked_streams: u64,
}

/// Encodes field sections; owns our side's dynamic table.
#[derive(Debug)]
pub struct Encoder {
    config: EncoderConfig,
    /// Until the peer's limits are known, and if they leave no room, there is no table.
    dynamic: Option<Box<Dynamic>>,
    sections: Sections,
    /// Since the second section in a row, until [`Encoder::rest`].
    memo: Option<Box<Memo>>,
    is_busy: bool,
    decoder_stream: decoder_stream::Reader,
    /// Instructions that are not yet polled.
    ///
    /// Insertions cannot be evicted before they are acknowledged, so this holds at most a table's worth of them.
    instructions: BytesMut,
}

impl Encoder {
    /// An encoder that uses the static table only, until [`Encoder::set_peer_limits`].
    pub fn new(config: EncoderConfig) -> Self {
        Self {
            config,
            dynamic: None,
            sections: Sections::default(),
            memo: None,
            is_busy: false,
            decoder_stream: decoder_stream::Reader::default(),
            instructions: BytesMut::new(),
        }
    }

    /// The peer's SETTINGS: the dynamic table may be used from now on, within the smaller of both limits.
    ///
    /// A client that remembers settings for 0-RTT calls it with those, and again when the real ones arrive; they cannot
    /// have become smaller (RFC 9204 §3.2.3), which is for the caller to check.
    pub fn set_peer_limits(&mut self, max_table_capacity: u64, blocked_streams: u64) {
        // req: 9204-3.2.3-capacity-within-limit
        let capacity = max_table_capacity.min(self.config.max_table_capacity);
        // req: 9204-3.2.3-no-table-no-instructions
        if capacity < LINE_OVERHEAD {
            return;
        }
        let dynamic =
            self.dynamic.get_or_insert_with(|| Box::new(Dynamic::new(max_table_capacity)));
        if dynamic.grow(capacity) {
            encoder_stream::set_capacity(&mut self.instructions, capacity);
        }
        // req: 9204-2.1.2-blocked-streams-limit
        self.sections.set_max_blocked(blocked_streams.min(self.config.max_blocked_streams));
    }

    /// Appends the encoded field section of `stream` to `out`.
    ///
    /// Sections of one stream have to be sent in the order in which they were encoded, and each of them has to be sent,
    /// unless the stream is reset. Instructions for the encoder stream may become due: poll them first, send them first.
    pub fn encode<'a>(
        &mut self,
        stream: u64,
        fields: impl IntoIterator<Item = FieldRef<'a>>,
        out: &mut BytesMut,
    ) {
        let start = out.len();
        // Room for the usual prefix, which is known only when all lines are written.
        out.extend_from_slice(&[0; 2]);
        // A section that cannot be kept account of refers to nothing.
        let full = self.sections.is_full();
        let dynamic = self.dynamic.as_deref_mut().filter(|_| !full);
        if self.is_busy && self.memo.is_none() {
            self.memo = Some(Box::default());
        }
        self.is_busy = true;
        let memo = self.memo.as_deref_mut();
        let (sections, instructions) = (&mut self.sections, &mut self.instructions);
        let mut section = Section::new(stream, dynamic, memo, sections, instructions);
        // req: 9204-2.1-order-kept
        for field in fields {
            section.line(field, out);
        }
        section.finish(out, start);
    }

    /// Gives back memory that only a busy connection needs.
    pub fn rest(&mut self) {
        self.memo = None;
        self.is_busy = false;
        if self.instructions.is_empty() {
            self.instructions = BytesMut::new();
        }
    }

    /// Bytes of the peer's decoder stream, in any split.
    ///
    /// # Errors
    /// [`Error::DecoderStream`].
    pub fn handle_decoder_stream(&mut self, mut data: &[u8]) -> Result<(), Error> {
        use decoder_stream::Instruction;
        let insert_count = self.dynamic.as_ref().map_or(0, |dynamic| dynamic.insert_count());
        while let Some(instruction) = self.decoder_stream.next(&mut data)? {
            match instruction {
                Instruction::Acknowledge(stream) => self.sections.acknowledge(stream)?,
                Instruction::Cancel(stream) => self.sections.cancel(stream),
                Instruction::Increment(count) => self.sections.increment(count, insert_count)?,
            }
        }
        Ok(())
    }

    /// Bytes to append to our encoder stream, if any.
    pub fn poll_instructions(&mut self) -> Option<Bytes> {
        (!self.instructions.is_empty()).then(|| self.instructions.split().freeze())
    }
}

#[cfg(test)]
mod tests;
