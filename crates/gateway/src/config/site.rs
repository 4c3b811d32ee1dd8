//! Sites and their routes.

use std::fmt;
use std::str::FromStr;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;

use super::canary::Canary;
use super::clients::Clients;
use super::policies::Policies;
use super::problem::{Mistake, Problems};
use super::proxy::{Proxy, Reaching};
use super::setting::{FilePath, Named, Setting, Several, choice, section, type_mistake, word};
use super::shape::Shape;
use super::tls::Tls;
use super::upstream::Balancing;
use super::value::{Kind, Text, Value};
use crate::handler::redirect;
use crate::route::condition::{Network, Wanted};
use crate::route::{self, host};

section! {
    /// What every site has that does not say otherwise.
    pub struct Defaults {
        /// The certificate of sites without one.
        pub tls: Option<Tls>,
        flatten
        /// Whom sites let in by their certificates.
        pub clients: Clients,
        flatten
        /// What requests meet before they are answered.
        pub policies: Policies,
        flatten
        /// How backends are chosen.
        pub balancing: Balancing,
    }
}

section! {
    /// What is served under a host. The most specific host wins: an exact name, then a wildcard, then `*`; a request
    /// never leaves the site of its host.
    ///
    /// `root`, `proxy`, `respond` or `redirect` answers what no route of the site takes; one of them or a route must be there.
    pub struct Site {
        /// The hosts, without a port. A wildcard stands for one label.
        pub host: Several<host::Pattern> = Several(vec![host::Pattern::Any]),
        /// Its certificate.
        pub tls: Option<Tls>,
        /// Orders a certificate for each of its hosts from the authority of `[acme]`, and renews it.
        pub acme: bool = false,
        /// Serves the files of this directory: a path, or a table. Hidden files are not among them.
        pub root: Option<Root>,
        /// Passes requests on to these backends: an address, a list of them, or a table.
        pub proxy: Option<Proxy>,
        /// Answers every request with this: a text, or a table.
        pub respond: Option<Respond>,
        /// Sends clients elsewhere: a target, or a table.
        pub redirect: Option<Redirect>,
        /// What answers a share of the visitors in its place.
        pub canary: Option<Canary>,
        /// Routes, in any order: the most specific wins.
        pub route: Vec<Route>,
        flatten
        /// Whom it lets in by their certificates.
        pub clients: Clients,
        flatten
        /// How the backends of `proxy` are reached.
        pub reaching: Reaching,
        flatten
        /// What requests meet before they are answered.
        pub policies: Policies,
        flatten
        /// How backends are chosen.
        pub balancing: Balancing,
    }
}

section! {
    /// What is served for some paths of a site. `root`, `proxy`, `respond` or `redirect` answers; all conditions that are written must hold.
    ///
    /// The most specific path wins. From the left, at the first segment where two paths differ, a literal one beats a
    /// parameter, and a parameter beats the star. Among routes of the same path the one with more conditions wins; then
    /// `method` counts more than `header`, and that more than `query`, `client` and `protocol`, in this order.
    pub struct Route {
        /// The paths: `/about`, `/assets/*` for everything below, `/users/{id}` with any segment in place of the
        /// parameter. Compared decoded: `/%61` takes the route of `/a`.
        pub path: Several<route::Pattern>,
        /// The method is one of these.
        pub method: Option<Several<MethodName>>,
        /// Each of these fields says this; `*` takes any value.
        pub header: Named<WantedValue>,
        /// Each of these keys of the query says this, as it is sent; `*` takes any value.
        pub query: Named<WantedValue>,
        /// The client's address is in one of these networks.
        pub client: Option<Several<Network>>,
        /// The version of HTTP is one of these.
        pub protocol: Option<Several<Version>>,
        /// Serves the files of this directory, under the whole path of the request: a path, or a table.
        pub root: Option<Root>,
        /// Passes requests on to these backends: an address, a list of them, or a table.
        pub proxy: Option<Proxy>,
        /// Answers every request with this: a text, or a table.
        pub respond: Option<Respond>,
        /// Sends clients elsewhere: a target, or a table.
        pub redirect: Option<Redirect>,
        /// What answers a share of the visitors in its place.
        pub canary: Option<Canary>,
        flatten
        /// How the backends of `proxy` are reached.
        pub reaching: Reaching,
        flatten
        /// What requests meet before they are answered.
        pub policies: Policies,
        flatten
        /// How backends are chosen.
        pub balancing: Balancing,
    }
}

