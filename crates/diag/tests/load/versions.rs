//! What holds for every version of HTTP, against a server that behaves.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use sterna_diag::load::{Arrivals, Body, Events, Mode, Pace, Plan, Trust, Version, Work, run};
use sterna_net::server::Config;

use crate::world::{Good, Http1, Http2, Http3, PAUSE, failures, load, plan_for};

const ALL: [Version; 3] = [Http1, Http2, Http3];

/// A plan for each version, run.
fn each(
    good: &Good,
    path: &str,
    requests: u64,
    change: impl Fn(&mut Plan),
    check: impl Fn(Version, sterna_diag::load::Outcome),
) {
    for version in ALL {
        let mut plan = Plan { version, ..good.plan(path, requests) };
        change(&mut plan);
        check(version, load(plan));
    }
}

#[test]
fn every_request_of_a_closed_loop_is_answered_and_counted_once() {
    let good = Good::start(Config::default());
    let many = |plan: &mut Plan| (plan.connections, plan.streams, plan.workers) = (3, 4, 2);
    each(&good, "/size/1000", 100, many, |version, outcome| {
        let tally = &outcome.tally;
        assert_eq!((tally.sent, tally.done, tally.failed), (100, 100, 0), "{version:?}");
        assert_eq!((tally.unfinished, tally.unsent), (0, 0));
        assert_eq!(tally.received, 100_000);
        assert_eq!(tally.status, [(200, 100)].into());
        assert_eq!((tally.service.count(), tally.first_byte.count()), (100, 100));
        assert_eq!((tally.attempts, tally.handshakes, tally.lost), (3, 3, 0));
        assert_eq!(tally.streams_at_once, 4);
        assert!(outcome.duration > Duration::ZERO && !outcome.is_interrupted);
    });
}

#[test]
fn more_connections_than_may_dial_at_once_all_stand() {
    let good = Good::start(Config::default());
    each(
        &good,
        "/",
        500,
        |plan| plan.connections = 250,
        |version, outcome| {
            let tally = &outcome.tally;
            assert_eq!((tally.done, tally.failed), (500, 0), "{version:?}");
            assert_eq!(
                (tally.attempts, tally.handshakes, tally.lost),
                (250, 250, 0),
                "{version:?}"
            );
        },
    );
}

#[test]
fn responses_checked_in_full_are_as_many_and_as_large() {
    let good = Good::start(Config::default());
    for path in ["/size/0", "/size/1000", "/size/300000"] {
        let size = path.trim_start_matches("/size/").parse::<u64>().unwrap();
        let verify = |plan: &mut Plan| (plan.verify, plan.streams) = (true, 3);
        each(&good, path, 20, verify, |version, outcome| {
            assert_eq!(failures(&outcome), [].into(), "{version:?} {path}");
            assert_eq!((outcome.tally.done, outcome.tally.received), (20, 20 * size));
        });
    }
}

#[test]
fn a_status_of_400_or_above_is_a_failure_with_its_number() {
    let good = Good::start(Config::default());
    each(
        &good,
        "/status/503",
        5,
        |_| {},
        |version, outcome| {
            assert_eq!((outcome.tally.done, outcome.tally.failed), (0, 5), "{version:?}");
            assert_eq!(outcome.tally.failures["status"].codes, [(503, 5)].into());
            assert!(outcome.is_futile());
        },
    );
    each(
        &good,
        "/status/304",
        5,
        |_| {},
        |version, outcome| {
            assert_eq!((outcome.tally.done, outcome.tally.failed), (5, 0), "{version:?}");
        },
    );
}

#[test]
fn content_is_uploaded_whole_however_small_the_windows_are() {
    let good = Good::start(Config::default());
    let length = 3_000_001;
    for verify in [false, true] {
        let upload = |plan: &mut Plan| {
            plan.request.method = http::Method::POST;
            plan.request.body = Body::zeros(length);
            (plan.streams, plan.verify) = (2, verify);
        };
        each(&good, "/upload", 6, upload, |version, outcome| {
            assert_eq!(failures(&outcome), [].into(), "{version:?}: {}", outcome.summary());
            // The answer is the length that the server saw.
            let answers = 6 * length.to_string().len() as u64;
            assert_eq!((outcome.tally.done, outcome.tally.received), (6, answers));
            assert_eq!(outcome.tally.uploaded, 6 * length);
        });
    }
}

#[test]
fn a_connection_is_replaced_after_its_number_of_requests() {
    let good = Good::start(Config::default());
    each(
        &good,
        "/",
        20,
        |plan| plan.reconnect = Some(6),
        |version, outcome| {
            let tally = &outcome.tally;
            assert_eq!((tally.done, tally.failed), (20, 0), "{version:?}");
            assert_eq!((tally.handshakes, tally.lost), (4, 0));
        },
    );
}

#[test]
fn handshakes_are_counted_and_timed_for_their_own_sake() {
    let good = Good::start(Config::default());
    let handshakes = |plan: &mut Plan| (plan.mode, plan.connections) = (Mode::Handshakes, 3);
    each(&good, "/", 12, handshakes, |version, outcome| {
        let tally = &outcome.tally;
        assert_eq!((tally.handshakes, tally.handshakes_failed), (12, 0), "{version:?}");
        assert_eq!((tally.handshake.count(), tally.sent), (12, 0));
        assert!(outcome.rate() > 0.0);
        assert_eq!(outcome.latency().count(), 12);
    });
}

