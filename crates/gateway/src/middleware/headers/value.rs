//! The value of a field, as it is written or made of the request.

use std::fmt::Write;
use std::net::IpAddr;
use std::str::FromStr;

use bytes::Bytes;
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, uri::Scheme};
use sterna_net::RequestContext;

use crate::Request;
use crate::exchange::Exchange;

/// The value of a field: a text, in which `{client}` and the like stand for what they are of the request.
///
/// Braces around anything but small letters stand for themselves, as in a value that is JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The same for every request.
    Fixed(HeaderValue),
    /// Made of the request.
    Template(Vec<Piece>),
}

/// A part of a [`Value`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it is written.
    Text(String),
    /// Of the request.
    Variable(Variable),
}

/// What a value can be made of. All of it is as the client asked, whatever a rewrite makes of it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The client's address.
    Client,
    /// The host that was asked, with its port if it has one.
    Host,
    /// `https` or `http`.
    Proto,
    /// The method.
    Method,
    /// The path, as it was sent.
    Path,
    /// The query with its question mark, or nothing.
    Query,
    /// The name of the request, or nothing where it has none.
    RequestId,
}

/// Why a text is no [`Value`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAValue {
    /// Control characters end fields.
    #[error("has a character that no field can carry")]
    Character,
    /// A variable of another name.
    #[error(
        "has `{{{0}}}`, which is not known: `{{client}}`, `{{host}}`, `{{proto}}`, `{{method}}`, `{{path}}`, `{{query}}` and `{{request_id}}` are"
    )]
    Variable(String),
}

impl Variable {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "client" => Self::Client,
            "host" => Self::Host,
            "proto" => Self::Proto,
            "method" => Self::Method,
            "path" => Self::Path,
            "query" => Self::Query,
            "request_id" => Self::RequestId,
            _ => return None,
        })
    }

    fn write(self, exchange: &Exchange, request: &Request, to: &mut String) {
        match self {
            // Writing to a `String` does not fail.
            Self::Client => drop(exchange.client(request).map(|ip: IpAddr| write!(to, "{ip}"))),
            Self::Host => to.push_str(&host(request).unwrap_or_default()),
            Self::Proto => to.push_str(proto(request)),
            Self::Method => to.push_str(request.method().as_str()),
            Self::Path => to.push_str(request.uri().path()),
            Self::Query => drop(request.uri().query().map(|query| write!(to, "?{query}"))),
            Self::RequestId => {
                let id = exchange.notes().and_then(|notes| notes.request_id.as_ref());
                to.push_str(id.and_then(|id| id.to_str().ok()).unwrap_or_default());
            }
        }
    }
}

impl FromStr for Value {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        let fixed = HeaderValue::try_from(text).map_err(|_| NotAValue::Character)?;
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            plain.push_str(before);
            rest = after;
            let name = after.split_once('}').filter(|(name, _)| is_name(name));
            let Some((name, after)) = name else {
                plain.push('{');
                continue;
            };
            let variable = Variable::named(name);
            let variable = variable.ok_or_else(|| NotAValue::Variable(name.to_owned()))?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Variable(variable));
            rest = after;
        }
        if pieces.is_empty() {
            return Ok(Self::Fixed(fixed));
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self::Template(pieces))
    }
}

/// Whether braces around it are meant: JSON has none such.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

impl Value {
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    /// The value for a request; `None` when it would be empty, or nothing that a field can carry.
    pub(crate) fn of(&self, exchange: &Exchange, request: &Request) -> Option<HeaderValue> {
        let pieces = match self {
            Self::Fixed(value) => return Some(value.clone()),
            Self::Template(pieces) => pieces,
        };
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Variable(variable) => variable.write(exchange, request, &mut text),
            }
        }
        if text.is_empty() {
            return None;
        }
        HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
    }
}

impl From<HeaderValue> for Value {
    fn from(value: HeaderValue) -> Self {
        Self::Fixed(value)
    }
}

/// The host that was asked, if it is one.
fn host(request: &Request) -> Option<String> {
    let named = match request.uri().authority() {
        Some(authority) => authority.clone(),
        None => Authority::try_from(request.headers().get(HOST)?.as_bytes()).ok()?,
    };
    // Without what may stand in front of an `@`.
    let text = named.as_str();
    Some(text.rsplit_once('@').map_or(text, |(_, host)| host).to_owned())
}

fn proto(request: &Request) -> &'static str {
    let is_tls = match RequestContext::of(request) {
        Some(context) => context.tls().is_some(),
        None => request.uri().scheme() == Some(&Scheme::HTTPS),
    };
    if is_tls { "https" } else { "http" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, uri: &str) -> Option<String> {
        let request = http::Request::builder().uri(uri).header(HOST, "a.test:8443");
        let request = request.body(sterna_net::Body::empty()).expect("a request");
        let mut exchange = Exchange::begin(&request, None);
        exchange.notes_mut().request_id = Some(HeaderValue::from_static("id-1"));
        let value: Value = text.parse().expect("a value");
        let made = value.of(&exchange, &request)?;
        Some(made.to_str().expect("text").to_owned())
    }

    #[test]
    fn a_value_is_made_of_the_request() {
        for (text, expected) in [
            ("plain", "plain"),
            ("{host}", "a.test:8443"),
            ("{proto}://{host}{path}{query}", "http://a.test:8443/a%20b?x=1"),
            ("<{request_id}>", "<id-1>"),
            ("{method}", "GET"),
            ("[{client}]", "[]"),
        ] {
            assert_eq!(value(text, "/a%20b?x=1").as_deref(), Some(expected), "{text}");
        }
        assert_eq!(value("{query}", "/"), None, "a value without a character");
        assert_eq!(value("{host}{proto}", "https://u:p@b.test/").as_deref(), Some("b.testhttps"));
    }

    #[test]
    fn braces_of_json_stand_for_themselves() {
        for text in [r#"{"group":"a","max_age":1}"#, "{}", "{ client }", "a{b", "}{", "{Client}"] {
            assert_eq!(value(text, "/").as_deref(), Some(text), "{text}");
        }
        assert_eq!(value(r#"{"id":"{request_id}"}"#, "/").as_deref(), Some(r#"{"id":"id-1"}"#));
    }

    #[test]
    fn a_name_that_is_not_known_is_refused_with_those_that_are() {
        let error = "{clinet}".parse::<Value>().expect_err("not known");
        assert_eq!(error, NotAValue::Variable("clinet".to_owned()));
        assert_eq!("a\nb".parse::<Value>(), Err(NotAValue::Character));
    }
}
