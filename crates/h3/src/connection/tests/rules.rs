//! Each rule that a peer can break, broken once: which rule is seen, with which code, and what ends.

use super::*;
use crate::Scope;
use PeerMisbehaved as Rule;

/// What became of a breach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The connection was closed.
    Closed(Rule, Code),
    /// The stream was reset and the application told; the connection lives.
    Reset(Rule, Code),
    /// Nothing.
    Tolerated,
}

impl Verdict {
    fn of(connection: &mut Connection, result: Result<(), Error>) -> Self {
        let commands = commands(connection);
        let told = events(connection).into_iter().find_map(|event| match event {
            Event::Misbehaved { rule, .. } => Some(rule),
            _ => None,
        });
        match (result, told) {
            (Err(Error::PeerMisbehaved(rule)), _) => match commands.last() {
                Some(Command::Close { code, reason }) => {
                    assert_eq!(*reason, rule.sentence());
                    Self::Closed(rule, *code)
                }
                other => panic!("{rule:?} closed nothing: {other:?}"),
            },
            (Ok(()), Some(rule)) => {
                let ended = commands.iter().filter_map(|command| match command {
                    Command::Reset { code, .. } | Command::StopSending { code, .. } => Some(*code),
                    _ => None,
                });
                let codes: Vec<_> = ended.collect();
                assert!(codes.iter().all(|code| *code == rule.code()), "{rule:?}: {codes:?}");
                Self::Reset(rule, *codes.first().expect("something was reset"))
            }
            (Ok(()), None) => Self::Tolerated,
            (Err(Error::Closed), _) => panic!("closed before"),
        }
    }
}

/// What `input` makes of a connection.
fn play(
    mut connection: Connection,
    input: impl FnOnce(&mut Connection) -> Result<(), Error>,
) -> Verdict {
    let result = input(&mut connection);
    Verdict::of(&mut connection, result)
}

fn enabled() -> Config {
    Config { enable_connect_protocol: true, enable_datagrams: true, ..Config::default() }
}

/// A client's control stream after SETTINGS.
fn to_server_control(frames: &[&[u8]]) -> Verdict {
    play(server(Config::default()), |server| {
        let opening = [&[0x00, 0x04, 0x00], frames.concat().as_slice()].concat();
        server.handle_stream(CLIENT_CONTROL, opening.into(), false)
    })
}

/// A server's control stream after SETTINGS.
fn to_client_control(frames: &[&[u8]]) -> Verdict {
    play(client(Config::default()), |client| {
        let opening = [&[0x00, 0x04, 0x00], frames.concat().as_slice()].concat();
        client.handle_stream(SERVER_CONTROL, opening.into(), false)
    })
}

/// A client's SETTINGS payload.
fn settings(payload: &[u8]) -> Verdict {
    play(server(Config::default()), |server| {
        server.handle_stream(CLIENT_CONTROL, bytes(&[&[0x00], &frame(0x04, payload)]), false)
    })
}

/// Unidirectional streams of a client, each with its first bytes and whether it ends.
fn uni_to_server(streams: &[(u64, &[u8], bool)]) -> Verdict {
    play(server(Config::default()), |server| {
        streams.iter().try_for_each(|(id, data, fin)| {
            server.handle_stream(StreamId(*id), Bytes::copy_from_slice(data), *fin)
        })
    })
}

/// A request stream that does not end.
fn to_server(frames: &[&[u8]]) -> Verdict {
    play(server(enabled()), |server| server.handle_stream(FIRST, bytes(frames), false))
}

/// A request stream that ends.
fn to_server_and_end(frames: &[&[u8]]) -> Verdict {
    play(server(enabled()), |server| server.handle_stream(FIRST, bytes(frames), true))
}

/// A response stream to a request, which does not end.
fn to_client_of(head: &RequestHead, frames: &[&[u8]]) -> Verdict {
    play(client_that_asked(head), |client| client.handle_stream(FIRST, bytes(frames), false))
}

fn to_client(frames: &[&[u8]]) -> Verdict {
    to_client_of(&get(), frames)
}

/// A GET with lines after its pseudo-header fields.
fn get_with(lines: &[(&str, &str)]) -> Verdict {
    to_server(&[&headers(&[&GET, lines].concat())])
}

/// A request of exactly these lines.
fn request_of(lines: &[(&str, &str)]) -> Verdict {
    to_server(&[&headers(lines)])
}

/// A GET with one of its pseudo-header fields replaced, or taken out.
fn get_but(name: &str, value: Option<&str>) -> Verdict {
    let lines = GET.iter().filter_map(|line| match value {
        Some(value) if line.0 == name => Some((line.0, value)),
        None if line.0 == name => None,
        _ => Some(*line),
    });
    request_of(&lines.collect::<Vec<_>>())
}

