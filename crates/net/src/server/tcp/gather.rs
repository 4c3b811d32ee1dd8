//! Where many small writes become one.
//!
//! The `h2` crate writes each response by itself, which is a TLS record, a system call, a segment and a wake-up of the client
//! for each. [`Gather`] holds them back until the poll of the connection is over, which [`Gathered`] says; it is above TLS, so
//! that they share its records too.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;
use crate::BoxError;

/// A connection's bytes, shared by whoever reads and writes them and by the future that says when they leave.
pub(super) struct Gather<I>(Rc<RefCell<State<I>>>);

struct State<I> {
    io: I,
    /// Written, and not handed on yet.
    waiting: BytesMut,
}

impl<I> Gather<I> {
    pub(super) fn new(io: I) -> Self {
        Self(Rc::new(RefCell::new(State { io, waiting: BytesMut::new() })))
    }

    /// The connection that `serve` makes of it: what it writes leaves at the end of each of its polls.
    pub(super) fn serve<C>(
        self,
        activity: Rc<Activity>,
        serve: impl FnOnce(Self) -> C,
    ) -> Gathered<C, I> {
        let state = self.0.clone();
        Gathered { connection: Box::pin(serve(self)), state, activity }
    }
}

impl<I: AsyncWrite + Unpin> State<I> {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = data.iter().map(|slice| slice.len()).sum();
        if self.waiting.len() + length > GATHERED {
            ready!(self.poll_hand_on(cx))?;
        }
        if length > GATHERED {
            return Pin::new(&mut self.io).poll_write_vectored(cx, data);
        }
        if self.waiting.capacity() == 0 {
            self.waiting.reserve(GATHERED);
        }
        data.iter().for_each(|slice| self.waiting.extend_from_slice(slice));
        Poll::Ready(Ok(length))
    }

    fn poll_hand_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.waiting))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.waiting.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Done when nothing waits, here or below.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_hand_on(cx))?;
        // An idle connection holds no buffer.
        self.waiting = BytesMut::new();
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Gather<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Gather<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What waits leaves when the poll is over.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        ready!(state.poll_send(cx))?;
        Pin::new(&mut state.io).poll_shutdown(cx)
    }
}

/// A connection of hyper whose writes of one poll leave together at its end.
pub(super) struct Gathered<C, I> {
    connection: Pin<Box<C>>,
    state: Rc<RefCell<State<I>>>,
    activity: Rc<Activity>,
}

impl<C, I> Gathered<C, I> {
    pub(super) fn connection(self: Pin<&mut Self>) -> Pin<&mut C> {
        self.get_mut().connection.as_mut()
    }
}

impl<C, I> Future for Gathered<C, I>
where
    C: Future<Output = hyper::Result<()>>,
    I: AsyncWrite + Unpin,
{
    type Output = Result<(), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.activity.poll_begins();
        let polled = self.connection.as_mut().poll(cx);
        let sent = self.state.borrow_mut().poll_send(cx);
        self.activity.poll_ends();
        match (polled, sent) {
            // What a broken connection still had to say is worth one attempt, and no waiting.
            (Poll::Ready(result), _) => Poll::Ready(result.map_err(Into::into)),
            (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error.into())),
            (Poll::Pending, _) => Poll::Pending,
        }
    }
}

/// Bytes that wait for the end of a poll before TLS gets them: some dozens of small responses.
const GATHERED: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Arc, task::Waker};

    use tokio::{
        io::AsyncReadExt as _,
        net::{TcpListener, TcpStream},
    };

    use super::{super::io::Io, *};

    fn activity() -> Rc<Activity> {
        Rc::new(Activity::new(Arc::default(), Arc::default()))
    }

    /// Both ends of a connection; writes of the first are gathered.
    async fn ends() -> (Gather<Io>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (Gather::new(Io::new(server, activity())), client)
    }

    fn write<I: AsyncWrite + Unpin>(gather: &mut Gather<I>, data: &[u8]) -> Poll<usize> {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(gather).poll_write(&mut cx, data).map(|written| written.unwrap())
    }

    #[tokio::test]
    async fn writes_of_one_poll_leave_together_at_its_end() {
        let (gather, mut client) = ends().await;
        let state = gather.0.clone();
        let mut gathered = Box::pin(gather.serve(activity(), |mut gather| {
            poll_fn(move |_| {
                for _ in 0..3 {
                    assert_eq!(write(&mut gather, b"response"), Poll::Ready(8));
                }
                assert_eq!(gather.0.borrow().waiting.len(), 24, "nothing has left");
                Poll::<hyper::Result<()>>::Pending
            })
        }));
        assert!(gathered.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let mut read = [0; 100];
        assert_eq!(client.read(&mut read).await.unwrap(), 24);
        assert_eq!(state.borrow().waiting.capacity(), 0, "an idle connection holds no buffer");
    }

    /// Counts the writes that reach it.
    #[derive(Default)]
    struct Below {
        writes: Vec<usize>,
        flushes: usize,
    }

    impl AsyncWrite for Below {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            data: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.writes.push(data.len());
            Poll::Ready(Ok(data.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_is_below_sees_one_write_for_a_poll_and_is_flushed() {
        let mut gather = Gather::new(Below::default());
        for _ in 0..20 {
            assert_eq!(write(&mut gather, &[7; 1000]), Poll::Ready(1000));
        }
        let mut state = gather.0.borrow_mut();
        assert!(state.poll_send(&mut Context::from_waker(Waker::noop())).is_ready());
        assert_eq!((&state.io.writes[..], state.io.flushes), (&[20_000][..], 1));
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_bounds_what_waits_and_gets_it_in_order() {
        let (mut gather, mut client) = ends().await;
        let state = gather.0.clone();
        let (mut sent, mut piece) = (Vec::new(), 0_u8);
        loop {
            // Small and large pieces by turns.
            let data = vec![piece; if piece % 3 == 0 { GATHERED + 1000 } else { 3000 }];
            match write(&mut gather, &data) {
                Poll::Ready(length) => sent.extend_from_slice(&data[..length]),
                Poll::Pending => break,
            }
            assert!(state.borrow().waiting.len() <= GATHERED);
            piece = piece.wrapping_add(1);
        }
        let received = async {
            let mut received = vec![0; sent.len()];
            client.read_exact(&mut received).await.unwrap();
            received
        };
        let send = poll_fn(|cx| state.borrow_mut().poll_send(cx));
        let (received, flushed) = tokio::join!(received, send);
        flushed.unwrap();
        assert!(received == sent, "{} bytes arrived otherwise than they were sent", sent.len());
    }
}
