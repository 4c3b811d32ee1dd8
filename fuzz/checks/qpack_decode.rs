//! A QPACK connection against any bytes: nothing panics, a split changes nothing, and what was decoded survives our
//! own encoder.
//!
//! The input is a header of four bytes (limits), then operations: a byte that says what, a byte that says how long, and
//! so many bytes.

use bytes::{Bytes, BytesMut};
use sterna_qpack::{
    Decoder, DecoderConfig, Encoder, EncoderConfig, Error, Field, FieldRef, Outcome,
};

pub(crate) fn check(input: &[u8]) {
    let Some((&[capacity, blocked, ours, size], operations)) = input.split_first_chunk() else {
        return;
    };
    let config = DecoderConfig {
        max_table_capacity: u64::from(capacity) * 16,
        max_blocked_streams: u64::from(blocked % 8),
        max_field_section_size: u64::from(size) * 256,
    };
    Connection::new(config, u64::from(ours) * 16).run(operations);
}

struct Connection {
    /// Gets its input whole.
    decoder: Decoder,
    /// Gets its input byte by byte.
    other: Decoder,
    /// Gets what was decoded, and any bytes for its decoder stream.
    encoder: Encoder,
    /// Reads what `encoder` writes.
    reader: Decoder,
    next_stream: u64,
}

impl Connection {
    fn new(config: DecoderConfig, ours: u64) -> Self {
        let mut encoder =
            Encoder::new(EncoderConfig { max_table_capacity: ours, max_blocked_streams: 3 });
        encoder.set_peer_limits(config.max_table_capacity, config.max_blocked_streams);
        let reader = Decoder::new(DecoderConfig { max_field_section_size: u64::MAX, ..config });
        let (decoder, other) = (Decoder::new(config), Decoder::new(config));
        Self { decoder, other, encoder, reader, next_stream: 0 }
    }

    fn run(mut self, mut operations: &[u8]) {
        while let Some((&[what, length], rest)) = operations.split_first_chunk() {
            let (data, rest) = rest.split_at(usize::from(length).min(rest.len()));
            operations = rest;
            let outcome = match what % 5 {
                0 => self.encoder_stream(data),
                1 => self.section(u64::from(what / 5), data),
                2 => self.acknowledge(),
                3 => {
                    self.decoder.cancel(u64::from(what));
                    self.other.cancel(u64::from(what));
                    Ok(())
                }
                _ => {
                    // Whatever it makes of them: after an error the connection is closed.
                    let _ = self.encoder.handle_decoder_stream(data);
                    return;
                }
            };
            if outcome.is_err() {
                return;
            }
        }
    }

    fn encoder_stream(&mut self, data: &[u8]) -> Result<(), Error> {
        let whole = self.decoder.handle_encoder_stream(data);
        let bytes = data.chunks(1).try_for_each(|byte| self.other.handle_encoder_stream(byte));
        assert_eq!(whole, bytes, "any split gives the same");
        whole?;
        while let Some(stream) = self.decoder.poll_unblocked() {
            assert_eq!(self.other.poll_unblocked(), Some(stream));
        }
        assert_eq!(self.other.poll_unblocked(), None);
        assert_eq!(self.decoder.poll_instructions(), self.other.poll_instructions());
        Ok(())
    }

    fn section(&mut self, stream: u64, data: &[u8]) -> Result<(), Error> {
        let section = Bytes::copy_from_slice(data);
        let mut lines = Vec::new();
        let outcome = self.decoder.decode(stream, &section, &mut |field| lines.push(field));
        let mut again = Vec::new();
        let other = self.other.decode(stream, &section, &mut |field| again.push(field));
        assert_eq!((&outcome, &lines), (&other, &again));
        if let Outcome::Complete { .. } = outcome? {
            self.round_trip(&lines);
        }
        Ok(())
    }

    /// Our encoder writes the lines so that our decoder reads them.
    fn round_trip(&mut self, lines: &[Field]) {
        let mut section = BytesMut::new();
        self.next_stream += 4;
        self.encoder.encode(self.next_stream, lines.iter().map(FieldRef::from), &mut section);
        let instructions = self.encoder.poll_instructions().unwrap_or_default();
        self.reader.handle_encoder_stream(&instructions).expect("our own instructions");
        let mut decoded = Vec::new();
        let sink = &mut |field: Field| decoded.push(field);
        let outcome = self.reader.decode(self.next_stream, &section.freeze(), sink);
        assert!(matches!(outcome, Ok(Outcome::Complete { .. })), "{outcome:?}");
        let decoded: Vec<FieldRef<'_>> = decoded.iter().map(FieldRef::from).collect();
        let lines: Vec<FieldRef<'_>> = lines.iter().map(FieldRef::from).collect();
        assert_eq!(decoded, lines);
    }

    fn acknowledge(&mut self) -> Result<(), Error> {
        let instructions = self.reader.poll_instructions().unwrap_or_default();
        self.encoder.handle_decoder_stream(&instructions)
    }
}
