//! One rule each.

use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// When TCP began, after QUIC did, with this to expect of QUIC.
fn tcp_waits(health: Health, quic: Fate) -> u64 {
    let mut world = World::new("https://example.com/");
    world.alt_svc(None, 443);
    world.health(place("example.com", 443), health);
    world.quic = quic;
    let played = world.play();
    let first = |transport| {
        let mut started = played.started.iter();
        started.find(|(_, candidate)| candidate.transport == transport).unwrap().0
    };
    first(Transport::Tcp) - first(Transport::Quic)
}

#[test]
fn tcp_waits_one_and_a_half_round_trips_within_bounds() {
    let works = |srtt| Health::Works { srtt: ms(srtt) };
    assert_eq!(tcp_waits(works(10), Fate::Stalls(5)), 50);
    assert_eq!(tcp_waits(works(34), Fate::Stalls(5)), 51);
    assert_eq!(tcp_waits(works(400), Fate::Stalls(5)), 600);
    assert_eq!(tcp_waits(works(2001), Fate::Stalls(5)), 3000);
}

#[test]
fn silence_or_failure_of_quic_releases_tcp_earlier() {
    let works = Health::Works { srtt: ms(400) };
    assert_eq!(tcp_waits(works, Fate::Silence), 100);
    assert_eq!(tcp_waits(works, Fate::Stalls(99)), 600);
    assert_eq!(tcp_waits(works, Fate::Stalls(101)), 100);
    assert_eq!(tcp_waits(works, Fate::Fails(30, Cause::Tls)), 30);
}

#[test]
fn quic_on_trial_is_not_waited_for() {
    assert_eq!(tcp_waits(Health::OnTrial, Fate::Stalls(5)), 0);
}

#[test]
fn place_never_tried_is_waited_for_only_where_quic_has_worked() {
    let mut world = World::new("https://example.com/");
    world.alt_svc(None, 443);
    world.quic = Fate::Stalls(5);
    assert_eq!(world.play().order()[1], "10 TCP [2001:db8::1]:443");
    world.goal.known.works_here = true;
    assert_eq!(world.play().order()[2], "260 TCP [2001:db8::1]:443");
    // A guess must not cost anything, wherever it is made.
    world.goal.alternatives.clear();
    world.goal.speculate = true;
    assert_eq!(world.play().order()[1], "10 TCP [2001:db8::1]:443");
}

#[test]
fn broken_place_is_left_alone_unless_nothing_else_is_allowed() {
    let mut world = World::new("https://example.com/");
    world.alt_svc(None, 443);
    world.health(place("example.com", 443), Health::Broken { remaining: ms(60_000) });
    let played = world.play();
    assert_eq!(played.order(), ["10 TCP [2001:db8::1]:443"]);
    assert!(played.trace.contains("no QUIC to example.com:443: it is broken for 60 s more"));
    world.goal.versions = Versions::ONLY_H3;
    assert_eq!(world.play().order(), ["10 QUIC [2001:db8::1]:443"]);
}

#[test]
fn records_go_by_priority_with_their_ports_then_alt_svc_then_the_origin() {
    let mut world = World::new("https://example.com/");
    let first = Service { port: Some(8443), ..h3_record(1, "a.example.com") };
    world.records("example.com", vec![h3_record(2, "b.example.com"), first], 1);
    world.name("a.example.com", "", "192.0.2.10", 1);
    world.name("b.example.com", "", "192.0.2.20", 1);
    world.alt_svc(Some("c.example.com"), 443);
    world.name("c.example.com", "", "192.0.2.30", 1);
    world.name("example.com", "", "192.0.2.1", 1);
    world.quic = Fate::Fails(0, Cause::Refused);
    world.tcp = Fate::Fails(0, Cause::Refused);
    let mut order = world.play().order();
    order.sort_by_key(|line| line.contains("TCP"));
    assert_eq!(
        order,
        [
            "2 QUIC 192.0.2.10:8443",
            "2 QUIC 192.0.2.20:443",
            "2 QUIC 192.0.2.30:443",
            "2 TCP 192.0.2.10:8443",
            "2 TCP 192.0.2.20:443",
            "2 TCP 192.0.2.1:443",
        ]
    );
}

