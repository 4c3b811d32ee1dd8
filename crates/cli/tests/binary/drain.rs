//! How a server ends.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::server::{Dir, Server};

/// More than the buffers of both kernels hold, so that the response waits for its reader.
const LARGE: usize = 64 << 20;

/// A server in the middle of a response: what has been read of it, and where the rest comes.
fn in_the_middle(dir: &Dir) -> (Server, Vec<u8>, impl Read + use<>) {
    let content: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
    fs::write(dir.path("site/large"), content).expect("written");
    let server = dir.start(&["files", &dir.path("site")]);
    let mut connection = server.connect();
    connection.write_all(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("sent");
    let mut begin = vec![0; 1024];
    connection.read_exact(&mut begin).expect("the beginning");
    (server, begin, connection)
}

#[test]
fn a_response_under_way_is_finished_and_a_new_connection_refused() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let dir = Dir::new();
        let (mut server, mut response, mut connection) = in_the_middle(&dir);
        server.signal(signal);
        server.wait_for_drain();
        connection.read_to_end(&mut response).expect("the whole response");
        let head = response.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
        let content = &response[head..];
        assert_eq!(content.len(), LARGE);
        assert!(content.iter().enumerate().all(|(at, &byte)| byte == (at % 251) as u8));
        let address = server.address;
        let ended = server.wait();
        assert_eq!(ended.code, Some(0), "{signal}");
        assert!(ended.stdout.contains(&format!(" 200 {LARGE} ")), "{}", ended.stdout);
        assert!(TcpStream::connect(address).is_err());
    }
}

#[test]
fn a_second_signal_ends_at_once_and_says_so_in_the_code() {
    let dir = Dir::new();
    let (mut server, _, _connection) = in_the_middle(&dir);
    server.signal(Signal::SIGTERM);
    server.wait_for_drain();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, Some(128 + 15));
}

#[test]
fn a_server_outlives_the_terminal_that_it_was_started_from() {
    let dir = Dir::new();
    let mut server = dir.start(&["files", &dir.path("site")]);
    server.stop_listening();
    assert!(server.fetch("/hello.txt").ends_with("hello"));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, Some(0));
}
