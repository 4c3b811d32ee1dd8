//! Every buffer filled to its bound and one past it.

use super::*;

/// A POST head that waits for the first insertion: Required Insert Count 1, with the default capacity of 4096.
fn blocked_head() -> Vec<u8> {
    frame(frame::HEADERS, b"\x02\x00\xd4\xd7\x50\x09localhost\xc1\x80")
}

/// Set the capacity to 100 and insert one entry.
const INSERTION: &[u8] = b"\x02\x3f\x45\x43own\x05value";

/// The lines of a request whose section has exactly this size.
fn request_of_size(size: usize) -> Vec<u8> {
    let base: usize = GET.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    let value = "v".repeat(size - base - 33);
    headers(&[&GET[..], &[("x", value.as_str())]].concat())
}

#[test]
fn a_head_up_to_the_limit_is_read_and_one_byte_more_is_told() {
    // req: 9114-4.2.2-too-large
    let config = || Config { max_field_section_size: 1000, ..Config::default() };
    let mut server = server(config());
    server.handle_stream(FIRST, Bytes::from(request_of_size(1000)), true).unwrap();
    server.handle_stream(StreamId(4), Bytes::from(request_of_size(1001)), true).unwrap();
    let seen = events(&mut server);
    assert!(
        matches!(
            seen.as_slice(),
            [Event::Request { id: FIRST, .. }, Event::HeadTooLarge { id: StreamId(4) }]
        ),
        "{seen:?}"
    );
    server
        .send_response(
            StreamId(4),
            &response(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, &[]),
            true,
        )
        .unwrap();
    assert_eq!(server.active_requests(), 1);
    assert_eq!(server.counters().oversized_sections, 1);
}

#[test]
fn a_head_whose_frame_is_too_long_is_told_at_its_length() {
    let mut server = server(Config::default());
    server
        .handle_stream(FIRST, Bytes::from_static(&[0x01, 0x80, 0x01, 0x00, 0x15]), false)
        .unwrap();
    assert!(matches!(server.poll_event(), Some(Event::HeadTooLarge { id: FIRST })));
    // What follows is not looked at.
    server.handle_stream(FIRST, Bytes::from(vec![0; 70_000]), false).unwrap();
    assert!(events(&mut server).is_empty());
    server.send_response(FIRST, &response(StatusCode::URI_TOO_LONG, &[]), true).unwrap();
    commands(&mut server);
    server.stop_reading(FIRST, Code::NoError);
    let stop = Command::StopSending { id: FIRST, code: Code::NoError };
    assert!(commands(&mut server).contains(&stop));
    assert_eq!(server.active_requests(), 0);
}

#[test]
fn lines_have_a_limit_of_their_own() {
    let config = Config { max_field_lines: 10, ..Config::default() };
    let mut server = server(config);
    let crumb = ("cookie", "a");
    for (n, crumbs) in [(0, 6), (1, 7)] {
        let lines = [&GET[..], &vec![crumb; crumbs]].concat();
        server.handle_stream(StreamId(n * 4), Bytes::from(headers(&lines)), true).unwrap();
    }
    let seen = events(&mut server);
    assert!(
        matches!(seen.as_slice(), [Event::Request { .. }, Event::HeadTooLarge { id: StreamId(4) }]),
        "{seen:?}"
    );
}

#[test]
fn a_reference_to_a_long_entry_counts_each_time() {
    let mut server = server(Config::default());
    let value = [b'v'; 2000];
    // Capacity 4096, and one entry of some 2000 bytes.
    let insertion = [&b"\x02\x3f\xe1\x1f\x43own\x7f\xd1\x0e"[..], &value].concat();
    server.handle_stream(CLIENT_ENCODER, Bytes::from(insertion), false).unwrap();
    let references = [&b"\x02\x00\xd1\xd7\x50\x09localhost\xc1"[..], &[0x80; 40]].concat();
    server.handle_stream(FIRST, Bytes::from(frame(frame::HEADERS, &references)), true).unwrap();
    assert!(matches!(server.poll_event(), Some(Event::HeadTooLarge { id: FIRST })));
}

