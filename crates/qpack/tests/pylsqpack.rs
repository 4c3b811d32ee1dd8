//! Our encoder against their decoder and their encoder against our decoder, through thousands of random sections.
//!
//! The other side is `pylsqpack`, driven by `tests/interop/qpack_pylsqpack.py`. Random numbers come from fixed seeds; a
//! failure names its seed.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use bytes::{Bytes, BytesMut};
use sterna_qpack::{Decoder, DecoderConfig, Encoder, EncoderConfig, Field, FieldRef, Outcome};

/// `cargo xtask test` makes a Python environment with `pylsqpack` and names its interpreter here.
const INTERPRETER: &str = "STERNA_PYTHON";

const SEEDS: u64 = 40;
const STEPS: u64 = 250;

type Line = (Vec<u8>, Vec<u8>);

#[test]
#[ignore = "needs STERNA_PYTHON: run cargo xtask test"]
fn their_decoder_reads_what_our_encoder_writes() {
    let mut peer = Peer::start();
    let (mut octets, mut written) = (0, 0);
    for seed in 0..SEEDS {
        let mut play = OursToTheirs::new(&mut peer, seed);
        for _ in 0..STEPS {
            play.step();
        }
        play.finish();
        octets += play.octets;
        written += play.written;
    }
    println!("{octets} octets of lines became {written}");
    assert!(written * 4 < octets * 3, "the tables were put to use");
}

#[test]
#[ignore = "needs STERNA_PYTHON: run cargo xtask test"]
fn our_decoder_reads_what_their_encoder_writes() {
    let mut peer = Peer::start();
    let mut blocked = 0;
    for seed in 0..SEEDS {
        let mut play = TheirsToOurs::new(&mut peer, seed);
        for _ in 0..STEPS {
            play.step();
        }
        play.finish();
        blocked += play.times_blocked;
    }
    assert!(blocked > 100, "sections overtook their insertions: {blocked}");
}

/// Our encoder, their decoder.
struct OursToTheirs<'a> {
    peer: &'a mut Peer,
    random: Random,
    seed: u64,
    encoder: Encoder,
    encoder_stream: VecDeque<u8>,
    decoder_stream: VecDeque<u8>,
    /// Sections under way, by stream.
    sections: BTreeMap<u64, (Bytes, Vec<Line>)>,
    /// Sections that they hold until they have the insertions.
    blocked: BTreeMap<u64, Vec<Line>>,
    next_stream: u64,
    octets: usize,
    written: usize,
}

