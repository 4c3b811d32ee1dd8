//! A request's body as hyper takes it: with `Expect: 100-continue` it waits for the server's word, and it ends with the
//! exchange that it belongs to.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use tokio::{sync::oneshot, time::Sleep};

use super::super::request::{Message, RequestBody};
use crate::{BoxError, context::lock};

/// The body of one attempt over TCP.
pub(crate) struct TcpBody {
    body: RequestBody,
    gate: Option<Gate>,
    /// `None` for a body that is none.
    progress: Option<Arc<Mutex<Progress>>>,
}

/// How far a body has come.
enum Progress {
    /// More may come; who is to be woken when nobody wants it any more.
    Going(Option<Waker>),
    /// hyper has all of it.
    Whole,
    /// Nobody wants the rest.
    Unwanted,
}

/// A body that is being sent, for whoever reads the response. Dropping it ends a body that is not whole, and with it the
/// HTTP/1.1 connection, or the stream.
pub(crate) struct Upload(Arc<Mutex<Progress>>);

impl Upload {
    /// All of it was sent.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(*lock(&self.0), Progress::Whole)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut progress = lock(&self.0);
        if let Progress::Going(waker) = &mut *progress {
            let waker = waker.take();
            *progress = Progress::Unwanted;
            drop(progress);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// Closed until the server says 100, or for as long as it is worth waiting.
struct Gate {
    word: Option<oneshot::Receiver<()>>,
    /// From the first look on, which is taken by the connection's task.
    patience: Option<Pin<Box<Sleep>>>,
}

/// The request as hyper sends it, what is heard before its response, and the hold on its body.
pub(super) fn request(message: &Message, is_http1: bool) -> (Request<TcpBody>, Option<Upload>) {
    let progress = (!message.body.is_empty()).then(|| Arc::new(Mutex::new(Progress::Going(None))));
    let upload = progress.clone().map(Upload);
    let body = TcpBody { body: message.body.clone(), gate: None, progress };
    let mut request = message.to_http(is_http1, body);
    // hyper does not tell what HTTP/2 says before its response.
    let waits = message.expects_continue && is_http1;
    let say = waits.then(|| {
        let (say, word) = oneshot::channel();
        request.body_mut().gate = Some(Gate { word: Some(word), patience: None });
        Mutex::new(Some(say))
    });
    if say.is_some() || message.interim.is_some() {
        let interim = message.interim.clone();
        hyper::ext::on_informational(&mut request, move |response| {
            if response.status() != StatusCode::CONTINUE {
                if let Some(told) = &interim {
                    told(response.status(), response.headers());
                }
            } else if let Some(say) = say.as_ref().and_then(|say| lock(say).take()) {
                // Sent already, when patience was at its end before.
                let _ = say.send(());
            }
        });
    }
    (request, upload)
}

impl Gate {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A callback that was dropped will say nothing: hyper calls it on HTTP/1.1 alone.
        if let Some(word) = &mut self.word
            && let Poll::Ready(said) = Pin::new(word).poll(cx)
        {
            if said.is_ok() {
                return Poll::Ready(());
            }
            self.word = None;
        }
        let patience =
            self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(CONTINUE_PATIENCE)));
        patience.as_mut().poll(cx)
    }
}

impl TcpBody {
    /// Whether somebody wants the body.
    fn is_wanted(&self) -> bool {
        let progress = self.progress.as_ref().map(|progress| lock(progress));
        !progress.is_some_and(|progress| matches!(*progress, Progress::Unwanted))
    }

    fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(gate) = &mut self.gate {
            if gate.poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.gate = None;
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }
}

impl http_body::Body for TcpBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !self.is_wanted() {
            return Poll::Ready(Some(Err("the exchange ended before the request's body".into())));
        }
        let polled = self.poll_content(cx);
        let Some(progress) = &self.progress else { return polled };
        match &polled {
            Poll::Pending => {
                if let Progress::Going(waker) = &mut *lock(progress)
                    && !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))
                {
                    *waker = Some(cx.waker().clone());
                }
            }
            Poll::Ready(Some(Err(_))) => {}
            Poll::Ready(frame) => {
                let is_last = matches!(frame, Some(Ok(frame)) if frame.is_trailers());
                if frame.is_none() || is_last || self.body.is_whole() {
                    *lock(progress) = Progress::Whole;
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How long a body waits for the server's word before it is sent without it (RFC 9110 §10.1.1).
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);
