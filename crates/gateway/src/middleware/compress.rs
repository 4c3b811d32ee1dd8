//! Content codings made here: zstd, gzip and br, for what gets smaller by them and for who takes them.
//!
//! What is left as it is: what is encoded already, parts of something (206), what says `no-transform` or carries a
//! digest, gRPC, types that do not compress, and what is small. And for the sake of BREACH: what a handler made for the
//! bearer of a cookie, when the page of another site may have sent the request (docs/adr/0009). Nobody gets 406.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, COOKIE, ETAG, HeaderMap, IF_NONE_MATCH,
};
use http::{HeaderName, HeaderValue, StatusCode};

use self::coder::{Coder, Place};
use self::content::Compressed;
use self::reuse::Reuse;
use super::{Middleware, Step};
use crate::body::Body;
use crate::encoding::{self, Coding};
use crate::exchange::Exchange;
use crate::shared::Build;
use crate::{Request, Response, vary};

mod coder;
mod content;
mod reuse;

/// Configuration of `compress`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Which codings; the first of those that a client likes alike. Default: zstd, gzip, br.
    pub algorithms: Vec<Coding>,
    /// How hard to try.
    pub level: Level,
    /// Content that is known to be shorter is left as it is, in bytes. Default: 1 KiB.
    pub min_size: u64,
    /// Which types: `text/html`, `text/*` or `*+json`.
    pub types: Vec<String>,
    /// Leave what could tell a secret to another site as it is. Default: true.
    pub breach_safe: bool,
}

/// How hard to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As fast as it goes.
    Fast,
    /// What costs little for what it saves.
    Default,
    /// Small, whatever it costs.
    Best,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            algorithms: vec![Coding::Zstd, Coding::Gzip, Coding::Brotli],
            level: Level::Default,
            min_size: 1 << 10,
            types: TYPES.map(str::to_owned).to_vec(),
            breach_safe: true,
        }
    }
}

impl Config {
    pub(crate) fn build(&self, build: Build<'_>) -> Compress {
        let (exact, patterns) = self.types.iter().cloned().partition(|kind| !kind.contains('*'));
        Compress {
            config: self.clone(),
            exact,
            patterns,
            counters: Arc::clone(build.shared.compression()),
            reuse: Reuse::default(),
            last: RefCell::default(),
        }
    }
}

/// What happened, over all workers.
#[derive(Debug, Default)]
pub struct Counters {
    encoded: AtomicU64,
    declined: AtomicU64,
}

impl Counters {
    /// Responses that were encoded.
    pub fn encoded(&self) -> u64 {
        self.encoded.load(Ordering::Relaxed)
    }

    /// Responses that were sent as they were, because a worker had as many coders at work as it may have.
    pub fn declined(&self) -> u64 {
        self.declined.load(Ordering::Relaxed)
    }
}

/// Encodes responses.
#[derive(Debug)]
pub(crate) struct Compress {
    config: Config,
    exact: Vec<String>,
    patterns: Vec<String>,
    counters: Arc<Counters>,
    reuse: Reuse,
    last: RefCell<Option<Liked>>,
}

/// What was read from the last `Accept-Encoding`: clients send one of a few, and reading it costs more than comparing.
#[derive(Debug)]
struct Liked {
    field: HeaderValue,
    coding: Option<Coding>,
}

impl Middleware for Compress {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        let headers = request.headers();
        exchange.coding = self.best(headers);
        if exchange.coding.is_some() {
            exchange.is_exposed = self.config.breach_safe && is_exposed(headers);
            let known = headers.get(IF_NONE_MATCH);
            exchange.knows_weak = known.is_some_and(|tags| tags.as_bytes().starts_with(b"W/"));
        }
        Step::pass()
    }

    fn on_response(&self, exchange: &mut Exchange, mut response: Response) -> Response {
        if exchange.knows_weak && response.status() == StatusCode::NOT_MODIFIED {
            // The tag of the encoded form, which is what the client has.
            weaken(response.headers_mut());
        }
        if !self.is_worth_it(&response, exchange.is_head()) {
            return response;
        }
        let is_made = response.body().is_stream();
        vary::add(response.headers_mut(), ACCEPT_ENCODING);
        let Some(coding) = exchange.coding else { return response };
        if is_made && exchange.is_exposed {
            return response;
        }
        self.encode(coding, exchange.is_head(), response)
    }
}

impl Compress {
    /// The coding that the client likes best.
    fn best(&self, headers: &HeaderMap) -> Option<Coding> {
        let read = || encoding::best(headers, &self.config.algorithms);
        let mut fields = headers.get_all(ACCEPT_ENCODING).iter();
        let (field, another) = (fields.next()?, fields.next());
        // One of several lines, or one too long to be worth keeping, is read each time.
        if another.is_some() || field.len() > LONGEST_KEPT {
            return read();
        }
        let mut last = self.last.borrow_mut();
        if let Some(last) = last.as_ref().filter(|last| last.field == field) {
            return last.coding;
        }
        let coding = read();
        // A copy: the value may be a slice of all that came with it.
        *last = HeaderValue::from_bytes(field.as_bytes()).ok().map(|field| Liked { field, coding });
        coding
    }