#[test]
fn equal_priorities_are_shuffled_by_chance() {
    let first = |seed| {
        let mut world = World::new("https://example.com/");
        world.goal.seed = seed;
        let records = ["a", "b", "c"].map(|name| h3_record(1, &format!("{name}.example.com")));
        world.records("example.com", records.into(), 1);
        for (name, address) in [("a", "192.0.2.1"), ("b", "192.0.2.2"), ("c", "192.0.2.3")] {
            world.name(&format!("{name}.example.com"), "", address, 1);
        }
        world.play().started[0].1.address
    };
    let all: std::collections::BTreeSet<_> = (0..64).map(first).collect();
    assert_eq!(all.len(), 3);
}

#[test]
fn hints_serve_until_the_addresses_are_known() {
    let mut world = World::new("https://example.com/");
    let hints = vec!["192.0.2.77".parse().unwrap()];
    world.records("example.com", vec![Service { hints, ..h3_record(1, "example.com") }], 5);
    world.name("example.com", "", "192.0.2.1", 500);
    world.quic = Fate::Silence;
    world.tcp = Fate::Silence;
    let order = world.play().order();
    // req: 9460-7.3-hints-until-answers
    assert_eq!(order[0], "55 QUIC 192.0.2.77:443");
    assert!(order.contains(&"500 QUIC 192.0.2.1:443".to_owned()), "{order:?}");
    world.name("example.com", "", "192.0.2.1", 5);
    let order = world.play().order();
    assert!(order.iter().all(|line| !line.contains("192.0.2.77")), "{order:?}");
}

#[test]
fn record_without_h2_and_h1_is_for_quic_alone_and_the_origin_remains() {
    let mut world = World::new("https://example.com/");
    let record = Service { h2: false, h1: false, ..h3_record(1, "only3.example.com") };
    world.records("example.com", vec![record], 1);
    world.name("only3.example.com", "", "192.0.2.3", 1);
    world.quic = Fate::Silence;
    let mut order = world.play().order();
    order.sort_by_key(|line| line.contains("TCP"));
    // req: 9460-3-fall-back
    assert_eq!(order, ["10 QUIC 192.0.2.3:443", "10 TCP [2001:db8::1]:443"]);
}

#[test]
fn record_that_wants_more_than_we_have_is_not_used() {
    let mut world = World::new("https://example.com/");
    let record = Service { incompatible: true, ..h3_record(1, "a.example.com") };
    world.records("example.com", vec![record], 1);
    // req: 9460-8-unknown-mandatory
    assert_eq!(world.play().order(), ["10 TCP [2001:db8::1]:443"]);
}

#[test]
fn alias_is_followed_and_ends_somewhere() {
    let mut world = World::new("https://example.com/");
    let alias = |target: &str| {
        (1, Ok(Found::Services(vec![ServiceRecord::Alias { target: Some(target.to_owned()) }])))
    };
    world.names.insert(("example.com".to_owned(), RecordKind::Https), alias("cdn.example.net"));
    world.records("cdn.example.net", vec![h3_record(1, "cdn.example.net")], 1);
    world.name("cdn.example.net", "", "192.0.2.50", 1);
    assert_eq!(world.play().order()[0], "10 QUIC 192.0.2.50:443");
    // req: 9460-2.4.2-alias-loops
    for n in 0..40 {
        let key = (format!("cdn{n}.example.net"), RecordKind::Https);
        world.names.insert(key, alias(&format!("cdn{}.example.net", n + 1)));
    }
    world.names.insert(("example.com".to_owned(), RecordKind::Https), alias("cdn0.example.net"));
    let trace = world.play().trace;
    assert_eq!(trace.matches("asks for HTTPS").count(), 1 + names::MOST_ALIASES);
    world.names.insert(("example.com".to_owned(), RecordKind::Https), alias("example.com"));
    assert_eq!(world.play().order()[0], "10 TCP [2001:db8::1]:443");
}

