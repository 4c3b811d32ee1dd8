//! What a request meets between its route and its handler, as a site, a route or the defaults say it.
//!
//! To add a policy: a key here, its line in [`Layers::build`], which has the one order that there is.

use super::min_rate::MinRate;
use super::problem::Problems;
use super::quic::ZeroRtt;
use super::setting::{Several, Switch, section};
use super::site::Edit;
use super::units::ByteSize;
use crate::middleware::{self, bandwidth, body_limit, body_rate, headers, rate_limit, rewrite};
use crate::route::condition::Network;

mod access;
mod compress;
mod cors;
mod identity;
mod limits;
mod mirror;
mod opening;
mod rewriting;
mod values;

pub use self::access::{BasicAuth, Country, ForwardAuth, Jwt};
pub use self::compress::{Algorithm, Compress, Level, TypePattern};
pub use self::cors::{Cors, CorsOptions};
pub use self::identity::{Keep, RequestId, TraceContext};
pub use self::limits::{InFlight, InFlightOptions};
pub use self::mirror::{Mirror, MirrorOptions};
pub(super) use self::opening::Opening;
pub use self::rewriting::{RewriteTo, StripPrefix};
pub use self::values::{Credential, Realm, Url};

section! {
    /// What a request meets before its handler.
    pub struct Policies {
        /// Which requests in early data (0-RTT) are answered before the handshake is complete, in place of `quic.zero_rtt`:
        /// `safe`, `off` or `all`.
        pub early_data: Option<ZeroRtt>,
        /// Requests in work at once, each until its response has been sent: a number, or a table. Those beyond wait in a
        /// bounded queue, and get 503 with `Retry-After` when it is full. An inner table's replaces an outer one's.
        pub in_flight: Option<InFlight>,
        /// How often clients may ask: one limit or a list, of which all hold. `100/s per ip, burst 200`; in place of
        /// `per ip` `per header NAME`, `per cookie NAME`, `per route`, or `global` for all together. Without a burst as
        /// many as the rate may come at once. Beyond it the answer is 429 with `Retry-After`. An inner table's replaces an
        /// outer one's.
        pub rate_limit: Option<Several<rate_limit::Limit>>,
        /// How fast a response is sent after its first 256 KiB, such as `2MiB/s`; with `per ip`, `per route` or `global`
        /// they share it. A client whose round trip takes more than 100 ms gets less, in proportion.
        pub bandwidth: Option<bandwidth::Limit>,
        /// Largest content of a request, where that is less than `limits.body_size`; above it the answer is 413.
        pub body_size: Option<ByteSize>,
        /// The least rate at which the content of a request comes, in place of `limits.min_rate`; `off` for streams in which
        /// clients say little, such as those of gRPC.
        pub body_min_rate: Option<MinRate>,
        /// The networks of clients that may come in; all others get 403. An inner table's replaces an outer one's.
        pub allow: Option<Several<Network>>,
        /// The networks of clients that may not, whatever `allow` says; those of all tables together.
        pub deny: Option<Several<Network>>,
        /// Who may come in by country; all others get 403. `false` takes back what an outer table says, here and below.
        pub country: Option<Switch<Country>>,
        /// Asks for a name and a password: 401 without the right ones.
        pub basic_auth: Option<Switch<BasicAuth>>,
        /// Asks for a token of an issuer: 401 without a good one.
        pub jwt: Option<Switch<Jwt>>,
        /// Asks another server.
        pub forward_auth: Option<Switch<ForwardAuth>>,
        /// A name for each request, sent on and told to the client: on or off, or a table.
        pub request_id: Option<Switch<RequestId>>,
        /// The trace of a request: `continue` sends it on with a parent of our own, `start` begins one where there is none.
        pub trace_context: Option<TraceContext>,
        /// Which other sites may read responses in a browser: everybody, an origin, a list of them, or a table. Preflights
        /// are answered here, whatever credentials the requests after them need.
        pub cors: Option<Switch<Cors>>,
        /// Taken off the front of the path before the handler sees it; `X-Forwarded-Prefix` says so.
        pub strip_prefix: Option<StripPrefix>,
        /// The path that the handler sees: `{path}` is that of the request (without `strip_prefix`), `{id}` a parameter
        /// of the route's path, `{query}` the query with its question mark. Without a question mark and without `{query}`
        /// the query stays. The route is found by the path that the client sent.
        pub rewrite: Option<RewriteTo>,
        /// Content codings of responses, for clients that take them: on or off, or a table. On where nothing is said.
        pub compress: Option<Switch<Compress>>,
        /// A copy of requests for other backends, whose answers are thrown away: an address, a list of them, or a table.
        pub mirror: Option<Switch<Mirror>>,
        /// Changes of the fields of requests, before the handler sees them; an inner table has the last word.
        pub request_headers: Edit,
        /// Changes of the fields of responses, whoever made them; an inner table has the last word.
        pub response_headers: Edit,
    }
}

