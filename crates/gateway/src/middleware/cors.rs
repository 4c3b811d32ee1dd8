//! Which other sites may read the responses of a route in a browser (CORS, the Fetch standard §3.2).
//!
//! Two stations. [`Cors`] is before the limits and access control: it notes whose page asks, so that every answer can be
//! read by it, a 401 and a 429 too, and it marks a preflight. [`Preflight`] is behind access control and answers what was
//! marked: networks may refuse a preflight, but who asks for credentials lets it pass, for browsers send none with it.
//! What the handler itself says about other origins is replaced: one of the two has to decide.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, ORIGIN,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::{Middleware, Step};
use crate::body::Body;
use crate::exchange::Exchange;
use crate::{Request, Response, vary};

/// Configuration of `cors`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Who may read.
    pub origins: Vec<Origin>,
    /// With which methods.
    pub methods: Vec<Method>,
    /// Which fields a request may have; `None` is every field.
    pub headers: Option<Vec<HeaderName>>,
    /// Which fields of a response may be read.
    pub expose: Vec<HeaderName>,
    /// Whether cookies and the like come along.
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight.
    pub max_age: Duration,
    /// Whether pages of the internet may reach this private network.
    pub private_network: bool,
}

/// A site: `https://app.example`, all subdomains of one as `https://*.app.example`, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Every one.
    Any,
    /// This.
    Exact(String),
    /// What begins so, ends so, and has a name or more in between.
    Below(String, String),
}

/// Why a text is no [`Origin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not an origin: write a scheme and a host, such as `https://app.example`, without a path"
)]
pub struct NotAnOrigin;

impl FromStr for Origin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, rest) = text.split_once("://").ok_or(NotAnOrigin)?;
        let is_scheme =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_host = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte)
        };
        let host = rest.strip_prefix("*.").unwrap_or(rest);
        // As browsers write it: in small letters, and without the port that the scheme has anyway.
        let is_default = (scheme == "https" && host.ends_with(":443"))
            || (scheme == "http" && host.ends_with(":80"));
        let is_one = !scheme.is_empty()
            && scheme.bytes().all(is_scheme)
            && !host.is_empty()
            && host.bytes().all(is_host)
            && !is_default;
        if !is_one {
            return Err(NotAnOrigin);
        }
        Ok(if host.len() < rest.len() {
            Self::Below(format!("{scheme}://"), format!(".{host}"))
        } else {
            Self::Exact(text.to_owned())
        })
    }
}

impl Origin {
    fn takes(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(one) => one.as_bytes() == origin,
            Self::Below(scheme, end) => origin
                .strip_prefix(scheme.as_bytes())
                .and_then(|rest| rest.strip_suffix(end.as_bytes()))
                .is_some_and(|name| {
                    // No other host and no user may stand in front.
                    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
                    !name.is_empty() && name.iter().all(is_name)
                }),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(one) => f.write_str(one),
            Self::Below(scheme, end) => write!(f, "{scheme}*{end}"),
        }
    }
}

impl Config {
    pub(crate) fn build(&self) -> Cors {
        Cors {
            is_any: self.origins.contains(&Origin::Any),
            expose: (!self.expose.is_empty()).then(|| list(&self.expose)),
            config: self.clone(),
        }
    }

    pub(crate) fn build_preflight(&self) -> Preflight {
        Preflight {
            methods: list(&self.methods),
            headers: self.headers.as_deref().map(list),
            max_age: HeaderValue::from(self.max_age.as_secs()),
            private_network: self.private_network,
        }
    }
}

/// Notes who asks, and says in every answer whether they may read it.
#[derive(Debug)]
pub(crate) struct Cors {
    config: Config,
    is_any: bool,
    expose: Option<HeaderValue>,
}

impl Middleware for Cors {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        if let Some(origin) = request.headers().get(ORIGIN) {
            if self.config.origins.iter().any(|one| one.takes(origin.as_bytes())) {
                exchange.notes_mut().allow_origin =
                    Some(if self.is_any { ANY } else { origin.clone() });
            }
            if is_preflight(request) {
                exchange.set_preflight();
            }
        }
        Step::pass()
    }

    fn on_response(&self, exchange: &mut Exchange, mut response: Response) -> Response {
        let headers = response.headers_mut();
        if !exchange.is_preflight() {
            for name in OF_A_RESPONSE {
                headers.remove(name);
            }
        }
        if !self.is_any {
            vary::add(headers, ORIGIN);
        }
        let origin = exchange.notes().and_then(|notes| notes.allow_origin.clone());
        let Some(origin) = origin else { return response };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.config.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(expose) = self.expose.as_ref().filter(|_| !exchange.is_preflight()) {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
        response
    }
}

/// Answers preflights.
#[derive(Debug)]
pub(crate) struct Preflight {
    methods: HeaderValue,
    /// Without them, whatever is asked for.
    headers: Option<HeaderValue>,
    max_age: HeaderValue,
    private_network: bool,
}

impl Middleware for Preflight {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        if !exchange.is_preflight() {
            return Step::pass();
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        // Who may not read is not told what others may.
        if exchange.notes().is_some_and(|notes| notes.allow_origin.is_some()) {
            self.allow(request.headers(), headers);
        }
        vary::add(headers, ACCESS_CONTROL_REQUEST_METHOD);
        vary::add(headers, ACCESS_CONTROL_REQUEST_HEADERS);
        Step::answer(response)
    }
}

impl Preflight {
    fn allow(&self, asked: &HeaderMap, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        let wanted = asked.get(ACCESS_CONTROL_REQUEST_HEADERS);
        // A star would not stand for `Authorization`, nor for anything where credentials come along: the fields
        // themselves are said again.
        let fields = wanted.and_then(|wanted| match &self.headers {
            Some(fields) => Some(fields.clone()),
            None => is_list(wanted).then(|| wanted.clone()),
        });
        if let Some(fields) = fields {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, fields);
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        if self.private_network && asked.contains_key(REQUEST_PRIVATE_NETWORK) {
            headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
    }
}

/// Whether a browser asks what a later request may do.
pub(crate) fn is_preflight(request: &Request) -> bool {
    *request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whether it is a list of names of fields, and so cannot say anything else in a response.
fn is_list(value: &HeaderValue) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_, ".contains(byte);
    value.as_bytes().iter().all(is_plain)
}

fn list(names: &[impl AsRef<str>]) -> HeaderValue {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    // Names are visible ASCII.
    HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

const ANY: HeaderValue = HeaderValue::from_static("*");
const OF_A_RESPONSE: [HeaderName; 3] =
    [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_EXPOSE_HEADERS];
/// Private Network Access, a draft of the WICG.
const REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");

#[cfg(test)]
mod tests;