#[test]
fn port_other_than_443_is_asked_for_by_prefix() {
    let mut world = World::new("https://example.com:8443/");
    world.records("_8443._https.example.com", vec![h3_record(1, "example.com")], 1);
    // req: 9460-9.1-port-prefix
    assert_eq!(world.play().order()[0], "10 QUIC [2001:db8::1]:8443");
}

#[test]
fn alternative_at_a_high_port_or_against_the_records_is_refused() {
    let mut world = World::new("https://example.com/");
    world.alt_svc(None, 8443);
    let played = world.play();
    assert_eq!(played.order(), ["10 TCP [2001:db8::1]:443"]);
    assert!(played.trace.contains("no QUIC to example.com:8443: any program may open that port"));
    // req: 9460-9.3-consistent
    let mut world = World::new("https://example.com/");
    world.alt_svc(None, 443);
    world.records("example.com", vec![Service { h3: false, ..h3_record(1, "example.com") }], 1);
    let played = world.play();
    assert_eq!(played.order(), ["10 TCP [2001:db8::1]:443"]);
    assert!(played.trace.contains("the host's HTTPS records have no HTTP/3"));
}

#[test]
fn network_change_is_held_against_nobody() {
    let start = Instant::now();
    let mut world = World::new("https://192.0.2.1/");
    world.goal.speculate = true;
    let mut race = Race::new(world.goal, start);
    race.handle(Event::Tick, start);
    race.handle(Event::NetworkChanged, start);
    race.handle(Event::Failed(0, Cause::Closed, String::new()), start);
    race.handle(Event::Connected(1, Proof::Complete(None)), start);
    let learnt =
        std::iter::from_fn(|| race.poll_action()).any(|action| matches!(action, Action::Learn(..)));
    assert!(!learnt);
    assert!(race.deadline(start).is_none(), "no QUIC attempt is left to learn of");
}

#[test]
fn connection_for_early_data_wins_and_teaches_nothing() {
    let start = Instant::now();
    let mut world = World::new("https://192.0.2.1/");
    world.goal.speculate = true;
    let mut race = Race::new(world.goal, start);
    race.handle(Event::Tick, start);
    race.handle(Event::Connected(0, Proof::Early), start);
    let actions: Vec<_> = std::iter::from_fn(|| race.poll_action()).collect();
    assert!(actions.contains(&Action::Win(0)));
    assert!(!actions.iter().any(|action| matches!(action, Action::Learn(..))));
}

#[test]
fn address_that_has_worked_goes_first() {
    let mut world = World::new("https://example.com/");
    world.alt_svc(None, 443);
    world.health(place("example.com", 443), Health::Works { srtt: ms(40) });
    let works = (place("example.com", 443), "192.0.2.1".parse().unwrap());
    world.goal.known.addresses.push(works);
    assert_eq!(world.play().order()[0], "10 QUIC 192.0.2.1:443");
    // One that the name does not have any more is not invented.
    world.goal.known.addresses[0].1 = "192.0.2.9".parse().unwrap();
    assert_eq!(world.play().order()[0], "10 QUIC [2001:db8::1]:443");
}

#[test]
fn http_goes_over_tcp_alone_without_records() {
    let mut world = World::new("http://example.com/");
    world.goal.speculate = true;
    world.alt_svc(None, 443);
    let played = world.play();
    assert_eq!(played.order(), ["10 TCP [2001:db8::1]:80"]);
    assert!(!played.trace.contains("HTTPS"));
    world.goal.versions = Versions::ONLY_H3;
    assert_eq!(world.play().failed, Some(Defeat::Nothing));
}

#[test]
fn connect_to_replaces_names_records_and_alternatives() {
    let mut world = World::new("https://example.com/");
    world.goal.connect_to = Some(place("127.0.0.1", 9443));
    world.alt_svc(Some("c.example.com"), 443);
    let played = world.play();
    assert_eq!(played.order(), ["0 TCP 127.0.0.1:9443"]);
    assert!(!played.trace.contains("asks"));
}

