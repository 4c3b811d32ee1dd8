//! Notices that this machine reaches the world by another address: connections go on from there.
//!
//! The kernel says that *something* changed (a link, an address, a route); what it means for us is asked of the kernel
//! again, by the address that it would send from.

use std::{
    future::pending,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::{fd::AsRawFd, unix::net::UnixDatagram as StdDatagram},
    time::Duration,
};

use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket,
};
use tokio::{net::UnixDatagram, time::Instant};

/// Watches the way to the server that was connected to last.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// A socket of the kernel's; what reads datagrams of one kind reads those of another.
    kernel: Option<UnixDatagram>,
    is_refused: bool,
    remote: Option<SocketAddr>,
    local: Option<IpAddr>,
    /// When to look what a change that was heard of means; kept here, because the wait for it is often given up.
    settled_at: Option<Instant>,
}

impl Network {
    /// A connection to `remote` begins.
    pub(super) fn watch(&mut self, wanted: bool, remote: SocketAddr) {
        // Nothing moves on loopback.
        if !wanted || remote.ip().is_loopback() {
            return;
        }
        self.remote = Some(remote);
        self.local = source(remote);
        if self.kernel.is_none() && !self.is_refused {
            match open() {
                Ok(kernel) => self.kernel = Some(kernel),
                Err(error) => {
                    tracing::debug!(%error, "changes of the network go unnoticed");
                    self.is_refused = true;
                }
            }
        }
    }

    /// Ends when the address has changed from which the server is reached.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn changed(&mut self) {
        loop {
            if let Some(at) = self.settled_at {
                tokio::time::sleep_until(at).await;
                self.settled_at = None;
                let now = self.remote.and_then(source);
                if now.is_some() && now != self.local {
                    self.local = now;
                    return;
                }
            }
            let Some(kernel) = &self.kernel else { return pending().await };
            if !hear(kernel).await {
                return self.give_up().await;
            }
            // An address and its routes come one after the other.
            self.settled_at = Some(Instant::now() + SETTLE);
        }
    }

    async fn give_up(&mut self) {
        self.kernel = None;
        self.is_refused = true;
        pending::<()>().await;
    }
}

/// Which address the kernel would send from. Nothing is sent for it.
fn source(remote: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr =
        if remote.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 16], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(remote).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// Waits until the kernel says something, and reads all of it; what it says does not matter. False when it never will.
async fn hear(kernel: &UnixDatagram) -> bool {
    let mut message = [0; 4096];
    let mut heard = kernel.recv(&mut message).await;
    loop {
        match heard {
            // More was said than the kernel keeps: something has changed then, too.
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
        heard = kernel.try_recv(&mut message);
    }
}

/// A socket on which the kernel tells of links, addresses and routes.
fn open() -> io::Result<UnixDatagram> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let kernel = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    let groups = libc::RTMGRP_LINK
        | libc::RTMGRP_IPV4_IFADDR
        | libc::RTMGRP_IPV4_ROUTE
        | libc::RTMGRP_IPV6_IFADDR
        | libc::RTMGRP_IPV6_ROUTE;
    bind(kernel.as_raw_fd(), &NetlinkAddr::new(0, groups as u32))?;
    UnixDatagram::from_std(StdDatagram::from(kernel))
}

/// How long the network has to settle after the first sign of a change.
const SETTLE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    /// A network whose kernel is the other end of the pair, and which was reached from another address before.
    fn network() -> (Network, UnixDatagram) {
        let (ours, kernel) = UnixDatagram::pair().unwrap();
        let network = Network {
            kernel: Some(ours),
            remote: Some(([127, 0, 0, 1], 9).into()),
            local: Some([192, 0, 2, 1].into()),
            ..Network::default()
        };
        (network, kernel)
    }

    fn block_on(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(10), test).await.expect("it hangs");
        });
    }

    #[test]
    fn change_is_noticed_though_the_wait_for_it_is_given_up_again_and_again() {
        block_on(async {
            let (mut network, kernel) = network();
            kernel.send(b"an address").await.unwrap();
            let mut given_up = 0;
            while tokio::time::timeout(Duration::from_millis(5), network.changed()).await.is_err() {
                given_up += 1;
            }
            assert!(given_up > 0, "it settles first");
            assert_eq!(network.local, Some([127, 0, 0, 1].into()));
        });
    }

    #[test]
    fn change_of_something_else_is_none() {
        block_on(async {
            let (mut network, kernel) = network();
            network.local = Some([127, 0, 0, 1].into());
            kernel.send(b"a route").await.unwrap();
            let changed = tokio::time::timeout(4 * SETTLE, network.changed()).await;
            assert!(changed.is_err(), "the way to the server is the same");
        });
    }

    #[test]
    fn loopback_is_not_watched() {
        let mut network = Network::default();
        network.watch(true, ([127, 0, 0, 1], 443).into());
        assert!(network.kernel.is_none());
    }
}
