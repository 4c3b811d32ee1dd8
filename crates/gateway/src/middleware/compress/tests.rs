use std::collections::VecDeque;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::VARY;
use http_body::Frame;
use http_body_util::BodyExt;

use super::*;
use crate::Shared;
use crate::body::BodyError;

const LONG: usize = 100_000;

fn build(config: &Config) -> Compress {
    config.build(Build { shared: &Shared::default(), path: None })
}

fn request(fields: &[(&'static str, &'static str)]) -> Request {
    let mut request = Request::new(sterna_net::Body::empty());
    for (name, value) in fields {
        request.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    request
}

/// The answer that a client with these fields gets in place of `response`.
fn answer(config: &Config, mut request: Request, response: Response) -> Response {
    let station = build(config);
    let mut exchange = Exchange::begin(&request, None);
    drop(station.on_request(&mut exchange, &mut request));
    station.on_response(&mut exchange, response)
}

const GZIP: (&str, &str) = ("accept-encoding", "gzip");
const TEXT: (&str, &str) = ("content-type", "text/plain; charset=utf-8");

fn text(len: usize) -> Bytes {
    Bytes::from("all work and no play ".repeat(len / 21 + 1).into_bytes()[..len].to_vec())
}

fn response(body: Body, fields: &[(&'static str, &'static str)]) -> Response {
    let mut response = Response::new(body);
    for (name, value) in fields {
        response.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    response
}

fn full(fields: &[(&'static str, &'static str)]) -> Response {
    response(Body::full(text(5000)), fields)
}

fn coding(response: &Response) -> Option<&str> {
    response.headers().get(CONTENT_ENCODING).map(|value| value.to_str().expect("text"))
}

fn decode(coding: &str, encoded: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(encoded).read_to_end(&mut decoded),
        "zstd" => zstd::stream::read::Decoder::new(encoded).expect("one").read_to_end(&mut decoded),
        "br" => brotli::Decompressor::new(encoded, 4096).read_to_end(&mut decoded),
        other => panic!("{other}"),
    }
    .expect("well formed");
    decoded
}

/// Gives what it is told to, and says when nothing is ready.
struct Source(VecDeque<Option<Frame<Bytes>>>);

impl http_body::Body for Source {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.0.pop_front() {
            None => Poll::Ready(None),
            Some(None) => Poll::Pending,
            Some(Some(frame)) => Poll::Ready(Some(Ok(frame))),
        }
    }
}

fn data(bytes: impl Into<Bytes>) -> Option<Frame<Bytes>> {
    Some(Frame::data(bytes.into()))
}

fn stream(frames: impl IntoIterator<Item = Option<Frame<Bytes>>>) -> Body {
    Body::stream(Source(frames.into_iter().collect()))
}

fn poll(body: &mut Body) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    let mut context = Context::from_waker(Waker::noop());
    http_body::Body::poll_frame(Pin::new(body), &mut context)
}

#[tokio::test]
async fn each_coding_comes_back_as_what_was_sent_from_memory_and_from_a_stream() {
    for (accept, coding_name) in [("gzip", "gzip"), ("zstd", "zstd"), ("br", "br")] {
        for level in [Level::Fast, Level::Default, Level::Best] {
            let config = Config { level, ..Config::default() };
            let large = text(LONG);
            let pieces = large.chunks(3000).map(|piece| data(piece.to_vec()));
            for body in [Body::full(text(5000)), Body::full(large.clone()), stream(pieces)] {
                let sent = if body.len() == Some(5000) { text(5000) } else { large.clone() };
                let answer = answer(
                    &config,
                    request(&[("accept-encoding", accept)]),
                    response(body, &[TEXT]),
                );
                assert_eq!(coding(&answer), Some(coding_name));
                let length = answer.headers().get(CONTENT_LENGTH).cloned();
                let encoded = answer.into_body().collect().await.expect("whole").to_bytes();
                assert!(encoded.len() < sent.len() / 5, "{accept}: {}", encoded.len());
                assert_eq!(decode(coding_name, &encoded), sent, "{accept} {level:?}");
                if sent.len() == 5000 {
                    assert_eq!(length, Some(HeaderValue::from(encoded.len())));
                } else {
                    assert_eq!(length, None);
                }
            }
        }
    }
}

