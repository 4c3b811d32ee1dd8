//! Everything with time, on the simulated network. A failing seed is in the assertion's message.

use std::time::Duration;

use bytes::Bytes;
use sterna_quic::{
    CloseReason, Config, ConnectionKey, Dir, Event, Read, Retry, StreamId, Write,
    congestion::Algorithm,
    sim::{Link, Network, Steering},
};

use crate::peer::{Peer, Seen, configs, payload};

type World = Network<Peer, Peer>;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const MEGABYTE: usize = 1 << 20;

/// A network with one client that sends `requests` and closes with 0 when all are answered.
struct Setup {
    seed: u64,
    workers: usize,
    transport: Config,
    requests: Vec<Bytes>,
}

impl Default for Setup {
    fn default() -> Self {
        let transport = Config { idle_timeout: 10 * SECOND, ..Config::default() };
        Self { seed: 1, workers: 1, transport, requests: vec![payload(1, MEGABYTE)] }
    }
}

impl Setup {
    fn build(self) -> World {
        let (mut server, mut client) = configs();
        server.transport = self.transport.clone();
        client.transport = self.transport;
        let servers = (0..self.workers).map(|_| Peer::default());
        let mut network = Network::new(self.seed, &server, servers).unwrap();
        network.add_client(Peer {
            requests: self.requests,
            close_when_done: Some(0),
            ..Peer::default()
        });
        network.connect(0, &client).unwrap();
        network
    }
}

fn is_over(network: &mut World) -> bool {
    network.client(0).application().closed().is_some()
}

fn answers(network: &mut World) -> usize {
    network.client(0).application().answers.len()
}

fn transfer_at_loss(loss: f64) -> Duration {
    let mut network = Setup { seed: 7, ..Setup::default() }.build();
    network.up = Link { loss, ..Link::default() };
    network.down = network.up;
    assert!(network.run_until(60 * SECOND, is_over), "no end at {loss} loss, seed 7");
    let peer = network.client(0).application();
    assert_eq!(peer.closed(), Some(&CloseReason::Local));
    assert!(peer.answers == [payload(1, MEGABYTE).to_vec()], "the echo differs");
    network.elapsed()
}

#[test]
fn a_megabyte_is_echoed_whatever_the_loss() {
    let clean = transfer_at_loss(0.0);
    assert!(clean < SECOND, "took {clean:?} on 20 ms of round trip");
    transfer_at_loss(0.05);
    transfer_at_loss(0.1);
}

#[test]
fn a_megabyte_is_echoed_with_datagrams_reordered_and_doubled() {
    for congestion in [Algorithm::Cubic, Algorithm::Reno, Algorithm::Bbr] {
        let transport = Config { congestion: congestion.clone().into(), ..Config::default() };
        let mut network = Setup { transport, ..Setup::default() }.build();
        network.up = Link { jitter: 3 * MS, duplicate: 0.1, ..Link::default() };
        network.down = network.up;
        assert!(network.run_until(60 * SECOND, is_over), "{congestion:?}");
        assert!(network.client(0).application().answers == [payload(1, MEGABYTE).to_vec()]);
    }
}

#[test]
fn a_narrow_link_is_filled_and_its_queue_does_not_collapse() {
    for congestion in [Algorithm::Cubic, Algorithm::Reno, Algorithm::Bbr] {
        let transport = Config { congestion: congestion.clone().into(), ..Config::default() };
        let requests = vec![payload(1, 2 * MEGABYTE)];
        let mut network = Setup { transport, requests, ..Setup::default() }.build();
        network.up = Link { rate: Some(1_000_000), queue: 40_000, ..Link::default() };
        assert!(network.run_until(60 * SECOND, is_over), "{congestion:?}");
        let rate = 2.0 * MEGABYTE as f64 / network.elapsed().as_secs_f64();
        assert!(rate > 800_000.0, "{congestion:?} got {rate:.0} of 1000000 bytes per second");
    }
}

