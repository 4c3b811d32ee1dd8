//! Whether a peer's new address is its own: the engine validates paths (RFC 9000 §8.2) and does not tell.
//!
//! Until it has answered a PATH_CHALLENGE that went there, an address is only what a datagram claims to come from. The frames
//! pass here between the engine and the packet keys; while an address is in doubt, the challenges that go out and the
//! responses that come in are read out of them. At all other times a packet costs one look at a flag.
//!
//! The answer has to come from the address in doubt, too. RFC 9000 §8.2.3 takes it from any: then whoever copies a client's
//! datagrams from an address of their own, and hands it the challenge that comes back, is that client as soon as it answers
//! from where it is.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use super::held::Held;

/// One connection's. Shared by its keys and whoever drives it; all of them are on one thread.
#[derive(Debug, Default)]
pub(crate) struct PathWatch {
    is_open: AtomicBool,
    /// A packet under handshake keys came: only who reads what is sent to the first address can make one.
    is_proven: AtomicBool,
    /// Of streams, until it is read.
    pub(crate) held: Held,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Challenges that were sealed since the last batch left: to which address is not known yet.
    fresh: Vec<u64>,
    /// Those that went to the address in doubt.
    sent: Vec<u64>,
    /// The datagram that is being opened came from the address in doubt.
    is_from_there: bool,
    is_answered: bool,
    /// Packets are sealed without padding if they hold nothing but challenges and acknowledgements.
    is_short: bool,
    /// The length of the last packet that was.
    cut: Option<usize>,
}

