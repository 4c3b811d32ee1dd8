//! CONNECT and extended CONNECT (RFC 9220), datagrams (RFC 9297), priorities (RFC 9218).

use super::*;

fn enabled() -> Config {
    Config { enable_connect_protocol: true, enable_datagrams: true, ..Config::default() }
}

/// A pair with an extended CONNECT that was accepted.
fn tunnel() -> Pair {
    let mut pair = Pair::new(enabled(), enabled());
    pair.client.send_request(FIRST, &extended_connect("websocket"), false).unwrap();
    pair.exchange();
    let seen = events(&mut pair.server);
    let [Event::Request { head, fin: false, .. }] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(head.protocol, Some(Protocol(Bytes::from_static(b"websocket"))));
    pair.server.send_response(FIRST, &response(StatusCode::OK, &[]), false).unwrap();
    pair.exchange();
    assert!(matches!(events(&mut pair.client).as_slice(), [Event::Response { .. }]));
    pair
}

#[test]
fn a_tunnel_carries_content_both_ways_and_no_trailers() {
    let mut pair = tunnel();
    pair.client.send_data(FIRST, Bytes::from_static(b"ping"), false).unwrap();
    pair.server.send_data(FIRST, Bytes::from_static(b"pong"), true).unwrap();
    let trailers = header_map(&[("x", "y")]);
    let refused = pair.client.send_trailers(FIRST, &trailers);
    assert_eq!(refused, Err(ApiMisuse::TrailersInTunnel));
    pair.client.finish(FIRST).unwrap();
    pair.exchange();
    let content = |events: Vec<Event>| match events.as_slice() {
        [Event::Data { data, .. }, Event::Finished { .. }] => data.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(content(events(&mut pair.server)), "ping");
    assert_eq!(content(events(&mut pair.client)), "pong");
    assert_eq!((pair.client.active_requests(), pair.server.active_requests()), (0, 0));
}

#[test]
fn a_plain_connect_has_authority_alone() {
    let mut pair = Pair::new(enabled(), enabled());
    let head = RequestHead {
        scheme: None,
        path: None,
        authority: Some("localhost:443".parse().unwrap()),
        ..request(Method::CONNECT, &[])
    };
    pair.client.send_request(FIRST, &head, false).unwrap();
    pair.exchange();
    let Some(Event::Request { head: seen, .. }) = pair.server.poll_event() else { panic!() };
    assert_eq!((seen.authority, seen.scheme, seen.path), (head.authority, None, None));
    // Refused, so that the answer is a usual message.
    pair.server.send_response(FIRST, &response(StatusCode::FORBIDDEN, &[]), false).unwrap();
    pair.server.send_trailers(FIRST, &header_map(&[("x", "y")])).unwrap();
    pair.exchange();
    let seen = events(&mut pair.client);
    assert!(
        matches!(
            seen.as_slice(),
            [Event::Response { .. }, Event::Trailers { .. }, Event::Finished { .. }]
        ),
        "{seen:?}"
    );
}

#[test]
fn datagrams_reach_the_request_that_they_name() {
    let mut pair = tunnel();
    let payload = Bytes::from_static(b"datagram");
    // req: 9297-2.1-not-before-stream
    let refused = pair.client.send_datagram(StreamId(4), payload.clone());
    assert_eq!(refused, Err(ApiMisuse::StreamClosed));
    pair.client.send_datagram(FIRST, payload.clone()).unwrap();
    pair.exchange();
    let seen = events(&mut pair.server);
    let [Event::Datagram { id: FIRST, payload: seen }] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    assert_eq!(*seen, payload);
}

#[test]
fn datagrams_without_a_request_are_dropped() {
    // req: 9297-2.1-drop-late
    let mut pair = tunnel();
    pair.server.handle_datagram(bytes(&[&[0x01, b'x']])).unwrap();
    pair.client.finish(FIRST).unwrap();
    pair.exchange();
    events(&mut pair.server);
    pair.server.handle_datagram(bytes(&[&[0x00, b'x']])).unwrap();
    assert!(events(&mut pair.server).is_empty());
    assert_eq!(pair.server.counters().dropped_datagrams, 2);
}

#[test]
fn a_datagram_that_overtakes_its_head_is_dropped() {
    let mut server = server(enabled());
    server.handle_stream(FIRST, bytes(&[&headers(&GET)[..3]]), false).unwrap();
    server.handle_datagram(bytes(&[&[0x00, b'x']])).unwrap();
    assert!(events(&mut server).is_empty());
    assert_eq!(server.active_requests(), 1);
}

#[test]
fn datagrams_need_both_settings() {
    // req: 9297-2.1.1-negotiated
    for (client, server) in [(enabled(), Config::default()), (Config::default(), enabled())] {
        let mut pair = Pair::new(client, server);
        pair.client.send_request(FIRST, &get(), false).unwrap();
        let refused = pair.client.send_datagram(FIRST, Bytes::new());
        assert_eq!(refused, Err(ApiMisuse::DatagramsNotNegotiated));
    }
}

#[test]
fn remembered_settings_allow_what_they_say_before_the_peers_arrive() {
    // req: 9220-3-client-waits-for-setting
    let mut client = client(Config::default());
    let head = extended_connect("websocket");
    let refused = client.send_request(FIRST, &head, false);
    assert_eq!(refused, Err(ApiMisuse::ExtendedConnectNotEnabled));
    client.remember_settings(Settings {
        enable_connect_protocol: true,
        max_field_section_size: Some(300),
        ..Settings::default()
    });
    client.send_request(FIRST, &head, false).unwrap();
    // req: 9114-7.2.4.2-comply-in-early-data
    let mut large = get();
    large.headers.insert("x-large", HeaderValue::from_str(&"v".repeat(300)).unwrap());
    let refused = client.send_request(StreamId(4), &large, true);
    assert_eq!(refused, Err(ApiMisuse::FieldSectionTooLarge));
}

#[test]
fn a_client_asks_without_waiting_for_settings() {
    // req: 9114-7.2.4.2-no-waiting
    let mut client = client(Config::default());
    client.send_request(FIRST, &get(), true).unwrap();
    assert_eq!(client.peer_settings(), None);
}

#[test]
fn a_priority_field_is_parsed_with_the_head() {
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.client
        .send_request(FIRST, &request(Method::GET, &[("priority", "u=5, i")]), true)
        .unwrap();
    pair.exchange();
    let Some(Event::Request { head, .. }) = pair.server.poll_event() else { panic!("a request") };
    assert_eq!(head.priority, Priority { urgency: 5, incremental: true });
}

#[test]
fn a_priority_update_counts_whenever_it_comes() {
    // req: 9218-7-update-wins
    let urgent = Priority { urgency: 0, incremental: false };
    let lazy = Priority { urgency: 7, incremental: true };
    let mut pair = Pair::new(Config::default(), Config::default());
    let head = request(Method::GET, &[("priority", "u=5")]);
    // Before the request.
    pair.client.update_priority(FIRST, lazy);
    pair.client.update_priority(FIRST, urgent);
    pair.client.send_request(FIRST, &head, true).unwrap();
    // After it.
    pair.exchange();
    pair.client.update_priority(FIRST, lazy);
    // For one that is gone.
    pair.exchange();
    pair.server.send_response(FIRST, &response(StatusCode::OK, &[]), true).unwrap();
    pair.exchange();
    pair.client.update_priority(FIRST, urgent);
    pair.exchange();
    let seen = events(&mut pair.server);
    let [Event::Request { head, .. }, Event::Priority { id: FIRST, priority }] = seen.as_slice()
    else {
        panic!("{seen:?}")
    };
    assert_eq!((head.priority, *priority), (urgent, lazy));
}

#[test]
fn an_early_priority_goes_with_its_request() {
    let mut server = server(Config::default());
    let update = frame(frame::PRIORITY_UPDATE_REQUEST, b"\x00u=1");
    server.handle_stream(FIRST, bytes(&[&headers(&GET)[..3]]), false).unwrap();
    let control = bytes(&[&[0x00, 0x04, 0x00], &update]);
    server.handle_stream(CLIENT_CONTROL, control, false).unwrap();
    assert!(!server.shared.early_priorities.is_empty());
    server.handle_reset(FIRST, 0x10c).unwrap();
    assert!(server.shared.early_priorities.is_empty());
    // And none is kept for a request that is gone.
    server.handle_stream(CLIENT_CONTROL, Bytes::from(update), false).unwrap();
    assert!(server.shared.early_priorities.is_empty());
}

#[test]
fn a_server_has_no_priority_update_to_send() {
    let mut server = server(Config::default());
    server.update_priority(FIRST, Priority::default());
    assert_eq!(server.poll_command(), None);
}
