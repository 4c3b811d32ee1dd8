//! The life of a request: its attempts, the connections that they are made on, and what is learnt of them.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, Response, StatusCode};
use tokio::{runtime::Handle, time::timeout_at};

use super::{
    Error, Kind, Phase,
    config::Config,
    connect::{Connected, Connector, NotConnected, Options, Reason},
    connection::{Carrier, Established},
    counters::Counts,
    dial::Dialler,
    exchange::{EarlyData, Exchange, Timings},
    memory::Place,
    origin::{Host, Origin, Scheme},
    pool::{Lease, Permit, Pool},
    race::{TraceEvent, Transport},
    request::Message,
    resolve::Resolver,
    response::{Clock, Download, Source},
    retry::Failure,
    tcp,
};
use crate::{Body, Protocol};

/// What all handles of a client share.
pub(super) struct Inner {
    pub(super) config: Arc<Config>,
    pub(super) pool: Arc<Pool>,
    pub(super) connector: Connector<Resolver>,
    pub(super) dialler: Dialler,
    pub(super) counts: Arc<Counts>,
    /// Where connections live.
    pub(super) runtime: Handle,
}

impl Inner {
    /// Writes down what was learnt, if there is a file for it.
    pub(super) async fn save(&self) {
        if self.config.state_file.is_some() {
            save(self.connector.clone(), &self.runtime).await;
        }
    }

    /// A request from its first attempt to the head of a response.
    pub(super) async fn run(
        &self,
        origin: &Origin,
        message: &Message,
        course: &Course,
    ) -> Result<Response<Body>, Error> {
        let mut attempts = 0;
        let mut may_be_early = message.may_be_early();
        loop {
            attempts += 1;
            let mut lease = self.acquire(origin).await?;
            let waited = course.waited(&self.config);
            let is_reused = lease.info().use_it();
            course.set_connected(true);
            let outcome = {
                let attempt = pin!(self.attempt(&mut lease, message, may_be_early));
                self.in_time(attempt, message, course).await
            };
            let answer = match outcome {
                Some(Ok(answer)) => answer,
                Some(Err(error)) => {
                    lease.retire_after(&error);
                    self.learn_failure(origin, &lease, &error);
                    let is_allowed = is_reused || self.config.retries_fresh;
                    let is_one_too_many = attempts > self.config.retries || !is_allowed;
                    if is_one_too_many || !may_retry(&error, message) {
                        return Err(error);
                    }
                    self.counts.retries.increment();
                    course.set_connected(false);
                    continue;
                }
                None => {
                    lease.retire();
                    let is_sent = message.body.is_in_memory() || message.body.is_whole();
                    let phase = if is_sent { Phase::FirstByte } else { Phase::Request };
                    let late = Error::new(phase, Kind::Timeout);
                    let late = late.over(lease.info().protocol);
                    self.learn_failure(origin, &lease, &late);
                    return Err(late);
                }
            };
            // req: 8470-5.2-retry
            if answer.parts.status == StatusCode::TOO_EARLY
                && answer.early_data != EarlyData::NotOffered
                && may_be_early
            {
                may_be_early = false;
                self.counts.retries.increment();
                continue;
            }
            // A server that was not meant says nothing of its origin (RFC 7838 §6).
            if answer.parts.status != StatusCode::MISDIRECTED_REQUEST {
                self.connector.on_response(origin, &answer.parts.headers);
            }
            let facts = Facts { attempts, waited, is_reused };
            return Ok(self.respond(answer, lease, course, &facts));
        }
    }

    /// What comes of an attempt before its time is over, which begins anew with each piece of the request's body: one that
    /// takes long to send is not late. `None` when it is; who comes next must not wait behind it.
    async fn in_time<T>(
        &self,
        mut attempt: Pin<&mut impl Future<Output = T>>,
        message: &Message,
        course: &Course,
    ) -> Option<T> {
        let mut since = tokio::time::Instant::now();
        loop {
            let limit = (since + self.config.timeouts.first_byte).min(course.until);
            if let Ok(outcome) = timeout_at(limit, attempt.as_mut()).await {
                return Some(outcome);
            }
            let moved = message.body.moved().filter(|moved| *moved > since);
            since = moved.filter(|_| limit < course.until)?;
        }
    }

