//! From events of HTTP/3 to requests, and from the service's answers back.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, uri,
};
use http_body::Body as _;
use sterna_h3::{Code, Event, Priority, RequestHead, ResponseHead, StreamId};

use super::{
    super::stream::{Exchange, Receiving, RequestStream},
    Connection, Phase, quic_id,
};
use crate::{
    Body, Protocol, RequestContext,
    body::{self, Upload},
    content::Content,
    context::RequestState,
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
                    let by = now + self.dispatch.config.body_idle_timeout;
                    if let Some(stream) = self.find(id) {
                        stream.receive_by = Some(by);
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
                stream.receive_by = Some(now + self.dispatch.config.body_idle_timeout);
                let id = quic_id(stream.id);
                self.remind(now + self.dispatch.config.body_idle_timeout);
                self.read(quic, id, now);
            }
            self.poll(slot);
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
            let config = &self.dispatch.config;
            let declared = head.headers.get(header::CONTENT_LENGTH).and_then(number);
            let counters = self.dispatch.counters.clone();
            Arc::new(Upload::new(waker.clone(), config.upload_buffer, declared, counters))
        });
        let receive_by = (!fin).then(|| now + self.dispatch.config.body_idle_timeout);
        let state = Arc::new(RequestState::with_interim(waker));
        let Some(stream) = self.streams.get_mut(slot) else { return };
        stream.state = Some(state.clone());
        stream.upload = upload.clone();
        stream.priority = head.priority;
        stream.is_head = head.method == Method::HEAD;
        stream.expects_continue = !fin && expects_continue(&head.headers);
        stream.receive_by = receive_by;

        let body = upload.map_or(Body::empty(), Body::upload);
        let Some(request) = into_request(&mut head, body) else {
            let response = self.dispatch.refuse(Protocol::Http3, StatusCode::BAD_REQUEST);
            self.respond(slot, response);
            return;
        };
        let context = RequestContext::new(context, state);
        stream.exchange =
            Exchange::Service(Box::pin(self.dispatch.clone().answer(request, context)));
        self.ready.push(slot);
        if let Some(by) = receive_by {
            self.remind(by);
        }
    }

    /// Lets the service of one stream go on, or marks that its body may have something.
    fn poll(&mut self, slot: usize) {
        let Phase::Open(http) = &mut self.phase else { return };
        let Some((stream, waker)) = self.streams.with_waker(slot) else { return };
        match &mut stream.exchange {
            Exchange::Head | Exchange::Over => {}
            Exchange::Content(_) => {
                stream.producing = true;
                self.enqueue(slot);
            }
            Exchange::Service(answer) => {
                let polled = answer.as_mut().poll(&mut Context::from_waker(waker));
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

    /// Sends a response's head; its content follows as the transport takes it.
    pub(super) fn respond(&mut self, slot: usize, response: Response<Content<S::Content>>) {
        let Phase::Open(http) = &mut self.phase else { return };
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let (mut parts, content) = response.into_parts();
        if parts.status.is_informational() {
            // A final response cannot be interim, and HTTP/3 has no 101 (RFC 9114 §4.5).
            tracing::error!(status = %parts.status, "the service answered with an interim status");
            self.abort(slot, Code::InternalError);
            return;
        }
        let fin = stream.frame(parts.status, &mut parts.headers, &content);
        let head = ResponseHead { status: parts.status, headers: parts.headers };
        if let Err(error) = http.send_response(stream.id, &head, fin) {
            tracing::debug!(%error, "the response is not wanted any more");
            self.abort(slot, Code::InternalError);
            return;
        }
        let small = content.size_hint().upper().is_some_and(|bytes| bytes <= SMALL);
        stream.exchange = if fin { Exchange::Over } else { Exchange::Content(content) };
        stream.producing = !fin;
        // What is small and known goes into the same write as the head.
        while small && self.produce(slot) {}
        self.enqueue(slot);
    }

    /// Asks the response's body for one frame. False when it has none now, or never again.
    pub(super) fn produce(&mut self, slot: usize) -> bool {
        let Phase::Open(http) = &mut self.phase else { return false };
        let Some((stream, waker)) = self.streams.with_waker(slot) else { return false };
        let Exchange::Content(content) = &mut stream.exchange else { return false };
        let polled = Pin::new(&mut *content).poll_frame(&mut Context::from_waker(waker));
        let (sent, fin) = match polled {
            Poll::Pending => {
                stream.producing = false;
                return false;
            }
            Poll::Ready(None) => (Some(http.finish(stream.id)), true),
            Poll::Ready(Some(Err(_))) => (None, true),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    let fin = content.is_end_stream();
                    (Some(http.send_data(stream.id, data, fin)), fin)
                }
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => (Some(http.send_trailers(stream.id, &trailers)), true),
                    // A kind of frame that HTTP/3 does not know.
                    Err(_) => return true,
                },
            },
        };
        match sent {
            Some(Ok(())) if fin => {
                stream.over();
                false
            }
            Some(Ok(())) => true,
            // Failed, longer or shorter than declared, or nobody wants it: the client must not take it for whole.
            Some(Err(_)) | None => {
                self.abort(slot, Code::InternalError);
                false
            }
        }
    }

    /// Gives a stream up, both ways.
    pub(super) fn abort(&mut self, slot: usize, code: Code) {
        let Phase::Open(http) = &mut self.phase else { return };
        if let Some(stream) = self.streams.get_mut(slot) {
            http.reset(stream.id, code);
            stream.over();
            stream.outgoing.discard();
        }
    }

    /// A response that is complete asks for no more of a request that nobody reads (RFC 9114 §4.1).
    pub(super) fn stop_if_unread(&mut self, quic: &mut sterna_quic::Connection, slot: usize) {
        let Phase::Open(http) = &mut self.phase else { return };
        if let Some(stream) = self.streams.get_mut(slot)
            && stream.outgoing.is_over()
            && stream.receiving != Receiving::Over
            && stream.is_unread()
        {
            http.stop_reading(stream.id, Code::NoError);
            // Not left to the command alone: HTTP/3 has given up a stream whose head was too large already.
            quic.stop_sending(quic_id(stream.id), Code::NoError.value());
            stream.stop_receiving();
            self.retire(slot);
        }
    }

    /// A time-out of this stream is over.
    pub(super) fn late(&mut self, quic: &mut sterna_quic::Connection, slot: usize, now: Instant) {
        let config = self.dispatch.config.clone();
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let stalled = stream.outgoing.blocked_since();
        if stalled.is_some_and(|since| since + config.write_timeout <= now) {
            self.dispatch.counters.timeouts.increment();
            self.abort(slot, Code::RequestCancelled);
        } else if matches!(stream.exchange, Exchange::Head) {
            self.dispatch.counters.timeouts.increment();
            // Nothing was done for it: the client may try again.
            let (id, code) = (quic_id(stream.id), Code::RequestRejected);
            self.abort(slot, code);
            // HTTP/3 does not know a stream of which no byte has come.
            quic.reset(id, code.value());
            quic.stop_sending(id, code.value());
            if let Some(stream) = self.streams.get_mut(slot) {
                stream.stop_receiving();
            }
            self.retire(slot);
        } else if let Some(upload) = stream.upload.clone() {
            let waited_for = upload.is_starving();
            let by = now + config.body_idle_timeout;
            stream.receive_by = (!waited_for).then_some(by);
            if waited_for {
                self.dispatch.counters.timeouts.increment();
                upload.fail(body::Error::TimedOut);
            } else {
                self.remind(by);
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

    fn find(&mut self, id: StreamId) -> Option<&mut RequestStream<S::Content>> {
        let slot = self.streams.slot(id)?;
        self.streams.get_mut(slot)
    }

    fn upload(&mut self, id: StreamId) -> Option<&Upload> {
        self.find(id)?.upload.as_deref()
    }
}

impl<B: http_body::Body<Data = bytes::Bytes>> RequestStream<B>
where
    B::Error: Into<crate::BoxError>,
{
    /// Interim responses: early hints, and 100 when the service waits for a body that the client holds back.
    fn send_interim(&mut self, http: &mut sterna_h3::Connection, last: bool) {
        let Some(state) = &self.state else { return };
        for headers in state.take_interim(last) {
            let head = ResponseHead { status: StatusCode::EARLY_HINTS, headers };
            // A stream that is gone will say so by an event.
            let _ = http.send_response(self.id, &head, false);
        }
        let waited_for = self.upload.as_ref().is_some_and(|upload| upload.is_starving());
        if self.expects_continue && !last && waited_for {
            self.expects_continue = false;
            let head = ResponseHead { status: StatusCode::CONTINUE, headers: HeaderMap::new() };
            let _ = http.send_response(self.id, &head, false);
        }
    }

    /// Makes a head's fields fit the content (RFC 9110 §8.6, RFC 9114 §4.2). True when the head is all of it.
    fn frame(&mut self, status: StatusCode, headers: &mut HeaderMap, content: &Content<B>) -> bool {
        let exact = content.size_hint().exact();
        let bodiless = match status {
            StatusCode::NO_CONTENT => {
                headers.remove(header::CONTENT_LENGTH);
                true
            }
            StatusCode::NOT_MODIFIED => true,
            _ => {
                // An empty body of a HEAD answer tells nothing about the length of a GET.
                let telling = exact.filter(|len| !self.is_head || *len > 0);
                if let Some(len) = telling
                    && !headers.contains_key(header::CONTENT_LENGTH)
                {
                    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
                }
                self.is_head
            }
        };
        bodiless || content.is_end_stream()
    }

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
    if target.path_and_query.is_none() {
        // Plain CONNECT names an authority alone.
        target.scheme = None;
    } else if target.authority.is_none() {
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

/// Content of up to this many bytes is asked for together with its head, whatever the transport can take: a few
/// frames' worth.
const SMALL: u64 = 16 * 1024;
