//! What a backend gets, byte by byte, and what a client gets of its answer.

use super::origin::Script;
use super::*;

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// The lines of the request that a backend gets for this one.
async fn passed(request: Request, end: &'static [u8]) -> (Seen, Vec<String>, String) {
    let origin = Origin::start(Script::answer(HELLO).after(end)).await;
    let seen = ask(&gateway(config(&[&origin.address])), request).await;
    let read = origin.read().pop().unwrap_or_default();
    (seen, origin.lines(), read)
}

fn with(fields: &[(&'static str, &'static str)]) -> Request {
    let mut request = request(Method::GET, sterna_net::Body::empty());
    for (name, value) in fields {
        let (name, value) = field(name, value);
        request.headers_mut().append(name, value);
    }
    request
}

#[test]
fn fields_of_a_connection_and_those_that_it_names_stay_here() {
    run(async {
        let request = with(&[
            ("connection", "keep-alive, X-One"),
            ("connection", "x-two;a=b"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("proxy", "http://evil"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("x_three", "evil"),
        ]);
        let (seen, lines, _) = passed(request, b"\r\n\r\n").await;
        assert_eq!(seen.content.expect("whole"), "hello");
        let told = ["x-forwarded-proto: https", "x-forwarded-host: site"];
        let [proto, host] = told;
        assert_eq!(
            lines,
            ["GET /path HTTP/1.1", "x-three: 3", proto, host, "via: 1.1 sterna", "host: site"]
        );
    });
}

#[test]
fn one_host_goes_on_that_of_the_target_before_that_of_the_field() {
    run(async {
        for (uri, host, told) in [
            ("/a", Some("site.example:8443"), "host: site.example:8443"),
            ("http://target.example/a", Some("field.example"), "host: target.example"),
            ("http://target.example:81/a", None, "host: target.example:81"),
        ] {
            let mut request = http::Request::get(uri);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let request = request.body(sterna_net::Body::empty()).expect("a request");
            let (_, lines, _) = passed(request, b"\r\n\r\n").await;
            let hosts: Vec<_> = lines.iter().filter(|line| line.starts_with("host:")).collect();
            assert_eq!(hosts, [told], "{uri}");
            assert_eq!(lines[0], "GET /a HTTP/1.1", "{uri}");
        }
    });
}

#[test]
fn host_can_be_that_of_the_backend_or_a_fixed_one() {
    run(async {
        let origin = Origin::start(Script::answer(HELLO)).await;
        for (host, told) in [
            (ToldHost::Backend, format!("host: {}", origin.address)),
            (ToldHost::Fixed(Authority::from_static("app.example")), "host: app.example".into()),
        ] {
            let gateway = gateway(Config { host, ..config(&[&origin.address]) });
            assert_eq!(get(&gateway).await.status, 200);
            let read = origin.read().pop().unwrap_or_default();
            assert!(read.contains(&format!("\r\n{told}\r\n")), "{read}");
        }
    });
}

#[test]
fn path_and_query_go_on_as_they_came() {
    run(async {
        for uri in
            ["/", "/a%2Fb/c?x=%0d%0a/../&y=1", "//evil.example/a", "/a;b=c", "/%61?%61", "/a?b?c"]
        {
            let request = http::Request::get(uri).header("host", "site");
            let request = request.body(sterna_net::Body::empty()).expect("a request");
            let (_, lines, _) = passed(request, b"\r\n\r\n").await;
            assert_eq!(lines[0], format!("GET {uri} HTTP/1.1"));
        }
        let mut options = with(&[]);
        *options.method_mut() = Method::OPTIONS;
        *options.uri_mut() = "*".parse().expect("a target");
        assert_eq!(passed(options, b"\r\n\r\n").await.1[0], "OPTIONS * HTTP/1.1");
    });
}

#[test]
fn crumbs_of_cookies_are_joined() {
    run(async {
        let (_, lines, _) =
            passed(with(&[("cookie", "a=1"), ("cookie", "b=2")]), b"\r\n\r\n").await;
        assert!(lines.contains(&"cookie: a=1; b=2".to_owned()), "{lines:?}");
    });
}

#[test]
fn bodies_of_any_method_go_on_with_their_length_or_in_chunks_and_with_their_trailers() {
    run(async {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let whole = request(method.clone(), sterna_net::Body::full("four"));
            let (_, lines, read) = passed(whole, b"four").await;
            assert!(lines.contains(&"content-length: 4".to_owned()), "{lines:?}");
            assert!(read.ends_with("\r\n\r\nfour"), "{read:?}");
            let unknown = request(method, Frames::body([data("fo"), data("ur")], false));
            let (_, lines, read) = passed(unknown, b"0\r\n\r\n").await;
            assert!(lines.contains(&"transfer-encoding: chunked".to_owned()), "{lines:?}");
            assert!(!lines.iter().any(|line| line.starts_with("content-length")), "{lines:?}");
            assert!(read.ends_with("\r\n\r\n2\r\nfo\r\n2\r\nur\r\n0\r\n\r\n"), "{read:?}");
        }
        let trailers = [field("x-sum", "1"), field("content-length", "9"), field("host", "evil")];
        let body =
            Frames::body([data("a"), Frame::trailers(trailers.into_iter().collect())], false);
        let mut request = request(Method::POST, body);
        request
            .headers_mut()
            .extend([field("trailer", "x-sum, content-length, host")].map(|(n, v)| (Some(n), v)));
        let (_, _, read) = passed(request, b"x-sum: 1\r\n\r\n").await;
        assert!(read.ends_with("1\r\na\r\n0\r\nx-sum: 1\r\n\r\n"), "{read:?}");
    });
}

#[test]
fn length_of_a_body_that_is_empty_is_said_where_it_was() {
    run(async {
        for (method, said) in [(Method::POST, true), (Method::DELETE, true), (Method::GET, false)] {
            let mut request = with(&[("content-length", "0")]);
            *request.method_mut() = method.clone();
            let (_, lines, _) = passed(request, b"\r\n\r\n").await;
            assert_eq!(lines.contains(&"content-length: 0".to_owned()), said, "{method}");
        }
    });
}

#[test]
fn body_that_is_not_as_long_as_it_said_is_never_shown_as_whole() {
    run(async {
        for frames in [vec![data("fo")], vec![data("fo"), data("urmore")]] {
            let origin = Origin::start(Script::answer(HELLO).after(b"never")).await;
            let gateway = gateway(config(&[&origin.address]));
            let body = Frames::that_say(4, frames);
            let seen = ask(&gateway, request(Method::POST, body)).await;
            assert_eq!((seen.status.as_u16(), seen.error()), (400, "http_request_error"));
            origin.wait_for_ended(1).await;
            let read = origin.read().pop().unwrap_or_default();
            assert!(read.ends_with("\r\n\r\nfo") || read.is_empty(), "{read:?}");
        }
    });
}

#[test]
fn request_whose_last_byte_came_but_not_its_end_is_not_shown_as_whole() {
    run(async {
        for pieces in [&["four"][..], &["fo", "ur"], &["fo", "ur", ""]] {
            let origin = Origin::start(Script::answer(HELLO).after(b"four")).await;
            let gateway = gateway(config(&[&origin.address]));
            let body = Broken { pieces: pieces.iter().copied().collect(), length: 4 };
            let seen = ask(&gateway, request(Method::POST, sterna_net::Body::new(body))).await;
            assert_eq!((seen.status.as_u16(), seen.error()), (400, "http_request_error"));
            origin.wait_for_ended(1).await;
            let read = origin.read().pop().unwrap_or_default();
            assert!(!read.ends_with("four"), "{read:?}");
        }
    });
}

/// A body that is as long as it says, and breaks off where it should end.
struct Broken {
    pieces: VecDeque<&'static str>,
    length: u64,
}

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let piece = self.pieces.pop_front().map(data);
        Poll::Ready(Some(piece.ok_or_else(|| std::io::ErrorKind::ConnectionReset.into())))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

#[test]
fn client_that_sends_too_much_or_breaks_off_hears_of_its_own_fault() {
    run(async {
        let origin = Origin::start(Script::answer(HELLO).after(b"never")).await;
        let gateway = gateway(config(&[&origin.address]));
        let mut body = Frames::body([data("fo"), data("ur")], false);
        body.limit(3);
        let seen = ask(&gateway, request(Method::POST, body)).await;
        assert_eq!((seen.status.as_u16(), seen.error()), (413, "none"));
        let broken = http_body_util::Full::new(Bytes::from("x"));
        let broken =
            BodyExt::map_frame(broken, |_| -> Frame<Bytes> { panic!("the client is gone") });
        let seen = ask(&gateway, request(Method::POST, sterna_net::Body::new(broken))).await;
        assert_eq!((seen.status.as_u16(), seen.error()), (400, "http_request_error"));
        origin.wait_for_ended(2).await;
    });
}

#[test]
fn te_goes_on_for_trailers_alone_and_is_named_by_the_connection() {
    run(async {
        let (_, lines, _) = passed(with(&[("te", "gzip, Trailers;q=0.5")]), b"\r\n\r\n").await;
        assert!(lines.contains(&"te: trailers".to_owned()), "{lines:?}");
        assert!(lines.contains(&"connection: te".to_owned()), "{lines:?}");
        let (_, lines, _) = passed(with(&[("te", "gzip")]), b"\r\n\r\n").await;
        assert!(!lines.iter().any(|line| line.starts_with("te:")), "{lines:?}");
    });
}

#[test]
fn fields_with_an_underscore_go_on_where_that_is_wanted() {
    run(async {
        let origin = Origin::start(Script::answer(HELLO)).await;
        let gateway = gateway(Config { underscores: true, ..config(&[&origin.address]) });
        ask(&gateway, with(&[("api_key", "1")])).await;
        assert!(origin.lines().contains(&"api_key: 1".to_owned()), "{:?}", origin.lines());
    });
}

#[test]
fn what_no_backend_is_asked_for_is_answered_here() {
    run(async {
        let origin = Origin::start(Script::answer(HELLO)).await;
        let gateway = gateway(config(&[&origin.address]));
        let of = |method: Method, fields: &[(&'static str, &'static str)]| {
            let mut request = with(fields);
            *request.method_mut() = method;
            request
        };
        for (request, status) in [
            (of(Method::TRACE, &[]), 405),
            (of(Method::CONNECT, &[]), 405),
            (of(Method::GET, &[("connection", "Upgrade"), ("upgrade", "WebSocket")]), 501),
            (of(Method::OPTIONS, &[("max-forwards", "0")]), 204),
            (of(Method::OPTIONS, &[("max-forwards", "x")]), 400),
            (of(Method::GET, &[("host", "other"), ("host", "another")]), 400),
        ] {
            let shown = format!("{request:?}");
            assert_eq!(ask(&gateway, request).await.status.as_u16(), status, "{shown}");
        }
        assert_eq!(origin.connections(), 0);
        ask(&gateway, of(Method::OPTIONS, &[("max-forwards", "3")])).await;
        assert!(origin.lines().contains(&"max-forwards: 2".to_owned()), "{:?}", origin.lines());
    });
}

#[test]
fn request_that_has_come_by_too_often_is_in_a_loop() {
    run(async {
        for (times, status, error) in [(7, 200, "none"), (8, 502, "proxy_loop_detected")] {
            let fields = vec![("via", "1.1 other, 2 sterna"); times];
            let (seen, ..) = passed(with(&fields), b"\r\n\r\n").await;
            assert_eq!((seen.status.as_u16(), seen.error()), (status, error), "{times}");
        }
    });
}

#[test]
fn upload_that_takes_longer_than_a_response_may_is_not_late() {
    run(async {
        let origin = Origin::start(Script::answer(HELLO).after(b"0\r\n\r\n")).await;
        let gateway = gateway(config(&[&origin.address]));
        let body = Trickle { left: 6, timer: Box::pin(tokio::time::sleep(PAUSE)) };
        let seen = ask(&gateway, request(Method::POST, sterna_net::Body::new(body))).await;
        assert_eq!(seen.status, 200, "six pauses are longer than the time-out, each is shorter");
    });
}

/// A body that gives a byte after each pause.
struct Trickle {
    left: usize,
    timer: Pin<Box<tokio::time::Sleep>>,
}

const PAUSE: Duration = Duration::from_millis(100);

impl http_body::Body for Trickle {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        std::task::ready!(self.timer.as_mut().poll(cx));
        self.left -= 1;
        self.timer = Box::pin(tokio::time::sleep(PAUSE));
        Poll::Ready(Some(Ok(data("x"))))
    }
}

