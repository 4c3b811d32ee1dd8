//! Responses on their way to hyper, which tell their connection's [`Activity`] what becomes of them.

use std::{
    io::IoSlice,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};

use super::{activity::Activity, crowd::Place};
use crate::limit::per_source::Held;

/// A request is being answered: until its response has left, the connection is not idle.
pub(super) struct Busy(Rc<Activity>);

impl Busy {
    pub(super) fn new(activity: &Rc<Activity>) -> Self {
        activity.request_began();
        Self(activity.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.request_ended();
    }
}

/// A response body that keeps its connection [`Busy`], and tells when it waits for the client: hyper asks for more
/// only when the client's windows have room.
pub(super) struct Tracked<B> {
    content: B,
    /// Its places among the requests of its address, and of its connection.
    _places: (Option<Held>, Option<Place>),
    is_waiting: bool,
    busy: Busy,
}

impl<B> Tracked<B> {
    pub(super) fn new(content: B, busy: Busy, places: (Option<Held>, Option<Place>)) -> Self {
        Self { content, _places: places, is_waiting: false, busy }
    }

    fn set_waiting(&mut self, waits: bool) {
        if waits != self.is_waiting {
            self.is_waiting = waits;
            let activity = &self.busy.0;
            if waits { activity.gave() } else { activity.taken() }
        }
    }
}

impl<B: http_body::Body + Unpin> http_body::Body for Tracked<B> {
    type Data = Piece<B::Data>;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, B::Error>>> {
        self.set_waiting(false);
        let polled = Pin::new(&mut self.content).poll_frame(cx);
        self.set_waiting(matches!(polled, Poll::Ready(Some(Ok(_)))));
        let activity = &self.busy.0;
        polled.map_ok(|frame| frame.map_data(|data| Piece::new(data, activity)))
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

impl<B> Drop for Tracked<B> {
    fn drop(&mut self) {
        self.set_waiting(false);
    }
}

/// Data of a response that hyper has. A response of one large piece is over, for its body, long before its client has
/// it: until then the connection is not idle, and what leaves of it shows that the client takes something.
pub(super) struct Piece<D> {
    data: D,
    busy: Busy,
}

impl<D> Piece<D> {
    fn new(data: D, activity: &Rc<Activity>) -> Self {
        let busy = Busy::new(activity);
        activity.gave();
        Self { data, busy }
    }
}

impl<D: Buf> Buf for Piece<D> {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.busy.0.moved();
        self.data.advance(count);
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        self.busy.0.moved();
        self.data.copy_to_bytes(length)
    }
}

impl<D> Drop for Piece<D> {
    fn drop(&mut self) {
        self.busy.0.taken();
    }
}
