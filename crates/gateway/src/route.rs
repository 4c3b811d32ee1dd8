//! Which route a request takes.
//!
//! The most specific pattern wins, in whatever order the routes were written: an exact path before
//! a prefix, a longer prefix before a shorter. Paths are compared as they were sent.

use std::fmt;
use std::ops::ControlFlow;

use crate::error::Error;
use crate::handler::{self, Handler};
use crate::middleware::{self, Middleware};
use crate::{Request, Response};

/// What a user writes for a route.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which paths take it.
    pub path: Pattern,
    /// What a request passes on its way down, outermost first.
    pub middleware: Vec<middleware::Config>,
    /// What answers.
    pub handler: handler::Config,
}

impl Config {
    fn build(&self) -> Route {
        Route {
            path: self.path.clone(),
            middleware: self.middleware.iter().map(middleware::Config::build).collect(),
            handler: self.handler.build(),
        }
    }
}

/// Which paths take a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// This path and no other.
    Exact(String),
    /// Every path that begins so.
    Prefix(String),
}

impl Pattern {
    /// Every path.
    pub fn any() -> Self {
        Self::Prefix(String::new())
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => path.starts_with(prefix),
        }
    }

    /// Greater is more specific.
    fn rank(&self) -> (bool, usize) {
        match self {
            Self::Exact(exact) => (true, exact.len()),
            Self::Prefix(prefix) => (false, prefix.len()),
        }
    }
}

/// Every route of a gateway.
#[derive(Debug)]
pub(crate) struct Router {
    /// Most specific first.
    routes: Vec<Route>,
    /// For requests that no pattern matches.
    nowhere: Route,
}

impl Router {
    pub(crate) fn new(configs: &[Config]) -> Self {
        let mut routes: Vec<Route> = configs.iter().map(Config::build).collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.path.rank()));
        let nowhere = Config {
            path: Pattern::any(),
            middleware: Vec::new(),
            handler: handler::Config::NotFound,
        };
        Self { routes, nowhere: nowhere.build() }
    }

    /// The route that `request` takes.
    pub(crate) fn find(&self, request: &Request) -> &Route {
        let path = request.uri().path();
        self.routes.iter().find(|route| route.path.matches(path)).unwrap_or(&self.nowhere)
    }
}

/// A way through the gateway: middlewares, then a handler.
pub(crate) struct Route {
    path: Pattern,
    middleware: Vec<Box<dyn Middleware>>,
    handler: handler::Built,
}

impl Route {
    /// Down through the middlewares to the handler: how many were entered, and the answer.
    pub(crate) async fn down(&self, mut request: Request) -> (usize, Response) {
        for (i, middleware) in self.middleware.iter().enumerate() {
            match middleware.on_request(request) {
                ControlFlow::Continue(passed) => request = passed,
                ControlFlow::Break(answer) => return (i + 1, answer),
            }
        }
        let answer = self.handler.handle(&mut request).await;
        (self.middleware.len(), answer.unwrap_or_else(Error::into_response))
    }

    /// Up again, through those that saw the request, in reverse order.
    pub(crate) fn up(&self, entered: usize, response: Response) -> Response {
        let seen = self.middleware[..entered].iter().rev();
        seen.fold(response, |response, middleware| middleware.on_response(response))
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("path", &self.path).finish_non_exhaustive()
    }
}
