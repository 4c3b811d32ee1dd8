//! One line of the access log.
//!
//! ```text
//! 2026-11-21T01:53:04.123Z 127.0.0.1:50332 HTTP/3 GET /index.html 200 1024 0.412ms rtt=0.250ms
//! time                     peer            proto  method path     |   |    |       round-trip time at the end
//!                                                             status  |    from the head to the last byte
//!                                                        bytes of content
//! ```
//! In place of the peer stands the client that a trusted proxy names, without a port. What is not known
//! is `-`, such as the status of a request that was given up before its answer. The word `cut` follows
//! when the response did not reach its end. The query is left out: it is where secrets are.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime};

use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use sterna_net::RequestContext;

use self::fields::Details;
use super::timestamp::{Clock, push_padded};
use super::{Format, Recorder};
use crate::Request;
use crate::body::BodyError;
use crate::exchange::{Notes, Proxied};
use crate::metrics::{Block, RouteMetrics};

pub(super) mod fields;
mod json;

/// A request on its way to the access log; dropping it writes the line.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Where it is written, if it is.
    recorder: Option<Recorder>,
    /// Where it is counted, if it is.
    block: Option<Arc<Block>>,
    line: Line,
    context: Option<RequestContext>,
    arrived: Instant,
}

/// What has been noted so far.
#[derive(Debug)]
struct Line {
    time: SystemTime,
    method: Method,
    /// None for the few targets that are no path, such as that of CONNECT.
    target: Option<PathAndQuery>,
    status: Option<StatusCode>,
    bytes: u64,
    is_whole: bool,
    /// Why the response broke off, where that was not the client's doing.
    broken_by: Option<&'static str>,
    /// Who is behind a trusted proxy.
    client: Option<IpAddr>,
    /// What only a choice of fields asks for.
    details: Option<Box<Details>>,
}

impl Entry {
    /// Notes the arrival of a request.
    pub(crate) fn begin(request: &Request, recorder: Option<&Recorder>) -> Self {
        Self {
            recorder: recorder.cloned(),
            block: None,
            line: recorder.map_or_else(Line::unwritten, |recorder| Line::of(request, recorder)),
            context: recorder.and_then(|_| RequestContext::of(request).cloned()),
            arrived: Instant::now(),
        }
    }

    /// Notes who is behind the peer, a trusted proxy.
    pub(crate) fn is_of(&mut self, client: IpAddr) {
        self.line.client = Some(client);
    }

    /// Notes which route it takes, and where that counts it.
    pub(crate) fn takes(&mut self, route: &RouteMetrics, block: Arc<Block>) {
        self.block = Some(block);
        if let Some(details) = &mut self.line.details {
            details.route = Some(route.route().clone());
        }
    }

    /// Notes what policies know of it.
    pub(crate) fn noted(&mut self, notes: Option<&Notes>, is_canary: bool) {
        let Some(details) = &mut self.line.details else { return };
        details.is_canary = is_canary;
        let Some(notes) = notes else { return };
        details.trace_id = notes.trace.as_ref().map(|trace| trace.trace_id);
        if let Some(id) = &notes.request_id {
            details.request_id = Some(id.clone());
        }
    }

    /// Whether it tells more than the usual line.
    pub(crate) fn has_details(&self) -> bool {
        self.line.details.is_some()
    }

    /// Notes what came of passing it on.
    pub(crate) fn passed_on(&mut self, proxied: Box<Proxied>) {
        if let (Some(block), Some(error)) = (&self.block, proxied.error) {
            block.count_proxy_error(error);
        }
        if let Some(details) = &mut self.line.details {
            details.proxied = Some(proxied);
        }
    }

    /// Notes the head of the response; `is_whole` when no content follows.
    pub(crate) fn answered(&mut self, status: StatusCode, is_whole: bool) {
        self.line.status = Some(status);
        self.line.is_whole = is_whole;
    }

    /// Where the bytes of the request's content are to be counted, if the log tells of them.
    pub(crate) fn received(&self) -> Option<Arc<AtomicU64>> {
        self.line.details.as_ref().map(|details| details.received.clone())
    }

    /// Notes that the response has broken off.
    pub(crate) fn broke(&mut self, error: &BodyError) {
        self.line.broken_by = Some(match error {
            BodyError::File(_) => "file",
            BodyError::Upstream { why, .. } => why.token(),
            BodyError::Source(_) => "source",
        });
    }

    /// Notes that more content was handed over; `is_whole` when it was the last.
    pub(crate) fn sent(&mut self, bytes: u64, is_whole: bool) {
        self.line.bytes += bytes;
        self.line.is_whole = is_whole;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let taken = self.arrived.elapsed();
        let Self { recorder, block, line, context, .. } = self;
        if let Some(block) = block {
            block.count(line.status, taken, line.bytes, line.is_whole);
        }
        let Some(recorder) = recorder else { return };
        let context = context.as_ref();
        recorder.record(|layout, to, clock| match (layout.fields(), layout.format()) {
            (Some(fields), format) => line.write_fields(fields, format, context, taken, to, clock),
            (None, Format::Text) => line.write(context, taken, to, clock),
            (None, Format::Json) => line.write_json(context, taken, to, clock),
        });
    }
}

impl Line {
    fn of(request: &Request, recorder: &Recorder) -> Self {
        Self {
            time: SystemTime::now(),
            method: request.method().clone(),
            target: request.uri().path_and_query().cloned(),
            details: recorder.wants_details().then(|| Box::new(Details::of(request))),
            ..Self::unwritten()
        }
    }

