use bytes::BytesMut;
use proptest::prelude::*;
use sterna_qpack::{Encoder, EncoderConfig, FieldRef};

use super::*;

const OK: &[u8] = b"\x01\x03\x00\x00\xd9";

fn read(parts: &[&[u8]]) -> Result<(u16, u64), Failure> {
    let (mut response, mut lent) = (Response::default(), 0);
    for part in parts {
        response.handle(part, &mut |content| lent += content.len() as u64)?;
    }
    let (status, content) = response.finish()?;
    assert_eq!(lent, content, "all content is lent");
    Ok((status, content))
}

fn broken_by(parts: &[&[u8]]) -> &'static str {
    read(parts).expect_err("it is broken").kind()
}

/// HEADERS with these lines, by our encoder.
fn headers(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut section = BytesMut::new();
    let config = EncoderConfig { max_table_capacity: 0, max_blocked_streams: 0 };
    let lines = lines.iter().map(|(name, value)| FieldRef {
        name: name.as_bytes(),
        value: value.as_bytes(),
        sensitive: false,
    });
    Encoder::new(config).encode(0, lines, &mut section);
    assert!(section.len() < 64);
    [&[0x01, section.len() as u8], &section[..]].concat()
}

#[test]
fn a_response_split_at_every_byte_is_the_same_response() {
    let whole = [OK, b"\x21\x01x\x00\x02ab\x00\x00\x00\x40\x01c\x01\x03\x00\x00\xd9"].concat();
    for at in 0..=whole.len() {
        let (head, tail) = whole.split_at(at);
        assert_eq!(read(&[head, tail]), Ok((200, 3)), "split at {at}");
    }
    let bytes: Vec<&[u8]> = whole.chunks(1).collect();
    assert_eq!(read(&bytes), Ok((200, 3)));
}

#[test]
fn every_status_is_read_however_it_is_written() {
    for status in 200..1000_u16 {
        let text = status.to_string();
        let encoded = headers(&[(":status", &text), ("server", "x")]);
        assert_eq!(read(&[&encoded]), Ok((status, 0)));
        // A literal name and a literal value, neither of them compressed.
        let literal = [b"\x01\x0d\x00\x00\x27\x00:status\x03".as_slice(), text.as_bytes()].concat();
        let literal = [&literal[..1], &[literal.len() as u8 - 2], &literal[2..]].concat();
        assert_eq!(read(&[&literal]), Ok((status, 0)));
    }
}

#[test]
fn an_interim_response_is_not_the_answer() {
    let early = b"\x01\x03\x00\x00\xd8";
    assert_eq!(read(&[early, OK]), Ok((200, 0)));
    assert_eq!(broken_by(&[early]), "truncated");
    assert_eq!(broken_by(&[early, b"\x00\x01a"]), "protocol");
}

#[test]
fn a_reference_to_a_dynamic_table_breaks_what_was_announced() {
    assert_eq!(broken_by(&[b"\x01\x03\x02\x00\x80"]), "protocol");
}

#[test]
fn a_stream_that_ends_inside_a_frame_is_truncated() {
    for end in [&b"\x00\x02a"[..], b"\x00", b"\x40"] {
        assert_eq!(broken_by(&[OK, end]), "truncated");
    }
    assert_eq!(broken_by(&[]), "truncated");
    assert_eq!(broken_by(&[&OK[..4]]), "truncated");
}

#[test]
fn frames_that_have_no_place_in_a_response_break_it() {
    for kind in [0x02_u8, 0x03, 0x04, 0x05, 0x07, 0x09, 0x0d] {
        assert_eq!(broken_by(&[OK, &[kind, 0]]), "protocol");
    }
    assert_eq!(broken_by(&[b"\x00\x00"]), "protocol");
    assert_eq!(broken_by(&[b"\x01\x00"]), "protocol");
}

#[test]
fn a_field_section_beyond_the_bound_is_refused_before_it_is_held() {
    let mut response = Response::default();
    let largest = [&b"\x01\x80\x01\x00\x00"[..], &[0; 64]].concat();
    response.handle(&largest, &mut |_| {}).unwrap();
    let beyond = b"\x01\x80\x01\x00\x01";
    assert_eq!(broken_by(&[beyond]), "protocol");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_no_split_makes_a_difference(
        data in proptest::collection::vec(any::<u8>(), 0..200),
        cuts in proptest::collection::vec(1_usize..20, 1..20),
        begins_well: bool,
    ) {
        let start = if begins_well { OK } else { b"" };
        let data = [start, &data].concat();
        let (mut parts, mut rest) = (Vec::new(), &data[..]);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (part, tail) = rest.split_at((*cut).min(rest.len()));
            parts.push(part);
            rest = tail;
        }
        prop_assert_eq!(read(&parts), read(&[&data]));
    }

    #[test]
    fn any_field_section_is_read_or_refused(
        section in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        if let Ok(status) = status(&section) {
            prop_assert!((100..1000).contains(&status));
        }
    }
}
