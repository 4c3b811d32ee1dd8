use bytes::{Bytes, BytesMut};

use super::*;
use crate::{DecompressionFailed, Encoder, EncoderConfig, FieldRef};

#[test]
fn static_and_literal_lines_come_back_from_our_encoder() {
    let fields = [
        (":status", "200", false),
        ("content-type", "text/html", false),
        ("x-custom", "Value With CAPS", false),
        ("authorization", "secret", true),
        ("x-secret", "secret", true),
    ];
    let mut encoder = Encoder::new(EncoderConfig { max_table_capacity: 0, max_blocked_streams: 0 });
    let mut section = BytesMut::new();
    let lines = fields.map(|(name, value, sensitive)| FieldRef {
        name: name.as_bytes(),
        value: value.as_bytes(),
        sensitive,
    });
    encoder.encode(0, lines, &mut section);
    let mut decoder = Decoder::new(DecoderConfig {
        max_table_capacity: 0,
        max_blocked_streams: 0,
        max_field_section_size: 1 << 16,
    });
    let mut decoded = Vec::new();
    let outcome = decoder.decode(0, &section.freeze(), &mut |field| decoded.push(field));
    assert_eq!(outcome, Ok(Outcome::Complete { size: 247 }));
    let decoded: Vec<FieldRef<'_>> = decoded.iter().map(FieldRef::from).collect();
    assert_eq!(decoded, lines);
}

#[test]
fn truncated() {
    let mut decoder = Decoder::new(DecoderConfig {
        max_table_capacity: 0,
        max_blocked_streams: 0,
        max_field_section_size: 1 << 16,
    });
    let outcome = decoder.decode(0, &Bytes::new(), &mut |_| ());
    assert_eq!(outcome, Err(DecompressionFailed::Truncated.into()));
}