#[test]
fn response_goes_on_without_the_fields_of_its_connection() {
    run(async {
        let answer = "HTTP/1.1 404 Nowhere\r\nconnection: x-one\r\nx-one: 1\r\nkeep-alive: timeout=5\r\n\
            alt-svc: h3=\":1\"\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nupgrade: h2c\r\n\
            content-length: 9\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
            5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n";
        let origin = Origin::start(Script::answer(answer)).await;
        let gateway = gateway(config(&[&origin.address]));
        let mut response = gateway.handle(&mut with(&[])).await;
        assert_eq!(response.status(), 404);
        let names: Vec<_> = response.headers().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["set-cookie", "set-cookie", "trailer"]);
        let whole = response.body_mut().collect().await.expect("whole");
        assert_eq!(
            whole.trailers().map(|trailers| trailers["x-sum"].clone()),
            Some("1".parse().expect("a value"))
        );
        assert_eq!(whole.to_bytes(), "hello");
    });
}

#[test]
fn one_connection_serves_one_request_after_the_other_also_at_a_unix_socket() {
    let directory = std::env::temp_dir().join(format!("sterna-proxy-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let socket = directory.join("app.sock");
    run(async {
        let script = Script::answer(HELLO);
        for origin in
            [Origin::start(script.clone()).await, Origin::start_unix(&socket, script.clone()).await]
        {
            let gateway = gateway(config(&[&origin.address]));
            for _ in 0..3 {
                assert_eq!(get(&gateway).await.content.expect("whole"), "hello");
            }
            assert_eq!((origin.connections(), origin.requests()), (1, 3), "{}", origin.address);
        }
    });
    std::fs::remove_dir_all(&directory).expect("removed");
}

#[test]
fn another_gateway_of_the_worker_goes_on_with_the_same_connections() {
    run(async {
        let origin = Origin::start(Script::answer(HELLO)).await;
        let before = gateway(config(&[&origin.address]));
        get(&before).await;
        let after = gateway(config(&[&origin.address]));
        drop(before);
        get(&after).await;
        get(&after).await;
        assert_eq!((origin.connections(), origin.requests()), (1, 3));
    });
}

#[test]
fn client_that_leaves_takes_its_request_with_it() {
    run(async {
        let origin = Origin::start(Script::answer("")).await;
        let gateway = gateway(config(&[&origin.address]));
        let mut request = with(&[]);
        {
            let waiting = std::pin::pin!(gateway.handle(&mut request));
            tokio::select! {
                response = waiting => panic!("{response:?}"),
                () = origin.wait_for(b"\r\n\r\n") => {}
            }
        }
        origin.wait_for_ended(1).await;
    });
}

#[test]
fn client_that_stops_reading_takes_its_response_with_it() {
    run(async {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegin";
        let origin = Origin::start(Script::answer(answer)).await;
        let gateway = gateway(config(&[&origin.address]));
        let mut response = gateway.handle(&mut with(&[])).await;
        let frame = response.body_mut().frame().await.expect("a frame").expect("the begin");
        assert_eq!(frame.into_data().expect("content"), "begin", "it goes on as it comes");
        drop(response);
        origin.wait_for_ended(1).await;
    });
}
