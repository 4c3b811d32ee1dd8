//! What is known of a request from its arrival until its response has ended.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method};
use sterna_net::RequestContext;

use crate::access_log::{Entry, Recorder};
use crate::client::Origin;
use crate::encoding::Coding;
use crate::error::ProxyError;
use crate::metrics::{KindOfRequest, Metrics, RouteMetrics};
use crate::middleware::trace_context::TraceContext;
use crate::middleware::{bandwidth, in_flight, rate_limit};
use crate::upstream::Backend;
use crate::{Body, Request, Response, client};

/// A request and its response, as the gateway sees them: what one station notes for another, and for the log.
///
/// One for each request, and as small as it can be: what a policy needs is a field here, not an extension of the request.
#[derive(Debug)]
pub struct Exchange {
    /// Who a trusted proxy says is behind it, and in which field.
    behind: Option<(IpAddr, client::Field)>,
    is_head: bool,
    /// Where it stands with its rate limits.
    pub(crate) rate: Option<rate_limit::Rate>,
    /// What it has of limits on requests at once, until its response has ended.
    pub(crate) places: Vec<in_flight::Place>,
    /// Whose bandwidth its response uses.
    pub(crate) pace: Option<Box<bandwidth::Pace>>,
    /// Asks on behalf of a browser what another site may do here.
    is_preflight: bool,
    is_canary: bool,
    /// It came in early data, and did not wait for the handshake.
    pub(crate) is_early: bool,
    /// The content coding that the response is to get.
    pub(crate) coding: Option<Coding>,
    /// Another site may have made the browser send the request, with what it knows of the user.
    pub(crate) is_exposed: bool,
    /// Asks whether a weakly tagged form is still good.
    pub(crate) knows_weak: bool,
    notes: Option<Box<Notes>>,
    entry: Option<Box<Entry>>,
    /// What came of passing it on.
    pub(crate) proxied: Option<Box<Proxied>>,
}

/// What came of passing a request on, up to the head of its response.
#[derive(Clone, Debug)]
pub(crate) struct Proxied {
    /// Who answered, or was asked last; nobody, where there was nobody to ask.
    pub(crate) backend: Option<Arc<Backend>>,
    /// How many backends were asked, the same one twice included.
    pub(crate) attempts: u32,
    /// From asking the one that answered to the head of its response.
    pub(crate) first_byte: Option<Duration>,
    /// Why nobody answered.
    pub(crate) error: Option<ProxyError>,
}

/// What rare policies note: in one box, so that a request without them carries nothing.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The origin of another site that may read the response.
    pub(crate) allow_origin: Option<HeaderValue>,
    /// The name of the request among all.
    pub(crate) request_id: Option<HeaderValue>,
    /// The trace that the request is a part of.
    pub(crate) trace: Option<TraceContext>,
    /// Values of fields of the response that were made of the request.
    pub(crate) response_values: Vec<Option<HeaderValue>>,
    /// The path that the client asked for, and the one that the handler saw in its place.
    pub(crate) rewritten: Option<(PathAndQuery, PathAndQuery)>,
    /// The bucket of a visitor who had none.
    pub(crate) bucket: Option<u16>,
}

impl Exchange {
    pub(crate) fn begin(request: &Request, recorder: Option<&Recorder>) -> Self {
        Self {
            behind: None,
            is_preflight: false,
            is_canary: false,
            is_early: false,
            coding: None,
            is_exposed: false,
            knows_weak: false,
            notes: None,
            is_head: request.method() == Method::HEAD,
            rate: None,
            places: Vec::new(),
            pace: None,
            entry: Some(Box::new(Entry::begin(request, recorder))),
            proxied: None,
        }
    }

    /// One of a client behind a trusted proxy.
    #[cfg(test)]
    pub(crate) fn of_client(client: Option<IpAddr>, request: &Request) -> Self {
        let behind = client.map(|client| (client, client::Field::XForwardedFor));
        Self { behind, ..Self::begin(request, None) }
    }

