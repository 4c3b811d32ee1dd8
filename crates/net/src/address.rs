//! Networks of addresses, as people write them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network of addresses: `192.0.2.0/24`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Whether `address` is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                leading(network.to_bits().into(), self.bits + 96)
                    == leading(address.to_bits().into(), self.bits + 96)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                leading(network.to_bits(), self.bits) == leading(address.to_bits(), self.bits)
            }
            _ => false,
        }
    }
}

/// The first `bits` of 128.
fn leading(value: u128, bits: u32) -> u128 {
    value.checked_shr(128 - bits).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork::Malformed)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most),
            None => Some(most),
        };
        let bits: u32 = bits.ok_or(NotANetwork::Malformed)?;
        // An IPv4 address is never told as one of IPv6, so that such a network would hold nobody.
        let network = match (address.to_canonical(), bits.checked_sub(96)) {
            (short @ IpAddr::V4(_), Some(bits)) if address.is_ipv6() => {
                Self { address: short, bits }
            }
            _ => Self { address, bits },
        };
        if network.first() == network.address { Ok(network) } else { Err(NotANetwork::HostBits) }
    }
}

impl Network {
    /// How many bits all of its addresses have in common.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Whether all of `other` is in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.bits <= other.bits && self.contains(other.address)
    }

    /// The address with nothing behind the prefix.
    fn first(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl serde::Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotANetwork {
    /// It is something else.
    #[error("is not a network such as `192.0.2.0/24`, `2001:db8::/32` or `192.0.2.7`")]
    Malformed,
    /// The address goes on behind the prefix.
    #[error(
        "names an address inside the network, not the network: clear the bits behind the prefix"
    )]
    HostBits,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().expect("a network")
    }

    #[test]
    fn a_network_holds_its_first_and_last_address_and_not_the_next() {
        for (text, inside, outside) in [
            ("192.0.2.0/24", &["192.0.2.0", "192.0.2.255"][..], &["192.0.3.0", "::c000:200"][..]),
            ("192.0.2.7", &["192.0.2.7"], &["192.0.2.6", "192.0.2.8"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::"]),
            ("2001:db8::/32", &["2001:db8::", "2001:db8:ffff::1"], &["2001:db9::", "10.0.0.1"]),
            ("::/0", &["::1"], &["127.0.0.1"]),
            ("::1", &["::1"], &["::2"]),
            ("::ffff:10.0.0.0/104", &["10.0.0.1", "10.255.0.1"], &["11.0.0.1", "::ffff:10.0.0.1"]),
        ] {
            let holds =
                |address: &&str| network(text).contains(address.parse().expect("an address"));
            assert!(inside.iter().all(holds), "{text}");
            assert!(!outside.iter().any(holds), "{text}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_its_reason() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0/8", "a/8"] {
            assert_eq!(text.parse::<Network>(), Err(NotANetwork::Malformed), "{text}");
        }
        assert_eq!("10.0.0.1/8".parse::<Network>(), Err(NotANetwork::HostBits));
        assert_eq!("2001:db8::1/32".parse::<Network>(), Err(NotANetwork::HostBits));
    }

    #[test]
    fn a_network_covers_those_within_it_and_none_that_goes_beyond() {
        for (outer, inner, covers) in [
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.0.0.0/8", "10.0.0.0/8", true),
            ("10.1.0.0/16", "10.0.0.0/8", false),
            ("::/0", "10.0.0.0/8", false),
        ] {
            assert_eq!(network(outer).covers(&network(inner)), covers, "{outer} {inner}");
        }
    }
}
