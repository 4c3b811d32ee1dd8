//! Whole exchanges between two of us.

use super::*;

/// Requests a GET and returns what the server saw.
fn ask(pair: &mut Pair, head: &RequestHead) -> RequestHead {
    pair.client.send_request(FIRST, head, true).unwrap();
    pair.exchange();
    match events(&mut pair.server).pop() {
        Some(Event::Request { id: FIRST, head, fin: true }) => *head,
        other => panic!("{other:?} is no request"),
    }
}

#[test]
fn a_get_is_answered() {
    // req: 9114-4.1-client-ends-stream
    // req: 9114-4.1-server-ends-stream
    let mut pair = Pair::new(Config::default(), Config::default());
    let seen = ask(&mut pair, &request(Method::GET, &[("user-agent", "tern"), ("x-own", "1")]));
    assert_eq!(seen.method, Method::GET);
    assert_eq!(seen.scheme, Some(http::uri::Scheme::HTTPS));
    assert_eq!(seen.authority.unwrap(), "localhost");
    assert_eq!(seen.path.unwrap(), "/");
    assert_eq!(seen.headers, header_map(&[("user-agent", "tern"), ("x-own", "1")]));

    let head = response(StatusCode::OK, &[("content-length", "5")]);
    pair.server.send_response(FIRST, &head, false).unwrap();
    pair.server.send_data(FIRST, Bytes::from_static(b"hello"), true).unwrap();
    assert_eq!(pair.server.active_requests(), 0);
    pair.exchange();
    let events = events(&mut pair.client);
    let [
        Event::Response { head: seen, fin: false, .. },
        Event::Data { data, .. },
        Event::Finished { id: FIRST },
    ] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert_eq!((seen.status, &seen.headers), (StatusCode::OK, &head.headers));
    assert_eq!(data, "hello");
    assert_eq!(pair.client.active_requests(), 0);
}

#[test]
fn a_default_field_is_sent_unless_the_head_has_one_of_its_name() {
    let mut pair = Pair::new(Config::default(), Config::default());
    ask(&mut pair, &request(Method::GET, &[]));
    let head = response(StatusCode::OK, &[("date", "yesterday")]);
    let field = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let defaults =
        [field("date", "today"), field("alt-svc", "clear"), field("connection", "close")];
    pair.server.send_response_with(FIRST, &head, &defaults, true).unwrap();
    pair.exchange();
    let [Event::Response { head: seen, .. }] = &events(&mut pair.client)[..] else {
        panic!("no response");
    };
    assert_eq!(seen.headers, header_map(&[("date", "yesterday"), ("alt-svc", "clear")]));
}

#[test]
fn a_post_is_echoed_with_trailers_both_ways() {
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.client.send_request(FIRST, &request(Method::POST, &[("te", "trailers")]), false).unwrap();
    pair.client.send_data(FIRST, Bytes::from_static(b"ping"), false).unwrap();
    pair.client.send_trailers(FIRST, &header_map(&[("x-sum", "4")])).unwrap();
    pair.exchange();
    let seen = events(&mut pair.server);
    let [
        Event::Request { fin: false, .. },
        Event::Data { data, .. },
        Event::Trailers { trailers, .. },
        Event::Finished { .. },
    ] = seen.as_slice()
    else {
        panic!("{seen:?}");
    };
    assert_eq!((data.as_ref(), trailers["x-sum"].as_bytes()), (&b"ping"[..], &b"4"[..]));

    pair.server.send_response(FIRST, &response(StatusCode::OK, &[]), false).unwrap();
    pair.server.send_data(FIRST, data.clone(), false).unwrap();
    pair.server.send_trailers(FIRST, trailers).unwrap();
    pair.exchange();
    let seen = events(&mut pair.client);
    assert!(
        matches!(
            seen.as_slice(),
            [
                Event::Response { fin: false, .. },
                Event::Data { .. },
                Event::Trailers { .. },
                Event::Finished { .. }
            ]
        ),
        "{seen:?}"
    );
}

#[test]
fn a_small_response_is_one_write() {
    let mut pair = Pair::new(Config::default(), Config::default());
    ask(&mut pair, &get());
    let head = response(StatusCode::OK, &[("content-type", "text/plain")]);
    pair.server.send_response(FIRST, &head, false).unwrap();
    pair.server.send_data(FIRST, Bytes::from_static(b"hello"), false).unwrap();
    pair.server.finish(FIRST).unwrap();
    let commands = commands(&mut pair.server);
    let writes =
        commands.iter().filter(|command| matches!(command, Command::Write { id: FIRST, .. }));
    assert_eq!(writes.count(), 1, "{commands:?}");
    assert!(matches!(commands.last(), Some(Command::Write { id: FIRST, fin: true, .. })));
}

