//! Limits that the workers of a process share: rates, and who uses how much.
//!
//! The decisions have no clock: [`Quota`] and [`Cell`] are the algorithm, [`Table`] keeps a cell for each client in bounded
//! memory.

use std::net::IpAddr;

mod gcra;
pub(crate) mod patience;
pub(crate) mod per_source;
mod table;

pub use gcra::{Cell, Quota, Refused, Standing};
pub use patience::MinRate;
pub use table::{Table, Used};

/// Whom a limit for each address counts as one: an IPv4 address, or the /64 that a household or a machine has of IPv6, where
/// every client has more addresses than any table has places.
///
/// # Example
/// ```
/// use sterna_net::limit::Source;
///
/// let of = |address: &str| Source::of(address.parse().expect("an address"));
/// assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
/// assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
/// assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(SourceKind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum SourceKind {
    V4([u8; 4]),
    /// The first half of the address.
    V6([u8; 8]),
}

impl Source {
    /// That of an address. An IPv4 address that is written as one of IPv6 is the same.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => SourceKind::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                SourceKind::V6([a, b, c, d, e, f, g, h])
            }
        })
    }

    /// The part that differs most among neighbours.
    pub(crate) fn last_byte(self) -> u8 {
        match self.0 {
            SourceKind::V4([.., last]) | SourceKind::V6([.., last]) => last,
        }
    }
}
