//! Any network at all.

use proptest::prelude::*;

use super::*;

fn fate() -> impl Strategy<Value = Fate> {
    let causes = [
        Cause::Refused,
        Cause::Unreachable,
        Cause::NoRoute,
        Cause::Local,
        Cause::TimedOut,
        Cause::Closed,
        Cause::Tls,
        Cause::Protocol,
    ];
    prop_oneof![
        (0..2000_u64, 0..2000_u64).prop_map(|(heard, more)| Fate::Connects(heard, heard + more)),
        Just(Fate::Silence),
        (0..2000_u64).prop_map(Fate::Stalls),
        (0..2000_u64, proptest::sample::select(causes.to_vec()))
            .prop_map(|(after, cause)| Fate::Fails(after, cause)),
    ]
}

fn ips(prefix: &'static str) -> impl Strategy<Value = String> {
    proptest::collection::vec(1..200_u8, 0..5).prop_map(move |ends| {
        ends.iter().map(|end| format!("{prefix}{end}")).collect::<Vec<_>>().join(" ")
    })
}

fn health() -> impl Strategy<Value = Health> {
    prop_oneof![
        Just(Health::Unknown),
        Just(Health::OnTrial),
        Just(Health::Broken { remaining: Duration::from_secs(1) }),
        (0..5000_u64).prop_map(|srtt| Health::Works { srtt: Duration::from_millis(srtt) }),
    ]
}

fn service() -> impl Strategy<Value = Service> {
    (0..3_u16, 0..3_u8, any::<[bool; 4]>(), proptest::option::of(1..9000_u16)).prop_map(
        |(priority, target, [h1, h2, h3, hint], port)| Service {
            priority: priority + 1,
            target: ["example.com", "a.example.com", "b.example.com"][usize::from(target)].into(),
            port,
            h1,
            h2,
            h3,
            hints: if hint { vec!["192.0.2.250".parse().unwrap()] } else { vec![] },
            ..Service::default()
        },
    )
}

fn world() -> impl Strategy<Value = World> {
    let names = (ips("2001:db8::"), ips("192.0.2."), 0..3000_u64, 0..3000_u64);
    let records = (proptest::collection::vec(service(), 0..4), 0..3000_u64);
    let fates = proptest::collection::vec(fate(), 1..12);
    let said = (any::<[bool; 5]>(), 0..3_u8, proptest::option::of(1..9000_u16), health());
    (names, records, fates, said).prop_map(|(names, records, fates, said)| {
        let (v6, v4, v6_after, v4_after): (String, String, u64, u64) = names;
        let ([speculate, works_here, h1, h2, h3], alternative, port, health) = said;
        let mut world = World::new("https://example.com/");
        world.goal.versions = Versions { h1, h2, h3 };
        world.goal.speculate = speculate;
        world.health(place("example.com", 443), health);
        world.goal.known.works_here |= works_here;
        if let Some(port) = port {
            world.alt_svc(
                [None, Some("a.example.com"), Some("c.example.com")][usize::from(alternative)],
                port,
            );
        }
        for (n, host) in ["example.com", "a.example.com", "b.example.com"].iter().enumerate() {
            let key = |kind| ((*host).to_owned(), kind);
            let later = 100 * n as u64;
            world.names.insert(key(RecordKind::Aaaa), (v6_after + later, addresses(&v6)));
            world.names.insert(key(RecordKind::A), (v4_after + later, addresses(&v4)));
        }
        if !records.0.is_empty() {
            world.records("example.com", records.0, records.1);
        }
        // Each address has a fate of its own.
        for (n, ip) in v6.split(' ').chain(v4.split(' ')).filter(|ip| !ip.is_empty()).enumerate() {
            let address = SocketAddr::new(ip.parse().unwrap(), 443).to_string();
            world.fate("QUIC", &address, fates[n % fates.len()]);
            world.fate("TCP", &address, fates[(n * 7 + 3) % fates.len()]);
        }
        (world.quic, world.tcp) = (fates[0], fates[fates.len() - 1]);
        world
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// That it ends, ends once, and that each deadline lies ahead, `World::play` asserts.
    #[test]
    fn race_ends_with_the_first_that_connected_and_six_sockets_at_most(world in world()) {
        let played = world.play();
        prop_assert!(played.most_open <= 6, "{}", played.trace);
        // When each would have connected, unless it was stopped before.
        let connected = |id: usize| {
            let (at, candidate) = &played.started[id];
            let connects = match world.fate_of(candidate) {
                Fate::Connects(_, after) => at + after,
                Fate::Silence | Fate::Stalls(_) | Fate::Fails(..) => return None,
            };
            let stopped = played.stopped.get(&(id as AttemptId));
            stopped.is_none_or(|stopped| connects < *stopped).then_some(connects)
        };
        let first = (0..played.started.len()).filter_map(connected).min();
        let won = played.won.as_ref().and_then(|(id, _)| connected(*id as usize));
        prop_assert_eq!(won, first, "{}", played.trace);
        // What is given up before the end has heard nothing: that is why.
        let end = won.unwrap_or(played.end);
        for (id, stopped) in played.stopped.iter().filter(|(_, stopped)| **stopped < end) {
            let (at, candidate) = &played.started[*id as usize];
            let is_silent = match world.fate_of(candidate) {
                Fate::Connects(heard, _) | Fate::Stalls(heard) => at + heard >= *stopped,
                Fate::Silence | Fate::Fails(..) => true,
            };
            prop_assert!(is_silent, "{}", played.trace);
        }
        // No race takes longer than its time-outs and the time to learn.
        prop_assert!(played.end <= 5000 + 10_000 + 10_000, "{}", played.trace);
        for (lesson, _) in &played.lessons {
            let needs_tcp = *lesson == Lesson::Broken;
            let tcp_won = played.won.as_ref().is_some_and(|(_, c)| c.transport == Transport::Tcp);
            prop_assert!(!needs_tcp || tcp_won, "QUIC is broken only where TCP works");
        }
    }
}
