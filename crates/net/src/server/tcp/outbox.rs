//! What leaves on one TCP connection: where a client that takes nothing is noticed.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, Sleep},
};

use super::activity::Activity;

/// The sending side of a connection.
pub(super) struct Outbox {
    stream: Arc<TcpStream>,
    activity: Rc<Activity>,
    /// Runs while the kernel takes no more.
    stall: Option<Pin<Box<Sleep>>>,
    stalled: bool,
}

impl Outbox {
    pub(super) fn new(stream: Arc<TcpStream>, activity: Rc<Activity>) -> Self {
        Self { stream, activity, stall: None, stalled: false }
    }

    /// Longest time in which the client takes nothing of what waits.
    fn patience(&self) -> Duration {
        self.activity.config().write_timeout
    }

    /// One write, of as much as the kernel takes.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_room(cx))?;
            match self.stream.try_write_vectored(data) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    self.stalled = false;
                    return Poll::Ready(result);
                }
            }
        }
    }

    /// Waits until the kernel takes more, but not for longer than the patience.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stream.poll_write_ready(cx)?.is_ready() {
            return Poll::Ready(Ok(()));
        }
        let patience = self.patience();
        let deadline = Instant::now() + patience;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if !self.stalled {
            self.stalled = true;
            stall.as_mut().reset(deadline);
        }
        loop {
            ready!(stall.as_mut().poll(cx));
            if !self.activity.takes() {
                self.activity.timed_out();
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            stall.as_mut().reset(Instant::now() + patience);
        }
    }
}