section! {
    /// Changes of header fields, such as `{ set = { x-frame-options = "DENY" }, remove = ["server"] }`. First fields are
    /// taken out, then set, then added.
    ///
    /// In a value stand for what they are of the request: `{client}`, the address; `{host}`, with its port; `{proto}`,
    /// `https` or `http`; `{method}`; `{path}`, as the client sent it; `{query}`, with its question mark; `{request_id}`.
    /// A field whose value would be empty is left out.
    pub struct Edit {
        /// Fields to set; each replaces what was there under its name.
        pub set: Named<Text>,
        /// Fields to add to those that are there: a value, or several.
        pub add: Named<Several<Text>>,
        /// Fields to take out.
        pub remove: Vec<FieldName>,
    }
}

section! {
    /// A directory, where its path alone is not enough.
    pub struct Files {
        /// The directory.
        pub path: FilePath,
        /// What stands for a directory: the first of these names that is a file in it.
        pub index: Vec<Text> = vec![Text::plain("index.html")],
        /// Sends `NAME.br`, `NAME.zst` or `NAME.gz` in place of `NAME` to clients that accept it, when it is not older.
        pub precompressed: bool = true,
        /// The file that answers 200 where there is none: the page of an application that reads its own path.
        pub fallback: Option<Text>,
        /// The file that is the content of a 404.
        pub not_found: Option<Text>,
        /// Lists directories without an index.
        pub listing: bool = false,
    }
}

/// A directory: its path, or a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Root(pub Files);

impl Setting for Root {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match &value.kind {
            Kind::Table(_) => Files::read(value, problems).map(Self),
            Kind::Text(_) => {
                let path = FilePath::read(value, problems)?;
                let index = vec![Text::plain("index.html")];
                let (fallback, not_found, at) = Default::default();
                let (precompressed, listing) = (true, false);
                Some(Self(Files { path, index, precompressed, fallback, not_found, listing, at }))
            }
            _ => type_mistake(value, "a string or a table", problems),
        }
    }

    fn shape() -> Shape {
        Shape::Either(vec![FilePath::shape(), Files::shape()])
    }
}

section! {
    /// A fixed answer, where a text alone is not enough.
    pub struct Answer {
        /// The status.
        pub status: Status = Status(StatusCode::OK),
        /// The content.
        pub body: Text = Text::plain(""),
        /// Its media type.
        pub content_type: MediaType = MediaType(HeaderValue::from_static("text/plain; charset=utf-8")),
    }
}

/// A fixed answer: a text, or a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Respond(pub Answer);

impl Setting for Respond {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match &value.kind {
            Kind::Table(_) => Answer::read(value, problems).map(Self),
            Kind::Text(text) => {
                let mut answer = Answer::missing()?;
                answer.body = text.clone();
                Some(Self(answer))
            }
            _ => type_mistake(value, "a string or a table", problems),
        }
    }

    fn shape() -> Shape {
        Shape::Either(vec![Text::shape(), Answer::shape()])
    }
}

section! {
    /// Sends clients elsewhere, where a target alone is not enough.
    pub struct Elsewhere {
        /// Where to: a URL or a path. `{host}` is the host of the request, `{path}` its path with the slash in front,
        /// `{query}` its query with the question mark.
        pub to: RedirectTarget,
        /// 301, 302, 303, 307, or 308, which is for good and keeps the method.
        pub status: RedirectStatus = RedirectStatus(StatusCode::PERMANENT_REDIRECT),
    }
}

/// A redirect: its target, or a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Redirect(pub Elsewhere);

