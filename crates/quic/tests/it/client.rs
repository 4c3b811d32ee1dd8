//! What only clients do: early data, and another socket.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use sterna_quic::{
    ClientConfig, CloseReason, Event, Group, ServerConfig, SocketOptions, sim::Network,
};

use crate::peer::{Peer, configs, payload};

type World = Network<Peer, Peer>;

const SECOND: Duration = Duration::from_secs(1);

/// A server that takes early data, and a client that offers it once it has a ticket.
fn early_configs() -> (ServerConfig, ClientConfig) {
    let (mut server, mut client) = configs();
    let tls = Arc::make_mut(&mut server.tls);
    tls.max_early_data_size = u32::MAX;
    tls.session_storage = rustls::server::ServerSessionMemoryCache::new(8);
    Arc::make_mut(&mut client.tls).enable_early_data = true;
    (server, client)
}

/// A world whose client has been there once and has a ticket.
fn returning(server: &ServerConfig, client: &ClientConfig) -> World {
    let mut network: World = Network::new(1, server, [Peer::default()]).unwrap();
    network.add_client(Peer {
        requests: vec![payload(1, 3000)],
        close_when_done: Some(0),
        ..Peer::default()
    });
    network.connect(0, client).unwrap();
    assert!(
        network.run_until(10 * SECOND, |network| {
            network.client(0).application().closed().is_some()
        })
    );
    assert_eq!(network.client(0).application().early_data, None, "there was no ticket");
    *network.client(0).application() =
        Peer { close_when_done: Some(0), ..std::mem::take(network.client(0).application()) };
    network.client(0).application().answers.clear();
    network.client(0).application().seen.clear();
    network
}

/// Connects again; how long until the answer.
fn again(network: &mut World, client: &ClientConfig) -> Duration {
    let start = network.elapsed();
    network.connect(0, client).unwrap();
    let is_answered = network
        .run_until(10 * SECOND, |network| !network.client(0).application().answers.is_empty());
    assert!(is_answered, "no answer");
    assert!(network.client(0).application().answers == [payload(1, 3000).to_vec()]);
    network.elapsed() - start
}

#[test]
fn a_returning_client_is_answered_after_one_round_trip() {
    let (server, client) = early_configs();
    let mut network = returning(&server, &client);
    let round_trip = network.up.delay + network.down.delay;
    let took = again(&mut network, &client);
    assert!(took < 2 * round_trip, "{took:?} for a round trip of {round_trip:?}");
    assert_eq!(network.client(0).application().early_data, Some(true));
}

#[test]
fn early_data_that_is_refused_is_known_and_can_be_sent_again() {
    let (server, client) = early_configs();
    let mut network = returning(&server, &client);
    // A server that has forgotten its sessions.
    let mut forgetful = server.clone();
    Arc::make_mut(&mut forgetful.tls).session_storage =
        rustls::server::ServerSessionMemoryCache::new(8);
    network.server(0).set_server(&forgetful).unwrap();
    again(&mut network, &client);
    assert_eq!(network.client(0).application().early_data, Some(false));
}

#[test]
fn a_server_that_speaks_another_protocol_fails_by_the_alert_for_it() {
    let (server, mut client) = configs();
    Arc::make_mut(&mut client.tls).alpn_protocols = vec![b"other".to_vec()];
    let mut network: World = Network::new(1, &server, [Peer::default()]).unwrap();
    network.add_client(Peer::default());
    network.connect(0, &client).unwrap();
    network.run_for(SECOND);
    let no_application_protocol = 0x178;
    let Some(CloseReason::Transport { code, .. }) = network.client(0).application().closed() else {
        panic!("got {:?}", network.client(0).application().closed());
    };
    assert_eq!(*code, no_application_protocol);
    let Some(CloseReason::Tls { code, error }) = network.server(0).application().closed() else {
        panic!("got {:?}", network.server(0).application().closed());
    };
    assert_eq!((*code, error), (no_application_protocol, &rustls::Error::NoApplicationProtocol));
}

#[test]
fn a_client_that_changes_its_socket_in_the_middle_goes_on() {
    let (server, client) = configs();
    let any = ([127, 0, 0, 1], 0).into();
    let options = SocketOptions::default();
    let bind = || Group::bind(any, 1, &options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let group = bind();
        let address = group.local_address();
        let member = group.into_members().pop().unwrap();
        let mut server = member.start(Some(server), Peer::default()).unwrap();
        let request: Bytes = payload(1, 4 << 20);
        let peer = Peer { requests: vec![request.clone()], ..Peer::default() };
        let mut driver = bind().into_members().pop().unwrap().start(None, peer).unwrap();
        driver.connect(&client, address, "localhost").unwrap();
        let before = driver.local_address().unwrap();
        let mut is_moved = false;
        let exchange = async {
            while driver.endpoint().application().answers.is_empty() {
                tokio::select! {
                    turn = driver.turn() => turn.unwrap(),
                    turn = server.turn() => turn.unwrap(),
                }
                if !is_moved && server.counters().bytes_received > 1 << 20 {
                    driver.rebind(bind().into_members().pop().unwrap()).unwrap();
                    is_moved = true;
                }
            }
        };
        tokio::time::timeout(20 * SECOND, exchange).await.expect("it hangs");
        let after = driver.local_address().unwrap();
        assert!(is_moved && before != after);
        assert!(driver.endpoint().application().answers == [request.to_vec()]);
        let migrated = server.endpoint().application().events().find_map(|event| match event {
            Event::Migrated { from, to } => Some((*from, *to)),
            _ => None,
        });
        assert_eq!(migrated, Some((before, after)));
        assert_eq!(server.counters().migrations, 1);
    });
}