/// How long ten megabytes take up a link of 100 Mbit/s and 50 ms, by controller and loss.
fn ten_megabytes(congestion: &Algorithm, loss: f64, queue: u64) -> Duration {
    let transport = Config { congestion: congestion.clone().into(), ..Config::default() };
    let requests = vec![payload(1, 10 * MEGABYTE)];
    let mut network = Setup { seed: 5, transport, requests, ..Setup::default() }.build();
    network.up = Link { rate: Some(12_500_000), delay: 25 * MS, loss, queue, ..Link::default() };
    network.down = Link { delay: 25 * MS, ..Link::default() };
    assert!(network.run_until(120 * SECOND, is_over), "{congestion:?} at {loss}");
    network.elapsed()
}

#[test]
fn bbr_fills_a_link_that_loses_at_random_where_cubic_cannot() {
    let take = |congestion, loss| ten_megabytes(&congestion, loss, 625_000);
    let [cubic, lossy_cubic] = [0.0, 0.01].map(|loss| take(Algorithm::Cubic, loss));
    let [clean, lossy, very_lossy] = [0.0, 0.01, 0.05].map(|loss| take(Algorithm::Bbr, loss));
    assert!(clean < cubic * 5 / 4, "{clean:?} without loss, cubic {cubic:?}");
    assert!(lossy < clean * 2, "{lossy:?} at 1 %, {clean:?} without");
    assert!(lossy * 5 < lossy_cubic, "{lossy:?} at 1 %, cubic {lossy_cubic:?}");
    assert!(very_lossy < clean * 4, "{very_lossy:?} at 5 %, {clean:?} without");
}

#[test]
fn bbr_leaves_a_deep_queue_empty_where_cubic_fills_it() {
    let [cubic, bbr] = [Algorithm::Cubic, Algorithm::Bbr].map(|congestion| {
        let transport = Config { congestion: congestion.clone().into(), ..Config::default() };
        let requests = vec![payload(1, 10 * MEGABYTE)];
        let mut network = Setup { transport, requests, ..Setup::default() }.build();
        network.up = Link { rate: Some(5_000_000), queue: 5_000_000, ..Link::default() };
        network.run_for(SECOND);
        let (mut sum, mut count) = (Duration::ZERO, 0);
        while network.elapsed() < 2 * SECOND {
            network.run_for(20 * MS);
            let client = network.client(0);
            let Some(Seen::Opened(key)) = client.application().seen.first().cloned() else {
                panic!("no connection")
            };
            sum += client.connection(key).expect("it lives").1.rtt();
            count += 1;
        }
        sum / count
    });
    assert!(bbr < 50 * MS, "{bbr:?} on 20 ms of round trip");
    assert!(cubic > 3 * bbr, "cubic {cubic:?}, bbr {bbr:?}");
}

#[test]
fn the_same_seed_gives_the_same_datagrams_at_the_same_times() {
    let run = |seed| {
        let mut network = Setup { seed, ..Setup::default() }.build();
        network.up = Link { loss: 0.02, jitter: MS, ..Link::default() };
        network.down = network.up;
        assert!(network.run_until(60 * SECOND, is_over));
        network.trace
    };
    let (first, second, other) = (run(3), run(3), run(4));
    assert!(first == second, "{} and {} datagrams", first.len(), second.len());
    assert!(first != other);
}

/// A client whose NAT gives it another address in the middle of an upload.
fn rebind(workers: usize, steering: Steering) -> World {
    let mut network = Setup { workers, ..Setup::default() }.build();
    network.steering = steering;
    network.run_for(100 * MS);
    assert_eq!(answers(&mut network), 0, "still under way");
    // An even port instead of an odd one: without steering this is the other worker.
    network.rebind(0, ([10, 9, 9, 9], 4_444).into());
    assert!(network.run_until(30 * SECOND, is_over), "{workers} workers, {steering:?}");
    assert!(network.client(0).application().answers == [payload(1, MEGABYTE).to_vec()]);
    network
}

#[test]
// req: 9000-9.3-new-address
fn a_client_whose_address_changes_goes_on_and_the_server_is_told() {
    let mut network = rebind(1, Steering::ByConnectionId);
    let migrated: Vec<_> = network
        .server(0)
        .application()
        .events()
        .filter_map(|event| {
            if let Event::Migrated { from, to } = event { Some((*from, *to)) } else { None }
        })
        .collect();
    assert_eq!(migrated, [(([10, 0, 0, 1], 1).into(), ([10, 9, 9, 9], 4_444).into())]);
    assert_eq!(network.server(0).counters().migrations, 1);
}