#[test]
fn a_pace_sends_what_is_due_and_no_more() {
    let good = Good::start(Config::default());
    let pace = |plan: &mut Plan| {
        plan.pace = Some(Pace { per_second: 100.0, arrivals: Arrivals::Constant });
        plan.work = Work::Time(Duration::from_millis(500));
        (plan.connections, plan.streams) = (2, 8);
    };
    each(&good, "/", 0, pace, |version, outcome| {
        let tally = &outcome.tally;
        let asked = tally.sent + tally.unsent;
        // One more where the last was due at the very end, or the conductor came late to it.
        assert!((50..60).contains(&asked), "{version:?}: {asked}");
        assert_eq!(tally.done, tally.sent);
        assert_eq!(tally.response.count(), tally.done);
    });
}

#[test]
fn requests_of_the_warm_up_are_not_measured() {
    let good = Good::start(Config::default());
    let warm = |plan: &mut Plan| plan.warmup = Duration::from_millis(100);
    each(&good, "/", 10, warm, |version, outcome| {
        let tally = &outcome.tally;
        assert!(tally.warmup > 0, "{version:?}");
        assert_eq!((tally.sent, tally.done, tally.service.count()), (10, 10, 10));
    });
}

#[test]
fn streams_of_events_are_measured_event_by_event() {
    let good = Good::start(Config::default());
    let events = |plan: &mut Plan| {
        plan.mode = Mode::Events(Events { stall: PAUSE / 2 });
        plan.work = Work::Time(4 * PAUSE);
        (plan.streams, plan.verify) = (1, plan.version == Http3);
        // A stream may last longer than a request.
        plan.request_timeout = 2 * PAUSE;
    };
    each(&good, "/events", 0, events, |version, outcome| {
        let events = &outcome.tally.events;
        assert_eq!((events.count, events.open, events.ended), (5, 1, 0), "{version:?}");
        assert_eq!((events.first.count(), events.pause.count()), (1, 4));
        // 5 after 3; and the pause before the last, with whatever the machine adds.
        assert_eq!(events.gaps, 1, "{version:?}");
        assert!((1..5).contains(&events.stalls), "{version:?}: {}", events.stalls);
        assert!(events.pause.max() >= PAUSE / 2);
        assert_eq!(failures(&outcome), [("event_gap", 1)].into());
        assert_eq!((outcome.tally.failed, outcome.tally.unfinished), (0, 0));
        assert!(!outcome.is_futile());
    });
}

#[test]
fn an_interrupted_run_ends_soon_and_reports_what_it_has() {
    let good = Good::start(Config::default());
    for version in ALL {
        let plan =
            Plan { version, work: Work::Time(Duration::from_secs(3600)), ..good.plan("/", 0) };
        let interrupted = AtomicBool::new(false);
        let outcome = run(plan, &interrupted, &mut |progress| {
            if progress.done > 0 {
                interrupted.store(true, Ordering::Relaxed);
            }
        });
        let outcome = outcome.unwrap();
        assert!(outcome.is_interrupted && outcome.tally.done > 0, "{version:?}");
        assert!(outcome.duration < Duration::from_secs(60));
        assert_eq!(outcome.to_json()["interrupted"], true);
    }
}

#[test]
fn a_certificate_that_is_not_trusted_is_a_failure_of_tls() {
    let good = Good::start(Config::default());
    each(
        &good,
        "/",
        5,
        |plan| plan.trust = Trust::System,
        |version, outcome| {
            assert_eq!(failures(&outcome), [("tls", 3)].into(), "{version:?}");
            assert_eq!((outcome.tally.unsent, outcome.tally.handshakes_failed), (5, 3));
        },
    );
    let file = crate::world::certificate_file(&good.certificate);
    let trust = |plan: &mut Plan| plan.trust = Trust::Files(vec![file.clone()]);
    each(&good, "/", 5, trust, |version, outcome| {
        assert_eq!((outcome.tally.done, failures(&outcome)), (5, [].into()), "{version:?}");
    });
    // The certificate is trusted, for its own name.
    let outcome = load(Plan {
        trust: Trust::Files(vec![file]),
        ..plan_for("https://other.example/", good.address, 5)
    });
    assert_eq!(failures(&outcome), [("tls", 3)].into());
}

#[test]
fn nobody_there_is_a_failure_and_not_a_hang() {
    // Bound, so that nobody else has it, and silent.
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (version, address) in [
        (Http3, udp.local_addr().unwrap()),
        (Http2, tcp.local_addr().unwrap()),
        (Http1, tcp.local_addr().unwrap()),
    ] {
        let limits = Duration::from_millis(100);
        let plan = Plan {
            version,
            handshake_timeout: limits,
            ..plan_for("https://localhost/", address, 3)
        };
        let outcome = load(plan);
        assert_eq!(failures(&outcome), [("handshake_timeout", 3)].into(), "{version:?}");
        assert_eq!(outcome.tally.unsent, 3);
    }
    let address = tcp.local_addr().unwrap();
    drop(tcp);
    let outcome = load(Plan { version: Http1, ..plan_for("http://localhost/", address, 3) });
    assert_eq!(failures(&outcome), [("connect", 3)].into());
}
