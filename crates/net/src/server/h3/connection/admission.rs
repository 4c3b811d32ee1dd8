//! Which requests are looked at: all of them, unless so many responses wait for the network that more would only grow cold.
//!
//! A client may send thousands of requests at once, whose responses leave no faster than the congestion window lets them.
//! Those that are not looked at yet are a few bytes each, held by the transport; each one that is answered is a response
//! in memory, which has left the processor's caches when its turn comes. What waits for the service, or for a client that
//! does not read, is not counted: nothing here waits for more than the network.

use std::time::Instant;

use sterna_quic::{Dir, StreamId};

use super::{super::stream::RequestStream, Connection, Drain, Phase};
use crate::{h3::h3_id, limit::per_source::Held, service::HttpService};

impl<S: HttpService> Connection<S> {
    /// The client opened a stream.
    pub(super) fn opened(
        &mut self,
        quic: &mut sterna_quic::Connection,
        id: StreamId,
        now: Instant,
    ) {
        if id.dir() != Dir::Bi {
            return;
        }
        let limits = self.dispatch.limits.as_ref();
        let place = match limits.map(|limits| limits.stream(self.client, now)) {
            None => None,
            Some(Some(place)) => Some(place),
            Some(None) => return self.overloads(quic),
        };
        self.waiting.push_back((id, place));
        self.raise_stream_limit(quic);
    }

    /// Whether the stream is a request that was not looked at: it will be, whatever happens on it.
    pub(super) fn is_waiting(&self, id: StreamId) -> bool {
        // Streams come in the order of their ids.
        id.dir() == Dir::Bi && self.waiting.front().is_some_and(|(first, _)| *first <= id)
    }

    /// Looks at what waits, as long as there is room in line; whether it looked at any.
    pub(super) fn admit(&mut self, quic: &mut sterna_quic::Connection, now: Instant) -> bool {
        let most = match self.drain {
            Drain::Off => LINE,
            // What has come is served.
            Drain::Announced { .. } | Drain::Final { .. } => usize::MAX,
        };
        // By the batch, so that there is always enough to send.
        if !matches!(self.phase, Phase::Open(_)) || self.scheduler.len() > most / 2 {
            return false;
        }
        let mut any = false;
        while self.scheduler.len() < most
            && let Some((id, place)) = self.waiting.pop_front()
        {
            any = true;
            self.begin(id, place, now);
            self.read_on(quic, id, now);
        }
        any
    }

    /// The client does not want what it asked for on a stream that waits: then it waits no longer, and is not read.
    pub(super) fn withdraw(&mut self, id: StreamId, now: Instant) {
        if let Ok(at) = self.waiting.binary_search_by_key(&id, |(id, _)| *id)
            && let Some((_, place)) = self.waiting.remove(at)
        {
            self.begin(id, place, now);
        }
    }

    /// A request's head has a time-out from now on.
    fn begin(&mut self, id: StreamId, place: Option<Held>, now: Instant) {
        let by = now + self.config.header_timeout;
        let id = h3_id(id);
        let stream = RequestStream::new(id, self.dispatch.counters.clone(), by);
        self.streams.insert(id, stream.limited(place, self.config.min_rate));
        self.remind(by);
        self.rest_at = Some(now + super::REST_AFTER);
    }

    /// Gives more streams to a client that uses what it has, once it let that many be answered: a client that only
    /// opens and resets keeps its first limit.
    fn raise_stream_limit(&mut self, quic: &mut sterna_quic::Connection) {
        let most = self.config.max_http3_streams;
        let open = (self.streams.len() + self.waiting.len()) as u64;
        let crowded = open >= self.stream_limit / 4 * 3;
        if crowded && self.answered >= self.stream_limit && self.stream_limit < most {
            self.stream_limit = self.stream_limit.saturating_mul(2).min(most);
            self.answered = 0;
            quic.set_max_streams(Dir::Bi, self.stream_limit);
        }
    }
}

/// Responses in line above which no new request is looked at. More than a browser has open at once, so that priorities
/// are heeded among all of its requests.
pub(super) const LINE: usize = 128;
