//! HTTP datagrams (RFC 9297 §2.1): which request a QUIC DATAGRAM frame belongs to.

use bytes::{Buf, Bytes, BytesMut};

use crate::{PeerMisbehaved, StreamId, varint};

/// Takes the quarter stream id off the front of a datagram.
///
/// # Wire format
/// ```text
/// HTTP/3 Datagram { Quarter Stream ID (i), HTTP Datagram Payload (..) }
/// ```
/// # Errors
/// The rule that the datagram breaks.
pub(crate) fn parse(mut datagram: Bytes) -> Result<(StreamId, Bytes), PeerMisbehaved> {
    // req: 9297-2.1-quarter-stream-id-fits
    let (quarter, len) = varint::read(&datagram).ok_or(PeerMisbehaved::DatagramTruncated)?;
    if quarter > varint::MAX / 4 {
        return Err(PeerMisbehaved::DatagramStreamId);
    }
    datagram.advance(len);
    Ok((StreamId(quarter * 4), datagram))
}

/// The datagram that carries `payload` for the request stream `id`.
pub(crate) fn build(id: StreamId, payload: &Bytes) -> Bytes {
    let mut datagram = BytesMut::with_capacity(varint::MAX_LEN + payload.len());
    varint::write(id.0 / 4, &mut datagram);
    datagram.extend_from_slice(payload);
    datagram.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_parsed() {
        let payload = Bytes::from_static(b"payload");
        for id in [0, 4, 4 * 63, 4 * 64, varint::MAX - 3].map(StreamId) {
            assert_eq!(parse(build(id, &payload)), Ok((id, payload.clone())));
        }
    }

    #[test]
    fn a_quarter_stream_id_must_be_whole_and_fit() {
        // req: 9297-2.1-quarter-stream-id-fits
        assert_eq!(parse(Bytes::new()), Err(PeerMisbehaved::DatagramTruncated));
        assert_eq!(parse(Bytes::from_static(&[0x40])), Err(PeerMisbehaved::DatagramTruncated));
        let largest = Bytes::from_static(&[0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(parse(largest), Ok((StreamId(varint::MAX - 3), Bytes::new())));
        let one_more = Bytes::from_static(&[0xd0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(parse(one_more), Err(PeerMisbehaved::DatagramStreamId));
    }
}
