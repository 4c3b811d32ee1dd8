//! Passes requests on to an upstream, and its responses back.
//!
//! Both ways are streams: nothing is held back that could go on, and nothing is read that the other side does not take.
//! What a message looks like on the other side is decided in one place, [`message`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use http::uri::Authority;
use sterna_net::client::{BuildError, Message};

use self::attempt::{Attempt, Tried};
use self::clients::{Clients, Way};
use self::content::pass_on;
use self::early::TooEarly;
use self::failure::Failure;
use self::message::Via;
use self::upload::{Fault, Why, Wrong};
use super::Handler;
use crate::error::{Error, ProxyError, Unpassed};
use crate::exchange::Exchange;
use crate::forwarded::Style;
use crate::shared::Build;
use crate::upstream::{self, Upstream, Wanted};
use crate::{Request, Response};

mod address;
mod attempt;
mod clients;
mod content;
mod early;
mod failure;
mod message;
mod reach;
mod upload;
mod warm;

pub use self::address::NotAnAddress;
pub(crate) use self::failure::Cause;
pub use self::reach::{Pool, Reach, Timeouts, Trust};

/// Configuration of the handler.
#[derive(Clone, Debug)]
pub struct Config {
    /// Backends, and how one is chosen.
    pub upstream: upstream::Config,
    /// How they are reached.
    pub reach: Reach,
    /// The name of this server in `Via` and `Proxy-Status`.
    pub name: Arc<str>,
    /// Which host they are told.
    pub host: ToldHost,
    /// How often a request may be sent again when that is safe.
    pub retries: u32,
    /// How long one attempt may take until its response begins; the next one follows if it is safe.
    pub try_timeout: Option<Duration>,
    /// Fields whose names have an underscore are passed on.
    pub underscores: bool,
    /// In which fields they are told of the client.
    pub forwarded: Style,
}

impl Config {
    /// These backends, with every default.
    ///
    /// # Errors
    /// On a system without trusted certificates, when a backend is reached over TLS.
    pub fn new(upstream: upstream::Config) -> Result<Self, BuildError> {
        let (trust, timeouts, pool) = Default::default();
        Ok(Self {
            reach: Reach::new(trust, timeouts, pool, &upstream)?,
            upstream,
            name: Arc::from("sterna"),
            host: ToldHost::Client,
            retries: 1,
            try_timeout: None,
            underscores: false,
            forwarded: Style::default(),
        })
    }

    pub(crate) fn build(&self, build: Build<'_>) -> Proxy {
        let upstream = build.shared.upstream(&self.upstream);
        Proxy {
            clients: Clients::new(self.reach.clone(), &upstream),
            upstream,
            via: Via::new(&self.name),
            name: self.name.clone(),
            host: self.host.clone(),
            retries: self.retries,
            try_timeout: self.try_timeout,
            underscores: self.underscores,
            forwarded: self.forwarded,
        }
    }
}

/// Which host a backend is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToldHost {
    /// That of the request.
    Client,
    /// That of its own address.
    Backend,
    /// This one.
    Fixed(Authority),
}

/// Passes requests on.
#[derive(Debug)]
pub(crate) struct Proxy {
    upstream: Arc<Upstream>,
    clients: Clients,
    via: Via,
    name: Arc<str>,
    host: ToldHost,
    retries: u32,
    try_timeout: Option<Duration>,
    underscores: bool,
    forwarded: Style,
}

impl Handler for Proxy {
    async fn handle(
        &self,
        exchange: &mut Exchange,
        request: &mut Request,
    ) -> Result<Response, Error> {
        if let Some(answer) = message::answered_here(request)? {
            return Ok(answer);
        }
        let fault = Fault::of(request.body());
        let mut early = TooEarly::of(request);
        let mut message = message::request(exchange, request, self, &fault)?;
        let mut tried = Tried::default();
        self.upstream.resolved(RESOLVED_WITHIN).await;
        match self.pass(exchange, request, &mut message, &mut tried, &mut early).await {
            Ok(response) => Ok(response),
            Err(why) => Err(self.give_up(exchange, request, message, &tried, fault.or(why))),
        }
    }
}

