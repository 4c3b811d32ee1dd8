//! As much of HPACK (RFC 7541) as a load generator needs: a request that is encoded once, and `:status` of a response.
//!
//! We announce a table of size 0, so that a response refers to the static table alone. The server's table is used as
//! browsers do: the first request of a connection enters its fields, later ones are references of a byte each.

use bytes::{BufMut, Bytes, BytesMut};
use sterna_qpack::{Decoder, DecoderConfig, Field};

use crate::load::{Failure, Plan, request};

/// The field section of a request, in the forms that a connection needs.
#[derive(Debug)]
pub(in crate::load) struct Request {
    /// Enters the fields in the server's table.
    first: Bytes,
    /// Refers to what the first has entered.
    later: Bytes,
    /// Uses no table; for servers whose table is too small.
    plain: Bytes,
    /// What the entries take in the table (RFC 7541 §4.1).
    entries: u64,
}

impl Request {
    pub(in crate::load) fn new(plan: &Plan) -> Self {
        let fields = request::fields(plan);
        let entered = |(name, value): &&(String, String)| exact(name, value).is_none();
        let count = fields.iter().filter(entered).count();
        let (mut first, mut later) = (BytesMut::new(), BytesMut::new());
        // An update of the table's size, which the server may be owed if it allows less than the default.
        let mut plain = BytesMut::from(&[0x20][..]);
        let (mut entries, mut index) = (0, 0);
        for (name, value) in &fields {
            if let Some(index) = exact(name, value) {
                for out in [&mut first, &mut later, &mut plain] {
                    put_integer(out, 0x80, 7, index);
                }
                continue;
            }
            put_literal(&mut first, 0x40, 6, name, value);
            put_literal(&mut plain, 0x00, 4, name, value);
            // The newest entry has the lowest index, behind the 61 of the static table.
            put_integer(&mut later, 0x80, 7, (STATIC + count - index) as u64);
            entries += (name.len() + value.len() + 32) as u64;
            index += 1;
        }
        Self { first: first.freeze(), later: later.freeze(), plain: plain.freeze(), entries }
    }

    /// What a connection begins with.
    pub(super) fn form(&self) -> Form {
        if self.entries <= u64::from(DEFAULT_TABLE) { Form::First } else { Form::Plain }
    }

    /// The section to send; the form of the next.
    pub(super) fn section(&self, form: &mut Form) -> &[u8] {
        match form {
            Form::First => {
                *form = Form::Later;
                &self.first
            }
            Form::Later => &self.later,
            Form::Plain => &self.plain,
        }
    }
}

/// How the next request of a connection is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Its fields enter the server's table.
    First,
    /// They are there.
    Later,
    /// The server's table is too small, for the rest of the connection.
    Plain,
}

/// `:status` of a field section, which comes first (RFC 9113 §8.3).
///
/// # Errors
/// What the server has broken.
pub(super) fn status(section: &[u8]) -> Result<u16, Failure> {
    let mut rest = section;
    // Updates of the table's size, of which the server owes us one.
    while let Some(0x20..=0x3f) = rest.first() {
        integer(&mut rest, 5)?;
    }
    match *rest.first().ok_or_else(|| broken("an empty field section"))? {
        line @ 0x88..=0x8e => return Ok(STATUSES[usize::from(line - 0x88)]),
        0x48..=0x4e | 0x08..=0x0e | 0x18..=0x1e => rest = rest.get(1..).unwrap_or_default(),
        // A literal name: it must be `:status`.
        0x40 | 0x00 | 0x10 => {
            rest = rest.get(1..).unwrap_or_default();
            if string(&mut rest)?.as_ref() != b":status" {
                return Err(broken("no :status"));
            }
        }
        _ => return Err(broken("no :status")),
    }
    let value = string(&mut rest)?;
    let status = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
    status.filter(|status| (100..1000).contains(status)).ok_or_else(|| broken("no :status"))
}

/// Decodes a whole field section: its `content-length`, if it has one.
///
/// # Errors
/// What the server has broken: a reference to an entry that is not there, a length that is none.
pub(super) fn content_length(section: &[u8]) -> Result<Option<u64>, Failure> {
    let (mut rest, mut length) = (section, None);
    while let Some(&line) = rest.first() {
        let is_length = match line {
            0x80.. => {
                let index = integer(&mut rest, 7)?;
                if !(1..=STATIC as u64).contains(&index) {
                    return Err(broken("a reference to a table that is empty"));
                }
                continue;
            }
            0x20..=0x3f => {
                integer(&mut rest, 5)?;
                continue;
            }
            0x40.. => name(&mut rest, 6)?,
            _ => name(&mut rest, 4)?,
        };
        let value = string(&mut rest)?;
        if is_length {
            let text = std::str::from_utf8(&value).ok();
            let value = text.and_then(|text| text.parse().ok());
            length = Some(value.ok_or_else(|| broken("content-length"))?);
        }
    }
    Ok(length)
}

