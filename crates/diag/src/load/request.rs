//! Requests as they go on the wire: encoded once, sent many times.

use bytes::{BufMut, Bytes, BytesMut};
use sterna_qpack::{Encoder, EncoderConfig, FieldRef};

use super::Plan;

/// A request of HTTP/3 up to its content: HEADERS, and the header of the one DATA frame, if there is content.
pub(super) fn h3(plan: &Plan) -> Bytes {
    let fields = fields(plan);
    let mut section = BytesMut::new();
    let config = EncoderConfig { max_table_capacity: 0, max_blocked_streams: 0 };
    let lines = fields.iter().map(|(name, value)| FieldRef {
        name: name.as_bytes(),
        value: value.as_bytes(),
        sensitive: false,
    });
    Encoder::new(config).encode(0, lines, &mut section);

    let mut frame = BytesMut::new();
    put_varint(&mut frame, FRAME_HEADERS);
    put_varint(&mut frame, section.len() as u64);
    frame.extend_from_slice(&section);
    if !plan.request.body.is_empty() {
        put_varint(&mut frame, FRAME_DATA);
        put_varint(&mut frame, plan.request.body.len());
    }
    frame.freeze()
}

/// The fields of a request in HTTP/2 and HTTP/3, pseudo-header fields first.
pub(super) fn fields(plan: &Plan) -> Vec<(String, String)> {
    let target = &plan.target;
    let scheme = if target.is_secure { "https" } else { "http" };
    let given = &plan.request.headers;
    let host = given.iter().find(|(name, _)| name == "host").map(|(_, value)| value);
    let mut fields = vec![
        (":method".to_owned(), plan.request.method.to_string()),
        (":scheme".to_owned(), scheme.to_owned()),
        (":authority".to_owned(), host.unwrap_or(&target.authority).clone()),
        (":path".to_owned(), target.path.clone()),
    ];
    fields.extend(regular(plan));
    fields
}

/// The fields that are not pseudo-header fields, without those that are HTTP/1.1's alone.
pub(super) fn regular(plan: &Plan) -> Vec<(String, String)> {
    let given = &plan.request.headers;
    let is_given = |name: &str| given.iter().any(|(given, _)| given == name);
    let mut fields = Vec::new();
    if !is_given("accept") {
        fields.push(("accept".to_owned(), "*/*".to_owned()));
    }
    if !is_given("user-agent") {
        fields.push(("user-agent".to_owned(), USER_AGENT.to_owned()));
    }
    if !plan.request.body.is_empty() && !is_given("content-length") {
        fields.push(("content-length".to_owned(), plan.request.body.len().to_string()));
    }
    fields.extend(given.iter().filter(|(name, _)| !HOP.contains(&name.as_str())).cloned());
    fields
}

/// Appends a variable-length integer (RFC 9000 §16).
fn put_varint(out: &mut BytesMut, value: u64) {
    match value {
        0..0x40 => out.put_u8(value as u8),
        0x40..0x4000 => out.put_u16(0x4000 | value as u16),
        0x4000..0x4000_0000 => out.put_u32(0x8000_0000 | value as u32),
        _ => out.put_u64(0xc000_0000_0000_0000 | value),
    }
}

const USER_AGENT: &str = concat!("sterna-load/", env!("CARGO_PKG_VERSION"));

/// What a client of HTTP/2 and HTTP/3 must not send (RFC 9114 §4.2), and `host`, which became `:authority`.
const HOP: [&str; 6] =
    ["host", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// Frame types (RFC 9114 §11.2.1).
const FRAME_DATA: u64 = 0x00;
const FRAME_HEADERS: u64 = 0x01;
