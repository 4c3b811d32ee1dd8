use proptest::prelude::*;

use super::*;

/// All items of a stream that comes in these pieces; DATA passes, HEADERS are collected, the rest is skipped. Pieces and
/// skips of one frame are joined.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Item>, bool) {
    let mut decoder = FrameDecoder::default();
    let mut items = Vec::new();
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(item) = decoder.next(&mut input) {
            if let Item::Header(header) = item {
                decoder.choose(match header.kind {
                    FrameType::Data => Payload::Pass,
                    FrameType::Headers => Payload::Collect,
                    _ => Payload::Skip,
                });
            }
            join(&mut items, item);
        }
        assert!(input.is_empty(), "all input is taken");
    }
    (items, decoder.is_at_boundary())
}

fn join(items: &mut Vec<Item>, item: Item) {
    match (items.last_mut(), item) {
        (Some(Item::Piece(held)), Item::Piece(more)) => {
            *held = [held.as_ref(), &more].concat().into();
        }
        (Some(Item::Skipped(count)), Item::Skipped(more)) => *count += more,
        (_, item) => items.push(item),
    }
}

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    write_header(kind, payload.len() as u64, &mut out);
    out.extend_from_slice(payload);
    out.to_vec()
}

fn header(kind: FrameType, length: u64) -> Item {
    Item::Header(Header { kind, length })
}

#[test]
fn each_kind_of_payload_comes_as_it_was_chosen() {
    let stream = [
        frame(HEADERS, b"section"),
        frame(DATA, b"content"),
        frame(reserved(9), b"grease"),
        frame(HEADERS, b""),
        frame(DATA, b""),
    ];
    let expected = vec![
        header(FrameType::Headers, 7),
        Item::Collected(FrameType::Headers, Bytes::from_static(b"section")),
        header(FrameType::Data, 7),
        Item::Piece(Bytes::from_static(b"content")),
        header(FrameType::Unknown, 6),
        Item::Skipped(6),
        header(FrameType::Headers, 0),
        Item::Collected(FrameType::Headers, Bytes::new()),
        header(FrameType::Data, 0),
    ];
    assert_eq!(decode([stream.concat().as_slice()]), (expected, true));
}

#[test]
fn content_is_a_slice_of_the_input() {
    let mut input = Bytes::from(frame(DATA, b"content"));
    let at = input.as_ptr();
    let mut decoder = FrameDecoder::default();
    decoder.next(&mut input);
    decoder.choose(Payload::Pass);
    let Some(Item::Piece(piece)) = decoder.next(&mut input) else { panic!("a piece") };
    assert_eq!(piece.as_ptr(), at.wrapping_add(2), "the content was copied");
}

#[test]
fn a_section_that_came_in_one_piece_is_a_slice_of_the_input() {
    let mut input = Bytes::from(frame(HEADERS, b"section"));
    let at = input.as_ptr();
    let mut decoder = FrameDecoder::default();
    decoder.next(&mut input);
    decoder.choose(Payload::Collect);
    let Some(Item::Collected(_, section)) = decoder.next(&mut input) else { panic!("a section") };
    assert_eq!(section.as_ptr(), at.wrapping_add(2), "the section was copied");
}

#[test]
fn a_stream_may_end_only_between_frames() {
    // req: 9114-7.1-stream-ends-between-frames
    let stream = frame(DATA, b"content");
    for cut in 0..=stream.len() {
        let (_, may_end) = decode([&stream[..cut]]);
        assert_eq!(may_end, cut == 0 || cut == stream.len(), "cut at {cut}");
    }
}

#[test]
fn a_length_that_lies_holds_nothing() {
    let mut input =
        Bytes::from_static(&[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, b'x']);
    let mut decoder = FrameDecoder::default();
    assert_eq!(decoder.next(&mut input), Some(header(FrameType::Headers, varint::MAX)));
    decoder.choose(Payload::Collect);
    assert_eq!(decoder.next(&mut input), None);
    let State::Collect { held, .. } = &decoder.state else { panic!("{decoder:?}") };
    assert!(held.capacity() < 1024, "room was made for what was only announced");
}

#[test]
fn a_frame_type_is_known_by_its_number_in_any_length() {
    // RFC 9114 §7.2.8 does not ask for the shortest form of a frame type.
    let (items, _) = decode([&[0x40, 0x01, 0x40, 0x00][..]]);
    assert_eq!(items.first(), Some(&header(FrameType::Headers, 0)));
}

#[test]
fn the_length_of_headers_is_right_on_both_sides_of_two_bytes() {
    for length in [0, 63, 64, 0x3fff, 0x4000, 70_000] {
        let mut out = BytesMut::from(&b"before"[..]);
        write_headers(&mut out, |out| out.put_bytes(7, length));
        let (items, may_end) = decode([&out[6..]]);
        assert!(may_end);
        let section = Item::Collected(FrameType::Headers, vec![7; length].into());
        assert_eq!(items.last(), Some(&section), "{length} bytes");
    }
}

#[test]
fn a_payload_of_one_integer_has_nothing_else() {
    // req: 9114-7.1-payload-fits
    assert_eq!(only_integer(&[0x40, 0x64]), Ok(100));
    for payload in [&[][..], &[0x40], &[0x01, 0x00]] {
        assert_eq!(only_integer(payload), Err(PeerMisbehaved::FrameLength));
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same_items(
        frames in prop::collection::vec(
            (prop_oneof![Just(0), Just(1), 0..0x200_u64], prop::collection::vec(any::<u8>(), 0..100)),
            0..8,
        ),
        garbage in prop::collection::vec(any::<u8>(), 0..20),
        size in 1..30_usize,
    ) {
        let frames: Vec<_> = frames.iter().map(|(kind, payload)| frame(*kind, payload)).collect();
        let stream = [frames.concat(), garbage].concat();
        prop_assert_eq!(decode(stream.chunks(size)), decode([stream.as_slice()]));
    }
}