    /// One that nobody will read: what is counted of a request is in it, and no more.
    fn unwritten() -> Self {
        Self {
            time: SystemTime::UNIX_EPOCH,
            method: Method::GET,
            target: None,
            status: None,
            bytes: 0,
            is_whole: false,
            broken_by: None,
            client: None,
            details: None,
        }
    }

    fn cut_reason(&self) -> Option<&'static str> {
        (!self.is_whole).then(|| self.broken_by.unwrap_or("client"))
    }

    fn write(
        &self,
        context: Option<&RequestContext>,
        taken: Duration,
        to: &mut Vec<u8>,
        clock: &mut Clock,
    ) {
        clock.write(self.time, to);
        to.push(b' ');
        match context {
            Some(context) => {
                match self.client {
                    // Writing to a `Vec` does not fail.
                    Some(client) => drop(write!(to, "{client}")),
                    None => push_address(context.peer_address(), to),
                }
                to.push(b' ');
                to.extend_from_slice(context.protocol().as_str().as_bytes());
            }
            None => to.extend_from_slice(b"- -"),
        }
        to.push(b' ');
        push_escaped(self.method.as_str().as_bytes(), to);
        to.push(b' ');
        push_escaped(self.target.as_ref().map_or("", PathAndQuery::path).as_bytes(), to);
        to.push(b' ');
        match self.status {
            Some(status) => to.extend_from_slice(status.as_str().as_bytes()),
            None => to.push(b'-'),
        }
        to.push(b' ');
        push_padded(self.bytes, 1, to);
        to.push(b' ');
        push_millis(taken, to);
        to.extend_from_slice(b" rtt=");
        match context.and_then(RequestContext::rtt) {
            Some(rtt) => push_millis(rtt, to),
            None => to.push(b'-'),
        }
        to.extend_from_slice(if self.is_whole { b"\n" } else { b" cut\n" });
    }
}

/// By hand for IPv4, which is most of them: the machinery of formatting costs as much as the rest of a
/// line.
fn push_address(address: SocketAddr, to: &mut Vec<u8>) {
    // A socket for both families tells an IPv4 peer as `::ffff:192.0.2.1`.
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            for (octet, end) in ip.octets().into_iter().zip(*b"...:") {
                push_padded(octet.into(), 1, to);
                to.push(end);
            }
            push_padded(address.port().into(), 1, to);
        }
        IpAddr::V6(_) => {
            // Writing to a `Vec` does not fail.
            let _ = write!(to, "{address}");
        }
    }
}

/// Milliseconds with three decimals: `0.412ms`.
fn push_millis(duration: Duration, to: &mut Vec<u8>) {
    push_number_of_millis(duration, to);
    to.extend_from_slice(b"ms");
}

/// The same without the unit.
fn push_number_of_millis(duration: Duration, to: &mut Vec<u8>) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    push_padded(micros / 1000, 1, to);
    to.push(b'.');
    push_padded(micros % 1000, 3, to);
}

/// Text of the client's choice, so that it stays one word of one line and cannot talk to a terminal.
fn push_escaped(text: &[u8], to: &mut Vec<u8>) {
    if text.is_empty() {
        to.push(b'-');
    }
    for &byte in text {
        if byte.is_ascii_graphic() && byte != b'\\' {
            to.push(byte);
        } else {
            to.extend_from_slice(b"\\x");
            to.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    pub(super) fn line() -> Line {
        Line {
            time: UNIX_EPOCH,
            method: Method::GET,
            target: Some(PathAndQuery::from_static("/a/b?secret=1")),
            status: Some(StatusCode::OK),
            bytes: 1024,
            is_whole: true,
            broken_by: None,
            client: None,
            details: None,
        }
    }

    fn written(line: &Line) -> String {
        let mut to = Vec::new();
        line.write(None, Duration::from_micros(1412), &mut to, &mut Clock::default());
        String::from_utf8(to).expect("ASCII")
    }

    #[test]
    fn a_line_says_what_was_answered_and_keeps_the_query_to_itself() {
        let expected = "1970-01-01T00:00:00.000Z - - GET /a/b 200 1024 1.412ms rtt=-\n";
        assert_eq!(written(&line()), expected);
    }

    #[test]
    fn a_response_that_was_cut_says_so() {
        let line = Line { is_whole: false, ..line() };
        let expected = "1970-01-01T00:00:00.000Z - - GET /a/b 200 1024 1.412ms rtt=- cut\n";
        assert_eq!(written(&line), expected);
    }

    #[test]
    fn a_request_given_up_before_its_answer_has_no_status() {
        let line = Line { status: None, bytes: 0, is_whole: false, ..line() };
        let expected = "1970-01-01T00:00:00.000Z - - GET /a/b - 0 1.412ms rtt=- cut\n";
        assert_eq!(written(&line), expected);
    }

    #[test]
    fn addresses_are_written_as_the_standard_library_does() {
        for text in ["127.0.0.1:80", "255.10.0.99:65535", "[::1]:443", "[2001:db8::a]:1"] {
            let mut to = Vec::new();
            push_address(text.parse().expect("an address"), &mut to);
            assert_eq!(to, text.as_bytes());
        }
        let mut to = Vec::new();
        push_address("[::ffff:192.0.2.1]:80".parse().expect("an address"), &mut to);
        assert_eq!(to, b"192.0.2.1:80");
    }

    #[test]
    fn bytes_that_could_forge_a_line_or_move_a_cursor_are_escaped() {
        let mut to = Vec::new();
        push_escaped(b"/a b\n\r\x1b[2J\\\x7f\xc3\xa4", &mut to);
        assert_eq!(to, b"/a\\x20b\\x0a\\x0d\\x1b[2J\\x5c\\x7f\\xc3\\xa4");
    }
}
