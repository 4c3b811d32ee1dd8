//! The examples of RFC 9204 appendix B, byte by byte: one connection with a table of 220 bytes.

use bytes::Bytes;
use sterna_qpack::{Decoder, DecoderConfig, DecompressionFailed, Error, Field, Outcome};

fn decoder() -> Decoder {
    Decoder::new(DecoderConfig {
        max_table_capacity: 220,
        max_blocked_streams: 1,
        max_field_section_size: 4096,
    })
}

fn decode(decoder: &mut Decoder, stream: u64, section: &[u8]) -> Vec<(Bytes, Bytes)> {
    let mut lines = Vec::new();
    let sink = &mut |field: Field| lines.push((field.name, field.value));
    let outcome = decoder.decode(stream, &Bytes::copy_from_slice(section), sink);
    assert!(matches!(outcome, Ok(Outcome::Complete { .. })), "{outcome:?}");
    lines
}

fn line(name: &'static str, value: &'static str) -> (Bytes, Bytes) {
    (Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes()))
}

/// B.1.
#[test]
fn literal_field_line_with_name_reference() {
    let section = b"\x00\x00\x51\x0b/index.html";
    assert_eq!(decode(&mut decoder(), 0, section), [line(":path", "/index.html")]);
}

/// B.2 to B.5 build on each other.
#[test]
fn dynamic_table_speculative_insert_duplicate_and_eviction() {
    let mut decoder = decoder();

    // B.2: the section arrives before the insertions that it needs.
    let section = Bytes::from_static(b"\x03\x81\x10\x11");
    assert_eq!(decoder.decode(4, &section, &mut |_| ()), Ok(Outcome::Blocked));
    decoder
        .handle_encoder_stream(b"\x3f\xbd\x01\xc0\x0fwww.example.com\xc1\x0c/sample/path")
        .unwrap();
    assert_eq!(decoder.poll_unblocked(), Some(4));
    let lines = [line(":authority", "www.example.com"), line(":path", "/sample/path")];
    assert_eq!(decode(&mut decoder, 4, &section), lines);
    assert_eq!(decoder.poll_instructions(), Some(Bytes::from_static(b"\x84")));

    // B.3: an insertion that no section refers to yet.
    decoder.handle_encoder_stream(b"\x4acustom-key\x0ccustom-value").unwrap();
    assert_eq!(decoder.poll_instructions(), Some(Bytes::from_static(b"\x01")));

    // B.4: a duplicate, referred to with relative indices; then the stream is cancelled.
    decoder.handle_encoder_stream(b"\x02").unwrap();
    let lines = [
        line(":authority", "www.example.com"),
        line(":path", "/"),
        line("custom-key", "custom-value"),
    ];
    assert_eq!(decode(&mut decoder, 8, b"\x05\x00\x80\xc1\x81"), lines);
    decoder.cancel(8);
    assert_eq!(decoder.poll_instructions(), Some(Bytes::from_static(b"\x88\x48")));

    // B.5: an insertion by a name of the dynamic table, which evicts the first entry.
    decoder.handle_encoder_stream(b"\x81\x0dcustom-value2").unwrap();
    assert_eq!(decoder.poll_instructions(), Some(Bytes::from_static(b"\x01")));
    let lines = [
        line(":path", "/sample/path"),
        line("custom-key", "custom-value"),
        line(":authority", "www.example.com"),
        line("custom-key", "custom-value2"),
    ];
    assert_eq!(decode(&mut decoder, 12, b"\x06\x00\x83\x82\x81\x80"), lines);
    let outcome = decoder.decode(16, &Bytes::from_static(b"\x06\x00\x84"), &mut |_| ());
    let evicted = Error::DecompressionFailed(DecompressionFailed::EvictedEntry(0));
    assert_eq!(outcome, Err(evicted));
}