#[test]
fn a_new_address_is_the_peer_s_when_it_has_answered_there() {
    let mut network = rebind(1, Steering::ByConnectionId);
    let events = network.server(0).application().events();
    let moves = events.filter_map(|event| match event {
        Event::Migrated { to, .. } => Some(("moved", *to)),
        Event::PathValidated { address } => Some(("validated", *address)),
        _ => None,
    });
    let moves: Vec<_> = moves.collect();
    let new = ([10, 9, 9, 9], 4_444).into();
    assert_eq!(moves, [("moved", new), ("validated", new)]);
}

#[test]
fn an_address_that_a_peer_only_claims_is_never_validated() {
    let mut network = Setup::default().build();
    network.run_for(100 * MS);
    network.claim(0, Some(([10, 6, 6, 6], 666).into()));
    network.run_for(3 * SECOND);
    network.claim(0, None);
    assert!(network.run_until(30 * SECOND, is_over), "it goes on from its own address");
    let events: Vec<_> = network.server(0).application().events().collect();
    let moved = events.iter().filter(|event| matches!(event, Event::Migrated { .. })).count();
    assert!(moved >= 2, "there and back: {events:?}");
    let validated = events.iter().any(|event| matches!(event, Event::PathValidated { .. }));
    assert!(!validated, "{events:?}");
}

#[test]
fn an_address_change_between_two_workers_needs_no_forwarding_with_steering() {
    let mut network = rebind(2, Steering::ByConnectionId);
    let counters = [0, 1].map(|worker| network.server(worker).counters());
    assert_eq!(counters.map(|counters| counters.forwarded), [0, 0]);
    assert_eq!(counters.map(|counters| counters.connections_opened), [0, 1]);
}

#[test]
fn an_address_change_between_two_workers_is_forwarded_without_steering() {
    let mut network = rebind(2, Steering::ByAddress);
    let counters = [0, 1].map(|worker| network.server(worker).counters());
    assert!(counters[0].forwarded > 0, "nothing came to the wrong worker");
    assert_eq!(counters[1].forwarded, 0);
    assert_eq!(counters.map(|counters| counters.mailbox_dropped), [0, 0]);
    assert_eq!(counters.map(|counters| counters.connections_opened), [0, 1]);
    assert_eq!(counters[0].datagrams_sent, 0, "a sibling's datagram is not answered");
}

#[test]
fn a_path_that_is_dead_for_five_seconds_is_survived() {
    let mut network = Setup::default().build();
    network.run_for(100 * MS);
    let alive = (network.up, network.down);
    (network.up.loss, network.down.loss) = (1.0, 1.0);
    network.run_for(5 * SECOND);
    assert!(!is_over(&mut network));
    (network.up, network.down) = alive;
    assert!(network.run_until(10 * SECOND, is_over));
    assert_eq!(answers(&mut network), 1);
}

/// Whether a connection is alive so long after it fell silent.
fn alive_after(silence: Duration) -> bool {
    let transport = Config { idle_timeout: SECOND, mtu_discovery: false, ..Config::default() };
    let mut network = Setup { transport, requests: vec![], ..Setup::default() }.build();
    network.client(0).application().close_when_done = None;
    network.run_for(300 * MS);
    // The last packet that starts the clock anew: see the trace for when it left.
    let last = network.trace.iter().rev().find(|trace| trace.is_up).unwrap().at;
    let arrival = last + network.up.delay;
    network.run_for(arrival + silence - network.elapsed());
    network.server(0).application().closed().is_none()
}

#[test]
// req: 9000-10.1-idle-time-out
fn an_idle_connection_ends_at_the_limit_and_not_a_millisecond_before() {
    assert!(alive_after(SECOND - MS));
    assert!(!alive_after(SECOND + MS));
}

#[test]
fn a_handshake_that_takes_too_long_ends_although_the_peer_keeps_talking() {
    let transport = Config { handshake_timeout: 2 * SECOND, ..Config::default() };
    let mut network = Setup { transport, ..Setup::default() }.build();
    network.down.loss = 1.0;
    network.run_for(2 * SECOND - MS);
    assert_eq!(network.client(0).application().closed(), None);
    network.run_for(2 * MS);
    assert_eq!(network.client(0).application().closed(), Some(&CloseReason::TimedOut));
    assert_eq!(network.client(0).counters().handshakes_timed_out, 1);
}

