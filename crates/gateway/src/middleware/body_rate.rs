//! How fast a client must send what it sends, where that is not as everywhere.

use sterna_net::limit::MinRate;

use super::{Middleware, Step};
use crate::Request;
use crate::exchange::Exchange;

/// Configuration of `body_rate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The least rate, or none.
    pub rate: Option<MinRate>,
}

impl Config {
    pub(crate) fn build(&self) -> BodyRate {
        BodyRate { rate: self.rate }
    }
}

/// Tells the endpoint.
#[derive(Debug)]
pub(crate) struct BodyRate {
    rate: Option<MinRate>,
}

impl Middleware for BodyRate {
    fn on_request<'a>(&'a self, _: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        request.body_mut().min_rate(self.rate);
        Step::pass()
    }
}
