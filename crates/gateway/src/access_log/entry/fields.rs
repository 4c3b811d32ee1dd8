//! Lines of the access log with fields of the operator's choice.
//!
//! As text they are values in the order of the choice, separated by blanks; as JSON, members in that order. What is not
//! known is `-`, or `null`. Nothing here is looked at unless fields were chosen.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{HOST, REFERER, USER_AGENT};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderName, HeaderValue};
use sterna_net::{ClientIdentity, RequestContext};

use super::json::push_string;
use super::{Format, Line, push_address, push_escaped, push_number_of_millis};
use crate::Request;
use crate::access_log::timestamp::{Clock, push_padded};
use crate::exchange::Proxied;

/// Declares the fields, with the name of each in a configuration and in JSON.
macro_rules! fields {
    ($($(#[doc = $doc:literal])+ $field:ident = $name:literal,)+) => {
        /// What a line of the access log may hold.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Field {
            $($(#[doc = $doc])+ $field,)+
        }

        impl Field {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$field),+];

            /// The names of all.
            pub const NAMES: &[&str] = &[$($name),+];

            /// As it is written.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$field => $name,)+ }
            }
        }
    };
}

fields! {
    /// When the request arrived.
    Time = "time",
    /// The peer's address and port.
    Peer = "peer",
    /// The client's address: the peer's, or the one that a trusted proxy names.
    Client = "client",
    /// The version of HTTP.
    Protocol = "protocol",
    /// The version of TLS.
    Tls = "tls",
    /// The host that was asked for.
    Host = "host",
    /// The method.
    Method = "method",
    /// The path, without the query.
    Path = "path",
    /// The pattern of the route that it took.
    Route = "route",
    /// The status.
    Status = "status",
    /// Bytes of content that were sent.
    Bytes = "bytes",
    /// Bytes of the request's content that were read.
    ReceivedBytes = "received_bytes",
    /// From the head of the request to the last byte of the response, in milliseconds.
    Duration = "duration_ms",
    /// The round-trip time at the end, in milliseconds.
    Rtt = "rtt_ms",
    /// Whether the response ended before its end.
    Cut = "cut",
    /// Why it did: `client`, which left or took too long; `file`, which could not be read; `source`, which failed; else the
    /// proxy error type of RFC 9209 with which the backend's response broke off.
    CutReason = "cut_reason",
    /// `User-Agent` of the request.
    UserAgent = "user_agent",
    /// `Referer` of the request.
    Referer = "referer",
    /// The name of the request: the one that `request_id` gave it, else its own `X-Request-Id`.
    RequestId = "request_id",
    /// The trace that it is a part of, where `trace_context` knows of one.
    TraceId = "trace_id",
    /// Whether the request came in early data (0-RTT).
    EarlyData = "early_data",
    /// The subject of the client's certificate.
    ClientSubject = "client_subject",
    /// Whether the canary answered.
    Canary = "canary",
    /// The backend that answered, or was asked last.
    Upstream = "upstream",
    /// From asking it to the head of its response, in milliseconds.
    UpstreamDuration = "upstream_ms",
    /// How many backends were asked.
    Attempts = "attempts",
    /// Why nobody answered: the proxy error type of RFC 9209.
    ProxyError = "proxy_error",
    /// Which worker served it.
    Worker = "worker",
}

/// What only a choice of fields asks for.
#[derive(Debug, Default)]
pub(super) struct Details {
    authority: Option<Authority>,
    host: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    pub(super) request_id: Option<HeaderValue>,
    pub(super) trace_id: Option<[u8; 16]>,
    pub(super) is_canary: bool,
    pub(super) route: Option<Arc<str>>,
    pub(super) proxied: Option<Box<Proxied>>,
    pub(super) received: Arc<AtomicU64>,
}

