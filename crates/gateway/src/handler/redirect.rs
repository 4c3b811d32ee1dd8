//! Sends clients elsewhere: a status and a `Location` made from the request.
//!
//! What stands in the request can never choose another host than the configuration does, unless the
//! configuration says `{host}`, which is the host that the client asked by itself.

use std::fmt::Write;
use std::str::FromStr;

use http::header::{HOST, LOCATION};
use http::uri::Authority;
use http::{HeaderValue, StatusCode};

use super::Handler;
use crate::error::{Error, page};
use crate::exchange::Exchange;
use crate::{Request, Response};

/// Configuration of `redirect`.
#[derive(Clone, Debug)]
pub struct Config {
    /// 301, 302, 303, 307 or 308. Default: 308, which keeps the method.
    pub status: StatusCode,
    /// Where to.
    pub target: Target,
}

impl Config {
    /// To `target` for good.
    pub fn new(target: Target) -> Self {
        Self { status: StatusCode::PERMANENT_REDIRECT, target }
    }

    pub(crate) fn build(&self) -> Redirect {
        Redirect { config: self.clone() }
    }
}

/// Where to send a client, such as `https://{host}{path}{query}` or `/new{path}`.
///
/// `{host}` is the host of the request without its port; `{path}` its path as it was sent, with the slash in
/// front; `{query}` its query with the question mark, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Host,
    Path,
    Query,
}

/// Why a text is no [`Target`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATarget {
    /// There is nothing.
    #[error("write where to, such as `https://example.com{{path}}{{query}}`")]
    Empty,
    /// What stands in braces is not known.
    #[error("`{{{0}}}` is not known: write `{{host}}`, `{{path}}` or `{{query}}`")]
    Placeholder(String),
    /// A brace without its other half.
    #[error("a brace without its other half")]
    Brace,
    /// A character that a URL cannot have.
    #[error("`{}` cannot be in a URL: encode it with `%`", _0.escape_default())]
    Character(char),
    /// Neither a path nor a URL: a client would read it as relative to where it is.
    #[error("begin with `/`, `{{path}}` or a scheme such as `https://`")]
    Relative,
}

impl FromStr for Target {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, NotATarget> {
        if let Some(bad) = text.chars().find(|&c| !c.is_ascii_graphic() || "\"<>\\^`|".contains(c))
        {
            return Err(NotATarget::Character(bad));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from_brace) = rest.split_at(at);
            let inner = from_brace.strip_prefix('{').ok_or(NotATarget::Brace)?;
            let (name, after) = inner.split_once('}').ok_or(NotATarget::Brace)?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(match name {
                "host" => Piece::Host,
                "path" => Piece::Path,
                "query" => Piece::Query,
                _ => return Err(NotATarget::Placeholder(name.to_owned())),
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        match pieces.first() {
            None => Err(NotATarget::Empty),
            Some(Piece::Path) => Ok(Self { pieces }),
            Some(Piece::Text(text)) if text.starts_with('/') || text.contains("://") => {
                Ok(Self { pieces })
            }
            Some(_) => Err(NotATarget::Relative),
        }
    }
}

impl Target {
    /// The URL for a request; `None` when the request lacks what it is made of.
    fn of(&self, request: &Request) -> Option<String> {
        let mut url = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => url.push_str(text),
                Piece::Host => url.push_str(&host(request)?),
                Piece::Path => {
                    let path = request.uri().path();
                    url.push_str(path.starts_with('/').then_some(path)?);
                }
                Piece::Query => {
                    if let Some(query) = request.uri().query() {
                        // Writing to a `String` does not fail.
                        let _ = write!(url, "?{query}");
                    }
                }
            }
        }
        Some(self.keep_on_this_host(url))
    }

    /// Two slashes at the beginning would be the host of another server to a client, and so would be a
    /// backslash after a slash; those that the configuration wrote may stand.
    fn keep_on_this_host(&self, url: String) -> String {
        let is_meant = match self.pieces.first() {
            Some(Piece::Text(text)) => !text.starts_with('/') || text.starts_with("//"),
            _ => false,
        };
        if is_meant || !url.starts_with('/') {
            return url;
        }
        format!("/{}", url.trim_start_matches(['/', '\\']))
    }
}

