//! Whole traces, for the networks that make clients hang.

use super::*;

#[test]
fn quic_that_works_wins_and_tcp_is_never_tried() {
    let mut world = World::new("https://example.com/");
    world.records("example.com", vec![h3_record(1, "example.com")], 10);
    world.health(place("example.com", 443), Health::Works { srtt: Duration::from_millis(40) });
    let played = world.play();
    assert_trace(
        &played.trace,
        "
        0.0 ms  asks for HTTPS of example.com
        0.0 ms  asks for AAAA of example.com
        0.0 ms  asks for A of example.com
        10.0 ms  HTTPS of example.com: 1 example.com alpn=h3,h2,http/1.1
        10.0 ms  AAAA of example.com: 2001:db8::1
        10.0 ms  A of example.com: 192.0.2.1
        10.0 ms  #0 QUIC to [2001:db8::1]:443, by an HTTPS record of priority 1
        30.0 ms  #0 hears from the server
        50.0 ms  #0 wins
        50.0 ms  learnt of example.com:443: QUIC works, 40.0 ms away
        ",
    );
}

#[test]
fn black_holed_quic_costs_a_tenth_of_a_second_and_is_learnt_of() {
    let mut world = World::new("https://example.com/");
    world.records("example.com", vec![h3_record(1, "example.com")], 10);
    world.health(place("example.com", 443), Health::Works { srtt: Duration::from_millis(100) });
    world.quic = Fate::Silence;
    let played = world.play();
    assert_trace(
        &played.connecting(),
        "
        10.0 ms  #0 QUIC to [2001:db8::1]:443, by an HTTPS record of priority 1
        110.0 ms  TCP is released: QUIC has received nothing
        110.0 ms  #1 TCP to [2001:db8::1]:443, by an HTTPS record of priority 1
        130.0 ms  #1 hears from the server
        170.0 ms  #1 wins
        170.0 ms  #0 has lost and runs on, to learn whether QUIC works
        170.0 ms  learnt of example.com:443: QUIC was waited for in vain, and is on trial
        10170.0 ms  #0 is stopped: its time is over
        10170.0 ms  learnt of example.com:443: QUIC is broken
        ",
    );
}

// req: 8305-4-families-in-turn
// req: 8305-5-attempt-delay
// req: 8305-5-others-end
#[test]
fn broken_ipv6_costs_one_step_and_not_more() {
    let mut world = World::new("https://example.com/");
    world.goal.versions = Versions::ALL.without_h3();
    world.fate("TCP", "[2001:db8::1]:443", Fate::Silence);
    let played = world.play();
    assert_trace(
        &played.connecting(),
        "
        10.0 ms  TCP is released: there is no QUIC to try
        10.0 ms  #0 TCP to [2001:db8::1]:443, by the URL
        260.0 ms  #1 TCP to 192.0.2.1:443, by the URL
        280.0 ms  #1 hears from the server
        320.0 ms  #1 wins
        320.0 ms  #0 is stopped: another one was faster
        ",
    );
}

#[test]
fn ipv6_without_a_route_costs_nothing_and_is_not_held_against_quic() {
    let mut world = World::new("https://example.com/");
    world.records("example.com", vec![h3_record(1, "example.com")], 10);
    world.health(place("example.com", 443), Health::Works { srtt: Duration::from_millis(40) });
    world.fate("QUIC", "[2001:db8::1]:443", Fate::Fails(0, Cause::NoRoute));
    world.fate("TCP", "[2001:db8::1]:443", Fate::Fails(0, Cause::NoRoute));
    world.tcp = Fate::Connects(10, 30);
    let played = world.play();
    assert_trace(
        &played.connecting(),
        "
        10.0 ms  #0 QUIC to [2001:db8::1]:443, by an HTTPS record of priority 1
        10.0 ms  #0 failed: NoRoute
        10.0 ms  TCP is released: QUIC failed
        10.0 ms  #1 QUIC to 192.0.2.1:443, by an HTTPS record of priority 1
        10.0 ms  #2 TCP to [2001:db8::1]:443, by an HTTPS record of priority 1
        10.0 ms  #2 failed: NoRoute
        10.0 ms  #3 TCP to 192.0.2.1:443, by an HTTPS record of priority 1
        20.0 ms  #3 hears from the server
        30.0 ms  #1 hears from the server
        40.0 ms  #3 wins
        40.0 ms  #1 has lost and runs on, to learn whether QUIC works
        50.0 ms  learnt of example.com:443: QUIC works, 40.0 ms away
        ",
    );
}

