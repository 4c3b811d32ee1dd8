//! Binding: all or nothing, and an error that says what to do.

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use http::{Request, Response};
use sterna_net::{BindError, Body, Server, server::Transport};

use crate::world::certificate;

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn tcp_port_of_another_server_is_named_in_the_error() {
    let other = TcpListener::bind(loopback(0)).unwrap();
    let address = other.local_addr().unwrap();
    let error = Server::builder().listen(address).tls(certificate().0).bind().unwrap_err();
    assert!(
        matches!(error, BindError::InUse { address: a, transport: Transport::Tcp } if a == address)
    );
    assert_eq!(
        error.to_string(),
        format!(
            "TCP port {} of 127.0.0.1 is in use: stop the other server or choose another port",
            address.port()
        )
    );
}

#[test]
fn udp_port_of_another_server_leaves_tcp_free() {
    // A client of a test beside this one may hold the number on TCP: that port says nothing, another one does.
    let (_other, address, error) = (0..100)
        .map(|_| {
            let other = UdpSocket::bind(loopback(0)).unwrap();
            let address = other.local_addr().unwrap();
            let error = Server::builder().listen(address).tls(certificate().0).bind().unwrap_err();
            (other, address, error)
        })
        .find(|(.., error)| !matches!(error, BindError::InUse { transport: Transport::Tcp, .. }))
        .expect("a port that nobody uses on TCP");
    assert!(
        matches!(error, BindError::InUse { address: a, transport: Transport::Udp } if a == address),
        "{error:?}"
    );
    TcpListener::bind(address).expect("nothing is half bound");
}

#[test]
fn second_server_does_not_share_the_port_of_the_first() {
    let first = Server::builder().listen(loopback(0)).tls(certificate().0).bind().unwrap();
    let address = first.addresses()[0];
    let error = Server::builder().listen(address).tls(certificate().0).bind().unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }));
}

#[test]
fn address_of_another_machine_is_refused() {
    let error = Server::builder().listen("192.0.2.1:0".parse().unwrap()).bind().unwrap_err();
    assert!(matches!(error, BindError::NotOurs { .. }), "{error:?}");
}

#[test]
fn server_without_an_address_is_refused() {
    assert!(matches!(Server::builder().bind().unwrap_err(), BindError::NoAddress));
}

#[test]
fn port_zero_is_one_port_for_both_transports_and_all_workers() {
    let bound =
        Server::builder().listen(loopback(0)).tls(certificate().0).workers(3).bind().unwrap();
    let address = bound.addresses()[0];
    assert_ne!(address.port(), 0);
    assert!(TcpListener::bind(address).is_err());
    assert!(UdpSocket::bind(address).is_err());
}

#[test]
fn service_that_is_not_send_is_made_on_each_worker() {
    use std::{collections::BTreeSet, rc::Rc, sync::Mutex};

    let made = std::sync::Arc::new(Mutex::new(BTreeSet::new()));
    let seen = made.clone();
    let bound = Server::builder().listen(loopback(0)).workers(3).bind().unwrap();
    let running = bound
        .serve_with(move |worker| {
            seen.lock().unwrap().insert(worker);
            let not_send = Rc::new(worker);
            tower::service_fn(move |_: Request<Body>| {
                let worker = not_send.clone();
                async move { Ok::<_, Infallible>(Response::new(Body::from(worker.to_string()))) }
            })
        })
        .unwrap();
    running.shutdown(std::time::Duration::ZERO);
    running.wait().unwrap();
    assert_eq!(*made.lock().unwrap(), BTreeSet::from([0, 1, 2]));
}
