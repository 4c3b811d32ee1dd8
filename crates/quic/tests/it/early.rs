//! A server's early data: taken once, and never for a flight that anyone has kept.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::BytesMut;
use sterna_quic::{
    ClientConfig, Counters, Opened, ReplayGuard, ServerConfig, Tickets, Verdict, Window,
    sim::Network,
};

use crate::peer::{Peer, Seen, configs, payload};

type World = Network<Peer, Peer>;

const SECOND: Duration = Duration::from_secs(1);

/// Tickets that hold what they should seal, each with its number in front, and a guard that may be switched off.
#[derive(Debug)]
struct Plain {
    guard: Option<Mutex<ReplayGuard>>,
    /// How long the guard has been there.
    age: Duration,
    given: AtomicU64,
}

impl Plain {
    fn new(guard: Option<ReplayGuard>, age: Duration) -> Arc<Self> {
        Arc::new(Self { guard: guard.map(Mutex::new), age, given: AtomicU64::new(0) })
    }

    /// With a guard that has been there long enough.
    fn grown() -> Arc<Self> {
        Self::new(Some(guard()), Window::default().time)
    }

    /// With one that has just begun.
    fn young() -> Arc<Self> {
        Self::new(Some(guard()), Duration::ZERO)
    }

    fn unguarded() -> Arc<Self> {
        Self::new(None, Duration::ZERO)
    }
}

fn guard() -> ReplayGuard {
    ReplayGuard::new(Window::default(), Instant::now())
}

impl Tickets for Plain {
    fn seal(&self, session: &[u8]) -> Option<Vec<u8>> {
        let number = u128::from(self.given.fetch_add(1, Ordering::Relaxed));
        Some([&number.to_be_bytes(), session].concat())
    }

    fn open(&self, ticket: &[u8], is_early: bool) -> Option<Opened> {
        let (number, session) = ticket.split_first_chunk()?;
        let judge = |guard: &Mutex<ReplayGuard>| {
            let mut guard = guard.lock().unwrap_or_else(PoisonError::into_inner);
            guard.judge(u128::from_be_bytes(*number), Instant::now() + self.age)
        };
        let verdict = self.guard.as_ref().filter(|_| is_early).map_or(Verdict::Fresh, judge);
        Some(Opened { session: session.to_vec(), verdict })
    }

    fn lifetime(&self) -> Duration {
        SECOND * 3600
    }
}

fn early_configs(tickets: Arc<Plain>) -> (ServerConfig, ClientConfig) {
    let (mut server, mut client) = configs();
    Arc::make_mut(&mut server.tls).max_early_data_size = u32::MAX;
    server.transport.tickets = Some(tickets);
    Arc::make_mut(&mut client.tls).enable_early_data = true;
    (server, client)
}

/// Asks `world` once, on a connection of its own; whether early data was taken, where that was offered.
fn ask(world: &mut World, client: &ClientConfig) -> Option<bool> {
    let requests = vec![payload(1, 300)];
    *world.client(0).application() = Peer { requests, ..Peer::default() };
    world.connect(0, client).unwrap();
    let is_closed = |world: &mut World| world.client(0).application().closed().is_some();
    // It is over when it was idle for long: the next ticket has come then.
    assert!(world.run_until(60 * SECOND, is_closed));
    assert!(world.client(0).application().answers == [payload(1, 300).to_vec()]);
    world.client(0).application().early_data
}

fn world(workers: usize, server: &ServerConfig, client: &ClientConfig) -> World {
    let mut world: World = Network::new(1, server, (0..workers).map(|_| Peer::default())).unwrap();
    world.add_client(Peer::default());
    assert_eq!(ask(&mut world, client), None, "there was no ticket");
    world
}

fn counters(world: &mut World, workers: usize) -> Counters {
    let mut sum = Counters::default();
    (0..workers).for_each(|worker| sum += world.server(worker).counters());
    sum
}

/// Sends `flight` from a thousand addresses; how many requests the servers took from it.
fn replay(world: &mut World, workers: usize, flight: &[BytesMut], times: u16) -> usize {
    (0..workers).for_each(|worker| world.server(worker).application().seen.clear());
    for port in 0..times {
        let from = SocketAddr::from(([10, 9, 9, 9], 10_000 + port));
        flight.iter().for_each(|datagram| world.inject(from, datagram.clone()));
        // A worker knows the first flight of a connection that it still has.
        world.run_for(60 * SECOND);
    }
    let mut opened = 0;
    for worker in 0..workers {
        let seen = &world.server(worker).application().seen;
        let is_request =
            |seen: &&Seen| matches!(seen, Seen::Event(_, sterna_quic::Event::Opened(_)));
        opened += seen.iter().filter(is_request).count();
    }
    opened
}

/// A world in which early data was taken once, and the flight that brought it.
fn captured(workers: usize, tickets: Arc<Plain>) -> (World, ServerConfig, Vec<BytesMut>) {
    let (server, client) = early_configs(tickets);
    let mut world = world(workers, &server, &client);
    world.kept = Some(Vec::new());
    let begun = world.trace.len();
    assert_eq!(ask(&mut world, &client), Some(true));
    let first = world.trace[begun..].iter().take_while(|trace| trace.is_up).count();
    let flight: Vec<BytesMut> = world.kept.take().unwrap().into_iter().take(first).collect();
    assert!(!flight.is_empty());
    (world, server, flight)
}

