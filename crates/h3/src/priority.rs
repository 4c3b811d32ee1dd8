//! Priorities (RFC 9218): the `priority` field and the PRIORITY_UPDATE frame.
//!
//! This module reads and writes the value; who is served first is decided where streams are written.

use bytes::{Buf, Bytes, BytesMut};

use crate::{PeerMisbehaved, StreamId, frame, varint};

mod dictionary;

/// Urgency and incremental (RFC 9218 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0 (first) to 7. Default 3.
    pub urgency: u8,
    /// May be interleaved with others of the same urgency. Default false.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self { urgency: 3, incremental: false }
    }
}

impl Priority {
    /// Reads a `priority` field value: a dictionary of structured fields (RFC 8941 §3.2).
    ///
    /// Lenient as RFC 9218 §4 asks: an unknown parameter, a value out of range or of another type is ignored, and a
    /// field that is no dictionary counts as absent.
    pub fn parse(field: &[u8]) -> Self {
        let mut priority = Self::default();
        let parsed = dictionary::parse(field, |key, value| match (key, value) {
            // req: 9218-4.1-urgency
            // req: 9218-4-ignore-unknown-parameters
            // A later member with the same key replaces the earlier one, so it also restores the default.
            (b"u", dictionary::Value::Integer(urgency)) => {
                priority.urgency = u8::try_from(urgency).ok().filter(|u| *u <= 7).unwrap_or(3);
            }
            (b"i", dictionary::Value::Boolean(incremental)) => priority.incremental = incremental,
            (b"u", _) => priority.urgency = Self::default().urgency,
            (b"i", _) => priority.incremental = Self::default().incremental,
            _ => {}
        });
        // req: 9218-5-ignore-broken
        parsed.map_or_else(Self::default, |()| priority)
    }

    /// Appends the shortest field value that means this; the default is empty.
    fn write(self, out: &mut BytesMut) {
        let default = Self::default();
        if self.urgency != default.urgency {
            out.extend_from_slice(b"u=");
            out.extend_from_slice(&[b'0' + self.urgency.min(7)]);
        }
        if self.incremental {
            if self.urgency != default.urgency {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(b"i");
        }
    }
}

/// PRIORITY_UPDATE for a request (RFC 9218 §7.2).
///
/// # Wire format
/// ```text
/// PRIORITY_UPDATE { Type (i) = 0xf0700, Length (i), Prioritized Element ID (i), Priority Field Value (..) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    pub(crate) id: StreamId,
    pub(crate) priority: Priority,
}

impl Update {
    /// Reads the payload.
    ///
    /// # Errors
    /// The rule that the frame breaks.
    pub(crate) fn parse(mut payload: Bytes) -> Result<Self, PeerMisbehaved> {
        let (id, len) = varint::read(&payload).ok_or(PeerMisbehaved::FrameLength)?;
        payload.advance(len);
        let id = StreamId(id);
        // req: 9218-7.2-request-id
        if id.is_uni() || id.is_server_initiated() {
            return Err(PeerMisbehaved::PriorityUpdateNotRequestId);
        }
        Ok(Self { id, priority: Priority::parse(&payload) })
    }

    /// Appends the whole frame.
    pub(crate) fn write(self, out: &mut BytesMut) {
        let mut value = BytesMut::with_capacity(8);
        self.priority.write(&mut value);
        let length = varint::len(self.id.0) + value.len();
        frame::write_header(frame::PRIORITY_UPDATE_REQUEST, length as u64, out);
        varint::write(self.id.0, out);
        out.extend_from_slice(&value);
    }
}

/// Largest PRIORITY_UPDATE payload that we read, in bytes: an id and a short dictionary.
pub(crate) const MAX_PAYLOAD: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const fn priority(urgency: u8, incremental: bool) -> Priority {
        Priority { urgency, incremental }
    }

    #[test]
    fn a_priority_field_is_read_as_a_dictionary() {
        let cases: [(&str, Priority); 22] = [
            ("", priority(3, false)),
            ("u=0", priority(0, false)),
            ("u=7, i", priority(7, true)),
            ("i,u=5", priority(5, true)),
            ("  u=1 ,\ti=?1  ", priority(1, true)),
            ("u=1, i=?0", priority(1, false)),
            // The last of a key counts.
            ("u=1, u=2", priority(2, false)),
            ("u=1, u=9", priority(3, false)),
            // Parameters and unknown members are ignored.
            ("u=1;x=\"a;,b\", foo=(a 1 \"b\");q=0.5, i", priority(1, true)),
            ("x=:aGk=:, y=tok/en:1, z=-1.5, u=2", priority(2, false)),
            // Another type or range: the default of that parameter.
            ("u=8, i", priority(3, true)),
            ("u=-1, i", priority(3, true)),
            ("u=1.0, i", priority(3, true)),
            ("u, i", priority(3, true)),
            ("u=2, i=1", priority(2, false)),
            // No dictionary: as if absent.
            ("u=1,", priority(3, false)),
            ("u=1 i", priority(3, false)),
            ("u=", priority(3, false)),
            ("U=1", priority(3, false)),
            ("u=1, \u{e9}", priority(3, false)),
            ("u=1, x=\"open", priority(3, false)),
            ("u=1, x=(a", priority(3, false)),
        ];
        // req: 9218-5-ignore-broken
        // req: 9218-4.1-urgency
        // req: 9218-4-ignore-unknown-parameters
        for (field, expected) in cases {
            assert_eq!(Priority::parse(field.as_bytes()), expected, "{field:?}");
        }
    }

    #[test]
    fn an_update_that_is_written_is_read() {
        for (urgency, incremental) in [(0, false), (3, false), (3, true), (7, true)] {
            let update = Update { id: StreamId(400), priority: priority(urgency, incremental) };
            let mut out = BytesMut::new();
            update.write(&mut out);
            // Type in four bytes, length in one.
            assert_eq!(usize::from(out[4]), out.len() - 5);
            assert_eq!(Update::parse(out.split_off(5).freeze()), Ok(update));
        }
    }

    #[test]
    fn only_a_request_stream_is_prioritized() {
        // req: 9218-7.2-request-id
        for id in [1_u8, 2, 3] {
            let update = Update::parse(Bytes::copy_from_slice(&[id, b'i']));
            assert_eq!(update, Err(PeerMisbehaved::PriorityUpdateNotRequestId));
        }
        assert_eq!(Update::parse(Bytes::new()), Err(PeerMisbehaved::FrameLength));
    }
}
