//! From events of HTTP/3 to requests: a head starts the service, content goes to the body's slot.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Instant,
};

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header, uri};
use sterna_h3::{Code, Event, Priority, RequestHead, StreamId};

use super::{
    super::stream::{Exchange, Receiving, RequestStream},
    Connection, Phase,
};
use crate::{
    Body, Protocol, RequestContext,
    body::{self, Upload},
    context::RequestState,
    h3::quic_id,
    service::HttpService,
};

impl<S: HttpService> Connection<S> {
    /// What HTTP/3 made of the bytes.
    pub(super) fn take_events(&mut self, now: Instant) {
        while let Phase::Open(http) = &mut self.phase
            && let Some(event) = http.poll_event()
        {
            match event {
                Event::Request { id, head, fin } => self.request(id, *head, fin, now),
                Event::Data { id, data } => {
                    let pause = self.config.body_idle_timeout;
                    if let Some(stream) = self.find(id) {
                        stream.expect_content(data.len(), now, pause);
                        if let Some(upload) = &stream.upload {
                            upload.push(data);
                        }
                    }
                }
                Event::Trailers { id, trailers } => {
                    if let Some(upload) = self.upload(id) {
                        upload.trailers(*trailers);
                    }
                }
                Event::Finished { id } => {
                    if let Some(upload) = self.upload(id) {
                        upload.finish();
                    }
                }
                Event::Reset { id, code } => self.given_up(id, code),
                Event::Stopped { id, .. } => self.unwanted(id),
                Event::Misbehaved { id, rule } => {
                    self.dispatch.counters.malformed_requests.increment();
                    tracing::debug!(%rule, "malformed request");
                    self.fail_upload(id, body::Error::Malformed);
                    self.drop_exchange(id);
                }
                Event::HeadTooLarge { id } => {
                    if let Some(slot) = self.streams.slot(id) {
                        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                        let response = self.dispatch.refuse(Protocol::Http3, status);
                        self.respond(slot, response);
                    }
                }
                Event::Priority { id, priority } => self.prioritise(id, priority),
                Event::Unblocked { id } => self.readable.push(quic_id(id)),
                _ => {}
            }
        }
    }

    /// Looks at the streams that are new or were woken.
    pub(super) fn work(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        self.wake.take(&mut self.ready);
        let mut ready = std::mem::take(&mut self.ready);
        for slot in ready.drain(..) {
            self.streams.rearm(slot);
            let Some(stream) = self.streams.get_mut(slot) else { continue };
            if stream.receiving == Receiving::Paused {
                stream.receiving = Receiving::Open;
                let by = stream.expect_content(0, now, self.config.body_idle_timeout);
                let id = quic_id(stream.id);
                self.remind(by);
                self.read(quic, id, now);
            }
            self.poll(slot, now);
            self.stop_if_unread(quic, slot);
        }
        if self.ready.is_empty() {
            self.ready = ready;
        }
    }

    /// A request's head arrived: the service gets it in this turn.
    fn request(&mut self, id: StreamId, mut head: RequestHead, fin: bool, now: Instant) {
        let (Some(slot), Some(context)) = (self.streams.slot(id), self.context.clone()) else {
            return;
        };
        let Some(waker) = self.streams.waker(slot).cloned() else { return };
        let upload = (!fin).then(|| {
            let declared = head.headers.get(header::CONTENT_LENGTH).and_then(number);
            let counters = self.dispatch.counters.clone();
            Arc::new(Upload::new(waker.clone(), self.budget.clone(), declared, counters))
        });
        let state = Arc::new(RequestState::with_interim(waker));
        if context.early.as_ref().is_some_and(|gate| !gate.is_complete()) {
            state.came_early.store(true, Ordering::Relaxed);
            self.dispatch.counters.early_requests.increment();
        }
        let Some(stream) = self.streams.get_mut(slot) else { return };
        stream.state = Some(state.clone());
        stream.upload = upload.clone();
        stream.priority = head.priority;
        stream.is_head = head.method == Method::HEAD;
        stream.expects_continue = !fin && expects_continue(&head.headers);
        let pause = self.config.body_idle_timeout;
        stream.receive_by = None;
        let receive_by = (!fin).then(|| stream.expect_content(0, now, pause));

        let body = upload.map_or(Body::empty(), Body::upload);
        let Some(request) = into_request(&mut head, body) else {
            let response = self.dispatch.refuse(Protocol::Http3, StatusCode::BAD_REQUEST);
            self.respond(slot, response);
            return;
        };
        let context = RequestContext::new(context, state);
        stream.exchange = Exchange::Service(self.dispatch.clone().answer(request, context));
        match receive_by {
            // Its content may be here already, and `ready` is looked at when that has been read.
            Some(by) => {
                self.remind(by);
                self.ready.push(slot);
            }
            // At once, while all of it is in the cache: most are answered by it, and leave their memory to the next.
            None => self.poll(slot, now),
        }
    }

