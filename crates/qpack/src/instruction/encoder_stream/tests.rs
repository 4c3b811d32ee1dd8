use super::*;
use crate::error::HuffmanRule;

/// Reads `wire` in chunks of `size` bytes for a table of `capacity`; the most text that was ever held as well.
fn read(
    wire: &[u8],
    size: usize,
    capacity: u64,
) -> Result<(Vec<Instruction>, usize), EncoderStreamError> {
    let mut reader = Reader::default();
    let mut instructions = Vec::new();
    let mut held = 0;
    for mut chunk in wire.chunks(size) {
        while let Some(instruction) = reader.next(&mut chunk, capacity)? {
            instructions.push(instruction);
        }
        held = held.max(reader.held());
    }
    Ok((instructions, held))
}

fn all() -> (Vec<u8>, Vec<Instruction>) {
    let mut wire = Vec::new();
    set_capacity(&mut wire, 4096);
    insert_with_name_reference(&mut wire, NameReference::Static(92), b"sterna");
    insert_with_name_reference(&mut wire, NameReference::Dynamic(70), b"");
    insert_with_literal_name(&mut wire, b"x-name", b"\x00\x01\xff");
    insert_with_literal_name(&mut wire, b"", &[b'a'; 300]);
    duplicate(&mut wire, 31);
    let instructions = vec![
        Instruction::SetCapacity(4096),
        Instruction::InsertWithNameReference {
            name: NameReference::Static(92),
            value: Bytes::from_static(b"sterna"),
        },
        Instruction::InsertWithNameReference {
            name: NameReference::Dynamic(70),
            value: Bytes::new(),
        },
        Instruction::InsertWithLiteralName {
            name: Bytes::from_static(b"x-name"),
            value: Bytes::from_static(b"\x00\x01\xff"),
        },
        Instruction::InsertWithLiteralName { name: Bytes::new(), value: vec![b'a'; 300].into() },
        Instruction::Duplicate(31),
    ];
    (wire, instructions)
}

// req: 9204-4.3-instructions
#[test]
fn every_instruction_round_trips_in_any_split() {
    let (wire, instructions) = all();
    for size in 1..=wire.len() {
        assert_eq!(read(&wire, size, 4096).unwrap().0, instructions);
    }
}

// req: 9204-7.4-literal-limit
#[test]
fn a_literal_longer_than_the_table_is_refused_by_its_length_alone() {
    let mut wire = Vec::new();
    integer::encode(&mut wire, 0x40, 5, 69);
    assert_eq!(read(&wire, 1, 101), Ok((vec![], 0)));
    let too_large = EncoderStreamError::EntryTooLarge { capacity: 100 };
    assert_eq!(read(&wire, 1, 100), Err(too_large));
}

// req: 9204-7.4-literal-limit
#[test]
fn name_and_value_share_the_room() {
    let mut wire = Vec::new();
    insert_with_literal_name(&mut wire, &[0xff; 30], &[0xff; 38]);
    assert_eq!(read(&wire, 7, 100).unwrap().0.len(), 1);
    let too_large = EncoderStreamError::EntryTooLarge { capacity: 99 };
    assert_eq!(read(&wire, 7, 99), Err(too_large));
}

// req: 9204-7.4-literal-limit
#[test]
fn an_unfinished_literal_in_huffman_code_holds_no_more_than_the_table() {
    // A megabyte of `0` in code, 5 bits each, announced as the largest length there is.
    let mut wire = vec![0xc0];
    integer::encode(&mut wire, 0x80, 7, integer::MAX);
    wire.extend(std::iter::repeat_n(0, 1 << 20));
    for size in [1, 1000, wire.len()] {
        let mut reader = Reader::default();
        let mut outcome = Ok(None);
        for mut chunk in wire.chunks(size) {
            outcome = reader.next(&mut chunk, 4096);
            if outcome.is_err() {
                break;
            }
        }
        assert_eq!(outcome, Err(EncoderStreamError::EntryTooLarge { capacity: 4096 }));
        assert!(reader.text.capacity() <= 2 * 4096, "{}", reader.text.capacity());
    }
}

#[test]
fn a_long_text_is_not_kept_after_its_instruction() {
    let mut wire = Vec::new();
    insert_with_literal_name(&mut wire, b"name", &[0xff; 4000]);
    let mut reader = Reader::default();
    assert!(reader.next(&mut wire.as_slice(), 4096).unwrap().is_some());
    assert!(reader.text.capacity() <= KEEP);
}

// req: 9204-4.1.1-integers-of-62-bits
#[test]
fn an_integer_above_62_bits_overflows() {
    let mut wire = Vec::new();
    set_capacity(&mut wire, integer::MAX + 1);
    assert_eq!(read(&wire, 1, 4096), Err(EncoderStreamError::IntegerOverflow));
}

// req: 9204-4.1.2-huffman-padding
#[test]
fn huffman_code_with_wrong_padding_is_refused() {
    let wire = [0xc0, 0x81, 0x00];
    let wrong = EncoderStreamError::Huffman(HuffmanRule::PaddingNotOnes);
    assert_eq!(read(&wire, 1, 4096), Err(wrong));
}