#[test]
fn streams_beyond_the_limit_wait_for_those_before_them() {
    let transport = Config { max_bidi_streams: 3, ..Config::default() };
    let requests: Vec<_> = (0..50).map(|seed| payload(seed, 100)).collect();
    let mut network = Setup { transport, requests, ..Setup::default() }.build();
    let mut most = 0;
    let over = network.run_until(30 * SECOND, |network| {
        let open = network.server(0).application().open_streams;
        most = most.max(open);
        is_over(network)
    });
    assert!(over);
    assert_eq!(answers(&mut network), 50);
    assert!(most <= 3, "{most} streams were open at once");
}

#[test]
fn the_acknowledgement_of_a_request_rides_on_its_response() {
    let requests = vec![payload(1, 500)];
    let transport = Config { mtu_discovery: false, ..Config::default() };
    let mut network = Setup { transport, requests, ..Setup::default() }.build();
    network.client(0).application().close_when_done = None;
    // The request leaves with the client's last handshake flight; take a second connection's worth
    // of time for everything else to fall silent.
    network.run_for(SECOND);
    let quiet = network.trace.len();
    let key = network.client(0).application().key();
    network.client(0).application().extra.push(payload(2, 500));
    network.client(0).touch(key);
    network.run_for(SECOND);
    let exchange: Vec<_> = network.trace[quiet..].iter().map(|trace| trace.is_up).collect();
    assert_eq!(answers(&mut network), 2);
    assert_eq!(
        exchange,
        [true, false, true],
        "request, response with its acknowledgement, acknowledgement of the response"
    );
}

/// A connection that is up, with nothing to do.
fn idle_pair(transport: Config) -> (World, ConnectionKey) {
    let mut network = Setup { transport, requests: vec![], ..Setup::default() }.build();
    network.client(0).application().close_when_done = None;
    network.run_for(SECOND);
    let key = network.client(0).application().key();
    (network, key)
}

#[test]
fn a_reset_and_a_stop_arrive_with_their_codes() {
    let (mut network, key) = idle_pair(Config::default());
    let (_, connection) = network.client(0).connection(key).unwrap();
    let (reset, stopped) = (connection.open(Dir::Bi).unwrap(), connection.open(Dir::Bi).unwrap());
    for id in [reset, stopped] {
        assert_eq!(connection.write(id, &mut [payload(1, 10)]), Write::Taken(10));
    }
    network.run_for(100 * MS);
    let (_, connection) = network.client(0).connection(key).unwrap();
    connection.reset(reset, 0x11);
    connection.stop_sending(stopped, 0x22);
    network.run_for(100 * MS);
    let server = network.server(0).application();
    assert_eq!(server.resets, [(reset, 0x11)]);
    assert!(server.events().any(|event| *event == Event::Stopped(stopped, 0x22)));
    let (_, connection) = network.client(0).connection(key).unwrap();
    assert_eq!(connection.write(reset, &mut [payload(1, 10)]), Write::Closed);
    assert_eq!(connection.read(stopped, 10), Read::Closed);
}

#[test]
fn what_a_full_socket_left_goes_out_once_and_in_order_when_it_has_room() {
    let (mut network, key) = idle_pair(Config { mtu_discovery: false, ..Config::default() });
    let sent = network.trace.len();
    network.set_full(0, true);
    network.client(0).application().extra.push(payload(1, 5000));
    network.client(0).touch(key);
    network.run_for(5 * MS);
    assert_eq!(network.trace.len(), sent);
    assert_eq!(network.client(0).counters().sends_blocked, 1, "it does not try again and again");
    network.set_full(0, false);
    network.run_for(100 * MS);
    assert_eq!(network.client(0).application().answers, [payload(1, 5000).to_vec()]);
    let (_, connection) = network.client(0).connection(key).unwrap();
    assert_eq!(connection.stats().lost_packets, 0);
}

#[test]
// req: 9000-2.1-stream-direction
fn a_stream_of_the_wrong_direction_or_none_is_closed_and_not_a_panic() {
    let (mut network, key) = idle_pair(Config::default());
    let (_, connection) = network.client(0).connection(key).unwrap();
    let ours = connection.open(Dir::Uni).unwrap();
    assert_eq!(connection.read(ours, 10), Read::Closed);
    let theirs = StreamId(3);
    assert_eq!(connection.write(theirs, &mut [payload(1, 10)]), Write::Closed);
    for id in [StreamId(4000), StreamId(u64::MAX)] {
        assert_eq!(connection.write(id, &mut [payload(1, 10)]), Write::Closed);
        assert_eq!(connection.read(id, 10), Read::Closed);
        connection.finish(id);
        connection.reset(id, 1);
        connection.stop_sending(id, 1);
    }
}

