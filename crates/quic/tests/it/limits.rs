//! Limits that change while a connection is open.

use std::time::Duration;

use bytes::Bytes;
use sterna_quic::{Config, Dir, Limits, Read, StreamId, Write};

use crate::{
    peer::{configs, payload},
    still::{World, at_client, at_server, connected, open_all, read_now},
};

const A_WHILE: Duration = Duration::from_millis(200);

/// A connection to a server with this configuration.
fn world(change: impl FnOnce(&mut Config)) -> World {
    let (mut server, client) = configs();
    change(&mut server.transport);
    connected(1, &server, &client)
}

/// The server goes by other limits, and the client hears of it.
fn set_limits(world: &mut World, change: impl FnOnce(&mut Limits)) {
    let mut limits = configs().0.transport.limits();
    change(&mut limits);
    at_server(world, |server| server.set_limits(limits));
    world.run_for(A_WHILE);
}

/// The server answers these streams with nothing, and both sides are done with them.
fn end(world: &mut World, streams: &[StreamId]) {
    at_client(world, |client| streams.iter().for_each(|id| client.finish(*id)));
    world.run_for(A_WHILE);
    for id in streams {
        at_server(world, |server| {
            assert_eq!(read_now(server, *id), (1, Read::Finished));
            server.finish(*id);
        });
    }
    world.run_for(A_WHILE);
    at_client(world, |client| {
        streams.iter().for_each(|id| assert_eq!(read_now(client, *id).1, Read::Finished));
    });
    world.run_for(A_WHILE);
}

#[test]
fn a_connection_gets_more_streams_when_the_limit_is_raised() {
    let mut world = world(|config| config.max_bidi_streams = 4);
    assert_eq!(at_client(&mut world, open_all).len(), 4);
    set_limits(&mut world, |limits| limits.max_bidi_streams = 10);
    assert_eq!(at_client(&mut world, open_all).len(), 6, "those that are open count");
    set_limits(&mut world, |limits| limits.max_uni_streams = 20);
    let open =
        |client: &mut sterna_quic::Connection| std::iter::from_fn(|| client.open(Dir::Uni)).count();
    assert_eq!(at_client(&mut world, open), 20);
}

#[test]
fn a_connection_gets_no_more_streams_after_the_limit_is_lowered_until_it_is_below() {
    let mut world = world(|config| config.max_bidi_streams = 8);
    let streams = at_client(&mut world, open_all);
    assert_eq!(streams.len(), 8);
    set_limits(&mut world, |limits| limits.max_bidi_streams = 2);
    end(&mut world, &streams[..6]);
    assert_eq!(at_client(&mut world, open_all).len(), 0, "two are open");
    end(&mut world, &streams[6..]);
    assert_eq!(at_client(&mut world, open_all).len(), 2);
}

#[test]
fn a_peer_may_send_more_when_the_connection_s_window_is_raised() {
    let mut world = world(|config| {
        config.connection_window = 10_000;
        config.stream_window = 1 << 20;
    });
    let id = at_client(&mut world, |client| client.open(Dir::Bi)).expect("a stream");
    let mut data = payload(1, 100_000);
    let mut send = |world: &mut World| {
        at_client(world, |client| client.write(id, std::slice::from_mut(&mut data)))
    };
    assert_eq!(send(&mut world), Write::Taken(10_000));
    assert_eq!(send(&mut world), Write::Blocked);
    set_limits(&mut world, |limits| limits.connection_window = 30_000);
    assert_eq!(send(&mut world), Write::Taken(20_000));
    // Less takes nothing back, and gives nothing until the peer is below it.
    set_limits(&mut world, |limits| limits.connection_window = 12_000);
    assert_eq!(send(&mut world), Write::Blocked);
    let read = |world: &mut World| at_server(world, |server| read_now(server, id).0);
    assert_eq!(read(&mut world), 30_000);
    world.run_for(A_WHILE);
    assert_eq!(send(&mut world), Write::Taken(12_000));
}

#[test]
fn a_connection_holds_more_for_sending_when_the_send_window_is_raised() {
    let mut world = world(|config| config.send_window = 10_000);
    let id = at_server(&mut world, |server| server.open(Dir::Uni)).expect("a stream");
    let send = |world: &mut World, len| {
        at_server(world, |server| server.write(id, &mut [Bytes::from(vec![0; len])]))
    };
    assert_eq!(send(&mut world, 100_000), Write::Taken(10_000));
    assert_eq!(send(&mut world, 100_000), Write::Blocked);
    let limits = Limits { send_window: 25_000, ..configs().0.transport.limits() };
    at_server(&mut world, |server| server.set_limits(limits));
    assert_eq!(send(&mut world, 100_000), Write::Taken(15_000));
}
