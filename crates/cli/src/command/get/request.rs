//! What is asked: URL, method, fields and content, from the command line.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE,
    COOKIE, HOST, HeaderName, PROXY_AUTHORIZATION,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use sterna_net::Body;
use url::Url;

use super::{Args, GetError};

/// A field of the command line; without a value it takes a usual one away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    name: HeaderName,
    value: Option<HeaderValue>,
}

/// What is asked for, and asked again where a redirect leads.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) url: Url,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) content: Bytes,
}

impl Ask {
    pub(super) fn new(args: &Args) -> Result<Self, GetError> {
        let url = parse_url(&args.url)?;
        if url.scheme() == "http" && !args.versions().tcp() {
            return Err(GetError::Http3InTheClear);
        }
        let content = content(&args.data)?;
        let usual = match (args.head, args.data.is_empty()) {
            (true, _) => Method::HEAD,
            (false, false) => Method::POST,
            (false, true) => Method::GET,
        };
        let headers = headers(&args.headers, !args.data.is_empty());
        Ok(Self { url, method: args.method.clone().unwrap_or(usual), headers, content })
    }

    pub(super) fn to_request(&self) -> Result<http::Request<Body>, GetError> {
        let body = if self.content.is_empty() && !self.has_content_by_method() {
            Body::empty()
        } else {
            Body::full(self.content.clone())
        };
        let mut request =
            http::Request::builder().method(self.method.clone()).uri(self.target()).body(body)?;
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }

    /// The request where a response leads, or `None` if it leads nowhere (RFC 9110 §15.4).
    pub(super) fn redirected(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Option<Self>, GetError> {
        let Some(location) = headers.get(http::header::LOCATION) else { return Ok(None) };
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let refuse = |why| GetError::Redirect { status, why };
        let location = std::str::from_utf8(location.as_bytes())
            .map_err(|_| refuse("its Location is no text"))?;
        let mut url = self.url.join(location).map_err(|_| refuse("its Location is no URL"))?;
        match (self.url.scheme(), url.scheme()) {
            (_, "https") | ("http", "http") => {}
            ("https", "http") => return Err(refuse("it leads from https to http")),
            _ => return Err(refuse("it leads to neither http nor https")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("its Location has a user name or a password"));
        }
        if url.port() == Some(0) {
            return Err(refuse("its Location has the port 0"));
        }
        if url.fragment().is_none() {
            url.set_fragment(self.url.fragment());
        }
        let mut next = Self { url, ..self.clone() };
        let becomes_get = match status.as_u16() {
            303 => self.method != Method::HEAD,
            301 | 302 => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            next.method = Method::GET;
            next.content = Bytes::new();
            for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION] {
                next.headers.remove(name);
            }
        }
        if next.url.origin() != self.url.origin() {
            // What was meant for one server is not told to another, and the other one has a name of its own.
            for name in [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, HOST] {
                next.headers.remove(name);
            }
        }
        Ok(Some(next))
    }

    /// A fragment is for the reader alone.
    pub(super) fn target(&self) -> String {
        let mut url = self.url.clone();
        url.set_fragment(None);
        url.into()
    }

    /// Its emptiness is told: these methods mean content.
    fn has_content_by_method(&self) -> bool {
        matches!(self.method, Method::POST | Method::PUT | Method::PATCH)
    }
}

fn parse_url(text: &str) -> Result<Url, GetError> {
    let refuse = |why: &str| GetError::Url { url: text.to_owned(), why: why.to_owned() };
    let url = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&url).map_err(|error| refuse(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("only http and https can be fetched"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it has a user name or a password; send them with -H instead"));
    }
    if url.port() == Some(0) {
        return Err(refuse("0 is not a port"));
    }
    Ok(url)
}

fn headers(fields: &[Field], has_content: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(http::header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    if has_content {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
    }
    for Field { name, .. } in fields {
        headers.remove(name);
    }
    for Field { name, value } in fields {
        if let Some(value) = value {
            headers.append(name, value.clone());
        }
    }
    headers
}

fn content(data: &[String]) -> Result<Bytes, GetError> {
    let mut content = Vec::new();
    for (index, part) in data.iter().enumerate() {
        if index > 0 {
            content.push(b'&');
        }
        match part.strip_prefix('@') {
            None => content.extend_from_slice(part.as_bytes()),
            Some("-") => {
                let read = io::stdin().lock().read_to_end(&mut content);
                read.map_err(|source| GetError::Data { path: "stdin".into(), source })?;
            }
            Some(path) => {
                let refused = |source| GetError::Data { path: Path::new(path).into(), source };
                content.extend(fs::read(path).map_err(refused)?);
            }
        }
    }
    Ok(content.into())
}

/// Reads `name: value`, or `name:`.
pub(super) fn field(text: &str) -> Result<Field, String> {
    let refuse = |why| format!("`{text}` {why}");
    let not_a_field = "is not a field such as `accept: text/html`";
    let (name, value) = text.split_once(':').ok_or_else(|| refuse(not_a_field))?;
    let name: HeaderName = name.trim().parse().map_err(|_| refuse(not_a_field))?;
    let value = match value.trim() {
        "" => None,
        value => Some(value.parse().map_err(|_| refuse(not_a_field))?),
    };
    if OURS.contains(&name.as_str()) {
        return Err(refuse("is a field that the connection writes itself"));
    }
    Ok(Field { name, value })
}

/// Fields that say how a message is framed, which is decided by its version and its content.
const OURS: [&str; 6] =
    ["connection", "content-length", "keep-alive", "te", "transfer-encoding", "upgrade"];

const USER_AGENT: &str = concat!("sterna/", env!("CARGO_PKG_VERSION"));

/// What the content of a form is, as curl takes it to be.
const FORM: &str = "application/x-www-form-urlencoded";
