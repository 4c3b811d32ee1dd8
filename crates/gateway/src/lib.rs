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
//! use sterna_gateway::{Config, Gateway, handler};
//!
//! # fn serve(bound: sterna_net::Bound) -> Result<(), sterna_net::ServeError> {
//! let hello = handler::Config::Respond(respond::Config::text("hello"));
//! let config = Config { routes: vec![route::Config::new(Pattern::any(), hello)] };
//! bound.serve_with(move |_worker| Gateway::new(&config, None))?.wait()
//! # }
//! ```
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::Method;
use tower_service::Service;

pub mod access_log;
mod body;
pub mod config;
mod error;
pub mod handler;
pub mod middleware;
pub mod route;

pub use self::access_log::AccessLog;
use self::access_log::{Entry, Recorder};
pub use self::body::Body;
pub use self::error::Error;
use self::route::Router;

/// What comes in.
pub type Request = http::Request<sterna_net::Body>;

/// What goes out.
pub type Response = http::Response<Body>;

/// What a gateway does; shared by its workers.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Routes in any order: the most specific wins.
    pub routes: Vec<route::Config>,
}

/// Answers requests: the tower service of one worker.
#[derive(Clone, Debug)]
pub struct Gateway {
    router: Rc<Router>,
    recorder: Option<Recorder>,
}

impl Gateway {
    /// A gateway for one worker; without a recorder it keeps no access log.
    pub fn new(config: &Config, recorder: Option<Recorder>) -> Self {
        Self { router: Rc::new(Router::new(&config.routes)), recorder }
    }

    /// Answers one request. This is the whole life of a request, top to bottom.
    ///
    /// # Cancel safety
    /// Dropping the future ends the work for the request, and logs it without a status.
    pub async fn handle(&self, request: Request) -> Response {
        let exchange = Exchange::begin(&request, self.recorder.as_ref());
        let route = self.router.find(&request);
        let (entered, response) = route.down(request).await;
        let response = route.up(entered, response);
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

    fn call(&mut self, request: Request) -> Self::Future {
        let gateway = self.clone();
        Box::pin(async move { Ok(gateway.handle(request).await) })
    }
}

/// What is remembered of a request until its response has ended.
struct Exchange {
    is_head: bool,
    entry: Option<Box<Entry>>,
}

impl Exchange {
    fn begin(request: &Request, recorder: Option<&Recorder>) -> Self {
        Self {
            is_head: request.method() == Method::HEAD,
            entry: recorder.map(|recorder| Box::new(Entry::begin(request, recorder))),
        }
    }

    /// The response as it leaves: its body writes the access log once it has ended.
    fn end(self, response: Response) -> Response {
        let (head, body) = response.into_parts();
        // HEAD is answered with the head of GET (RFC 9110 §9.3.2), whoever made it.
        // req: 9110-9.3.2-no-content
        let body = if self.is_head { Body::empty() } else { body };
        let mut entry = self.entry;
        if let Some(entry) = &mut entry {
            entry.answered(head.status, body.is_empty());
        }
        Response::from_parts(head, body.watched_by(entry))
    }
}

#[cfg(test)]
mod tests;
