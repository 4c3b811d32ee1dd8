//! One answer for one request: the path that every HTTP version shares.
//!
//! A protocol makes a `Request<Body>` and a [`RequestContext`], calls [`Dispatch::answer`], and sends what comes out.
//! A panic or an error of the service becomes a 500 here; the service never learns which version called it.

use std::{
    cell::RefCell,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use tower_service::Service;

use crate::{
    Body, BoxError, Protocol, RequestContext, body,
    content::{Content, Guard},
    counters::WorkerCounters,
    server::Config,
};

/// Any tower service of requests, with its bounds said once.
pub(crate) trait HttpService: Clone + 'static {
    /// The body of its responses.
    type Content: http_body::Body<Data = Bytes, Error: Into<BoxError>> + 'static;

    /// Waits until the service is ready and calls it.
    fn respond(
        self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Self::Content>, BoxError>> + 'static;
}

impl<S, B> HttpService for S
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + 'static,
    B::Error: Into<BoxError>,
{
    type Content = B;

    async fn respond(mut self, request: Request<Body>) -> Result<Response<B>, BoxError> {
        poll_fn(|cx| self.poll_ready(cx)).await.map_err(Into::into)?;
        self.call(request).await.map_err(Into::into)
    }
}

/// A worker's service behind one listen address, with what every answer of it needs.
pub(crate) struct Dispatch<S> {
    pub(crate) service: S,
    pub(crate) config: Arc<Config>,
    pub(crate) counters: Arc<WorkerCounters>,
    pub(crate) alt_svc: Option<HeaderValue>,
    pub(crate) worker: usize,
    pub(crate) date: RefCell<DateCache>,
}

impl<S: HttpService> Dispatch<S> {
    /// Answers one request; never fails.
    ///
    /// # Cancel safety
    /// Dropping the future drops the service's future and fires the request's cancellation.
    pub(crate) async fn answer(
        self: Rc<Self>,
        mut request: Request<Body>,
        context: RequestContext,
    ) -> Response<Content<S::Content>> {
        let protocol = context.protocol();
        self.count(protocol);
        let guard = Guard::new(context.state(), self.counters.clone(), request.method());
        if let Some(status) = self.refusal(&request) {
            self.counters.refused_requests.increment();
            return self.finish(protocol, bare(status, guard));
        }
        if let Some(limit) = self.config.max_body_size {
            request.body_mut().limit(limit);
        }
        request.extensions_mut().insert(context);

        // The clone too is the service's own code, and may panic.
        let mut call = pin!(async { self.service.clone().respond(request).await });
        let outcome =
            poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(result)) => Poll::Ready(Some(result)),
                Err(_) => Poll::Ready(None),
            })
            .await;
        let response = match outcome {
            Some(Ok(response)) => Content::wrap(response, guard),
            Some(Err(error)) => {
                self.counters.service_errors.increment();
                tracing::warn!(error = &*error, "the service failed, the client gets an error");
                bare(status_of(&error), guard)
            }
            None => {
                self.counters.panics.increment();
                tracing::error!("the service panicked, the client gets a 500");
                bare(StatusCode::INTERNAL_SERVER_ERROR, guard)
            }
        };
        self.finish(protocol, response)
    }

    /// A response without the service, to a request that never became one.
    pub(crate) fn refuse(
        &self,
        protocol: Protocol,
        status: StatusCode,
    ) -> Response<Content<S::Content>> {
        self.count(protocol);
        self.counters.refused_requests.increment();
        let guard = Guard::new(Arc::default(), self.counters.clone(), &Method::GET);
        self.finish(protocol, bare(status, guard))
    }

    fn count(&self, protocol: Protocol) {
        match protocol {
            Protocol::Http1 => self.counters.http1_requests.increment(),
            Protocol::Http2 => self.counters.http2_requests.increment(),
            Protocol::Http3 => self.counters.http3_requests.increment(),
        }
    }

    /// What is answered before the service is asked.
    fn refusal(&self, request: &Request<Body>) -> Option<StatusCode> {
        if request.method() == Method::CONNECT && !self.config.allow_connect {
            return Some(StatusCode::NOT_IMPLEMENTED);
        }
        let length = http_body::Body::size_hint(request.body()).lower();
        if self.config.max_body_size.is_some_and(|limit| length > limit) {
            return Some(StatusCode::PAYLOAD_TOO_LARGE);
        }
        None
    }

    /// Adds the fields that every response carries, unless the service has set them.
    fn finish<B>(&self, protocol: Protocol, mut response: Response<B>) -> Response<B> {
        let headers = response.headers_mut();
        if let Some(value) = &self.alt_svc {
            headers.entry(header::ALT_SVC).or_insert_with(|| value.clone());
        }
        // hyper adds `date` by itself.
        if protocol == Protocol::Http3 {
            headers.entry(header::DATE).or_insert_with(|| self.date.borrow_mut().now());
        }
        response
    }
}

/// The `date` field (RFC 9110 §6.6.1), formatted once a second.
#[derive(Debug, Default)]
pub(crate) struct DateCache {
    second: u64,
    value: Option<HeaderValue>,
}

impl DateCache {
    fn now(&mut self) -> HeaderValue {
        let now = SystemTime::now();
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        if let Some(value) = self.value.as_ref().filter(|_| self.second == second) {
            return value.clone();
        }
        let value = HeaderValue::try_from(httpdate::fmt_http_date(now))
            .unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"));
        self.second = second;
        self.value.insert(value).clone()
    }
}

fn bare<B>(status: StatusCode, guard: Guard) -> Response<Content<B>> {
    let mut response = Response::new(Content::empty(guard));
    *response.status_mut() = status;
    response
}

/// A service that only passes the request body's error on should not answer 500 for the client's fault.
fn status_of(error: &BoxError) -> StatusCode {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&**error);
    while let Some(error) = cause {
        match error.downcast_ref::<body::Error>() {
            Some(body::Error::TooLarge) => return StatusCode::PAYLOAD_TOO_LARGE,
            Some(body::Error::TimedOut) => return StatusCode::REQUEST_TIMEOUT,
            Some(
                body::Error::Reset { .. }
                | body::Error::ConnectionLost
                | body::Error::Malformed
                | body::Error::Http(_),
            ) => return StatusCode::BAD_REQUEST,
            Some(body::Error::GivenUp | body::Error::Other(_)) | None => {}
        }
        cause = error.source();
    }
    StatusCode::INTERNAL_SERVER_ERROR
}
