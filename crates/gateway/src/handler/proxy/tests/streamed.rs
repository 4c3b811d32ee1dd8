//! Whoever is slow holds the other side back, and nothing piles up between.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::origin::{Script, Then};
use super::*;

/// More than what the sockets and buffers of one exchange hold on loopback.
const MOST: usize = 24 << 20;

const PIECE: usize = 64 << 10;

/// Waits until a number does not change any more.
async fn settled(number: impl Fn() -> usize) -> usize {
    let last = Cell::new(usize::MAX);
    while last.replace(number()) != number() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    number()
}

#[test]
fn client_that_does_not_read_holds_the_backend_back() {
    run(async {
        // Without a length: what is repeated is content.
        let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        answer.resize(PIECE, b'x');
        let origin = Origin::start(Script::answer(answer).then(Then::Repeat)).await;
        let gateway = gateway(config(&[&origin.address]));
        let mut request = request(Method::GET, sterna_net::Body::empty());
        let mut response = gateway.handle(&mut request).await;
        response.body_mut().frame().await.expect("a frame").expect("the begin");
        let held = settled(|| origin.written()).await;
        assert!(held * PIECE < MOST, "{held} pieces are on their way");
        // It goes on when it is read.
        let mut read = 0;
        while read < 2 * MOST {
            let frame = response.body_mut().frame().await.expect("a frame").expect("more");
            read += frame.into_data().expect("content").len();
        }
        assert!(origin.written() > held);
    });
}

#[test]
fn backend_that_does_not_read_holds_the_client_back() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let gateway = gateway(impatient(&[&address]));
        let taken = Arc::new(AtomicUsize::new(0));
        let body = sterna_net::Body::new(Endless(taken.clone()));
        let request = request(Method::POST, body);
        let answered = Rc::new(RefCell::new(None));
        let (waiting, told) = (gateway.clone(), answered.clone());
        tokio::task::spawn_local(async move {
            *told.borrow_mut() = Some(ask(&waiting, request).await);
        });
        let (_unread, _) = listener.accept().await.expect("a connection");
        let held = settled(|| taken.load(Ordering::Relaxed)).await;
        assert!(held > 0 && held * PIECE < MOST, "{held} pieces were taken");
        // It took nothing more for as long as a response may take.
        while answered.borrow().is_none() {
            tokio::task::yield_now().await;
        }
        let seen = answered.take().expect("it was answered");
        assert_eq!((seen.status.as_u16(), seen.error()), (504, "connection_write_timeout"));
    });
}

/// Content without an end, and how often it was asked for some.
struct Endless(Arc<AtomicUsize>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; PIECE])))))
    }
}