/// A response of exactly these lines.
fn response_of(lines: &[(&str, &str)]) -> Verdict {
    to_client(&[&headers(lines)])
}

/// A GET with one line whose name or value is raw bytes.
fn raw_line(name: &[u8], value: &[u8]) -> Verdict {
    let mut section = section(&GET);
    let length = u8::try_from(name.len()).unwrap();
    assert!(length < 7, "the name has to fit its prefix");
    section.push(0x20 | length);
    section.extend_from_slice(name);
    section.push(u8::try_from(value.len()).unwrap());
    section.extend_from_slice(value);
    to_server(&[&frame(frame::HEADERS, &section)])
}

const OK: [(&str, &str); 1] = [(":status", "200")];

/// Broken rule, its code, and what became of it.
type Cases = Vec<(Rule, Code, Verdict)>;

fn stream_cases() -> Cases {
    vec![
        // req: 9114-6.2.1-one-control-stream
        (
            Rule::ControlStreamTwice,
            Code::StreamCreationError,
            uni_to_server(&[(2, &[0x00], false), (6, &[0x00], false)]),
        ),
        // req: 9204-4.2-streams-once
        (
            Rule::EncoderStreamTwice,
            Code::StreamCreationError,
            uni_to_server(&[(2, &[0x02], false), (6, &[0x02], false)]),
        ),
        (
            Rule::DecoderStreamTwice,
            Code::StreamCreationError,
            uni_to_server(&[(2, &[0x03], false), (6, &[0x03], false)]),
        ),
        // req: 9114-6.2.2-only-servers-push
        (
            Rule::PushStreamFromClient,
            Code::StreamCreationError,
            uni_to_server(&[(2, &[0x01, 0x00], false)]),
        ),
        // req: 9114-4.6-push-within-limit
        (
            Rule::PushStreamNotAllowed,
            Code::IdError,
            play(client(Config::default()), |client| {
                client.handle_stream(SERVER_CONTROL, bytes(&[&[0x01, 0x00]]), false)
            }),
        ),
        // req: 9114-6.1-no-server-bidi
        (
            Rule::ServerOpenedBidirectional,
            Code::StreamCreationError,
            play(client(Config::default()), |client| {
                client.handle_stream(StreamId(1), bytes(&[&[0x00]]), false)
            }),
        ),
        // req: 9114-6.2.1-control-stays-open
        (
            Rule::ControlStreamClosed,
            Code::ClosedCriticalStream,
            uni_to_server(&[(2, &[0x00, 0x04, 0x00], true)]),
        ),
        // req: 9204-4.2-streams-not-closed
        (
            Rule::EncoderStreamClosed,
            Code::ClosedCriticalStream,
            uni_to_server(&[(2, &[0x02], true)]),
        ),
        (
            Rule::DecoderStreamClosed,
            Code::ClosedCriticalStream,
            play(server(Config::default()), |server| {
                server.handle_stream(CLIENT_DECODER, bytes(&[&[0x03]]), false)?;
                server.handle_reset(CLIENT_DECODER, 0x100)
            }),
        ),
        // req: 9114-6.2.1-control-not-stopped
        (
            Rule::CriticalStreamStopped,
            Code::ClosedCriticalStream,
            play(server(Config::default()), |server| {
                server.handle_stop_sending(SERVER_ENCODER, 0x100)
            }),
        ),
        (
            Rule::TooManyUntypedStreams,
            Code::ExcessiveLoad,
            play(server(Config::default()), |server| {
                (0..100).try_for_each(|n| {
                    server.handle_stream(StreamId(2 + n * 4), bytes(&[&[0x40]]), false)
                })
            }),
        ),
        (
            Rule::TooManyGaps,
            Code::ExcessiveLoad,
            play(server(Config::default()), |server| {
                (0..2000).try_for_each(|n| {
                    server.handle_stream(StreamId(4 + n * 8), Bytes::new(), false)
                })
            }),
        ),
    ]
}

