//! HTTP/3 against servers that do not behave: each kind of failure, and no hang.

use std::{thread, time::Duration};

use sterna_diag::load::{Arrivals, Outcome, Pace, Plan};
use sterna_quic::Dir;

use crate::{
    quic::{OK, Script, Scripted, answer, write},
    world::{failures, load, plan},
};

/// Ten requests, one at a time, to a server that follows a script.
fn against(script: Script) -> Outcome {
    let server = Scripted::start(|_| {}, script);
    load(plan(server.address, 10))
}

/// As [`against`], with responses that are checked in full as well: both must see the same.
fn both_see(script: impl Fn() -> Script, expected: &[(&'static str, u64)]) {
    for verify in [false, true] {
        let server = Scripted::start(|_| {}, script());
        let outcome = load(Plan { verify, ..plan(server.address, 10) });
        let expected = expected.iter().copied().collect();
        assert_eq!(failures(&outcome), expected, "verify: {verify}");
        let failed: u64 = expected.values().sum();
        assert_eq!((outcome.tally.done, outcome.tally.failed), (10 - failed, failed));
    }
}

#[test]
fn a_rejected_request_and_a_reset_one_are_told_apart() {
    let script = || -> Script {
        Box::new(|connection, id, index| match index {
            0 => connection.reset(id, 0x10b),
            1 | 2 => connection.reset(id, 0x102),
            _ => answer(connection, id, OK),
        })
    };
    both_see(script, &[("refused_stream", 1), ("reset", 2)]);
    let outcome = against(script());
    assert_eq!(outcome.tally.failures["reset"].codes, [(0x102, 2)].into());
    assert_eq!(outcome.to_json()["errors"]["reset"]["codes"]["0x102"], 2);
}

#[test]
fn a_response_that_ends_early_is_truncated() {
    let script = |end: &'static [u8]| -> Script {
        Box::new(move |connection, id, index| {
            answer(connection, id, if index == 0 { end } else { OK });
        })
    };
    for end in [&b""[..], b"\x01\x03\x00", b"\x01\x03\x00\x00\xd9\x00\x05ab"] {
        let outcome = against(script(end));
        assert_eq!(failures(&outcome), [("truncated", 1)].into(), "{end:?}");
        assert_eq!(outcome.tally.done, 9);
    }
}

#[test]
fn what_breaks_the_protocol_is_no_response() {
    for broken in [&b"\x00\x02ab"[..], b"\x01\x03\x02\x00\x80", b"\x01\x00", b"\x01\x02\x00\x00"] {
        let outcome = against(Box::new(move |connection, id, index| {
            answer(connection, id, if index == 0 { broken } else { OK });
        }));
        assert_eq!(failures(&outcome), [("protocol", 1)].into(), "{broken:?}");
        assert_eq!(outcome.tally.done, 9);
    }
}

#[test]
fn content_that_is_not_of_its_length_is_found_when_it_is_checked() {
    // `content-length: 5` by name 4 of the static table, and two bytes.
    let response = b"\x01\x06\x00\x00\xd9\x54\x015\x00\x02ok";
    for (verify, expected) in [(false, 0), (true, 10)] {
        let server =
            Scripted::start(|_| {}, Box::new(|connection, id, _| answer(connection, id, response)));
        let outcome = load(Plan { verify, ..plan(server.address, 10) });
        assert_eq!(outcome.tally.failed, expected, "verify: {verify}");
    }
}

#[test]
fn requests_that_a_goaway_leaves_out_fail_and_the_rest_goes_to_another_connection() {
    for verify in [false, true] {
        let mut waiting = Vec::new();
        let script: Script = Box::new(move |connection, id, index| match index {
            0..3 => waiting.push(id),
            3 => {
                // Of four requests that wait, the second and those after it are left out.
                let control = connection.open(Dir::Uni).unwrap();
                let _ = control;
                for id in waiting.drain(..1) {
                    answer(connection, id, OK);
                }
                write(connection, sterna_quic::StreamId(3), b"\x07\x01\x04");
            }
            _ => answer(connection, id, OK),
        });
        let server = Scripted::start(|_| {}, script);
        let outcome = load(Plan { streams: 4, verify, ..plan(server.address, 10) });
        let tally = &outcome.tally;
        assert_eq!(failures(&outcome), [("goaway", 3)].into(), "verify: {verify}");
        assert_eq!((tally.done, tally.failed, tally.goaways), (7, 3, 1));
        assert_eq!((tally.handshakes, tally.lost), (2, 0));
    }
}

#[test]
fn a_server_that_closes_each_connection_is_tried_three_times() {
    let outcome = against(Box::new(|connection, _, _| connection.close(0x107, b"too much")));
    let tally = &outcome.tally;
    assert_eq!(failures(&outcome), [("closed", 3)].into());
    assert_eq!(tally.failures["closed"].codes, [(0x107, 3)].into());
    assert!(tally.failures["closed"].first.contains("too much"));
    assert_eq!((tally.handshakes, tally.lost, tally.failed, tally.unsent), (3, 3, 3, 7));
    assert!(outcome.is_futile());
}

#[test]
fn a_server_that_closes_connections_after_use_is_used_again_and_again() {
    let script: Script = Box::new(|connection, id, index| match index % 3 {
        2 => connection.close(0x100, b""),
        _ => answer(connection, id, OK),
    });
    let outcome = against(script);
    assert_eq!((outcome.tally.done, outcome.tally.failed), (7, 3));
    assert_eq!(failures(&outcome), [("closed", 3)].into());
}

#[test]
fn silence_on_a_stream_is_a_timeout_and_the_connection_goes_on() {
    for verify in [false, true] {
        let script: Script = Box::new(|connection, id, index| {
            if index != 4 {
                answer(connection, id, OK);
            }
        });
        let server = Scripted::start(|_| {}, script);
        let plan = Plan {
            request_timeout: Duration::from_millis(200),
            verify,
            ..plan(server.address, 10)
        };
        let outcome = load(plan);
        assert_eq!(failures(&outcome), [("timeout", 1)].into());
        assert_eq!((outcome.tally.done, outcome.tally.handshakes), (9, 1));
    }
}

#[test]
fn silence_on_the_connection_is_an_idle_timeout() {
    let server = Scripted::start(
        |config| config.idle_timeout = Duration::from_millis(200),
        Box::new(|_, _, _| {}),
    );
    let outcome = load(plan(server.address, 10));
    assert_eq!(failures(&outcome), [("idle_timeout", 3)].into());
}

#[test]
fn a_server_that_allows_no_request_is_not_waited_for_without_end() {
    for verify in [false, true] {
        let server = Scripted::start(|config| config.max_bidi_streams = 0, Box::new(|_, _, _| {}));
        let brief = Duration::from_millis(200);
        let outcome = load(Plan { request_timeout: brief, verify, ..plan(server.address, 10) });
        assert_eq!(failures(&outcome), [("starved", 3)].into());
        assert_eq!((outcome.tally.unsent, outcome.tally.lost), (10, 3));
    }
}

#[test]
fn the_peers_limit_of_streams_is_kept_to_and_told() {
    let server = Scripted::start(
        |config| config.max_bidi_streams = 7,
        Box::new(|connection, id, _| answer(connection, id, OK)),
    );
    let outcome = load(Plan { streams: 100, ..plan(server.address, 200) });
    let tally = &outcome.tally;
    assert_eq!((tally.done, tally.failed, tally.streams_at_once), (200, 0, 7));
    assert!(tally.limit_waits > 0);
    let told = format!(
        "asked 100 at once, the peer allowed 7 at once; waited {} times",
        tally.limit_waits
    );
    assert!(outcome.summary().contains(&told), "{}", outcome.summary());
    let limits = &outcome.to_json()["streams"];
    assert_eq!((&limits["asked"], &limits["at_once"]), (&100.into(), &7.into()));
}

#[test]
fn ten_thousand_requests_are_under_way_at_once_on_one_connection() {
    const MANY: u64 = 10_000;
    let mut waiting = Vec::new();
    let server = Scripted::start(
        |config| config.max_bidi_streams = MANY,
        Box::new(move |connection, id, index| {
            waiting.push(id);
            // None is answered before ten thousand wait; later ones at once.
            if index + 1 >= MANY {
                waiting.drain(..).for_each(|id| answer(connection, id, OK));
            }
        }),
    );
    let outcome = load(Plan { streams: MANY as usize, ..plan(server.address, 2 * MANY) });
    let tally = &outcome.tally;
    assert_eq!((tally.done, tally.failed, tally.streams_at_once), (2 * MANY, 0, MANY));
}

#[test]
fn a_stall_hides_from_the_time_since_sending_and_shows_in_that_since_the_due_moment() {
    const STALL: Duration = Duration::from_secs(1);
    let server = Scripted::start(
        |_| {},
        Box::new(|connection, id, index| {
            if index == 200 {
                thread::sleep(STALL);
            }
            answer(connection, id, OK);
        }),
    );
    let outcome = load(Plan {
        pace: Some(Pace { per_second: 200.0, arrivals: Arrivals::Constant }),
        ..plan(server.address, 600)
    });
    let tally = &outcome.tally;
    assert_eq!(tally.done, 600, "{}", outcome.summary());
    // One request of six hundred met it; a third of all were due while it lasted.
    let (service, response) = (tally.service.quantile(0.99), tally.response.quantile(0.90));
    assert!(service < STALL / 2, "from sending, p99 {service:?}");
    assert!(response > STALL / 2, "from the due moment, p90 {response:?}");
    assert!(tally.service.max() >= STALL);
}
