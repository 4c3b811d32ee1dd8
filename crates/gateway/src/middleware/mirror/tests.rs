use std::cell::RefCell;
use std::convert::Infallible;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::COOKIE;
use http::{HeaderValue, Method};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::task::LocalSet;

use super::*;
use crate::body::Body;

/// A handler that reads all, and notes it.
#[derive(Default)]
struct Other {
    seen: RefCell<Vec<String>>,
    /// Does not answer at all.
    hangs: bool,
    /// Does not read.
    is_busy: bool,
}

impl Handler for Other {
    async fn handle(&self, _: &mut Exchange, request: &mut Request) -> Result<Response, Error> {
        let cookie =
            request.headers().get(COOKIE).map_or("", |value| value.to_str().expect("text"));
        let line = format!("{} {} {cookie}", request.method(), request.uri());
        if self.hangs {
            std::future::pending::<()>().await;
        }
        if self.is_busy {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let content = std::mem::take(request.body_mut()).collect().await;
        let content = content.map(|all| String::from_utf8_lossy(&all.to_bytes()).into_owned());
        let content = content.unwrap_or_else(|_| "broken".to_owned());
        self.seen.borrow_mut().push(format!("{line} {content}"));
        Ok(Response::new(Body::full("thrown away")))
    }
}

fn mirror(to: Other) -> Mirror<Other> {
    Mirror {
        share: 10_000,
        buffer: 100,
        timeout: Duration::from_secs(30),
        to: Rc::new(to),
        counters: Arc::default(),
        open: Rc::default(),
    }
}

fn request(body: sterna_net::Body) -> Request {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static("/a?b");
    request.headers_mut().insert(COOKIE, HeaderValue::from_static("c=1"));
    request
}

fn pass(mirror: &Mirror<Other>, request: &mut Request) {
    let mut exchange = Exchange::begin(request, None);
    drop(mirror.on_request(&mut exchange, request));
}

/// So many pieces of ten bytes each.
struct Pieces(usize);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let more = self.0.checked_sub(1);
        self.0 = more.unwrap_or_default();
        Poll::Ready(more.map(|_| Ok(Frame::data(Bytes::from_static(b"0123456789")))))
    }
}

async fn read(request: &mut Request) -> Option<usize> {
    let content = std::mem::take(request.body_mut()).collect().await;
    content.ok().map(|all| all.to_bytes().len())
}

/// Lets every task that can run do so.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_other_gets_the_same_request_and_the_handler_all_of_its_content() {
    let run = async {
        let mirror = mirror(Other::default());
        for body in [sterna_net::Body::empty(), sterna_net::Body::new(Pieces(5))] {
            let mut request = request(body);
            pass(&mirror, &mut request);
            assert!(read(&mut request).await.is_some());
            settle().await;
        }
        let content = "0123456789".repeat(5);
        assert_eq!(
            *mirror.to.seen.borrow(),
            ["POST /a?b c=1 ", &format!("POST /a?b c=1 {content}")]
        );
        let counters = &mirror.counters;
        assert_eq!((counters.sent(), counters.failed(), counters.lagged()), (2, 0, 0));
        assert_eq!(mirror.open.get(), 0);
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_falls_behind_is_given_up_and_the_request_is_not() {
    let run = async {
        for (pieces, seen, lagged) in [(9, true, 0), (10, false, 1), (1000, false, 1)] {
            let mirror = mirror(Other { is_busy: true, ..Other::default() });
            let mut request = request(sterna_net::Body::new(Pieces(pieces)));
            pass(&mirror, &mut request);
            settle().await;
            assert_eq!(read(&mut request).await, Some(pieces * 10), "the handler has all of it");
            tokio::time::sleep(Duration::from_secs(2)).await;
            settle().await;
            let is_broken = mirror.to.seen.borrow()[0].ends_with("broken");
            assert_eq!((!is_broken, mirror.counters.lagged()), (seen, lagged), "{pieces} pieces");
        }
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn a_request_that_is_not_read_to_its_end_is_no_whole_copy() {
    let run = async {
        let mirror = mirror(Other::default());
        let mut request = request(sterna_net::Body::new(Pieces(5)));
        pass(&mirror, &mut request);
        settle().await;
        drop(request);
        settle().await;
        assert_eq!(*mirror.to.seen.borrow(), ["POST /a?b c=1 broken"]);
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn another_that_hangs_holds_no_more_copies_than_there_are_places_and_only_for_a_time() {
    let run = async {
        let mirror = mirror(Other { hangs: true, ..Other::default() });
        for _ in 0..MOST + 3 {
            let mut request = request(sterna_net::Body::empty());
            pass(&mirror, &mut request);
        }
        assert_eq!((mirror.open.get(), mirror.counters.skipped()), (MOST, 3));
        settle().await;
        tokio::time::sleep(Duration::from_secs(31)).await;
        settle().await;
        assert_eq!((mirror.open.get(), mirror.counters.failed()), (0, MOST as u64));
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn a_share_of_the_requests_is_copied() {
    let run = async {
        let mirror = Mirror { share: 2_500, ..mirror(Other::default()) };
        for _ in 0..2000 {
            pass(&mirror, &mut request(sterna_net::Body::empty()));
            settle().await;
        }
        let count = mirror.counters.sent();
        assert!((380..=620).contains(&count), "{count} of 2000");
    };
    LocalSet::new().run_until(run).await;
}