#[test]
fn datagrams_are_echoed_up_to_the_largest_and_one_byte_more_is_not_taken() {
    let (mut network, key) = idle_pair(Config { datagrams: Some(4096), ..Config::default() });
    let (_, connection) = network.client(0).connection(key).unwrap();
    let largest = connection.max_datagram_size().unwrap();
    assert!(connection.send_datagram(payload(1, largest)));
    assert!(!connection.send_datagram(payload(1, largest + 1)));
    network.run_for(100 * MS);
    let got: Vec<_> = network.client(0).application().events().cloned().collect();
    assert!(got.contains(&Event::Datagram(payload(1, largest))));

    let (mut network, key) = idle_pair(Config::default());
    let (_, connection) = network.client(0).connection(key).unwrap();
    assert!(!connection.send_datagram(Bytes::from_static(b"off by default")));
}

#[test]
fn a_write_beyond_flow_control_is_blocked_until_the_peer_reads() {
    let transport = Config { stream_window: 1000, ..Config::default() };
    let (mut network, key) = idle_pair(transport);
    let (_, connection) = network.client(0).connection(key).unwrap();
    let id = connection.open(Dir::Bi).unwrap();
    let mut chunks = [payload(1, 600), payload(2, 600)];
    assert_eq!(connection.write(id, &mut chunks), Write::Taken(1000));
    assert_eq!(chunks, [Bytes::new(), payload(2, 600).slice(400..)]);
    assert_eq!(connection.write(id, &mut chunks), Write::Blocked);
    network.run_for(100 * MS);
    assert!(network.client(0).application().events().any(|event| *event == Event::Writable(id)));
    let (_, connection) = network.client(0).connection(key).unwrap();
    assert_eq!(connection.write(id, &mut chunks), Write::Taken(200));
}

#[test]
fn headroom_is_the_window_less_what_is_queued_and_never_stays_at_zero() {
    let (mut network, key) = idle_pair(Config::default());
    let (_, connection) = network.client(0).connection(key).unwrap();
    let window = connection.stats().cwnd;
    assert_eq!(connection.headroom(), window);
    let id = connection.open(Dir::Bi).unwrap();
    connection.write(id, &mut [payload(1, 5000)]);
    assert_eq!(connection.headroom(), window - 5000);
    connection.write(id, &mut [payload(1, MEGABYTE)]);
    assert_eq!(connection.headroom(), 0);
    network.run_for(5 * SECOND);
    let (_, connection) = network.client(0).connection(key).unwrap();
    assert_eq!(connection.headroom(), connection.stats().cwnd);
}

#[test]
fn headroom_leaves_some_of_a_send_window_free_that_is_smaller_than_the_congestion_window() {
    let (mut network, key) = idle_pair(Config { send_window: 10_000, ..Config::default() });
    let (_, connection) = network.client(0).connection(key).unwrap();
    assert!(connection.stats().cwnd > 10_000);
    assert_eq!(connection.headroom(), 5000);
    let id = connection.open(Dir::Bi).unwrap();
    assert_eq!(connection.write(id, &mut [payload(1, 5000)]), Write::Taken(5000));
    assert_eq!(connection.headroom(), 0);
    network.run_for(5 * SECOND);
    let (_, connection) = network.client(0).connection(key).unwrap();
    assert_eq!(connection.headroom(), 5000, "all of it was acknowledged");
}

#[test]
fn whoever_only_acknowledged_for_long_has_its_whole_window_for_the_answer() {
    let (mut network, key) =
        idle_pair(Config { initial_connection_window: 15 << 20, ..Config::default() });
    let (_, connection) = network.client(0).connection(key).unwrap();
    let id = connection.open(Dir::Uni).unwrap();
    connection.write(id, &mut [payload(1, 4 * MEGABYTE)]);
    network.run_for(5 * SECOND);
    let key = network.server(0).application().key();
    let (_, connection) = network.server(0).connection(key).unwrap();
    assert!(connection.stats().received_bytes > 4 << 20);
    assert_eq!(connection.headroom(), connection.stats().cwnd);
}