    /// Has the content counted as it is read, if the log tells of it.
    pub(crate) fn watch_content(&self, request: &mut Request) {
        if let Some(count) = self.entry.as_ref().and_then(|entry| entry.received()) {
            request.body_mut().count_into(count);
        }
    }

    /// Reads who the client is, where the peer is a proxy that is trusted.
    pub(crate) fn identify(&mut self, config: &client::Config, request: &Request) {
        if config.trusted.is_empty() {
            return;
        }
        let Some(context) = RequestContext::of(request) else { return };
        let peer = context.peer_address().ip().to_canonical();
        if let Origin::Behind(client) = config.origin(peer, request.headers()) {
            self.behind = Some((client, config.field));
            if let Some(entry) = &mut self.entry {
                entry.is_of(client);
            }
        }
    }

    /// Notes who answered, if the log tells of it.
    pub(crate) fn answered_by(&mut self, proxied: impl FnOnce() -> Proxied) {
        if self.entry.as_ref().is_some_and(|entry| entry.has_details()) {
            self.proxied = Some(Box::new(proxied()));
        }
    }

    /// Whether the request is a preflight that the station of CORS will answer: it comes without the credentials that
    /// the request after it has, and so those who ask for them have to let it pass.
    pub(crate) fn is_preflight(&self) -> bool {
        self.is_preflight
    }

    pub(crate) fn set_preflight(&mut self) {
        self.is_preflight = true;
    }

    /// Who the peer, a trusted proxy, says is behind it, and in which field.
    pub(crate) fn behind_trusted_peer(&self) -> Option<(IpAddr, client::Field)> {
        self.behind
    }

    /// Notes which route it takes.
    pub(crate) fn takes(&mut self, route: &RouteMetrics, metrics: &Metrics, request: &Request) {
        if let Some(entry) = &mut self.entry {
            let protocol = RequestContext::of(request).map(RequestContext::protocol);
            let kind = KindOfRequest::of(protocol, request.method());
            entry.takes(route, route.block(kind, metrics));
        }
    }

    /// Whom policies hold to account: who a trusted proxy says is behind it, else the peer. An IPv4 address is never told
    /// as one of IPv6.
    pub(crate) fn client(&self, request: &Request) -> Option<IpAddr> {
        let peer = || Some(RequestContext::of(request)?.peer_address().ip().to_canonical());
        self.behind.map(|(client, _)| client).or_else(peer)
    }

    /// Whether a trusted proxy sent the request.
    pub(crate) fn is_from_trusted(&self) -> bool {
        self.behind.is_some()
    }

    /// Whether the request has the method HEAD.
    pub(crate) fn is_head(&self) -> bool {
        self.is_head
    }

    /// Whether the canary answers.
    pub(crate) fn is_canary(&self) -> bool {
        self.is_canary
    }

    pub(crate) fn set_canary(&mut self) {
        self.is_canary = true;
    }

    /// Whether the handler sees another path than the client asked for.
    pub(crate) fn is_rewritten(&self) -> bool {
        self.notes().is_some_and(|notes| notes.rewritten.is_some())
    }

    /// What rare policies noted, if any did.
    pub(crate) fn notes(&self) -> Option<&Notes> {
        self.notes.as_deref()
    }

    /// Makes room for notes: the one allocation.
    pub(crate) fn notes_mut(&mut self) -> &mut Notes {
        self.notes.get_or_insert_default()
    }

    /// The response as it leaves: its body writes the access log once it has ended.
    pub(crate) fn end(self, response: Response) -> Response {
        let (head, body) = response.into_parts();
        // HEAD is answered with the head of GET (RFC 9110 §9.3.2), whoever made it.
        // req: 9110-9.3.2-no-content
        let body = if self.is_head { Body::empty() } else { body };
        let mut entry = self.entry;
        if let Some(entry) = &mut entry {
            entry.answered(head.status, body.is_empty());
            entry.noted(self.notes.as_deref(), self.is_canary);
            if let Some(proxied) = self.proxied {
                entry.passed_on(proxied);
            }
        }
        Response::from_parts(head, body.watched_by(entry).holding(self.places))
    }
}
