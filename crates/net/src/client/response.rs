//! The body of a response: it ends whole, or with an error that says why; it keeps the connection until then.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::{
    Error,
    error::{Kind, Phase},
    pool::Lease,
    tcp,
};
use crate::{
    Protocol,
    body::{self, Upload},
};

/// The content of a response on its way to its reader.
pub(crate) struct Download {
    source: Source,
    protocol: Protocol,
    /// Gone with the end of the body: the connection is free then.
    lease: Option<Lease>,
    /// The request's body, as long as somebody reads the response.
    upload: Option<tcp::Upload>,
    clock: Clock,
}

/// Where it comes from.
pub(crate) enum Source {
    Hyper(Incoming),
    Http3(Arc<Upload>),
    /// Nothing more: it has ended, or it failed.
    Over,
}

impl Download {
    pub(crate) fn new(
        source: Source,
        mut lease: Lease,
        upload: Option<tcp::Upload>,
        clock: Clock,
    ) -> Self {
        let protocol = lease.info().protocol;
        // A server that answers what it has not read may take the rest for another request.
        if protocol == Protocol::Http1 && upload.as_ref().is_some_and(|upload| !upload.is_whole()) {
            lease.retire();
        }
        let mut download = Self { source, protocol, lease: Some(lease), upload, clock };
        if download.is_end_stream() {
            download.settle();
        }
        download
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = match &mut self.source {
            Source::Over => return Poll::Ready(None),
            Source::Hyper(body) => Pin::new(body).poll_frame(cx).map(|frame| {
                frame.map(|frame| {
                    frame.map_err(|error| tcp::failed(error, Phase::Body, self.protocol))
                })
            }),
            Source::Http3(slot) => {
                slot.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(of_slot)))
            }
        };
        match polled {
            Poll::Pending => match self.clock.poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => {
                    if let Some(lease) = &mut self.lease {
                        lease.retire();
                    }
                    self.settle();
                    let late = Error::new(Phase::Body, Kind::Timeout).over(self.protocol);
                    Poll::Ready(Some(Err(late)))
                }
            },
            Poll::Ready(frame) => {
                self.clock.is_running = false;
                if !matches!(frame, Some(Ok(_))) || self.is_end_stream() {
                    self.settle();
                }
                Poll::Ready(frame)
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Over => true,
            Source::Hyper(body) => body.is_end_stream(),
            Source::Http3(slot) => slot.is_end_stream(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Over => SizeHint::with_exact(0),
            Source::Hyper(body) => body.size_hint(),
            Source::Http3(slot) => slot.size_hint(),
        }
    }

    /// Nothing more is wanted: what still comes is stopped, and the connection is free.
    fn settle(&mut self) {
        if let Source::Http3(slot) = &self.source {
            slot.abandon();
        }
        self.source = Source::Over;
        self.upload = None;
        self.lease = None;
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.settle();
    }
}

fn of_slot(error: body::Error) -> Error {
    match error {
        body::Error::Response(error) => error,
        other => Error::new(Phase::Body, Kind::Lost).over(Protocol::Http3).because(other),
    }
}

/// The time-outs of a body: one for each pause in which somebody waits, and one for the whole.
pub(crate) struct Clock {
    idle: Duration,
    until: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    is_running: bool,
}

impl Clock {
    pub(crate) fn new(idle: Duration, until: Instant) -> Self {
        Self { idle, until, timer: None, is_running: false }
    }

    /// Ready when it is too late.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_running {
            self.is_running = true;
            let at = (Instant::now() + self.idle).min(self.until);
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(at),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(at))),
            }
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
