//! A TCP stream that can be asked about. What it sends goes through its [`Outbox`].
//!
//! The stream is shared: requests keep a weak handle to read its round-trip time. All reading and writing goes
//! through this type.

use std::{
    io::{self, IoSlice, Read as _},
    pin::Pin,
    rc::Rc,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

use super::{activity::Activity, outbox::Outbox};

/// One TCP connection's bytes.
pub(super) struct Io {
    stream: Arc<TcpStream>,
    activity: Rc<Activity>,
    /// Read already, to be read again.
    prefix: Bytes,
    outbox: Outbox,
}

impl Io {
    pub(super) fn new(stream: TcpStream, activity: Rc<Activity>) -> Self {
        let stream = Arc::new(stream);
        let outbox = Outbox::new(stream.clone(), activity.clone());
        Self { stream, activity, prefix: Bytes::new(), outbox }
    }

    /// For questions while the connection lives.
    pub(super) fn handle(&self) -> Weak<TcpStream> {
        Arc::downgrade(&self.stream)
    }

    /// Puts back what was read too early, in front of what was put back before.
    pub(super) fn unread(&mut self, bytes: Bytes) {
        self.prefix = match self.prefix.is_empty() {
            true => bytes,
            false => [bytes, std::mem::take(&mut self.prefix)].concat().into(),
        };
    }

    /// Reads once; `WouldBlock` when there is nothing.
    ///
    /// A read that leaves room has emptied the socket: saying so spares the system call that would find it empty.
    fn read(&self, space: &mut [u8]) -> io::Result<usize> {
        let mut emptied_by = None;
        let outcome = self.stream.try_io(Interest::READABLE, || {
            let length = (&*socket2::SockRef::from(&*self.stream)).read(space)?;
            if length == 0 || length == space.len() {
                return Ok(length);
            }
            emptied_by = Some(length);
            Err(io::ErrorKind::WouldBlock.into())
        });
        emptied_by.map_or(outcome, Ok)
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.has_remaining() {
            let len = self.prefix.len().min(buf.remaining());
            buf.put_slice(&self.prefix.split_to(len));
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.read(buf.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(len) => {
                    buf.advance(len);
                    self.activity.received();
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.outbox.poll_write(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.outbox.poll_write(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = socket2::SockRef::from(&*self.stream);
        Poll::Ready(match socket.shutdown(std::net::Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        })
    }
}