fn control_cases() -> Cases {
    let updates = frame(frame::PRIORITY_UPDATE_REQUEST, &[0]).repeat(10_000);
    vec![
        // req: 9114-6.2.1-settings-first
        (
            Rule::MissingSettings,
            Code::MissingSettings,
            uni_to_server(&[(2, &[0x00, 0x07, 0x01, 0x00], false)]),
        ),
        // req: 9114-7.2.4-once
        (Rule::SettingsTwice, Code::FrameUnexpected, to_server_control(&[&[0x04, 0x00]])),
        // req: 9114-7.2.1-not-on-control-stream
        (Rule::DataOnControlStream, Code::FrameUnexpected, to_server_control(&[&[0x00, 0x05]])),
        // req: 9114-7.2.2-not-on-control-stream
        (Rule::HeadersOnControlStream, Code::FrameUnexpected, to_server_control(&[&headers(&GET)])),
        // req: 9114-7.2.5-not-on-control-stream
        (
            Rule::PushPromiseOnControlStream,
            Code::FrameUnexpected,
            to_client_control(&[&frame(frame::PUSH_PROMISE, &[0])]),
        ),
        // req: 9114-7.2.3-known-push
        (Rule::CancelPushUnknown, Code::IdError, to_server_control(&[&[0x03, 0x01, 0x00]])),
        (Rule::CancelPushUnknown, Code::IdError, to_client_control(&[&[0x03, 0x01, 0x00]])),
        // req: 9114-5.2-no-increase
        (
            Rule::GoawayIncreased,
            Code::IdError,
            to_client_control(&[&frame(frame::GOAWAY, &[4]), &frame(frame::GOAWAY, &[8])]),
        ),
        (
            Rule::GoawayIncreased,
            Code::IdError,
            to_server_control(&[&frame(frame::GOAWAY, &[1]), &frame(frame::GOAWAY, &[2])]),
        ),
        // req: 9114-5.2-request-id
        (
            Rule::GoawayNotRequestId,
            Code::IdError,
            to_client_control(&[&frame(frame::GOAWAY, &[1])]),
        ),
        // req: 9114-7.2.7-not-from-server
        (
            Rule::MaxPushIdFromServer,
            Code::FrameUnexpected,
            to_client_control(&[&frame(frame::MAX_PUSH_ID, &[1])]),
        ),
        // req: 9114-7.2.7-no-decrease
        (
            Rule::MaxPushIdReduced,
            Code::IdError,
            to_server_control(&[
                &frame(frame::MAX_PUSH_ID, &[2]),
                &frame(frame::MAX_PUSH_ID, &[1]),
            ]),
        ),
        // req: 9218-7.2-not-from-server
        (
            Rule::PriorityUpdateFromServer,
            Code::FrameUnexpected,
            to_client_control(&[&frame(frame::PRIORITY_UPDATE_REQUEST, &[0])]),
        ),
        // req: 9218-7.2-request-id
        (
            Rule::PriorityUpdateNotRequestId,
            Code::IdError,
            to_server_control(&[&frame(frame::PRIORITY_UPDATE_REQUEST, &[2])]),
        ),
        // req: 9218-7.2-push-promised
        (
            Rule::PriorityUpdateUnknownPush,
            Code::IdError,
            to_server_control(&[&frame(frame::PRIORITY_UPDATE_PUSH, &[0])]),
        ),
        // req: 9114-7.2.8-http2-frames
        (Rule::Http2Frame, Code::FrameUnexpected, to_server_control(&[&frame(0x02, &[])])),
        (Rule::Http2Frame, Code::FrameUnexpected, to_server_control(&[&frame(0x06, &[])])),
        (Rule::Http2Frame, Code::FrameUnexpected, to_server_control(&[&frame(0x08, &[])])),
        (Rule::Http2Frame, Code::FrameUnexpected, to_server_control(&[&frame(0x09, &[])])),
        // req: 9114-7.1-payload-fits
        (Rule::FrameLength, Code::FrameError, to_client_control(&[&frame(frame::GOAWAY, &[])])),
        (Rule::FrameLength, Code::FrameError, to_client_control(&[&frame(frame::GOAWAY, &[0, 0])])),
        (Rule::FrameLength, Code::FrameError, to_client_control(&[&frame(frame::GOAWAY, &[0; 9])])),
        // Refused at its length, not held until it is whole.
        (Rule::FrameLength, Code::FrameError, to_client_control(&[&[0x07, 0x09]])),
        (Rule::FrameLength, Code::FrameError, settings(&[0x07])),
        // req: 9114-7.2.4.1-http2-settings
        (Rule::Http2Setting, Code::SettingsError, settings(&[0x02, 0x00])),
        // req: 9114-7.2.4-no-duplicates
        (Rule::SettingTwice, Code::SettingsError, settings(&[0x07, 0x00, 0x07, 0x00])),
        // req: 9220-3-boolean
        (Rule::SettingNotBoolean, Code::SettingsError, settings(&[0x08, 0x02])),
        // req: 9297-2.1.1-boolean
        (Rule::SettingNotBoolean, Code::SettingsError, settings(&[0x33, 0x02])),
        // req: 9114-7.2.4.2-not-reduced
        (
            Rule::SettingsReduced,
            Code::SettingsError,
            play(client(Config::default()), |client| {
                client.remember_settings(Settings {
                    qpack_blocked_streams: 1,
                    ..Settings::default()
                });
                client.handle_stream(SERVER_CONTROL, bytes(&[&[0x00, 0x04, 0x00]]), false)
            }),
        ),
        (
            Rule::ControlFrameTooLarge,
            Code::ExcessiveLoad,
            uni_to_server(&[(2, &[0x00, 0x04, 0x50, 0x01], false)]),
        ),
        // req: 9114-10.5-useless-frames
        (Rule::Flood, Code::ExcessiveLoad, to_server_control(&[&updates])),
    ]
}

