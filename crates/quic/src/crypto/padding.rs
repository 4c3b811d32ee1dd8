//! PADDING at the end of a packet, taken off before the engine sees it.
//!
//! A client's first datagrams and every probe for a larger MTU are padded to their size, and the engine reads PADDING frame
//! by frame, some hundred instructions for each byte: a fifth of all that a handshake cost. PADDING says nothing (RFC 9000
//! §19.1), so what follows the last other frame can go.

/// How many bytes of a packet's frames there are without the PADDING at their end; all where that is not certain. Never
/// none of some, for a packet of nothing is an error and one of PADDING is not.
pub(super) fn length_without(frames: &[u8]) -> usize {
    let zeros = frames.iter().rev().take_while(|&&byte| byte == 0).count();
    if zeros < WORTHWHILE {
        return frames.len();
    }
    let end = end_of_frames(frames, frames.len() - zeros).unwrap_or(frames.len());
    // What the engine keeps of a packet it counts by this length, and the memory is that of all of it.
    end.max(frames.len() / LEAST_PART)
}

/// How many bytes of a client's first packet have to stay: the engine counts what it finds there, and lets three times that go to
/// an address that has proven nothing (RFC 9000 §8.1). Three parts of four begin the three datagrams that a whole one is worth;
/// less, and a client with a short hello waits one more round trip for a certificate of 1 kB.
pub(super) fn least_of_first(header: &[u8], frames: &[u8]) -> usize {
    let is_initial = header.first().is_some_and(|first| first & LONG_TYPE == INITIAL);
    let is_answer = matches!(frames.first(), Some(&ACK | &ACK_ECN));
    if is_initial && !is_answer { frames.len() * 3 / 4 } else { 0 }
}

/// The end of the first frame that ends at or behind `last`, if all before it are of the kinds that come with padding.
fn end_of_frames(frames: &[u8], last: usize) -> Option<usize> {
    let mut rest = Cursor(frames);
    loop {
        let at = frames.len() - rest.0.len();
        if at >= last {
            return Some(at);
        }
        match rest.take(1)?[0] {
            PADDING | PING | HANDSHAKE_DONE | IMMEDIATE_ACK => {}
            PATH_CHALLENGE | PATH_RESPONSE => {
                rest.take(8)?;
            }
            kind @ (ACK | ACK_ECN) => {
                let (_largest, _delay) = (rest.integer()?, rest.integer()?);
                let ranges = rest.integer()?;
                rest.integer()?;
                for _ in 0..ranges {
                    let (_gap, _length) = (rest.integer()?, rest.integer()?);
                }
                if kind == ACK_ECN {
                    let (_ect0, _ect1, _ce) = (rest.integer()?, rest.integer()?, rest.integer()?);
                }
            }
            CRYPTO => {
                rest.integer()?;
                let length = rest.integer()?;
                rest.take(usize::try_from(length).ok()?)?;
            }
            kind @ (STREAM | STREAM_FIN | STREAM_AT | STREAM_AT_FIN) => {
                let _id = rest.integer()?;
                if kind & HAS_OFFSET != 0 {
                    rest.integer()?;
                }
                let length = rest.integer()?;
                rest.take(usize::try_from(length).ok()?)?;
            }
            MAX_DATA | MAX_STREAMS_BIDI | MAX_STREAMS_UNI | RETIRE_CONNECTION_ID => {
                rest.integer()?;
            }
            MAX_STREAM_DATA => {
                let (_id, _most) = (rest.integer()?, rest.integer()?);
            }
            NEW_CONNECTION_ID => {
                let (_sequence, _retired) = (rest.integer()?, rest.integer()?);
                let length = rest.take(1)?[0];
                rest.take(usize::from(length) + RESET_TOKEN)?;
            }
            _ => return None,
        }
    }
}

