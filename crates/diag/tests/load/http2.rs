//! HTTP/2 against servers that do not behave, over plain TCP.

use std::{io::Read, net::TcpStream, time::Duration};

use sterna_diag::load::{Outcome, Plan};

use crate::{
    tcp::{Listening, frame, read_frame, write},
    world::{Http2, failures, load, plan_for},
};

/// `:status: 200` and two bytes.
fn ok(id: u32) -> Vec<u8> {
    [frame(HEADERS, END_HEADERS, id, b"\x88"), frame(DATA, END_STREAM, id, b"ok")].concat()
}

/// Ten requests to a server with these SETTINGS, which does `answer` for each: connection, stream, and how many were
/// before it on all connections.
fn against(
    settings: &'static [u8],
    change: impl FnOnce(&mut Plan),
    mut answer: impl FnMut(&mut TcpStream, u32, u64) + Send + 'static,
) -> Outcome {
    let mut index = 0;
    let server = Listening::start(move |stream, _| {
        let mut preface = [0; 24];
        if stream.read_exact(&mut preface).is_err() {
            return;
        }
        write(stream, &frame(SETTINGS, 0, 0, settings));
        while let Some((kind, _, id)) = read_frame(stream) {
            if kind == HEADERS {
                answer(stream, id, index);
                index += 1;
            }
        }
    });
    let mut plan = Plan { version: Http2, ..plan_for("http://localhost/", server.address, 10) };
    change(&mut plan);
    load(plan)
}

#[test]
fn a_refused_stream_and_a_reset_one_are_told_apart() {
    let outcome = against(
        b"",
        |_| {},
        |stream, id, index| match index {
            0 => write(stream, &frame(RST_STREAM, 0, id, &[0, 0, 0, 7])),
            1 => write(stream, &frame(RST_STREAM, 0, id, &[0, 0, 0, 2])),
            _ => write(stream, &ok(id)),
        },
    );
    assert_eq!(failures(&outcome), [("refused_stream", 1), ("reset", 1)].into());
    assert_eq!((outcome.tally.done, outcome.tally.handshakes), (8, 1));
}

#[test]
fn requests_that_a_goaway_leaves_out_fail_and_the_rest_goes_to_another_connection() {
    let outcome = against(
        b"",
        |plan| plan.streams = 4,
        |stream, id, index| match index {
            0..3 => {}
            3 => write(stream, &[frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]), ok(1)].concat()),
            _ => write(stream, &ok(id)),
        },
    );
    let tally = &outcome.tally;
    assert_eq!(failures(&outcome), [("goaway", 3)].into());
    assert_eq!((tally.done, tally.goaways, tally.handshakes, tally.lost), (7, 1, 2, 0));
}

#[test]
fn the_peers_limit_of_streams_is_kept_to_and_told() {
    let mut open = 0_i64;
    let limit = &[0, 3, 0, 0, 0, 2];
    let outcome = against(
        limit,
        |plan| plan.streams = 5,
        move |stream, id, index| {
            open += 1;
            assert!(open <= 2, "{open} at once");
            // Pairs are answered together, so that two are open.
            if index % 2 == 1 {
                open = 0;
                write(stream, &[ok(id - 2), ok(id)].concat());
            }
        },
    );
    let tally = &outcome.tally;
    assert_eq!((tally.done, tally.failed, tally.streams_at_once), (10, 0, 2));
    assert!(tally.limit_waits > 0);
}

#[test]
fn a_server_that_allows_no_request_is_not_waited_for_without_end() {
    let brief = |plan: &mut Plan| plan.request_timeout = Duration::from_millis(200);
    let outcome = against(&[0, 3, 0, 0, 0, 0], brief, |_, _, _| {});
    assert_eq!(failures(&outcome), [("starved", 3)].into());
    assert_eq!((outcome.tally.unsent, outcome.tally.lost), (10, 3));

    // Nor is one that never says its settings.
    let silent = Listening::start(|stream, _| while read_frame(stream).is_some() {});
    let mut plan = Plan { version: Http2, ..plan_for("http://localhost/", silent.address, 10) };
    brief(&mut plan);
    assert_eq!(failures(&load(plan)), [("starved", 3)].into());
}