#[test]
fn the_client_decides_and_the_order_where_it_likes_several_alike() {
    for (accept, expected) in [
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip, br", Some("gzip")),
        ("gzip;q=0.5, br", Some("br")),
        ("br;q=0.1", Some("br")),
        ("*", Some("zstd")),
        ("identity", None),
        ("gzip;q=0", None),
        ("identity;q=0", None),
        ("deflate", None),
        ("", None),
    ] {
        let answer =
            answer(&Config::default(), request(&[("accept-encoding", accept)]), full(&[TEXT]));
        assert_eq!(coding(&answer), expected, "{accept}");
        assert_eq!(answer.status(), StatusCode::OK, "never 406");
        assert_eq!(answer.headers()[VARY], "accept-encoding", "{accept}");
    }
    let without = answer(&Config::default(), request(&[]), full(&[TEXT]));
    assert_eq!(
        (coding(&without), without.headers()[VARY].to_str().ok()),
        (None, Some("accept-encoding"))
    );
}

#[test]
fn what_would_not_get_smaller_or_may_not_be_changed_is_left_as_it_is() {
    let encoded = ("content-encoding", "br");
    for fields in [
        &[][..],
        &[("content-type", "image/png")],
        &[("content-type", "application/octet-stream")],
        &[("content-type", "application/grpc")],
        &[("content-type", "application/grpc+json")],
        &[("content-type", "text")],
        &[TEXT, encoded],
        &[TEXT, ("cache-control", "public, No-Transform")],
        &[TEXT, ("content-range", "bytes 0-1/2")],
        &[TEXT, ("repr-digest", "sha-256=:x:")],
        &[TEXT, ("content-digest", "sha-256=:x:")],
    ] {
        let before = full(fields).headers().clone();
        let answer = answer(&Config::default(), request(&[GZIP]), full(fields));
        assert_eq!(*answer.headers(), before, "{fields:?}");
    }
    for fields in [
        ("content-type", "TEXT/HTML"),
        ("content-type", "application/problem+json"),
        ("content-type", "image/svg+xml;charset=utf-8"),
        ("content-type", "application/wasm"),
    ] {
        let answer = answer(&Config::default(), request(&[GZIP]), full(&[fields]));
        assert_eq!(coding(&answer), Some("gzip"), "{fields:?}");
    }
}

#[test]
fn a_status_without_the_whole_content_is_left_as_it_is() {
    for (status, expected) in [
        (200, true),
        (404, true),
        (500, true),
        (204, false),
        (205, false),
        (206, false),
        (304, false),
    ] {
        let mut given = full(&[TEXT]);
        *given.status_mut() = StatusCode::from_u16(status).expect("a status");
        let answer = answer(&Config::default(), request(&[GZIP]), given);
        assert_eq!(coding(&answer).is_some(), expected, "{status}");
    }
}

#[test]
fn what_is_known_to_be_short_is_left_as_it_is() {
    for (len, expected) in [(1023, false), (1024, true)] {
        let given = response(Body::full(text(len)), &[TEXT]);
        assert_eq!(
            coding(&answer(&Config::default(), request(&[GZIP]), given)).is_some(),
            expected
        );
    }
    let unknown = response(stream([data("short")]), &[TEXT]);
    assert_eq!(coding(&answer(&Config::default(), request(&[GZIP]), unknown)), Some("gzip"));
    let all = Config { min_size: 0, ..Config::default() };
    let empty = response(Body::empty(), &[TEXT]);
    assert_eq!(coding(&answer(&all, request(&[GZIP]), empty)), None);
}

#[test]
fn the_fields_of_the_encoded_form_are_those_of_another_representation() {
    let fields = [TEXT, ("etag", "\"abc\""), ("accept-ranges", "bytes"), ("vary", "origin")];
    let answer = answer(&Config::default(), request(&[GZIP]), full(&fields));
    assert_eq!(answer.headers()[ETAG], "W/\"abc\"");
    assert_eq!(answer.headers().get(ACCEPT_RANGES), None);
    let varies: Vec<_> = answer.headers().get_all(VARY).iter().collect();
    assert_eq!(varies, ["origin", "accept-encoding"]);
}

