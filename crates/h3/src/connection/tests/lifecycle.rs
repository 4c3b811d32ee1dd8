//! Streams and connections from their beginning to their end: resets, late bytes, GOAWAY.

use super::*;

const SECOND: StreamId = StreamId(4);

fn server_with_request(frames: &[&[u8]], fin: bool) -> Connection {
    let mut server = server(Config::default());
    server.handle_stream(FIRST, bytes(frames), fin).unwrap();
    server
}

/// Whether the connection still works: a request on a fresh stream is seen.
fn is_alive(server: &mut Connection, id: StreamId) -> bool {
    events(server);
    server.handle_stream(id, Bytes::from(headers(&GET)), true).unwrap();
    matches!(server.poll_event(), Some(Event::Request { id: seen, .. }) if seen == id)
}

#[test]
fn opening_bytes_are_stream_types_and_settings() {
    // req: 9114-6.2-critical-first
    // req: 9114-7.2.4-send-first
    // req: 9114-7.2.4.1-send-grease
    let mut server = Connection::new(
        Role::Server,
        Config { enable_connect_protocol: true, ..Config::default() },
        SERVER_CONTROL,
        SERVER_ENCODER,
        SERVER_DECODER,
    );
    let settings = [0x06, 0x80, 0x01, 0x00, 0x00, 0x01, 0x50, 0x00, 0x07, 0x40, 0x64, 0x08, 0x01];
    let grease = [0x73, 0x1c, 0x41, 0xa5];
    let control = [&[0x00, 0x04, 17], &settings[..], &grease[..], &[0x41, 0x76, 0x00]].concat();
    assert_eq!(
        commands(&mut server),
        [
            Command::Write { id: SERVER_CONTROL, data: control.into(), fin: false },
            Command::Write { id: SERVER_ENCODER, data: Bytes::from_static(&[0x02]), fin: false },
            Command::Write { id: SERVER_DECODER, data: Bytes::from_static(&[0x03]), fin: false },
        ]
    );
}

#[test]
fn a_closed_connection_takes_nothing_more() {
    let mut server = server(Config::default());
    let broken = server.handle_stream(CLIENT_CONTROL, bytes(&[&[0x00, 0x07, 0x01]]), false);
    assert_eq!(broken, Err(Error::PeerMisbehaved(PeerMisbehaved::MissingSettings)));
    assert_eq!(server.handle_stream(FIRST, bytes(&[&headers(&GET)]), true), Err(Error::Closed));
    assert_eq!(server.handle_datagram(Bytes::new()), Err(Error::Closed));
    assert_eq!(server.finish(FIRST), Err(ApiMisuse::ConnectionClosed));
    assert!(events(&mut server).is_empty());
    let commands = commands(&mut server);
    assert!(matches!(commands.as_slice(), [Command::Close { .. }]), "{commands:?}");
}

#[test]
fn a_reset_request_is_told_and_our_side_goes_on() {
    let mut server = server_with_request(&[&headers(&POST), &data(b"half")], false);
    server.handle_reset(FIRST, 0x10c).unwrap();
    let seen = events(&mut server);
    assert!(matches!(seen.last(), Some(Event::Reset { id: FIRST, code: 0x10c })), "{seen:?}");
    server.send_response(FIRST, &response(StatusCode::OK, &[]), true).unwrap();
    assert_eq!(server.active_requests(), 0);
}

#[test]
fn a_request_that_is_reset_before_its_head_is_forgotten() {
    let mut server = server(Config::default());
    server.handle_stream(FIRST, bytes(&[&headers(&GET)[..3]]), false).unwrap();
    server.handle_reset(FIRST, 0x10c).unwrap();
    server.handle_reset(SECOND, 0x10c).unwrap();
    assert!(events(&mut server).is_empty());
    let resets = commands(&mut server).into_iter().filter_map(|command| match command {
        Command::Reset { id, code } => Some((id, code)),
        _ => None,
    });
    let expected = [(FIRST, Code::RequestCancelled), (SECOND, Code::RequestCancelled)];
    assert_eq!(resets.collect::<Vec<_>>(), expected);
    assert_eq!(server.active_requests(), 0);
}