/// The host of a request without its port, if it is one.
fn host(request: &Request) -> Option<String> {
    let named = match request.uri().authority() {
        Some(authority) => authority.clone(),
        None => Authority::try_from(request.headers().get(HOST)?.as_bytes()).ok()?,
    };
    let host = named.host();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_plain)).then(|| host.to_owned())
}

/// Redirects every request.
#[derive(Debug)]
pub(crate) struct Redirect {
    config: Config,
}

impl Handler for Redirect {
    async fn handle(&self, _: &mut Exchange, request: &mut Request) -> Result<Response, Error> {
        let url = self.config.target.of(request).ok_or(Error::Malformed)?;
        let location = HeaderValue::try_from(url).map_err(|_| Error::Malformed)?;
        let mut response = page(self.config.status, request.headers());
        response.headers_mut().insert(LOCATION, location);
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a request is sent, or the status of its refusal.
    async fn location(target: &str, uri: &str, host: Option<&str>) -> Result<String, u16> {
        let mut request = http::Request::builder().uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let mut request = request.body(sterna_net::Body::empty()).expect("a request");
        let redirect = Config::new(target.parse().expect("a target")).build();
        let response = redirect
            .handle(&mut Exchange::begin(&request, None), &mut request)
            .await
            .map_err(|e| e.status().as_u16())?;
        assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
        Ok(response.headers()[LOCATION].to_str().expect("text").to_owned())
    }

    #[tokio::test]
    async fn the_target_is_filled_from_the_request() {
        let whole = "https://{host}:8443{path}{query}";
        for (target, uri, host, expected) in [
            (whole, "/a%20b?x=1", Some("example.com:8080"), "https://example.com:8443/a%20b?x=1"),
            (whole, "/", Some("[::1]:80"), "https://[::1]:8443/"),
            (
                whole,
                "http://other.example:1/x",
                Some("example.com"),
                "https://other.example:8443/x",
            ),
            (whole, "http://user@example.com/", None, "https://example.com:8443/"),
            ("/new{path}", "/a?gone", None, "/new/a"),
            ("{path}/{query}", "/a?b", None, "/a/?b"),
            ("https://example.com/", "/anything", None, "https://example.com/"),
        ] {
            assert_eq!(
                location(target, uri, host).await.as_deref(),
                Ok(expected),
                "{target} {uri}"
            );
        }
    }

    #[tokio::test]
    async fn no_path_chooses_another_host() {
        for uri in ["//evil.example/x", "///evil.example/x", "/%5cevil.example", "/./evil.example"]
        {
            let to = location("{path}", uri, None).await.expect("a location");
            assert!(!to.starts_with("//") && !to.starts_with("/\\"), "{uri} becomes {to}");
        }
        assert_eq!(
            location("{path}", "//evil.example/x", None).await.as_deref(),
            Ok("/evil.example/x")
        );
        assert_eq!(location("/{path}", "//e.example", None).await.as_deref(), Ok("/e.example"));
        let outside = location("https://a.example{path}", "//e.example", None).await;
        assert_eq!(outside.as_deref(), Ok("https://a.example//e.example"));
        let meant = location("//cdn.example{path}", "/x", None).await;
        assert_eq!(meant.as_deref(), Ok("//cdn.example/x"));
    }

    #[tokio::test]
    async fn a_request_that_lacks_what_the_target_needs_is_400() {
        let whole = "https://{host}{path}";
        for (uri, host) in [
            ("/", None),
            ("/", Some("")),
            ("/", Some("a b")),
            ("/", Some("a.example/x")),
            ("/", Some("a*b.example")),
            ("*", Some("a.example")),
        ] {
            assert_eq!(location(whole, uri, host).await, Err(400), "{uri} {host:?}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", NotATarget::Empty),
            ("{port}", NotATarget::Placeholder("port".into())),
            ("/{path", NotATarget::Brace),
            ("/path}", NotATarget::Brace),
            ("/a b", NotATarget::Character(' ')),
            ("/a\nb", NotATarget::Character('\n')),
            ("new", NotATarget::Relative),
            ("{host}", NotATarget::Relative),
            ("{query}", NotATarget::Relative),
        ] {
            assert_eq!(text.parse::<Target>(), Err(reason), "{text:?}");
        }
    }
}