fn frame_cases() -> Cases {
    let get = headers(&GET);
    let trailers = headers(&[("x", "y")]);
    let connect = headers(&[(":method", "CONNECT"), (":authority", "localhost:443")]);
    vec![
        // req: 9114-7.2.4-not-on-request-stream
        (Rule::SettingsOnRequestStream, Code::FrameUnexpected, to_server(&[&get, &[0x04, 0x00]])),
        // req: 9114-7.2.5-not-from-client
        (
            Rule::PushPromiseFromClient,
            Code::FrameUnexpected,
            to_server(&[&get, &frame(frame::PUSH_PROMISE, &[0])]),
        ),
        // req: 9114-7.2.5-within-limit
        (
            Rule::PushPromiseNotAllowed,
            Code::IdError,
            to_client(&[&headers(&OK), &frame(frame::PUSH_PROMISE, &[0])]),
        ),
        // req: 9114-7.2.3-not-on-request-stream
        (
            Rule::CancelPushOnRequestStream,
            Code::FrameUnexpected,
            to_server(&[&get, &frame(frame::CANCEL_PUSH, &[0])]),
        ),
        // req: 9114-7.2.6-not-on-request-stream
        (
            Rule::GoawayOnRequestStream,
            Code::FrameUnexpected,
            to_server(&[&get, &frame(frame::GOAWAY, &[0])]),
        ),
        // req: 9114-7.2.7-not-on-request-stream
        (
            Rule::MaxPushIdOnRequestStream,
            Code::FrameUnexpected,
            to_server(&[&get, &frame(frame::MAX_PUSH_ID, &[0])]),
        ),
        // req: 9218-7.2-not-on-request-stream
        (
            Rule::PriorityUpdateOnRequestStream,
            Code::FrameUnexpected,
            to_server(&[&get, &frame(frame::PRIORITY_UPDATE_REQUEST, &[0])]),
        ),
        // req: 9114-7.2.8-http2-frames
        (Rule::Http2Frame, Code::FrameUnexpected, to_server(&[&frame(0x08, &[])])),
        // req: 9114-7.1-stream-ends-between-frames
        (Rule::FrameTruncated, Code::FrameError, to_server_and_end(&[&get, &[0x00, 0x05, b'x']])),
        (Rule::FrameTruncated, Code::FrameError, to_server_and_end(&[&get, &[0x00]])),
        (Rule::FrameTruncated, Code::FrameError, to_server_and_end(&[&get[..get.len() - 1]])),
        // req: 9114-4.1-frame-sequence
        (Rule::DataBeforeHeaders, Code::FrameUnexpected, to_server(&[&data(b"x")])),
        (Rule::DataBeforeHeaders, Code::FrameUnexpected, to_client(&[&data(b"x")])),
        (
            Rule::DataBeforeHeaders,
            Code::FrameUnexpected,
            to_client(&[&headers(&[(":status", "103")]), &data(b"x")]),
        ),
        (
            Rule::DataAfterTrailers,
            Code::FrameUnexpected,
            to_server(&[&get, &trailers, &data(b"x")]),
        ),
        (
            Rule::HeadersAfterTrailers,
            Code::FrameUnexpected,
            to_server(&[&get, &trailers, &trailers]),
        ),
        // req: 9114-4.4-only-data
        (Rule::HeadersInTunnel, Code::FrameUnexpected, to_server(&[&connect, &trailers])),
        (Rule::Flood, Code::ExcessiveLoad, to_server(&[&get, &data(b"").repeat(10_000)])),
        (Rule::Flood, Code::ExcessiveLoad, to_server(&[&frame(0x21, &[]).repeat(10_000)])),
        (
            Rule::Flood,
            Code::ExcessiveLoad,
            // Set Dynamic Table Capacity, again and again.
            uni_to_server(&[(2, &[&[0x02][..], &[0x20; 300_000]].concat(), false)]),
        ),
        (
            Rule::Flood,
            Code::ExcessiveLoad,
            // Stream Cancellation, again and again.
            uni_to_server(&[(2, &[&[0x03][..], &[0x40; 300_000]].concat(), false)]),
        ),
        (
            Rule::RapidReset,
            Code::ExcessiveLoad,
            play(server(Config::default()), |server| {
                (0..1000).map(|n| StreamId(n * 4)).try_for_each(|id| {
                    server.handle_stream(id, Bytes::from(get.clone()), false)?;
                    server.handle_reset(id, 0x10c)
                })
            }),
        ),
    ]
}