impl Details {
    pub(super) fn of(request: &Request) -> Self {
        let field = |name: HeaderName| request.headers().get(name).cloned();
        Self {
            authority: request.uri().authority().cloned(),
            host: field(HOST),
            user_agent: field(USER_AGENT),
            referer: field(REFERER),
            request_id: field(REQUEST_ID),
            trace_id: None,
            is_canary: false,
            route: None,
            proxied: None,
            received: Arc::default(),
        }
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A value, as both forms need it.
enum Shown<'a> {
    Unknown,
    /// Of the client's choice: it is escaped.
    Text(&'a [u8]),
    Number(u64),
    Millis(Duration),
    Boolean(bool),
    /// What it has written itself, and is a text.
    Written,
}

impl Line {
    /// Writes the line with these fields.
    pub(super) fn write_fields(
        &self,
        fields: &[Field],
        format: Format,
        context: Option<&RequestContext>,
        taken: Duration,
        to: &mut Vec<u8>,
        clock: &mut Clock,
    ) {
        let mut scratch = Vec::new();
        for (i, &field) in fields.iter().enumerate() {
            to.push(match (format, i) {
                (Format::Text, 0) => b'\0',
                (Format::Text, _) => b' ',
                (Format::Json, 0) => b'{',
                (Format::Json, _) => b',',
            });
            if (format, i) == (Format::Text, 0) {
                to.pop();
            }
            if format == Format::Json {
                to.push(b'"');
                to.extend_from_slice(field.name().as_bytes());
                to.extend_from_slice(b"\":");
            }
            scratch.clear();
            let shown = match self.value(field, context, taken, &mut scratch, clock) {
                Shown::Written => Shown::Text(&scratch),
                shown => shown,
            };
            push(&shown, format, to);
        }
        if format == Format::Json {
            to.push(b'}');
        }
        to.push(b'\n');
    }

    fn value<'a>(
        &'a self,
        field: Field,
        context: Option<&'a RequestContext>,
        taken: Duration,
        scratch: &mut Vec<u8>,
        clock: &mut Clock,
    ) -> Shown<'a> {
        let text = |text: Option<&'a str>| {
            text.map_or(Shown::Unknown, |text| Shown::Text(text.as_bytes()))
        };
        let details = self.details.as_deref();
        let proxied = details.and_then(|details| details.proxied.as_deref());
        let value = |of: fn(&Details) -> Option<&HeaderValue>| {
            let value = details.and_then(of);
            value.map_or(Shown::Unknown, |value| Shown::Text(value.as_bytes()))
        };
        match field {
            Field::Time => {
                clock.write(self.time, scratch);
                Shown::Written
            }
            Field::Peer => match context {
                Some(context) => {
                    push_address(context.peer_address(), scratch);
                    Shown::Written
                }
                None => Shown::Unknown,
            },
            Field::Client => {
                let peer = || context.map(|context| context.peer_address().ip().to_canonical());
                match self.client.or_else(peer) {
                    Some(client) => {
                        // Writing to a `Vec` does not fail.
                        let _ = write!(scratch, "{client}");
                        Shown::Written
                    }
                    None => Shown::Unknown,
                }
            }
            Field::Protocol => text(context.map(|context| context.protocol().as_str())),
            Field::Tls => text(context.and_then(|context| context.tls()?.version)),
            Field::Host => match details.and_then(|details| details.authority.as_ref()) {
                Some(authority) => Shown::Text(authority.as_str().as_bytes()),
                None => value(|details| details.host.as_ref()),
            },
            Field::Method => Shown::Text(self.method.as_str().as_bytes()),
            Field::Path => text(self.target.as_ref().map(PathAndQuery::path)),
            Field::Route => text(details.and_then(|details| details.route.as_deref())),
            Field::Status => {
                self.status.map_or(Shown::Unknown, |status| Shown::Number(status.as_u16().into()))
            }
            Field::Bytes => Shown::Number(self.bytes),
            Field::ReceivedBytes => match details {
                Some(details) => Shown::Number(details.received.load(Ordering::Relaxed)),
                None => Shown::Unknown,
            },
            Field::Duration => Shown::Millis(taken),
            Field::Rtt => {
                let rtt = context.and_then(RequestContext::rtt);
                rtt.map_or(Shown::Unknown, Shown::Millis)
            }
            Field::Cut => Shown::Boolean(!self.is_whole),
            Field::CutReason => text(self.cut_reason()),
            Field::UserAgent => value(|details| details.user_agent.as_ref()),
            Field::Referer => value(|details| details.referer.as_ref()),
            Field::RequestId => value(|details| details.request_id.as_ref()),
            Field::TraceId => match details.and_then(|details| details.trace_id) {
                Some(id) => {
                    let _ = write!(scratch, "{:032x}", u128::from_be_bytes(id));
                    Shown::Written
                }
                None => Shown::Unknown,
            },
            Field::EarlyData => {
                Shown::Boolean(context.is_some_and(RequestContext::came_in_early_data))
            }
            Field::ClientSubject => {
                let client = context.and_then(|context| context.tls()?.client.as_deref());
                text(client.map(ClientIdentity::subject))
            }
            Field::Canary => Shown::Boolean(details.is_some_and(|details| details.is_canary)),
            Field::Upstream => match proxied.and_then(|proxied| proxied.backend.as_ref()) {
                Some(backend) => {
                    // Writing to a `Vec` does not fail.
                    let _ = write!(scratch, "{}", backend.address());
                    Shown::Written
                }
                None => Shown::Unknown,
            },
            Field::UpstreamDuration => {
                let after = proxied.and_then(|proxied| proxied.first_byte);
                after.map_or(Shown::Unknown, Shown::Millis)
            }
            Field::Attempts => {
                proxied.map_or(Shown::Unknown, |proxied| Shown::Number(proxied.attempts.into()))
            }
            Field::ProxyError => {
                text(proxied.and_then(|proxied| proxied.error).map(|error| error.token()))
            }
            Field::Worker => {
                context.map_or(Shown::Unknown, |context| Shown::Number(context.worker() as u64))
            }
        }
    }
}

