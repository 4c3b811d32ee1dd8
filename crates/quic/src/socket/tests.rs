use std::{future::poll_fn, net::Ipv4Addr, time::Duration};

use super::*;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), future).await.unwrap() })
}

fn udp() -> (Udp, SocketAddr) {
    let (mut sockets, _) = bind(ANY, 1, &SocketOptions::default()).unwrap();
    let socket = sockets.pop().unwrap();
    let address = socket.local_addr().unwrap();
    (Udp::new(socket, true).unwrap(), address)
}

/// Receives until there are `count` datagrams.
async fn receive(udp: &mut Udp, count: usize) -> Vec<Datagram> {
    let mut datagrams = Vec::new();
    while datagrams.len() < count {
        poll_fn(|cx| udp.io().poll_recv_ready(cx)).await.unwrap();
        udp.receive(&mut datagrams);
    }
    datagrams
}

async fn send(udp: &mut Udp, outgoing: &Outgoing<'_>) -> Sent {
    poll_fn(|cx| udp.io().poll_send_ready(cx)).await.unwrap();
    udp.send(outgoing)
}

#[test]
fn a_batch_arrives_as_the_datagrams_it_was_with_their_marks() {
    block_on(async {
        let ((mut sender, from), (mut receiver, to)) = (udp(), udp());
        let data: Vec<u8> = (0..4500).map(|at| (at / 1000) as u8).collect();
        let outgoing =
            Outgoing { remote: to, local_ip: None, ecn: 0b10, data: &data, segment: 1000 };
        assert_eq!(send(&mut sender, &outgoing).await, Sent::Done);
        let datagrams = receive(&mut receiver, 5).await;
        let sizes: Vec<_> = datagrams.iter().map(|datagram| datagram.data.len()).collect();
        assert_eq!(sizes, [1000, 1000, 1000, 1000, 500]);
        for (number, datagram) in datagrams.iter().enumerate() {
            assert_eq!(datagram.data[0], number as u8);
            assert_eq!((datagram.remote, datagram.ecn), (from, 0b10));
            assert_eq!(datagram.local_ip, Some(to.ip()));
        }
    });
}

#[test]
fn a_batch_that_the_kernel_refuses_goes_out_one_by_one_and_is_the_last() {
    block_on(async {
        let ((mut sender, _), (mut receiver, to)) = (udp(), udp());
        assert!(sender.max_segments() > 1, "this kernel has no segmentation offload");
        // More segments than any kernel takes.
        let data = [7; 200];
        let outgoing = Outgoing { remote: to, local_ip: None, ecn: 0, data: &data, segment: 1 };
        assert_eq!(send(&mut sender, &outgoing).await, Sent::Done);
        assert_eq!(sender.segmentation_failures(), 1);
        assert_eq!(sender.max_segments(), 1);
        let datagrams = receive(&mut receiver, 200).await;
        assert!(datagrams.iter().all(|datagram| datagram.data == [7][..]));
    });
}

#[test]
fn an_address_without_a_route_is_a_failure_and_not_an_end() {
    block_on(async {
        let ((mut sender, _), (mut receiver, to)) = (udp(), udp());
        let nowhere = ([255, 255, 255, 255], 9).into();
        let lost = Outgoing { remote: nowhere, local_ip: None, ecn: 0, data: b"x", segment: 1 };
        assert_eq!(send(&mut sender, &lost).await, Sent::Failed);
        assert_eq!(send(&mut sender, &Outgoing { remote: to, ..lost }).await, Sent::Done);
        receive(&mut receiver, 1).await;
    });
}

#[test]
fn an_empty_socket_says_so_and_a_full_buffer_is_counted() {
    block_on(async {
        let ((mut sender, _), (mut receiver, to)) = (udp(), udp());
        let mut datagrams = Vec::new();
        assert!(!receiver.receive(&mut datagrams));
        assert_eq!(receiver.kernel_drops(), 0);
        let data = [0; 60_000];
        let large = Outgoing { remote: to, local_ip: None, ecn: 0, data: &data, segment: 60_000 };
        for _ in 0..400 {
            assert_eq!(send(&mut sender, &large).await, Sent::Done);
        }
        assert!(receiver.kernel_drops() > 0, "24 MB fit in the receive buffer");
    });
}

#[test]
fn the_warning_names_what_was_granted_and_the_remedy() {
    assert_eq!(buffer_warning(4096, 4096, 4096), None);
    let warning = buffer_warning(4096, 4095, 4096).unwrap();
    for word in ["4095", "4096", "net.core.rmem_max=4096", "net.core.wmem_max=4096"] {
        assert!(warning.contains(word), "{word} is missing in: {warning}");
    }
}