fn message_cases() -> Cases {
    let message = |rule, verdict| (rule, Code::MessageError, verdict);
    let connect = [(":method", "CONNECT"), (":authority", "localhost:443")];
    let websocket = [(":method", "CONNECT"), (":protocol", "websocket")];
    let no_host = [(":method", "GET"), (":scheme", "https"), (":path", "/")];
    vec![
        // req: 9114-4.1-incomplete-request
        (Rule::RequestIncomplete, Code::RequestIncomplete, to_server_and_end(&[])),
        message(
            Rule::ResponseIncomplete,
            play(client_that_asked(&get()), |client| {
                client.handle_stream(FIRST, Bytes::from(headers(&[(":status", "103")])), true)
            }),
        ),
        message(Rule::EmptyName, raw_line(b"", b"")),
        // req: 9114-4.2-lowercase-names
        message(Rule::UppercaseName, raw_line(b"Own", b"")),
        // req: 9114-10.3-name-characters
        message(Rule::InvalidName, raw_line(b"o n", b"")),
        message(Rule::InvalidName, raw_line(b"o\"n", b"")),
        // req: 9114-10.3-value-characters
        message(Rule::InvalidValue, raw_line(b"own", b"a\rb")),
        message(Rule::InvalidValue, raw_line(b"own", b"a\nb")),
        message(Rule::InvalidValue, raw_line(b"own", b"a\0b")),
        message(Rule::InvalidValue, raw_line(b"own", b"a\x7fb")),
        message(Rule::PaddedValue, raw_line(b"own", b" a")),
        message(Rule::PaddedValue, raw_line(b"own", b"a\t")),
        // req: 9114-4.2-connection-specific
        // req: 9114-4.1-no-transfer-codings
        message(Rule::ConnectionSpecificField, get_with(&[("connection", "close")])),
        message(Rule::ConnectionSpecificField, get_with(&[("keep-alive", "1")])),
        message(Rule::ConnectionSpecificField, get_with(&[("proxy-connection", "close")])),
        message(Rule::ConnectionSpecificField, get_with(&[("transfer-encoding", "chunked")])),
        message(Rule::ConnectionSpecificField, get_with(&[("upgrade", "h2c")])),
        // req: 9114-4.2-te
        message(Rule::TeNotTrailers, get_with(&[("te", "gzip")])),
        message(Rule::TeNotTrailers, get_with(&[("te", "trailers, gzip")])),
        message(
            Rule::ForbiddenTrailer,
            to_server(&[&headers(&POST), &headers(&[("content-length", "0")])]),
        ),
        message(Rule::ForbiddenTrailer, to_server(&[&headers(&POST), &headers(&[("host", "x")])])),
        // req: 9114-4.3-pseudo-first
        message(
            Rule::PseudoAfterField,
            request_of(&[&GET[..3], &[("accept", "*/*")], &GET[3..]].concat()),
        ),
        message(Rule::PseudoAfterField, response_of(&[("x", "y"), (":status", "200")])),
        // req: 9114-4.3-no-pseudo-in-trailers
        // req: 9114-4.1-one-response
        message(Rule::PseudoInTrailers, to_server(&[&headers(&POST), &headers(&[(":path", "/")])])),
        message(
            Rule::PseudoInTrailers,
            to_client(&[&headers(&OK), &headers(&[(":status", "200")])]),
        ),
        // req: 9114-4.3.1-exactly-one
        message(Rule::PseudoTwice, request_of(&[&GET[..], &GET[..1]].concat())),
        message(Rule::PseudoTwice, request_of(&[&GET[..], &GET[1..2]].concat())),
        message(Rule::PseudoTwice, request_of(&[&GET[..], &GET[2..3]].concat())),
        message(Rule::PseudoTwice, request_of(&[&GET[..], &GET[3..]].concat())),
        message(Rule::PseudoTwice, response_of(&[OK, OK].concat())),
        // req: 9114-4.3-unknown-pseudo
        message(Rule::UnknownPseudo, request_of(&[&GET[..], &[(":foo", "bar")]].concat())),
        // req: 9114-4.3-response-pseudo-in-request
        message(Rule::StatusInRequest, request_of(&[&GET[..], &OK[..]].concat())),
        // req: 9114-4.3-request-pseudo-in-response
        message(Rule::RequestPseudoInResponse, response_of(&[&OK[..], &GET[..1]].concat())),
        // req: 9114-4.3.1-method
        message(Rule::MissingMethod, get_but(":method", None)),
        message(Rule::InvalidMethod, get_but(":method", Some("G T"))),
        message(Rule::InvalidMethod, get_but(":method", Some(""))),
        // req: 9114-4.3.1-scheme
        message(Rule::MissingScheme, get_but(":scheme", None)),
        message(Rule::InvalidScheme, get_but(":scheme", Some("ht tp"))),
        message(Rule::InvalidScheme, get_but(":scheme", Some("1https"))),
        // req: 9114-4.3.1-path
        message(Rule::MissingPath, get_but(":path", None)),
        // req: 9114-4.3.1-path-not-empty
        message(Rule::EmptyPath, get_but(":path", Some(""))),
        // req: 9114-4.3.1-path-absolute
        message(Rule::RelativePath, get_but(":path", Some("index.html"))),
        message(Rule::RelativePath, get_but(":path", Some("*"))),
        message(Rule::RelativePath, get_but(":path", Some("https://localhost/"))),
        message(Rule::PathFragment, get_but(":path", Some("/#top"))),
        message(Rule::InvalidPath, get_but(":path", Some("/a b"))),
        message(Rule::InvalidPath, get_but(":path", Some("/\r\n"))),
        message(Rule::InvalidPath, get_but(":path", Some("/\u{e9}"))),
        // req: 9114-4.3.1-authority-or-host
        message(Rule::MissingAuthority, request_of(&no_host)),
        // req: 9114-4.3.1-authority-not-empty
        message(Rule::EmptyAuthority, get_but(":authority", Some(""))),
        message(Rule::EmptyAuthority, request_of(&[&no_host[..], &[("host", "")]].concat())),
        // req: 9114-4.3.1-no-userinfo
        message(Rule::AuthorityUserinfo, get_but(":authority", Some("me@localhost"))),
        message(Rule::AuthorityUserinfo, request_of(&[&no_host[..], &[("host", "a@b")]].concat())),
        message(Rule::InvalidAuthority, get_but(":authority", Some("local host"))),
        message(Rule::InvalidAuthority, get_but(":authority", Some("localhost/"))),
        message(Rule::InvalidAuthority, get_but(":authority", Some("localhost:port"))),
        message(Rule::InvalidAuthority, get_but(":authority", Some("localhost:65536"))),
        message(Rule::InvalidAuthority, get_but(":authority", Some(":443"))),
        // req: 9114-4.3.1-host-matches
        message(Rule::HostMismatch, get_with(&[("host", "other")])),
        message(Rule::HostMismatch, request_of(&[&connect[..], &[("host", "localhost")]].concat())),
        message(Rule::HostTwice, get_with(&[("host", "localhost"), ("host", "localhost")])),
        // req: 9114-4.4-connect
        message(Rule::ConnectWithScheme, request_of(&[&connect[..], &GET[1..2]].concat())),
        message(Rule::ConnectWithPath, request_of(&[&connect[..], &GET[3..]].concat())),
        message(Rule::ConnectWithoutAuthority, request_of(&connect[..1])),
        message(Rule::ConnectWithoutPort, request_of(&[connect[0], (":authority", "localhost")])),
        // req: 9220-3-only-connect
        message(
            Rule::ProtocolWithoutConnect,
            request_of(&[&GET[..], &[(":protocol", "websocket")]].concat()),
        ),
        // req: 9220-3-target
        message(Rule::MissingScheme, request_of(&[&websocket[..], &GET[2..]].concat())),
        message(Rule::MissingPath, request_of(&[&websocket[..], &GET[1..3]].concat())),
        message(
            Rule::InvalidProtocol,
            request_of(
                &[&GET[1..], &[(":method", "CONNECT"), (":protocol", "web socket")]].concat(),
            ),
        ),
        // req: 9220-3-only-if-enabled
        message(
            Rule::ProtocolNotEnabled,
            play(server(Config::default()), |server| {
                let lines = [&websocket[..], &GET[1..]].concat();
                server.handle_stream(FIRST, Bytes::from(headers(&lines)), false)
            }),
        ),
        // req: 9114-4.3.2-status
        message(Rule::MissingStatus, response_of(&[("x", "y")])),
        message(Rule::InvalidStatus, response_of(&[(":status", "20")])),
        message(Rule::InvalidStatus, response_of(&[(":status", "2000")])),
        message(Rule::InvalidStatus, response_of(&[(":status", "+20")])),
        // req: 9114-4.5-no-101
        message(Rule::SwitchingProtocols, response_of(&[(":status", "101")])),
    ]
}

