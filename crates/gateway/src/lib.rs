//! What to do with a request: routes, middlewares, handlers, and the access log.
//!
//! ```text
//!  Request ─▶ Router::find ─▶ middlewares ─▶ handler
//!                                               │
//!  access log ◀─ body ended ◀─ middlewares ◀─ Response
//! ```
//!
//! A [`Gateway`] belongs to one worker and is made on its thread from a [`Config`] that all workers
//! share; what crosses threads is the log. The versions of HTTP have met before: nothing here asks
//! which one it is, but for telling people.
//!
//! # Example
//! ```no_run
//! use sterna_gateway::handler::respond;
//! use sterna_gateway::route::{self, Pattern};
//! use sterna_gateway::{Config, Gateway, Shared, handler};
//!
//! # fn serve(bound: sterna_net::Bound) -> Result<(), sterna_net::ServeError> {
//! let hello = handler::Config::Respond(respond::Config::text("hello"));
//! let config = Config {
//!     routes: vec![route::Config::new(Pattern::any(), hello)],
//!     ..Config::default()
//! };
//! let shared = Shared::default();
//! bound.serve_with(move |_worker| Gateway::new(&config, &shared, None))?.wait()
//! # }
//! ```
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tower_service::Service;

pub mod access_log;
mod body;
pub mod client;
pub mod config;
mod encoding;
mod error;
mod exchange;
pub mod forwarded;
pub mod handler;
mod hop;
pub mod metrics;
pub mod middleware;
mod random;
pub mod route;
mod shared;
pub mod upstream;
mod vary;
mod weight;

pub use self::access_log::AccessLog;
use self::access_log::Recorder;
pub use self::body::{Body, BodyError};
pub use self::encoding::Coding;
pub use self::error::{Error, ProxyError, Unpassed};
pub use self::exchange::Exchange;
use self::metrics::Metrics;
use self::route::Router;
use self::shared::Build;
pub use self::shared::{LimitFigures, Shared};

/// What comes in.
pub type Request = http::Request<sterna_net::Body>;

/// What goes out.
pub type Response = http::Response<Body>;

/// What a gateway does; shared by its workers.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Routes in any order: the most specific wins.
    pub routes: Vec<route::Config>,
    /// Who is believed to say for whom it speaks.
    pub client: client::Config,
}

/// Answers requests: the tower service of one worker.
#[derive(Clone, Debug)]
pub struct Gateway {
    router: Rc<Router>,
    client: Rc<client::Config>,
    metrics: Metrics,
    recorder: Option<Recorder>,
}

impl Gateway {
    /// A gateway for one worker; without a recorder it keeps no access log.
    pub fn new(config: &Config, shared: &Shared, recorder: Option<Recorder>) -> Self {
        let router = Router::new(&config.routes, Build { shared, path: None });
        let (client, metrics) = (Rc::new(config.client.clone()), shared.metrics().clone());
        Self { router: Rc::new(router), client, metrics, recorder }
    }

    /// Answers one request, which is borrowed so that the future is not as large as several of it. This is the whole life
    /// of a request, top to bottom.
    ///
    /// # Cancel safety
    /// Dropping the future ends the work for the request, and logs it without a status.
    pub async fn handle(&self, request: &mut Request) -> Response {
        let mut exchange = Exchange::begin(request, self.recorder.as_ref());
        exchange.watch_content(request);
        exchange.identify(&self.client, request);
        hop::take_named(request.headers_mut());
        let route = self.router.find(request, &exchange);
        exchange.takes(route.metrics(), &self.metrics, request);
        let (entered, response) = route.down(&mut exchange, request).await;
        let response = route.up(entered, &mut exchange, response);
        exchange.end(response)
    }
}

impl Service<Request> for Gateway {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>>>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let gateway = self.clone();
        Box::pin(async move { Ok(gateway.handle(&mut request).await) })
    }
}

#[cfg(test)]
mod tests;
