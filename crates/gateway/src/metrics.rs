//! What is counted of requests, for Prometheus.
//!
//! A worker counts in blocks of its own, one for each route, version of HTTP and method, so that no counter is
//! contended; they are summed when somebody asks. Every label has few values: a route is told by its pattern and never by
//! the path of a request, a method that is not well known as `other`. Blocks outlive a reload, for a counter only grows;
//! there are at most [`MAX_BLOCKS`], and what comes after counts under the route `other`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use http::{Method, StatusCode};
use rustc_hash::FxHashMap;
use sterna_net::Protocol;

use crate::error::ProxyError;

pub use self::page::{CONTENT_TYPE, Kind, Page};

mod page;

/// What is counted of requests; a clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<Blocks>>);

type Blocks = FxHashMap<(ThreadId, Labels), Arc<Block>>;

/// Of what a block counts the requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Labels {
    host: Arc<str>,
    route: Arc<str>,
    kind: KindOfRequest,
}

/// The version of HTTP and the method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct KindOfRequest {
    protocol: &'static str,
    method: &'static str,
}

impl KindOfRequest {
    pub(crate) fn of(protocol: Option<Protocol>, method: &Method) -> Self {
        let protocol = protocol.map_or("unknown", Protocol::as_str);
        let known = METHODS.iter().find(|known| **known == method.as_str());
        Self { protocol, method: known.copied().unwrap_or(OTHER) }
    }
}

/// Methods that are told apart.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];

const OTHER: &str = "other";

/// The requests of one kind on one route, of one worker.
#[derive(Debug)]
pub(crate) struct Block {
    statuses: [AtomicU64; STATUSES.len() + 1],
    /// Up to each of [`BOUNDS`], and beyond.
    durations: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
    bytes: AtomicU64,
    cut: AtomicU64,
    /// Rare: no hot path has it.
    proxy_errors: Mutex<BTreeMap<&'static str, u64>>,
}

impl Default for Block {
    fn default() -> Self {
        Self {
            statuses: [const { AtomicU64::new(0) }; STATUSES.len() + 1],
            durations: [const { AtomicU64::new(0) }; BOUNDS.len() + 1],
            micros: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            proxy_errors: Mutex::default(),
        }
    }
}

/// The route's side of it: its blocks, found without a lock.
#[derive(Debug, Default)]
pub(crate) struct RouteMetrics {
    host: Arc<str>,
    route: Arc<str>,
    blocks: std::cell::RefCell<Vec<(KindOfRequest, Arc<Block>)>>,
}

impl RouteMetrics {
    pub(crate) fn new(host: String, route: String) -> Self {
        Self { host: host.into(), route: route.into(), blocks: Default::default() }
    }

    /// The pattern of the route.
    pub(crate) fn route(&self) -> &Arc<str> {
        &self.route
    }

    /// Where a request of this kind is counted.
    pub(crate) fn block(&self, kind: KindOfRequest, metrics: &Metrics) -> Arc<Block> {
        let mut blocks = self.blocks.borrow_mut();
        if let Some((_, block)) = blocks.iter().find(|(known, _)| *known == kind) {
            return block.clone();
        }
        let labels = Labels { host: self.host.clone(), route: self.route.clone(), kind };
        let block = metrics.block(labels);
        blocks.push((kind, block.clone()));
        block
    }
}

impl Block {
    /// Counts a request whose response has ended, or was given up.
    pub(crate) fn count(
        &self,
        status: Option<StatusCode>,
        after: Duration,
        bytes: u64,
        is_whole: bool,
    ) {
        // A request that was given up before its answer has the status that others give to it.
        let status = status.map_or(GIVEN_UP, |status| status.as_u16());
        let at = STATUSES.binary_search(&status).unwrap_or(STATUSES.len());
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        let slot = BOUNDS.iter().position(|&(_, bound)| micros <= bound).unwrap_or(BOUNDS.len());
        add(&self.statuses[at], 1);
        add(&self.durations[slot], 1);
        add(&self.micros, micros);
        add(&self.bytes, bytes);
        add(&self.cut, u64::from(!is_whole));
    }
}

impl Block {
    /// Counts that nobody answered, and why.
    pub(crate) fn count_proxy_error(&self, error: ProxyError) {
        let mut errors = self.proxy_errors.lock().unwrap_or_else(PoisonError::into_inner);
        *errors.entry(error.token()).or_default() += 1;
    }
}

/// Its worker alone writes: no other core is asked for the line.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

impl Metrics {
    fn block(&self, labels: Labels) -> Arc<Block> {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let thread = thread::current().id();
        let is_full = blocks.len() >= MAX_BLOCKS;
        let key = (thread, labels);
        if let Some(block) = blocks.get(&key) {
            return block.clone();
        }
        let (thread, Labels { kind, host, .. }) = key.clone();
        let other = || (thread, Labels { host: OTHER.into(), route: OTHER.into(), kind });
        let key = if is_full && *host != *OTHER { other() } else { key };
        blocks.entry(key).or_default().clone()
    }

    /// The sums over all workers, by labels.
    fn sums(&self) -> BTreeMap<Labels, Sum> {
        let blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums = BTreeMap::<Labels, Sum>::new();
        #[expect(clippy::iter_over_hash_type, reason = "a sum does not depend on the order")]
        for ((_, labels), block) in &*blocks {
            sums.entry(labels.clone()).or_default().add(block);
        }
        sums
    }

