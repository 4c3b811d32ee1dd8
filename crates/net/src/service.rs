//! One answer for one request: the path that every HTTP version shares.
//!
//! A protocol makes a `Request<Body>` and a [`RequestContext`], calls [`Dispatch::answer`], and sends what comes out.
//! A panic or an error of the service becomes a 500 here; the service never learns which version called it.

mod head;

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    future::poll_fn,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use tower_service::Service;

use crate::{
    Body, BoxError, Protocol, RequestContext, ServerTls, body,
    content::{Content, Guard},
    counters::WorkerCounters,
    era::Era,
    generation::Generation,
    limit::per_source::PerSource,
    memory::{Account, Ledger},
    server::{Config, lag::Lag},
};

/// Any tower service of requests, with its bounds said once.
pub(crate) trait HttpService: Clone + 'static {
    /// The body of its responses.
    type Content: http_body::Body<Data = Bytes, Error: Into<BoxError>> + 'static;

    /// Clones the service, waits until it is ready and calls it, all of it when polled.
    fn respond(
        dispatch: Rc<Dispatch<Self>>,
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

    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` holds its arguments twice"
    )]
    fn respond(
        dispatch: Rc<Dispatch<S>>,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<B>, BoxError>> + 'static {
        async move {
            let mut service = dispatch.service.borrow().clone();
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            service.call(request).await.map_err(Into::into)
        }
    }
}

/// A worker's service behind one listen address, with what every answer of it needs.
///
/// A request takes its service once, so it sees one generation; a connection goes by the limits and time-outs of now, as far as
/// its protocol lets them change.
pub(crate) struct Dispatch<S> {
    service: RefCell<S>,
    config: RefCell<Arc<Config>>,
    /// A reload has lowered the largest head, and connections from before it read larger ones.
    heads_shrank: Cell<bool>,
    /// Of connections that open now, and its number.
    era: RefCell<(u64, Rc<Era>)>,
    pub(crate) counters: Arc<WorkerCounters>,
    pub(crate) common: RefCell<CommonFields>,
    /// The certificates, where there are several: a request for a host has to come on a connection that was shown its.
    shown: RefCell<Option<ServerTls>>,
    pub(crate) worker: usize,
    /// What each address may use, if that is limited.
    pub(crate) limits: Option<Arc<PerSource>>,
    /// How far the worker is behind, if anyone looks.
    pub(crate) lag: Option<Rc<Lag>>,
    /// The worker's part of the memory that is held for clients.
    pub(crate) memory: Rc<Account>,
}

impl<S> Dispatch<S> {
    pub(crate) fn new(
        service: S,
        config: Arc<Config>,
        counters: Arc<WorkerCounters>,
        alt_svc: Option<HeaderValue>,
        worker: usize,
    ) -> Self {
        let common = RefCell::new(CommonFields::new(alt_svc));
        let (service, config) = (RefCell::new(service), RefCell::new(config));
        let (heads_shrank, era, shown, limits, lag) = Default::default();
        let memory = Rc::new(Account::new(Ledger::new(None)));
        Self {
            service,
            config,
            heads_shrank,
            era,
            counters,
            common,
            shown,
            worker,
            limits,
            lag,
            memory,
        }
    }

    /// With the certificates that connections are shown.
    pub(crate) fn showing(self, shown: Option<ServerTls>) -> Self {
        Self { shown: RefCell::new(shown), ..self }
    }

    /// With what may refuse a client.
    pub(crate) fn limited(self, limits: Option<Arc<PerSource>>, lag: Option<Rc<Lag>>) -> Self {
        Self { limits, lag, ..self }
    }

    /// With a part of a ledger.
    pub(crate) fn accounted(self, memory: Rc<Account>) -> Self {
        Self { memory, ..self }
    }

    /// What connections are served by now.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.borrow().clone()
    }

    /// That one, if it is not `before` any more.
    pub(crate) fn config_after(&self, before: &Arc<Config>) -> Option<Arc<Config>> {
        let now = self.config.borrow();
        (!Arc::ptr_eq(&now, before)).then(|| now.clone())
    }

    /// Which one a connection that opens now belongs to.
    pub(crate) fn era(&self) -> Rc<Era> {
        self.era.borrow().1.clone()
    }

    /// Ends the era if a generation is of another one.
    pub(crate) fn enter_era_of(&self, generation: &Generation) {
        let mut era = self.era.borrow_mut();
        if era.0 != generation.era {
            era.1.end(generation.retirement);
            *era = (generation.era, Rc::default());
        }
    }

    /// The next generation: for requests that come from now on, and connections that open.
    pub(crate) fn replace(
        &self,
        service: S,
        config: Arc<Config>,
        alt_svc: Option<HeaderValue>,
        shown: Option<ServerTls>,
    ) {
        self.shown.replace(shown);
        self.service.replace(service);
        let most = config.max_header_size;
        let before = self.config.replace(config);
        self.heads_shrank.set(self.heads_shrank.get() || most < before.max_header_size);
        self.common.replace(CommonFields::new(alt_svc));
    }
}

impl<S: HttpService> Dispatch<S> {
    /// Answers one request; never fails.
    pub(crate) fn answer(
        self: Rc<Self>,
        mut request: Request<Body>,
        context: RequestContext,
    ) -> Answer<S> {
        let protocol = context.protocol();
        self.count(protocol);
        let guard = Guard::new(context.state(), self.counters.clone(), request.method());
        let call: Result<Call<S::Content>, _> = match self.refusal(&request, &context) {
            Some(status) => Err(status),
            None => {
                if let Some(limit) = self.config.borrow().max_body_size {
                    request.body_mut().limit(limit);
                }
                request.extensions_mut().insert(context);
                // In a box of its own: it is moved as a pointer from here on.
                Ok(Box::pin(S::respond(self.clone(), request)))
            }
        };
        Answer { call, guard: Some(guard), protocol, dispatch: self }
    }

    /// What a service's future has come to; `None` when it panicked. The clone of the service is a part of it: that too
    /// may panic.
    fn outcome(
        &self,
        outcome: Option<Result<Response<S::Content>, BoxError>>,
        guard: Guard,
    ) -> Response<Content<S::Content>> {
        match outcome {
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
        }
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
        let mut response = self.finish(protocol, bare(status, guard));
        if protocol == Protocol::Http1 {
            // Where such a request ends is as doubtful as the rest of it.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// A connection is closed because its address has too many requests, or begins them too fast.
    pub(crate) fn overloaded(&self, client: SocketAddr) {
        self.counters.overloading_connections.increment();
        let count = self.counters.overloading_connections.value();
        // As many lines as there are powers of two: who overloads us should not fill the disk.
        if count.is_power_of_two() {
            tracing::warn!(%client, count, "closed a connection whose address has too many requests");
        }
    }

    fn count(&self, protocol: Protocol) {
        match protocol {
            Protocol::Http1 => self.counters.http1_requests.add_alone(1),
            Protocol::Http2 => self.counters.http2_requests.add_alone(1),
            Protocol::Http3 => self.counters.http3_requests.add_alone(1),
        }
    }

    /// What is answered before the service is asked.
    fn refusal(&self, request: &Request<Body>, context: &RequestContext) -> Option<StatusCode> {
        if let Some(shown) = &*self.shown.borrow()
            && let Some(tls) = context.tls()
            && let asked = shown.asked(tls.server_name.as_deref(), context.reached())
            && !shown.shows_the_same(asked, host(request).as_deref())
        {
            // req: 9114-3.3-misdirected
            return Some(StatusCode::MISDIRECTED_REQUEST);
        }
        let config = self.config.borrow();
        if request.method() == Method::CONNECT && !config.allow_connect {
            return Some(StatusCode::NOT_IMPLEMENTED);
        }
        if self.lag.as_ref().is_some_and(|lag| lag.is_behind()) {
            self.counters.shed_requests.increment();
            return Some(StatusCode::SERVICE_UNAVAILABLE);
        }
        if self.heads_shrank.get()
            && head::size(request, context.protocol()) > config.max_header_size
        {
            return Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        let length = http_body::Body::size_hint(request.body()).lower();
        if config.max_body_size.is_some_and(|limit| length > limit) {
            return Some(StatusCode::PAYLOAD_TOO_LARGE);
        }
        None
    }

    /// Adds the fields that every response carries, unless the service has set them. HTTP/3 sends them beside the head.
    fn finish<B>(&self, protocol: Protocol, mut response: Response<B>) -> Response<B> {
        if protocol != Protocol::Http3
            && let Some((name, value)) = &self.common.borrow().alt_svc
        {
            // hyper adds `date` by itself.
            response.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
        response
    }
}

/// The answer to one request, under way. What must not be moved of it is in a box, so that it needs none itself.
///
/// # Cancel safety
/// Dropping it drops the service's future and fires the request's cancellation.
pub(crate) struct Answer<S: HttpService> {
    /// The service's future, with its request; or the status of a refusal.
    call: Result<Call<S::Content>, StatusCode>,
    /// Until it is answered.
    guard: Option<Guard>,
    protocol: Protocol,
    dispatch: Rc<Dispatch<S>>,
}

type Call<B> = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>>>>;

impl<S: HttpService> Future for Answer<S> {
    type Output = Response<Content<S::Content>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { call, guard, protocol, dispatch } = &mut *self;
        let outcome = match call {
            Err(status) => Err(*status),
            Ok(call) => match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(result)) => Ok(Some(result)),
                Err(_) => Ok(None),
            },
        };
        // Only the first answer counts; nobody polls for another.
        let Some(guard) = guard.take() else { return Poll::Pending };
        let response = match outcome {
            Ok(outcome) => dispatch.outcome(outcome, guard),
            Err(status) => {
                dispatch.counters.refused_requests.increment();
                bare(status, guard)
            }
        };
        Poll::Ready(dispatch.finish(*protocol, response))
    }
}

/// What every response carries: `alt-svc`, if there is something to announce, and `date` (RFC 9110 §6.6.1), formatted
/// once a second.
#[derive(Debug)]
pub(crate) struct CommonFields {
    alt_svc: Option<(HeaderName, HeaderValue)>,
    second: u64,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl CommonFields {
    pub(crate) fn new(alt_svc: Option<HeaderValue>) -> Self {
        let alt_svc = alt_svc.map(|value| (header::ALT_SVC, value));
        Self { alt_svc, second: 0, fields: Vec::new() }
    }

    /// All of them as they are at `now`.
    pub(crate) fn at(&mut self, now: SystemTime) -> &[(HeaderName, HeaderValue)] {
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        if self.fields.is_empty() || self.second != second {
            let date = HeaderValue::try_from(httpdate::fmt_http_date(now))
                .unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"));
            self.second = second;
            self.fields.clear();
            self.fields.extend(self.alt_svc.clone());
            self.fields.push((header::DATE, date));
        }
        &self.fields
    }
}

/// The host of a request, in lower case, without a port and without the dot that a full name may end with.
fn host(request: &Request<Body>) -> Option<Cow<'_, str>> {
    let of_field = || {
        let field = request.headers().get(header::HOST)?.to_str().ok()?;
        Some(match field.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => field,
        })
    };
    let host = request.uri().host().or_else(of_field)?;
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Some(host.to_ascii_lowercase().into()),
        false => Some(host.into()),
    }
}

fn bare<B>(status: StatusCode, guard: Guard) -> Response<Content<B>> {
    let mut response = Response::new(Content::empty(guard));
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // The worker may have caught up by then.
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
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
            Some(body::Error::GivenUp | body::Error::Response(_) | body::Error::Other(_))
            | None => {}
        }
        cause = error.source();
    }
    StatusCode::INTERNAL_SERVER_ERROR
}