impl PathWatch {
    /// An address is in doubt from now on, and no other.
    pub(crate) fn begin(&self) {
        *self.state() = State::default();
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// None is.
    pub(crate) fn end(&self) {
        *self.state() = State::default();
        self.is_open.store(false, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    pub(super) fn prove(&self) {
        self.is_proven.store(true, Ordering::Relaxed);
    }

    /// The handshake has shown that the first address is the peer's own.
    pub(crate) fn is_proven(&self) -> bool {
        self.is_proven.load(Ordering::Relaxed)
    }

    /// The frames of a packet, before it is sealed.
    pub(super) fn on_sent(&self, frames: &[u8]) {
        let mut state = self.state();
        each(frames, |kind, data| {
            if kind == PATH_CHALLENGE && state.fresh.len() < MAX_CHALLENGES {
                state.fresh.push(data);
            }
        });
    }

    /// A batch has been made; `is_there` when it goes to the address in doubt. The old address is challenged too, and whoever
    /// is there must not answer for the new one.
    // req: 9000-9.3.3-old-path
    pub(crate) fn left(&self, is_there: bool) {
        let state = &mut *self.state();
        if is_there {
            state.sent.append(&mut state.fresh);
            let beyond = state.sent.len().saturating_sub(MAX_CHALLENGES);
            state.sent.drain(..beyond);
        }
        state.fresh.clear();
    }

    /// How long the last packet is, if it was sealed without its padding.
    pub(crate) fn cut(&self) -> Option<usize> {
        self.is_open().then(|| self.state().cut.take()).flatten()
    }

    /// Whether there is room for full packets, or padding has to go. It goes for one packet in a datagram of its own.
    pub(crate) fn set_short(&self, is_short: bool) {
        self.state().is_short = is_short;
    }

    /// How many bytes of these frames to seal, behind a header of so many and before a tag of so many.
    pub(super) fn length_to_seal(&self, frames: &[u8], header: usize, tag: usize) -> usize {
        let mut state = self.state();
        let short = state.is_short.then(|| length_of_challenge(frames)).flatten();
        state.cut = short.map(|length| header + length + tag);
        short.unwrap_or(frames.len())
    }

    /// A datagram is about to be opened; `is_from_there` when it came from the address in doubt.
    pub(crate) fn arrives(&self, is_from_there: bool) {
        self.state().is_from_there = is_from_there;
    }

    /// The frames of a packet that was opened.
    pub(super) fn on_received(&self, frames: &[u8]) {
        let state = &mut *self.state();
        if !state.is_from_there {
            return;
        }
        each(frames, |kind, data| {
            // req: 9000-8.2.3-data-of-a-challenge
            // req: 9000-8.2.3-no-acknowledgement
            state.is_answered |= kind == PATH_RESPONSE && state.sent.contains(&data);
        });
    }

    /// Whether a challenge that went to the address was answered.
    pub(crate) fn is_answered(&self) -> bool {
        self.state().is_answered
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It says nothing of what a handshake has settled.
impl PartialEq for PathWatch {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Hands the data of each PATH_CHALLENGE and PATH_RESPONSE to `take`, up to the first frame that cannot be read: the engine
/// closes the connection for one that was received.
fn each(frames: &[u8], mut take: impl FnMut(u8, u64)) {
    let mut rest = Frames(frames);
    while let Some((kind, data)) = rest.next_frame() {
        if let Some(data) = data {
            take(kind, data);
        }
    }
}

/// Where the padding of a packet begins that holds a PATH_CHALLENGE, and beside it nothing that has to arrive.
fn length_of_challenge(frames: &[u8]) -> Option<usize> {
    let mut rest = Frames(frames);
    let (mut end, mut has_challenge) = (0, false);
    while !rest.0.is_empty() {
        match rest.next_frame()?.0 {
            PADDING => continue,
            PATH_CHALLENGE => has_challenge = true,
            PING | ACK | ACK_ECN => {}
            _ => return None,
        }
        end = frames.len() - rest.0.len();
    }
    has_challenge.then_some(end)
}

pub(super) struct Frames<'a>(pub(super) &'a [u8]);

impl Frames<'_> {
    /// The type of the next frame, and the data if it is one of the two.
    pub(super) fn next_frame(&mut self) -> Option<(u8, Option<u64>)> {
        let kind = u8::try_from(self.varint()?).ok();
        // A type of two bytes is ACK_FREQUENCY's, with four numbers.
        let kind = kind.filter(|kind| *kind != ACK_FREQUENCY);
        let Some(kind) = kind else {
            self.varints(4)?;
            return Some((ACK_FREQUENCY, None));
        };
        match kind {
            // PADDING, PING, HANDSHAKE_DONE, IMMEDIATE_ACK.
            0x00 | 0x01 | 0x1e | 0x1f => {}
            // ACK: largest, delay, ranges, first; then two numbers for each range, and three for ECN.
            0x02 | 0x03 => {
                self.varints(2)?;
                let ranges = self.varint()?;
                self.varint()?;
                for _ in 0..ranges {
                    self.varints(2)?;
                }
                if kind == 0x03 {
                    self.varints(3)?;
                }
            }
            // RESET_STREAM.
            0x04 => self.varints(3)?,
            // STOP_SENDING, MAX_STREAM_DATA, STREAM_DATA_BLOCKED.
            0x05 | 0x11 | 0x15 => self.varints(2)?,
            // CRYPTO.
            0x06 => {
                self.varint()?;
                self.data()?;
            }
            // NEW_TOKEN, DATAGRAM with a length.
            0x07 | 0x31 => self.data()?,
            // STREAM, with an offset and a length where its bits say so.
            0x08..=0x0f => {
                self.varints(1 + usize::from(kind >> 2 & 1))?;
                if kind & 2 == 0 {
                    return None;
                }
                self.data()?;
            }
            // MAX_DATA, MAX_STREAMS, DATA_BLOCKED, STREAMS_BLOCKED, RETIRE_CONNECTION_ID.
            0x10 | 0x12..=0x14 | 0x16 | 0x17 | 0x19 => self.varints(1)?,
            // NEW_CONNECTION_ID: two numbers, the id, the token.
            0x18 => {
                self.varints(2)?;
                let (len, _) = self.0.split_first()?;
                self.skip(1 + usize::from(*len) + 16)?;
            }
            PATH_CHALLENGE | PATH_RESPONSE => {
                let (data, rest) = self.0.split_first_chunk::<8>()?;
                self.0 = rest;
                return Some((kind, Some(u64::from_be_bytes(*data))));
            }
            // CONNECTION_CLOSE, a DATAGRAM to the end, and what is not known.
            _ => return None,
        }
        Some((kind, None))
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let first = *self.0.first()?;
        let len = 1 << (first >> 6);
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        let value = bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        Some(value & (u64::MAX >> (64 - (8 * len as u32 - 2))))
    }

    fn varints(&mut self, count: usize) -> Option<()> {
        (0..count).try_for_each(|_| self.varint().map(drop))
    }

    /// A length and as many bytes.
    fn data(&mut self) -> Option<()> {
        let len = self.varint()?;
        self.skip(usize::try_from(len).ok()?)
    }

    pub(super) fn skip(&mut self, len: usize) -> Option<()> {
        self.0 = self.0.get(len..)?;
        Some(())
    }
}

const PADDING: u8 = 0x00;
const PING: u8 = 0x01;
const ACK: u8 = 0x02;
const ACK_ECN: u8 = 0x03;
const PATH_CHALLENGE: u8 = 0x1a;
const PATH_RESPONSE: u8 = 0x1b;
const ACK_FREQUENCY: u8 = 0xaf;

/// Challenges to one address that may be answered: the newest. The engine sends one with each packet.
const MAX_CHALLENGES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(data: u64) -> Vec<u8> {
        [&[PATH_CHALLENGE][..], &data.to_be_bytes()].concat()
    }

    fn response(data: u64) -> Vec<u8> {
        [&[PATH_RESPONSE][..], &data.to_be_bytes()].concat()
    }

    fn found(frames: &[u8]) -> Vec<(u8, u64)> {
        let mut found = Vec::new();
        each(frames, |kind, data| found.push((kind, data)));
        found
    }

    #[test]
    fn a_challenge_is_found_behind_every_kind_of_frame() {
        for before in [
            &[0x00, 0x00, 0x01, 0x1e, 0x1f][..],
            &[0x02, 0x05, 0x00, 0x00, 0x03],
            &[0x02, 0x40, 0x05, 0x00, 0x02, 0x03, 0x01, 0x02, 0x03, 0x04],
            &[0x03, 0x05, 0x00, 0x00, 0x03, 0x01, 0x02, 0x03],
            &[0x04, 0x01, 0x02, 0x03],
            &[0x05, 0x01, 0x02],
            &[0x06, 0x00, 0x03, 0x1a, 0x1a, 0x1a],
            &[0x07, 0x02, 0x1a, 0x1a],
            &[0x0a, 0x04, 0x02, 0x1a, 0x1a],
            &[0x0f, 0x04, 0x40, 0x07, 0x02, 0x1a, 0x1a],
            &[0x10, 0x80, 0x00, 0x00, 0x01],
            &[0x11, 0x01, 0x02],
            &[0x12, 0x01, 0x13, 0x01, 0x14, 0x01, 0x16, 0x01, 0x17, 0x01, 0x19, 0x01],
            &[0x15, 0x01, 0xc0, 0, 0, 0, 0, 0, 0, 1],
            &[0x18, 1, 0, 2, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            &[0x31, 0x01, 0x1a],
            &[0x40, 0xaf, 1, 2, 3, 4],
        ] {
            let frames = [before, &challenge(7), &[0x01]].concat();
            assert_eq!(found(&frames), [(PATH_CHALLENGE, 7)], "{before:x?}");
            for cut in 0..frames.len() {
                let _ = found(&frames[..cut]);
            }
        }
    }

    #[test]
    fn behind_what_runs_to_the_end_or_is_not_known_nothing_is_found() {
        for before in
            [&[0x08, 0x04][..], &[0x30], &[0x1c, 0, 0, 0], &[0x3f], &[0x06, 0x00, 0x7f, 0xff]]
        {
            assert_eq!(found(&[before, &response(7)].concat()), [], "{before:x?}");
        }
    }

    #[test]
    // req: 9000-8.2.3-data-of-a-challenge
    fn only_the_answer_to_what_went_to_the_new_address_counts() {
        let watch = PathWatch::default();
        watch.begin();
        watch.arrives(true);
        watch.on_sent(&challenge(1));
        watch.left(false);
        watch.on_received(&response(1));
        assert!(!watch.is_answered(), "it went to the old address");
        watch.on_sent(&challenge(2));
        watch.on_received(&response(2));
        assert!(!watch.is_answered(), "it has not left");
        watch.left(true);
        watch.on_received(&response(3));
        assert!(!watch.is_answered(), "a guess");
        watch.on_received(&response(2));
        assert!(watch.is_answered());
        watch.begin();
        watch.arrives(true);
        watch.on_received(&response(2));
        assert!(!watch.is_answered(), "another address is in doubt");
    }

    #[test]
    fn an_answer_from_elsewhere_proves_nothing() {
        let watch = PathWatch::default();
        watch.begin();
        watch.on_sent(&challenge(1));
        watch.left(true);
        watch.arrives(false);
        watch.on_received(&response(1));
        assert!(!watch.is_answered(), "it came from another address");
        watch.arrives(true);
        watch.on_received(&response(1));
        assert!(watch.is_answered());
    }

    #[test]
    // req: 9000-8.2.3-no-acknowledgement
    fn an_acknowledgement_proves_nothing() {
        let watch = PathWatch::default();
        watch.begin();
        watch.arrives(true);
        watch.on_sent(&challenge(1));
        watch.left(true);
        watch.on_received(&[0x02, 0x05, 0x00, 0x00, 0x05]);
        assert!(!watch.is_answered());
    }

    #[test]
    // req: 9000-8.2.1-expand
    fn padding_goes_where_it_has_to_and_what_must_arrive_stays() {
        let watch = PathWatch::default();
        watch.begin();
        let length = |frames: &[&[u8]]| {
            let frames = frames.concat();
            (watch.length_to_seal(&frames, 10, 16), frames.len(), watch.cut())
        };
        let (pure, padding) = (challenge(1), vec![0; 1100]);
        assert_eq!(length(&[&pure, &padding]), (1109, 1109, None), "there is room");
        watch.set_short(true);
        assert_eq!(length(&[&pure, &padding]), (9, 1109, Some(35)));
        let acknowledged = [&[0x02, 0x05, 0x00, 0x00, 0x03][..], &pure].concat();
        assert_eq!(length(&[&acknowledged, &padding]), (14, 1114, Some(40)));
        let stream: &[u8] = &[0x0a, 0x04, 0x02, 0x1a, 0x1a];
        assert_eq!(length(&[&pure, stream, &padding]), (1114, 1114, None), "data");
        assert_eq!(length(&[&[0x01], &padding]), (1101, 1101, None), "a probe of the MTU");
        assert_eq!(length(&[]), (0, 0, None));
    }

    #[test]
    fn the_newest_challenges_are_remembered_up_to_a_bound() {
        let watch = PathWatch::default();
        watch.begin();
        watch.arrives(true);
        for data in 0..=MAX_CHALLENGES as u64 {
            watch.on_sent(&challenge(data));
            watch.left(true);
        }
        watch.on_received(&response(0));
        assert!(!watch.is_answered());
        watch.on_received(&response(1));
        assert!(watch.is_answered());
    }
}
