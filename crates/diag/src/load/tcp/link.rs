//! Bytes in and out of one connection, and the session between them.

use std::{
    future::poll_fn,
    io,
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{ENOUGH, End, Session, Work, stream::Stream};
use crate::load::{Failure, hub::Hub, pace::Schedule};

/// A stream with what waits to be written to it.
pub(super) struct Link {
    pub(super) stream: Stream,
    pub(super) out: BytesMut,
    buffer: Box<[u8]>,
}

impl Link {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, out: BytesMut::new(), buffer: vec![0; READ].into() }
    }

    /// Writes what waits and reads what came, until either has happened.
    pub(super) async fn step(
        &mut self,
        session: &mut impl Session,
        hub: &Hub,
        mut schedule: Option<&mut Schedule>,
    ) -> ControlFlow<End> {
        poll_fn(|cx| {
            let has_room = match self.poll_write(cx) {
                Ok(has_room) => has_room,
                Err(error) => {
                    return Poll::Ready(ControlFlow::Break(End::Lost(Failure::of_io(&error))));
                }
            };
            let mut buffer = ReadBuf::new(&mut self.buffer);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
            let mut work = Work {
                hub,
                schedule: schedule.as_deref_mut(),
                out: &mut self.out,
                now: Instant::now(),
            };
            match read {
                // There is room for more content.
                Poll::Pending if has_room => Poll::Ready(ControlFlow::Continue(())),
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => {
                    Poll::Ready(ControlFlow::Break(End::Lost(Failure::of_io(&error))))
                }
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    session.finish(&mut work);
                    Poll::Ready(ControlFlow::Break(end_of(session)))
                }
                Poll::Ready(Ok(())) => {
                    Poll::Ready(match session.handle(buffer.filled(), &mut work) {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(failure) => ControlFlow::Break(End::Lost(failure)),
                    })
                }
            }
        })
        .await
    }

    /// Writes as much as the stream takes; whether that made room for what a session held back.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.out.is_empty() {
            return Ok(false);
        }
        let was_full = self.out.len() >= ENOUGH;
        while !self.out.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out) {
                Poll::Ready(written) => match written? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    written => self.out.advance(written),
                },
                Poll::Pending => return Ok(false),
            }
        }
        // TLS keeps records back until it is flushed.
        let _ = Pin::new(&mut self.stream).poll_flush(cx)?;
        Ok(was_full)
    }
}

/// The server has ended a connection: in good order if nothing was under way.
fn end_of(session: &impl Session) -> End {
    match session.is_idle() {
        true => End::Done,
        false => End::Lost(Failure::Closed { code: 0, reason: String::new() }),
    }
}

/// Bytes that are read at once.
const READ: usize = 64 * 1024;
