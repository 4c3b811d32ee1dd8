//! Which network this machine is on, as far as it can be told without asking anyone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The addresses that this machine would reach the internet from; empty without any.
///
/// The last half of an IPv6 address is left out, for it changes by itself (RFC 8981).
pub(super) fn name() -> String {
    let sources = [(ANY_V4, FAR_V4), (ANY_V6, FAR_V6)];
    let sources = sources.into_iter().filter_map(|(any, far)| source(any, far));
    sources.map(|address| prefix(address).to_string()).collect::<Vec<_>>().join(" ")
}

/// Connecting a UDP socket sends nothing.
fn source(any: IpAddr, far: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(far, 443)).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}

fn prefix(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (!0 << 64)).into(),
    }
}

const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Addresses of nobody (RFC 5737, RFC 3849), for which the way is the default one.
const FAR_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const FAR_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_network_has_the_same_name() {
        assert_eq!(name(), name());
    }

    #[test]
    fn private_part_of_an_address_is_not_in_the_name() {
        let cut = |text: &str| prefix(text.parse().unwrap()).to_string();
        assert_eq!(cut("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(cut("192.0.2.77"), "192.0.2.77");
    }
}