#[test]
// req: 9001-4.8-alert-is-the-code
fn a_server_with_an_unknown_certificate_is_left_with_the_alert_as_code() {
    let (server, _) = configs();
    let (_, stranger) = configs();
    let mut network: World = Network::new(1, &server, [Peer::default()]).unwrap();
    network.add_client(Peer::default());
    network.connect(0, &stranger).unwrap();
    network.run_for(SECOND);
    // CRYPTO_ERROR carries the TLS alert, unknown_ca or bad_certificate or decrypt_error.
    let Some(CloseReason::Tls { code, error }) = network.client(0).application().closed() else {
        panic!("got {:?}", network.client(0).application().closed());
    };
    assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error:?}");
    assert!([0x130, 0x12a, 0x133].contains(code), "{code:#x}");
    let code = *code;
    let Some(CloseReason::Transport { code: told, .. }) = network.server(0).application().closed()
    else {
        panic!("got {:?}", network.server(0).application().closed());
    };
    assert_eq!(*told, code);
}

#[test]
fn an_application_that_wakes_a_connection_runs_without_the_network() {
    let (mut network, key) = idle_pair(Config::default());
    let runs = network.client(0).application().runs;
    network.client(0).application().woken.push(key);
    network.run_for(MS);
    assert_eq!(network.client(0).application().runs, runs + 1);
}

#[test]
fn an_application_runs_when_it_asked_to_although_nothing_happens() {
    let (mut network, key) = idle_pair(Config { mtu_discovery: false, ..Config::default() });
    let alarm = network.now() + SECOND / 3;
    network.client(0).application().alarm = Some(alarm);
    network.client(0).touch(key);
    network.run_for(SECOND);
    assert_eq!(network.client(0).application().alarmed, Some(alarm));
}

#[test]
// req: 9000-13.4-ecn-response
// req: 9002-7.1-ecn
fn marks_of_congestion_slow_a_sender_without_a_loss() {
    let finish = |mark| {
        let mut network =
            Setup { requests: vec![payload(1, 2 * MEGABYTE)], ..Setup::default() }.build();
        network.up.mark = mark;
        assert!(network.run_until(60 * SECOND, |network| answers(network) == 1));
        network.elapsed()
    };
    let (unmarked, marked) = (finish(0.0), finish(0.05));
    assert!(marked > 2 * unmarked, "{unmarked:?} without marks, {marked:?} with");
}

#[test]
// req: 9000-10.3-reset-what-is-forgotten
fn a_restarted_server_resets_what_it_has_forgotten() {
    let (mut network, key) = idle_pair(Config::default());
    let (server, _) = configs();
    network.restart(&server, [Peer::default()]).unwrap();
    let (_, connection) = network.client(0).connection(key).unwrap();
    let id = connection.open(Dir::Bi).unwrap();
    connection.write(id, &mut [payload(1, 500)]);
    network.run_for(21 * MS);
    assert_eq!(network.client(0).application().closed(), Some(&CloseReason::StatelessReset));
}

#[test]
// req: 9000-21.11-no-reset-for-a-sibling
fn a_worker_that_has_forgotten_leaves_the_reset_to_the_owner() {
    let (mut network, key) = {
        let setup = Setup { workers: 2, requests: vec![], ..Setup::default() };
        let mut network = setup.build();
        network.client(0).application().close_when_done = None;
        network.run_for(SECOND);
        let key = network.client(0).application().key();
        (network, key)
    };
    let opened = [0, 1].map(|worker| network.server(worker).counters().connections_opened);
    assert_eq!(opened, [0, 1]);
    network.steering = Steering::ByAddress;
    network.rebind(0, ([10, 9, 9, 9], 4_444).into());
    network.client(0).application().extra.push(payload(1, 10));
    network.client(0).touch(key);
    network.run_for(SECOND);
    let wrong = network.server(0).counters();
    assert!(wrong.forwarded > 0);
    assert_eq!((wrong.datagrams_sent, answers(&mut network)), (0, 1));
}

