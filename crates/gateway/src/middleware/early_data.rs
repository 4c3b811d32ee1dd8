//! Which requests are answered that came in early data (0-RTT, RFC 8470), and which wait for the handshake first.
//!
//! Whoever keeps the first flight of a client may send it again, and the guard of the endpoint, which lets none come twice,
//! is one server's alone. So by default only what may happen twice is answered at once: a method that is safe, without
//! content. The rest waits, which costs it a round trip and spares the client a 425.

use std::ops::ControlFlow;

use http::{HeaderName, HeaderValue};
use http_body::Body as _;
use sterna_net::RequestContext;

use super::{Middleware, Step};
use crate::error::Error;
use crate::exchange::Exchange;
use crate::{Request, Response};

/// Configuration of `early_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// What is answered at once.
    pub mode: Mode,
    /// Responses to what was answered at once say so, in `x-early-data`.
    pub tells: bool,
}

/// Which requests in early data are answered before the handshake is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Those with a safe method (RFC 9110 §9.2.1) and without content.
    #[default]
    Safe,
    /// None.
    Off,
    /// All: whoever answers takes care of replays, by what `Early-Data: 1` tells it.
    All,
}

impl Config {
    pub(crate) fn build(self) -> EarlyData {
        EarlyData(self)
    }
}

/// Holds requests back.
#[derive(Debug)]
pub(crate) struct EarlyData(Config);

impl EarlyData {
    // req: 8470-3-unsafe-methods
    fn may_go(&self, request: &Request) -> bool {
        match self.0.mode {
            Mode::Safe => request.method().is_safe() && request.body().is_end_stream(),
            Mode::Off => false,
            Mode::All => true,
        }
    }
}

impl Middleware for EarlyData {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        let Some(context) = RequestContext::of(request).filter(|context| context.is_early()) else {
            return Step::pass();
        };
        if self.may_go(request) {
            exchange.is_early = true;
            return Step::pass();
        }
        Step::Later(Box::pin(async move {
            match context.handshake().await {
                Ok(()) => ControlFlow::Continue(()),
                // req: 8470-5.2-too-early
                Err(_) => ControlFlow::Break(Err(Error::TooEarly)),
            }
        }))
    }

    fn on_response(&self, exchange: &mut Exchange, mut response: Response) -> Response {
        if self.0.tells && exchange.is_early {
            response.headers_mut().insert(X_EARLY_DATA, HeaderValue::from_static("accepted"));
        }
        response
    }
}

const X_EARLY_DATA: HeaderName = HeaderName::from_static("x-early-data");

#[cfg(test)]
mod tests {
    use http::Method;
    use sterna_net::Body;

    use super::*;

    fn goes(mode: Mode, method: Method, body: Body) -> bool {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        Config { mode, tells: false }.build().may_go(&request)
    }

    // req: 8470-3-unsafe-methods
    #[test]
    fn what_may_not_happen_twice_waits_for_the_handshake() {
        for (method, is_safe) in [
            (Method::GET, true),
            (Method::HEAD, true),
            (Method::OPTIONS, true),
            (Method::POST, false),
            (Method::PUT, false),
            (Method::DELETE, false),
            (Method::PATCH, false),
            (Method::from_bytes(b"BUY").unwrap(), false),
        ] {
            assert_eq!(goes(Mode::Safe, method.clone(), Body::empty()), is_safe, "{method}");
            assert!(!goes(Mode::Safe, method.clone(), Body::full("x")), "{method} with content");
            assert!(!goes(Mode::Off, method.clone(), Body::empty()), "{method}");
            assert!(goes(Mode::All, method.clone(), Body::full("x")), "{method}");
        }
    }
}
