//! What a request passes on its way to the handler, and its response on the way back.
//!
//! To add a middleware: write `middleware/<name>.rs` with its `Config`, `build` and tests, add its
//! variant to [`Config`] and its arm to [`Config::build`]. Nothing else changes.

use std::ops::ControlFlow;

use crate::{Request, Response};

pub mod body_limit;
pub mod headers;

/// A station between the route and its handler.
pub trait Middleware {
    /// Lets a request pass, changed or not, or answers it here.
    fn on_request(&self, request: Request) -> ControlFlow<Response, Request> {
        ControlFlow::Continue(request)
    }

    /// Sees the answer to a request that it let pass or answered.
    fn on_response(&self, response: Response) -> Response {
        response
    }
}

/// Which middleware, and how.
#[derive(Clone, Debug)]
pub enum Config {
    /// How much a client may send.
    BodyLimit(body_limit::Config),
    /// Fields of requests and responses, set or removed.
    Headers(headers::Config),
}

impl Config {
    pub(crate) fn build(&self) -> Box<dyn Middleware> {
        match self {
            Self::BodyLimit(config) => Box::new(config.build()),
            Self::Headers(config) => Box::new(config.build()),
        }
    }
}