#[test]
fn interim_responses_come_first() {
    let mut pair = Pair::new(Config::default(), Config::default());
    ask(&mut pair, &get());
    let hints = response(StatusCode::EARLY_HINTS, &[("link", "</style.css>; rel=preload")]);
    pair.server.send_response(FIRST, &hints, false).unwrap();
    pair.server.send_response(FIRST, &hints, false).unwrap();
    pair.server.send_response(FIRST, &response(StatusCode::NO_CONTENT, &[]), true).unwrap();
    pair.exchange();
    let heads = events(&mut pair.client).into_iter().map(|event| match event {
        Event::Response { head, fin, .. } => (head.status.as_u16(), fin),
        other => panic!("{other:?}"),
    });
    assert_eq!(heads.collect::<Vec<_>>(), [(103, false), (103, false), (204, true)]);
}

#[test]
fn cookie_crumbs_are_joined() {
    // req: 9114-4.2.1-join-cookies
    let mut server = server(Config::default());
    let lines = [&GET[..], &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]];
    server.handle_stream(FIRST, Bytes::from(headers(&lines.concat())), true).unwrap();
    let Some(Event::Request { head, .. }) = server.poll_event() else { panic!("a request") };
    assert_eq!(head.headers, header_map(&[("cookie", "a=1; b=2; c=3"), ("x", "y")]));
}

#[test]
fn connection_specific_fields_are_not_sent() {
    // req: 9114-4.2-send-no-connection-specific
    let mut pair = Pair::new(Config::default(), Config::default());
    let hop_by_hop = [
        ("connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("x-kept", "1"),
    ];
    let seen = ask(&mut pair, &request(Method::GET, &hop_by_hop));
    assert_eq!(seen.headers, header_map(&[("x-kept", "1")]));
    pair.server.send_response(FIRST, &response(StatusCode::OK, &hop_by_hop), true).unwrap();
    pair.exchange();
    let Some(Event::Response { head, .. }) = pair.client.poll_event() else { panic!("a response") };
    assert_eq!(head.headers, header_map(&[("x-kept", "1")]));
}

#[test]
fn a_sensitive_value_stays_sensitive() {
    let mut pair = Pair::new(Config::default(), Config::default());
    let mut head = request(Method::GET, &[("authorization", "secret")]);
    head.headers.get_mut("authorization").unwrap().set_sensitive(true);
    let seen = ask(&mut pair, &head);
    assert!(seen.headers["authorization"].is_sensitive());
}

#[test]
fn a_head_response_may_name_a_length_that_it_does_not_have() {
    // req: 9114-4.1.2-no-content-with-length
    let mut pair = Pair::new(Config::default(), Config::default());
    ask(&mut pair, &request(Method::HEAD, &[]));
    let head = response(StatusCode::OK, &[("content-length", "5")]);
    pair.server.send_response(FIRST, &head, false).unwrap();
    let content = Bytes::from_static(b"hello");
    assert_eq!(pair.server.send_data(FIRST, content, true), Err(ApiMisuse::ContentForbidden));
    pair.server.finish(FIRST).unwrap();
    pair.exchange();
    let seen = events(&mut pair.client);
    assert!(matches!(seen.as_slice(), [Event::Response { fin: true, .. }]), "{seen:?}");
}

#[test]
fn a_large_section_survives_the_longer_length() {
    let mut pair = Pair::new(Config::default(), Config::default());
    ask(&mut pair, &get());
    let mut head = response(StatusCode::OK, &[]);
    // Characters whose Huffman code is long, so that nothing shrinks.
    let value = HeaderValue::from_bytes(&[b'\\'; 20_000]).unwrap();
    head.headers.insert("x-large", value.clone());
    pair.server.send_response(FIRST, &head, true).unwrap();
    pair.exchange();
    let Some(Event::Response { head, fin: true, .. }) = pair.client.poll_event() else {
        panic!("a response")
    };
    assert_eq!(head.headers["x-large"], value);
}
#[test]
fn repeated_requests_use_the_dynamic_table() {
    let mut pair = Pair::new(Config::default(), Config::default());
    let head = request(Method::GET, &[("user-agent", "a-rather-long-name-of-a-client/1.0")]);
    let mut sizes = Vec::new();
    for n in 0..4 {
        let id = StreamId(n * 4);
        pair.client.send_request(id, &head, true).unwrap();
        let mut size = 0;
        while let Some(command) = pair.client.poll_command() {
            if let Command::Write { id: stream, data, .. } = &command
                && *stream == id
            {
                size += data.len();
            }
            deliver(&command, &mut pair.server).unwrap();
        }
        sizes.push(size);
        pair.exchange();
        let seen = events(&mut pair.server);
        let [Event::Request { head: seen, fin: true, .. }] = seen.as_slice() else {
            panic!("{seen:?}")
        };
        assert_eq!(seen.headers, head.headers);
    }
    assert!(sizes.last() < sizes.first(), "no table was used: {sizes:?}");
}
