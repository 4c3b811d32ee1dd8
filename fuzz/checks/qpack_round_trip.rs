//! Any fields through our encoder and our decoder: the same come out, whatever is acknowledged when.
//!
//! The input is three bytes of limits, then fields: a byte that says what else happens, two lengths, name and value.

use bytes::BytesMut;
use sterna_qpack::{Decoder, DecoderConfig, Encoder, EncoderConfig, Field, FieldRef, Outcome};

pub(crate) fn check(input: &[u8]) {
    let Some((&[capacity, blocked, ours], mut rest)) = input.split_first_chunk() else { return };
    let config = DecoderConfig {
        max_table_capacity: u64::from(capacity) * 16,
        max_blocked_streams: u64::from(blocked % 8),
        max_field_section_size: u64::MAX,
    };
    let ours = EncoderConfig {
        max_table_capacity: u64::from(ours) * 16,
        max_blocked_streams: u64::from(blocked % 3),
    };
    let mut pair = Pair { encoder: Encoder::new(ours), decoder: Decoder::new(config), stream: 0 };
    pair.encoder.set_peer_limits(config.max_table_capacity, config.max_blocked_streams);
    let mut lines: Vec<FieldRef<'_>> = Vec::new();
    while let Some((&[what, name, value], after)) = rest.split_first_chunk() {
        let (name, after) = after.split_at(usize::from(name).min(after.len()));
        let (value, after) = after.split_at(usize::from(value).min(after.len()));
        rest = after;
        lines.push(FieldRef { name, value, sensitive: what & 1 != 0 });
        if what & 2 != 0 {
            pair.message(&std::mem::take(&mut lines));
        }
        if what & 4 != 0 {
            pair.acknowledge();
        }
    }
    pair.message(&lines);
    pair.acknowledge();
}

struct Pair {
    encoder: Encoder,
    decoder: Decoder,
    stream: u64,
}

impl Pair {
    fn message(&mut self, lines: &[FieldRef<'_>]) {
        let mut section = BytesMut::new();
        self.stream += 4;
        self.encoder.encode(self.stream, lines.iter().copied(), &mut section);
        let instructions = self.encoder.poll_instructions().unwrap_or_default();
        self.decoder.handle_encoder_stream(&instructions).expect("our own instructions");
        let mut decoded = Vec::new();
        let sink = &mut |field: Field| decoded.push(field);
        let outcome = self.decoder.decode(self.stream, &section.freeze(), sink);
        assert!(matches!(outcome, Ok(Outcome::Complete { .. })), "{outcome:?}");
        let decoded: Vec<FieldRef<'_>> = decoded.iter().map(FieldRef::from).collect();
        assert_eq!(decoded, lines);
    }

    fn acknowledge(&mut self) {
        let instructions = self.decoder.poll_instructions().unwrap_or_default();
        self.encoder.handle_decoder_stream(&instructions).expect("our own acknowledgments");
    }
}