#[test]
fn a_stop_sending_resets_our_side_and_is_told() {
    let mut server = server_with_request(&[&headers(&GET)], true);
    server.send_response(FIRST, &response(StatusCode::OK, &[]), false).unwrap();
    commands(&mut server);
    server.handle_stop_sending(FIRST, 0x10c).unwrap();
    assert_eq!(commands(&mut server), [Command::Reset { id: FIRST, code: Code::RequestCancelled }]);
    assert!(matches!(events(&mut server).last(), Some(Event::Stopped { id: FIRST, code: 0x10c })));
    assert_eq!(server.send_data(FIRST, Bytes::new(), true), Err(ApiMisuse::StreamClosed));
    assert_eq!(server.active_requests(), 0);
}

#[test]
fn a_request_whose_answer_is_not_wanted_is_not_announced() {
    let mut server = server(Config::default());
    server.handle_stop_sending(FIRST, 0x10c).unwrap();
    server.handle_stream(FIRST, bytes(&[&headers(&GET)]), true).unwrap();
    assert!(events(&mut server).is_empty());
    assert_eq!(server.active_requests(), 0);
}

#[test]
fn late_bytes_of_a_stream_that_is_gone_are_ignored() {
    let mut server = server_with_request(&[&headers(&POST)], false);
    server.reset(FIRST, Code::InternalError);
    commands(&mut server);
    events(&mut server);
    server.handle_stream(FIRST, bytes(&[&data(b"late"), &[0x04, 0x00]]), false).unwrap();
    server.handle_reset(FIRST, 0).unwrap();
    server.handle_stop_sending(FIRST, 0).unwrap();
    assert!(events(&mut server).is_empty());
    assert!(commands(&mut server).is_empty());
    assert_eq!(server.active_requests(), 0);
}

#[test]
fn a_whole_response_may_stop_the_upload() {
    // req: 9114-4.1-stop-upload
    let mut server = server_with_request(&[&headers(&POST), &data(b"half")], false);
    server.send_response(FIRST, &response(StatusCode::OK, &[]), true).unwrap();
    assert_eq!(server.active_requests(), 1);
    commands(&mut server);
    server.stop_reading(FIRST, Code::NoError);
    let stop = Command::StopSending { id: FIRST, code: Code::NoError };
    assert!(commands(&mut server).contains(&stop));
    assert_eq!(server.active_requests(), 0);
}

#[test]
fn a_client_hears_that_its_upload_is_not_needed_and_keeps_the_response() {
    // req: 9114-4.1-keep-response
    let mut client = client(Config::default());
    client.send_request(FIRST, &request(Method::POST, &[]), false).unwrap();
    client.handle_stream(FIRST, bytes(&[&headers(&[(":status", "200")])]), true).unwrap();
    client.handle_stop_sending(FIRST, 0x100).unwrap();
    let seen = events(&mut client);
    assert!(
        matches!(
            seen.as_slice(),
            [Event::Response { fin: true, .. }, Event::Stopped { id: FIRST, code: 0x100 }]
        ),
        "{seen:?}"
    );
    assert_eq!(client.active_requests(), 0);
}

#[test]
fn streams_that_end_without_a_type_leave_nothing_behind() {
    // req: 9114-6.2-closed-without-type
    let mut server = server(Config::default());
    for n in 0..1000 {
        let id = StreamId(2 + n * 4);
        server.handle_stream(id, Bytes::from_static(&[0x40]), false).unwrap();
        if n % 2 == 0 {
            server.handle_reset(id, 0).unwrap();
        } else {
            server.handle_stream(id, Bytes::new(), true).unwrap();
        }
    }
}