    /// A connection over HTTP/3 that fails makes the next one of its origin careful.
    fn learn_failure(&self, origin: &Origin, lease: &Lease, error: &Error) {
        let is_of_connection = matches!(
            error.kind(),
            Kind::Lost
                | Kind::Timeout
                | Kind::Protocol { .. }
                | Kind::Tls
                | Kind::TlsAlert
                | Kind::Certificate
        );
        let info = lease.info();
        if info.protocol == Protocol::Http3
            && is_of_connection
            && let Some(place) = &info.place
        {
            self.connector.on_h3_failure(origin, place);
        }
    }

    /// One attempt on one connection.
    async fn attempt(
        &self,
        lease: &mut Lease,
        message: &Message,
        may_be_early: bool,
    ) -> Result<Answer, Error> {
        match lease {
            Lease::Http1 { sender: place, info, .. } => {
                // Out of its place meanwhile: an exchange that fails, or is given up, is the last of its connection.
                let Some(mut sender) = place.take() else {
                    return Err(Error::new(Phase::Request, Kind::Lost).unsent());
                };
                let max_header_size = self.config.pool.max_header_size;
                let answer = tcp::send_http1(&mut sender, message, info, max_header_size).await?;
                if !tcp::is_last(&answer.parts) {
                    *place = Some(sender);
                }
                Ok(answer)
            }
            Lease::Shared { used, .. } => match used.carrier() {
                Carrier::Http3(handle) => handle.send(message, may_be_early).await,
                Carrier::Http2(sender) => {
                    tcp::send_http2(&mut sender.clone(), message, used.info()).await
                }
                Carrier::Http1(_) => unreachable!("HTTP/1.1 connections are lent, not shared"),
            },
        }
    }

    /// A connection to the origin: one that is there, or one that is made for it.
    pub(super) async fn acquire(&self, origin: &Origin) -> Result<Lease, Error> {
        self.pool.acquire(origin, |permit| self.dial(permit)).await
    }

    /// Makes a connection in a task of its own: who asked for it may leave, others may wait for it too.
    pub(super) fn dial(&self, permit: Permit) {
        let (pool, connector) = (self.pool.clone(), self.connector.clone());
        let options = self.options(permit.origin());
        let is_secure = permit.origin().scheme() == Scheme::Https;
        let dialler = Dialler { is_secure, ..self.dialler.clone() };
        let counts = self.counts.clone();
        let has_file = self.config.state_file.is_some();
        if let Some(path) = self.config.unix.clone() {
            let config = self.config.clone();
            self.runtime.spawn(async move {
                match tcp::connect_unix(&path, &config).await {
                    Ok(established) => pool.established(permit, established),
                    Err(error) => pool.failed(permit, &error.unsent()),
                }
            });
            return;
        }
        self.runtime.spawn(async move {
            match connector.connect(permit.origin(), &options, &dialler).await {
                Ok(connected) => {
                    let was_quic_tried = connected.trace.iter().any(|entry| {
                        matches!(
                            entry.event,
                            TraceEvent::Started { transport: Transport::Quic, .. }
                        )
                    });
                    if connected.transport == Transport::Tcp && was_quic_tried {
                        counts.fallbacks.increment();
                    }
                    pool.established(permit, into_established(connected));
                }
                Err(failed) => pool.failed(permit, &into_error(failed)),
            }
            // Not at the end alone: the process may be killed.
            if has_file {
                save(connector, &Handle::current()).await;
            }
        });
    }

    fn options(&self, origin: &Origin) -> Options {
        let config = &self.config;
        let mut versions = config.versions;
        // Who allows nothing else means it, whatever the share.
        versions.h3 &= !versions.tcp() || config.http3.includes(&origin.to_string());
        let connect_to = config
            .connect_to
            .as_ref()
            .and_then(|(host, port)| Some(Place { host: Host::parse(host).ok()?, port: *port }));
        Options {
            versions,
            connect_to,
            speculate: config.speculate,
            expects_h3: config.expects_h3,
            early_data: config.early_data,
            resolve_timeout: config.timeouts.resolve,
            connect_timeout: config.timeouts.connect,
        }
    }

