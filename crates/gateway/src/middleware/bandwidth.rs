//! How fast responses are sent: content leaves at the rate, after a burst of 256 KiB.
//!
//! A client that is far away gets less: its rate is the base × min(1, 100 ms / its round-trip time), so that what is under way
//! to it stays within what a near one has. Whoever shares a rate is served piece by piece in the order of asking.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use sterna_net::RequestContext;
use sterna_net::limit::{Source, Table};
use tokio::time::Sleep;

use self::account::Account;
pub use self::account::{Key, Limit, NotALimit};
use super::{Middleware, Step};
use crate::body::{Body, BodyError};
use crate::exchange::Exchange;
use crate::shared::Build;
use crate::{Request, Response};

mod account;

/// Configuration of `bandwidth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the rate belongs to, such as the site that it is written in.
    pub scope: String,
    /// The route that this is built for, for a rate per route.
    pub route: String,
    /// The rate, and who shares it.
    pub limit: Limit,
}

impl Config {
    pub(crate) fn build(&self, build: Build<'_>) -> Bandwidth {
        let scope = match self.limit.key {
            Key::Response => None,
            Key::Ip | Key::Global => Some(&self.scope),
            Key::Route => Some(&self.route),
        };
        let accounts = scope.map(|scope| {
            let key = (scope.clone(), self.limit.clone());
            build.shared.bandwidths().get_or_make(key, Accounts::default)
        });
        Bandwidth { limit: self.limit.clone(), accounts }
    }
}

/// Holds responses to their rate.
#[derive(Debug)]
pub(crate) struct Bandwidth {
    limit: Limit,
    /// What several responses share, if any do.
    accounts: Option<Arc<Accounts>>,
}

/// The accounts of one limit: of each address, or one of all.
#[derive(Debug)]
pub(crate) struct Accounts(Table<Option<Source>, Account>);

impl Default for Accounts {
    fn default() -> Self {
        Self(Table::new(PLACES, now()))
    }
}

impl Accounts {
    /// Clients whose use is known, and those forgotten because there were too many.
    pub(crate) fn clients(&self) -> (usize, u64) {
        (self.0.len(), self.0.evicted())
    }
}

/// Whose rate a response uses, and how far away its client is.
#[derive(Debug)]
pub(crate) struct Pace {
    limit: Limit,
    purse: Purse,
    context: Option<RequestContext>,
}

/// Where pieces are paid from.
#[derive(Debug)]
enum Purse {
    Own { account: Account, epoch: Instant },
    Shared { accounts: Arc<Accounts>, key: Option<Source> },
}

impl Middleware for Bandwidth {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        let purse = match &self.accounts {
            None => Purse::Own { account: Account::default(), epoch: now() },
            Some(accounts) => {
                let address = exchange.client(request).filter(|_| self.limit.key == Key::Ip);
                Purse::Shared { accounts: accounts.clone(), key: address.map(Source::of) }
            }
        };
        let context = RequestContext::of(request).cloned();
        exchange.pace = Some(Box::new(Pace { limit: self.limit.clone(), purse, context }));
        Step::pass()
    }

    fn on_response(&self, exchange: &mut Exchange, response: Response) -> Response {
        let Some(pace) = exchange.pace.take() else { return response };
        if response.body().is_empty() {
            return response;
        }
        response.map(|body| Body::stream(Paced::new(body, *pace)))
    }
}

impl Pace {
    /// How long the next piece has to wait, which is paid for with this.
    fn wait_for(&mut self, bytes: usize, now: Instant) -> Duration {
        let rtt = self.context.as_ref().and_then(RequestContext::rtt);
        let pay = |account: &mut Account, now| account.pay(&self.limit, bytes, rtt, now);
        match &mut self.purse {
            Purse::Own { account, epoch } => {
                let now = now.saturating_duration_since(*epoch).as_nanos();
                pay(account, u64::try_from(now).unwrap_or(u64::MAX))
            }
            Purse::Shared { accounts, key } => accounts.0.with(*key, now, pay),
        }
    }
}

/// Content that leaves at a pace.
struct Paced {
    content: Body,
    pace: Pace,
    /// Of the content, and not paid for yet.
    rest: Bytes,
    /// Paid for, and to be sent when the timer says so.
    piece: Option<Bytes>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    fn new(content: Body, pace: Pace) -> Self {
        Self { content, pace, rest: Bytes::new(), piece: None, timer: None }
    }
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            if this.piece.is_some()
                && let Some(timer) = &mut this.timer
            {
                ready!(timer.as_mut().poll(context));
            }
            if let Some(piece) = this.piece.take() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if this.rest.is_empty() {
                match ready!(Pin::new(&mut this.content).poll_frame(context)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => this.rest = data,
                        Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                    },
                    end => return Poll::Ready(end),
                }
            }
            let piece = this.rest.split_to(this.rest.len().min(PIECE));
            let now = now();
            let wait = this.pace.wait_for(piece.len(), now);
            this.piece = Some(piece);
            if wait.is_zero() {
                continue;
            }
            let until = (now + wait.min(LONGEST)).into();
            match &mut this.timer {
                Some(timer) => timer.as_mut().reset(until),
                None => this.timer = Some(Box::pin(tokio::time::sleep_until(until))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_none() && self.rest.is_empty() && self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.rest.len() + self.piece.as_ref().map_or(0, Bytes::len);
        let (held, hint) = (held as u64, self.content.size_hint());
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower().saturating_add(held));
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper.saturating_add(held));
        }
        whole
    }
}

/// By the clock of the timers, which a test may hold.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What leaves at once.
const PIECE: usize = 16 * 1024;

/// Addresses whose use is known at once; see [`Table`] for those beyond.
const PLACES: usize = 64 * 1024;

/// Longest wait for one piece: beyond it the client has gone.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests;
