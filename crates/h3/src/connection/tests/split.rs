//! Any split of the input gives the same events and commands.

use proptest::prelude::*;

use super::*;

/// What a peer sent on each of its streams.
type Script = Vec<(StreamId, Vec<u8>, bool)>;

/// What can be compared: data of one frame joined, an end in the head spelled out.
fn digest(connection: &mut Connection) -> (Vec<String>, Vec<Command>) {
    let mut out: Vec<String> = Vec::new();
    let mut content: Option<(StreamId, Vec<u8>)> = None;
    let flush = |content: &mut Option<(StreamId, Vec<u8>)>, out: &mut Vec<String>| {
        if let Some((id, data)) = content.take() {
            out.push(format!("{id:?} data {data:?}"));
        }
    };
    for event in events(connection) {
        match event {
            Event::Data { id, data } => match &mut content {
                Some((last, held)) if *last == id => held.extend_from_slice(&data),
                _ => {
                    flush(&mut content, &mut out);
                    content = Some((id, data.to_vec()));
                }
            },
            other => {
                flush(&mut content, &mut out);
                describe(other, &mut out);
            }
        }
    }
    flush(&mut content, &mut out);
    (out, joined(commands(connection)))
}

fn describe(event: Event, out: &mut Vec<String>) {
    let (id, fin, text) = match event {
        Event::Request { id, head, fin } => (id, fin, format!("{head:?}")),
        Event::Response { id, head, fin } => (id, fin, format!("{head:?}")),
        // Whether a stream waits depends on what came first.
        Event::Unblocked { .. } => return,
        other => return out.push(format!("{other:?}")),
    };
    out.push(format!("{id:?} {text}"));
    if fin {
        out.push(format!("{:?}", Event::Finished { id }));
    }
}

/// Writes to one stream that follow each other are one.
fn joined(commands: Vec<Command>) -> Vec<Command> {
    let mut out: Vec<Command> = Vec::new();
    for command in commands {
        match (out.last_mut(), command) {
            (
                Some(Command::Write { id: last, data: held, fin: false }),
                Command::Write { id, data, fin: false },
            ) if *last == id => *held = bytes(&[held, &data]),
            (_, command) => out.push(command),
        }
    }
    out
}

/// Feeds a script in pieces of the sizes given, over and over; streams one after the other.
fn run(
    mut connection: Connection,
    script: &Script,
    sizes: &[usize],
) -> (Vec<String>, Vec<Command>) {
    let mut sizes = sizes.iter().copied().cycle();
    for (id, data, fin) in script {
        let mut rest = Bytes::copy_from_slice(data);
        loop {
            let size = sizes.next().unwrap_or(usize::MAX).clamp(1, rest.len().max(1));
            let piece = rest.split_to(size.min(rest.len()));
            let result = connection.handle_stream(*id, piece, *fin && rest.is_empty());
            if result.is_err() || rest.is_empty() {
                break;
            }
        }
    }
    digest(&mut connection)
}

/// Control stream, encoder stream with an insertion, requests that use it, with grease, trailers and breaches.
fn script() -> Script {
    let dynamic = frame(frame::HEADERS, b"\x02\x00\xd1\xd7\x50\x09localhost\xc1\x80");
    let post = headers(&[&POST[..], &[("content-length", "6"), ("cookie", "a")]].concat());
    let wrong = headers(&[&POST[..], &[("content-length", "7")]].concat());
    vec![
        (
            CLIENT_CONTROL,
            [
                &[0x00][..],
                &frame(frame::SETTINGS, &[0x07, 0x40, 0x64, 0x33, 0x01, 0x21, 0x05]),
                &frame(0x21, b"grease"),
                &frame(frame::PRIORITY_UPDATE_REQUEST, b"\x00u=1, i"),
                &frame(frame::GOAWAY, &[0x40, 0x64]),
            ]
            .concat(),
            false,
        ),
        // Waits for the insertion.
        (FIRST, [&dynamic[..], &frame(0x40, b"skip"), &data(b"behind")].concat(), true),
        (
            StreamId(4),
            [
                &post[..],
                &data(b"abc"),
                &frame(0x7f, &[0; 80]),
                &data(b"def"),
                &headers(&[("x", "y")]),
            ]
            .concat(),
            true,
        ),
        // Capacity 100, and an insertion with a literal name.
        (CLIENT_ENCODER, b"\x02\x3f\x45\x43own\x05value".to_vec(), false),
        (StreamId(8), [&wrong[..], &data(b"abcdef")].concat(), true),
        (StreamId(12), headers(&GET), true),
        (StreamId(14), b"\x40\x54webtransport".to_vec(), false),
        (StreamId(16), [&headers(&GET)[..], &[0x04, 0x00]].concat(), false),
    ]
}

proptest! {
    #[test]
    fn any_split_of_a_clients_streams_is_the_same(
        sizes in prop::collection::vec(1..40_usize, 1..12)
    ) {
        let config = || Config { enable_datagrams: true, ..Config::default() };
        let whole = run(server(config()), &script(), &[usize::MAX]);
        prop_assert_eq!(run(server(config()), &script(), &sizes), whole);
    }

    #[test]
    fn any_split_of_any_bytes_is_the_same(
        streams in prop::collection::vec(
            (0..12_u64, prop::collection::vec(any_frame(), 0..6), any::<bool>()), 1..6
        ),
        sizes in prop::collection::vec(1..20_usize, 1..12),
    ) {
        let mut seen = std::collections::BTreeSet::new();
        let script: Script = streams
            .into_iter()
            .filter(|(id, ..)| id & 1 == 0 && seen.insert(*id))
            .map(|(id, frames, fin)| (StreamId(id), frames.concat(), fin))
            .collect();
        let whole = run(server(Config::default()), &script, &[usize::MAX]);
        let pieces = run(server(Config::default()), &script, &sizes);
        // A malformed message may end before the end of its stream was seen, or after it.
        prop_assert_eq!(pieces.0, whole.0);
    }
}

/// Frames that often mean something, and bytes that rarely do.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(headers(&GET)),
        Just(headers(&[("x", "y")])),
        Just(frame(frame::SETTINGS, &[])),
        Just(vec![0x00]),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|content| data(&content)),
        (0..0x40_u64, prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(kind, payload)| frame(kind, &payload)),
        prop::collection::vec(any::<u8>(), 0..30),
    ]
}
