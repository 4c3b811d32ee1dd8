//! Who may come in by address: 403 for all others.

use sterna_net::Network;

use super::{Middleware, Step};
use crate::Request;
use crate::error::Error;
use crate::exchange::Exchange;

/// Configuration of `allow` and `deny`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Those who may; empty is everyone.
    pub allow: Vec<Network>,
    /// Those who may not, whatever `allow` says.
    pub deny: Vec<Network>,
}

impl Config {
    /// Whether it keeps nobody out.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    pub(crate) fn build(&self) -> Networks {
        Networks { config: self.clone() }
    }
}

/// Lets clients of some networks pass.
#[derive(Debug)]
pub(crate) struct Networks {
    config: Config,
}

impl Middleware for Networks {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        let Config { allow, deny } = &self.config;
        // Who came no way that is known is in no network, and may be in one that is denied.
        let Some(client) = exchange.client(request) else { return Step::refuse(Error::Denied) };
        let is_in = |networks: &[Network]| networks.iter().any(|one| one.contains(client));
        if is_in(deny) || !(allow.is_empty() || is_in(allow)) {
            return Step::refuse(Error::Denied);
        }
        Step::pass()
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use sterna_net::Body;

    use super::*;

    fn passes(allow: &[&str], deny: &[&str], client: Option<&str>) -> bool {
        let networks = |texts: &[&str]| {
            texts.iter().map(|text| text.parse().expect("a network")).collect::<Vec<_>>()
        };
        let station = Config { allow: networks(allow), deny: networks(deny) }.build();
        let mut request = Request::new(Body::empty());
        let client = client.map(|client| client.parse().expect("an address"));
        let mut exchange = Exchange::of_client(client, &request);
        match station.on_request(&mut exchange, &mut request) {
            Step::Now(ControlFlow::Continue(())) => true,
            Step::Now(ControlFlow::Break(Err(Error::Denied))) => false,
            _ => panic!("another answer"),
        }
    }

    #[test]
    fn those_allowed_pass_and_those_denied_do_not_whatever_is_allowed() {
        let (inner, all) = (&["10.0.0.0/8", "2001:db8::/32"][..], &["0.0.0.0/0", "::/0"][..]);
        for (allow, deny, client, expected) in [
            (inner, &[][..], "10.255.255.255", true),
            (inner, &[], "11.0.0.0", false),
            (inner, &[], "2001:db8::1", true),
            (inner, &[], "2001:db9::1", false),
            (&[], inner, "10.0.0.1", false),
            (&[], inner, "11.0.0.0", true),
            (inner, &["10.0.0.7"], "10.0.0.7", false),
            (inner, &["10.0.0.7"], "10.0.0.8", true),
            (all, inner, "10.0.0.1", false),
            (all, inner, "192.0.2.1", true),
            (all, inner, "::1", true),
        ] {
            assert_eq!(passes(allow, deny, Some(client)), expected, "{allow:?} {deny:?} {client}");
        }
    }

    #[test]
    fn who_came_no_way_that_is_known_does_not_pass() {
        assert!(!passes(&["0.0.0.0/0"], &[], None));
        assert!(!passes(&[], &["10.0.0.0/8"], None));
    }
}
