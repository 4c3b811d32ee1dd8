use bytes::BytesMut;

use super::*;
use crate::{
    DecompressionFailed, HuffmanRule,
    instruction::encoder_stream::{
        NameReference, duplicate, insert_with_literal_name, insert_with_name_reference,
        set_capacity,
    },
    integer, literal,
};

const CONFIG: DecoderConfig = DecoderConfig {
    max_table_capacity: 4096,
    max_blocked_streams: 2,
    max_field_section_size: 1 << 16,
};

impl Decoder {
    pub(crate) fn insert_count(&self) -> u64 {
        self.table.insert_count()
    }

    pub(crate) fn assert_holds(&self, table: &Table) {
        assert_eq!(&self.table, table);
    }

    /// The lines of a section, and what became of it.
    fn lines(&mut self, stream: u64, section: &[u8]) -> (Vec<Field>, Result<Outcome, Error>) {
        let mut fields = Vec::new();
        let section = Bytes::copy_from_slice(section);
        let outcome = self.decode(stream, &section, &mut |field| fields.push(field));
        (fields, outcome)
    }

    fn outcome(&mut self, stream: u64, section: &[u8]) -> Result<Outcome, Error> {
        self.lines(stream, section).1
    }
}

/// A decoder that has received a capacity of 4096 and these insertions.
fn decoder(insertions: &[(&str, &str)]) -> Decoder {
    let mut decoder = Decoder::new(CONFIG);
    let mut wire = Vec::new();
    set_capacity(&mut wire, 4096);
    for (name, value) in insertions {
        insert_with_literal_name(&mut wire, name.as_bytes(), value.as_bytes());
    }
    decoder.handle_encoder_stream(&wire).unwrap();
    decoder
}

