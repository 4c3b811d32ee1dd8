//! The trace that a request is a part of (W3C Trace Context): read, checked, and sent on with a parent of our own.
//!
//! What breaks the rules is taken out, so that nobody behind has to wonder: a malformed `traceparent` takes its
//! `tracestate` with it, a malformed `tracestate` goes alone.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::request_id::push_hex;
use super::{Middleware, Step};
use crate::exchange::Exchange;
use crate::{Request, random};

/// Configuration of `trace_context`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether a request without a trace begins one.
    pub start: bool,
}

/// A position in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span within: that of this request here.
    pub span_id: [u8; 8],
    /// Bit 0: whether it is recorded.
    pub flags: u8,
}

impl Config {
    pub(crate) fn build(self) -> Trace {
        Trace { config: self }
    }
}

/// Gives each request a span of its own.
#[derive(Debug)]
pub(crate) struct Trace {
    config: Config,
}

impl Middleware for Trace {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        let headers = request.headers_mut();
        let parent = parent(headers);
        if parent.is_none() {
            headers.remove(TRACEPARENT);
        }
        if parent.is_none() || !is_tracestate(headers) {
            headers.remove(TRACESTATE);
        }
        let trace = match parent {
            Some(parent) => TraceContext { span_id: random::bytes(), ..parent },
            None if self.config.start => {
                TraceContext { trace_id: random::bytes(), span_id: random::bytes(), flags: SAMPLED }
            }
            None => return Step::pass(),
        };
        headers.insert(TRACEPARENT, trace.to_field());
        exchange.notes_mut().trace = Some(trace);
        Step::pass()
    }
}

impl TraceContext {
    /// Reads the value of a `traceparent` of any version, as far as it is that of version 0 (§4.3).
    fn parse(text: &[u8]) -> Option<Self> {
        let (head, rest) = text.split_at_checked(55)?;
        let [version] = hex(head.get(..2)?)?;
        let is_whole = if version == 0 { rest.is_empty() } else { matches!(rest, [] | [b'-', ..]) };
        let is_split = [2, 35, 52].iter().all(|&at| head.get(at) == Some(&b'-'));
        if version == 0xff || !is_whole || !is_split {
            return None;
        }
        let trace_id = hex(head.get(3..35)?)?;
        let span_id = hex(head.get(36..52)?)?;
        let [flags] = hex(head.get(53..55)?)?;
        let is_real = trace_id != [0; 16] && span_id != [0; 8];
        // Of the flags only those which version 0 knows may be sent on (§4.3, §5.2): sampled, and random of level 2.
        is_real.then_some(Self { trace_id, span_id, flags: flags & (SAMPLED | RANDOM) })
    }

    fn to_field(self) -> HeaderValue {
        let mut text = Vec::with_capacity(55);
        text.extend(b"00-");
        self.trace_id.into_iter().for_each(|byte| push_hex(byte, &mut text));
        text.push(b'-');
        self.span_id.into_iter().for_each(|byte| push_hex(byte, &mut text));
        text.push(b'-');
        push_hex(self.flags, &mut text);
        // Hexadecimal digits and dashes are a value.
        HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static("-"))
    }
}

/// The one `traceparent`, if it is well formed.
fn parent(headers: &HeaderMap) -> Option<TraceContext> {
    let mut fields = headers.get_all(TRACEPARENT).iter();
    match (fields.next(), fields.next()) {
        (Some(field), None) => TraceContext::parse(field.as_bytes()),
        _ => None,
    }
}

/// Whether what the fields list together can be sent on (§3.3.1.3): up to 32 members, each a key and a value.
fn is_tracestate(headers: &HeaderMap) -> bool {
    let (mut members, mut bytes) = (0, 0);
    headers.get_all(TRACESTATE).iter().all(|field| {
        bytes += field.len();
        bytes <= MOST_BYTES
            && field.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii).all(|member| {
                members += usize::from(!member.is_empty());
                members <= MOST_MEMBERS && (member.is_empty() || is_member(member))
            })
    })
}

fn is_member(member: &[u8]) -> bool {
    let mut halves = member.splitn(2, |&byte| byte == b'=');
    let (Some(key), Some(value)) = (halves.next(), halves.next()) else { return false };
    let is_key =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(byte);
    let is_value = |byte: &u8| (0x20..=0x7e).contains(byte) && !b",=".contains(byte);
    (1..=256).contains(&key.len())
        && key.first().is_some_and(u8::is_ascii_alphanumeric)
        && key.iter().all(is_key)
        && (1..=256).contains(&value.len())
        && value.iter().all(is_value)
}

