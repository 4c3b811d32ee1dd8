use proptest::prelude::*;

use super::*;

fn encoded(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(input, &mut out);
    assert_eq!(out.len(), encoded_len(input));
    out
}

fn decoded(input: &[u8]) -> Result<Vec<u8>, HuffmanRule> {
    decoded_in_chunks(input, input.len().max(1))
}

fn decoded_in_chunks(input: &[u8], size: usize) -> Result<Vec<u8>, HuffmanRule> {
    let mut decoder = Decoder::default();
    let mut out = Vec::new();
    for chunk in input.chunks(size) {
        let mut piece = vec![0; max_decoded_len(chunk.len()) + CARRIED];
        let written = decoder.decode(chunk, &mut piece)?;
        out.extend_from_slice(&piece[..written]);
    }
    decoder.finish()?;
    Ok(out)
}

/// RFC 7541 appendix C.4 and C.6.
#[test]
fn examples_of_the_rfc_are_reproduced_both_ways() {
    let examples: [(&str, &[u8]); 6] = [
        (
            "www.example.com",
            &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff],
        ),
        ("no-cache", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]),
        ("custom-key", &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f]),
        ("custom-value", &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf]),
        ("302", &[0x64, 0x02]),
        ("private", &[0xae, 0xc3, 0x77, 0x1a, 0x4b]),
    ];
    for (text, code) in examples {
        assert_eq!(encoded(text.as_bytes()), code, "{text}");
        assert_eq!(decoded(code), Ok(text.as_bytes().to_vec()), "{text}");
    }
}

#[test]
fn every_octet_round_trips_alone_and_among_others() {
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(decoded(&encoded(&all)), Ok(all.clone()));
    for octet in all {
        assert_eq!(decoded(&encoded(&[octet])), Ok(vec![octet]));
        assert_eq!(decoded(&encoded(&[b'a', octet, b'z'])), Ok(vec![b'a', octet, b'z']));
    }
}

#[test]
fn the_code_is_complete_and_ends_with_eos() {
    assert_eq!(ORDER[SYMBOLS - 1], 256);
    assert_eq!(CODES[256], (1 << 30) - 1);
    let used: u64 = LENGTHS.iter().map(|&length| 1u64 << (MAX_LENGTH - u32::from(length))).sum();
    assert_eq!(used, 1 << MAX_LENGTH, "a prefix code that wastes no bit pattern");
}

// req: 9204-4.1.2-huffman-padding
#[test]
fn padding_of_seven_ones_passes_and_of_eight_is_refused() {
    // `0` is 00000: three bits of padding. Seven bits: a code of 6 + 11 bits, `!` is 1111111000, `a` is 00011.
    assert_eq!(decoded(&[0b0000_0111]), Ok(b"0".to_vec()));
    let seven_short = encoded(b"X0000");
    assert_eq!(decoded(&seven_short), Ok(b"X0000".to_vec()));
    assert_eq!(decoded(&[0b0000_0111, 0xff]), Err(HuffmanRule::PaddingTooLong));
    assert_eq!(decoded(&[0xff]), Err(HuffmanRule::PaddingTooLong));
}

// req: 9204-4.1.2-huffman-padding
#[test]
fn padding_with_a_zero_is_refused() {
    assert_eq!(decoded(&[0b0000_0110]), Err(HuffmanRule::PaddingNotOnes));
    assert_eq!(decoded(&[0b0000_0011]), Err(HuffmanRule::PaddingNotOnes));
}

// req: 9204-4.1.2-huffman-eos
#[test]
fn an_explicit_end_of_string_is_refused() {
    assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(HuffmanRule::EndOfString));
    assert_eq!(decoded(&[0x07, 0xff, 0xff, 0xff, 0xff]), Err(HuffmanRule::EndOfString));
}

#[test]
fn decoding_stops_where_the_output_is_full() {
    // What follows would be an end of string.
    let input = [encoded(b"00000000"), vec![0xff; 8]].concat();
    for room in 0..8 {
        assert_eq!(Decoder::default().decode(&input, &mut vec![0; room]), Ok(room + 1));
    }
    let outcome = Decoder::default().decode(&input, &mut [0; 8]);
    assert_eq!(outcome, Err(HuffmanRule::EndOfString));
}

#[test]
fn an_empty_string_is_empty() {
    assert_eq!(encoded(b""), b"");
    assert_eq!(decoded(b""), Ok(Vec::new()));
}

#[test]
fn the_length_bound_holds_for_the_shortest_and_the_longest_codes() {
    for (octet, count) in [(b'0', 8), (b'0', 1), (b'\n', 4), (b'\n', 1), (b'\n', 15)] {
        let input = vec![octet; count];
        let code = encoded(&input);
        assert!(count <= max_decoded_len(code.len()));
    }
}

proptest! {
    #[test]
    fn any_string_round_trips_in_any_split(
        input in proptest::collection::vec(any::<u8>(), 0..200),
        size in 1usize..20,
    ) {
        prop_assert_eq!(decoded_in_chunks(&encoded(&input), size), Ok(input));
    }

    #[test]
    fn any_bytes_decode_alike_in_any_split(
        input in proptest::collection::vec(any::<u8>(), 1..100),
        size in 1usize..20,
    ) {
        let whole = decoded(&input);
        prop_assert_eq!(decoded_in_chunks(&input, size), whole.clone());
        if let Ok(text) = whole {
            prop_assert_eq!(encoded(&text), input, "only one code stands for a string");
        }
    }
}
