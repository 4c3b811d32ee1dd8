//! From events of HTTP/3 to those who wait: a head answers a request, content goes to the body's slot.

use std::sync::Arc;

use http::{StatusCode, header};
use sterna_h3::{Code, Event, PeerMisbehaved, ResponseHead, StreamId};

use super::{
    super::{
        handle::Settled,
        stream::{Receiving, Reply, Sending},
    },
    At, Connection, Error, Kind,
};
use crate::{Protocol, body::Upload, h3::quic_id};

impl Connection {
    /// What HTTP/3 made of the bytes.
    pub(super) fn take_events(&mut self, quic: &mut sterna_quic::Connection) {
        while let Some(http) = self.phase.http()
            && let Some(event) = http.poll_event()
        {
            match event {
                Event::Response { id, head, fin } if head.status.is_informational() => {
                    debug_assert!(!fin, "HTTP/3 has checked it");
                    self.interim(id, *head);
                }
                Event::Response { id, head, fin } => self.respond(quic, id, *head, fin),
                Event::Data { id, data } => {
                    if let Some(Reply::Content(slot)) = self.reply(id) {
                        slot.push(data);
                    }
                }
                Event::Trailers { id, trailers } => {
                    if let Some(Reply::Content(slot)) = self.reply(id) {
                        slot.trailers(*trailers);
                    }
                }
                Event::Finished { id } => {
                    if let Some(reply) = self.reply(id)
                        && let Reply::Content(slot) = std::mem::replace(reply, Reply::Over)
                    {
                        slot.finish();
                    }
                }
                Event::Reset { id, code } => {
                    let error = Error::new(self.at(id), Kind::Reset { code }).over(Protocol::Http3);
                    let is_unsent = code == Code::RequestRejected.value();
                    self.fail(quic, id, if is_unsent { error.unsent() } else { error });
                }
                Event::Stopped { id, .. } => self.unwanted(id),
                Event::Misbehaved { id, rule } => {
                    let error = Error::new(self.at(id), kind_of(rule)).over(Protocol::Http3);
                    self.fail(quic, id, error.because(rule));
                }
                Event::Goaway { id } => self.going_away(quic, StreamId(id)),
                Event::Settings(settings) => {
                    self.common.sessions.remember_settings(&self.server_name, settings);
                }
                Event::Unblocked { id } => self.readable.push(quic_id(id)),
                _ => {}
            }
        }
    }

    /// A head that is not the last: 100 lets a body go, the others are kept for who asks.
    fn interim(&mut self, id: StreamId, head: ResponseHead) {
        let Some(slot) = self.streams.slot(id) else { return };
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let is_released = head.status == StatusCode::CONTINUE && stream.release();
        if head.status != StatusCode::CONTINUE
            && let Some(told) = &stream.told
        {
            told(head.status, &head.headers);
        }
        if stream.interim.len() < MAX_INTERIM {
            stream.interim.push((head.status, head.headers));
        }
        if is_released {
            self.enqueue(slot);
        }
    }

    /// The head of the response: who waits gets it, with the slot that the content comes through.
    fn respond(
        &mut self,
        quic: &mut sterna_quic::Connection,
        id: StreamId,
        head: ResponseHead,
        fin: bool,
    ) {
        let Some(slot) = self.streams.slot(id) else { return };
        let (budget, queued) = (self.budget.clone(), self.common.queued.clone());
        let Some((stream, waker)) = self.streams.with_waker(slot) else { return };
        let Reply::Waiting(reply) = std::mem::replace(&mut stream.reply, Reply::Over) else {
            return;
        };
        let ResponseHead { status, headers } = head;
        let body = (!fin).then(|| {
            let declared = headers
                .get(header::CONTENT_LENGTH)
                .and_then(|length| length.to_str().ok()?.parse().ok());
            Arc::new(Upload::new(waker.clone(), budget, declared, queued))
        });
        if let Some(body) = &body {
            stream.reply = Reply::Content(body.clone());
        }
        let settled = Settled {
            status,
            headers,
            body,
            early_data: stream.early_data,
            interim: std::mem::take(&mut stream.interim),
            quic: quic.stats(),
        };
        // A server that answers without a word on the body wants it, unless it says no (RFC 9110 §10.1.1).
        let is_held = matches!(stream.sending, Sending::Held { .. });
        let is_refused = is_held && status.as_u16() >= 300;
        if is_held && !is_refused {
            stream.release();
        }
        let is_heard = reply.send(Ok(settled)).is_ok();
        if !is_heard {
            self.give_up(quic, slot, Code::RequestCancelled, None);
        } else if is_refused {
            self.keep_body(quic, slot);
        } else if is_held {
            self.enqueue(slot);
        }
    }

