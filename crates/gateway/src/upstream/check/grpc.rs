//! The health protocol of gRPC, version 1: one message each way, of one field each.

use bytes::{BufMut, Bytes, BytesMut};

/// Where it is asked.
pub(super) const PATH: &str = "/grpc.health.v1.Health/Check";

/// `HealthCheckRequest { service: string = 1 }` in a frame of gRPC: no compression, then the length.
pub(super) fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(1 << 3 | LENGTH_DELIMITED);
        put_varint(&mut message, service.len());
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(&message);
    frame.freeze()
}

/// Why a response does not say `SERVING`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::upstream) enum NotServing {
    #[error("the service says that its state is {0}, not SERVING")]
    State(u64),
    #[error("the message is compressed, which nobody asked for")]
    Compressed,
    #[error("the message is malformed")]
    Malformed,
}

/// Reads `HealthCheckResponse { status: enum = 1 }` out of a frame of gRPC. Fields that are not known are skipped, and the
/// last of several counts, as everywhere in protocol buffers.
pub(super) fn response(content: &[u8]) -> Result<(), NotServing> {
    let (head, rest) = content.split_at_checked(5).ok_or(NotServing::Malformed)?;
    if head.first() != Some(&0) {
        return Err(NotServing::Compressed);
    }
    let len = head.iter().skip(1).fold(0, |len, byte| len << 8 | usize::from(*byte));
    let mut message = rest.get(..len).ok_or(NotServing::Malformed)?;
    let mut state = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match (key >> 3, u8::try_from(key & 7).unwrap_or_default()) {
            (1, VARINT) => state = varint(&mut message)?,
            (_, VARINT) => drop(varint(&mut message)?),
            (_, FIXED64) => skip(&mut message, 8)?,
            (_, FIXED32) => skip(&mut message, 4)?,
            (_, LENGTH_DELIMITED) => {
                let len = varint(&mut message)?;
                skip(&mut message, usize::try_from(len).map_err(|_| NotServing::Malformed)?)?;
            }
            _ => return Err(NotServing::Malformed),
        }
    }
    if state == SERVING { Ok(()) } else { Err(NotServing::State(state)) }
}

fn skip(message: &mut &[u8], len: usize) -> Result<(), NotServing> {
    *message = message.get(len..).ok_or(NotServing::Malformed)?;
    Ok(())
}

fn varint(message: &mut &[u8]) -> Result<u64, NotServing> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first().ok_or(NotServing::Malformed)?;
        *message = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(NotServing::Malformed)
}

fn put_varint(to: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        to.put_u8(u8::try_from(value & 0x7F).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    to.put_u8(u8::try_from(value).unwrap_or_default());
}

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const FIXED32: u8 = 5;

const SERVING: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_a_frame_with_the_name_of_the_service() {
        assert_eq!(request("")[..], [0, 0, 0, 0, 0], "the whole server");
        assert_eq!(request("a.B")[..], [0, 0, 0, 0, 5, 0x0A, 3, b'a', b'.', b'B']);
        let long = request(&"x".repeat(200));
        assert_eq!(long[..8], [0, 0, 0, 0, 203, 0x0A, 200, 1]);
    }

    #[test]
    fn only_serving_is_well() {
        assert_eq!(response(&[0, 0, 0, 0, 2, 8, 1]), Ok(()));
        assert_eq!(response(&[0, 0, 0, 0, 2, 8, 2]), Err(NotServing::State(2)));
        assert_eq!(response(&[0, 0, 0, 0, 0]), Err(NotServing::State(0)), "UNKNOWN is the default");
        let more = [0, 0, 0, 0, 8, 8, 2, 0x12, 2, 9, 9, 8, 1];
        assert_eq!(
            response(&more),
            Ok(()),
            "what is not known is skipped, and the last one counts"
        );
    }

    #[test]
    fn what_is_no_message_is_refused_and_never_read_past_its_end() {
        let whole = [0, 0, 0, 0, 6, 0x12, 2, 9, 9, 8, 1];
        assert_eq!(response(&whole), Ok(()));
        for end in 0..whole.len() {
            assert_eq!(response(&whole[..end]), Err(NotServing::Malformed), "{end}");
        }
        assert_eq!(response(&[1, 0, 0, 0, 2, 8, 1]), Err(NotServing::Compressed));
        let endless = [&[0, 0, 0, 0, 12, 8][..], &[0xFF; 11]].concat();
        assert_eq!(response(&endless), Err(NotServing::Malformed));
        let huge = [0, 0, 0, 0, 3, 0x12, 0xFF, 0x7F];
        assert_eq!(response(&huge), Err(NotServing::Malformed));
    }
}
