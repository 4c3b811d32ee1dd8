//! From the service's answer to HTTP/3: head, content as the transport takes it, trailers.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::SystemTime,
};

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use sterna_h3::{Code, ResponseHead};

use super::{
    super::stream::{Exchange, Receiving, RequestStream},
    Connection, Phase,
};
use crate::{body, content::Content, h3::quic_id, service::HttpService};

impl<S: HttpService> Connection<S> {
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
        // No interim response can follow it.
        stream.state = None;
        let fin = stream.frame(parts.status, &mut parts.headers, &content);
        let head = ResponseHead { status: parts.status, headers: parts.headers };
        let mut common = self.dispatch.common.borrow_mut();
        let sent = http.send_response_with(stream.id, &head, common.at(SystemTime::now()), fin);
        drop(common);
        if let Err(error) = sent {
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
            if let Some(upload) = &stream.upload {
                // Who reads it elsewhere must not wait for ever.
                upload.fail(body::Error::GivenUp);
            }
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
}

impl<S: HttpService> RequestStream<S> {
    /// Interim responses: early hints, and 100 when the service waits for a body that the client holds back.
    pub(super) fn send_interim(&mut self, http: &mut sterna_h3::Connection, last: bool) {
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
    fn frame(
        &mut self,
        status: StatusCode,
        headers: &mut HeaderMap,
        content: &Content<S::Content>,
    ) -> bool {
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
}

/// Content of up to this many bytes is asked for together with its head, whatever the transport can take: a few
/// frames' worth.
const SMALL: u64 = 16 * 1024;