impl Policies {
    /// What each of them alone makes impossible.
    pub(super) fn check(&self, most: ByteSize, problems: &mut Problems) {
        if let Some(size) = self.body_size.filter(|size| *size > most) {
            let what = format!("{size} can never be sent: `limits.body_size` is {most}");
            let place = self.at.key("body_size");
            problems.contradiction(place, &what, "raise that, or lower this");
        }
        if let Some(in_flight) = &self.in_flight {
            in_flight.check(problems);
        }
        self.check_rates(problems);
        if let Some(cors) = self.cors.as_ref().and_then(Switch::on) {
            cors.check(problems);
        }
        if let Some(compress) = self.compress.as_ref().and_then(Switch::on) {
            compress.check(problems);
        }
        self.check_access(problems);
        self.request_headers.check(problems);
        self.response_headers.check(problems);
    }

    /// A limit that is there twice takes two units for each request.
    fn check_rates(&self, problems: &mut Problems) {
        let limits = self.rate_limit.as_ref().map_or(&[][..], |limits| &limits.0);
        for (i, limit) in limits.iter().enumerate() {
            if limits.iter().take(i).any(|before| before == limit) {
                let what = format!("`{limit}` is there twice");
                let place = self.at.key("rate_limit");
                problems.contradiction(place, &what, "leave one of them out");
            }
        }
    }
}

/// The policies of a route and of the tables around it, outermost first.
#[derive(Clone, Debug)]
pub(super) struct Layers<'a>(Vec<&'a Policies>, Vec<String>);

impl<'a> Layers<'a> {
    pub(super) fn of(outermost: &'a Policies) -> Self {
        Self(vec![outermost], vec!["defaults".to_owned()])
    }