#[test]
fn a_blocked_request_goes_on_when_the_insertion_comes() {
    let mut server = server(Config::default());
    let frames = bytes(&[&blocked_head(), &data(b"ab")]);
    server.handle_stream(FIRST, frames, false).unwrap();
    assert!(server.is_blocked(FIRST));
    assert!(events(&mut server).is_empty());
    server.handle_stream(FIRST, Bytes::from(data(b"cd")), true).unwrap();
    server.handle_stream(CLIENT_ENCODER, Bytes::from_static(INSERTION), false).unwrap();
    assert!(!server.is_blocked(FIRST));
    let seen = events(&mut server);
    let [
        Event::Unblocked { id: FIRST },
        Event::Request { head, fin: false, .. },
        Event::Data { data: first, .. },
        Event::Data { data: second, .. },
        Event::Finished { id: FIRST },
    ] = seen.as_slice()
    else {
        panic!("{seen:?}");
    };
    assert_eq!(head.headers, header_map(&[("own", "value")]));
    assert_eq!((first.as_ref(), second.as_ref()), (&b"ab"[..], &b"cd"[..]));
    assert_eq!(server.counters().blocked_sections, 1);
    // Section Acknowledgment for stream 0.
    let acknowledged =
        Command::Write { id: SERVER_DECODER, data: Bytes::from_static(&[0x80]), fin: false };
    assert!(commands(&mut server).contains(&acknowledged));
}

#[test]
fn what_waits_behind_blocked_sections_has_a_bound_and_it_is_given_back() {
    let mut server = server(Config { max_blocked_bytes: 200, ..Config::default() });
    let section = blocked_head().len() - 2;
    server.handle_stream(FIRST, Bytes::from(blocked_head()), false).unwrap();
    server.handle_stream(FIRST, Bytes::from(vec![0; 200 - section]), false).unwrap();
    assert!(events(&mut server).is_empty(), "up to the bound nothing happens");
    server.handle_stream(FIRST, Bytes::from_static(&[0]), false).unwrap();
    let seen = events(&mut server);
    let [Event::Misbehaved { id: FIRST, rule: PeerMisbehaved::BlockedTooLarge }] = seen.as_slice()
    else {
        panic!("{seen:?}")
    };
    // The next stream has all of it again.
    let next = StreamId(4);
    server.handle_stream(next, Bytes::from(blocked_head()), false).unwrap();
    server.handle_stream(next, Bytes::from(data(&[7; 100])), true).unwrap();
    assert!(server.shared.blocked_bytes > 100);
    server.handle_stream(CLIENT_ENCODER, Bytes::from_static(INSERTION), false).unwrap();
    assert!(matches!(events(&mut server).last(), Some(Event::Finished { id: StreamId(4) })));
    assert_eq!(server.shared.blocked_bytes, 0);
}

#[test]
fn a_blocked_request_that_is_reset_is_cancelled() {
    // req: 9204-2.2.2.2-cancellation
    let mut server = server(Config::default());
    server.handle_stream(FIRST, Bytes::from(blocked_head()), false).unwrap();
    server.handle_reset(FIRST, 0x10c).unwrap();
    assert_eq!(server.active_requests(), 0);
    // Stream Cancellation for stream 0.
    let cancelled =
        Command::Write { id: SERVER_DECODER, data: Bytes::from_static(&[0x40]), fin: false };
    assert!(commands(&mut server).contains(&cancelled));
    server.handle_stream(CLIENT_ENCODER, Bytes::from_static(INSERTION), false).unwrap();
    assert!(events(&mut server).is_empty());
}

#[test]
fn instructions_that_are_owed_at_once_come_behind_their_stream_type() {
    // req: 9114-6.2-critical-first
    let mut server = Connection::new(
        Role::Server,
        Config::default(),
        SERVER_CONTROL,
        SERVER_ENCODER,
        SERVER_DECODER,
    );
    // Both came with the end of the handshake, before anything of ours was polled.
    server.handle_stream(FIRST, Bytes::from_static(&[0x01]), false).unwrap();
    server.handle_reset(FIRST, 0x10c).unwrap();
    let sent: Vec<u8> = commands(&mut server)
        .into_iter()
        .filter_map(|command| match command {
            Command::Write { id: SERVER_DECODER, data, .. } => Some(data),
            _ => None,
        })
        .flatten()
        .collect();
    // The type, and Stream Cancellation for stream 0.
    assert_eq!(sent, [0x03, 0x40]);
}

