//! Which hosts a route serves.
//!
//! An exact name beats a wildcard, and a wildcard beats [`Pattern::Any`]. Once a host has routes of its own, a request
//! for it never takes those of a less specific pattern.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use http::header::HOST;
use rustc_hash::FxHashMap;

use crate::Request;

/// Which hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// This name or address and no other, in lower case, without a port.
    Exact(String),
    /// `*.example.com`: one label in place of the star, as in a certificate. Holds what follows the star's dot.
    Wildcard(String),
    /// Every host that no other pattern names.
    #[default]
    Any,
}

impl FromStr for Pattern {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, NotAHost> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let lower = text.to_ascii_lowercase();
        match lower.strip_prefix("*.") {
            Some(parent) if is_name(parent) => Ok(Self::Wildcard(parent.to_owned())),
            None if is_name(&lower) || is_ipv6(&lower) => Ok(Self::Exact(lower)),
            _ => Err(NotAHost),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// Why a text names no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a host: write a name such as `example.com`, a wildcard such as `*.example.com`, an address, or `*`"
)]
pub struct NotAHost;

fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.split('.').all(is_label)
}

fn is_ipv6(text: &str) -> bool {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Something for each host.
#[derive(Debug)]
pub(super) struct Hosts<T> {
    exact: FxHashMap<String, T>,
    wildcard: FxHashMap<String, T>,
    any: Option<T>,
}

impl<T: Default> Hosts<T> {
    pub(super) fn entry(&mut self, pattern: &Pattern) -> &mut T {
        match pattern {
            Pattern::Exact(name) => self.exact.entry(name.clone()).or_default(),
            Pattern::Wildcard(parent) => self.wildcard.entry(parent.clone()).or_default(),
            Pattern::Any => self.any.get_or_insert_default(),
        }
    }
}

impl<T> Hosts<T> {
    /// What serves the host that `request` asks for.
    pub(super) fn find(&self, request: &Request) -> Option<&T> {
        if self.exact.is_empty() && self.wildcard.is_empty() {
            return self.any.as_ref();
        }
        let host = host_of(request);
        let wildcard = || self.wildcard.get(host.split_once('.')?.1);
        self.exact.get(&*host).or_else(wildcard).or(self.any.as_ref())
    }
}

impl<T> Default for Hosts<T> {
    fn default() -> Self {
        Self { exact: FxHashMap::default(), wildcard: FxHashMap::default(), any: None }
    }
}

/// The host that a request names, without port and final dot, in lower case; empty when it names none.
fn host_of(request: &Request) -> Cow<'_, str> {
    let of_field = || request.headers().get(HOST)?.to_str().ok().map(without_port);
    let host = request.uri().host().or_else(of_field).unwrap_or_default();
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// Whether the authority of the target has a port that is no number, which HTTP/2 alone lets through to here.
pub(super) fn has_odd_port(request: &Request) -> bool {
    let authority = request.uri().authority().map(http::uri::Authority::as_str).unwrap_or_default();
    // Colons within brackets separate nothing.
    let behind = authority.rsplit_once(']').map_or(authority, |(_, behind)| behind);
    let port = behind.rsplit_once(':').map(|(_, port)| port).unwrap_or_default();
    port.bytes().any(|byte| !byte.is_ascii_digit())
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(patterns: &[&str]) -> Hosts<String> {
        let mut hosts = Hosts::default();
        for text in patterns {
            let pattern = text.parse().expect("a host");
            *hosts.entry(&pattern) = (*text).to_owned();
        }
        hosts
    }

    fn found<'a>(hosts: &'a Hosts<String>, host: &str) -> Option<&'a str> {
        let request = http::Request::builder().uri("/").header(HOST, host);
        let request = request.body(sterna_net::Body::empty()).expect("a request");
        hosts.find(&request).map(String::as_str)
    }

    #[test]
    fn an_exact_host_beats_a_wildcard_and_a_wildcard_beats_any() {
        let hosts = hosts(&["*", "*.example.com", "www.example.com", "[::1]"]);
        for (host, pattern) in [
            ("www.example.com", "www.example.com"),
            ("WWW.Example.Com.:8443", "www.example.com"),
            ("img.example.com", "*.example.com"),
            ("a.img.example.com", "*"),
            ("example.com", "*"),
            ("[::1]:8443", "[::1]"),
            ("[::1]", "[::1]"),
            ("", "*"),
        ] {
            assert_eq!(found(&hosts, host), Some(pattern), "{host}");
        }
    }

    #[test]
    fn without_a_pattern_for_every_host_an_unknown_one_finds_nothing() {
        assert_eq!(found(&hosts(&["example.com"]), "example.org"), None);
    }

    #[test]
    fn the_target_of_the_request_beats_its_host_field() {
        let request = http::Request::builder().uri("https://a.test/").header(HOST, "b.test");
        let request = request.body(sterna_net::Body::empty()).expect("a request");
        assert_eq!(hosts(&["a.test", "b.test"]).find(&request).map(String::as_str), Some("a.test"));
    }

    #[test]
    fn what_is_no_host_is_refused_and_what_is_one_reads_back() {
        for text in ["", "a..b", "*.", "a.*.b", "**", "a b", "example.com:443", "https://a", "[1]"]
        {
            assert_eq!(text.parse::<Pattern>(), Err(NotAHost), "{text}");
        }
        for text in ["*", "*.example.com", "example.com", "127.0.0.1", "[::1]", "my_host"] {
            assert_eq!(text.parse::<Pattern>().expect("a host").to_string(), text);
        }
    }
}
