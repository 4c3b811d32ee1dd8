//! Which route a request takes.
//!
//! The most specific route wins, in whatever order the routes were written: first by its host ([`host`]), then by its
//! path ([`path`]), then by its other conditions ([`condition`]). Finding it costs the same among ten routes and
//! among ten thousand.

use std::fmt;
use std::ops::ControlFlow;

pub use self::condition::Conditions;
use self::host::Hosts;
pub use self::path::Pattern;
use self::path::Tree;
use crate::error::Error;
use crate::handler::{self, Handler};
use crate::middleware::{self, Middleware};
use crate::{Request, Response};

pub mod condition;
pub mod host;
pub mod path;

/// What a user writes for a route.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which hosts take it.
    pub host: host::Pattern,
    /// Which paths take it.
    pub path: Pattern,
    /// What else must be so.
    pub conditions: Conditions,
    /// What a request passes on its way down, outermost first.
    pub middleware: Vec<middleware::Config>,
    /// What answers.
    pub handler: handler::Config,
}

impl Config {
    /// A route of every host, without conditions and middlewares.
    pub fn new(path: Pattern, handler: handler::Config) -> Self {
        let (host, conditions, middleware) = Default::default();
        Self { host, path, conditions, middleware, handler }
    }

    fn build(&self) -> Route {
        Route {
            path: self.path.clone(),
            conditions: self.conditions.clone(),
            middleware: self.middleware.iter().map(middleware::Config::build).collect(),
            handler: self.handler.build(),
        }
    }
}

/// Every route of a gateway.
#[derive(Debug)]
pub(crate) struct Router {
    hosts: Hosts<Tree<Route>>,
    /// For requests that no route takes.
    nowhere: Route,
}

impl Router {
    pub(crate) fn new(configs: &[Config]) -> Self {
        let mut hosts = Hosts::<Tree<Route>>::default();
        let mut configs: Vec<&Config> = configs.iter().collect();
        configs.sort_by_cached_key(|config| config.conditions.rank());
        for config in configs {
            hosts.entry(&config.host).entry(&config.path).push(config.build());
        }
        let nowhere = Config::new(Pattern::any(), handler::Config::NotFound).build();
        Self { hosts, nowhere }
    }

    /// The route that `request` takes.
    pub(crate) fn find(&self, request: &Request) -> &Route {
        let routes = self.hosts.find(request);
        let found = routes.and_then(|routes| {
            let path = path::decoded(request.uri().path());
            routes.find(&path, |route| route.conditions.hold(request))
        });
        found.unwrap_or(&self.nowhere)
    }
}

/// A way through the gateway: middlewares, then a handler.
pub(crate) struct Route {
    conditions: Conditions,
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
