//! HTTP/1.1 against servers that do not behave.

use std::time::Duration;

use sterna_diag::load::{Outcome, Plan};

use crate::{
    tcp::{Listening, read_head, write},
    world::{Http1, failures, load, plan_for},
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Ten requests; the `nth` of each connection gets `answer`, after which the connection is closed.
fn against(nth: usize, answer: &'static [u8], streams: usize) -> Outcome {
    let server = Listening::start(move |stream, _| {
        for _ in 0..nth {
            if !read_head(stream) {
                return;
            }
            write(stream, OK);
        }
        if read_head(stream) {
            write(stream, answer);
        }
    });
    load(Plan { version: Http1, streams, ..plan_for("http://localhost/", server.address, 10) })
}

#[test]
fn a_response_that_ends_early_is_truncated() {
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok";
    let outcome = against(4, cut, 1);
    assert_eq!(failures(&outcome), [("truncated", 2)].into());
    assert_eq!((outcome.tally.done, outcome.tally.failed), (8, 2));
}

#[test]
fn a_connection_that_is_closed_without_an_answer_is_lost() {
    let outcome = against(4, b"", 1);
    assert_eq!(failures(&outcome), [("closed", 2)].into());
    assert_eq!((outcome.tally.done, outcome.tally.lost, outcome.tally.handshakes), (8, 2, 2));
}

#[test]
fn what_is_no_response_breaks_the_protocol() {
    let outcome = against(4, b"SSH-2.0-OpenSSH\r\n\r\n", 1);
    assert_eq!(failures(&outcome), [("protocol", 2)].into());
}

#[test]
fn a_server_that_never_answers_is_tried_three_times() {
    let outcome = against(0, b"", 1);
    assert_eq!((outcome.tally.failed, outcome.tally.unsent), (3, 7));
}

#[test]
fn a_server_that_says_close_is_left_and_only_pipelined_requests_are_lost() {
    let close = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    let outcome = against(4, close, 1);
    assert_eq!((outcome.tally.done, outcome.tally.failed), (10, 0));
    assert_eq!((outcome.tally.handshakes, outcome.tally.lost), (2, 0));

    let outcome = against(4, close, 3);
    assert_eq!(outcome.tally.done + outcome.tally.failed, 10);
    assert!(outcome.tally.failed > 0 && failures(&outcome).contains_key("closed"));
}

#[test]
fn content_up_to_the_end_of_the_connection_is_a_whole_response() {
    let outcome = against(0, b"HTTP/1.1 200 OK\r\n\r\nup to the end", 1);
    assert_eq!((outcome.tally.done, outcome.tally.received), (10, 130));
}

#[test]
fn silence_is_a_timeout_and_the_connection_is_replaced() {
    let server = Listening::start(|stream, index| {
        while read_head(stream) {
            if index > 0 {
                write(stream, OK);
            }
        }
    });
    let outcome = load(Plan {
        version: Http1,
        request_timeout: Duration::from_millis(200),
        ..plan_for("http://localhost/", server.address, 10)
    });
    assert_eq!(failures(&outcome), [("timeout", 1)].into());
    assert_eq!((outcome.tally.done, outcome.tally.handshakes), (9, 2));
}
