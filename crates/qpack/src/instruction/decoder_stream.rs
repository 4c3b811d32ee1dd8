//! Instructions from a decoder to an encoder (RFC 9204 §4.4).
//!
//! ```text
//! Section Acknowledgment   1 Stream ID (7+)
//! Stream Cancellation      0 1 Stream ID (6+)
//! Insert Count Increment   0 0 Increment (6+)
//! ```

use bytes::BufMut;

use super::next_byte;
use crate::{
    DecoderStreamError,
    integer::{self, Step},
};

/// An instruction on the decoder stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// The oldest unacknowledged section of this stream was decoded.
    Acknowledge(u64),
    /// The sections of this stream will not be decoded.
    Cancel(u64),
    /// So many more insertions have arrived.
    Increment(u64),
}

impl Instruction {
    pub(crate) fn encode(self, out: &mut impl BufMut) {
        match self {
            Self::Acknowledge(stream) => integer::encode(out, 0x80, 7, stream),
            Self::Cancel(stream) => integer::encode(out, 0x40, 6, stream),
            Self::Increment(count) => integer::encode(out, 0x00, 6, count),
        }
    }
}

/// Reads instructions in any split.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    unfinished: Option<(Kind, integer::Partial)>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Acknowledge,
    Cancel,
    Increment,
}

impl Reader {
    /// The next instruction that is complete.
    ///
    /// # Errors
    /// An integer overflows.
    pub(crate) fn next(
        &mut self,
        input: &mut &[u8],
    ) -> Result<Option<Instruction>, DecoderStreamError> {
        while let Some(byte) = next_byte(input) {
            let (kind, step) = match self.unfinished.take() {
                Some((kind, partial)) => (kind, partial.push(byte)?),
                None => {
                    let (kind, prefix) = match byte.leading_zeros() {
                        0 => (Kind::Acknowledge, 7),
                        1 => (Kind::Cancel, 6),
                        _ => (Kind::Increment, 6),
                    };
                    (kind, integer::Partial::begin(byte, prefix))
                }
            };
            match step {
                Step::More(partial) => self.unfinished = Some((kind, partial)),
                Step::Done(value) => {
                    return Ok(Some(match kind {
                        Kind::Acknowledge => Instruction::Acknowledge(value),
                        Kind::Cancel => Instruction::Cancel(value),
                        Kind::Increment => Instruction::Increment(value),
                    }));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_round_trip_in_any_split() {
        let sent = [
            Instruction::Acknowledge(4),
            Instruction::Acknowledge(1 << 40),
            Instruction::Cancel(8),
            Instruction::Cancel(63),
            Instruction::Increment(1),
            Instruction::Increment(integer::MAX),
        ];
        let mut wire = Vec::new();
        for instruction in sent {
            instruction.encode(&mut wire);
        }
        for size in 1..=wire.len() {
            let mut reader = Reader::default();
            let mut received = Vec::new();
            for mut chunk in wire.chunks(size) {
                while let Some(instruction) = reader.next(&mut chunk).unwrap() {
                    received.push(instruction);
                }
            }
            assert_eq!(received, sent);
        }
    }

    #[test]
    fn an_integer_above_62_bits_overflows() {
        let mut wire = Vec::new();
        integer::encode(&mut wire, 0x00, 6, integer::MAX + 1);
        assert_eq!(
            Reader::default().next(&mut wire.as_slice()),
            Err(DecoderStreamError::IntegerOverflow)
        );
    }
}
