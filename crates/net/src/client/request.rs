//! A request on its way: what every version needs of it, and whether its body can be sent again.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header,
    request::Parts,
    uri::{self, Authority, PathAndQuery},
};
use http_body::Body as _;
use sterna_h3::{Priority, RequestHead};

use super::{
    Error,
    error::{Kind, Phase},
    origin::{Origin, Scheme},
};
use crate::BoxError;

mod body;

pub use self::body::BodyLength;
pub(crate) use self::body::RequestBody;

/// A request that can be sent to one server and, where that is safe, again or to another: its head apart from the place
/// that it goes to, and its body.
pub struct Message {
    pub(crate) head: Arc<RequestHead>,
    pub(crate) body: RequestBody,
    /// The body waits for the server's word (RFC 9110 §10.1.1).
    pub(crate) expects_continue: bool,
    /// Who is told of interim responses.
    pub(crate) interim: Option<Interim>,
    /// It is for the site that its head names, whichever server gets it.
    names_site: bool,
}

/// Is told of an interim response (1xx).
pub(crate) type Interim = Arc<dyn Fn(StatusCode, &HeaderMap) + Send + Sync>;

impl Message {
    /// A request for `path` of the site that `authority` names, which is that of the server where there is none. A `host`
    /// field among `headers` has the last word on it, and is not sent twice.
    ///
    /// The body is as long as a `content-length` says, or sending it fails.
    ///
    /// # Errors
    /// [`Kind::Request`] for a CONNECT.
    pub fn new<B>(
        method: Method,
        authority: Option<Authority>,
        path: PathAndQuery,
        headers: HeaderMap,
        body: B,
    ) -> Result<Self, Error>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if method == Method::CONNECT {
            let why = "tunnels (CONNECT) are not supported";
            return Err(Error::new(Phase::Prepare, Kind::Request).unsent().because(why));
        }
        let mut headers = headers;
        // `host` is the other spelling of `:authority`; whoever sets it means another site at the same place.
        let host = headers.remove(header::HOST);
        let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let body = RequestBody::new(body, declared_length(&headers));
        declare_length(&method, &mut headers, &body);
        let expects_continue = !body.is_empty()
            && headers
                .get(header::EXPECT)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let authority = host.or(authority);
        let names_site = authority.is_some();
        let head = RequestHead {
            method,
            scheme: None,
            authority,
            path: Some(path),
            protocol: None,
            headers,
            priority: Priority::default(),
        };
        Ok(Self { head: Arc::new(head), body, expects_continue, interim: None, names_site })
    }

    /// # Errors
    /// [`Kind::Request`] when the URL or the head cannot be sent.
    pub(crate) fn of<B>(request: Request<B>) -> Result<(Origin, Self), Error>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (Parts { method, uri, headers, .. }, body) = request.into_parts();
        let refuse = |why| Error::new(Phase::Prepare, Kind::Request).unsent().because(why);
        let origin = Origin::of(&uri).map_err(refuse)?;
        let uri = uri.into_parts();
        let path = uri.path_and_query.filter(|path| !path.as_str().is_empty());
        // What a URL without a path is for an `OPTIONS` of the whole server (RFC 9112 §3.2.4) is written as `*` by its user.
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok((origin, Self::new(method, uri.authority, path, headers, body)?))
    }

    /// `told` hears of interim responses (1xx) as they come, on whichever thread that is: over HTTP/1.1 and HTTP/3. 100 is
    /// none of them.
    pub fn on_interim(&mut self, told: impl Fn(StatusCode, &HeaderMap) + Send + Sync + 'static) {
        self.interim = Some(Arc::new(told));
    }

    /// The fields of its head.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The same, to be changed.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut Arc::make_mut(&mut self.head).headers
    }

    /// Gives the fields of its head back.
    pub fn into_headers(self) -> HeaderMap {
        match Arc::try_unwrap(self.head) {
            Ok(head) => head.headers,
            Err(head) => head.headers.clone(),
        }
    }

    /// Says for which server it is.
    pub(crate) fn address_to(&mut self, origin: &Origin) -> Result<(), Error> {
        let scheme = match origin.scheme() {
            Scheme::Http => uri::Scheme::HTTP,
            Scheme::Https => uri::Scheme::HTTPS,
        };
        if self.head.scheme.as_ref() != Some(&scheme) {
            Arc::make_mut(&mut self.head).scheme = Some(scheme);
        }
        if !self.names_site {
            let authority = Authority::try_from(origin.authority()).map_err(|error| {
                Error::new(Phase::Prepare, Kind::Request).unsent().because(error)
            })?;
            Arc::make_mut(&mut self.head).authority = Some(authority);
        }
        Ok(())
    }

    /// Sending it twice does no harm that sending it once does not (RFC 9110 §9.2.2).
    pub fn is_idempotent(&self) -> bool {
        self.head.method.is_idempotent()
    }

    /// A second attempt would send the whole body.
    pub fn is_replayable(&self) -> bool {
        self.body.is_replayable()
    }

    /// It may be sent as early data (RFC 8470 §3): safe, and without a body.
    pub(crate) fn may_be_early(&self) -> bool {
        self.head.method.is_safe() && self.body.is_empty()
    }

    /// As hyper takes it.
    pub(crate) fn to_http<B>(&self, is_http1: bool, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = self.head.method.clone();
        *request.headers_mut() = self.head.headers.clone();
        let mut target = uri::Parts::default();
        target.path_and_query = self.head.path.clone();
        if is_http1 {
            // hyper takes a GET or HEAD of unknown length for one without a body.
            if self.body.size_hint().exact().is_none()
                && !request.headers().contains_key(header::CONTENT_LENGTH)
            {
                let chunked = HeaderValue::from_static("chunked");
                request.headers_mut().insert(header::TRANSFER_ENCODING, chunked);
            }
            // RFC 9110 §10.1.4.
            if request.headers().contains_key(header::TE) {
                request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("te"));
            }
            if let Some(authority) = &self.head.authority
                && let Ok(host) = HeaderValue::from_str(authority.as_str())
            {
                request.headers_mut().entry(header::HOST).or_insert(host);
            }
        } else {
            // The body goes at once.
            request.headers_mut().remove(header::EXPECT);
            target.scheme = self.head.scheme.clone();
            target.authority = self.head.authority.clone();
            *request.version_mut() = http::Version::HTTP_2;
        }
        *request.uri_mut() =
            Uri::from_parts(target).expect("scheme, authority and path came from one URL");
        request
    }
}

