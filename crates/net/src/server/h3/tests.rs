//! HTTP/3 on the simulated network: real endpoints, a virtual clock, loss and reordering by a seed.

use std::{
    convert::Infallible, net::SocketAddr, pin::Pin, rc::Rc, sync::Arc, task::Poll, time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use proptest::prelude::*;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sterna_quic::{
    ClientConfig, ServerConfig,
    sim::{Link, Network},
};

use super::*;
use crate::{Body, RequestContext, ServerTls, body, counters::Counters, server::Config};

#[path = "../../../tests/server/client.rs"]
#[expect(dead_code, reason = "the tests on real sockets use more of it")]
mod client;

use client::{Action, App, Client, Exchange, Ticket};

type Sim<S> = Network<H3Application<S>, App>;

/// A server, a client and the network between them.
struct World<S: HttpService> {
    network: Sim<S>,
    client: Client,
    counters: Arc<crate::counters::WorkerCounters>,
    draining: Draining,
}

impl<S: HttpService> World<S> {
    fn new(seed: u64, link: Link, config: Config, service: S) -> Self {
        Self::with_client(seed, link, config, sterna_quic::Config::default(), service)
    }

    fn with_client(
        seed: u64,
        link: Link,
        config: Config,
        transport: sterna_quic::Config,
        service: S,
    ) -> Self {
        let (tls, roots) = credentials();
        let server = ServerConfig {
            tls: Arc::new(
                tls.quic_config(crate::tls::Terms::default()).expect("a valid configuration"),
            ),
            transport: config.quic.clone(),
        };
        let counters: Arc<crate::counters::WorkerCounters> = Arc::default();
        let limits = crate::limit::per_source::PerSource::new(&config);
        let dispatch = Dispatch::new(service, Arc::new(config), counters.clone(), None, 0);
        let dispatch = Rc::new(dispatch.limited(limits, None));
        let draining = Draining::default();
        let local = SocketAddr::from(([192, 0, 2, 1], 443));
        let app = H3Application::new(dispatch, local, draining.clone());
        let mut network = Network::new(seed, &server, [app]).expect("a valid configuration");
        (network.up, network.down) = (link, link);
        let client = Client::default();
        let number = network.add_client(client.app());
        let config = ClientConfig { tls: Arc::new(roots), transport };
        network.connect(number, &config).expect("a valid configuration");
        let mut world = Self { network, client, counters, draining };
        world.until(|client| client.shared().settings);
        world
    }

    /// Runs until the client has seen it.
    fn until(&mut self, mut done: impl FnMut(&Client) -> bool) {
        let client = self.client.clone();
        let happened = self.network.run_until(Duration::from_secs(300), |_| done(&client));
        let goaways = client.shared().goaways.clone();
        let closed = client.shared().closed.clone();
        assert!(happened, "nothing happened: {:?} {goaways:?} {closed:?}", self.counters());
    }

    fn over(&mut self, ticket: Ticket) -> Exchange {
        self.until(|client| client.exchange(ticket).is_over());
        self.client.exchange(ticket)
    }

    fn counters(&self) -> Counters {
        Counters::sum(std::slice::from_ref(&self.counters))
    }
}

#[test]
fn exchanges_are_whole_on_a_network_that_loses_and_reorders() {
    for seed in 0..8 {
        let link = Link { loss: 0.05, jitter: Duration::from_millis(5), ..Link::default() };
        let mut world = World::new(seed, link, Config::default(), service());
        let data = Bytes::from(pattern(300_000));
        let uploads: Vec<_> = (0..4)
            .map(|_| {
                let ticket = world.client.start_post("/echo");
                world.client.data(ticket, data.clone(), true);
                ticket
            })
            .collect();
        let downloads: Vec<_> = (0..20).map(|_| world.client.start_get("/bytes/30000")).collect();
        for ticket in uploads {
            let exchange = world.over(ticket);
            assert!(exchange.finished && exchange.body == data, "seed {seed}");
        }
        for ticket in downloads {
            let exchange = world.over(ticket);
            assert!(exchange.finished && exchange.body == pattern(30_000), "seed {seed}");
        }
        let counters = world.counters();
        assert_eq!((counters.active_requests, counters.cancelled_requests), (0, 0));
        assert_eq!((counters.queued_upload_bytes, counters.queued_response_bytes), (0, 0));
    }
}

#[test]
fn small_answer_takes_one_round_trip() {
    let mut world = World::new(1, Link::default(), Config::default(), service());
    let before = world.network.elapsed();
    let ticket = world.client.start_get("/");
    let exchange = world.over(ticket);
    assert_eq!(exchange.text(), "hello");
    assert_eq!(exchange.over_at, Some(before + Duration::from_millis(20)));
}

#[test]
fn answer_and_acknowledgement_share_a_datagram() {
    let mut world = World::new(1, Link::default(), Config::default(), service());
    for _ in 0..3 {
        let ticket = world.client.start_get("/");
        world.over(ticket);
        world.network.run_for(Duration::from_secs(1));
    }
    let sent = world.network.trace.len();
    let ticket = world.client.start_get("/");
    world.over(ticket);
    let down = world.network.trace[sent..].iter().filter(|trace| !trace.is_up).count();
    assert_eq!(down, 1, "request: one datagram up, everything of the answer: one datagram down");
}

#[test]
fn download_goes_on_after_the_client_moved_and_its_address_is_told() {
    let mut world = World::new(3, Link::default(), Config::default(), service());
    let ticket = world.client.start_get("/bytes/2000000");
    world.until(|client| client.exchange(ticket).body.len() > 100_000);
    let moved = SocketAddr::from(([10, 9, 9, 9], 999));
    world.network.rebind(0, moved);
    // The server learns of it from what the client sends: acknowledgements are lost with what they are for.
    let hello = world.client.start_get("/");
    assert_eq!(world.over(hello).text(), "hello");
    let exchange = world.over(ticket);
    assert!(exchange.finished && exchange.body == pattern(2_000_000));
    let ticket = world.client.start_get("/peer");
    assert_eq!(world.over(ticket).text(), moved.to_string());
}

#[test]
fn an_address_that_a_client_only_claims_is_not_told() {
    let mut world = World::new(3, Link::default(), Config::default(), service());
    let ticket = world.client.start_get("/peer");
    let own = world.over(ticket).text().to_owned();
    let victim = SocketAddr::from(([10, 6, 6, 6], 666));
    for turn in 0..3 {
        // The request itself comes from there, as a datagram with a forged source.
        world.network.claim(0, Some(victim));
        let ticket = world.client.start_get("/peer");
        world.network.run_for(Duration::from_millis(15 + 200 * turn));
        world.network.claim(0, None);
        assert_eq!(world.over(ticket).text(), own, "turn {turn}");
    }
    let ticket = world.client.start_get("/peer");
    assert_eq!(world.over(ticket).text(), own);
}

#[test]
fn a_connection_counts_for_the_address_that_it_has_shown_to_be_its_own() {
    let config = Config { connections_per_ip: Some(1), ..Config::default() };
    let mut world = World::new(3, Link::default(), config, service());
    let limits = world.network.server(0).application().dispatch.limits.clone().expect("limited");
    let [own, victim, moved] = [[10, 0, 0, 1], [10, 6, 6, 6], [10, 9, 9, 9]].map(IpAddr::from);
    let full = |address| limits.is_full(address);
    assert_eq!([own, victim, moved].map(full), [true, false, false]);
    world.network.claim(0, Some(SocketAddr::new(victim, 666)));
    let ticket = world.client.start_get("/");
    world.network.run_for(Duration::from_millis(200));
    assert_eq!([own, victim, moved].map(full), [true, false, false], "a claim");
    world.network.claim(0, None);
    world.over(ticket);
    world.network.rebind(0, SocketAddr::new(moved, 999));
    let ticket = world.client.start_get("/");
    world.over(ticket);
    world.network.run_for(Duration::from_millis(200));
    assert_eq!([own, victim, moved].map(full), [false, false, true]);
}

#[test]
fn head_timeout_is_exact_in_virtual_time() {
    let mut world = World::new(1, Link::default(), Config::default(), service());
    let before = world.network.elapsed();
    let ticket = world.client.raw(&b"\x01\x20"[..], false);
    let exchange = world.over(ticket);
    assert_eq!(exchange.reset, Some(0x10b));
    // One way there, ten seconds, one way back.
    assert_eq!(exchange.over_at, Some(before + Duration::from_millis(10_020)));
    assert_eq!(world.counters().timeouts, 1);
}

#[test]
fn body_timeout_runs_from_the_last_piece() {
    let mut world = World::with_client(
        1,
        Link::default(),
        Config::default(),
        sterna_quic::Config { keep_alive: Some(Duration::from_secs(5)), ..Default::default() },
        service(),
    );
    let ticket = world.client.start_post("/count");
    world.client.data(ticket, "abc", false);
    world.network.run_for(Duration::from_secs(20));
    world.client.data(ticket, "def", false);
    let before = world.network.elapsed();
    let exchange = world.over(ticket);
    assert_eq!(exchange.status(), Some(StatusCode::REQUEST_TIMEOUT));
    assert_eq!(exchange.over_at, Some(before + Duration::from_millis(30_020)));
}

#[test]
fn client_that_takes_nothing_is_reset_after_the_write_timeout() {
    let transport = sterna_quic::Config {
        stream_window: 16 * 1024,
        keep_alive: Some(Duration::from_secs(5)),
        ..Default::default()
    };
    let mut world = World::with_client(1, Link::default(), Config::default(), transport, service());
    let ticket = world.client.start_get("/bytes/1000000");
    world.client.pause(ticket);
    world.network.run_for(Duration::from_secs(59));
    assert_eq!(world.counters().timeouts, 0);
    let queued = world.counters().queued_response_bytes;
    assert!((1..=64 * 1024).contains(&queued), "{queued} bytes wait for a slow reader");
    world.network.run_for(Duration::from_secs(2));
    let counters = world.counters();
    assert_eq!((counters.timeouts, counters.queued_response_bytes), (1, 0));
    assert_eq!((counters.active_requests, counters.cancelled_requests), (0, 1));
}

// req: 9114-5.3-goaway-before-close
#[test]
fn goaway_comes_twice_and_the_close_after_the_last_answer() {
    let mut world = World::new(1, Link::default(), Config::default(), service());
    let ticket = world.client.start_get("/bytes/400000");
    world.until(|client| !client.exchange(ticket).body.is_empty());
    let begun = world.network.elapsed();
    let deadline = Instant::now() + Duration::from_secs(3600);
    world.draining.begin(deadline);
    world.network.server(0).refuse_new();
    world.network.server(0).touch_all();
    world.until(|client| client.shared().goaways.len() == 1);
    let first = world.network.elapsed();
    assert!(first - begun <= Duration::from_millis(50), "{:?}", first - begun);
    assert!(!world.client.exchange(ticket).finished, "it does not wait for the download");
    world.until(|client| client.shared().goaways.len() == 2);
    assert!(world.network.elapsed() - first >= Duration::from_millis(20), "a round trip at least");
    assert_eq!(world.client.shared().goaways, [(1 << 62) - 4, 4]);
    world.until(|client| client.shared().closed.is_some());
    let exchange = world.client.exchange(ticket);
    assert!(exchange.finished && exchange.body == pattern(400_000));
}

impl<S: HttpService> World<S> {
    fn drain(&mut self, deadline: Duration) {
        self.draining.begin(self.network.now() + deadline);
        self.network.server(0).refuse_new();
        self.network.server(0).touch_all();
    }

    /// How long the server waits for its end.
    fn ends_after(&mut self) -> Duration {
        let begun = self.network.elapsed();
        let limit = Duration::from_secs(1000);
        assert!(self.network.run_until(limit, |all| all.server(0).open_connections() == 0));
        self.network.elapsed() - begun
    }
}

const DEADLINE: Duration = Duration::from_secs(200);

/// Clients may take their time.
fn patient() -> Config {
    let body_idle_timeout = Duration::from_secs(600);
    Config { body_idle_timeout, min_rate: None, ..Config::default() }
}

#[test]
fn drain_gives_up_a_client_that_has_gone_and_not_before_twelve_seconds_of_silence() {
    let mut world = World::new(1, Link::default(), Config::default(), service());
    let ticket = world.client.start_get("/bytes/4000000");
    world.until(|client| client.exchange(ticket).body.len() > 100_000);
    world.drain(DEADLINE);
    (world.network.up.loss, world.network.down.loss) = (1.0, 1.0);
    let took = world.ends_after();
    assert!((12..14).contains(&took.as_secs()), "{took:?}");
    assert_eq!(world.counters().vanished_clients, 1);
}

#[test]
fn drain_waits_for_a_client_that_acknowledges_however_long_its_request_takes() {
    let mut world = World::new(1, Link::default(), patient(), service());
    // Nothing is sent on either side while the answer waits for the rest of the content.
    let ticket = world.client.start_post("/count");
    world.client.data(ticket, "abc", false);
    world.network.run_for(Duration::from_secs(1));
    world.drain(DEADLINE);
    world.network.run_for(Duration::from_secs(150));
    world.client.data(ticket, "def", true);
    assert_eq!(world.over(ticket).text(), "6");
    assert!(world.ends_after() < Duration::from_secs(5));
    assert_eq!(world.counters().vanished_clients, 0);
}

#[test]
fn drain_outlives_holes_of_five_seconds_and_networks_that_are_slow_and_lose() {
    for seed in 0..20 {
        let mut world = World::new(seed, Link::default(), Config::default(), service());
        let ticket = world.client.start_get("/bytes/400000");
        world.until(|client| client.exchange(ticket).body.len() > 20_000);
        let delay = Duration::from_millis(10 + seed * 40);
        let is_hole = seed % 2 == 0;
        let link = Link { delay, loss: if is_hole { 0.0 } else { 0.1 }, ..Link::default() };
        (world.network.up, world.network.down) = (link, link);
        world.drain(DEADLINE);
        world.network.run_for(Duration::from_millis(100 * seed));
        (world.network.up.loss, world.network.down.loss) = (1.0, 1.0);
        world.network.run_for(Duration::from_secs(if is_hole { 5 } else { 0 }));
        (world.network.up, world.network.down) = (link, link);
        let exchange = world.over(ticket);
        assert!(exchange.finished && exchange.body == pattern(400_000), "seed {seed}");
        assert_eq!(world.counters().vanished_clients, 0, "seed {seed}");
    }
}

#[test]
fn drain_ends_at_its_deadline_whoever_acknowledges() {
    let mut world = World::new(1, Link::default(), patient(), service());
    let ticket = world.client.start_post("/count");
    world.client.data(ticket, "abc", false);
    world.network.run_for(Duration::from_secs(1));
    world.drain(Duration::from_secs(60));
    assert!((59..=60).contains(&world.ends_after().as_secs()));
}

#[test]
fn lost_connection_is_a_body_error_and_a_cancellation() {
    let config = Config { body_idle_timeout: Duration::from_secs(600), ..Config::default() };
    let mut world = World::new(1, Link::default(), config, service());
    let ticket = world.client.start_post("/count");
    world.client.data(ticket, "abc", false);
    world.network.run_for(Duration::from_secs(1));
    assert_eq!(world.counters().active_requests, 1);
    // Nothing arrives any more, in either direction.
    (world.network.up.loss, world.network.down.loss) = (1.0, 1.0);
    world.network.run_for(Duration::from_secs(120));
    let counters = world.counters();
    assert_eq!((counters.active_requests, counters.cancelled_requests), (0, 1));
    assert_eq!(counters.active_quic_connections, 0);
}

#[test]
fn cancelled_requests_leave_nothing_behind() {
    let mut world = World::new(5, Link::default(), Config::default(), service());
    for round in 0..50 {
        let tickets: Vec<_> = (0..8).map(|_| world.client.start_get("/bytes/100000")).collect();
        world.network.run_for(Duration::from_millis(25 + round % 7));
        for ticket in tickets {
            if !world.client.exchange(ticket).is_over() {
                world.client.act(Action::Cancel { ticket, code: 0x10c });
            }
        }
    }
    world.network.run_for(Duration::from_secs(5));
    let counters = world.counters();
    assert_eq!((counters.active_requests, counters.queued_response_bytes), (0, 0));
    assert_eq!(counters.active_quic_connections, 1, "{counters:?}");
    let ticket = world.client.start_get("/");
    assert_eq!(world.over(ticket).text(), "hello");
}

#[test]
fn client_that_takes_no_instructions_but_resets_on_is_closed_for_the_load() {
    let mut config = Config::default();
    config.h3.reset_budget = 100_000;
    let transport = sterna_quic::Config { stream_window: 256, ..Default::default() };
    let mut world = World::with_client(1, Link::default(), config, transport, service());
    world.client.shared().deaf = true;
    let mut most = 0;
    // Each costs a Stream Cancellation of three bytes, for which there is no credit.
    for _ in 0..80 {
        for _ in 0..100 {
            let ticket = world.client.raw(&b"\x01"[..], false);
            world.client.act(Action::Cancel { ticket, code: 0x10c });
        }
        world.network.run_for(Duration::from_millis(100));
        most = most.max(world.counters().queued_response_bytes);
    }
    assert!((15_000..=16 * 1024).contains(&most), "{most} bytes were queued");
    let closed = world.client.shared().closed.clone();
    assert!(matches!(closed, Some(CloseReason::Application { code: 0x107, .. })), "{closed:?}");
    let counters = world.counters();
    assert_eq!((counters.queued_response_bytes, counters.protocol_errors), (0, 1));
}

#[test]
fn stream_limit_doubles_for_a_client_whose_requests_were_answered() {
    let mut world = World::new(1, Link::default(), Config::default(), service());
    let uploads: Vec<_> = (0..190).map(|_| world.client.start_post("/count")).collect();
    world.network.run_for(Duration::from_secs(2));
    assert_eq!(world.counters().active_requests, 100, "nothing was answered yet");
    for ticket in uploads {
        world.until(|client| client.shared().exchanges[ticket].sent);
        world.client.data(ticket, "", true);
        world.over(ticket);
    }
    for _ in 0..300 {
        world.client.start_post("/count");
    }
    world.network.run_for(Duration::from_secs(2));
    // The engine tells of freed streams in batches, so that some of the 200 are not announced yet.
    let active = world.counters().active_requests;
    assert!((150..=200).contains(&active), "{active}");
}

/// A client that asks for a thousand things at once, of which the network takes a few dozen in the first round trips.
fn thousand(drained: bool) -> (World<impl HttpService>, Vec<Ticket>) {
    let mut config = Config::default();
    config.quic.max_bidi_streams = 2000;
    let mut world = World::new(1, Link::default(), config, service());
    let tickets: Vec<_> = (0..1000).map(|_| world.client.start_get("/bytes/20000")).collect();
    world.until(|client| client.shared().exchanges.iter().any(Exchange::is_over));
    if drained {
        world.draining.begin(world.network.now() + Duration::from_secs(300));
    }
    (world, tickets)
}

#[test]
fn requests_whose_responses_the_network_cannot_take_are_not_looked_at_before_it_can() {
    let (mut world, tickets) = thousand(false);
    let counters = world.counters();
    let looked_at = counters.http3_requests;
    assert!((128..=400).contains(&looked_at), "{looked_at} of 1,000 that have come");
    assert!(counters.active_requests <= 128 + 10, "{} at once", counters.active_requests);
    for ticket in tickets {
        let exchange = world.over(ticket);
        assert!(exchange.finished && exchange.body == pattern(20_000), "{ticket}");
    }
    assert_eq!(world.counters().http3_requests, 1000);
}

#[test]
fn request_that_is_cancelled_before_it_was_looked_at_never_is_and_the_others_are() {
    let (mut world, tickets) = thousand(false);
    let (last, others) = tickets.split_last().unwrap();
    world.client.act(Action::Cancel { ticket: *last, code: 0x10c });
    for ticket in others {
        assert!(world.over(*ticket).finished, "{ticket}");
    }
    world.network.run_for(Duration::from_secs(1));
    let counters = world.counters();
    assert_eq!((counters.http3_requests, counters.active_requests), (999, 0));
    assert_eq!(counters.timeouts, 0, "nobody waited for its head");
    let begun = world.network.now();
    world.draining.begin(begun + Duration::from_secs(60));
    world.until(|client| client.shared().closed.is_some());
    let waited = world.network.now() - begun;
    assert!(waited < Duration::from_secs(30), "something was left of it for {waited:?}");
}

#[test]
fn drain_answers_all_that_has_come() {
    let (mut world, tickets) = thousand(true);
    for ticket in tickets {
        assert!(world.over(ticket).finished, "{ticket}");
    }
    world.until(|client| client.shared().closed.is_some());
    assert_eq!(world.counters().http3_requests, 1000);
}

/// What a client and the network may do at any moment.
#[derive(Clone, Copy, Debug)]
enum Op {
    Get(usize),
    Echo(usize),
    /// Without an end.
    Upload(usize),
    Cancel(usize),
    ResetUpload(usize),
    Pause(usize),
    Resume(usize),
    Loss(u8),
    Rebind(u16),
    Wait(u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..200_000usize).prop_map(Op::Get),
        3 => (0..200_000usize).prop_map(Op::Echo),
        2 => (0..400_000usize).prop_map(Op::Upload),
        2 => (0..30usize).prop_map(Op::Cancel),
        2 => (0..30usize).prop_map(Op::ResetUpload),
        1 => (0..30usize).prop_map(Op::Pause),
        1 => (0..30usize).prop_map(Op::Resume),
        1 => (0..20u8).prop_map(Op::Loss),
        1 => (1..1000u16).prop_map(Op::Rebind),
        6 => (0..300u16).prop_map(Op::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_the_client_does_nothing_is_left_behind(
        seed: u64,
        ops in proptest::collection::vec(op(), 1..40),
    ) {
        let mut world = World::new(seed, Link::default(), Config::default(), service());
        // Each request is given up once at most, or the client itself would be at fault.
        let mut tickets = Vec::new();
        for op in ops {
            play(&mut world, &mut tickets, op);
        }
        (world.network.up.loss, world.network.down.loss) = (0.0, 0.0);
        let count = world.client.shared().exchanges.len();
        for ticket in 0..count {
            world.client.resume(ticket);
        }
        world.network.run_for(Duration::from_secs(200));
        let counters = world.counters();
        prop_assert_eq!(counters.active_requests, 0);
        prop_assert_eq!((counters.queued_upload_bytes, counters.queued_response_bytes), (0, 0));
        prop_assert_eq!((counters.panics, counters.protocol_errors), (0, 0));
        let exchanges = world.client.shared().exchanges.clone();
        for exchange in &exchanges {
            // A response that looks whole is whole.
            let declared = exchange.header("content-length").map(|len| len.parse::<usize>().unwrap());
            let whole = declared.is_none_or(|len| len == exchange.body.len());
            prop_assert!(!exchange.finished || whole);
            prop_assert_eq!(&exchange.misbehaved, &None);
        }
    }
}

fn play<S: HttpService>(world: &mut World<S>, tickets: &mut Vec<Ticket>, op: Op) {
    let mut given_up = |which: usize| {
        let ticket = *tickets.get(which)?;
        world.client.exchange(ticket).sent.then(|| tickets.remove(which))
    };
    match op {
        Op::Get(len) => tickets.push(world.client.start_get(&format!("/bytes/{len}"))),
        Op::Echo(len) | Op::Upload(len) => {
            let ticket = world.client.start_post("/echo");
            world.client.data(ticket, vec![1; len], matches!(op, Op::Echo(_)));
            tickets.push(ticket);
        }
        Op::Cancel(which) => {
            if let Some(ticket) = given_up(which) {
                world.client.act(Action::Cancel { ticket, code: 0x10c });
            }
        }
        Op::ResetUpload(which) => {
            if let Some(ticket) = given_up(which) {
                world.client.act(Action::ResetUpload { ticket, code: 0x10c });
            }
        }
        Op::Pause(which) => {
            if let Some(&ticket) = tickets.get(which) {
                world.client.pause(ticket);
            }
        }
        Op::Resume(which) => {
            if let Some(&ticket) = tickets.get(which) {
                world.client.resume(ticket);
            }
        }
        Op::Loss(percent) => {
            let loss = f64::from(percent) / 100.0;
            (world.network.up.loss, world.network.down.loss) = (loss, loss);
        }
        Op::Rebind(port) => world.network.rebind(0, SocketAddr::from(([10, 1, 1, 1], port))),
        Op::Wait(ms) => world.network.run_for(Duration::from_millis(ms.into())),
    }
}

/// Answers without a runtime: nothing here waits for a timer of tokio.
fn service() -> impl HttpService {
    tower::service_fn(|request: Request<Body>| async move {
        let context = RequestContext::of(&request).expect("always there").clone();
        let path = request.uri().path().to_owned();
        Ok::<_, body::Error>(match path.as_str() {
            "/" => Response::new(Body::from("hello")),
            "/peer" => Response::new(Body::from(context.peer_address().to_string())),
            "/echo" => Response::new(request.into_body()),
            "/count" => {
                let len = request.into_body().collect().await?.to_bytes().len();
                Response::new(Body::from(len.to_string()))
            }
            other => {
                let len = other.strip_prefix("/bytes/").and_then(|len| len.parse().ok());
                Response::new(Body::new(Pattern { offset: 0, len: len.expect("a length") }))
            }
        })
    })
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 13 + 5) as u8).collect()
}

struct Pattern {
    offset: usize,
    len: usize,
}

impl http_body::Body for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        let end = self.len.min(self.offset + 16 * 1024);
        let data: Bytes = (self.offset..end).map(|i| (i * 13 + 5) as u8).collect();
        self.offset = end;
        Poll::Ready((!data.is_empty()).then(|| Ok(http_body::Frame::data(data))))
    }
}

/// Ed25519, whose signatures have one size: the simulation repeats itself.
fn credentials() -> (ServerTls, rustls::ClientConfig) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()])
        .and_then(|params| params.self_signed(&key))
        .expect("a certificate");
    let der = certificate.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der.clone()).expect("a valid certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h3".to_vec()];
    (ServerTls::from_der(vec![der], key).expect("a matching pair"), client)
}