#[test]
fn all_orders_of_short_lives_leave_nothing_behind() {
    type Step = fn(&mut Connection, StreamId) -> Result<(), Error>;
    let steps: [Step; 5] = [
        |server, id| server.handle_stream(id, Bytes::from(headers(&GET)), false),
        |server, id| server.handle_stream(id, Bytes::from(data(b"x")), false),
        |server, id| server.handle_stream(id, Bytes::new(), true),
        |server, id| server.handle_reset(id, 0x10c),
        |server, id| server.handle_stop_sending(id, 0x10c),
    ];
    for order in 0..5_usize.pow(4) {
        let mut server = server(Config::default());
        let mut has_failed = false;
        for place in 0..4 {
            let step = steps[order / 5_usize.pow(place) % 5];
            has_failed |= step(&mut server, FIRST).is_err();
        }
        // Whatever it was: the application gives it up, and the transport has heard an end of both sides.
        server.reset(FIRST, Code::InternalError);
        assert_eq!(server.active_requests(), 0, "order {order}");
        assert!(has_failed || is_alive(&mut server, SECOND), "order {order}");
    }
}

#[test]
fn a_server_goes_away_in_two_steps() {
    // req: 9114-5.2-two-steps
    // req: 9114-5.2-send-no-increase
    // req: 9114-4.1.1-rejected-means-untouched
    // req: 9114-5.2-reject-later-requests
    let mut server = server_with_request(&[&headers(&GET)], true);
    commands(&mut server);
    server.shutdown();
    let largest = [&[0x07, 0x08][..], &[0xff; 7], &[0xfc]].concat();
    let goaway =
        |data: Vec<u8>| vec![Command::Write { id: SERVER_CONTROL, data: data.into(), fin: false }];
    assert_eq!(commands(&mut server), goaway(largest));
    assert!(is_alive(&mut server, StreamId(8)), "nothing is refused yet");

    server.shutdown();
    assert_eq!(commands(&mut server), goaway(vec![0x07, 0x01, 12]));
    assert!(is_alive(&mut server, SECOND), "a late request below the id is taken");
    commands(&mut server);
    server.handle_stream(StreamId(12), bytes(&[&headers(&GET)]), true).unwrap();
    assert!(events(&mut server).is_empty());
    let commands = commands(&mut server);
    let rejected = Command::Reset { id: StreamId(12), code: Code::RequestRejected };
    assert_eq!(commands.first(), Some(&rejected));
    assert_eq!(server.active_requests(), 3);
    server.shutdown();
    assert_eq!(server.poll_command(), None, "a third call has nothing to say");
}

#[test]
fn a_client_asks_nothing_after_goaway() {
    // req: 9114-5.2-no-request-after-goaway
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.server.shutdown();
    pair.exchange();
    let seen = events(&mut pair.client);
    assert!(matches!(seen.as_slice(), [Event::Goaway { id: 0x3fff_ffff_ffff_fffc }]), "{seen:?}");
    assert_eq!(pair.client.send_request(FIRST, &get(), true), Err(ApiMisuse::GoingAway));
}

#[test]
fn a_client_goes_away_once() {
    let mut client = client(Config::default());
    client.shutdown();
    client.shutdown();
    let goaway = Bytes::from_static(&[0x07, 0x01, 0x00]);
    let expected = Command::Write { id: CLIENT_CONTROL, data: goaway, fin: false };
    assert_eq!(commands(&mut client), [expected]);
}

