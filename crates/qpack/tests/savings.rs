//! What the dynamic table is worth on headers such as browsers and servers send, over one connection.

use bytes::BytesMut;
use sterna_qpack::{Decoder, DecoderConfig, Encoder, EncoderConfig, FieldRef, Outcome};

/// One message, as `(name, value)`.
type Lines = Vec<(&'static str, String)>;

/// The answer to the request of that number.
fn response(number: u64) -> Lines {
    let date = format!("Sat, 21 Nov 2026 02:{:02}:{:02} GMT", number / 200, number / 20 % 60);
    let kind = ["text/css", "image/webp", "application/json"][(number % 3) as usize];
    vec![
        (":status", "200".into()),
        ("content-type", kind.into()),
        ("content-length", (1000 + number * 37 % 5000).to_string()),
        ("etag", format!("\"{:016x}\"", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
        ("cache-control", "public, max-age=3600, stale-while-revalidate=60".into()),
        ("date", date),
        ("server", "sterna".into()),
        ("alt-svc", "h3=\":443\"; ma=86400".into()),
        ("strict-transport-security", "max-age=63072000; includeSubDomains".into()),
        (
            "x-request-id",
            format!("{:032x}", u128::from(number).wrapping_mul(0x1234_5678_9abc_def1)),
        ),
    ]
}

/// The request of that number.
fn request(number: u64) -> Lines {
    vec![
        (":method", "GET".into()),
        (":scheme", "https".into()),
        (":authority", "www.example.com".into()),
        (":path", format!("/assets/{number}.css")),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)".into(),
        ),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8".into()),
        ("accept-encoding", "gzip, deflate, br, zstd".into()),
        ("accept-language", "en-GB,en;q=0.9,de;q=0.8".into()),
        ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark".into()),
        ("sec-fetch-mode", "no-cors".into()),
        ("sec-fetch-dest", "style".into()),
        ("referer", "https://www.example.com/index.html".into()),
    ]
}

/// Bytes on the wire for `count` messages, encoder stream included; acknowledgments arrive every tenth message.
fn cost(message: fn(u64) -> Lines, count: u64, capacity: u64, blocked_streams: u64) -> usize {
    let mut encoder = Encoder::new(EncoderConfig {
        max_table_capacity: capacity,
        max_blocked_streams: blocked_streams,
    });
    encoder.set_peer_limits(capacity, blocked_streams);
    let mut decoder = Decoder::new(DecoderConfig {
        max_table_capacity: capacity,
        max_blocked_streams: blocked_streams,
        max_field_section_size: 1 << 16,
    });
    let mut written = 0;
    for number in 0..count {
        let lines = message(number);
        let fields = lines.iter().map(|(name, value)| FieldRef {
            name: name.as_bytes(),
            value: value.as_bytes(),
            sensitive: false,
        });
        let mut section = BytesMut::new();
        encoder.encode(number * 4, fields, &mut section);
        let instructions = encoder.poll_instructions().unwrap_or_default();
        written += section.len() + instructions.len();
        if blocked_streams == 0 {
            // What the section needs has been acknowledged, so it does not matter what is under way.
            let outcome = decoder.decode(number * 4, &section.freeze(), &mut |_| ());
            assert!(matches!(outcome, Ok(Outcome::Complete { .. })), "a response never blocks");
            decoder.handle_encoder_stream(&instructions).expect("our own");
        } else {
            decoder.handle_encoder_stream(&instructions).expect("our own");
            let outcome = decoder.decode(number * 4, &section.freeze(), &mut |_| ());
            assert!(matches!(outcome, Ok(Outcome::Complete { .. })));
        }
        if number % 10 == 9 {
            let acknowledgments = decoder.poll_instructions().unwrap_or_default();
            encoder.handle_decoder_stream(&acknowledgments).expect("theirs");
        }
    }
    written
}

fn assert_ratio(with: usize, without: usize, percent: usize) {
    println!("{without} bytes without, {with} with a dynamic table");
    assert!(with * 100 < without * percent, "{with} is not below {percent} % of {without}");
}

#[test]
fn responses_shrink_to_two_fifths_without_ever_blocking() {
    assert_ratio(cost(response, 500, 4096, 0), cost(response, 500, 0, 0), 40);
}

#[test]
fn requests_shrink_to_less_than_a_tenth_when_streams_may_block() {
    assert_ratio(cost(request, 500, 4096, 100), cost(request, 500, 0, 0), 10);
}

#[test]
fn a_single_message_costs_at_most_its_insertions_more() {
    let without = cost(response, 1, 0, 0);
    let with = cost(response, 1, 4096, 0);
    assert_ratio(with, without, 160);
}

#[test]
fn a_small_table_still_pays() {
    assert_ratio(cost(response, 500, 512, 0), cost(response, 500, 0, 0), 70);
}