#[test]
fn retry_asks_a_client_for_its_address_and_costs_one_round_trip() {
    let duration = |retry| {
        let transport = Config { retry, ..Config::default() };
        let mut network =
            Setup { transport, requests: vec![payload(1, 10)], ..Setup::default() }.build();
        assert!(network.run_until(10 * SECOND, is_over));
        (network.elapsed(), network.server(0).counters().retried)
    };
    let (without, none) = duration(Retry::Never);
    let (with, two) = duration(Retry::Always);
    assert_eq!((none, two), (0, 2), "a hello with a post-quantum key takes two datagrams");
    assert_eq!(with - without, 20 * MS);
}

#[test]
fn connections_beyond_the_limit_are_refused_and_the_others_live() {
    let transport = Config { max_connections: 2, ..Config::default() };
    let (mut server, client) = configs();
    server.transport = transport;
    let mut network: World = Network::new(1, &server, [Peer::default()]).unwrap();
    for number in 0..3 {
        network.add_client(Peer::default());
        network.connect(number, &client).unwrap();
    }
    network.run_for(SECOND);
    let closed =
        |network: &mut World, client: usize| network.client(client).application().closed().cloned();
    assert_eq!([closed(&mut network, 0), closed(&mut network, 1)], [None, None]);
    let Some(CloseReason::Transport { code: 2, .. }) = closed(&mut network, 2) else {
        panic!("expected CONNECTION_REFUSED, got {:?}", closed(&mut network, 2));
    };
    assert_eq!(network.server(0).counters().refused, 2, "both datagrams of the third hello");
}

#[test]
fn an_endpoint_that_refuses_new_connections_keeps_the_old_ones() {
    let (server, client) = configs();
    let mut network: World = Network::new(1, &server, [Peer::default()]).unwrap();
    network.add_client(Peer::default());
    network.add_client(Peer::default());
    network.connect(0, &client).unwrap();
    network.run_for(SECOND);
    network.server(0).refuse_new();
    network.connect(1, &client).unwrap();
    network.run_for(SECOND);
    assert_eq!(network.client(0).application().closed(), None);
    assert!(network.client(1).application().closed().is_some());
}

#[test]
fn a_connection_that_drains_is_not_open_any_more() {
    let (server, client) = configs();
    let mut network: World = Network::new(1, &server, [Peer::default()]).unwrap();
    network.add_client(Peer { close_when_done: Some(0), ..Peer::default() });
    network.connect(0, &client).unwrap();
    let draining = |network: &mut World| {
        network.server(0).len() == 1 && network.server(0).open_connections() == 0
    };
    assert!(
        network.run_until(5 * SECOND, draining),
        "it is kept for stray packets, and counts no more"
    );
}

#[test]
fn an_abandoned_connection_is_gone_when_its_close_has_left_and_the_peer_is_told() {
    let (server, client) = configs();
    for abandons in [true, false] {
        let mut network: World = Network::new(1, &server, [Peer::default()]).unwrap();
        network.add_client(Peer { close_when_done: Some(7), abandons, ..Peer::default() });
        network.connect(0, &client).unwrap();
        let has_closed = |network: &mut World| network.client(0).application().closed().is_some();
        assert!(network.run_until(5 * SECOND, has_closed));
        assert_eq!(network.client(0).len(), usize::from(!abandons));
        network.run_for(5 * SECOND);
        let told = network.server(0).application().closed().expect("it has heard of it");
        // In a packet of the handshake the code is another (RFC 9000 §10.2.3).
        let is_told = |told: &CloseReason| {
            matches!(told, CloseReason::Application { .. } | CloseReason::Transport { .. })
        };
        assert!(is_told(told), "{told:?}");
        assert_eq!(network.client(0).len(), 0);
    }
}

#[test]
fn a_closed_connection_is_forgotten_and_its_key_is_not_given_again() {
    let (server, client) = configs();
    let mut network: World = Network::new(1, &server, [Peer::default()]).unwrap();
    network.add_client(Peer { close_when_done: Some(0), ..Peer::default() });
    let first = network.connect(0, &client).unwrap();
    network.run_for(5 * SECOND);
    assert_eq!((network.client(0).len(), network.server(0).len()), (0, 0));
    let second = network.connect(0, &client).unwrap();
    assert_ne!(first, second);
    assert!(network.client(0).connection(first).is_none());
    assert!(network.client(0).connection(second).is_some());
}
