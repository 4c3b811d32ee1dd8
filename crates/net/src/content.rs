//! The content of a response on its way out, the same for every HTTP version.
//!
//! It isolates panics of the service's body, and it knows when a response was given whole: if it is dropped before
//! that, nobody waits any more and the request's cancellation fires.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use http_body::{Frame, SizeHint};

use crate::{BoxError, context::RequestState, counters::WorkerCounters};

/// A service's response body with its [`Guard`].
pub(crate) struct Content<B> {
    inner: Option<Pin<Box<B>>>,
    guard: Guard,
}

impl<B> Content<B> {
    /// No content: the response is whole with its head.
    pub(crate) fn empty(mut guard: Guard) -> Self {
        guard.whole = true;
        Self { inner: None, guard }
    }
}

impl<B> Content<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Takes over a service's response.
    pub(crate) fn wrap(response: Response<B>, mut guard: Guard) -> Response<Self> {
        let bodiless = guard.head
            || response.status().is_informational()
            || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let declared = declared_length(&response);
        response.map(|body| {
            // A bodiless answer keeps its body for its size, which HEAD may tell; nobody polls it.
            guard.remaining = declared.or(body.size_hint().exact());
            guard.whole = bodiless || body.is_end_stream();
            Self { inner: Some(Box::pin(body)), guard }
        })
    }

    /// The whole response was given to its protocol: dropping it is no cancellation.
    fn settle(&mut self) {
        self.guard.whole = true;
        self.inner = None;
    }
}

impl<B> http_body::Body for Content<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let polled = match catch_unwind(AssertUnwindSafe(|| inner.as_mut().poll_frame(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(polled)) => polled,
            Err(_) => {
                this.guard.counters.panics.increment();
                tracing::error!("a response body panicked, the client gets a reset");
                this.inner = None;
                return Poll::Ready(Some(Err("the response body panicked".into())));
            }
        };
        match polled {
            None => {
                this.settle();
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                let error = error.into();
                this.guard.counters.service_errors.increment();
                tracing::debug!(error = &*error, "a response body failed, the client gets a reset");
                this.inner = None;
                Poll::Ready(Some(Err(error)))
            }
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.guard.sent(data.len());
                }
                if frame.is_trailers() || inner.is_end_stream() {
                    this.guard.whole = true;
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(|inner| inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or(SizeHint::with_exact(0), |inner| inner.size_hint())
    }
}

/// Ends a request's accounts when it is dropped: whole, or cancelled.
pub(crate) struct Guard {
    state: Arc<RequestState>,
    counters: Arc<WorkerCounters>,
    /// The request was HEAD: the response ends with its head.
    head: bool,
    /// The protocol has everything.
    whole: bool,
    /// Bytes that are still to come, when that is known: a protocol that knows the length need not ask for the end.
    remaining: Option<u64>,
}

impl Guard {
    pub(crate) fn new(
        state: Arc<RequestState>,
        counters: Arc<WorkerCounters>,
        method: &Method,
    ) -> Self {
        counters.active_requests.add_alone(1);
        Self { state, counters, head: method == Method::HEAD, whole: false, remaining: None }
    }

    fn sent(&mut self, bytes: usize) {
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(bytes as u64);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.counters.active_requests.subtract_alone(1);
        if !self.whole && self.remaining != Some(0) {
            self.counters.cancelled_requests.increment();
            self.state.cancel();
        }
    }
}

fn declared_length<B>(response: &Response<B>) -> Option<u64> {
    response.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
