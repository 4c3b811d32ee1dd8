//! What answers a request at the end of its route.
//!
//! To add a handler: write `handler/<name>.rs` with its `Config`, `build` and tests, add its variant
//! to [`Config`] and [`Built`] and its arms below. Nothing else changes.

use http::Method;

use crate::error::Error;
use crate::exchange::Exchange;
use crate::shared::Build;
use crate::{Request, Response};

pub mod challenge;
pub mod files;
pub mod proxy;
pub mod redirect;
pub mod respond;
pub mod welcome;

/// Answers the requests of a route.
pub trait Handler {
    /// Answers one request, whose content may be taken out of it; an error becomes its page.
    ///
    /// # Cancel safety
    /// Dropping the future, as when the client is gone, ends the work for this request.
    fn handle(
        &self,
        exchange: &mut Exchange,
        request: &mut Request,
    ) -> impl Future<Output = Result<Response, Error>>;
}

/// Which handler, and how.
#[derive(Clone, Debug)]
pub enum Config {
    /// Files of a directory.
    Files(files::Config),
    /// An upstream.
    Proxy(Box<proxy::Config>),
    /// Elsewhere.
    Redirect(redirect::Config),
    /// What authorities ask for before they issue a certificate.
    Challenge(challenge::Tokens),
    /// One fixed answer.
    Respond(respond::Config),
    /// The page of a server that has nothing else to serve yet.
    Welcome(welcome::Config),
    /// 404.
    NotFound,
    /// 400.
    Malformed,
}

impl Config {
    pub(crate) fn build(&self, build: Build<'_>) -> Built {
        match self {
            Self::Files(config) => Built::Files(config.build()),
            Self::Proxy(config) => Built::Proxy(Box::new(config.build(build))),
            Self::Redirect(config) => Built::Redirect(config.build()),
            Self::Challenge(tokens) => Built::Challenge(tokens.build()),
            Self::Respond(config) => Built::Respond(config.build()),
            Self::Welcome(config) => Built::Welcome(config.build()),
            Self::NotFound => Built::NotFound,
            Self::Malformed => Built::Malformed,
        }
    }
}

/// Any handler. An enum and no `dyn`: the future of each lies in that of the request, without a box.
#[derive(Debug)]
pub(crate) enum Built {
    Files(files::Files),
    Proxy(Box<proxy::Proxy>),
    Redirect(redirect::Redirect),
    Challenge(challenge::Challenge),
    Respond(respond::Respond),
    Welcome(welcome::Welcome),
    NotFound,
    Malformed,
}

impl Handler for Built {
    async fn handle(
        &self,
        exchange: &mut Exchange,
        request: &mut Request,
    ) -> Result<Response, Error> {
        match self {
            Self::Files(files) => files.handle(exchange, request).await,
            // In a box of its own: what waits for a backend is large, and no other handler should pay for it.
            Self::Proxy(proxy) => Box::pin(proxy.handle(exchange, request)).await,
            Self::Redirect(redirect) => redirect.handle(exchange, request).await,
            Self::Challenge(challenge) => challenge.handle(exchange, request).await,
            Self::Respond(respond) => respond.handle(exchange, request).await,
            Self::Welcome(welcome) => welcome.handle(exchange, request).await,
            Self::NotFound => Err(Error::NotFound),
            Self::Malformed => Err(Error::Malformed),
        }
    }
}

/// Refuses what is neither GET nor HEAD.
fn only_reads(request: &Request) -> Result<(), Error> {
    match *request.method() {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Error::MethodNotAllowed { allow: "GET, HEAD" }),
    }
}