    /// The body stays with us; the response goes on.
    fn keep_body(&mut self, quic: &mut sterna_quic::Connection, slot: usize) {
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.sending = Sending::Over;
            stream.outgoing.discard();
            quic.reset(quic_id(stream.id), Code::RequestCancelled.value());
        }
        self.retire(slot);
    }

    /// The server takes no more of the request; its response goes on (RFC 9114 §4.1).
    fn unwanted(&mut self, id: StreamId) {
        let Some(slot) = self.streams.slot(id) else { return };
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.sending = Sending::Over;
            stream.outgoing.discard();
        }
        self.retire(slot);
    }

    /// GOAWAY: no new requests, and those from `first` on were not processed.
    fn going_away(&mut self, quic: &mut sterna_quic::Connection, first: StreamId) {
        self.is_going_away = true;
        let error = Error::new(At::Request, Kind::GoAway).over(Protocol::Http3).unsent();
        let queued = self.shared.end(&error);
        for submission in self.waiting.drain(..).chain(queued) {
            let _ = submission.reply.send(Err(error.clone()));
        }
        let refused: Vec<_> = self
            .streams
            .iter_mut()
            .filter_map(|(slot, stream)| (stream.id >= first).then_some(slot))
            .collect();
        for slot in refused {
            self.give_up(quic, slot, Code::RequestCancelled, Some(error.clone()));
        }
    }

    /// The transport has forgotten the stream: whoever still waits for it will not hear more.
    pub(super) fn vanished(&mut self, quic: &mut sterna_quic::Connection, id: StreamId) {
        let error = Error::new(self.at(id), Kind::Lost).over(Protocol::Http3);
        self.fail(quic, id, error);
    }

    fn fail(&mut self, quic: &mut sterna_quic::Connection, id: StreamId, error: Error) {
        if let Some(slot) = self.streams.slot(id) {
            self.give_up(quic, slot, Code::RequestCancelled, Some(error));
        }
    }

    /// How far the exchange has come.
    fn at(&mut self, id: StreamId) -> At {
        match self.reply(id) {
            Some(Reply::Content(_)) => At::Body,
            _ => At::FirstByte,
        }
    }

    fn reply(&mut self, id: StreamId) -> Option<&mut Reply> {
        let slot = self.streams.slot(id)?;
        self.streams.get_mut(slot).map(|stream| &mut stream.reply)
    }

    /// Nobody waits for the response: the server should not go on with it.
    pub(super) fn cancel_if_unwanted(
        &mut self,
        quic: &mut sterna_quic::Connection,
        slot: usize,
    ) -> bool {
        let is_unwanted = self
            .streams
            .get_mut(slot)
            .is_some_and(|stream| stream.is_unwanted() && stream.receiving != Receiving::Over);
        if is_unwanted {
            self.give_up(quic, slot, Code::RequestCancelled, None);
        }
        is_unwanted
    }
}

fn kind_of(rule: PeerMisbehaved) -> Kind {
    match rule {
        PeerMisbehaved::ContentTooLong | PeerMisbehaved::ContentTooShort => Kind::ContentLength,
        PeerMisbehaved::FieldSectionTooLarge => Kind::HeadersTooLarge,
        _ => Kind::Malformed,
    }
}

/// Interim responses that are kept for one request.
const MAX_INTERIM: usize = 8;