impl<'a> OursToTheirs<'a> {
    fn new(peer: &'a mut Peer, seed: u64) -> Self {
        let mut random = Random(seed + 1);
        let (capacity, blocked) = random.limits();
        peer.ask(&format!("new {capacity} {blocked}"));
        let config = EncoderConfig {
            max_table_capacity: random.pick(&[300, 4096]),
            max_blocked_streams: random.pick(&[0, 1, 100]),
        };
        let mut encoder = Encoder::new(config);
        encoder.set_peer_limits(capacity, blocked);
        Self {
            peer,
            random,
            seed,
            encoder,
            encoder_stream: VecDeque::new(),
            decoder_stream: VecDeque::new(),
            sections: BTreeMap::new(),
            blocked: BTreeMap::new(),
            next_stream: 0,
            octets: 0,
            written: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(8) {
            0..3 => self.encode(),
            3..5 => self.deliver_section(),
            5 => {
                let count = self.random.below(60);
                self.deliver_encoder_stream(count);
            }
            6 => {
                let count = self.random.below(6);
                self.deliver_decoder_stream(count);
            }
            _ if self.random.below(8) == 0 => self.cancel(),
            _ => {}
        }
    }

    fn encode(&mut self) {
        let lines = self.random.lines();
        let mut section = BytesMut::new();
        let fields = lines.iter().map(|(name, value)| FieldRef { name, value, sensitive: false });
        self.encoder.encode(self.next_stream, fields, &mut section);
        let instructions = self.encoder.poll_instructions().unwrap_or_default();
        self.octets += lines.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        self.written += section.len() + instructions.len();
        self.encoder_stream.extend(instructions);
        self.sections.insert(self.next_stream, (section.freeze(), lines));
        self.next_stream += 4;
    }

    fn deliver_section(&mut self) {
        let Some(stream) = self.random.key_of(&self.sections) else { return };
        let Some((section, lines)) = self.sections.remove(&stream) else { return };
        let answer = self.peer.ask(&format!("section {stream} {}", to_hex(&section)));
        match answer.split_once(' ') {
            None => {
                assert_eq!(answer, "blocked");
                self.blocked.insert(stream, lines);
            }
            Some((instructions, decoded)) => {
                assert_eq!(from_lines(decoded), lines, "seed {}", self.seed);
                self.decoder_stream.extend(from_hex(instructions));
            }
        }
    }

    fn deliver_encoder_stream(&mut self, count: usize) {
        let count = count.min(self.encoder_stream.len());
        let bytes: Vec<u8> = self.encoder_stream.drain(..count).collect();
        let freed = self.peer.ask(&format!("encoder-stream {}", to_hex(&bytes)));
        for stream in freed.split(',').filter(|stream| *stream != "-") {
            let answer = self.peer.ask(&format!("resume {stream}"));
            let (instructions, decoded) = answer.split_once(' ').expect("two parts");
            let lines = self.blocked.remove(&stream.parse().expect("a number"));
            assert_eq!(Some(from_lines(decoded)), lines, "seed {}", self.seed);
            self.decoder_stream.extend(from_hex(instructions));
        }
    }

    fn deliver_decoder_stream(&mut self, count: usize) {
        let count = count.min(self.decoder_stream.len());
        let bytes: Vec<u8> = self.decoder_stream.drain(..count).collect();
        let outcome = self.encoder.handle_decoder_stream(&bytes);
        assert_eq!(outcome, Ok(()), "seed {}", self.seed);
    }

    fn cancel(&mut self) {
        let Some(stream) = self.random.key_of(&self.sections) else { return };
        self.sections.remove(&stream);
        let instructions = self.peer.ask(&format!("cancel {stream}"));
        self.decoder_stream.extend(from_hex(&instructions));
    }

    fn finish(&mut self) {
        self.deliver_encoder_stream(usize::MAX);
        while !self.sections.is_empty() {
            self.deliver_section();
        }
        self.deliver_decoder_stream(usize::MAX);
        assert!(self.blocked.is_empty(), "seed {}", self.seed);
    }
}

/// Their encoder, our decoder.
struct TheirsToOurs<'a> {
    peer: &'a mut Peer,
    random: Random,
    seed: u64,
    decoder: Decoder,
    encoder_stream: VecDeque<u8>,
    decoder_stream: VecDeque<u8>,
    sections: BTreeMap<u64, (Bytes, Vec<Line>)>,
    next_stream: u64,
    times_blocked: usize,
}