    /// Lets the service of one stream go on, or marks that its body may have something.
    fn poll(&mut self, slot: usize, now: Instant) {
        let pause = self.config.body_idle_timeout;
        let Phase::Open(http) = &mut self.phase else { return };
        let Some((stream, waker)) = self.streams.with_waker(slot) else { return };
        match &mut stream.exchange {
            Exchange::Head | Exchange::Over => {}
            Exchange::Content(_) => {
                stream.producing = true;
                self.enqueue(slot);
            }
            Exchange::Service(answer) => {
                let polled = Pin::new(answer).poll(&mut Context::from_waker(waker));
                if let Some(rate) = stream.upload.as_ref().and_then(|upload| upload.take_rate()) {
                    stream.hold_to(rate, now, pause);
                }
                stream.send_interim(http, polled.is_ready());
                match polled {
                    Poll::Ready(response) => self.respond(slot, response),
                    // The service saw that its body failed, and had its chance to answer.
                    Poll::Pending if stream.incomplete => self.abort(slot, Code::RequestIncomplete),
                    Poll::Pending => {}
                }
            }
        }
    }

    /// The client reset its side in the middle of the request.
    fn given_up(&mut self, id: StreamId, code: u64) {
        self.fail_upload(id, body::Error::Reset { code });
        let Some(slot) = self.streams.slot(id) else { return };
        let Some(stream) = self.streams.get_mut(slot) else { return };
        match stream.exchange {
            Exchange::Service(_) => {
                stream.incomplete = true;
                self.ready.push(slot);
            }
            Exchange::Head | Exchange::Content(_) | Exchange::Over => {}
        }
    }

    /// The client does not want the response any more.
    fn unwanted(&mut self, id: StreamId) {
        self.drop_exchange(id);
        self.fail_upload(id, body::Error::Reset { code: Code::RequestCancelled.value() });
        if let Phase::Open(http) = &mut self.phase {
            http.stop_reading(id, Code::RequestCancelled);
        }
    }

    fn drop_exchange(&mut self, id: StreamId) {
        if let Some(stream) = self.find(id) {
            stream.over();
        }
    }

    fn fail_upload(&mut self, id: StreamId, error: body::Error) {
        if let Some(upload) = self.upload(id) {
            upload.fail(error);
        }
    }

    /// The client changed its mind (RFC 9218 §7).
    fn prioritise(&mut self, id: StreamId, priority: Priority) {
        let Some(slot) = self.streams.slot(id) else { return };
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let before = std::mem::replace(&mut stream.priority, priority);
        if std::mem::take(&mut stream.in_line) {
            self.scheduler.remove(id, before);
            self.enqueue(slot);
        }
    }

    fn find(&mut self, id: StreamId) -> Option<&mut RequestStream<S>> {
        let slot = self.streams.slot(id)?;
        self.streams.get_mut(slot)
    }

    fn upload(&mut self, id: StreamId) -> Option<&Upload> {
        self.find(id)?.upload.as_deref()
    }
}

impl<S: HttpService> RequestStream<S> {
    /// Nothing more is to be asked of the service. Its future or body is dropped here; should that panic, it is this
    /// request's matter alone.
    pub(super) fn over(&mut self) {
        self.producing = false;
        let exchange = std::mem::replace(&mut self.exchange, Exchange::Over);
        if catch_unwind(AssertUnwindSafe(|| drop(exchange))).is_err() {
            tracing::error!("a request panicked when it was dropped");
        }
    }

    /// The connection is gone.
    pub(super) fn lose(&mut self) {
        if let Some(upload) = &self.upload {
            upload.fail(body::Error::ConnectionLost);
        }
        self.over();
        self.outgoing.discard();
    }
}

/// The request as every HTTP version has it. `None` when its parts make no URI.
fn into_request(head: &mut RequestHead, body: Body) -> Option<Request<Body>> {
    let mut target = uri::Parts::default();
    target.scheme = head.scheme.take();
    target.authority = head.authority.take();
    target.path_and_query = head.path.take();
    if target.path_and_query.is_none() || target.authority.is_none() {
        // Plain CONNECT names an authority alone; and a scheme alone makes no URI.
        target.scheme = None;
    }
    let mut request = Request::new(body);
    *request.uri_mut() = Uri::from_parts(target).ok()?;
    *request.version_mut() = Version::HTTP_3;
    std::mem::swap(request.method_mut(), &mut head.method);
    std::mem::swap(request.headers_mut(), &mut head.headers);
    if let Some(protocol) = head.protocol.take() {
        request.extensions_mut().insert(protocol);
    }
    Some(request)
}

fn number(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}

fn expects_continue(headers: &HeaderMap) -> bool {
    headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
