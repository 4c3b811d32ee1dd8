//! What encoding and decoding a field section costs, for an instruction counter.
//!
//! ```text
//! cargo build --release -p sterna-qpack --example cost
//! valgrind --tool=callgrind target/release/examples/cost encode response 10000
//! ```
//!
//! The work is the same on every run: the difference between two counts, divided by the difference of sections, is the
//! cost of one. `nothing` does all but the work.

use std::{env, hint::black_box, process::ExitCode};

use bytes::{Bytes, BytesMut};
use sterna_qpack::{Decoder, DecoderConfig, Encoder, EncoderConfig, FieldRef};

const RESPONSE: [(&str, &str); 9] = [
    (":status", "200"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-length", "1024"),
    ("etag", "\"5f3c-61a2b3c4d5e6f\""),
    ("last-modified", "Fri, 20 Nov 2026 10:00:00 GMT"),
    ("cache-control", "public, max-age=3600"),
    ("date", "Sat, 21 Nov 2026 02:00:00 GMT"),
    ("server", "sterna"),
    ("alt-svc", "h3=\":443\"; ma=86400"),
];

const REQUEST: [(&str, &str); 10] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "www.example.com"),
    (":path", "/assets/application.css"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
    ("sec-fetch-mode", "no-cors"),
    ("referer", "https://www.example.com/index.html"),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [verb, what, count] = arguments.as_slice() else { return usage() };
    let (name, capacity) = match what.split_once('-') {
        Some((name, "static")) => (name, 0),
        None => (what.as_str(), 4096),
        Some(_) => return usage(),
    };
    let lines = match name {
        "response" => RESPONSE.as_slice(),
        "request" => REQUEST.as_slice(),
        _ => return usage(),
    };
    let Ok(count) = count.parse() else { return usage() };
    let mut pair = Pair::new(capacity, lines);
    match verb.as_str() {
        "encode" => pair.encode(count),
        "decode" => pair.decode(count),
        "nothing" => {}
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: cost encode|decode|nothing response|request[-static] COUNT");
    ExitCode::from(2)
}

/// An encoder and a decoder that have seen the lines often enough.
struct Pair {
    encoder: Encoder,
    decoder: Decoder,
    lines: &'static [(&'static str, &'static str)],
    section: Bytes,
}

impl Pair {
    fn new(capacity: u64, lines: &'static [(&'static str, &'static str)]) -> Self {
        let mut encoder =
            Encoder::new(EncoderConfig { max_table_capacity: capacity, max_blocked_streams: 0 });
        encoder.set_peer_limits(capacity, 0);
        let decoder = Decoder::new(DecoderConfig {
            max_table_capacity: capacity,
            max_blocked_streams: 0,
            max_field_section_size: 1 << 16,
        });
        let mut pair = Self { encoder, decoder, lines, section: Bytes::new() };
        let mut out = BytesMut::new();
        for _ in 0..4 {
            out.clear();
            pair.encode_one(&mut out);
            let instructions = pair.encoder.poll_instructions().unwrap_or_default();
            pair.decoder.handle_encoder_stream(&instructions).expect("our own");
            pair.section = out.clone().freeze();
            pair.decode_one();
            pair.settle();
        }
        pair
    }

    fn encode(&mut self, count: u64) {
        let mut out = BytesMut::with_capacity(4096);
        // The peer acknowledges each section that refers to its table.
        let acknowledgment: &[u8] = if self.section.first() == Some(&0) { &[] } else { &[0x80] };
        for _ in 0..count {
            out.clear();
            self.encode_one(&mut out);
            black_box(&out);
            self.encoder.handle_decoder_stream(acknowledgment).expect("as the peer would");
        }
    }

    fn decode(&mut self, count: u64) {
        for _ in 0..count {
            self.decode_one();
            black_box(self.decoder.poll_instructions());
        }
    }

    fn encode_one(&mut self, out: &mut BytesMut) {
        let fields = self.lines.iter().map(|(name, value)| FieldRef {
            name: name.as_bytes(),
            value: value.as_bytes(),
            sensitive: false,
        });
        self.encoder.encode(0, fields, out);
    }

    fn decode_one(&mut self) {
        let outcome = self.decoder.decode(0, &self.section, &mut |field| {
            black_box(&field);
        });
        black_box(outcome.expect("our own"));
    }

    fn settle(&mut self) {
        let instructions = self.decoder.poll_instructions().unwrap_or_default();
        self.encoder.handle_decoder_stream(&instructions).expect("the decoder's own");
    }
}
