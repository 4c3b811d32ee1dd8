//! What is told to people, on stderr; and a response's head, as text.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use sterna_net::Protocol;
use sterna_net::client::{EarlyData, Exchange, TraceEntry, Transport};

use super::fetch::{Answer, Story};
use super::request::Ask;
use crate::report::say;

/// How the connection was made, and the request that went over it.
pub(super) fn exchange(ask: &Ask, method: &Method, exchange: Option<&Exchange>) {
    if let Some(exchange) = exchange {
        trace(&exchange.trace);
        say(&format!("* {}", choice(exchange)));
        if let Some(quic) = &exchange.quic {
            say(&format!("* congestion control of this side: {}", quic.congestion));
        }
        if exchange.early_data != EarlyData::NotOffered {
            say(&format!("* early data was {}", early_data(exchange.early_data)));
        }
        if exchange.attempts > 1 {
            say(&format!("* the request was sent {} times", exchange.attempts));
        }
    }
    say(&format!("> {method} {}", ask.target()));
    lines(&ask.headers).for_each(|line| say(&format!("> {line}")));
    for (status, headers) in exchange.into_iter().flat_map(|exchange| &exchange.interim) {
        response_head(*status, headers);
    }
}

pub(super) fn response_head(status: StatusCode, headers: &HeaderMap) {
    say(&format!("< {status}"));
    lines(headers).for_each(|line| say(&format!("< {line}")));
}

/// What was tried.
pub(super) fn trace(entries: &[TraceEntry]) {
    entries.iter().for_each(|entry| say(&format!("* {entry}")));
}

/// Which protocol was chosen, with whom, and what TLS agreed on.
fn choice(exchange: &Exchange) -> String {
    let mut text = format!("{} with {}", exchange.protocol, exchange.remote);
    if let Some(local) = exchange.local {
        let _ = write!(text, " from {local}");
    }
    if exchange.reused {
        text.push_str(", on a connection that was there");
    }
    if let Some(tls) = &exchange.tls {
        let facts = [tls.version, tls.cipher_suite, tls.key_exchange];
        let facts: Vec<_> = facts.into_iter().flatten().collect();
        let _ = write!(text, "; {}", facts.join(", "));
    }
    text
}

/// The head as HTTP/1.1 writes it, with the version that it came by.
pub(super) fn head(answer: &Answer) -> String {
    let protocol = answer.exchange.as_ref().map_or("HTTP", |exchange| exchange.protocol.as_str());
    let mut head = format!("{protocol} {}\n", answer.status);
    for line in lines(&answer.headers) {
        let _ = writeln!(head, "{line}");
    }
    head.push('\n');
    head
}

pub(super) fn trailers(trailers: &HeaderMap) -> Vec<String> {
    lines(trailers).collect()
}

/// A field in one line, whatever its value holds: a terminal obeys control characters.
fn lines(headers: &HeaderMap) -> impl Iterator<Item = String> {
    headers.iter().map(|(name, value)| line(name, value))
}

fn line(name: &HeaderName, value: &HeaderValue) -> String {
    format!("{name}: {}", text(value))
}

/// A value as text, with what is none escaped.
pub(super) fn text(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    let is_plain = |character: char| !character.is_control() || character == '\t';
    if text.chars().all(is_plain) {
        return text.into_owned();
    }
    text.chars()
        .flat_map(|c| if is_plain(c) { vec![c] } else { c.escape_default().collect() })
        .collect()
}

pub(super) const fn early_data(early_data: EarlyData) -> &'static str {
    match early_data {
        EarlyData::NotOffered => "not offered",
        EarlyData::Accepted => "accepted",
        EarlyData::Rejected => "rejected, and sent again",
    }
}

/// Where the time went: one row for each phase that took part.
pub(super) fn timing(story: &Story) -> String {
    let mut table = format!("{:<12}{:>12}{:>14}", "phase", "took", "since start");
    let mut since = Duration::ZERO;
    for (phase, took) in phases(story) {
        since += took;
        let _ = write!(table, "\n{phase:<12}{:>12}{:>14}", millis(took), millis(since));
    }
    let _ = write!(table, "\n{:<12}{:>12}{:>14}", "total", "", millis(total(story)));
    table
}

/// Phases one after the other; what is not there did not happen.
pub(super) fn phases(story: &Story) -> Vec<(&'static str, Duration)> {
    let mut phases = Vec::new();
    let mut add = |name, took: Duration| {
        if !took.is_zero() {
            phases.push((name, took));
        }
    };
    // To start a client takes time too, to read the system's authorities above all.
    add(if story.redirects.is_empty() { "start" } else { "redirects" }, story.asked - story.began);
    let Some(exchange) = story.answer.as_ref().and_then(|answer| answer.exchange.as_ref()) else {
        return phases;
    };
    let timings = exchange.timings;
    add("resolve", timings.resolve);
    add("connect", timings.connect);
    add("tls", timings.tls);
    let connected = timings.resolve + timings.connect + timings.tls;
    // A lost race, a queue of the pool.
    add("waiting", timings.waited.saturating_sub(connected));
    add("first byte", timings.first_byte.saturating_sub(timings.waited.max(connected)));
    if let Some(ended) = story.ended {
        add("content", (ended - story.asked).saturating_sub(timings.first_byte));
    }
    phases
}

pub(super) fn total(story: &Story) -> Duration {
    story.ended.map_or(story.began.elapsed(), |ended| ended - story.began)
}

fn millis(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1e3)
}

/// What carried the connection that won, if it was made for this request.
pub(super) fn transport(protocol: Protocol) -> Transport {
    match protocol {
        Protocol::Http1 | Protocol::Http2 => Transport::Tcp,
        Protocol::Http3 => Transport::Quic,
    }
}
