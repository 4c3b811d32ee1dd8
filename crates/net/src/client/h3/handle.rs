//! The client's side of a connection that lives on the driver's thread: a bounded queue of requests, and what the driver
//! tells of the connection.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Waker,
};

use http::{HeaderMap, Response, StatusCode};
use sterna_h3::RequestHead;
use tokio::sync::oneshot;

use super::super::{
    Answer, Error,
    error::{Kind, Phase},
    exchange::EarlyData,
    request::{Interim, Message, RequestBody},
    response::Source,
};
use crate::{Protocol, body::Upload, context::lock};

/// A connection, for whoever sends on it. The connection is closed when the last handle is dropped.
pub(crate) struct Handle(Arc<Shared>);

/// What the two sides share.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// Wakes the connection for its queue.
    wake: Waker,
    /// No more requests: the server is going away, or the connection has ended.
    is_over: AtomicBool,
    /// Requests at once that the server allows, as far as it is known.
    stream_limit: AtomicUsize,
    /// The handle is gone.
    is_left: AtomicBool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Submission>,
    /// Why there will be no more.
    ended: Option<Error>,
}

/// A request on its way to the driver.
pub(super) struct Submission {
    pub(super) head: Arc<RequestHead>,
    pub(super) body: RequestBody,
    pub(super) expects_continue: bool,
    /// Who is told of interim responses.
    pub(super) told: Option<Interim>,
    /// It may be sent before the handshake is complete.
    pub(super) may_be_early: bool,
    /// It was sent as early data and refused.
    pub(super) was_rejected: bool,
    pub(super) reply: oneshot::Sender<Result<Settled, Error>>,
}

/// The head of a response, and what belongs to it.
pub(super) struct Settled {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Arc<Upload>>,
    pub(super) early_data: EarlyData,
    pub(super) interim: Vec<(StatusCode, HeaderMap)>,
    pub(super) quic: sterna_quic::Stats,
}

impl Handle {
    /// For a connection that is opening.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Sends a request and waits for the head of its response. Dropping the future gives it up.
    pub(crate) async fn send(
        &self,
        message: &Message,
        may_be_early: bool,
    ) -> Result<Answer, Error> {
        let (reply, settled) = oneshot::channel();
        self.0.submit(Submission {
            head: message.head.clone(),
            body: message.body.clone(),
            expects_continue: message.expects_continue,
            told: message.interim.clone(),
            may_be_early,
            was_rejected: false,
            reply,
        })?;
        // The driver answers all that it has taken; a sender that is dropped went down with its thread.
        let closed = |_| Error::new(Phase::Request, Kind::Closed).over(Protocol::Http3);
        let Settled { status, headers, body, early_data, interim, quic } =
            settled.await.map_err(closed)??;
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        *response.version_mut() = http::Version::HTTP_3;
        let (parts, ()) = response.into_parts();
        let body = body.map_or(Source::Over, Source::Http3);
        Ok(Answer { parts, body, upload: None, early_data, interim, quic: Some(quic) })
    }

    pub(crate) fn stream_limit(&self) -> usize {
        self.0.stream_limit.load(Ordering::Relaxed)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_over.load(Ordering::Acquire)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.is_left.store(true, Ordering::Release);
        self.0.wake.wake_by_ref();
    }
}

impl Shared {
    pub(super) fn new(wake: Waker) -> Self {
        Self {
            queue: Mutex::default(),
            wake,
            is_over: AtomicBool::new(false),
            stream_limit: AtomicUsize::new(FIRST_LIMIT),
            is_left: AtomicBool::new(false),
        }
    }

    fn submit(&self, submission: Submission) -> Result<(), Error> {
        let mut queue = lock(&self.queue);
        if let Some(error) = &queue.ended {
            return Err(error.clone().unsent());
        }
        if queue.waiting.len() >= MAX_QUEUED {
            return Err(Error::new(Phase::Request, Kind::Overloaded).unsent());
        }
        queue.waiting.push_back(submission);
        drop(queue);
        self.wake.wake_by_ref();
        Ok(())
    }

    // From the driver.

    /// Moves what was submitted to `waiting`.
    pub(super) fn take(&self, waiting: &mut VecDeque<Submission>) {
        waiting.append(&mut lock(&self.queue).waiting);
    }

    /// No more requests from now on; those in the queue are answered with the error by the caller.
    pub(super) fn end(&self, error: &Error) -> VecDeque<Submission> {
        self.is_over.store(true, Ordering::Release);
        let mut queue = lock(&self.queue);
        queue.ended.get_or_insert_with(|| error.clone());
        std::mem::take(&mut queue.waiting)
    }

    pub(super) fn set_stream_limit(&self, limit: usize) {
        self.stream_limit.store(limit, Ordering::Relaxed);
    }

    /// The server gave more streams; how many it does not say.
    pub(super) fn raise_stream_limit(&self) {
        let limit = self.stream_limit.load(Ordering::Relaxed);
        self.set_stream_limit(limit.saturating_mul(2).clamp(1, MAX_QUEUED));
    }

    pub(super) fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Acquire)
    }
}

/// What a server should allow at the least (RFC 9114 §6.1).
const FIRST_LIMIT: usize = 100;

/// Requests that may wait for the driver's next turn.
const MAX_QUEUED: usize = 4096;

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::Body;

    fn submission() -> (Submission, oneshot::Receiver<Result<Settled, Error>>) {
        let request = Request::get("https://x/").body(Body::empty()).unwrap();
        let (_, message) = Message::of(request).unwrap();
        let (reply, settled) = oneshot::channel();
        let submission = Submission {
            head: message.head,
            body: message.body,
            expects_continue: false,
            told: None,
            may_be_early: true,
            was_rejected: false,
            reply,
        };
        (submission, settled)
    }

    #[test]
    fn full_queue_refuses_one_more_and_takes_again_once_the_driver_has_come_by() {
        let shared = Shared::new(Waker::noop().clone());
        for _ in 0..MAX_QUEUED {
            assert!(shared.submit(submission().0).is_ok());
        }
        let error = shared.submit(submission().0).unwrap_err();
        assert_eq!((error.kind(), error.may_retry()), (Kind::Overloaded, true));
        let mut waiting = VecDeque::new();
        shared.take(&mut waiting);
        assert_eq!(waiting.len(), MAX_QUEUED);
        assert!(shared.submit(submission().0).is_ok());
    }

    #[test]
    fn connection_that_has_ended_takes_nothing_and_gives_back_what_waits() {
        let shared = Shared::new(Waker::noop().clone());
        assert!(shared.submit(submission().0).is_ok());
        let lost = Error::new(Phase::FirstByte, Kind::Lost);
        assert_eq!(shared.end(&lost).len(), 1);
        let error = shared.submit(submission().0).unwrap_err();
        assert_eq!((error.kind(), error.may_retry()), (Kind::Lost, true), "it was not sent");
    }
}