/// The name of a literal field line; whether it is `content-length`.
fn name(rest: &mut &[u8], bits: u32) -> Result<bool, Failure> {
    match integer(rest, bits)? {
        0 => Ok(string(rest)?.as_ref() == b"content-length"),
        CONTENT_LENGTH => Ok(true),
        index if index <= STATIC as u64 => Ok(false),
        _ => Err(broken("a reference to a table that is empty")),
    }
}

/// A string (RFC 7541 §5.2).
///
/// QPACK's strings behind a name reference have the same form, so that its decoder can undo the Huffman code.
fn string(rest: &mut &[u8]) -> Result<Bytes, Failure> {
    let start = *rest;
    let is_huffman = start.first().is_some_and(|byte| byte & 0x80 != 0);
    let length = integer(rest, 7)?;
    let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
    let (raw, tail) = rest.split_at(length.ok_or_else(|| broken("a string beyond its section"))?);
    *rest = tail;
    if !is_huffman {
        return Ok(Bytes::copy_from_slice(raw));
    }
    let coded = start.get(..start.len() - tail.len()).unwrap_or_default();
    let section = [&[0x00, 0x00, QPACK_AUTHORITY], coded].concat();
    let mut decoder = Decoder::new(DecoderConfig {
        max_table_capacity: 0,
        max_blocked_streams: 0,
        max_field_section_size: u64::MAX,
    });
    let mut value = None;
    decoder
        .decode(0, &section.into(), &mut |field: Field| value = Some(field.value))
        .map_err(|error| broken(&error.to_string()))?;
    value.ok_or_else(|| broken("a string that is none"))
}

/// An integer with a prefix of so many bits (RFC 7541 §5.1).
fn integer(rest: &mut &[u8], bits: u32) -> Result<u64, Failure> {
    let refuse = || broken("an integer without an end");
    let mask = (1_u64 << bits) - 1;
    let (&first, mut tail) = rest.split_first().ok_or_else(refuse)?;
    let mut value = u64::from(first) & mask;
    if value == mask {
        for shift in (0..28).step_by(7) {
            let (&byte, after) = tail.split_first().ok_or_else(refuse)?;
            tail = after;
            value += u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                *rest = tail;
                return Ok(value);
            }
        }
        return Err(refuse());
    }
    *rest = tail;
    Ok(value)
}

fn put_integer(out: &mut BytesMut, pattern: u8, bits: u32, value: u64) {
    let mask = (1_u64 << bits) - 1;
    if value < mask {
        out.put_u8(pattern | value as u8);
        return;
    }
    out.put_u8(pattern | mask as u8);
    let mut left = value - mask;
    while left >= 0x80 {
        out.put_u8(left as u8 | 0x80);
        left >>= 7;
    }
    out.put_u8(left as u8);
}

/// A literal field line, its name from the static table where that has it, without Huffman coding.
fn put_literal(out: &mut BytesMut, pattern: u8, bits: u32, name: &str, value: &str) {
    let index = NAMES.iter().find(|(known, _)| *known == name).map_or(0, |(_, index)| *index);
    put_integer(out, pattern, bits, index);
    let texts = if index == 0 { vec![name, value] } else { vec![value] };
    for text in texts {
        put_integer(out, 0x00, 7, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
}

/// The static table's index of a whole field (RFC 7541 appendix A), of those that requests have.
fn exact(name: &str, value: &str) -> Option<u64> {
    match (name, value) {
        (":method", "GET") => Some(2),
        (":method", "POST") => Some(3),
        (":path", "/") => Some(4),
        (":scheme", "http") => Some(6),
        (":scheme", "https") => Some(7),
        _ => None,
    }
}

/// Indices of names in the static table, of those that requests often have.
const NAMES: [(&str, u64); 12] = [
    (":authority", 1),
    (":method", 2),
    (":path", 4),
    (":scheme", 6),
    ("accept-encoding", 16),
    ("accept-language", 17),
    ("accept", 19),
    ("authorization", 23),
    ("content-length", 28),
    ("content-type", 31),
    ("cookie", 32),
    ("user-agent", 58),
];

/// Its index in the static table.
const CONTENT_LENGTH: u64 = 28;

/// `:status` at indices 8 to 14.
const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];

/// Entries of the static table.
const STATIC: usize = 61;

/// SETTINGS_HEADER_TABLE_SIZE of a server that says nothing (RFC 9113 §6.5.2).
pub(super) const DEFAULT_TABLE: u32 = 4096;

/// A literal field line of QPACK with the name `:authority` of the static table (RFC 9204 §4.5.4).
const QPACK_AUTHORITY: u8 = 0x50;

fn broken(what: &str) -> Failure {
    Failure::Protocol(what.to_owned())
}

#[cfg(test)]
mod tests;