fn content_cases() -> Cases {
    let message = |rule, verdict| (rule, Code::MessageError, verdict);
    let post = |length| headers(&[&POST[..], &[("content-length", length)]].concat());
    let ok = |length| headers(&[(":status", "200"), ("content-length", length)]);
    let trailers = headers(&[("x", "y")]);
    let large = "x".repeat(70_000);
    vec![
        message(
            Rule::ContentLengthTwice,
            get_with(&[("content-length", "0"), ("content-length", "0")]),
        ),
        message(Rule::ContentLengthInvalid, get_with(&[("content-length", "")])),
        message(Rule::ContentLengthInvalid, get_with(&[("content-length", "+5")])),
        message(Rule::ContentLengthInvalid, get_with(&[("content-length", "-5")])),
        message(Rule::ContentLengthInvalid, get_with(&[("content-length", "5,5")])),
        message(Rule::ContentLengthInvalid, get_with(&[("content-length", "0x5")])),
        message(
            Rule::ContentLengthOverflow,
            get_with(&[("content-length", "18446744073709551616")]),
        ),
        // req: 9114-4.1.2-content-length
        message(Rule::ContentTooLong, to_server(&[&post("0"), &data(b"x")])),
        message(Rule::ContentTooLong, to_server(&[&post("5"), &data(b"123"), &data(b"456")])),
        message(Rule::ContentTooLong, to_client(&[&ok("5"), &data(b"123456")])),
        message(Rule::ContentTooShort, to_server_and_end(&[&post("5")])),
        message(Rule::ContentTooShort, to_server_and_end(&[&post("5"), &data(b"1234")])),
        message(Rule::ContentTooShort, to_server(&[&post("5"), &data(b"1234"), &trailers])),
        message(
            Rule::ContentTooShort,
            play(server(Config::default()), |server| {
                // The end comes alone, in an empty STREAM frame.
                server.handle_stream(FIRST, bytes(&[&post("5"), &data(b"1234")]), false)?;
                server.handle_stream(FIRST, Bytes::new(), true)
            }),
        ),
        // req: 9114-4.1.2-no-content-with-length
        message(
            Rule::ContentForbidden,
            to_client_of(&request(Method::HEAD, &[]), &[&ok("1"), &data(b"x")]),
        ),
        message(Rule::ContentForbidden, to_client(&[&headers(&[(":status", "204")]), &data(b"x")])),
        message(Rule::ContentForbidden, to_client(&[&headers(&[(":status", "304")]), &data(b"x")])),
        // req: 9114-4.2.2-too-large
        (
            Rule::FieldSectionTooLarge,
            Code::ExcessiveLoad,
            to_client(&[&headers(&[(":status", "200"), ("x", &large)])]),
        ),
        (
            Rule::FieldSectionTooLarge,
            Code::ExcessiveLoad,
            to_server(&[&headers(&POST), &headers(&[("x", &large)])]),
        ),
        (
            Rule::BlockedTooLarge,
            Code::ExcessiveLoad,
            play(server(Config { max_blocked_bytes: 10, ..Config::default() }), |server| {
                // Required Insert Count 1, and the first entry of the dynamic table.
                let blocked = frame(frame::HEADERS, &[0x02, 0x00, 0x80]);
                server.handle_stream(FIRST, bytes(&[&blocked, &data(b"123456789")]), false)
            }),
        ),
        // req: 9297-2.1-quarter-stream-id-fits
        (
            Rule::DatagramTruncated,
            Code::DatagramError,
            play(server(enabled()), |server| server.handle_datagram(Bytes::new())),
        ),
        (
            Rule::DatagramStreamId,
            Code::DatagramError,
            play(server(enabled()), |server| server.handle_datagram(bytes(&[&[0xff; 8]]))),
        ),
        // req: 9297-2-only-with-meaning
        (
            Rule::DatagramWithoutMeaning,
            Code::DatagramError,
            play(server(enabled()), |server| {
                server.handle_stream(FIRST, Bytes::from(headers(&GET)), false)?;
                server.handle_datagram(bytes(&[&[0x00, b'x']]))
            }),
        ),
    ]
}

