//! What a request must be, beside its host and path, for a route to take it.
//!
//! All kinds that are given must hold; within `method`, `client` and `protocol` one of the list is enough. Among routes
//! of the same path the one with more conditions comes first; with as many, a condition on the method counts more than
//! one on fields, then the query, then the client (a smaller network more than a larger), then the protocol. The order in
//! which routes are written never decides: what is left is decided by the text of the conditions.

use std::cmp::Reverse;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::{HeaderName, Method};
use sterna_net::{Protocol, RequestContext};

use crate::Request;

/// The conditions of a route; empty ones hold for every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// One of these methods.
    pub methods: Vec<Method>,
    /// Each of these fields.
    pub headers: Vec<(HeaderName, Wanted)>,
    /// Each of these keys of the query, as they were sent.
    pub query: Vec<(String, Wanted)>,
    /// A client in one of these networks.
    pub clients: Vec<Network>,
    /// One of these versions of HTTP.
    pub protocols: Vec<Protocol>,
}

/// What a field or a key of the query must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// There, whatever it says: `*`.
    Present,
    /// This and nothing else.
    Equal(String),
}

impl Conditions {
    /// Whether every request holds them.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `request` holds them all.
    pub(super) fn hold(&self, request: &Request) -> bool {
        let Self { methods, headers, query, clients, protocols } = self;
        (methods.is_empty() || methods.contains(request.method()))
            && headers.iter().all(|(name, wanted)| {
                let values = request.headers().get_all(name);
                values.iter().any(|value| wanted.is(value.as_bytes()))
            })
            && query.iter().all(|(key, wanted)| has_pair(request, key, wanted))
            && (clients.is_empty() || is_client_in(request, clients))
            && (protocols.is_empty() || is_protocol_of(request, protocols))
    }

    /// Sorts the most specific first.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        let Self { methods, headers, query, clients, protocols } = self;
        let kind = |is_empty: bool| usize::from(!is_empty);
        let (method, client) = (kind(methods.is_empty()), kind(clients.is_empty()));
        let protocol = kind(protocols.is_empty());
        let all = method + headers.len() + query.len() + client + protocol;
        let equal = |wanted: &Wanted| usize::from(*wanted != Wanted::Present);
        let exact = headers.iter().map(|(_, wanted)| equal(wanted)).sum::<usize>()
            + query.iter().map(|(_, wanted)| equal(wanted)).sum::<usize>();
        let bits = clients.iter().map(|network| network.bits).min().unwrap_or(0);
        let rank = (all, method, headers.len(), query.len(), client, exact, bits, protocol);
        (Reverse(rank), self.to_string())
    }
}

impl Wanted {
    fn is(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Equal(wanted) => wanted.as_bytes() == value,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Present => "*",
            Self::Equal(value) => value,
        })
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(self.methods.iter().map(|method| format!("method {method}")));
        parts.extend(self.headers.iter().map(|(name, wanted)| format!("header {name}={wanted}")));
        parts.extend(self.query.iter().map(|(key, wanted)| format!("query {key}={wanted}")));
        parts.extend(self.clients.iter().map(|network| format!("client {network}")));
        parts.extend(self.protocols.iter().map(|protocol| format!("protocol {protocol}")));
        parts.sort();
        f.write_str(&parts.join(", "))
    }
}

fn has_pair(request: &Request, key: &str, wanted: &Wanted) -> bool {
    let pairs = request.uri().query().into_iter().flat_map(|query| query.split('&'));
    let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.any(|(name, value)| name == key && wanted.is(value.as_bytes()))
}

fn is_client_in(request: &Request, networks: &[Network]) -> bool {
    let Some(context) = RequestContext::of(request) else { return false };
    let address = context.peer_address().ip().to_canonical();
    networks.iter().any(|network| network.contains(address))
}

fn is_protocol_of(request: &Request, protocols: &[Protocol]) -> bool {
    RequestContext::of(request).is_some_and(|context| protocols.contains(&context.protocol()))
}

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
        let network = Self { address, bits: bits.ok_or(NotANetwork::Malformed)? };
        if network.first() == address { Ok(network) } else { Err(NotANetwork::HostBits) }
    }
}

impl Network {
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

    fn request(method: Method, uri: &str, header: (&str, &str)) -> Request {
        let request = http::Request::builder().method(method).uri(uri).header(header.0, header.1);
        request.body(sterna_net::Body::empty()).expect("a request")
    }

    #[test]
    fn every_kind_must_hold_and_one_of_a_list_is_enough() {
        let conditions = Conditions {
            methods: vec![Method::GET, Method::HEAD],
            headers: vec![(HeaderName::from_static("x-env"), Wanted::Equal("beta".into()))],
            query: vec![("v".into(), Wanted::Equal("2".into())), ("debug".into(), Wanted::Present)],
            ..Conditions::default()
        };
        for (method, uri, header, holds) in [
            (Method::GET, "/?v=2&debug", ("x-env", "beta"), true),
            (Method::HEAD, "/?debug=1&v=2", ("x-env", "beta"), true),
            (Method::POST, "/?v=2&debug", ("x-env", "beta"), false),
            (Method::GET, "/?v=22&debug", ("x-env", "beta"), false),
            (Method::GET, "/?v=2", ("x-env", "beta"), false),
            (Method::GET, "/?v=2&debug", ("x-env", "beta2"), false),
            (Method::GET, "/", ("x-env", "beta"), false),
        ] {
            assert_eq!(conditions.hold(&request(method, uri, header)), holds, "{uri} {header:?}");
        }
    }

    #[test]
    fn a_condition_on_the_way_holds_for_no_request_that_came_no_way() {
        let anyone = Conditions { clients: vec![network("0.0.0.0/0")], ..Conditions::default() };
        let http3 = Conditions { protocols: vec![Protocol::Http3], ..Conditions::default() };
        for conditions in [anyone, http3] {
            assert!(!conditions.hold(&request(Method::GET, "/", ("a", "b"))));
        }
    }

    #[test]
    fn more_conditions_come_first_and_then_the_kinds_in_their_order() {
        let header = |value: Wanted| vec![(HeaderName::from_static("a"), value)];
        let of_method = Conditions { methods: vec![Method::GET], ..Conditions::default() };
        let of_value =
            Conditions { headers: header(Wanted::Equal("1".into())), ..Default::default() };
        let of_field = Conditions { headers: header(Wanted::Present), ..Conditions::default() };
        let of_near = Conditions { clients: vec![network("10.0.0.0/24")], ..Conditions::default() };
        let of_far = Conditions { clients: vec![network("10.0.0.0/8")], ..Conditions::default() };
        let of_two = Conditions { methods: vec![Method::GET], ..of_field.clone() };
        let sorted =
            [of_two, of_method, of_value, of_field, of_near, of_far, Conditions::default()];
        let mut again: Vec<Conditions> = sorted.iter().rev().cloned().collect();
        again.sort_by_key(Conditions::rank);
        assert_eq!(again, sorted);
    }

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
}
