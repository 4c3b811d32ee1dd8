//! How often a client may ask: 429 beyond it (RFC 6585 §4), with `Retry-After`.
//!
//! Every answer says where the client stands, with the fields `RateLimit` and `RateLimit-Policy` of
//! draft-ietf-httpapi-ratelimit-headers-10. Of several limits all must give a unit; when one refuses, the others take none.
//! The buckets are the process's: all workers share them, and a reload that leaves a limit as it is keeps them.

use std::cmp::Reverse;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::header::{COOKIE, HeaderName, HeaderValue};
use sterna_net::limit::{Cell, Refused, Source, Standing, Table};

pub use self::limit::{Frequency, Key, Limit, NotALimit};
use super::{Middleware, Step};
use crate::error::Error;
use crate::exchange::Exchange;
use crate::shared::Build;
use crate::{Request, Response};

mod limit;

/// Configuration of `rate_limit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the buckets belong to, such as the site that the limit is written in.
    pub scope: String,
    /// The route that this is built for, for limits per route.
    pub route: String,
    /// All of them hold.
    pub limits: Vec<Limit>,
}

impl Config {
    pub(crate) fn build(&self, build: Build<'_>) -> RateLimit {
        let limits = self.limits.iter().map(|limit| {
            let scope = if limit.key == Key::Route { &self.route } else { &self.scope };
            let key = (scope.clone(), limit.clone());
            (limit.clone(), build.shared.rates().get_or_make(key, Buckets::default))
        });
        RateLimit { limits: limits.collect(), policy: policy(&self.limits) }
    }
}

/// Holds clients to their rates.
#[derive(Debug)]
pub(crate) struct RateLimit {
    limits: Vec<(Limit, Arc<Buckets>)>,
    /// What `RateLimit-Policy` says.
    policy: Option<HeaderValue>,
}

/// The buckets of one limit.
#[derive(Debug)]
pub(crate) struct Buckets {
    table: Table<Who, Cell>,
    hasher: RandomState,
    refused: AtomicU64,
}

/// Whose bucket. Values that clients choose are kept as a hash with a secret key: they may be long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    All,
    Address(Source),
    Hash(u64),
}

/// Where a request stands with the limit that leaves it least, for the fields of its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    limit: usize,
    remaining: u64,
    reset: Duration,
}

impl Middleware for RateLimit {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        match self.take(exchange, request, Instant::now()) {
            Ok(rate) => {
                exchange.rate = rate;
                Step::pass()
            }
            Err((limit, refused)) => {
                let reset = refused.retry_after;
                exchange.rate = Some(Rate { limit, remaining: 0, reset });
                Step::refuse(Error::TooOften { retry_after: refused.retry_after })
            }
        }
    }

    fn on_response(&self, exchange: &mut Exchange, mut response: Response) -> Response {
        let Some(rate) = exchange.rate else { return response };
        let name = name(&self.limits, rate.limit);
        let state = format!("\"{name}\";r={};t={}", rate.remaining, seconds(rate.reset));
        let headers = response.headers_mut();
        if let Ok(state) = HeaderValue::try_from(state) {
            headers.insert(RATE_LIMIT, state);
        }
        if let Some(policy) = &self.policy {
            headers.insert(RATE_LIMIT_POLICY, policy.clone());
        }
        response
    }
}

impl RateLimit {
    /// Takes a unit of every limit, or of none.
    fn take(
        &self,
        exchange: &Exchange,
        request: &Request,
        now: Instant,
    ) -> Result<Option<Rate>, (usize, Refused)> {
        let mut least: Option<Rate> = None;
        for (i, (limit, buckets)) in self.limits.iter().enumerate() {
            match buckets.take(limit, exchange, request, now) {
                Ok(Standing { remaining, full_in }) => {
                    let rate = Rate { limit: i, remaining, reset: full_in };
                    least =
                        least.into_iter().chain([rate]).max_by_key(|rate| Reverse(rate.remaining));
                }
                Err(refused) => {
                    for (limit, buckets) in self.limits.iter().take(i) {
                        buckets.give_back(limit, exchange, request, now);
                    }
                    return Err((i, refused));
                }
            }
        }
        Ok(least)
    }
}