#[test]
fn a_tag_that_is_still_good_is_told_as_the_client_has_it() {
    for (known, expected) in [("W/\"a\"", "W/\"a\""), ("\"a\"", "\"a\"")] {
        let mut given = response(Body::empty(), &[("etag", "\"a\"")]);
        *given.status_mut() = StatusCode::NOT_MODIFIED;
        let answer = answer(&Config::default(), request(&[GZIP, ("if-none-match", known)]), given);
        assert_eq!(answer.headers()[ETAG], expected);
    }
}

#[test]
fn head_is_answered_with_the_fields_of_get_as_far_as_they_are_known() {
    let get = answer(&Config::default(), request(&[GZIP]), full(&[TEXT, ("etag", "\"a\"")]));
    for body in [Body::full(text(5000)), Body::empty()] {
        let mut asked = request(&[GZIP]);
        *asked.method_mut() = http::Method::HEAD;
        let fields = [TEXT, ("etag", "\"a\""), ("content-length", "5000")];
        let head = answer(&Config::default(), asked, response(body, &fields));
        let mut expected = get.headers().clone();
        expected.remove(CONTENT_LENGTH);
        assert_eq!(*head.headers(), expected);
        assert!(head.body().is_empty());
    }
}

#[test]
fn an_event_leaves_as_soon_as_nothing_more_is_ready() {
    for accept in ["gzip", "zstd", "br"] {
        let frames =
            [data("data: 1\n\n"), data("data: 2\n\n"), None, None, data("data: 3\n\n"), None, None];
        let given = response(stream(frames), &[("content-type", "text/event-stream")]);
        let answer = answer(&Config::default(), request(&[("accept-encoding", accept)]), given);
        let (mut body, mut sent) = (answer.into_body(), Vec::new());
        for expected in ["data: 1\n\ndata: 2\n\n", "data: 1\n\ndata: 2\n\ndata: 3\n\n"] {
            let Poll::Ready(Some(Ok(frame))) = poll(&mut body) else { panic!("held back") };
            sent.extend_from_slice(frame.data_ref().expect("data"));
            assert_eq!(decode_so_far(accept, &sent), expected.as_bytes(), "{accept}");
            assert!(poll(&mut body).is_pending(), "a flush without anything to bring out");
        }
    }
}

/// What a client can read of an encoded form that has not ended.
fn decode_so_far(coding: &str, encoded: &[u8]) -> Vec<u8> {
    let mut decoded = vec![0; 1 << 16];
    let mut coder: Box<dyn Read> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(encoded)),
        "zstd" => Box::new(zstd::stream::read::Decoder::new(encoded).expect("one")),
        _ => Box::new(brotli::Decompressor::new(encoded, 4096)),
    };
    let mut len = 0;
    while let Ok(more) = coder.read(&mut decoded[len..]) {
        if more == 0 {
            break;
        }
        len += more;
    }
    decoded.truncate(len);
    decoded
}

#[tokio::test]
async fn trailers_follow_the_encoded_form() {
    let trailers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static("\"end\""))]);
    let frames = [data(text(5000)), Some(Frame::trailers(trailers.clone()))];
    let answer = answer(&Config::default(), request(&[GZIP]), response(stream(frames), &[TEXT]));
    let whole = answer.into_body().collect().await.expect("whole");
    assert_eq!(whole.trailers(), Some(&trailers));
    assert_eq!(decode("gzip", &whole.to_bytes()), text(5000));
}

#[test]
fn a_large_piece_is_encoded_in_turns_and_comes_out_in_pieces() {
    let content = Bytes::from(vec![b'a'; 1 << 20]);
    let given = response(Body::full(content), &[TEXT]);
    let mut body = answer(&Config::default(), request(&[GZIP]), given).into_body();
    let mut turns = 0;
    while poll(&mut body).is_pending() {
        turns += 1;
        assert!(turns < 100, "no end");
    }
    assert_eq!(turns, 7, "of 128 KiB each, the last of which ends it");
    let noise = std::iter::repeat_with(crate::random::bytes::<256>).take(1024);
    let given = response(Body::full(noise.flatten().collect::<Vec<u8>>()), &[TEXT]);
    let mut body = answer(&Config::default(), request(&[GZIP]), given).into_body();
    let mut largest = 0;
    loop {
        match poll(&mut body) {
            Poll::Pending => {}
            Poll::Ready(None) => break,
            Poll::Ready(Some(frame)) => {
                let frame = frame.expect("no error");
                largest = largest.max(frame.data_ref().map_or(0, Bytes::len));
            }
        }
    }
    assert!((16 << 10..=64 << 10).contains(&largest), "{largest}");
}

