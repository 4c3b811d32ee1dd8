//! Which route a request takes.
//!
//! The most specific route wins, in whatever order the routes were written: first by its host ([`host`]), then by its
//! path ([`path`]), then by its other conditions ([`condition`]). Finding it costs the same among ten routes and
//! among ten thousand.

use std::fmt;
use std::ops::ControlFlow;
use std::ptr;

pub use self::condition::Conditions;
use self::host::Hosts;
pub use self::path::Pattern;
use self::path::Tree;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::handler::{self, Handler};
use crate::metrics::RouteMetrics;
use crate::middleware::{self, Middleware};
use crate::shared::Build;
use crate::{Request, Response};

pub mod condition;
pub mod host;
pub mod path;
mod reading;

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
    /// What answers in its place, when [`canary`](middleware::canary) says so.
    pub canary: Option<handler::Config>,
}

impl Config {
    /// A route of every host, without conditions and middlewares.
    pub fn new(path: Pattern, handler: handler::Config) -> Self {
        let (host, conditions, middleware) = Default::default();
        Self { host, path, conditions, middleware, handler, canary: None }
    }

    fn build(&self, build: Build<'_>) -> Route {
        let build = Build { path: Some(&self.path), ..build };
        Route {
            metrics: RouteMetrics::new(self.host.to_string(), self.path.to_string()),
            path: self.path.clone(),
            conditions: self.conditions.clone(),
            middleware: self.middleware.iter().map(|config| config.build(build)).collect(),
            handler: self.handler.build(build),
            canary: self.canary.as_ref().map(|handler| handler.build(build)),
        }
    }
}

/// Every route of a gateway.
#[derive(Debug)]
pub(crate) struct Router {
    hosts: Hosts<Tree<Route>>,
    /// For requests that no route takes.
    nowhere: Route,
    /// For targets that a backend could take for those of another route.
    ambiguous: Route,
}

impl Router {
    pub(crate) fn new(configs: &[Config], build: Build<'_>) -> Self {
        let mut hosts = Hosts::<Tree<Route>>::default();
        let mut configs: Vec<&Config> = configs.iter().collect();
        configs.sort_by_cached_key(|config| config.conditions.rank());
        for config in configs {
            hosts.entry(&config.host).entry(&config.path).push(config.build(build));
        }
        let none = |handler| {
            let route = Config::new(Pattern::any(), handler).build(build);
            Route { metrics: RouteMetrics::new("none".into(), "none".into()), ..route }
        };
        let nowhere = none(handler::Config::NotFound);
        Self { hosts, nowhere, ambiguous: none(handler::Config::Malformed) }
    }

    /// The route that `request` takes.
    ///
    /// Whoever answers may read a path otherwise than it is read here: a path that would take another route then, and so
    /// pass other policies, takes none.
    pub(crate) fn find(&self, request: &Request, exchange: &Exchange) -> &Route {
        if host::has_odd_port(request) {
            return &self.ambiguous;
        }
        let Some(routes) = self.hosts.find(request) else { return &self.nowhere };
        let take = |path: &str| {
            let route = routes
                .find(path, |route| route.conditions.hold(request, || exchange.client(request)));
            route.unwrap_or(&self.nowhere)
        };
        let path = request.uri().path();
        let found = take(&path::decoded(path));
        if reading::is_plain(path) {
            return found;
        }
        let is_found = |reading: String| ptr::eq(take(&reading), found);
        let is_one = reading::others(path).is_some_and(|mut readings| readings.all(is_found));
        if is_one { found } else { &self.ambiguous }
    }
}

/// A way through the gateway: middlewares, then a handler.
pub(crate) struct Route {
    conditions: Conditions,
    path: Pattern,
    metrics: RouteMetrics,
    middleware: Vec<Box<dyn Middleware>>,
    handler: handler::Built,
    canary: Option<handler::Built>,
}

impl Route {
    /// Where its requests are counted.
    pub(crate) fn metrics(&self) -> &RouteMetrics {
        &self.metrics
    }

    /// Down through the middlewares to the handler: how many were entered, and the answer.
    pub(crate) async fn down(
        &self,
        exchange: &mut Exchange,
        request: &mut Request,
    ) -> (usize, Response) {
        let (entered, answer) = self.descend(exchange, request).await;
        (entered, answer.unwrap_or_else(|error| error.into_response(request.headers())))
    }

    async fn descend(
        &self,
        exchange: &mut Exchange,
        request: &mut Request,
    ) -> (usize, Result<Response, Error>) {
        for (i, middleware) in self.middleware.iter().enumerate() {
            let step = middleware.on_request(exchange, request);
            if let ControlFlow::Break(answer) = step.verdict().await {
                return (i + 1, answer);
            }
        }
        let canary = self.canary.as_ref().filter(|_| exchange.is_canary());
        let handler = canary.unwrap_or(&self.handler);
        (self.middleware.len(), handler.handle(exchange, request).await)
    }

    /// Up again, through those that saw the request, in reverse order.
    pub(crate) fn up(
        &self,
        entered: usize,
        exchange: &mut Exchange,
        response: Response,
    ) -> Response {
        let seen = self.middleware.iter().take(entered).rev();
        seen.fold(response, |response, middleware| middleware.on_response(exchange, response))
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("path", &self.path).finish_non_exhaustive()
    }
}