fn on_encoder_stream(
    decoder: &mut Decoder,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<(), EncoderStreamError> {
    let mut wire = Vec::new();
    write(&mut wire);
    decoder.handle_encoder_stream(&wire).map_err(|error| match error {
        Error::EncoderStream(error) => error,
        other => panic!("{other} is no error of the encoder stream"),
    })
}

fn field(name: &'static str, value: &'static str) -> Field {
    Field {
        name: Bytes::from_static(name.as_bytes()),
        value: Bytes::from_static(value.as_bytes()),
        static_name: None,
        never_indexed: false,
    }
}

fn failed(reason: DecompressionFailed) -> Result<Outcome, Error> {
    Err(Error::DecompressionFailed(reason))
}

#[test]
fn each_kind_of_error_has_its_code() {
    assert_eq!(Error::from(DecompressionFailed::Truncated).code(), 0x200);
    assert_eq!(Error::from(EncoderStreamError::IntegerOverflow).code(), 0x201);
    assert_eq!(Error::from(crate::DecoderStreamError::ZeroIncrement).code(), 0x202);
}

// req: 9204-4.5-field-lines, 9204-4.5.4-only-the-name, 9204-3.2.6-post-base-index
#[test]
fn every_form_of_a_field_line_is_decoded() {
    let mut decoder = decoder(&[("x-a", "0"), ("x-b", "1"), ("x-c", "2")]);
    let mut section = Vec::new();
    integer::encode(&mut section, 0x00, 8, 4); // Required Insert Count 3
    integer::encode(&mut section, 0x80, 7, 1); // Base 1
    integer::encode(&mut section, 0xc0, 6, 17); // :method GET
    integer::encode(&mut section, 0x80, 6, 0); // x-a 0
    integer::encode(&mut section, 0x10, 4, 1); // x-c 2
    integer::encode(&mut section, 0x70, 4, 92); // server, never indexed
    literal::encode(&mut section, 0, 7, b"sterna");
    integer::encode(&mut section, 0x40, 4, 0); // x-a
    literal::encode(&mut section, 0, 7, b"\xff");
    integer::encode(&mut section, 0x08, 3, 0); // x-b, never indexed
    literal::encode(&mut section, 0, 7, b"");
    literal::encode(&mut section, 0x20, 3, b"X~");
    literal::encode(&mut section, 0, 7, b"value");
    literal::encode(&mut section, 0x30, 3, b"name"); // never indexed
    literal::encode(&mut section, 0, 7, b"{}");
    let (fields, outcome) = decoder.lines(4, &section);
    let expected = [
        Field { static_name: Some(17), ..field(":method", "GET") },
        field("x-a", "0"),
        field("x-c", "2"),
        Field { static_name: Some(92), never_indexed: true, ..field("server", "sterna") },
        Field { value: Bytes::from_static(b"\xff"), ..field("x-a", "") },
        Field { never_indexed: true, ..field("x-b", "") },
        field("X~", "value"),
        Field { never_indexed: true, ..field("name", "{}") },
    ];
    assert_eq!(fields, expected);
    let octets: usize = expected.iter().map(|f| f.name.len() + f.value.len() + 32).sum();
    assert_eq!(outcome, Ok(Outcome::Complete { size: octets as u64 }));
}

#[test]
fn lines_without_huffman_code_are_slices_of_the_section() {
    let mut section = vec![0, 0];
    literal::encode(&mut section, 0x20, 3, b"~~");
    literal::encode(&mut section, 0, 7, b"{}");
    let section = Bytes::from(section);
    let mut fields = Vec::new();
    decoder(&[]).decode(0, &section, &mut |field| fields.push(field)).unwrap();
    assert_eq!(fields[0].name.as_ptr(), section[3..].as_ptr());
    assert_eq!(fields[0].value.as_ptr(), section[6..].as_ptr());
}

#[test]
fn a_section_cut_short_anywhere_is_truncated_or_a_whole_number_of_lines() {
    let mut section = vec![0, 0];
    literal::encode(&mut section, 0x20, 3, b"name-that-is-long");
    literal::encode(&mut section, 0, 7, b"value");
    for end in 0..section.len() {
        let outcome = decoder(&[]).outcome(0, &section[..end]);
        match end {
            2 => assert_eq!(outcome, Ok(Outcome::Complete { size: 0 })),
            _ => assert_eq!(outcome, failed(DecompressionFailed::Truncated), "{end}"),
        }
    }
}

// req: 9204-4.1.1-integers-of-62-bits
#[test]
fn an_integer_above_62_bits_overflows() {
    let mut section = vec![0, 0];
    integer::encode(&mut section, 0xc0, 6, 1 << 62);
    assert_eq!(decoder(&[]).outcome(0, &section), failed(DecompressionFailed::IntegerOverflow));
}

// req: 9204-4.1.2-huffman-padding
// req: 9204-4.1.2-huffman-eos
#[test]
fn invalid_huffman_code_is_refused() {
    let code = |bytes: &[u8]| [&[0, 0, 0x50, 0x80 | bytes.len() as u8], bytes].concat();
    for (section, rule) in [
        (code(&[0x00]), HuffmanRule::PaddingNotOnes),
        (code(&[0x07, 0xff]), HuffmanRule::PaddingTooLong),
        (code(&[0xff; 4]), HuffmanRule::EndOfString),
    ] {
        let outcome = decoder(&[]).outcome(0, &section);
        assert_eq!(outcome, failed(DecompressionFailed::Huffman(rule)));
    }
}

// req: 9204-3.1-invalid-static-index
#[test]
fn static_entry_98_is_the_last() {
    let indexed = |index| {
        let mut section = vec![0, 0];
        integer::encode(&mut section, 0xc0, 6, index);
        section
    };
    assert_eq!(
        decoder(&[]).lines(0, &indexed(98)).0,
        [Field { static_name: Some(98), ..field("x-frame-options", "sameorigin") }]
    );
    let refused = failed(DecompressionFailed::StaticIndex(99));
    assert_eq!(decoder(&[]).outcome(0, &indexed(99)), refused);
    let mut named = vec![0, 0];
    integer::encode(&mut named, 0x50, 4, 99);
    literal::encode(&mut named, 0, 7, b"");
    assert_eq!(decoder(&[]).outcome(0, &named), refused);
}

// req: 9204-4.5.1.1-invalid-required-insert-count
#[test]
fn a_required_insert_count_above_the_full_range_is_refused() {
    let section = |encoded| {
        let mut section = Vec::new();
        integer::encode(&mut section, 0, 8, encoded);
        section.push(0);
        section
    };
    let mut decoder = decoder(&[]);
    assert_eq!(decoder.outcome(0, &section(129)), Ok(Outcome::Blocked));
    let refused = failed(DecompressionFailed::RequiredInsertCount(257));
    assert_eq!(decoder.outcome(0, &section(257)), refused);
}

// req: 9204-4.5.1.2-base-not-negative
#[test]
fn a_base_below_zero_is_refused() {
    let mut decoder = decoder(&[("x-a", "0")]);
    assert_eq!(decoder.outcome(0, &[2, 0x80]), Ok(Outcome::Complete { size: 0 }), "base 0");
    assert_eq!(decoder.outcome(0, &[2, 0x81]), failed(DecompressionFailed::NegativeBase));
    assert_eq!(decoder.outcome(0, &[0, 0x80]), failed(DecompressionFailed::NegativeBase));
}

// req: 9204-2.2.3-invalid-reference-in-section
#[test]
fn a_relative_index_before_the_first_entry_is_refused() {
    let mut decoder = decoder(&[("x-a", "0")]);
    assert_eq!(decoder.lines(0, &[2, 0, 0x80]).0, [field("x-a", "0")]);
    let refused = failed(DecompressionFailed::RelativeIndex { index: 1, base: 1 });
    assert_eq!(decoder.outcome(0, &[2, 0, 0x81]), refused);
}

// req: 9204-2.2.1-required-insert-count-too-small
#[test]
fn a_reference_at_the_required_insert_count_is_refused() {
    let mut decoder = decoder(&[("x-a", "0"), ("x-b", "1")]);
    let refused = failed(DecompressionFailed::BeyondRequiredInsertCount { index: 1, required: 1 });
    assert_eq!(decoder.outcome(0, &[2, 1, 0x80]), refused, "below base");
    assert_eq!(decoder.outcome(0, &[2, 0, 0x10]), refused, "at base");
    assert_eq!(decoder.lines(0, &[2, 1, 0x81]).0, [field("x-a", "0")]);
}

// req: 9204-2.2.3-invalid-reference-in-section
#[test]
fn a_reference_to_an_evicted_entry_is_refused() {
    let mut decoder = decoder(&[("x-a", "0"), ("x-b", "1")]);
    on_encoder_stream(&mut decoder, |wire| set_capacity(wire, 40)).unwrap();
    let refused = failed(DecompressionFailed::EvictedEntry(0));
    assert_eq!(decoder.outcome(0, &[3, 0, 0x81]), refused);
    assert_eq!(decoder.lines(0, &[3, 0, 0x80]).0, [field("x-b", "1")]);
}

// req: 9204-2.2.1-blocked-limit
#[test]
fn as_many_streams_may_block_as_announced_and_not_one_more() {
    let mut decoder = decoder(&[]);
    assert_eq!(decoder.outcome(0, &[2, 0, 0x80]), Ok(Outcome::Blocked));
    assert_eq!(decoder.outcome(4, &[3, 0, 0x80]), Ok(Outcome::Blocked));
    assert_eq!(decoder.outcome(4, &[3, 0, 0x80]), Ok(Outcome::Blocked), "is the same stream");
    let refused = failed(DecompressionFailed::BlockedStreams(2));
    assert_eq!(decoder.outcome(8, &[2, 0, 0x80]), refused);
}

#[test]
fn a_blocked_stream_is_named_once_its_last_insertion_arrived() {
    let mut decoder = decoder(&[]);
    assert_eq!(decoder.outcome(0, &[3, 0, 0x80]), Ok(Outcome::Blocked));
    assert_eq!(decoder.outcome(4, &[2, 0, 0x80]), Ok(Outcome::Blocked));
    let mut insert = |value: &str| {
        let write = |wire: &mut Vec<u8>| insert_with_literal_name(wire, b"x", value.as_bytes());
        on_encoder_stream(&mut decoder, write).unwrap();
        std::iter::from_fn(|| decoder.poll_unblocked()).collect::<Vec<_>>()
    };
    assert_eq!(insert("0"), [4]);
    assert_eq!(insert("1"), [0]);
    assert_eq!(decoder.lines(0, &[3, 0, 0x80]).0, [field("x", "1")]);
    assert_eq!(decoder.lines(4, &[2, 0, 0x80]).0, [field("x", "0")]);
}

#[test]
fn a_stream_that_went_on_by_itself_is_not_named() {
    let mut decoder = decoder(&[]);
    assert_eq!(decoder.outcome(0, &[2, 0]), Ok(Outcome::Blocked));
    on_encoder_stream(&mut decoder, |wire| insert_with_literal_name(wire, b"x", b"")).unwrap();
    assert_eq!(decoder.outcome(0, &[2, 0]), Ok(Outcome::Complete { size: 0 }));
    assert_eq!(decoder.poll_unblocked(), None);
}

#[test]
fn a_freed_stream_makes_place_before_it_is_polled() {
    let mut decoder = decoder(&[]);
    assert_eq!(decoder.outcome(0, &[2, 0]), Ok(Outcome::Blocked));
    assert_eq!(decoder.outcome(4, &[2, 0]), Ok(Outcome::Blocked));
    on_encoder_stream(&mut decoder, |wire| insert_with_literal_name(wire, b"x", b"")).unwrap();
    assert_eq!(decoder.outcome(8, &[3, 0]), Ok(Outcome::Blocked));
    assert_eq!(decoder.outcome(12, &[3, 0]), Ok(Outcome::Blocked));
    assert_eq!(decoder.outcome(16, &[3, 0]), failed(DecompressionFailed::BlockedStreams(2)));
}

#[test]
fn a_cancelled_stream_is_not_blocked_any_more() {
    let mut decoder = decoder(&[]);
    assert_eq!(decoder.outcome(0, &[2, 0]), Ok(Outcome::Blocked));
    assert_eq!(decoder.outcome(4, &[2, 0]), Ok(Outcome::Blocked));
    decoder.cancel(0);
    assert_eq!(decoder.outcome(8, &[2, 0]), Ok(Outcome::Blocked));
    on_encoder_stream(&mut decoder, |wire| insert_with_literal_name(wire, b"x", b"")).unwrap();
    assert_eq!(decoder.poll_unblocked(), Some(4));
    assert_eq!(decoder.poll_unblocked(), Some(8));
    assert_eq!(decoder.poll_unblocked(), None);
}

// req: 9204-2.2.2.1-acknowledgment
// req: 9204-2.2.2.3-increment
#[test]
fn insertions_are_acknowledged_once_by_section_or_by_one_increment() {
    let mut decoder = decoder(&[("x-a", "0"), ("x-b", "1"), ("x-c", "2")]);
    assert_eq!(decoder.outcome(8, &[3, 0, 0x80]), Ok(Outcome::Complete { size: 36 }));
    // Section Acknowledgment for stream 8, which covers two; then one more.
    assert_eq!(decoder.poll_instructions(), Some(Bytes::from_static(&[0x88, 0x01])));
    assert_eq!(decoder.poll_instructions(), None);
    assert_eq!(decoder.outcome(8, &[2, 0, 0x80]), Ok(Outcome::Complete { size: 36 }));
    assert_eq!(decoder.poll_instructions(), Some(Bytes::from_static(&[0x88])));
}

// req: 9204-2.2.2.1-acknowledgment
#[test]
fn a_section_without_dynamic_references_is_not_acknowledged() {
    let mut decoder = decoder(&[]);
    assert_eq!(decoder.outcome(0, &[0, 0, 0xd1]), Ok(Outcome::Complete { size: 42 }));
    assert_eq!(decoder.poll_instructions(), None);
}

// req: 9204-2.2.2.2-cancellation
#[test]
fn a_cancelled_stream_is_reported_unless_there_is_no_table() {
    let mut decoder = decoder(&[]);
    decoder.cancel(8);
    assert_eq!(decoder.poll_instructions(), Some(Bytes::from_static(&[0x48])));
    let mut without = Decoder::new(DecoderConfig { max_table_capacity: 0, ..CONFIG });
    without.cancel(8);
    assert_eq!(without.poll_instructions(), None);
}

#[test]
fn a_section_at_the_size_limit_passes_and_one_octet_more_does_not() {
    let section = |value: &[u8]| {
        let mut section = vec![0, 0];
        literal::encode(&mut section, 0x20, 3, b"name");
        literal::encode(&mut section, 0, 7, value);
        section
    };
    let mut decoder = Decoder::new(DecoderConfig { max_field_section_size: 40, ..CONFIG });
    assert_eq!(decoder.outcome(0, &section(b"1234")), Ok(Outcome::Complete { size: 40 }));
    assert_eq!(decoder.lines(0, &section(b"12345")), (vec![], Ok(Outcome::TooLarge)));
}

#[test]
fn a_bomb_of_references_stops_at_the_limit_and_is_acknowledged() {
    let long = "v".repeat(3000);
    let mut decoder = decoder(&[("x-long", &long)]);
    decoder.poll_instructions();
    let mut section = vec![2, 0];
    section.extend([0x80; 10_000]);
    let (fields, outcome) = decoder.lines(4, &section);
    assert_eq!(outcome, Ok(Outcome::TooLarge));
    assert_eq!(fields.len(), (1 << 16) / (3000 + 6 + 32));
    assert_eq!(decoder.poll_instructions(), Some(Bytes::from_static(&[0x84])));
}

// req: 9204-4.3.1-capacity-limit
#[test]
fn a_capacity_at_the_limit_passes_and_one_more_does_not() {
    let mut decoder = Decoder::new(CONFIG);
    assert_eq!(on_encoder_stream(&mut decoder, |wire| set_capacity(wire, 4096)), Ok(()));
    let refused = EncoderStreamError::CapacityAboveLimit { capacity: 4097, limit: 4096 };
    assert_eq!(on_encoder_stream(&mut decoder, |wire| set_capacity(wire, 4097)), Err(refused));
}

// req: 9204-3.1-invalid-static-index
#[test]
fn an_insertion_with_an_unknown_static_name_is_refused() {
    let insert = |index| {
        move |wire: &mut Vec<u8>| {
            insert_with_name_reference(wire, NameReference::Static(index), b"");
        }
    };
    assert_eq!(on_encoder_stream(&mut decoder(&[]), insert(98)), Ok(()));
    let refused = Err(EncoderStreamError::StaticIndex(99));
    assert_eq!(on_encoder_stream(&mut decoder(&[]), insert(99)), refused);
}

// req: 9204-2.2.3-invalid-reference-on-encoder-stream
#[test]
fn an_instruction_that_refers_to_no_entry_is_refused() {
    let refused = Err(EncoderStreamError::MissingEntry(1));
    let mut one = decoder(&[("x-a", "0")]);
    assert_eq!(on_encoder_stream(&mut one, |wire| duplicate(wire, 1)), refused);
    let named = |wire: &mut Vec<u8>| {
        insert_with_name_reference(wire, NameReference::Dynamic(1), b"");
    };
    assert_eq!(on_encoder_stream(&mut decoder(&[("x-a", "0")]), named), refused);
    let mut evicted = decoder(&[("x-a", "0"), ("x-b", "1")]);
    on_encoder_stream(&mut evicted, |wire| set_capacity(wire, 40)).unwrap();
    assert_eq!(on_encoder_stream(&mut evicted, |wire| duplicate(wire, 1)), refused);
}

// req: 9204-3.2.2-entry-larger-than-table
#[test]
fn an_entry_larger_than_the_table_is_refused_however_it_is_made() {
    let refused = Err(EncoderStreamError::EntryTooLarge { capacity: 40 });
    let small = || {
        let mut decoder = decoder(&[]);
        on_encoder_stream(&mut decoder, |wire| {
            set_capacity(wire, 40);
            insert_with_literal_name(wire, b"12345678", b"");
        })
        .unwrap();
        decoder
    };
    let literal = |wire: &mut Vec<u8>| insert_with_literal_name(wire, b"1234", b"56789");
    assert_eq!(on_encoder_stream(&mut small(), literal), refused);
    // Only the table knows how long a name is that is referred to.
    let named =
        |wire: &mut Vec<u8>| insert_with_name_reference(wire, NameReference::Dynamic(0), b"9");
    assert_eq!(on_encoder_stream(&mut small(), named), refused);
    let named =
        |wire: &mut Vec<u8>| insert_with_name_reference(wire, NameReference::Static(0), b"");
    assert_eq!(on_encoder_stream(&mut small(), named), refused, ":authority has 10 octets");
}

// req: 9204-3.2.2-reference-to-evicted-by-itself
#[test]
fn an_insertion_may_refer_to_the_entry_that_it_evicts() {
    let mut decoder = decoder(&[]);
    on_encoder_stream(&mut decoder, |wire| {
        set_capacity(wire, 40);
        insert_with_literal_name(wire, b"name", b"one");
        insert_with_name_reference(wire, NameReference::Dynamic(0), b"two");
        duplicate(wire, 0);
    })
    .unwrap();
    assert_eq!(decoder.lines(0, &[4, 0, 0x80]).0, [field("name", "two")]);
}

// req: 9204-3.2-duplicates-allowed
#[test]
fn the_same_line_may_be_in_the_table_twice() {
    let mut decoder = decoder(&[("x-a", "0"), ("x-a", "0")]);
    on_encoder_stream(&mut decoder, |wire| duplicate(wire, 0)).unwrap();
    assert_eq!(decoder.lines(0, &[4, 0, 0x80, 0x82]).0, [field("x-a", "0"), field("x-a", "0")]);
}

// req: 9204-3.2.3-capacity-zero-at-first
#[test]
fn nothing_fits_before_a_capacity_is_set() {
    let insert = |wire: &mut Vec<u8>| insert_with_literal_name(wire, b"", b"");
    let refused = Err(EncoderStreamError::EntryTooLarge { capacity: 0 });
    assert_eq!(on_encoder_stream(&mut Decoder::new(CONFIG), insert), refused);
}

#[test]
fn huffman_text_of_one_section_shares_one_buffer() {
    let mut section = BytesMut::from(&[0, 0][..]);
    for _ in 0..20 {
        literal::encode(&mut section, 0x20, 3, b"name");
        literal::encode(&mut section, 0, 7, b"a value of some length");
    }
    let (fields, _) = decoder(&[]).lines(0, &section);
    let first = fields[0].name.as_ptr() as usize;
    let last = fields[19].value.as_ptr() as usize;
    assert_eq!(last - first, 19 * 26 + 4, "back to back");
}