    /// The response as its user sees it.
    fn respond(
        &self,
        answer: Answer,
        lease: Lease,
        course: &Course,
        facts: &Facts,
    ) -> Response<Body> {
        let Answer { parts, body, upload, early_data, interim, quic } = answer;
        let clock = Clock::new(self.config.timeouts.idle, course.until);
        if !self.config.tells_exchange {
            let body = Body::download(Download::new(body, lease, upload, clock));
            return Response::from_parts(parts, body);
        }
        let info = lease.info().clone();
        let mut timings = Timings {
            waited: facts.waited,
            first_byte: course.began.elapsed(),
            ..Timings::default()
        };
        if !facts.is_reused {
            timings.resolve = info.resolve;
            timings.connect = info.connect;
            timings.tls = info.tls_took;
        }
        let exchange = Exchange {
            protocol: info.protocol,
            remote: info.remote,
            local: info.local,
            tls: info.tls.clone(),
            timings,
            reused: facts.is_reused,
            early_data,
            attempts: facts.attempts,
            interim,
            trace: if facts.is_reused { Vec::new() } else { info.trace.clone() },
            quic,
        };
        let mut response =
            Response::from_parts(parts, Body::download(Download::new(body, lease, upload, clock)));
        response.extensions_mut().insert(exchange);
        response
    }
}

async fn save(connector: Connector<Resolver>, runtime: &Handle) {
    if let Ok(Err(error)) = runtime.spawn_blocking(move || connector.save()).await {
        tracing::warn!(%error, "what was learnt of HTTP/3 could not be written down");
    }
}

fn into_established(connected: Connected<Established>) -> Established {
    let (address, after) = (connected.address, connected.connected_after);
    tracing::debug!(place = %connected.place, %address, ?after, "connected");
    let mut connection = connected.connection;
    connection.info.resolve = connected.resolved_after;
    connection.info.trace = connected.trace;
    connection.info.place = Some(connected.place);
    connection
}

fn into_error(failed: NotConnected<Error>) -> Error {
    match failed.reason {
        Reason::Name(error) => Error::new(Phase::Resolve, Kind::Dns).because(error),
        Reason::NameTimedOut => Error::new(Phase::Resolve, Kind::Timeout),
        Reason::Nothing => Error::new(Phase::Connect, Kind::Alpn)
            .because("no HTTP version that is allowed can reach this URL"),
        Reason::Attempt(error) => error,
        Reason::TimedOut => Error::new(Phase::Connect, Kind::Timeout),
    }
    .after(failed.trace)
    .unsent()
}

fn may_retry(error: &Error, message: &Message) -> bool {
    let failure = Failure {
        phase: error.phase(),
        kind: error.kind(),
        is_unsent: error.may_retry(),
        is_idempotent: message.is_idempotent(),
        is_replayable: message.body.is_replayable(),
    };
    failure.may_retry()
}

/// What a connection gave: the head of a response, and where its body comes from.
pub(crate) struct Answer {
    pub(super) parts: http::response::Parts,
    pub(super) body: Source,
    /// The body of the request, over TCP.
    pub(super) upload: Option<tcp::Upload>,
    pub(super) early_data: EarlyData,
    pub(super) interim: Vec<(StatusCode, HeaderMap)>,
    pub(super) quic: Option<sterna_quic::Stats>,
}

/// What is told of an exchange beside what its connection knows.
struct Facts {
    attempts: u32,
    waited: Duration,
    is_reused: bool,
}

/// A request's clock, and how far it has come: for the error when the clock runs out.
pub(super) struct Course {
    began: tokio::time::Instant,
    pub(super) until: tokio::time::Instant,
    has_connection: AtomicBool,
}

impl Course {
    pub(super) fn new(config: &Config) -> Self {
        let began = tokio::time::Instant::now();
        let until = began + config.timeouts.total;
        Self { began, until, has_connection: AtomicBool::new(false) }
    }

    /// How long it is under way, where somebody is told of it.
    fn waited(&self, config: &Config) -> Duration {
        if config.tells_exchange { self.began.elapsed() } else { Duration::ZERO }
    }

    fn set_connected(&self, has_connection: bool) {
        self.has_connection.store(has_connection, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        if self.has_connection.load(Ordering::Relaxed) { Phase::FirstByte } else { Phase::Connect }
    }
}
