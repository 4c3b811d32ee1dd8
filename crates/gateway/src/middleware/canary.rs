//! Who is answered by the canary: a share of visitors, each of whom stays on the side where they are.
//!
//! Everybody has a bucket, from 0 to 9999, and those below the share get the canary: when the share grows, who had it
//! keeps it. A visitor's bucket is drawn by lot and kept in a cookie; or it is computed from what tells them apart, the
//! same on every worker, machine and release.

use std::net::IpAddr;

use http::header::{COOKIE, HeaderMap, SET_COOKIE};
use http::{HeaderName, HeaderValue};

use super::{Middleware, Step};
use crate::exchange::Exchange;
use crate::{Request, Response, random};

/// Configuration of the choice of `canary`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How many of a hundred get it, from 0 to 100.
    pub percent: u16,
    /// What tells apart those who have a choice of their own.
    pub by: By,
    /// The cookie in which the lot of a visitor is kept.
    pub cookie: String,
    /// The field by which a request chooses itself: `always` or `never`.
    pub header: Option<HeaderName>,
}

/// What tells apart those who have a choice of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// A cookie of ours, in which the lot of a visitor is kept.
    Visitor,
    /// Each request is on its own.
    Request,
    /// The client's address.
    Client,
    /// What a field says, such as the name of a user. Without it, each request is on its own.
    Header(HeaderName),
    /// What a cookie of the application says. Without it, each request is on its own.
    Cookie(String),
}

impl Config {
    pub(crate) fn build(&self) -> Canary {
        Canary { config: self.clone(), share: self.percent.min(100) * (BUCKETS / 100) }
    }
}

/// Chooses who answers.
#[derive(Debug)]
pub(crate) struct Canary {
    config: Config,
    /// Buckets below it get the canary.
    share: u16,
}

impl Middleware for Canary {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        let is_canary = match self.forced(request.headers()) {
            Some(forced) => forced,
            None => self.bucket(exchange, request) < self.share,
        };
        if is_canary {
            exchange.set_canary();
        }
        Step::pass()
    }

    fn on_response(&self, exchange: &mut Exchange, mut response: Response) -> Response {
        if let Some(bucket) = exchange.notes().and_then(|notes| notes.bucket) {
            let name = &self.config.cookie;
            let cookie =
                format!("{name}={bucket}; Path=/; Max-Age={MONTH}; Secure; HttpOnly; SameSite=Lax");
            if let Ok(cookie) = HeaderValue::try_from(cookie) {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
        }
        response
    }
}

impl Canary {
    fn forced(&self, headers: &HeaderMap) -> Option<bool> {
        match headers.get(self.config.header.as_ref()?)?.as_bytes() {
            b"always" => Some(true),
            b"never" => Some(false),
            _ => None,
        }
    }

    fn bucket(&self, exchange: &mut Exchange, request: &Request) -> u16 {
        let headers = request.headers();
        let own = match &self.config.by {
            By::Visitor => {
                let kept = cookie(headers, &self.config.cookie).and_then(parse_bucket);
                return kept.unwrap_or_else(|| {
                    let bucket = draw();
                    exchange.notes_mut().bucket = Some(bucket);
                    bucket
                });
            }
            By::Request => None,
            By::Client => exchange.client(request).map(|client| match client {
                IpAddr::V4(ip) => bucket_of(&ip.octets()),
                // The rest of an address is a client's own to change.
                IpAddr::V6(ip) => bucket_of(ip.octets().get(..8).unwrap_or_default()),
            }),
            By::Header(name) => headers.get(name).map(|value| bucket_of(value.as_bytes())),
            By::Cookie(name) => cookie(headers, name).map(bucket_of),
        };
        own.unwrap_or_else(draw)
    }
}

/// One of the buckets by lot.
pub(super) fn draw() -> u16 {
    bucket_of(&random::bytes::<8>())
}

/// The bucket of a text, evenly over all: FNV-1a, mixed once more at the end.
fn bucket_of(text: &[u8]) -> u16 {
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    let bucket = (u128::from(hash ^ (hash >> 33)) * u128::from(BUCKETS)) >> 64;
    u16::try_from(bucket).unwrap_or(0)
}

fn parse_bucket(text: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.len() <= 4)?;
    digits.parse().ok().filter(|bucket| *bucket < BUCKETS)
}

/// What the cookie `name` says.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|field| field.as_bytes().split(|&byte| byte == b';').map(<[u8]>::trim_ascii));
    pairs
        .filter_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        .find(|value| !value.is_empty())
}

