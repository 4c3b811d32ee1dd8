//! A real link, between real sockets. With root and `/dev/net/tun`: `cargo test -p sterna-diag -- --ignored`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBuf;
use sterna_diag::link::{End, Link, Loss, Rate, Settings};

const ROUND_TRIP: Duration = Duration::from_millis(50);
const RATE: Rate = Rate::bits_per_second(100_000_000).unwrap();
/// UDP payload of a packet of 1,500 bytes.
const FULL: usize = 1472;

/// 50 ms, 100 Mbit/s, a queue of one bandwidth-delay product.
fn link() -> Link {
    Link::up(&Settings::new(ROUND_TRIP, RATE)).unwrap_or_else(|error| panic!("{error:#?}"))
}

fn udp(end: &End) -> UdpSocket {
    let bound = end.enter(|| UdpSocket::bind((end.address(), 0))).expect("the end is there");
    let socket = bound.expect("its address is free");
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("this is not zero");
    socket
}

fn address(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("it is bound")
}

#[test]
#[ignore = "needs root and /dev/net/tun"]
fn an_echo_takes_the_round_trip() {
    let link = link();
    let (near, far) = (udp(link.b()), udp(link.a()));
    let far_address = address(&far);
    let echo = thread::spawn(move || {
        let mut buffer = [0; 16];
        for _ in 0..21 {
            let (len, from) = far.recv_from(&mut buffer).unwrap();
            far.send_to(&buffer[..len], from).unwrap();
        }
    });
    let mut times: Vec<Duration> = (0..21_u8)
        .map(|number| {
            let start = Instant::now();
            near.send_to(&[number], far_address).unwrap();
            let mut buffer = [0; 16];
            assert_eq!(near.recv(&mut buffer).unwrap(), 1);
            assert_eq!(buffer[0], number);
            start.elapsed()
        })
        .collect();
    echo.join().unwrap();
    // The fastest: the others also waited for a processor, on a busy machine.
    times.sort_unstable();
    assert!(times[0] >= ROUND_TRIP, "faster than the link: {times:?}");
    assert!(times[0] < ROUND_TRIP + Duration::from_millis(3), "slower than the link: {times:?}");
}

/// 1,000 packets at once are more than the queue holds: what arrives does so in order and not above the rate, and what
/// does not was counted.
#[test]
#[ignore = "needs root and /dev/net/tun"]
fn a_burst_arrives_at_the_rate_and_the_rest_is_counted() {
    let link = link();
    let (near, far) = (udp(link.a()), udp(link.b()));
    // A receiver that waits for a processor must not lose what the link has carried.
    setsockopt(&far, RcvBuf, &(2 << 20)).unwrap();
    let far_address = address(&far);
    let start = Instant::now();
    let sender = thread::spawn(move || {
        for number in 0..1_000_u32 {
            let mut packet = [0; FULL];
            packet[..4].copy_from_slice(&number.to_be_bytes());
            near.send_to(&packet, far_address).unwrap();
        }
    });
    let mut buffer = [0; FULL];
    let mut arrived = Vec::new();
    let mut took = Duration::ZERO;
    while far.recv(&mut buffer).is_ok() {
        took = start.elapsed();
        arrived.push(u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]));
    }
    sender.join().unwrap();

    assert!(arrived.is_sorted(), "out of order: {arrived:?}");
    let counters = link.a_to_b();
    assert_eq!(counters.accepted + counters.dropped, 1_000);
    assert_eq!(counters.accepted, arrived.len() as u64);
    assert!(counters.dropped > 0, "a queue of 416 packets took 1,000");
    let exact = RATE.time_for(1_500 * counters.accepted) + ROUND_TRIP / 2;
    assert!(took >= exact, "{took:?} is faster than the link: {exact:?}");
    assert!(took < exact + Duration::from_millis(200), "{took:?} is slower than {exact:?}");
}

/// Which of 1,000 packets arrive over a link that loses a tenth by the luck of `seed`.
fn survivors(seed: u64) -> Vec<u32> {
    let loss = Loss::random("10%".parse().expect("a share"));
    let settings = Settings::new(Duration::from_millis(2), RATE);
    let settings = Settings { loss, seed, queue: u64::MAX, ..settings };
    let link = Link::up(&settings).unwrap_or_else(|error| panic!("{error:#?}"));
    let (near, far) = (udp(link.a()), udp(link.b()));
    setsockopt(&far, RcvBuf, &(2 << 20)).expect("room");
    let far_address = address(&far);
    for number in 0..1_000_u32 {
        near.send_to(&number.to_be_bytes(), far_address).expect("sent");
    }
    let mut buffer = [0; 4];
    let mut arrived = Vec::new();
    while far.recv(&mut buffer).is_ok() {
        arrived.push(u32::from_be_bytes(buffer));
    }
    let counters = link.a_to_b();
    assert_eq!((counters.accepted, counters.dropped), (arrived.len() as u64, 0));
    assert_eq!(counters.accepted + counters.lost, 1_000);
    arrived
}

#[test]
#[ignore = "needs root and /dev/net/tun"]
fn the_same_seed_loses_the_same_packets() {
    let arrived = survivors(7);
    assert!((850..950).contains(&arrived.len()), "{} arrived", arrived.len());
    assert_eq!(arrived, survivors(7));
    assert_ne!(arrived, survivors(8));
}

#[test]
#[ignore = "needs root and /dev/net/tun"]
fn tcp_gets_most_of_the_rate_and_never_more() {
    const LEN: usize = 8 << 20;
    let link = link();
    let server = link.a();
    let listener = server.enter(|| TcpListener::bind((server.address(), 0)).unwrap()).unwrap();
    let to = listener.local_addr().unwrap();
    let sender = thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        connection.write_all(&vec![7; LEN]).unwrap();
    });
    let mut connection = link.b().enter(|| TcpStream::connect(to).unwrap()).unwrap();
    let start = Instant::now();
    let mut received = Vec::new();
    connection.read_to_end(&mut received).unwrap();
    let took = start.elapsed();
    sender.join().unwrap();

    assert_eq!(received, vec![7; LEN]);
    let wire = RATE.time_for(LEN as u64);
    assert!(took > wire, "{took:?} for what takes the wire {wire:?}");
    assert!(took < wire * 3, "{took:?} for what takes the wire {wire:?}");
}