/// The same servers after a restart, with these tickets.
fn restart(world: &mut World, workers: usize, server: &ServerConfig, tickets: Arc<Plain>) {
    let mut server = server.clone();
    server.transport.tickets = Some(tickets);
    world.restart(&server, (0..workers).map(|_| Peer::default())).unwrap();
}

// This fails when an update of rustls breaks the way in which tickets come to it.
// req: 8470-3-server-decides
#[test]
fn early_data_is_taken_on_a_ticket_of_ours_by_any_worker_of_any_process() {
    let (server, client) = early_configs(Plain::grown());
    let mut world = world(2, &server, &client);
    for _ in 0..8 {
        assert_eq!(ask(&mut world, &client), Some(true));
    }
    assert_eq!(counters(&mut world, 2).early_data_accepted, 8);
    restart(&mut world, 2, &server, Plain::grown());
    assert_eq!(ask(&mut world, &client), Some(true));
}

/// The part of P4 that no machine has a say in.
#[test]
fn the_answer_comes_after_one_round_trip_with_early_data_and_after_two_with_a_whole_handshake() {
    let (server, client) = early_configs(Plain::grown());
    let mut world: World = Network::new(1, &server, [Peer::default()]).unwrap();
    world.add_client(Peer::default());
    let round_trip = Duration::from_millis(50);
    (world.up.delay, world.down.delay) = (round_trip / 2, round_trip / 2);
    let mut round_trips = Vec::new();
    for is_early in [None, Some(true), Some(true)] {
        let requests = vec![payload(1, 300)];
        *world.client(0).application() = Peer { requests, ..Peer::default() };
        let begun = world.elapsed();
        world.connect(0, &client).unwrap();
        // The clock goes on as soon as everything has acted: the last moment before was that of the answer.
        let mut answered = begun;
        assert!(world.run_until(60 * SECOND, |world| {
            let is_answered = !world.client(0).application().answers.is_empty();
            if !is_answered {
                answered = world.elapsed();
            }
            is_answered
        }));
        round_trips.push((answered - begun).div_duration_f64(round_trip));
        // The next ticket has come when this connection is over.
        let is_closed = |world: &mut World| world.client(0).application().closed().is_some();
        assert!(world.run_until(60 * SECOND, is_closed));
        assert_eq!(world.client(0).application().early_data, is_early);
    }
    assert_eq!(round_trips, [2.0, 1.0, 1.0]);
}

#[test]
fn a_deadline_of_refused_early_data_is_not_that_of_the_stream_which_has_its_id_next() {
    let (server, client) = early_configs(Plain::young());
    let mut world = world(1, &server, &client);
    // It takes seconds, on this link, and the deadline of the first attempt is a tenth of that.
    world.up.rate = Some(50_000);
    let early_deadline = Some(Duration::from_millis(300));
    let requests = vec![payload(1, 100_000)];
    *world.client(0).application() = Peer { requests, early_deadline, ..Peer::default() };
    world.connect(0, &client).unwrap();
    assert!(world.run_until(60 * SECOND, |world| world.client(0).application().answers.len() == 1));
    let peer = world.client(0).application();
    assert_eq!((peer.early_data, peer.answers[0].len()), (Some(false), 100_000));
    assert!(!peer.events().any(|event| matches!(event, sterna_quic::Event::Expired(_))));
}

#[test]
fn a_guard_that_is_young_refuses_early_data_and_the_session_goes_on() {
    let (server, client) = early_configs(Plain::young());
    let mut world = world(1, &server, &client);
    for asked in 1..4 {
        assert_eq!(ask(&mut world, &client), Some(false));
        let counters = counters(&mut world, 1);
        assert_eq!((counters.early_data_waiting, counters.early_data_accepted), (asked, 0));
    }
}

#[test]
fn a_flight_replayed_a_thousand_times_over_workers_and_a_restart_has_no_effect() {
    let (mut world, server, flight) = captured(4, Plain::grown());
    assert_eq!(replay(&mut world, 4, &flight, 500), 0);
    let before = counters(&mut world, 4);
    assert_eq!((before.early_data_accepted, before.early_data_replayed), (1, 500));
    restart(&mut world, 4, &server, Plain::young());
    assert_eq!(replay(&mut world, 4, &flight, 500), 0);
    let after = counters(&mut world, 4);
    assert_eq!((after.early_data_accepted, after.early_data_waiting), (0, 500));
}

#[test]
fn without_the_guard_every_replay_comes_through() {
    let (mut world, _, flight) = captured(4, Plain::unguarded());
    assert_eq!(replay(&mut world, 4, &flight, 20), 20);
}

#[test]
fn without_the_wait_after_a_start_a_replay_comes_through() {
    let (mut world, server, flight) = captured(4, Plain::grown());
    restart(&mut world, 4, &server, Plain::grown());
    assert_eq!(replay(&mut world, 4, &flight, 20), 1);
}