#[test]
fn no_more_coders_are_at_work_than_a_worker_may_have() {
    let shared = Shared::default();
    let station = Config::default().build(Build { shared: &shared, path: None });
    let encode = || {
        let mut asked = request(&[GZIP]);
        let mut exchange = Exchange::begin(&asked, None);
        drop(station.on_request(&mut exchange, &mut asked));
        station.on_response(&mut exchange, response(stream([data("a")]), &[TEXT]))
    };
    let mut open: Vec<Response> = (0..coder::MOST).map(|_| encode()).collect();
    assert!(open.iter().all(|response| coding(response) == Some("gzip")));
    assert_eq!(coding(&encode()), None, "one more goes as it is");
    assert_eq!((shared.compression().encoded(), shared.compression().declined()), (128, 1));
    open.pop();
    assert_eq!(coding(&encode()), Some("gzip"), "a place is given back");
}

#[test]
fn an_application_s_answer_to_who_may_have_been_sent_by_another_site_is_left_as_it_is() {
    let cookie = ("cookie", "sid=1");
    for (fields, expected) in [
        (&[][..], true),
        (&[cookie], false),
        (&[cookie, ("sec-fetch-site", "same-origin")], true),
        (&[cookie, ("sec-fetch-site", "none")], true),
        (&[cookie, ("sec-fetch-site", "same-site")], false),
        (&[cookie, ("sec-fetch-site", "cross-site")], false),
        (&[("authorization", "Basic dTpw")], false),
        (&[("authorization", "Bearer x")], true),
        (&[("authorization", "Bearer x"), cookie], false),
        (&[("sec-fetch-site", "cross-site")], true),
    ] {
        let fields = [&[GZIP][..], fields].concat();
        let made = response(stream([data(text(5000))]), &[TEXT]);
        let safe = answer(&Config::default(), request(&fields), made);
        assert_eq!(coding(&safe).is_some(), expected, "{fields:?}");
        let fixed = answer(&Config::default(), request(&fields), full(&[TEXT]));
        assert_eq!(coding(&fixed), Some("gzip"), "the same for everybody: {fields:?}");
        let unsafe_one = Config { breach_safe: false, ..Config::default() };
        let made = response(stream([data(text(5000))]), &[TEXT]);
        assert_eq!(coding(&answer(&unsafe_one, request(&fields), made)), Some("gzip"));
    }
}

#[test]
fn an_error_of_the_source_breaks_the_encoded_form_off() {
    struct Broken;
    impl http_body::Body for Broken {
        type Data = Bytes;
        type Error = BodyError;
        fn poll_frame(
            self: Pin<&mut Self>,
            _context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(Some(Err(BodyError::Source("broken".into()))))
        }
    }
    let given = response(Body::stream(Broken), &[TEXT]);
    let mut body = answer(&Config::default(), request(&[GZIP]), given).into_body();
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Err(_)))));
}

#[test]
fn what_one_client_likes_is_not_what_the_next_one_gets() {
    let station = build(&Config::default());
    let ask = |fields: &[(&'static str, &'static str)]| {
        let mut request = request(fields);
        let mut exchange = Exchange::begin(&request, None);
        drop(station.on_request(&mut exchange, &mut request));
        exchange.coding
    };
    let accept = |value| ("accept-encoding", value);
    for _ in 0..2 {
        assert_eq!(ask(&[accept("gzip")]), Some(Coding::Gzip));
        assert_eq!(ask(&[accept("gzip")]), Some(Coding::Gzip), "the same again");
        assert_eq!(ask(&[accept("br")]), Some(Coding::Brotli));
        assert_eq!(ask(&[accept("br;q=0")]), None);
        assert_eq!(ask(&[]), None);
        assert_eq!(ask(&[accept("identity"), accept("zstd")]), Some(Coding::Zstd), "two lines");
    }
}
