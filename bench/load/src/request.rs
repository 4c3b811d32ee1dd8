//! The request: one HEADERS frame, encoded once and shared by every stream.

use bytes::Bytes;

/// What the client's control stream says: its type, then SETTINGS that forbid a dynamic table.
///
/// RFC 9204 §5 has these values as defaults; they are spelled out because the checks of a response rely on them.
pub(crate) const CONTROL: &[u8] = &[0x00, 0x04, 0x04, 0x01, 0x00, 0x07, 0x00];

/// A GET as a HEADERS frame, of static references and plain literals only (RFC 9204 §4.5).
pub(crate) fn get(authority: &str, path: &str) -> Bytes {
    // Required Insert Count 0, Base 0; `:method: GET`, `:scheme: https`.
    let mut section = vec![0x00, 0x00, 0xd1, 0xd7];
    literal(&mut section, STATIC_AUTHORITY, authority);
    literal(&mut section, STATIC_PATH, path);
    // `accept: */*`, after all pseudo-fields (RFC 9114 §4.3).
    section.push(0xdd);

    let mut frame = vec![0x01];
    // A two-byte varint holds any section that the two-byte lengths below allow to be useful.
    let length = u16::try_from(section.len()).unwrap_or(u16::MAX).min(0x3fff);
    frame.extend((0x4000 | length).to_be_bytes());
    frame.extend(section);
    frame.into()
}

/// A literal field line with a static name reference below 15, without Huffman coding.
fn literal(section: &mut Vec<u8>, name: u8, value: &str) {
    section.push(0x50 | name);
    let mut length = value.len();
    if length < 127 {
        section.push(length as u8);
    } else {
        section.push(127);
        length -= 127;
        while length >= 128 {
            section.push((length % 128) as u8 | 0x80);
            length /= 128;
        }
        section.push(length as u8);
    }
    section.extend(value.as_bytes());
}

const STATIC_AUTHORITY: u8 = 0;
const STATIC_PATH: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_get_is_a_headers_frame_of_static_references_and_literals() {
        let expected = b"\x01\x40\x0c\x00\x00\xd1\xd7\x50\x01a\x51\x02/b\xdd";
        assert_eq!(get("a", "/b").as_ref(), expected);
    }

    #[test]
    fn a_value_of_127_bytes_takes_a_second_length_byte() {
        let mut short = Vec::new();
        literal(&mut short, STATIC_PATH, &"a".repeat(126));
        assert_eq!(short[..2], [0x51, 126]);
        let mut long = Vec::new();
        literal(&mut long, STATIC_PATH, &"a".repeat(127));
        assert_eq!(long[..3], [0x51, 127, 0]);
    }
}