// req: 8305-3-not-all-answers
#[test]
fn late_record_is_not_waited_for_and_joins_the_race() {
    let mut world = World::new("https://example.com/");
    world.records("example.com", vec![h3_record(1, "example.com")], 80);
    world.tcp = Fate::Connects(150, 300);
    let played = world.play();
    assert_trace(
        &played.trace,
        "
        0.0 ms  asks for HTTPS of example.com
        0.0 ms  asks for AAAA of example.com
        0.0 ms  asks for A of example.com
        10.0 ms  AAAA of example.com: 2001:db8::1
        10.0 ms  A of example.com: 192.0.2.1
        60.0 ms  TCP is released: there is no QUIC to try
        60.0 ms  #0 TCP to [2001:db8::1]:443, by the URL
        80.0 ms  HTTPS of example.com: 1 example.com alpn=h3,h2,http/1.1
        80.0 ms  #1 QUIC to [2001:db8::1]:443, by an HTTPS record of priority 1
        100.0 ms  #1 hears from the server
        120.0 ms  #1 wins
        120.0 ms  learnt of example.com:443: QUIC works, 40.0 ms away
        120.0 ms  #0 is stopped: another one was faster
        ",
    );
}

#[test]
fn alt_svc_to_a_dead_host_does_not_delay_the_origin() {
    let mut world = World::new("https://example.com/");
    world.alt_svc(Some("dead.example.com"), 443);
    world.name("dead.example.com", "", "198.51.100.9", 10);
    world.fate("QUIC", "198.51.100.9:443", Fate::Fails(30, Cause::Unreachable));
    let played = world.play();
    assert_trace(
        &played.connecting(),
        "
        10.0 ms  TCP is released: QUIC is not known to work here
        10.0 ms  #0 QUIC to 198.51.100.9:443, by Alt-Svc
        10.0 ms  #1 TCP to [2001:db8::1]:443, by the URL
        30.0 ms  #1 hears from the server
        40.0 ms  #0 failed: Unreachable
        70.0 ms  #1 wins
        70.0 ms  learnt of dead.example.com:443: QUIC is broken
        ",
    );
}

#[test]
fn alt_svc_to_a_name_that_does_not_exist_is_not_waited_for() {
    let mut world = World::new("https://example.com/");
    world.alt_svc(Some("gone.example.com"), 443);
    for kind in [RecordKind::Aaaa, RecordKind::A] {
        let key = ("gone.example.com".to_owned(), kind);
        world.names.insert(key, (4000, Err(NameError::NotFound)));
    }
    let played = world.play();
    assert_trace(
        &played.connecting(),
        "
        60.0 ms  TCP is released: there is no QUIC to try
        60.0 ms  #0 TCP to [2001:db8::1]:443, by the URL
        80.0 ms  #0 hears from the server
        120.0 ms  #0 wins
        ",
    );
    assert_eq!(played.lessons, [], "a name that fails is not QUIC's fault");
}

/// UDP vanishes, and what answers on TCP is the portal with its own certificate.
#[test]
fn captive_network_gives_the_certificate_error_and_teaches_nothing() {
    let mut world = World::new("https://example.com/");
    world.records("example.com", vec![h3_record(1, "example.com")], 10);
    world.health(place("example.com", 443), Health::Works { srtt: Duration::from_millis(40) });
    world.quic = Fate::Silence;
    world.tcp = Fate::Fails(30, Cause::Tls);
    let played = world.play();
    assert_trace(
        &played.connecting(),
        "
        10.0 ms  #0 QUIC to [2001:db8::1]:443, by an HTTPS record of priority 1
        70.0 ms  TCP is released: QUIC had its 60 ms
        70.0 ms  #1 TCP to [2001:db8::1]:443, by an HTTPS record of priority 1
        100.0 ms  #1 failed: Tls
        100.0 ms  #2 TCP to 192.0.2.1:443, by an HTTPS record of priority 1
        130.0 ms  #2 failed: Tls
        260.0 ms  #3 QUIC to 192.0.2.1:443, by an HTTPS record of priority 1
        3260.0 ms  #0 is stopped: it has received nothing, and the others have failed
        3260.0 ms  #3 is stopped: it has received nothing, and the others have failed
        ",
    );
    assert_eq!(played.failed, Some(Defeat::Attempt(1)));
    assert_eq!(played.lessons, []);
}