    /// Writes all of it.
    pub fn write(&self, page: &mut Page) {
        let sums = self.sums();
        page.family("sterna_http_requests_total", Kind::Counter, REQUESTS);
        for (labels, sum) in &sums {
            for (at, &count) in sum.statuses.iter().enumerate().filter(|(_, count)| **count > 0) {
                let status = STATUSES.get(at).map_or(OTHER.to_owned(), u16::to_string);
                page.sample("", &labels.with("status", &status), count as f64);
            }
        }
        page.family("sterna_http_request_duration_seconds", Kind::Histogram, DURATION);
        for (labels, sum) in &sums {
            let mut below = 0;
            for (at, count) in sum.durations.iter().enumerate() {
                below += count;
                let bound = BOUNDS.get(at).map_or("+Inf", |(seconds, _)| seconds);
                page.sample("_bucket", &labels.with("le", bound), below as f64);
            }
            page.sample("_sum", &labels.alone(), sum.micros as f64 / 1e6);
            page.sample("_count", &labels.alone(), below as f64);
        }
        page.family("sterna_http_response_bytes_total", Kind::Counter, BYTES);
        for (labels, sum) in &sums {
            page.sample("", &labels.alone(), sum.bytes as f64);
        }
        page.family("sterna_http_responses_cut_total", Kind::Counter, CUT);
        for (labels, sum) in &sums {
            page.sample("", &labels.alone(), sum.cut as f64);
        }
        page.family("sterna_http_proxy_errors_total", Kind::Counter, PROXY_ERRORS);
        for (labels, sum) in &sums {
            for (error, count) in &sum.proxy_errors {
                page.sample("", &labels.with("error", error), *count as f64);
            }
        }
    }

    /// How long requests have taken, for each version of HTTP: how many up to each number of seconds, not added up.
    pub fn durations(&self) -> BTreeMap<&'static str, Vec<u64>> {
        let mut all = BTreeMap::<&'static str, Vec<u64>>::new();
        for (labels, sum) in self.sums() {
            let durations = all.entry(labels.kind.protocol).or_insert(vec![0; BOUNDS.len() + 1]);
            durations.iter_mut().zip(sum.durations).for_each(|(all, one)| *all += one);
        }
        all
    }

    /// The bounds of [`Self::durations`], in seconds; beyond the last is one more.
    pub fn bounds() -> impl Iterator<Item = f64> {
        BOUNDS.iter().map(|&(_, micros)| micros as f64 / 1e6)
    }
}

impl Labels {
    fn alone(&self) -> [(&'static str, &str); 4] {
        let Self { host, route, kind: KindOfRequest { protocol, method } } = self;
        [("protocol", *protocol), ("method", *method), ("host", host), ("route", route)]
    }

    fn with<'a>(&'a self, name: &'static str, value: &'a str) -> [(&'static str, &'a str); 5] {
        let [protocol, method, host, route] = self.alone();
        [protocol, method, host, route, (name, value)]
    }
}

#[derive(Clone, Debug, Default)]
struct Sum {
    statuses: Vec<u64>,
    durations: Vec<u64>,
    micros: u64,
    bytes: u64,
    cut: u64,
    proxy_errors: BTreeMap<&'static str, u64>,
}

impl Sum {
    fn add(&mut self, block: &Block) {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let add = |sum: &mut Vec<u64>, counters: &[AtomicU64]| {
            sum.resize(counters.len(), 0);
            sum.iter_mut().zip(counters).for_each(|(sum, counter)| *sum += value(counter));
        };
        add(&mut self.statuses, &block.statuses);
        add(&mut self.durations, &block.durations);
        self.micros += value(&block.micros);
        self.bytes += value(&block.bytes);
        self.cut += value(&block.cut);
        let errors = block.proxy_errors.lock().unwrap_or_else(PoisonError::into_inner);
        for (error, count) in &*errors {
            *self.proxy_errors.entry(error).or_default() += count;
        }
    }
}

const REQUESTS: &str = "Requests whose response has ended, by version of HTTP, method, pattern of host and route, and status; 499 where nobody waited for the answer any more.";
const DURATION: &str = "From the head of a request to the last byte of its response, in seconds.";
const BYTES: &str = "Content of responses that was sent, in bytes.";
const PROXY_ERRORS: &str =
    "Requests that no backend answered, by the proxy error type of RFC 9209.";
const CUT: &str = "Responses that ended before their end, or had none.";

/// Upper bounds of durations: as they are written, in seconds, and in microseconds.
const BOUNDS: [(&str, u64); 15] = [
    ("0.0001", 100),
    ("0.00025", 250),
    ("0.0005", 500),
    ("0.001", 1_000),
    ("0.0025", 2_500),
    ("0.005", 5_000),
    ("0.01", 10_000),
    ("0.025", 25_000),
    ("0.05", 50_000),
    ("0.1", 100_000),
    ("0.25", 250_000),
    ("0.5", 500_000),
    ("1", 1_000_000),
    ("2.5", 2_500_000),
    ("10", 10_000_000),
];

/// For a request that the client gave up, as nginx has it.
const GIVEN_UP: u16 = 499;

/// Statuses that are told apart, in order: those of the registry, and 499.
const STATUSES: [u16; 63] = [
    100, 101, 102, 103, 104, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303,
    304, 305, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414,
    415, 416, 417, 418, 421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503,
    504, 505, 506, 507, 508, 511,
];

/// Blocks that are kept: 1 KB each. It is two workers with 2,500 routes that are asked over two versions by one method.
const MAX_BLOCKS: usize = 10_000;

#[cfg(test)]
mod tests;
