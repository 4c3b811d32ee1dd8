//! A line of the access log as one JSON object.
//!
//! ```json
//! {"time":"2026-11-21T01:53:04.123Z","peer":"127.0.0.1:50332","protocol":"HTTP/3","method":"GET",
//!  "path":"/index.html","status":200,"bytes":1024,"duration_ms":0.412,"rtt_ms":0.250,"cut":false}
//! ```
//! On one line; `client` follows the peer where a trusted proxy names one. What is not known is `null`.

use std::io::Write as _;
use std::time::Duration;

use http::uri::PathAndQuery;
use sterna_net::RequestContext;

use super::{HEX, Line, push_address, push_number_of_millis};
use crate::access_log::timestamp::{Clock, push_padded};

impl Line {
    pub(super) fn write_json(
        &self,
        context: Option<&RequestContext>,
        taken: Duration,
        to: &mut Vec<u8>,
        clock: &mut Clock,
    ) {
        to.extend_from_slice(b"{\"time\":\"");
        clock.write(self.time, to);
        match context {
            Some(context) => {
                to.extend_from_slice(b"\",\"peer\":\"");
                push_address(context.peer_address(), to);
                to.extend_from_slice(b"\",\"protocol\":\"");
                to.extend_from_slice(context.protocol().as_str().as_bytes());
                to.push(b'"');
            }
            None => to.extend_from_slice(b"\",\"peer\":null,\"protocol\":null"),
        }
        if let Some(client) = self.client {
            // Writing to a `Vec` does not fail.
            let _ = write!(to, ",\"client\":\"{client}\"");
        }
        to.extend_from_slice(b",\"method\":");
        push_string(self.method.as_str().as_bytes(), to);
        to.extend_from_slice(b",\"path\":");
        match &self.target {
            Some(target) => push_string(PathAndQuery::path(target).as_bytes(), to),
            None => to.extend_from_slice(b"null"),
        }
        to.extend_from_slice(b",\"status\":");
        match self.status {
            Some(status) => to.extend_from_slice(status.as_str().as_bytes()),
            None => to.extend_from_slice(b"null"),
        }
        to.extend_from_slice(b",\"bytes\":");
        push_padded(self.bytes, 1, to);
        to.extend_from_slice(b",\"duration_ms\":");
        push_number_of_millis(taken, to);
        to.extend_from_slice(b",\"rtt_ms\":");
        match context.and_then(RequestContext::rtt) {
            Some(rtt) => push_number_of_millis(rtt, to),
            None => to.extend_from_slice(b"null"),
        }
        let end: &[u8] = if self.is_whole { b",\"cut\":false}\n" } else { b",\"cut\":true}\n" };
        to.extend_from_slice(end);
    }
}

/// Text of the client's choice. Bytes that are not ASCII are escaped one by one, for nobody promised that
/// they are UTF-8.
pub(super) fn push_string(text: &[u8], to: &mut Vec<u8>) {
    to.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => to.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => to.push(byte),
            _ => {
                to.extend_from_slice(b"\\u00");
                to.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
    to.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::super::tests::line;
    use super::*;

    fn written(line: &Line) -> serde_json::Value {
        let mut to = Vec::new();
        line.write_json(None, Duration::from_micros(1412), &mut to, &mut Clock::default());
        assert_eq!(to.iter().filter(|&&byte| byte == b'\n').count(), 1, "one line");
        serde_json::from_slice(&to).expect("JSON")
    }

    #[test]
    fn a_line_is_an_object_with_what_the_text_says() {
        let expected = serde_json::json!({
            "time": "1970-01-01T00:00:00.000Z", "peer": null, "protocol": null, "method": "GET",
            "path": "/a/b", "status": 200, "bytes": 1024, "duration_ms": 1.412, "rtt_ms": null,
            "cut": false,
        });
        assert_eq!(written(&line()), expected);
    }

    #[test]
    fn a_request_given_up_before_its_answer_has_null_for_a_status() {
        let line = written(&Line { status: None, target: None, is_whole: false, ..line() });
        assert_eq!(
            (&line["status"], &line["path"]),
            (&serde_json::json!(null), &serde_json::json!(null))
        );
        assert_eq!(line["cut"], true);
    }

    #[test]
    fn no_text_ends_its_string() {
        let mut to = Vec::new();
        push_string(b"/a\"b\\c\n\x7f\xc3\xa4", &mut to);
        let read: String = serde_json::from_slice(&to).expect("JSON");
        assert_eq!(read, "/a\"b\\c\n\u{7f}\u{c3}\u{a4}");
    }
}