#[test]
fn server_that_stalls_in_the_quic_handshake_has_its_time_and_no_more() {
    let mut world = World::new("https://example.com/");
    world.alt_svc(None, 443);
    world.goal.known.works_here = true;
    world.quic = Fate::Stalls(20);
    let played = world.play();
    assert_trace(
        &played.connecting(),
        "
        10.0 ms  #0 QUIC to [2001:db8::1]:443, by Alt-Svc
        30.0 ms  #0 hears from the server
        260.0 ms  TCP is released: QUIC had its 250 ms
        260.0 ms  #1 QUIC to 192.0.2.1:443, by Alt-Svc
        260.0 ms  #2 TCP to [2001:db8::1]:443, by the URL
        280.0 ms  #1 hears from the server
        280.0 ms  #2 hears from the server
        320.0 ms  #2 wins
        320.0 ms  #0 has lost and runs on, to learn whether QUIC works
        320.0 ms  #1 has lost and runs on, to learn whether QUIC works
        320.0 ms  learnt of example.com:443: QUIC was waited for in vain, and is on trial
        10320.0 ms  #0 is stopped: its time is over
        10320.0 ms  #1 is stopped: its time is over
        10320.0 ms  learnt of example.com:443: QUIC is broken
        ",
    );
}

/// It has completed a handshake and then answered nothing, so `Connector::on_h3_failure` was called.
#[test]
fn server_that_stalled_after_the_handshake_is_on_trial_beside_tcp() {
    let mut world = World::new("https://example.com/");
    world.alt_svc(None, 443);
    world.health(place("example.com", 443), Health::OnTrial);
    let played = world.play();
    assert_trace(
        &played.connecting(),
        "
        10.0 ms  TCP is released: QUIC failed there not long ago
        10.0 ms  #0 QUIC to [2001:db8::1]:443, by Alt-Svc
        10.0 ms  #1 TCP to [2001:db8::1]:443, by the URL
        30.0 ms  #0 hears from the server
        30.0 ms  #1 hears from the server
        50.0 ms  #0 wins
        50.0 ms  learnt of example.com:443: QUIC works, 40.0 ms away
        50.0 ms  #1 is stopped: another one was faster
        ",
    );
    assert!(!played.started[0].1.may_be_early(), "no early data to what is on trial");
}

#[test]
fn everything_refused_fails_at_once_with_what_tcp_said() {
    let mut world = World::new("https://example.com/");
    world.goal.speculate = true;
    world.quic = Fate::Fails(1, Cause::Refused);
    world.tcp = Fate::Fails(1, Cause::Refused);
    let played = world.play();
    assert_trace(
        &played.connecting(),
        "
        10.0 ms  TCP is released: QUIC is not known to work here
        10.0 ms  #0 QUIC to [2001:db8::1]:443, by the URL, as a guess
        10.0 ms  #1 TCP to [2001:db8::1]:443, by the URL
        11.0 ms  #0 failed: Refused
        11.0 ms  #2 QUIC to 192.0.2.1:443, by the URL, as a guess
        11.0 ms  #1 failed: Refused
        11.0 ms  #3 TCP to 192.0.2.1:443, by the URL
        12.0 ms  #2 failed: Refused
        12.0 ms  #3 failed: Refused
        ",
    );
    assert_eq!(played.failed, Some(Defeat::Attempt(1)));
    assert_eq!(played.lessons, [], "nothing works here, so QUIC is not to blame");
}

/// A server on 127.0.0.1 alone, asked for by `localhost`, on a system that tells UDP nothing.
#[test]
fn address_where_tcp_is_refused_does_not_keep_quic_waiting() {
    let mut world = World::new("https://localhost:8443/");
    world.goal.speculate = true;
    world.fate("TCP", "[::1]:8443", Fate::Fails(1, Cause::Refused));
    world.fate("QUIC", "[::1]:8443", Fate::Silence);
    let played = world.play();
    assert_trace(
        &played.connecting(),
        "
        0.0 ms  TCP is released: QUIC is not known to work here
        0.0 ms  #0 QUIC to [::1]:8443, by the URL, as a guess
        0.0 ms  #1 TCP to [::1]:8443, by the URL
        1.0 ms  #1 failed: Refused
        1.0 ms  #2 QUIC to 127.0.0.1:8443, by the URL, as a guess
        1.0 ms  #3 TCP to 127.0.0.1:8443, by the URL
        21.0 ms  #2 hears from the server
        21.0 ms  #3 hears from the server
        41.0 ms  #2 wins
        41.0 ms  learnt of localhost:8443: QUIC works, 40.0 ms away
        41.0 ms  #0 is stopped: another one was faster
        41.0 ms  #3 is stopped: another one was faster
        ",
    );
}

#[test]
fn name_that_does_not_exist_fails_as_soon_as_that_is_known() {
    let mut world = World::new("https://example.com/");
    for kind in [RecordKind::Aaaa, RecordKind::A, RecordKind::Https] {
        let key = ("example.com".to_owned(), kind);
        world.names.insert(key, (7, Err(NameError::NotFound)));
    }
    let played = world.play();
    assert_eq!(played.failed, Some(Defeat::Name(NameError::NotFound)));
    assert_eq!(played.end, 7);
}