impl Buckets {
    fn take(
        &self,
        limit: &Limit,
        exchange: &Exchange,
        request: &Request,
        now: Instant,
    ) -> Result<Standing, Refused> {
        let (who, quota) = (self.who(&limit.key, exchange, request), limit.quota());
        let taken = self.table.with(who, now, |cell, now| cell.take(&quota, now));
        self.refused.fetch_add(u64::from(taken.is_err()), Ordering::Relaxed);
        taken
    }

    fn give_back(&self, limit: &Limit, exchange: &Exchange, request: &Request, now: Instant) {
        let who = self.who(&limit.key, exchange, request);
        self.table.with(who, now, |cell, _| cell.give_back(&limit.quota()));
    }

    /// Requests without the field, the cookie or an address have one bucket together: leaving it out escapes nothing.
    fn who(&self, key: &Key, exchange: &Exchange, request: &Request) -> Who {
        let hash = |value: Option<&[u8]>| {
            value.map_or(Who::All, |value| Who::Hash(self.hasher.hash_one(value)))
        };
        match key {
            Key::Global | Key::Route => Who::All,
            Key::Ip => match exchange.client(request) {
                Some(address) => Who::Address(Source::of(address)),
                None => Who::All,
            },
            Key::Header(name) => hash(request.headers().get(name).map(HeaderValue::as_bytes)),
            Key::Cookie(name) => hash(cookie(request, name)),
        }
    }

    /// Requests that were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Clients whose bucket is known, and those forgotten because there were too many.
    pub(crate) fn clients(&self) -> (usize, u64) {
        (self.table.len(), self.table.evicted())
    }
}

impl Default for Buckets {
    fn default() -> Self {
        let (hasher, refused) = Default::default();
        Self { table: Table::new(PLACES, Instant::now()), hasher, refused }
    }
}

/// The value of a cookie (RFC 6265 §5.4).
fn cookie<'a>(request: &'a Request, name: &str) -> Option<&'a [u8]> {
    let fields = request.headers().get_all(COOKIE).iter();
    let mut pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.find_map(|pair| {
        let (key, value) = pair.trim_ascii().split_at_checked(name.len())?;
        (key == name.as_bytes()).then(|| value.strip_prefix(b"=")).flatten()
    })
}

/// The name of a policy in the fields: what it counts by, with a number where there are several such.
fn name<B>(limits: &[(Limit, B)], at: usize) -> String {
    let word = |limit: &Limit| limit.key.word();
    let Some((limit, _)) = limits.get(at) else { return String::new() };
    let before = limits.iter().take(at).filter(|(other, _)| word(other) == word(limit)).count();
    match before {
        0 => word(limit).to_owned(),
        before => format!("{}-{}", word(limit), before + 1),
    }
}

/// What `RateLimit-Policy` says of all of them: so many in each window of so many seconds.
fn policy(limits: &[Limit]) -> Option<HeaderValue> {
    let limits: Vec<(Limit, ())> = limits.iter().map(|limit| (limit.clone(), ())).collect();
    let item = |(at, (limit, ())): (usize, &(Limit, ()))| {
        format!("\"{}\";q={};w={}", name(&limits, at), limit.count, seconds(limit.period))
    };
    let items: Vec<String> = limits.iter().enumerate().map(item).collect();
    HeaderValue::try_from(items.join(", ")).ok()
}

/// Whole seconds, rounded up: who waits for so long is not too early.
pub(crate) fn seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

/// Clients of one limit whose buckets are known at once; see [`Table`] for those beyond.
const PLACES: usize = 128 * 1024;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

#[cfg(test)]
mod tests;