#[test]
fn an_upload_goes_on_through_windows_that_open_and_close() {
    // Settings that close the window of each stream, and open it again.
    let toggles =
        [frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]), frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])];
    let upload = |plan: &mut Plan| {
        plan.request.method = http::Method::POST;
        plan.request.body = sterna_diag::load::Body::zeros(200_000);
        plan.work = sterna_diag::load::Work::Requests(1);
    };
    let mut received = 0;
    let outcome = against(b"", upload, move |stream, id, _| {
        write(stream, &toggles.concat().repeat(1000));
        write(stream, &frame(WINDOW_UPDATE, 0, 0, &[0, 16, 0, 0]));
        write(stream, &frame(WINDOW_UPDATE, 0, id, &[0, 16, 0, 0]));
        while let Some((kind, flags, _)) = read_frame(stream) {
            received += u64::from(kind == DATA);
            if kind == DATA && flags & END_STREAM != 0 {
                break;
            }
        }
        assert!(received >= 200_000 / 16_384, "{received} frames");
        write(stream, &ok(id));
    });
    assert_eq!((outcome.tally.done, outcome.tally.uploaded), (1, 200_000));
}

#[test]
fn a_table_that_the_server_does_not_want_is_not_used() {
    let outcome = against(&[0, 1, 0, 0, 0, 0], |_| {}, |stream, id, _| write(stream, &ok(id)));
    assert_eq!((outcome.tally.done, outcome.tally.failed), (10, 0));
}

#[test]
fn a_response_without_a_head_and_one_of_another_length_are_truncated() {
    let outcome = against(
        b"",
        |_| {},
        |stream, id, index| match index {
            0 => write(stream, &frame(DATA, END_STREAM, id, b"ok")),
            _ => write(stream, &ok(id)),
        },
    );
    assert_eq!(failures(&outcome), [("truncated", 1)].into());

    let outcome = against(
        b"",
        |plan| plan.verify = true,
        |stream, id, index| {
            let length: &[u8] = if index == 0 { b"\x88\x5c\x015" } else { b"\x88\x5c\x012" };
            write(stream, &frame(HEADERS, END_HEADERS, id, length));
            write(stream, &frame(DATA, END_STREAM, id, b"ok"));
        },
    );
    assert_eq!(failures(&outcome), [("truncated", 1)].into());
    assert_eq!(outcome.tally.done, 9);
}

#[test]
fn a_frame_that_breaks_the_protocol_ends_the_connection() {
    let outcome = against(
        b"",
        |_| {},
        |stream, id, index| match index {
            4 => write(stream, &frame(PUSH_PROMISE, END_HEADERS, id, &[0, 0, 0, 2])),
            _ => write(stream, &ok(id)),
        },
    );
    assert_eq!(failures(&outcome), [("protocol", 1)].into());
    assert_eq!((outcome.tally.done, outcome.tally.lost, outcome.tally.handshakes), (9, 1, 2));
}

#[test]
fn silence_is_a_timeout_and_the_connection_goes_on() {
    let brief = |plan: &mut Plan| plan.request_timeout = Duration::from_millis(200);
    let outcome = against(b"", brief, |stream, id, index| {
        if index != 4 {
            write(stream, &ok(id));
        }
    });
    assert_eq!(failures(&outcome), [("timeout", 1)].into());
    assert_eq!((outcome.tally.done, outcome.tally.handshakes), (9, 1));
}

#[test]
fn pings_without_end_that_take_no_answer_end_the_connection() {
    let outcome = against(
        b"",
        |_| {},
        |stream, _, _| {
            let pings = frame(PING, 0, 0, b"12345678").repeat(10_000);
            // It reads nothing of the answers, until the generator has had enough.
            for _ in 0..1000 {
                if std::io::Write::write_all(stream, &pings).is_err() {
                    return;
                }
            }
            panic!("170 MB of pings were taken");
        },
    );
    assert_eq!(outcome.tally.done, 0);
    assert_eq!(failures(&outcome).keys().collect::<Vec<_>>(), [&"protocol"]);
}

/// RFC 9113 §6.
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PUSH_PROMISE: u8 = 0x5;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
