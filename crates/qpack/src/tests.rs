//! Encoder and decoder together: whatever the network does to the order of things, lines come out as they went in.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

/// A field line as a test has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    name: String,
    value: String,
    sensitive: bool,
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Encode {
        stream: u64,
        lines: Vec<Line>,
    },
    /// The encoder's instructions are polled, and so many of their bytes arrive.
    DeliverEncoderStream(usize),
    /// The decoder's instructions are polled, and so many of their bytes arrive.
    DeliverDecoderStream(usize),
    /// The next section of a stream arrives.
    DeliverSection(u64),
    /// The reader of a stream gives up.
    Cancel(u64),
}

/// Two peers and what is between them.
struct Play {
    encoder: Encoder,
    decoder: Decoder,
    encoder_stream: VecDeque<u8>,
    decoder_stream: VecDeque<u8>,
    /// Sections that have not been decoded, with what they are to decode to.
    sections: BTreeMap<u64, VecDeque<(Bytes, Vec<Line>)>>,
    /// Streams whose first section is blocked.
    blocked: Vec<u64>,
    cancelled: Vec<u64>,
}

impl Play {
    fn new(ours: EncoderConfig, capacity: u64, blocked_streams: u64) -> Self {
        let mut encoder = Encoder::new(ours);
        encoder.set_peer_limits(capacity, blocked_streams);
        let decoder = Decoder::new(DecoderConfig {
            max_table_capacity: capacity,
            max_blocked_streams: blocked_streams,
            max_field_section_size: 1 << 20,
        });
        Self {
            encoder,
            decoder,
            encoder_stream: VecDeque::new(),
            decoder_stream: VecDeque::new(),
            sections: BTreeMap::new(),
            blocked: Vec::new(),
            cancelled: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Encode { stream, lines } if !self.cancelled.contains(&stream) => {
                let mut section = BytesMut::from(&b"kept"[..]);
                let fields = lines.iter().map(|line| FieldRef {
                    name: line.name.as_bytes(),
                    value: line.value.as_bytes(),
                    sensitive: line.sensitive,
                });
                self.encoder.encode(stream, fields, &mut section);
                assert_eq!(section.split_to(4), "kept");
                self.sections.entry(stream).or_default().push_back((section.freeze(), lines));
            }
            Step::Encode { .. } => {}
            Step::DeliverEncoderStream(count) => {
                self.encoder_stream.extend(self.encoder.poll_instructions().unwrap_or_default());
                let count = count.min(self.encoder_stream.len());
                let bytes: Vec<u8> = self.encoder_stream.drain(..count).collect();
                self.decoder.handle_encoder_stream(&bytes).unwrap();
                while let Some(stream) = self.decoder.poll_unblocked() {
                    self.blocked.retain(|&blocked| blocked != stream);
                    assert!(self.decode(stream), "a stream is unblocked only when it can go on");
                }
            }
            Step::DeliverDecoderStream(count) => {
                self.decoder_stream.extend(self.decoder.poll_instructions().unwrap_or_default());
                let count = count.min(self.decoder_stream.len());
                let bytes: Vec<u8> = self.decoder_stream.drain(..count).collect();
                self.encoder.handle_decoder_stream(&bytes).unwrap();
            }
            Step::DeliverSection(stream) => {
                if !self.blocked.contains(&stream) {
                    self.decode(stream);
                }
            }
            Step::Cancel(stream) => {
                if !self.cancelled.contains(&stream) {
                    self.decoder.cancel(stream);
                    self.sections.remove(&stream);
                    self.blocked.retain(|&blocked| blocked != stream);
                    self.cancelled.push(stream);
                }
            }
        }
    }

    /// Decodes the next section of a stream; false if it is blocked.
    fn decode(&mut self, stream: u64) -> bool {
        let Some(waiting) = self.sections.get_mut(&stream) else { return true };
        let Some((section, lines)) = waiting.front() else { return true };
        let mut decoded = Vec::new();
        let sink = &mut |field: Field| {
            decoded.push(Line {
                name: String::from_utf8(field.name.to_vec()).unwrap(),
                value: String::from_utf8(field.value.to_vec()).unwrap(),
                sensitive: field.never_indexed,
            });
        };
        match self.decoder.decode(stream, section, sink).unwrap() {
            Outcome::Complete { size } => {
                assert_eq!(&decoded, lines);
                let octets: usize =
                    lines.iter().map(|line| line.name.len() + line.value.len() + 32).sum();
                assert_eq!(size, octets as u64);
                waiting.pop_front();
                true
            }
            Outcome::Blocked => {
                self.blocked.push(stream);
                false
            }
            Outcome::TooLarge => panic!("no section is too large here"),
        }
    }

