//! Requests passed on to origins that are sockets with a script, and what comes of them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

use self::origin::Origin;
use super::*;
use crate::route::{self, Pattern};
use crate::upstream::Address;
use crate::{Gateway, Shared, handler};

mod hostile;
mod origin;
mod passed;
mod retried;
mod streamed;

/// Runs a test as a worker would, for so long at the most.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let limit = Duration::from_secs(30);
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(limit, test).await.expect("it hangs");
    });
}

/// These backends.
fn config(addresses: &[&str]) -> Config {
    let address = |text: &&str| text.parse::<Address>().expect("an address");
    Config::new(upstream::Config::new(addresses.iter().map(address))).expect("reachable")
}

/// The same with a time-out for the first byte that a test can wait for: whatever should come before it may come too late.
fn impatient(addresses: &[&str]) -> Config {
    let config = config(addresses);
    let timeouts = Timeouts { first_byte: Duration::from_millis(300), ..Timeouts::default() };
    let reach = Reach::new(Trust::default(), timeouts, Pool::default(), &config.upstream)
        .expect("reachable");
    Config { reach, ..config }
}

fn gateway(config: Config) -> Gateway {
    let handler = handler::Config::Proxy(Box::new(config));
    let routes = vec![route::Config::new(Pattern::any(), handler)];
    Gateway::new(&crate::Config { routes, ..crate::Config::default() }, &Shared::default(), None)
}

/// What a client of the gateway saw.
#[derive(Debug)]
struct Seen {
    status: StatusCode,
    headers: HeaderMap,
    /// Or why it broke off.
    content: Result<Bytes, ProxyError>,
}

impl Seen {
    /// The type of error that `Proxy-Status` tells.
    fn error(&self) -> &str {
        let status = self.headers.get("proxy-status").and_then(|value| value.to_str().ok());
        status.and_then(|status| status.strip_prefix("sterna; error=")).unwrap_or("none")
    }
}

async fn ask(gateway: &Gateway, mut request: Request) -> Seen {
    let (head, content) = gateway.handle(&mut request).await.into_parts();
    let content = content.collect().await.map(|content| content.to_bytes());
    let content = content.map_err(|error| match error {
        crate::BodyError::Upstream { why, .. } => why,
        other => panic!("{other:?}"),
    });
    Seen { status: head.status, headers: head.headers, content }
}

async fn get(gateway: &Gateway) -> Seen {
    ask(gateway, request(Method::GET, sterna_net::Body::empty())).await
}

fn request(method: Method, body: sterna_net::Body) -> Request {
    let request = http::Request::builder().method(method).uri("/path").header("host", "site");
    request.body(body).expect("a request")
}

/// A body of frames that are there, after which it ends or goes on for ever.
struct Frames {
    frames: VecDeque<Frame<Bytes>>,
    goes_on: bool,
    /// How long it says it is.
    length: Option<u64>,
}

impl Frames {
    fn body(frames: impl IntoIterator<Item = Frame<Bytes>>, goes_on: bool) -> sterna_net::Body {
        let frames = frames.into_iter().collect();
        sterna_net::Body::new(Self { frames, goes_on, length: None })
    }

    fn that_say(length: u64, frames: impl IntoIterator<Item = Frame<Bytes>>) -> sterna_net::Body {
        let frames = frames.into_iter().collect();
        sterna_net::Body::new(Self { frames, goes_on: false, length: Some(length) })
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None if self.goes_on => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from(text))
}

fn field(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_static(value))
}