/// What a `content-length` says; one that makes no sense says nothing.
fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Says how long the body is, where that is known and nobody has said it (RFC 9110 §8.6).
fn declare_length(method: &Method, headers: &mut HeaderMap, body: &RequestBody) {
    let is_expected = !body.is_empty() || matches!(*method, Method::POST | Method::PUT);
    if is_expected
        && !headers.contains_key(header::CONTENT_LENGTH)
        && !headers.contains_key(header::TRANSFER_ENCODING)
        && let Some(length) = body.size_hint().exact()
    {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestHead { method, authority, path, .. } = &*self.head;
        f.debug_struct("Message")
            .field("method", method)
            .field("authority", authority)
            .field("path", path)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::Pin, task::Context};

    use http_body_util::{BodyExt, Empty, Full};

    use super::*;
    use crate::Body;

    fn outgoing<B>(method: &str, uri: &str, body: B) -> Result<Message, Error>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let request = Request::builder().method(method).uri(uri).body(body).unwrap();
        let (origin, mut message) = Message::of(request)?;
        message.address_to(&origin)?;
        Ok(message)
    }

    #[test]
    fn bodies_that_are_in_memory_can_be_sent_again() {
        let full = outgoing("POST", "https://x/", Full::new(Bytes::from("four"))).unwrap();
        let ours = outgoing("POST", "https://x/", Body::full("four")).unwrap();
        let none = outgoing("GET", "https://x/", Empty::<Bytes>::new()).unwrap();
        let other = Full::new(Bytes::from("four")).map_err(|never| never);
        let boxed = outgoing("POST", "https://x/", other).unwrap();
        assert!(matches!(&full.body, RequestBody::Full(data) if data == "four"));
        assert!(matches!(&ours.body, RequestBody::Full(data) if data == "four"));
        assert!(none.body.is_empty());
        assert!(boxed.body.is_replayable(), "nobody has read of it yet");
        let mut attempt = boxed.body.clone();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut attempt).poll_frame(&mut cx).is_ready());
        assert!(!boxed.body.is_replayable());
        for outgoing in [full, ours, boxed] {
            assert_eq!(outgoing.head.headers[header::CONTENT_LENGTH], "4");
        }
        assert!(none.head.headers.is_empty());
    }

    #[test]
    fn request_that_has_no_origin_is_refused_with_the_reason() {
        for uri in ["/path", "ftp://x/", "https://me@x/"] {
            let error = outgoing("GET", uri, Empty::new()).expect_err("refused");
            assert_eq!((error.phase(), error.kind()), (Phase::Prepare, Kind::Request), "{uri}");
            assert!(std::error::Error::source(&error).is_some());
        }
        assert!(outgoing("CONNECT", "https://x/", Empty::new()).is_err());
    }

    #[test]
    fn host_that_is_set_names_the_site_on_every_version() {
        let request = Request::get("https://x/").header("host", "site.example:8443");
        let (origin, mut outgoing) = Message::of(request.body(Body::empty()).unwrap()).unwrap();
        outgoing.address_to(&origin).unwrap();
        assert_eq!(outgoing.head.authority.as_ref().unwrap(), "site.example:8443");
        assert!(outgoing.head.headers.is_empty());
        assert_eq!(outgoing.to_http(true, ()).headers()[header::HOST], "site.example:8443");
        assert_eq!(outgoing.to_http(false, ()).uri(), "https://site.example:8443/");
        assert_eq!(origin.to_string(), "https://x", "the connection goes where the URL says");
    }

    #[test]
    fn path_of_a_url_without_one_is_a_slash() {
        let outgoing = outgoing("GET", "https://x", Empty::new()).unwrap();
        assert_eq!(outgoing.head.path.as_ref().unwrap().as_str(), "/");
        assert_eq!(outgoing.to_http(true, ()).headers()[header::HOST], "x");
        assert_eq!(outgoing.to_http(false, ()).uri(), "https://x/");
    }
}