    /// Everything arrives; then both sides know the same.
    fn finish(mut self) -> (Encoder, Decoder) {
        self.step(Step::DeliverEncoderStream(usize::MAX));
        assert_eq!(self.blocked, [], "nothing waits for what has arrived");
        for stream in self.sections.keys().copied().collect::<Vec<_>>() {
            while !self.sections[&stream].is_empty() {
                assert!(self.decode(stream), "nothing is blocked when all insertions are here");
            }
        }
        self.step(Step::DeliverDecoderStream(usize::MAX));
        assert_eq!(self.decoder.poll_instructions(), None);
        assert_eq!(self.encoder.poll_instructions(), None);
        (self.encoder, self.decoder)
    }
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let name = prop_oneof![
        4 => "x-[a-d]",
        2 => Just("server".to_owned()),
        2 => Just(":path".to_owned()),
        1 => Just("user-agent".to_owned()),
        1 => Just("content-length".to_owned()),
        1 => Just(":status".to_owned()),
        1 => "[a-z]{0,40}",
    ];
    let value =
        prop_oneof![4 => "[a-c]", 2 => "[a-z]{1,8}", 1 => ".{0,60}", 1 => Just("200".to_owned())];
    let line = (name, value, prop::bool::weighted(0.05))
        .prop_map(|(name, value, sensitive)| Line { name, value, sensitive });
    prop::collection::vec(line, 0..8)
}

fn step() -> impl Strategy<Value = Step> {
    let stream = || (0u64..12).prop_map(|number| number * 4);
    let count = || prop_oneof![3 => 0usize..12, 1 => 0usize..400];
    prop_oneof![
        4 => (stream(), lines()).prop_map(|(stream, lines)| Step::Encode { stream, lines }),
        3 => count().prop_map(Step::DeliverEncoderStream),
        3 => count().prop_map(Step::DeliverDecoderStream),
        4 => stream().prop_map(Step::DeliverSection),
        1 => stream().prop_map(Step::Cancel),
    ]
}

proptest! {
    // req: 9204-2.1-order-kept
    // req: 9204-2.1.1-evictable
    // req: 9204-2.1.2-blocked-streams-limit
    #[test]
    fn lines_come_out_as_they_went_in_whatever_the_order_of_arrival(
        steps in prop::collection::vec(step(), 0..150),
        capacity in prop_oneof![0u64..200, 200u64..600, Just(4096)],
        ours in prop_oneof![Just(u64::MAX), 0u64..400],
        peer_blocked in 0u64..4,
        our_blocked in 0u64..4,
    ) {
        let config = EncoderConfig { max_table_capacity: ours, max_blocked_streams: our_blocked };
        let mut play = Play::new(config, capacity, peer_blocked);
        for step in steps {
            play.step(step);
        }
        let (encoder, decoder) = play.finish();
        encoder.assert_in_step_with(&decoder);
    }

    // req: 9204-2.1.2-blocked-streams-limit
    #[test]
    fn without_blocked_streams_no_section_waits(
        sections in prop::collection::vec(lines(), 1..60),
        capacity in 0u64..600,
    ) {
        let config = EncoderConfig { max_table_capacity: u64::MAX, max_blocked_streams: 0 };
        // The peer would allow it; we do not want it.
        let mut play = Play::new(config, capacity, 100);
        for (number, lines) in sections.into_iter().enumerate() {
            let stream = number as u64 * 4;
            play.step(Step::Encode { stream, lines });
            play.step(Step::DeliverSection(stream));
            prop_assert!(play.blocked.is_empty(), "although no instruction has arrived");
            if number % 3 == 0 {
                play.step(Step::DeliverEncoderStream(usize::MAX));
                play.step(Step::DeliverDecoderStream(usize::MAX));
            }
        }
        play.finish();
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_and_never_panic(
        encoder_stream in prop::collection::vec(any::<u8>(), 0..300),
        decoder_stream in prop::collection::vec(any::<u8>(), 0..300),
        section in prop::collection::vec(any::<u8>(), 0..300),
        capacity in 0u64..300,
        split in 1usize..50,
    ) {
        let config = DecoderConfig {
            max_table_capacity: capacity,
            max_blocked_streams: 1,
            max_field_section_size: 2000,
        };
        let mut whole = Decoder::new(config);
        let mut pieces = Decoder::new(config);
        let all = whole.handle_encoder_stream(&encoder_stream);
        let each = encoder_stream.chunks(split).try_for_each(|data| pieces.handle_encoder_stream(data));
        prop_assert_eq!(all, each, "any split gives the same");
        let section = Bytes::from(section);
        prop_assert_eq!(whole.decode(0, &section, &mut |_| ()), pieces.decode(0, &section, &mut |_| ()));
        prop_assert_eq!(whole.poll_instructions(), pieces.poll_instructions());

        let config = EncoderConfig { max_table_capacity: capacity, max_blocked_streams: 1 };
        let mut encoder = Encoder::new(config);
        encoder.set_peer_limits(capacity, 1);
        let _ = encoder.handle_decoder_stream(&decoder_stream);
    }
}