    /// With those of an inner table; what lives longer than a configuration, such as the buckets of a rate limit, belongs
    /// to its `name`.
    pub(super) fn and<'b>(&self, inner: &'b Policies, name: String) -> Layers<'b>
    where
        'a: 'b,
    {
        let names = self.1.iter().cloned().chain([name]);
        Layers(self.0.iter().copied().chain([inner]).collect(), names.collect())
    }

    /// What the innermost that says anything says.
    fn last<T>(&self, of: impl Fn(&'a Policies) -> Option<T>) -> Option<T> {
        self.0.iter().rev().copied().find_map(of)
    }

    /// The same, with the name of its table.
    fn last_named<T>(&self, of: impl Fn(&'a Policies) -> Option<T>) -> Option<(T, &str)> {
        let named = self.0.iter().copied().zip(self.1.iter().map(String::as_str));
        named.rev().find_map(|(policies, name)| Some((of(policies)?, name)))
    }

    /// The name of the innermost.
    fn innermost(&self) -> String {
        self.1.last().cloned().unwrap_or_default()
    }

    /// All of them, one after the other.
    fn edit(&self, of: impl Fn(&Policies) -> &Edit) -> headers::Edit {
        let edits = self.0.iter().map(|policies| of(policies).build());
        edits.fold(headers::Edit::default(), |outer, inner| outer.then(&inner))
    }

    /// In the one order that there is: names, fields of the response, limits, access control, CORS, fields and path of the
    /// request, compression.
    pub(super) fn build(&self, opening: &mut Opening<'_>) -> Vec<middleware::Config> {
        let limit = self.last(|policies| policies.body_size);
        let limit = limit.map(|size| body_limit::Config { max_size: size.0 });
        let in_flight = self.last_named(|policies| policies.in_flight.as_ref());
        let rate_limit = self.last_named(|policies| policies.rate_limit.as_ref());
        let bandwidth = self.last_named(|policies| policies.bandwidth.as_ref());
        let in_flight = in_flight.map(|(limit, scope)| limit.build(scope));
        let rate_limit = rate_limit.map(|(limits, scope)| rate_limit::Config {
            scope: scope.to_owned(),
            route: self.innermost(),
            limits: limits.0.clone(),
        });
        let bandwidth = bandwidth.map(|(limit, scope)| bandwidth::Config {
            scope: scope.to_owned(),
            route: self.innermost(),
            limit: limit.clone(),
        });
        let rate = self.last(|policies| policies.body_min_rate);
        let rate = rate.map(|rate| body_rate::Config { rate: rate.limit() });
        let (response, request) = self.headers();
        let cors = self.last(|policies| policies.cors.as_ref());
        let cors = cors.and_then(Switch::on).map(Cors::build);
        let outside = [
            self.early_data().map(middleware::Config::EarlyData),
            self.request_id().map(middleware::Config::RequestId),
            self.trace_context().map(middleware::Config::TraceContext),
            response.map(middleware::Config::Headers),
            cors.clone().map(middleware::Config::Cors),
            rate_limit.map(middleware::Config::RateLimit),
            in_flight.map(middleware::Config::InFlight),
            bandwidth.map(middleware::Config::Bandwidth),
            limit.map(middleware::Config::BodyLimit),
            rate.map(middleware::Config::BodyRate),
        ];
        let inside = [
            cors.map(middleware::Config::Preflight),
            request.map(middleware::Config::Headers),
            self.rewrite().map(middleware::Config::Rewrite),
            self.compress().map(middleware::Config::Compress),
            self.mirror(opening).map(|mirror| middleware::Config::Mirror(Box::new(mirror))),
        ];
        let access = self.access(opening);
        outside.into_iter().flatten().chain(access).chain(inside.into_iter().flatten()).collect()
    }

    /// Changes of fields: of the response, outside of whoever answers, and of the request, before the handler.
    fn headers(&self) -> (Option<headers::Config>, Option<headers::Config>) {
        let response = self.edit(|policies| &policies.response_headers);
        let request = self.edit(|policies| &policies.request_headers);
        let station = |response: headers::Edit, request: headers::Edit| {
            let is_empty = response.is_empty() && request.is_empty();
            (!is_empty).then_some(headers::Config { request, response })
        };
        (station(response, headers::Edit::default()), station(headers::Edit::default(), request))
    }

    /// Whether responses tell of it is said for the whole file.
    fn early_data(&self) -> Option<middleware::early_data::Config> {
        let mode = self.last(|policies| policies.early_data)?.mode();
        Some(middleware::early_data::Config { mode, tells: false })
    }

    fn request_id(&self) -> Option<middleware::request_id::Config> {
        let said = self.last(|policies| policies.request_id.as_ref())?;
        said.on().map(RequestId::build)
    }

    fn trace_context(&self) -> Option<middleware::trace_context::Config> {
        self.last(|policies| policies.trace_context)?.build()
    }

    fn rewrite(&self) -> Option<rewrite::Config> {
        let strip = self.last(|policies| policies.strip_prefix.as_ref());
        let strip = strip.map(|strip| strip.prefix.clone());
        let template = self.last(|policies| policies.rewrite.as_ref());
        let template = template.map(|rewrite| rewrite.template.clone());
        (strip.is_some() || template.is_some()).then_some(rewrite::Config { strip, template })
    }

    fn mirror(&self, opening: &mut Opening<'_>) -> Option<middleware::mirror::Config> {
        let said = self.last(|policies| policies.mirror.as_ref())?;
        said.on()?.build(opening.name, opening.problems)
    }

    /// On where nothing is said.
    fn compress(&self) -> Option<middleware::compress::Config> {
        match self.last(|policies| policies.compress.as_ref()) {
            None => Some(middleware::compress::Config::default()),
            Some(said) => said.on().map(Compress::build),
        }
    }

    /// Whether preflights are answered.
    pub(super) fn has_cors(&self) -> bool {
        self.last(|policies| policies.cors.as_ref()).is_some_and(|cors| cors.on().is_some())
    }
}

#[cfg(test)]
mod tests;