fn push(shown: &Shown<'_>, format: Format, to: &mut Vec<u8>) {
    match (shown, format) {
        (Shown::Unknown | Shown::Written, Format::Text) => to.push(b'-'),
        (Shown::Unknown | Shown::Written, Format::Json) => to.extend_from_slice(b"null"),
        (Shown::Text(text), Format::Text) => push_escaped(text, to),
        (Shown::Text(text), Format::Json) => push_string(text, to),
        (Shown::Number(number), _) => push_padded(*number, 1, to),
        (Shown::Millis(duration), _) => push_number_of_millis(*duration, to),
        (Shown::Boolean(value), _) => to.extend_from_slice(value.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::line;
    use super::*;

    fn written(fields: &[Field], format: Format) -> String {
        let request = http::Request::get("/a/b")
            .header(HOST, "a.example")
            .header(USER_AGENT, "a \"b\"")
            .body(sterna_net::Body::empty())
            .expect("a request");
        let trace_id = Some(*b"0123456789abcdef");
        let route = Some("/a/*".into());
        let details = Details { route, trace_id, ..Details::of(&request) };
        let client = Some([192, 0, 2, 7].into());
        let line = Line { details: Some(Box::new(details)), client, ..line() };
        let (mut to, taken) = (Vec::new(), Duration::from_micros(1412));
        line.write_fields(fields, format, None, taken, &mut to, &mut Clock::default());
        String::from_utf8(to).expect("ASCII")
    }

    #[test]
    fn fields_are_written_in_the_order_of_the_choice() {
        let fields = [Field::Host, Field::Status, Field::Route, Field::UserAgent, Field::Referer];
        assert_eq!(written(&fields, Format::Text), "a.example 200 /a/* a\\x20\"b\" -\n");
        assert_eq!(
            written(&fields, Format::Json),
            "{\"host\":\"a.example\",\"status\":200,\"route\":\"/a/*\",\"user_agent\":\"a \\\"b\\\"\",\"referer\":null}\n"
        );
    }

    #[test]
    fn the_client_and_the_trace_are_written_as_they_are_known_elsewhere() {
        let fields = [Field::Client, Field::TraceId, Field::Canary];
        let expected = "192.0.2.7 30313233343536373839616263646566 false\n";
        assert_eq!(written(&fields, Format::Text), expected);
    }

    #[test]
    fn every_field_makes_a_line_of_json() {
        let written: serde_json::Value =
            serde_json::from_str(&written(Field::ALL, Format::Json)).expect("JSON");
        let names: Vec<&String> = written.as_object().expect("an object").keys().collect();
        assert_eq!(names.len(), Field::NAMES.len());
        assert_eq!((&written["duration_ms"], &written["cut"]), (&1.412.into(), &false.into()));
    }

    #[test]
    fn the_usual_fields_chosen_one_by_one_make_the_usual_line_of_json() {
        let usual = [
            Field::Time,
            Field::Peer,
            Field::Protocol,
            Field::Method,
            Field::Path,
            Field::Status,
            Field::Bytes,
            Field::Duration,
            Field::Rtt,
            Field::Cut,
        ];
        let mut expected = Vec::new();
        let (taken, mut clock) = (Duration::from_micros(1412), Clock::default());
        line().write_json(None, taken, &mut expected, &mut clock);
        assert_eq!(written(&usual, Format::Json).as_bytes(), expected);
    }
}
