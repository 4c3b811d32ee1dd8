//! Streams with a deadline, on the simulated network.

use std::time::Duration;

use bytes::Bytes;
use sterna_quic::{Config, Dir, Event, Read, StreamId, Write, sim::Link};

use crate::{
    peer::{configs, payload},
    still::{World, at_client, at_server, connected, read_now},
};

const MS: Duration = Duration::from_millis(1);
const LATE: u64 = 77;

/// A connection over a link of 100 kB each second, 10 ms there.
fn world() -> World {
    let (mut server, client) = configs();
    server.transport = Config { idle_timeout: Duration::from_secs(60), ..Config::default() };
    let mut world = connected(1, &server, &client);
    world.up = Link { rate: Some(100_000), queue: 20_000, ..Link::default() };
    world
}

/// Opens a stream with so many bytes and their end.
fn send(world: &mut World, bytes: usize) -> StreamId {
    at_client(world, |client| {
        let id = client.open(Dir::Uni).expect("a stream");
        assert_eq!(client.write(id, &mut [payload(1, bytes)]), Write::Taken(bytes));
        client.finish(id);
        id
    })
}

/// What is sent to the server within `after` is worth nothing later.
fn set_deadline(world: &mut World, id: StreamId, after: Duration) -> bool {
    let at = world.now() + after;
    at_client(world, |client| client.set_deadline(id, at, LATE))
}

fn heard(world: &mut World, event: &Event) -> bool {
    world.client(0).application().events.contains(event)
}

fn touch(world: &mut World) {
    let key = world.client(0).application().key.expect("a connection");
    world.client(0).touch(key);
}

#[test]
fn what_is_late_is_dropped_and_its_room_is_for_what_is_not() {
    let mut world = world();
    let (late, other) = (send(&mut world, 200_000), send(&mut world, 50_000));
    assert!(set_deadline(&mut world, late, 300 * MS));
    touch(&mut world);
    world.run_for(200 * MS);
    assert!(!heard(&mut world, &Event::Expired(late)), "not yet");
    let has_other = |world: &mut World| heard(world, &Event::Finished(other));
    assert!(world.run_until(Duration::from_secs(3), has_other));
    assert!(heard(&mut world, &Event::Expired(late)));
    let (bytes, end) = at_server(&mut world, |server| read_now(server, late));
    assert_eq!((bytes, end), (0, Read::Reset(LATE)), "the peer is told, and reads no half of it");
    let received = at_server(&mut world, |server| server.stats().received_bytes);
    assert!(received < 200_000, "{received} bytes, though 250,000 were written");
    assert_eq!(at_server(&mut world, |server| read_now(server, other)), (50_000, Read::Finished));
}

#[test]
fn a_deadline_holds_to_the_moment_when_the_network_says_nothing() {
    let mut world = world();
    world.up.loss = 1.0;
    let id = send(&mut world, 1000);
    assert!(set_deadline(&mut world, id, 40 * MS));
    touch(&mut world);
    world.run_for(39 * MS);
    assert!(!heard(&mut world, &Event::Expired(id)));
    world.run_for(2 * MS);
    assert!(heard(&mut world, &Event::Expired(id)));
}

#[test]
fn what_was_acknowledged_in_time_is_not_reset() {
    let mut world = world();
    let id = send(&mut world, 1000);
    assert!(set_deadline(&mut world, id, 300 * MS));
    touch(&mut world);
    world.run_for(Duration::from_secs(1));
    assert!(heard(&mut world, &Event::Finished(id)));
    assert!(!heard(&mut world, &Event::Expired(id)));
    assert_eq!(at_server(&mut world, |server| read_now(server, id)), (1000, Read::Finished));
    assert!(!set_deadline(&mut world, id, 300 * MS), "it is over");
}

#[test]
fn a_later_deadline_counts_in_place_of_an_earlier_one_and_one_that_is_taken_back_not_at_all() {
    let mut world = world();
    let (moved, free) = (send(&mut world, 20_000), send(&mut world, 20_000));
    for id in [moved, free] {
        assert!(set_deadline(&mut world, id, 50 * MS));
    }
    assert!(set_deadline(&mut world, moved, Duration::from_secs(20)));
    at_client(&mut world, |client| client.clear_deadline(free));
    touch(&mut world);
    world.run_for(Duration::from_secs(5));
    for id in [moved, free] {
        assert!(heard(&mut world, &Event::Finished(id)) && !heard(&mut world, &Event::Expired(id)));
    }
}

#[test]
fn a_stream_of_the_peer_and_one_that_was_reset_have_no_deadline() {
    let mut world = world();
    let id = send(&mut world, 1000);
    let at = world.now() + 50 * MS;
    world.run_for(20 * MS);
    assert!(!at_server(&mut world, |server| server.set_deadline(id, at, LATE)));
    let reset = send(&mut world, 1000);
    assert!(set_deadline(&mut world, reset, 50 * MS));
    at_client(&mut world, |client| client.reset(reset, 1));
    assert_eq!(
        at_client(&mut world, |client| client.write(reset, &mut [Bytes::from_static(b"x")])),
        Write::Closed
    );
    touch(&mut world);
    world.run_for(Duration::from_secs(1));
    assert!(!heard(&mut world, &Event::Expired(reset)));
}

#[test]
fn what_is_acknowledged_in_the_moment_of_its_deadline_is_not_reset() {
    let acknowledged = |deadline: Option<Duration>| {
        let mut world = world();
        let begun = world.now();
        let id = send(&mut world, 1000);
        if let Some(deadline) = deadline {
            assert!(set_deadline(&mut world, id, deadline));
        }
        touch(&mut world);
        let is_over = |world: &mut World| heard(world, &Event::Finished(id));
        assert!(world.run_until(Duration::from_secs(5), is_over));
        assert!(!heard(&mut world, &Event::Expired(id)));
        world.client(0).application().heard.expect("the end of the stream") - begun
    };
    let took = acknowledged(None);
    assert_eq!(acknowledged(Some(took)), took);
}
