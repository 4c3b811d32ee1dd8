use proptest::prelude::*;

use super::*;

/// Frames as text, DATA put together, so that splits make no difference.
fn read(parts: &[&[u8]]) -> Result<Vec<String>, Failure> {
    let mut reader = Reader::default();
    let mut seen: Vec<String> = Vec::new();
    let mut data = (0, 0, 0);
    for part in parts {
        reader.handle(part, &mut |frame| {
            match frame {
                Frame::Data { id, content, length, is_last } => {
                    data = (id, data.1 + content.len(), data.2 + length);
                    if is_last {
                        seen.push(format!("data {data:?}"));
                        data = (0, 0, 0);
                    }
                }
                Frame::Settings { settings } => {
                    seen.push(format!("settings {:?}", settings.collect::<Vec<_>>()));
                }
                other => seen.push(format!("{other:?}")),
            }
            Ok(())
        })?;
    }
    Ok(seen)
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    put_header(&mut out, payload.len(), kind, flags, id);
    out.extend_from_slice(payload);
    out.to_vec()
}

fn breach(bytes: &[u8]) -> &'static str {
    read(&[bytes]).expect_err("it is broken").kind()
}

#[test]
fn frames_are_the_same_wherever_they_are_split() {
    let whole = [
        frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100, 0, 4, 0, 0, 1, 0]),
        frame(SETTINGS, ACK, 0, &[]),
        frame(HEADERS, PADDED | PRIORITY, 1, b"\x02\0\0\0\0\x10ab\0\0"),
        frame(CONTINUATION, 0, 1, b""),
        frame(CONTINUATION, END_HEADERS, 1, b"cd"),
        frame(DATA, 0, 1, b"hello"),
        frame(DATA, PADDED | END_STREAM, 1, b"\x03xy\0\0\0"),
        frame(0xbe, 0xff, 7, b"unknown"),
        frame(PING, 0, 0, b"12345678"),
        frame(RST_STREAM, 0, 3, &[0, 0, 0, 8]),
        frame(WINDOW_UPDATE, 0, 0, &[0x80, 0, 1, 0]),
        frame(GOAWAY, 0, 0, &[0, 0, 0, 9, 0, 0, 0, 0, b'b', b'y', b'e']),
        frame(DATA, END_STREAM, 5, b""),
    ]
    .concat();
    let expected = [
        "settings [(3, 100), (4, 256)]",
        "Other",
        "Headers { id: 1, section: [97, 98, 99, 100], is_last: false }",
        // Padding and its length count for flow control, and are no content.
        "data (1, 7, 11)",
        "Ping { data: [49, 50, 51, 52, 53, 54, 55, 56] }",
        "Reset { id: 3, code: 8 }",
        "WindowUpdate { id: 0, increment: 256 }",
        "Goaway { last: 9, code: 0 }",
        "data (5, 0, 0)",
    ];
    assert_eq!(read(&[&whole]).unwrap(), expected);
    for at in 0..whole.len() {
        let (head, tail) = whole.split_at(at);
        assert_eq!(read(&[head, tail]).unwrap(), expected, "split at {at}");
    }
    assert_eq!(read(&whole.chunks(1).collect::<Vec<_>>()).unwrap(), expected);
}

#[test]
fn what_breaks_the_framing_is_refused() {
    for bytes in [
        frame(DATA, 0, 0, b"x"),
        frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02"),
        frame(CONTINUATION, END_HEADERS, 1, b""),
        frame(HEADERS, 0, 1, b"").into_iter().chain(frame(DATA, 0, 1, b"")).collect(),
        frame(HEADERS, 0, 1, b"").into_iter().chain(frame(CONTINUATION, 0, 3, b"")).collect(),
        frame(HEADERS, END_HEADERS | PADDED, 1, b"\x05abc"),
        frame(HEADERS, END_HEADERS | PADDED, 1, b""),
        frame(HEADERS, END_HEADERS | PRIORITY, 1, b"abcd"),
        frame(SETTINGS, 0, 0, b"12345"),
        frame(PING, 0, 0, b"1234567"),
        frame(RST_STREAM, 0, 1, b"123"),
        frame(WINDOW_UPDATE, 0, 1, b""),
        frame(GOAWAY, 0, 0, b"1234567"),
        vec![0, 0x40, 1, DATA, 0, 0, 0, 0, 1],
    ] {
        assert_eq!(breach(&bytes), "protocol", "{bytes:?}");
    }
}

#[test]
fn a_field_section_without_an_end_is_held_up_to_its_bound() {
    let mut reader = Reader::default();
    let piece = vec![0; LARGEST];
    let mut nothing = |_: Frame<'_>| Ok(());
    reader.handle(&frame(HEADERS, 0, 1, &piece), &mut nothing).unwrap();
    let more = frame(CONTINUATION, 0, 1, &piece);
    let refused = (0..100).find_map(|_| reader.handle(&more, &mut nothing).err()).unwrap();
    assert_eq!(refused.kind(), "protocol");
    assert!(reader.section.len() <= LARGEST_SECTION);
}

#[test]
fn a_large_section_is_sent_in_continuations() {
    let mut out = BytesMut::new();
    put_headers(&mut out, 1, b"abcde", 2, true);
    let expected = "Headers { id: 1, section: [97, 98, 99, 100, 101], is_last: true }";
    assert_eq!(read(&[&out]).unwrap(), [expected]);
    assert_eq!(out.len(), 3 * HEADER + 5);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_no_split_makes_a_difference(
        frames in proptest::collection::vec(
            (0_u8..12, any::<u8>(), 0_u32..4, proptest::collection::vec(any::<u8>(), 0..20)),
            0..8,
        ),
        junk in proptest::collection::vec(any::<u8>(), 0..20),
        cuts in proptest::collection::vec(1_usize..20, 1..20),
    ) {
        let frames = frames.iter().map(|(kind, flags, id, payload)| frame(*kind, *flags, *id, payload));
        let data = frames.chain([junk]).collect::<Vec<_>>().concat();
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
}