impl Proxy {
    /// Picks, sends, and answers or tries again.
    async fn pass(
        &self,
        exchange: &mut Exchange,
        request: &Request,
        message: &mut Message,
        tried: &mut Tried,
        early: &mut TooEarly,
    ) -> Result<Response, ProxyError> {
        loop {
            let attempt = self.pick(exchange, request, message, tried)?;
            match self.send(&attempt, message).await {
                Ok(response) if early.waits(&response, message, request).await => {}
                Ok(response) => {
                    let is_head = *request.method() == Method::HEAD;
                    return Ok(pass_on(exchange, attempt, response, tried, is_head));
                }
                Err(failure) => {
                    let (why, may_try_again) =
                        (failure.reason(), self.may_try_again(message, tried, &failure));
                    tried.failed(attempt, failure);
                    if !may_try_again {
                        return Err(why);
                    }
                }
            }
        }
    }

    /// A backend that has not been tried.
    fn pick(
        &self,
        exchange: &Exchange,
        request: &Request,
        message: &Message,
        tried: &Tried,
    ) -> Result<Attempt, ProxyError> {
        let wanted = Wanted { client: exchange.client(request), headers: message.headers() };
        let now = Instant::now();
        let pick = self.upstream.pick(&wanted, tried.backends(), now);
        // Why the last one failed says more than that there is no other.
        pick.map(|pick| Attempt::begin(pick, now))
            .map_err(|none| tried.reason().unwrap_or(none.into()))
    }

    /// One attempt, up to the head of a response.
    async fn send(
        &self,
        attempt: &Attempt,
        message: &mut Message,
    ) -> Result<http::Response<sterna_net::Body>, Failure> {
        let Way { client, origin, .. } = &*self.clients.way(attempt.backend())?;
        let sent = client.send_to(origin, message);
        let response = match self.try_timeout {
            None => sent.await?,
            Some(limit) => tokio::time::timeout(limit, sent).await.map_err(|_| Failure::Late)??,
        };
        // Nobody has asked for another protocol.
        if response.status().is_informational() {
            return Err(Failure::NoResponse);
        }
        if message::is_coded(response.headers()) {
            return Err(Failure::Coded);
        }
        Ok(response)
    }

    /// Never what may have had an effect: only what was not processed, or what does no harm twice.
    fn may_try_again(&self, message: &Message, tried: &Tried, failure: &Failure) -> bool {
        let is_safe = failure.is_unsent() || message.is_idempotent();
        is_safe
            && failure.is_of_this_attempt()
            && message.is_replayable()
            && tried.count() < self.retries
            && self.upstream.may_retry(Instant::now())
    }

    /// Notes why, and gives the request its fields back: the page of an error depends on them.
    fn give_up(
        &self,
        exchange: &mut Exchange,
        request: &mut Request,
        message: Message,
        tried: &Tried,
        why: Why,
    ) -> Error {
        exchange.proxied = Some(Box::new(tried.proxied(why.as_error())));
        *request.headers_mut() = message.into_headers();
        match why {
            Why::Client(Wrong::TooLarge) => Error::TooLarge,
            Why::Client(Wrong::TooSlow) => Error::TooSlow,
            Why::Client(Wrong::Broken) | Why::Backend(_) => {
                self.refusal(why.as_error(), tried.cause())
            }
        }
    }

    /// The error that says so under our name.
    fn refusal(&self, why: ProxyError, cause: Option<Cause>) -> Error {
        Error::Unpassed(Box::new(Unpassed { why, name: self.name.clone(), cause }))
    }
}

/// How long the first requests wait for the names of backends to be looked up.
const RESOLVED_WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