impl<'a> TheirsToOurs<'a> {
    fn new(peer: &'a mut Peer, seed: u64) -> Self {
        let mut random = Random(seed + 1000);
        let (capacity, blocked) = random.limits();
        let start = peer.ask(&format!("new {capacity} {blocked}"));
        let decoder = Decoder::new(DecoderConfig {
            max_table_capacity: capacity,
            max_blocked_streams: blocked,
            max_field_section_size: 1 << 20,
        });
        Self {
            peer,
            random,
            seed,
            decoder,
            encoder_stream: from_hex(&start).into(),
            decoder_stream: VecDeque::new(),
            sections: BTreeMap::new(),
            next_stream: 0,
            times_blocked: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(8) {
            0..3 => self.encode(),
            3..5 => {
                if let Some(stream) = self.random.key_of(&self.sections) {
                    self.deliver_section(stream);
                }
            }
            5 => {
                let count = self.random.below(60);
                self.deliver_encoder_stream(count);
            }
            6 => {
                let count = self.random.below(6);
                self.deliver_decoder_stream(count);
            }
            _ if self.random.below(8) == 0 => {
                if let Some(stream) = self.random.key_of(&self.sections) {
                    self.sections.remove(&stream);
                    self.decoder.cancel(stream);
                }
            }
            _ => {}
        }
    }

    fn encode(&mut self) {
        let lines = self.random.lines();
        let answer = self.peer.ask(&format!("encode {} {}", self.next_stream, to_lines(&lines)));
        let (instructions, section) = answer.split_once(' ').expect("two parts");
        self.encoder_stream.extend(from_hex(instructions));
        self.sections.insert(self.next_stream, (from_hex(section).into(), lines));
        self.next_stream += 4;
    }

    fn deliver_section(&mut self, stream: u64) {
        let (section, lines) = &self.sections[&stream];
        let mut decoded = Vec::new();
        let sink = &mut |field: Field| decoded.push((field.name.to_vec(), field.value.to_vec()));
        match self.decoder.decode(stream, section, sink) {
            Ok(Outcome::Complete { .. }) => {
                assert_eq!(&decoded, lines, "seed {}", self.seed);
                self.sections.remove(&stream);
            }
            Ok(Outcome::Blocked) => self.times_blocked += 1,
            other => panic!("seed {}: {other:?}", self.seed),
        }
    }

    fn deliver_encoder_stream(&mut self, count: usize) {
        let count = count.min(self.encoder_stream.len());
        let bytes: Vec<u8> = self.encoder_stream.drain(..count).collect();
        let outcome = self.decoder.handle_encoder_stream(&bytes);
        assert_eq!(outcome, Ok(()), "seed {}", self.seed);
        while let Some(stream) = self.decoder.poll_unblocked() {
            self.deliver_section(stream);
            assert!(!self.sections.contains_key(&stream), "is not blocked again");
        }
    }

    fn deliver_decoder_stream(&mut self, count: usize) {
        self.decoder_stream.extend(self.decoder.poll_instructions().unwrap_or_default());
        let count = count.min(self.decoder_stream.len());
        let bytes: Vec<u8> = self.decoder_stream.drain(..count).collect();
        assert_eq!(self.peer.ask(&format!("decoder-stream {}", to_hex(&bytes))), "ok");
    }

    fn finish(&mut self) {
        self.deliver_encoder_stream(usize::MAX);
        for stream in self.sections.keys().copied().collect::<Vec<_>>() {
            self.deliver_section(stream);
        }
        self.deliver_decoder_stream(usize::MAX);
        assert!(self.sections.is_empty(), "seed {}", self.seed);
    }
}

/// The other implementation, in a process of its own.
struct Peer {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    #[expect(clippy::disallowed_methods, reason = "the test is told where its interpreter is")]
    fn start() -> Self {
        let interpreter = std::env::var(INTERPRETER)
            .unwrap_or_else(|_| panic!("{INTERPRETER} is not set: run `cargo xtask test`"));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/interop/qpack_pylsqpack.py");
        let mut process = Command::new(&interpreter)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {interpreter}: {error}"));
        let input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        Self { process, input, output }
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}").expect("the script is reading");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("the script is writing");
        assert!(!answer.is_empty(), "the script died of `{command}`");
        answer.trim_end().to_owned()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The splitmix64 generator: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn key_of<V>(&mut self, map: &BTreeMap<u64, V>) -> Option<u64> {
        let at = self.below(map.len().max(1));
        map.keys().nth(at).copied()
    }

    /// Table capacity and blocked streams of the deciding side.
    fn limits(&mut self) -> (u64, u64) {
        (self.pick(&[0, 100, 220, 1000, 4096, 65536]), self.pick(&[1, 3, 100]))
    }

    /// One to ten lines, of which many repeat.
    fn lines(&mut self) -> Vec<Line> {
        const NAMES: [&str; 9] = [
            ":status",
            "server",
            "content-type",
            "date",
            "x-a",
            "x-b",
            "x-some-longer-name",
            "content-length",
            "vary",
        ];
        const VALUES: [&str; 6] = [
            "200",
            "text/html; charset=utf-8",
            "sterna",
            "Sat, 21 Nov 2026 02:00:00 GMT",
            "accept-encoding",
            "a value of some length that repeats",
        ];
        let count = 1 + self.below(10);
        (0..count)
            .map(|_| {
                let name = self.pick(&NAMES).as_bytes().to_vec();
                let value = match self.below(6) {
                    0 => {
                        let length = self.below(50);
                        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
                    }
                    _ => self.pick(&VALUES).as_bytes().to_vec(),
                };
                (name, value)
            })
            .collect()
    }
}

fn to_hex(bytes: &[u8]) -> String {
    match bytes {
        [] => "-".into(),
        _ => hex(bytes),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.trim_start_matches('-').as_bytes();
    let digit = |digit: u8| char::from(digit).to_digit(16).expect("hex") as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn to_lines(lines: &[Line]) -> String {
    let pairs: Vec<String> =
        lines.iter().map(|(name, value)| format!("{}:{}", hex(name), hex(value))).collect();
    pairs.join(",")
}

fn from_lines(text: &str) -> Vec<Line> {
    text.split(',')
        .filter_map(|pair| pair.split_once(':'))
        .map(|(name, value)| (from_hex(name), from_hex(value)))
        .collect()
}