fn all_cases() -> Cases {
    [stream_cases(), control_cases(), frame_cases(), message_cases(), content_cases()].concat()
}

#[test]
fn each_breach_is_seen_as_its_rule_and_answered_with_its_code() {
    for (n, (rule, code, verdict)) in all_cases().into_iter().enumerate() {
        let expected = match rule.scope() {
            Scope::Connection => Verdict::Closed(rule, code),
            Scope::Stream => Verdict::Reset(rule, code),
        };
        assert_eq!(verdict, expected, "case {n}");
    }
}

#[test]
fn there_is_a_case_for_each_rule() {
    let cases = all_cases();
    let missing: Vec<_> =
        Rule::ALL.iter().filter(|rule| cases.iter().all(|(broken, ..)| broken != *rule)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn what_is_allowed_is_tolerated() {
    let websocket = [(":method", "CONNECT"), (":protocol", "websocket")];
    let grease = frame(0x21, b"grease");
    let allowed = [
        // req: 9114-9-ignore-unknown-frames
        // req: 9114-7.2.8-reserved-frames
        // req: 9114-4.1-extension-frames
        to_server(&[&grease, &headers(&GET), &grease, &data(b"x"), &grease]),
        to_server_control(&[&grease, &frame(frame::GOAWAY, &[5]), &frame(frame::GOAWAY, &[5])]),
        to_client_control(&[&frame(frame::GOAWAY, &[8]), &frame(frame::GOAWAY, &[4])]),
        to_server_control(&[&frame(frame::MAX_PUSH_ID, &[1]), &frame(frame::MAX_PUSH_ID, &[1])]),
        // req: 9114-6.2-unknown-types
        // req: 9114-6.2.3-reserved-types
        uni_to_server(&[(2, &[0x21, 1, 2, 3], false), (6, &[0x40, 0x54], true)]),
        // req: 9114-6.2-closed-without-type
        uni_to_server(&[(2, &[], true), (6, &[0x40], true)]),
        get_with(&[("te", "trailers")]),
        get_with(&[("host", "LOCALHOST")]),
        get_with(&[("x-empty", "")]),
        get_with(&[("content-length", "18446744073709551615")]),
        get_but(":authority", Some("[::1]:443")),
        get_but(":authority", Some("localhost:")),
        get_but(":path", Some("/a%20b?q={x|y}")),
        get_but(":path", Some("//a/../b")),
        get_but(":method", Some("PURGE")),
        request_of(&[(":method", "OPTIONS"), GET[1], GET[2], (":path", "*")]),
        request_of(&[(":method", "CONNECT"), (":authority", "localhost:443")]),
        request_of(&[&websocket[..], &GET[1..]].concat()),
        to_server_and_end(&[&headers(&GET), &data(b"")]),
        to_server_and_end(&[
            &headers(&[&POST[..], &[("content-length", "2")]].concat()),
            &data(b"a"),
            &data(b"b"),
            &headers(&[("x", "y")]),
        ]),
    ];
    for (n, verdict) in allowed.into_iter().enumerate() {
        assert_eq!(verdict, Verdict::Tolerated, "case {n}");
    }
}

#[test]
fn host_stands_in_for_authority() {
    let mut server = server(Config::default());
    let lines = [GET[0], GET[1], GET[3], ("host", "localhost:8443")];
    server.handle_stream(FIRST, Bytes::from(headers(&lines)), true).unwrap();
    let Some(Event::Request { head, .. }) = server.poll_event() else { panic!("a request") };
    assert_eq!(head.authority.unwrap(), "localhost:8443");
}

#[test]
fn other_streams_go_on_after_a_malformed_message() {
    // req: 9114-4.1.2-malformed-is-stream-error
    // req: 9114-4.1.2-malformed-not-forwarded
    let mut server = server(Config::default());
    server.handle_stream(FIRST, Bytes::from(headers(&GET)), false).unwrap();
    server.handle_stream(StreamId(4), Bytes::from(headers(&GET[1..])), true).unwrap();
    server.handle_stream(StreamId(8), Bytes::from(headers(&GET)), true).unwrap();
    let seen = events(&mut server);
    assert!(
        matches!(
            seen.as_slice(),
            [
                Event::Request { id: FIRST, .. },
                Event::Misbehaved { id: StreamId(4), rule: Rule::MissingMethod },
                Event::Request { id: StreamId(8), .. },
            ]
        ),
        "{seen:?}"
    );
    assert_eq!(server.active_requests(), 2);
}