#[test]
fn misuse_sends_nothing() {
    // req: 9114-4.1-one-request
    let ok = response(StatusCode::OK, &[]);
    let mut pair = Pair::new(Config::default(), Config::default());
    let client = &mut pair.client;
    let whole = get();
    let bare = RequestHead { scheme: None, ..get() };
    assert_eq!(client.send_response(FIRST, &ok, true), Err(ApiMisuse::WrongRole));
    assert_eq!(client.send_request(StreamId(1), &whole, true), Err(ApiMisuse::NotRequestStream));
    assert_eq!(client.send_request(FIRST, &bare, true), Err(ApiMisuse::MalformedHead));
    assert_eq!(client.send_data(FIRST, Bytes::new(), true), Err(ApiMisuse::StreamClosed));
    let websocket = extended_connect("websocket");
    let refused = client.send_request(FIRST, &websocket, false);
    assert_eq!(refused, Err(ApiMisuse::ExtendedConnectNotEnabled));
    let promised = request(Method::POST, &[("content-length", "1")]);
    assert_eq!(client.send_request(FIRST, &promised, true), Err(ApiMisuse::ContentTooShort));
    let twice = request(Method::POST, &[("content-length", "x")]);
    assert_eq!(client.send_request(FIRST, &twice, true), Err(ApiMisuse::MalformedHead));
    assert_eq!(client.poll_command(), None);
    assert_eq!(client.active_requests(), 0);

    client.send_request(FIRST, &whole, true).unwrap();
    assert_eq!(client.send_request(FIRST, &whole, true), Err(ApiMisuse::NotRequestStream));
    pair.exchange();
    let server = &mut pair.server;
    let switching = response(StatusCode::SWITCHING_PROTOCOLS, &[]);
    let hints = response(StatusCode::EARLY_HINTS, &[]);
    assert_eq!(server.send_request(SECOND, &whole, true), Err(ApiMisuse::WrongRole));
    assert_eq!(server.send_response(SECOND, &ok, true), Err(ApiMisuse::StreamClosed));
    // req: 9114-4.5-send-no-101
    assert_eq!(server.send_response(FIRST, &switching, false), Err(ApiMisuse::InvalidInterim));
    assert_eq!(server.send_response(FIRST, &hints, true), Err(ApiMisuse::InvalidInterim));
    assert_eq!(server.send_data(FIRST, Bytes::new(), true), Err(ApiMisuse::HeadMissing));
    assert_eq!(server.finish(FIRST), Err(ApiMisuse::HeadMissing));
    assert_eq!(server.poll_command(), None);
}

#[test]
fn a_response_that_breaks_its_own_length_is_not_ended() {
    // req: 9114-4.1.2-send-whole
    let mut server = server_with_request(&[&headers(&GET)], true);
    let head = response(StatusCode::OK, &[("content-length", "5")]);
    server.send_response(FIRST, &head, false).unwrap();
    server.send_data(FIRST, Bytes::from_static(b"four"), false).unwrap();
    commands(&mut server);
    assert_eq!(server.finish(FIRST), Err(ApiMisuse::ContentTooShort));
    let long = Bytes::from_static(b"xx");
    assert_eq!(server.send_data(FIRST, long, false), Err(ApiMisuse::ContentTooLong));
    assert_eq!(server.poll_command(), None, "neither content nor an end");
    server.reset(FIRST, Code::InternalError);
    assert_eq!(commands(&mut server), [Command::Reset { id: FIRST, code: Code::InternalError }]);
}

#[test]
fn a_section_that_the_peer_would_refuse_is_not_sent() {
    // req: 9114-4.2.2-peer-limit
    let limits = Config { max_field_section_size: 200, ..Config::default() };
    let mut pair = Pair::new(limits, Config::default());
    pair.client.send_request(FIRST, &get(), true).unwrap();
    pair.exchange();
    // `:status` 200 is 42 bytes, the field 32 + 1 + its value.
    let value = |len: usize| {
        let mut head = response(StatusCode::OK, &[]);
        head.headers.insert("x", HeaderValue::from_str(&"v".repeat(len)).unwrap());
        head
    };
    let too_large = pair.server.send_response(FIRST, &value(126), true);
    assert_eq!(too_large, Err(ApiMisuse::FieldSectionTooLarge));
    pair.server.send_response(FIRST, &value(125), true).unwrap();
    pair.exchange();
    assert!(matches!(events(&mut pair.client).as_slice(), [Event::Response { .. }]));
}