const BUCKETS: u16 = 10_000;
/// Thirty days, in seconds.
const MONTH: u32 = 30 * 86_400;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::body::Body;

    fn config(percent: u16, by: By) -> Config {
        let header = Some(HeaderName::from_static("x-canary"));
        Config { percent, by, cookie: "lot".to_owned(), header }
    }

    /// Whether the canary answers, and the cookie that is set.
    fn visit(config: &Config, fields: &[(&'static str, &str)]) -> (bool, Option<String>) {
        let mut request = Request::new(sterna_net::Body::empty());
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::try_from(*value).expect("a value"));
        }
        let station = config.build();
        let mut exchange = Exchange::begin(&request, None);
        drop(station.on_request(&mut exchange, &mut request));
        let response = station.on_response(&mut exchange, Response::new(Body::empty()));
        let cookie = response.headers().get(SET_COOKIE);
        let cookie = cookie.map(|value| value.to_str().expect("text").to_owned());
        (exchange.is_canary(), cookie)
    }

    #[test]
    fn a_visitor_keeps_the_lot_that_was_drawn() {
        let config = config(50, By::Visitor);
        let mut sides = HashMap::from([(true, 0), (false, 0)]);
        for _ in 0..400 {
            let (first, cookie) = visit(&config, &[]);
            let cookie = cookie.expect("a new visitor");
            let pair = cookie.split(';').next().expect("a pair");
            for _ in 0..3 {
                assert_eq!(visit(&config, &[("cookie", &format!("a=1; {pair}"))]), (first, None));
            }
            *sides.entry(first).or_insert(0) += 1;
        }
        assert!((140..=260).contains(&sides[&true]), "{sides:?}");
    }

    #[test]
    fn who_has_the_canary_keeps_it_when_the_share_grows() {
        let (mut before, mut count) = (vec![false; 1000], 0);
        for percent in [0, 1, 10, 50, 99, 100] {
            let config = config(percent, By::Header(HeaderName::from_static("x-user")));
            let now: Vec<bool> =
                (0..1000).map(|i| visit(&config, &[("x-user", &format!("u{i}"))]).0).collect();
            assert!(before.iter().zip(&now).all(|(before, now)| !before || *now), "{percent}");
            (count, before) = (now.iter().filter(|it| **it).count(), now);
        }
        assert_eq!(count, 1000, "all of them at 100");
    }

    #[test]
    fn buckets_are_even_over_names_that_hardly_differ() {
        let mut tenths = [0; 10];
        for i in 0..100_000 {
            tenths[usize::from(bucket_of(format!("user{i}").as_bytes()) / 1000)] += 1;
        }
        assert!(tenths.iter().all(|count| (9_600..=10_400).contains(count)), "{tenths:?}");
    }

    #[test]
    fn the_bucket_of_a_name_is_the_same_in_every_release() {
        let buckets = ["", "a", "user1"].map(|name| bucket_of(name.as_bytes()));
        assert_eq!(buckets, [9367, 5102, 7928]);
    }

    #[test]
    fn a_field_forces_the_choice() {
        for (value, expected) in [("always", Some(true)), ("never", Some(false)), ("maybe", None)] {
            for percent in [0, 100] {
                let (is_canary, _) = visit(&config(percent, By::Request), &[("x-canary", value)]);
                assert_eq!(is_canary, expected.unwrap_or(percent == 100), "{value} {percent}");
            }
        }
        let without = Config { header: None, ..config(0, By::Request) };
        assert!(!visit(&without, &[("x-canary", "always")]).0);
    }

    #[test]
    fn a_cookie_that_is_no_bucket_is_drawn_anew() {
        for bad in ["lot=", "lot=10000", "lot=-1", "lot=x", "lot=00001", "slot=5", "lot"] {
            assert!(visit(&config(50, By::Visitor), &[("cookie", bad)]).1.is_some(), "{bad}");
        }
        for (good, is_canary) in [("lot=0", true), ("lot=4999", true), ("lot=5000", false)] {
            assert_eq!(visit(&config(50, By::Visitor), &[("cookie", good)]), (is_canary, None));
        }
    }

    #[test]
    fn requests_on_their_own_are_split_by_the_share() {
        let count = (0..4000).filter(|_| visit(&config(25, By::Request), &[]).0).count();
        assert!((850..=1150).contains(&count), "{count}");
        let by_cookie = config(50, By::Cookie("sid".to_owned()));
        let first = visit(&by_cookie, &[("cookie", "sid=abc")]);
        assert!((0..20).all(|_| visit(&by_cookie, &[("cookie", "sid=abc")]) == first));
        assert_eq!(first.1, None);
    }
}