    /// Whether it gets smaller, and may.
    fn is_worth_it(&self, response: &Response, is_head: bool) -> bool {
        let (status, headers) = (response.status(), response.headers());
        let is_whole = !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        );
        is_whole
            && !status.is_informational()
            && self.is_long_enough(response, is_head)
            && headers.get(CONTENT_TYPE).is_some_and(|kind| self.takes(kind))
            && !AS_IT_IS.iter().any(|name| headers.contains_key(name))
            && !forbids_transformation(headers)
    }

    /// Whether nothing says that it is short.
    fn is_long_enough(&self, response: &Response, is_head: bool) -> bool {
        let announced = || {
            let length = response.headers().get(CONTENT_LENGTH)?;
            length.to_str().ok()?.parse::<u64>().ok()
        };
        let length = match response.body().len() {
            // The answer to HEAD may have no content where that to GET has some.
            Some(0) if is_head => announced(),
            known => known,
        };
        length.is_none_or(|length| length >= self.config.min_size.max(1))
    }

    fn takes(&self, kind: &HeaderValue) -> bool {
        let Ok(kind) = kind.to_str() else { return false };
        let essence = kind.split(';').next().unwrap_or_default().trim();
        // Its messages are compressed one by one, and each has to leave as it comes.
        let is_grpc = essence.starts_with("application/grpc");
        let is = |wanted: &String| wanted.eq_ignore_ascii_case(essence);
        let matches = |pattern: &String| {
            let (begin, end) = pattern.split_once('*').unwrap_or((pattern, ""));
            essence.len() >= begin.len() + end.len()
                && essence.get(..begin.len()).is_some_and(|it| it.eq_ignore_ascii_case(begin))
                && essence
                    .get(essence.len() - end.len()..)
                    .is_some_and(|it| it.eq_ignore_ascii_case(end))
        };
        !is_grpc && (self.exact.iter().any(is) || self.patterns.iter().any(matches))
    }

    fn encode(&self, coding: Coding, is_head: bool, response: Response) -> Response {
        let (mut head, body) = response.into_parts();
        let level = self.config.level;
        let (body, length) = if is_head {
            (Body::empty(), None)
        } else {
            match body.try_into_full() {
                Ok(content) if content.len() <= AT_ONCE => {
                    let Some(encoded) = self.reuse.encode(coding, level, &content) else {
                        return Response::from_parts(head, Body::full(content));
                    };
                    let length = encoded.len();
                    (Body::full(encoded), Some(length))
                }
                whole => {
                    let body = whole.map_or_else(|body| body, Body::full);
                    let Some(place) = Place::take() else {
                        self.counters.declined.fetch_add(1, Ordering::Relaxed);
                        return Response::from_parts(head, body);
                    };
                    let coder = Coder::new(coding, level, place);
                    (Body::stream(Compressed::new(body, coder)), None)
                }
            }
        };
        self.counters.encoded.fetch_add(1, Ordering::Relaxed);
        let headers = &mut head.headers;
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
        // A range of the encoded form cannot be had.
        headers.remove(ACCEPT_RANGES);
        match length {
            Some(length) => drop(headers.insert(CONTENT_LENGTH, HeaderValue::from(length))),
            None => drop(headers.remove(CONTENT_LENGTH)),
        }
        weaken(headers);
        Response::from_parts(head, body)
    }
}

/// The same bytes do not come twice from a coder: the tag becomes a weak one (RFC 9110 §8.8.1).
fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(ETAG) else { return };
    if tag.as_bytes().starts_with(b"\"") {
        let weak = [b"W/", tag.as_bytes()].concat();
        // What was a value is one with two more letters in front.
        if let Ok(weak) = HeaderValue::from_bytes(&weak) {
            headers.insert(ETAG, weak);
        }
    }
}

/// Whether the page of another site may have sent this request with what the browser knows of the user. Such a page
/// could guess at secrets in the response by its length (BREACH).
///
/// `Bearer` and the like are not exposed: no browser adds them by itself. Browsers say by `Sec-Fetch-Site` who asks; one
/// that says nothing is thought the worst of.
fn is_exposed(headers: &HeaderMap) -> bool {
    let by_itself = |value: &HeaderValue| {
        let scheme = value.as_bytes().split(|&byte| byte == b' ').next().unwrap_or_default();
        ["basic", "digest", "negotiate", "ntlm"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known.as_bytes()))
    };
    let has_credentials =
        headers.contains_key(COOKIE) || headers.get(AUTHORIZATION).is_some_and(by_itself);
    let is_own = headers
        .get(SEC_FETCH_SITE)
        .is_some_and(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    has_credentials && !is_own
}

fn forbids_transformation(headers: &HeaderMap) -> bool {
    headers
        .get_all(CACHE_CONTROL)
        .iter()
        .flat_map(|field| field.as_bytes().split(|&byte| byte == b','))
        .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Fields that hold for the bytes as they are.
const AS_IT_IS: [HeaderName; 6] = [
    CONTENT_ENCODING,
    CONTENT_RANGE,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];
/// `Accept-Encoding` of browsers has some thirty bytes.
const LONGEST_KEPT: usize = 256;
/// Content that is in memory and not longer is encoded before the head leaves.
const AT_ONCE: usize = 64 << 10;
/// Text, and what is written like it.
const TYPES: [&str; 14] = [
    "text/*",
    "*+xml",
    "*+json",
    "application/javascript",
    "application/json",
    "application/x-ndjson",
    "application/wasm",
    "application/xml",
    "application/x-javascript",
    "application/vnd.ms-fontobject",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/x-icon",
];

#[cfg(test)]
mod tests;