#[test]
fn no_more_than_six_sockets_are_open_and_three_of_them_quic() {
    let mut world = World::new("https://example.com/");
    world.goal.speculate = true;
    let many = |prefix: &str| (1..=9).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>().join(" ");
    world.name("example.com", &many("2001:db8::"), &many("192.0.2."), 10);
    (world.quic, world.tcp) = (Fate::Silence, Fate::Silence);
    let played = world.play();
    assert_eq!((played.most_open, played.started.len()), (6, 6), "none of them ends");
    let quic = played.order().iter().filter(|line| line.contains("QUIC")).count();
    assert_eq!(quic, 3);
    assert_eq!((played.failed, played.end), (Some(Defeat::TimedOut), 10_010));
    (world.quic, world.tcp) = (Fate::Fails(5, Cause::Refused), Fate::Fails(5, Cause::Refused));
    let played = world.play();
    assert_eq!(played.started.len(), 2 * track::MOST, "each transport has a bound of its own");
}

#[test]
fn questions_are_bounded_whatever_records_and_alternatives_name() {
    let mut world = World::new("https://example.com/");
    let records = (0..40).map(|n| h3_record(1, &format!("r{n}.example.com"))).collect();
    world.records("example.com", records, 1);
    for n in 0..40 {
        world.alt_svc(Some(&format!("a{n}.example.com")), 443);
    }
    assert_eq!(world.play().trace.matches("asks for").count(), names::MOST_QUESTIONS);
}

#[test]
fn silent_quic_where_tcp_is_refused_is_waited_for_by_what_is_known_of_it() {
    let mut world = World::new("https://192.0.2.1/");
    (world.quic, world.tcp) = (Fate::Silence, Fate::Fails(1, Cause::Refused));
    world.goal.speculate = true;
    assert_eq!((world.play().failed, world.play().end), (Some(Defeat::Attempt(1)), 300));
    world.alt_svc(None, 443);
    assert_eq!((world.play().failed, world.play().end), (Some(Defeat::Attempt(1)), 3000));
    world.quic = Fate::Stalls(50);
    assert_eq!((world.play().failed, world.play().end), (Some(Defeat::TimedOut), 10_000));
}

#[test]
fn silent_address_does_not_hold_up_what_another_one_has_told() {
    let mut world = World::new("https://localhost/");
    world.goal.versions = Versions::ONLY_H3;
    world.fate("QUIC", "[::1]:443", Fate::Silence);
    world.fate("QUIC", "127.0.0.1:443", Fate::Fails(20, Cause::Tls));
    assert_eq!((world.play().failed, world.play().end), (Some(Defeat::Attempt(1)), 300));
    // That it was refused says nothing about the other one.
    world.fate("QUIC", "127.0.0.1:443", Fate::Fails(20, Cause::Refused));
    assert_eq!(world.play().end, 10_000);
}

#[test]
fn names_that_are_never_answered_end_the_race_in_time() {
    let mut world = World::new("https://example.com/");
    world.name("example.com", "2001:db8::1", "192.0.2.1", 60_000);
    world.records("example.com", vec![h3_record(1, "example.com")], 60_000);
    let played = world.play();
    assert_eq!((played.failed, played.end), (Some(Defeat::NameTimedOut), 5000));
}

#[test]
fn address_that_comes_late_is_waited_for_when_all_others_failed() {
    let mut world = World::new("https://example.com/");
    world
        .names
        .insert(("example.com".to_owned(), RecordKind::Aaaa), (900, addresses("2001:db8::7")));
    world.fate("TCP", "192.0.2.1:443", Fate::Fails(5, Cause::Refused));
    let played = world.play();
    assert_eq!(played.order(), ["60 TCP 192.0.2.1:443", "900 TCP [2001:db8::7]:443"]);
    assert_eq!(played.won.unwrap().0, 1);
}