impl Setting for Redirect {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match &value.kind {
            Kind::Table(_) => Elsewhere::read(value, problems).map(Self),
            Kind::Text(_) => {
                let to = RedirectTarget::read(value, problems)?;
                let status = RedirectStatus(StatusCode::PERMANENT_REDIRECT);
                Some(Self(Elsewhere { to, status, at: Default::default() }))
            }
            _ => type_mistake(value, "a string or a table", problems),
        }
    }

    fn shape() -> Shape {
        Shape::Either(vec![RedirectTarget::shape(), Elsewhere::shape()])
    }
}

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectTarget {
    pub(super) text: String,
    pub(super) target: redirect::Target,
}

impl FromStr for RedirectTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let target =
            text.parse().map_err(|error| format!("is no target of a redirect: {error}"))?;
        Ok(Self { text: text.to_owned(), target })
    }
}

impl fmt::Display for RedirectTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A status that sends a client elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectStatus(pub StatusCode);

impl Serialize for RedirectStatus {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u16(self.0.as_u16())
    }
}

impl Setting for RedirectStatus {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let Status(status) = Status::read(value, problems)?;
        if !REDIRECTS.contains(&status.as_u16()) {
            let read = status.as_u16().to_string();
            let reason = "is no status of a redirect: 301, 302, 303, 307 or 308".to_owned();
            problems.add(&value.place, Mistake::Value { read, reason });
            return None;
        }
        Some(Self(status))
    }

    fn shape() -> Shape {
        Shape::Integer { least: 301, most: 308 }
    }
}

/// Those which clients follow (RFC 9110 §15.4).
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// A status that can end a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub StatusCode);

impl Serialize for Status {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u16(self.0.as_u16())
    }
}

impl Setting for Status {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let Kind::Integer(number) = value.kind else {
            return type_mistake(value, "an integer", problems);
        };
        let (least, most) = STATUS;
        let code = u16::try_from(number).ok().filter(|_| (least..=most).contains(&number));
        let status = code.and_then(|code| StatusCode::from_u16(code).ok()).map(Self);
        if status.is_none() {
            problems.add(&value.place, Mistake::Range { read: number, least, most });
        }
        status
    }

    fn shape() -> Shape {
        Shape::Integer { least: STATUS.0, most: STATUS.1 }
    }
}

/// Final ones: those below announce another (RFC 9110 §15.2).
const STATUS: (i64, i64) = (200, 599);

/// The name of a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodName(pub Method);

impl FromStr for MethodName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_upper = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        let method = Method::from_bytes(text.as_bytes()).ok().filter(|_| is_upper);
        method.map(Self).ok_or("is not a method: write it in capitals, such as `GET`")
    }
}

/// The name of a header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldName(pub HeaderName);

impl FromStr for FieldName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| "is not the name of a header field")
    }
}

/// A media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType(pub HeaderValue);

impl FromStr for MediaType {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_like_one = text.contains('/') && text.is_ascii();
        let value = HeaderValue::from_str(text).ok().filter(|_| is_like_one);
        value.map(Self).ok_or("is not a media type such as `text/html; charset=utf-8`")
    }
}

/// What a field or a key of the query must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedValue(pub Wanted);

impl FromStr for WantedValue {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(match text {
            "*" => Wanted::Present,
            value => Wanted::Equal(value.to_owned()),
        }))
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

impl fmt::Display for WantedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

choice! {
    /// A version of HTTP.
    pub enum Version {
        /// HTTP/1.1 and HTTP/1.0.
        Http1 = "HTTP/1.1",
        /// HTTP/2.
        Http2 = "HTTP/2",
        /// HTTP/3.
        Http3 = "HTTP/3",
    }
}

word!(RedirectTarget, "target", ["https://example.com{path}{query}", "/new"]);
word!(host::Pattern, "host", ["example.com", "*.example.com", "*"]);
word!(route::Pattern, "path", ["/about", "/assets/*", "/users/{id}"]);
word!(MethodName, "method", ["GET", "POST"]);
word!(FieldName, "header field", ["server"]);
word!(MediaType, "media type", ["text/html; charset=utf-8"]);
word!(WantedValue, "value", ["beta", "*"]);
