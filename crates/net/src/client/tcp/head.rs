//! A bound on what a server may say before its response begins.
//!
//! hyper bounds each head and reads on after every interim response (1xx), without looking whether anybody still waits: a
//! server that sends nothing else would hold the thread, and with it the clocks that should end it.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many more bytes may come on a connection of HTTP/1.1 before the head of the response that is waited for.
#[derive(Debug)]
pub(crate) struct HeadBudget(AtomicU64);

impl Default for HeadBudget {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl HeadBudget {
    /// A response is waited for.
    pub(super) fn begin(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// Its head is here: content is bounded by who reads it.
    pub(super) fn end(&self) {
        self.0.store(u64::MAX, Ordering::Relaxed);
    }

    /// Takes from it. The connection's task alone does, between a beginning and an end.
    fn take(&self, bytes: u64) -> bool {
        let left = self.0.load(Ordering::Relaxed);
        if left != u64::MAX {
            self.0.store(left.saturating_sub(bytes), Ordering::Relaxed);
        }
        left >= bytes
    }
}

/// A connection that fails when its budget is used up.
pub(super) struct Bounded<I> {
    pub(super) io: I,
    pub(super) budget: Arc<HeadBudget>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Bounded<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let read = buffer.filled().len().saturating_sub(before);
        if self.budget.take(read as u64) {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, TooMuch)))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Bounded<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the server sends interim responses without an end")]
struct TooMuch;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn connection_fails_when_more_comes_before_a_head_than_may() {
        let budget = Arc::new(HeadBudget::default());
        let mut bounded = Bounded { io: &b"before, head, content"[..], budget: budget.clone() };
        let mut piece = [0; 6];
        bounded.read_exact(&mut piece).await.expect("nothing is waited for");
        budget.begin(8);
        bounded.read_exact(&mut piece).await.expect("within the budget");
        let error = bounded.read_exact(&mut piece).await.expect_err("beyond it");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        budget.end();
        bounded.read_exact(&mut piece[..3]).await.expect("the response has begun");
    }
}
