//! An application that does nothing by itself: the test reads and writes between turns.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sterna_quic::{
    Application, ClientConfig, CloseReason, Connection, ConnectionKey, Dir, Event, Read,
    ServerConfig, StreamId, sim::Network,
};

pub(crate) type World = Network<Still, Still>;

/// Keeps what it hears.
#[derive(Debug, Default)]
pub(crate) struct Still {
    pub(crate) key: Option<ConnectionKey>,
    pub(crate) events: Vec<Event>,
    /// When it heard the last of them.
    pub(crate) heard: Option<Instant>,
}

impl Application for Still {
    type State = ();

    fn opened(&mut self, connection: &mut Connection, _now: Instant) {
        self.key = Some(connection.key());
    }

    fn run(&mut self, (): &mut (), connection: &mut Connection, now: Instant) {
        while let Some(event) = connection.poll_event() {
            self.events.push(event);
            self.heard = Some(now);
        }
    }

    fn closed(&mut self, (): (), _reason: &CloseReason, _now: Instant) {}
}

/// A server and a client that are connected.
pub(crate) fn connected(seed: u64, server: &ServerConfig, client: &ClientConfig) -> World {
    let mut network = World::new(seed, server, [Still::default()]).unwrap();
    network.add_client(Still::default());
    network.connect(0, client).unwrap();
    network.run_for(Duration::from_millis(200));
    assert!(network.client(0).application().events.contains(&Event::Connected));
    network
}

/// Does something with the server's side of the connection.
pub(crate) fn at_server<T>(world: &mut World, act: impl FnOnce(&mut Connection) -> T) -> T {
    let endpoint = world.server(0);
    let key = endpoint.application().key.expect("a connection");
    act(endpoint.connection(key).expect("it lives").1)
}

/// Does something with the client's side of it.
pub(crate) fn at_client<T>(world: &mut World, act: impl FnOnce(&mut Connection) -> T) -> T {
    let endpoint = world.client(0);
    let key = endpoint.application().key.expect("a connection");
    act(endpoint.connection(key).expect("it lives").1)
}

/// Opens as many bidirectional streams as it may, each with a byte.
pub(crate) fn open_all(connection: &mut Connection) -> Vec<StreamId> {
    let open = || {
        let id = connection.open(Dir::Bi)?;
        connection.write(id, &mut [Bytes::from_static(b"?")]);
        Some(id)
    };
    std::iter::from_fn(open).collect()
}

/// All that is there now, and what is behind it.
pub(crate) fn read_now(connection: &mut Connection, id: StreamId) -> (usize, Read) {
    let mut bytes = 0;
    loop {
        match connection.read(id, usize::MAX) {
            Read::Data(data) => bytes += data.len(),
            end => return (bytes, end),
        }
    }
}