/// Small letters alone, as the standard has it.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let mut pairs = text.chunks_exact(2);
    for to in &mut bytes {
        let [high, low] = pairs.next()?.try_into().ok()?;
        *to = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const SAMPLED: u8 = 0x01;
const RANDOM: u8 = 0x02;
const MOST_MEMBERS: usize = 32;
/// Four times what everybody has to take (§3.3.1.5).
const MOST_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// The fields as the handler sees them, and what was noted.
    fn pass(start: bool, fields: &[(&str, &str)]) -> (HeaderMap, Option<TraceContext>) {
        let mut request = Request::new(sterna_net::Body::empty());
        for (name, value) in fields {
            let name = HeaderName::try_from(*name).expect("a name");
            request.headers_mut().append(name, HeaderValue::try_from(*value).expect("a value"));
        }
        let mut exchange = Exchange::begin(&request, None);
        drop(Config { start }.build().on_request(&mut exchange, &mut request));
        (request.headers().clone(), exchange.notes().and_then(|notes| notes.trace))
    }

    #[test]
    fn a_trace_goes_on_with_a_parent_of_our_own() {
        let state = "rojo=00f067aa0ba902b7,congo@a=t61 rcWkgMzE";
        let (headers, trace) = pass(false, &[("traceparent", GOOD), ("tracestate", state)]);
        let sent = headers[TRACEPARENT].to_str().expect("text");
        assert_eq!((&sent[..36], &sent[52..]), (&GOOD[..36], &GOOD[52..]));
        assert_ne!(sent[36..52], GOOD[36..52]);
        assert_eq!(TraceContext::parse(sent.as_bytes()), trace);
        assert_eq!(headers[TRACESTATE], state);
    }

    #[test]
    fn a_trace_begins_here_where_that_is_configured_and_nowhere_else() {
        assert_eq!(pass(false, &[]), (HeaderMap::new(), None));
        let (headers, trace) = pass(true, &[]);
        let trace = trace.expect("one began");
        assert_eq!(trace.flags, SAMPLED);
        assert_eq!(TraceContext::parse(headers[TRACEPARENT].as_bytes()), Some(trace));
    }

    #[test]
    fn a_malformed_parent_is_taken_out_with_its_state() {
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
            "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
        ] {
            let (headers, trace) = pass(false, &[("traceparent", bad), ("tracestate", "a=1")]);
            assert_eq!((headers.len(), trace), (0, None), "{bad}");
        }
        let (headers, _) = pass(false, &[("traceparent", GOOD), ("traceparent", GOOD)]);
        assert_eq!(headers.len(), 0, "two parents");
        assert_eq!(pass(false, &[("tracestate", "a=1")]).0.len(), 0, "a state of no trace");
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known_and_sent_on_as_ours() {
        let later = format!("cc{}ff-more", &GOOD[2..53]);
        let (headers, trace) = pass(false, &[("traceparent", &later)]);
        assert_eq!(trace.expect("read").flags, SAMPLED | RANDOM);
        assert!(headers[TRACEPARENT].to_str().expect("text").starts_with("00-0af7"));
    }

    #[test]
    fn a_malformed_state_is_taken_out_alone() {
        let many = |count: usize| vec!["a=1"; count].join(",");
        let long = |len: usize| format!("a={}", "b".repeat(len));
        let (most, more) = (many(32), many(33));
        for good in ["a=1", "a=1, ,b=2", "1x@y/_-*=~", most.as_str(), &long(256)] {
            let (headers, _) = pass(false, &[("traceparent", GOOD), ("tracestate", good)]);
            assert_eq!(headers.len(), 2, "{good}");
        }
        for bad in ["a", "=1", "a=", "A=1", "a=b=c", "_a=1", more.as_str(), &long(257)] {
            let (headers, trace) = pass(false, &[("traceparent", GOOD), ("tracestate", bad)]);
            assert_eq!((headers.len(), trace.is_some()), (1, true), "{bad}");
        }
    }

    #[test]
    fn a_state_in_several_fields_is_counted_together() {
        let part = vec!["a=1"; 17].join(",");
        let fields = [("traceparent", GOOD), ("tracestate", &part), ("tracestate", &part)];
        assert_eq!(pass(false, &fields).0.len(), 1);
        assert_eq!(pass(false, &fields[..2]).0.len(), 2);
    }
}
