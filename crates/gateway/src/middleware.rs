//! What a request passes on its way to the handler, and its response on the way back.
//!
//! To add a middleware: write `middleware/<name>.rs` with its `Config`, `build` and tests, add its
//! variant to [`Config`] and its arm to [`Config::build`]. Nothing else changes.

use std::ops::ControlFlow;
use std::pin::Pin;

use crate::error::Error;
use crate::exchange::Exchange;
use crate::shared::Build;
use crate::{Request, Response};

pub mod bandwidth;
pub mod basic_auth;
pub mod body_limit;
pub mod body_rate;
pub mod canary;
pub mod client_auth;
pub mod compress;
pub mod cors;
pub mod country;
pub mod early_data;
pub mod forward_auth;
pub mod headers;
pub mod in_flight;
pub mod jwt;
pub mod mirror;
pub mod networks;
pub mod rate_limit;
pub mod request_id;
pub mod rewrite;
pub mod trace_context;

/// A station between the route and its handler.
pub trait Middleware {
    /// Lets a request pass, changed or not, or answers it here.
    fn on_request<'a>(
        &'a self,
        _exchange: &'a mut Exchange,
        _request: &'a mut Request,
    ) -> Step<'a> {
        Step::pass()
    }

    /// Sees the answer to a request that it let pass or answered.
    fn on_response(&self, _exchange: &mut Exchange, response: Response) -> Response {
        response
    }
}

/// What becomes of a request at a station.
pub enum Step<'a> {
    /// It is known at once: no box for those who need not wait.
    Now(Verdict),
    /// Something has to be asked first.
    Later(Pin<Box<dyn Future<Output = Verdict> + 'a>>),
}

/// The next station, or the end here with an answer or an error.
pub type Verdict = ControlFlow<Result<Response, Error>>;

impl Step<'_> {
    /// On to the next station.
    pub const fn pass() -> Self {
        Self::Now(ControlFlow::Continue(()))
    }

    /// It ends here with this answer.
    pub const fn answer(response: Response) -> Self {
        Self::Now(ControlFlow::Break(Ok(response)))
    }

    /// It ends here with an error.
    pub const fn refuse(error: Error) -> Self {
        Self::Now(ControlFlow::Break(Err(error)))
    }

    pub(crate) async fn verdict(self) -> Verdict {
        match self {
            Self::Now(verdict) => verdict,
            Self::Later(verdict) => verdict.await,
        }
    }
}

/// Which middleware, and how.
#[derive(Clone, Debug)]
pub enum Config {
    /// Who may come in by a certificate of TLS.
    ClientAuth(client_auth::Config),
    /// What is answered before the handshake is complete.
    EarlyData(early_data::Config),
    /// How many requests are in work at once.
    InFlight(in_flight::Config),
    /// How often a client may ask.
    RateLimit(rate_limit::Config),
    /// How fast responses are sent.
    Bandwidth(bandwidth::Config),
    /// How much a client may send.
    BodyLimit(body_limit::Config),
    /// How fast a client must send.
    BodyRate(body_rate::Config),
    /// A name for each request.
    RequestId(request_id::Config),
    /// The trace that a request is a part of.
    TraceContext(trace_context::Config),
    /// Who may come in by address.
    Networks(networks::Config),
    /// Who may come in by country.
    Country(country::Config),
    /// Names and passwords.
    BasicAuth(basic_auth::Config),
    /// Tokens of an issuer.
    Jwt(jwt::Config),
    /// Another server decides.
    ForwardAuth(forward_auth::Config),
    /// Fields of requests and responses, set, added or removed.
    Headers(headers::Config),
    /// Which other sites may read the answers.
    Cors(cors::Config),
    /// Answers to those which ask first, behind access control.
    Preflight(cors::Config),
    /// Another path for the handler.
    Rewrite(rewrite::Config),
    /// Content codings.
    Compress(compress::Config),
    /// A copy for another upstream.
    Mirror(Box<mirror::Config>),
    /// Whether the canary answers.
    Canary(canary::Config),
}

impl Config {
    /// Whether it lets in by the client's address, which is only claimed before the handshake is complete.
    pub(crate) fn goes_by_address(&self) -> bool {
        match self {
            Self::Networks(_) | Self::Country(_) => true,
            Self::RateLimit(config) => {
                config.limits.iter().any(|limit| limit.key == rate_limit::Key::Ip)
            }
            _ => false,
        }
    }

    pub(crate) fn build(&self, build: Build<'_>) -> Box<dyn Middleware> {
        match self {
            Self::ClientAuth(config) => Box::new(config.build()),
            Self::EarlyData(config) => Box::new(config.build()),
            Self::InFlight(config) => Box::new(config.build(build)),
            Self::RateLimit(config) => Box::new(config.build(build)),
            Self::Bandwidth(config) => Box::new(config.build(build)),
            Self::BodyLimit(config) => Box::new(config.build()),
            Self::BodyRate(config) => Box::new(config.build()),
            Self::RequestId(config) => Box::new(config.build()),
            Self::TraceContext(config) => Box::new(config.build()),
            Self::Networks(config) => Box::new(config.build()),
            Self::Country(config) => Box::new(config.build()),
            Self::BasicAuth(config) => Box::new(config.build(build)),
            Self::Jwt(config) => Box::new(config.build(build)),
            Self::ForwardAuth(config) => Box::new(config.build(build)),
            Self::Headers(config) => Box::new(config.build()),
            Self::Cors(config) => Box::new(config.build()),
            Self::Preflight(config) => Box::new(config.build_preflight()),
            Self::Rewrite(config) => Box::new(config.build(build)),
            Self::Compress(config) => Box::new(config.build(build)),
            Self::Mirror(config) => Box::new(config.build(build)),
            Self::Canary(config) => Box::new(config.build()),
        }
    }
}