/// What is left to read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// A variable-length integer (RFC 9000 §16).
    fn integer(&mut self) -> Option<u64> {
        let first = *self.0.first()?;
        let bytes = self.take(1 << (first >> 6))?;
        let start = u64::from(first & 0x3F);
        Some(bytes[1..].iter().fold(start, |sum, &byte| sum << 8 | u64::from(byte)))
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

// RFC 9000 §19.
const PADDING: u8 = 0x00;
const PING: u8 = 0x01;
const ACK: u8 = 0x02;
const ACK_ECN: u8 = 0x03;
const CRYPTO: u8 = 0x06;
/// Those of the kinds of STREAM that tell their length; what has none goes to the end of the packet.
const STREAM: u8 = 0x0A;
const STREAM_FIN: u8 = 0x0B;
const STREAM_AT: u8 = 0x0E;
const STREAM_AT_FIN: u8 = 0x0F;
const HAS_OFFSET: u8 = 0x04;
const MAX_DATA: u8 = 0x10;
const MAX_STREAM_DATA: u8 = 0x11;
const MAX_STREAMS_BIDI: u8 = 0x12;
const MAX_STREAMS_UNI: u8 = 0x13;
const NEW_CONNECTION_ID: u8 = 0x18;
const RETIRE_CONNECTION_ID: u8 = 0x19;
const PATH_CHALLENGE: u8 = 0x1A;
const PATH_RESPONSE: u8 = 0x1B;
const HANDSHAKE_DONE: u8 = 0x1E;
/// Of the engine's own probes (draft-ietf-quic-ack-frequency).
const IMMEDIATE_ACK: u8 = 0x1F;

/// Bits of a first byte: a long header and its type, and those of an Initial packet (RFC 9000 §17.2).
const LONG_TYPE: u8 = 0xF0;
const INITIAL: u8 = 0xC0;

/// Length of a token for stateless resets, in bytes.
const RESET_TOKEN: usize = 16;

/// Fewer bytes of PADDING are left to the engine.
const WORTHWHILE: usize = 16;

/// At least the eighth part of a packet is left: its CRYPTO data may be one byte.
const LEAST_PART: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames, and as many bytes of PADDING.
    fn padded(frames: &[u8], padding: usize) -> Vec<u8> {
        [frames, &vec![0; padding]].concat()
    }

    #[test]
    fn padding_goes_and_the_zeros_of_a_frame_stay() {
        let crypto = [&[CRYPTO, 0, 0x40, 100][..], &[7; 50], &[0; 50]].concat();
        let new_id = [&[NEW_CONNECTION_ID, 1, 0, 4, 9, 9, 9, 0][..], &[0; RESET_TOKEN]].concat();
        let table: [&[u8]; 18] = [
            &[&[PING; 120][..], &new_id, &new_id].concat(),
            &[&[PING; 120][..], &new_id, &[RETIRE_CONNECTION_ID, 0]].concat(),
            &[&[PING; 120][..], &[STREAM, 4, 2, 9, 0]].concat(),
            &[&[PING; 120][..], &[STREAM_FIN, 4, 0]].concat(),
            &[&[PING; 120][..], &[STREAM_AT, 4, 0x40, 0, 2, 9, 0]].concat(),
            &[&[PING; 120][..], &[STREAM_AT_FIN, 4, 7, 0]].concat(),
            &[&[PING; 120][..], &[MAX_DATA, 0x40, 0]].concat(),
            &[&[PING; 120][..], &[MAX_STREAM_DATA, 4, 0x80, 0, 0, 0]].concat(),
            &[&[PING; 120][..], &[MAX_STREAMS_BIDI, 9, MAX_STREAMS_UNI, 0]].concat(),
            &[PING; 200],
            &[&[PING, IMMEDIATE_ACK, HANDSHAKE_DONE][..], &[PING; 120]].concat(),
            &[&[PING; 120][..], &[PATH_CHALLENGE, 1, 0, 0, 0, 0, 0, 0, 0]].concat(),
            &[&[ACK, 0x44, 0, 0, 0, 0][..], &[PING; 120]].concat(),
            &[&[PING; 120][..], &[ACK, 9, 0, 2, 0, 1, 0, 1, 0]].concat(),
            &[&[PING; 120][..], &[ACK_ECN, 9, 0, 0, 0, 1, 0, 0]].concat(),
            &crypto,
            &[&[PADDING; 40][..], &crypto].concat(),
            &[&crypto[..], &[PING]].concat(),
        ];
        for frames in table {
            for padding in [WORTHWHILE + 50, 700] {
                assert_eq!(length_without(&padded(frames, padding)), frames.len(), "{frames:?}");
            }
            assert_eq!(length_without(frames), frames.len());
        }
    }

    #[test]
    fn a_part_stays_even_of_a_packet_that_says_nothing() {
        assert_eq!(length_without(&padded(&[PING], 1199)), 150);
        assert_eq!(length_without(&padded(&[CRYPTO, 0, 1, 5], 1196)), 150);
        assert_eq!(length_without(&[0; 16]), 2);
        assert_eq!(length_without(&[0]), 1);
        assert_eq!(length_without(&[]), 0);
    }

    #[test]
    fn of_a_first_packet_enough_stays_for_the_engine_to_count() {
        let hello = padded(&[CRYPTO, 0, 1, 5], 1156);
        assert_eq!(least_of_first(&[0xC1, 0, 0, 0, 1], &hello), 870);
        assert_eq!(least_of_first(&[0xE1, 0, 0, 0, 1], &hello), 0, "a Handshake packet");
        assert_eq!(least_of_first(&[0x41], &hello), 0, "a short header");
        assert_eq!(least_of_first(&[0xC1], &padded(&[ACK, 0, 0, 0, 0], 1155)), 0, "not the first");
        assert_eq!((least_of_first(&[], &hello), least_of_first(&[0xC1], &[])), (0, 0));
    }

    #[test]
    fn what_is_not_certain_is_left_to_the_engine() {
        let stream = [0x08, 0, 1, 2, 3];
        let cut_off = [CRYPTO, 0, 0x4F, 0xFF, 1];
        let reserved = [PING, 0x40];
        let long = [STREAM, 4, 0x4F, 0xFF, 1];
        for frames in [&stream[..], &long, &cut_off, &reserved, &[0x21], &[ACK, 9, 0, 0x7F, 0xFF]] {
            let packet = padded(frames, 300);
            assert_eq!(length_without(&packet), packet.len(), "{frames:?}");
        }
    }
}