#[test]
fn one_blocked_stream_too_many_ends_the_connection() {
    let mut server = server(Config { qpack_blocked_streams: 2, ..Config::default() });
    for n in 0..2 {
        server.handle_stream(StreamId(n * 4), Bytes::from(blocked_head()), false).unwrap();
    }
    let third = server.handle_stream(StreamId(8), Bytes::from(blocked_head()), false);
    let Err(Error::PeerMisbehaved(rule)) = third else { panic!("{third:?}") };
    assert_eq!(rule.code(), Code::QpackDecompressionFailed);
}

#[test]
fn a_settings_frame_at_its_bound_is_read() {
    let mut server = server(Config::default());
    // Distinct unknown settings, four bytes each.
    let payload: Vec<u8> =
        (0x100..0x500_u16).flat_map(|id| [0x40 | (id >> 8) as u8, id as u8, 0x40, 0]).collect();
    assert_eq!(payload.len(), 4096);
    server
        .handle_stream(CLIENT_CONTROL, bytes(&[&[0x00], &frame(frame::SETTINGS, &payload)]), false)
        .unwrap();
    assert!(matches!(server.poll_event(), Some(Event::Settings(_))));
}

#[test]
fn reserved_frames_are_earned_back_by_requests() {
    let mut server = server(Config { flood_budget: 4096, ..Config::default() });
    let grease = frame(0x21, &[0; 500]);
    for n in 0..200 {
        let request = bytes(&[&headers(&GET), &grease]);
        server.handle_stream(StreamId(n * 4), request, true).unwrap();
        server.send_response(StreamId(n * 4), &response(StatusCode::OK, &[]), true).unwrap();
    }
    assert_eq!(server.counters().unknown_frames, 200);
    assert_eq!(server.counters().skipped_bytes, 100_000);
}

#[test]
fn a_skipped_frame_costs_its_bytes() {
    let mut server = server(Config { flood_budget: 4096, ..Config::default() });
    let header = Bytes::from_static(&[0x21, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    server.handle_stream(FIRST, header, false).unwrap();
    server.handle_stream(FIRST, Bytes::from(vec![0; 4032]), false).unwrap();
    let one_more = server.handle_stream(FIRST, Bytes::from(vec![0; 1]), false);
    assert_eq!(one_more, Err(Error::PeerMisbehaved(PeerMisbehaved::Flood)));
}

#[test]
fn requests_given_up_are_counted_against_those_that_were_answered() {
    // req: 9114-10.5-rapid-reset
    let mut server = server(Config { reset_budget: 2, ..Config::default() });
    let mut give_up = |n: u64| -> Result<(), Error> {
        server.handle_stream(StreamId(n * 8), Bytes::from(headers(&GET)), false)?;
        server.handle_reset(StreamId(n * 8), 0x10c)?;
        server.reset(StreamId(n * 8), Code::RequestCancelled);
        server.handle_stream(StreamId(n * 8 + 4), Bytes::from(headers(&GET)), true)?;
        server.send_response(StreamId(n * 8 + 4), &response(StatusCode::OK, &[]), true).unwrap();
        Ok(())
    };
    for n in 0..20 {
        assert_eq!(give_up(n), Ok(()), "as many answered as given up");
    }
    let malformed = Bytes::from(headers(&GET[1..]));
    for n in 0..2 {
        server.handle_stream(StreamId(400 + n * 4), malformed.clone(), true).unwrap();
    }
    let third = server.handle_stream(StreamId(408), malformed, true);
    assert_eq!(third, Err(Error::PeerMisbehaved(PeerMisbehaved::RapidReset)));
}

#[test]
fn an_idle_connection_gives_its_buffers_back() {
    let mut server = server(Config::default());
    let ids = || (0..200).map(|n| StreamId(n * 4));
    for id in ids() {
        server.handle_stream(id, Bytes::from(headers(&GET)), true).unwrap();
    }
    assert!(server.requests.capacity() >= 200);
    events(&mut server);
    for id in ids() {
        server.send_response(id, &response(StatusCode::OK, &[]), true).unwrap();
    }
    server.rest();
    assert!(server.shared.events.capacity() >= 200, "it is not idle: commands wait");
    commands(&mut server);
    server.rest();
    assert!(server.requests.capacity() < 32);
    assert!(server.shared.events.capacity() < 32);
}
