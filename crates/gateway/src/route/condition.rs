//! What a request must be, beside its host and path, for a route to take it.
//!
//! All kinds that are given must hold; within `method`, `client` and `protocol` one of the list is enough. Among routes
//! of the same path the one with more conditions comes first; with as many, a condition on the method counts more than
//! one on fields, then the query, then the client (a smaller network more than a larger), then the protocol. The order in
//! which routes are written never decides: what is left is decided by the text of the conditions.

use std::cmp::Reverse;
use std::fmt;
use std::net::IpAddr;

use http::header::ACCESS_CONTROL_REQUEST_METHOD;
use http::{HeaderName, Method};
pub use sterna_net::{Network, NotANetwork};
use sterna_net::{Protocol, RequestContext};

use crate::Request;
use crate::middleware::cors;

/// The conditions of a route; empty ones hold for every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// One of these methods.
    pub methods: Vec<Method>,
    /// Whether a preflight counts as the method that it asks about.
    pub preflights: bool,
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
        let preflights = self.preflights;
        *self == Self { preflights, ..Self::default() }
    }

    /// Whether `request` holds them all; `client` is asked for the address of its client if that matters.
    pub(super) fn hold(&self, request: &Request, client: impl Fn() -> Option<IpAddr>) -> bool {
        let Self { methods, preflights, headers, query, clients, protocols } = self;
        (methods.is_empty()
            || methods.contains(request.method())
            || (*preflights && asks_about_one_of(request, methods)))
            && headers.iter().all(|(name, wanted)| {
                let values = request.headers().get_all(name);
                values.iter().any(|value| wanted.is(value.as_bytes()))
            })
            && query.iter().all(|(key, wanted)| has_pair(request, key, wanted))
            && (clients.is_empty() || is_client_in(client(), clients))
            && (protocols.is_empty() || is_protocol_of(request, protocols))
    }

    /// Sorts the most specific first.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        let Self { methods, preflights: _, headers, query, clients, protocols } = self;
        let kind = |is_empty: bool| usize::from(!is_empty);
        let (method, client) = (kind(methods.is_empty()), kind(clients.is_empty()));
        let protocol = kind(protocols.is_empty());
        let all = method + headers.len() + query.len() + client + protocol;
        let equal = |wanted: &Wanted| usize::from(*wanted != Wanted::Present);
        let exact = headers.iter().map(|(_, wanted)| equal(wanted)).sum::<usize>()
            + query.iter().map(|(_, wanted)| equal(wanted)).sum::<usize>();
        let bits = clients.iter().map(|network| network.bits()).min().unwrap_or(0);
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

/// Whether it is a preflight for one of these methods.
fn asks_about_one_of(request: &Request, methods: &[Method]) -> bool {
    let asked = request.headers().get(ACCESS_CONTROL_REQUEST_METHOD);
    cors::is_preflight(request)
        && asked.is_some_and(|asked| {
            methods.iter().any(|method| method.as_str().as_bytes() == asked.as_bytes())
        })
}

fn has_pair(request: &Request, key: &str, wanted: &Wanted) -> bool {
    let pairs = request.uri().query().into_iter().flat_map(|query| query.split('&'));
    let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.any(|(name, value)| name == key && wanted.is(value.as_bytes()))
}

fn is_client_in(client: Option<IpAddr>, networks: &[Network]) -> bool {
    client.is_some_and(|address| networks.iter().any(|network| network.contains(address)))
}

fn is_protocol_of(request: &Request, protocols: &[Protocol]) -> bool {
    RequestContext::of(request).is_some_and(|context| protocols.contains(&context.protocol()))
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
            assert_eq!(
                conditions.hold(&request(method, uri, header), || None),
                holds,
                "{uri} {header:?}"
            );
        }
    }

    #[test]
    fn a_condition_on_the_way_holds_for_no_request_that_came_no_way() {
        let anyone = Conditions { clients: vec![network("0.0.0.0/0")], ..Conditions::default() };
        let http3 = Conditions { protocols: vec![Protocol::Http3], ..Conditions::default() };
        for conditions in [anyone, http3] {
            assert!(!conditions.hold(&request(Method::GET, "/", ("a", "b")), || None));
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
}
