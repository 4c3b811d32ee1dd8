use proptest::prelude::*;

use super::*;
use crate::load::{Target, Work};

fn request(path: &str) -> Request {
    let url = format!("https://127.0.0.1:1{path}");
    Request::new(&Plan::new(Target::resolve(&url, None).unwrap(), Work::Requests(1)))
}

#[test]
fn later_requests_are_references_of_a_byte_to_what_the_first_entered() {
    let request = request("/x");
    let mut form = request.form();
    let first = request.section(&mut form).to_vec();
    // GET and https are in the static table; authority, path, accept and user-agent enter ours, in this order.
    assert_eq!(first[..3], [0x82, 0x87, 0x41]);
    assert_eq!(form, Form::Later);
    let newest = STATIC as u8 + 1;
    let expected =
        [0x82, 0x87, newest + 3, newest + 2, newest + 1, newest].map(|index| index | 0x80);
    assert_eq!(request.section(&mut form), expected);
}

#[test]
fn a_table_that_is_too_small_is_not_used() {
    let request = request(&format!("/{}", "x".repeat(5000)));
    let mut form = request.form();
    assert_eq!(form, Form::Plain);
    let section = request.section(&mut form).to_vec();
    assert_eq!(section[..3], [0x20, 0x82, 0x87]);
    assert_eq!(request.section(&mut form), section);
}

#[test]
fn every_way_to_write_a_status_is_read() {
    for (index, status) in STATUSES.iter().enumerate() {
        assert_eq!(status_of(&[0x88 + index as u8]), Some(*status));
        assert_eq!(status_of(&[0x20, 0x88 + index as u8, 0x54]), Some(*status));
    }
    for status in 100..1000_u16 {
        let text = status.to_string();
        for pattern in [0x48, 0x08, 0x18, 0x4b, 0x0e] {
            let section = [&[pattern, 3], text.as_bytes()].concat();
            assert_eq!(status_of(&section), Some(status));
        }
        let section = [b"\x00\x07:status\x03", text.as_bytes()].concat();
        assert_eq!(status_of(&section), Some(status));
    }
    // "302" and ":status" in Huffman code (RFC 7541 appendix C.6.1 for the first).
    assert_eq!(status_of(&[0x48, 0x82, 0x64, 0x02]), Some(302));
}

#[test]
fn what_is_no_status_is_refused() {
    for section in [
        &b""[..],
        b"\x20",
        b"\x82",
        b"\xbe",
        b"\x3f\xff\xff\xff\xff\xff\xff",
        b"\x48\x03ab",
        b"\x48\x03abc",
        b"\x48\x02\x30\x39",
        b"\x48\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x00\x04:foo\x03200",
        b"\x48\x82\xff\xff",
    ] {
        assert_eq!(status_of(section), None, "{section:?}");
    }
}

#[test]
fn content_length_is_found_among_other_fields() {
    for (section, expected) in [
        (&b"\x20\x88\x5c\x0211"[..], Some(11)),
        (b"\x88\x0f\x0d\x011\x54\x00", Some(1)),
        (b"\x88\x00\x0econtent-length\x0212", Some(12)),
        (b"\x88\x40\x01x\x0212", None),
    ] {
        assert_eq!(content_length(section), Ok(expected), "{section:?}");
    }
    for section in [&b"\x88\x5c\x01x"[..], b"\xbe", b"\x80", b"\x88\x5c\x0211\x7f\x00\x00"] {
        assert_eq!(content_length(section).unwrap_err().kind(), "protocol", "{section:?}");
    }
}

fn status_of(section: &[u8]) -> Option<u16> {
    status(section).ok()
}

proptest! {
    #[test]
    fn no_section_makes_it_panic(section in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(status) = status(&section) {
            prop_assert!((100..1000).contains(&status));
        }
        let _ = content_length(&section);
    }

    #[test]
    fn integers_come_back(value in 0_u64..(1 << 27), bits in 4_u32..8) {
        let mut out = BytesMut::new();
        put_integer(&mut out, 0, bits, value);
        let mut rest = &out[..];
        prop_assert_eq!(integer(&mut rest, bits), Ok(value));
        prop_assert!(rest.is_empty());
    }
}
