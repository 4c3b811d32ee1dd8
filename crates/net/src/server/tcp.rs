//! HTTP/1.1 and HTTP/2: accept, TLS, hyper, and an orderly end.
//!
//! The ALPN of the handshake chooses the version; without TLS the first bytes do. hyper speaks the protocols, this
//! module keeps their clocks: handshake, head, idle, slow reader, drain.

mod activity;
mod crowd;
mod gather;
mod host;
mod io;
mod message;
mod outbox;
mod proxy_protocol;
mod silence;
mod tracked;

use std::{
    cell::Cell,
    net::{IpAddr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use http::Request;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::spawn_local,
    time::{sleep, timeout},
};
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor, server::TlsStream};

use self::{
    activity::{Activity, Due},
    gather::Gather,
    io::Io,
    silence::Silence,
    tracked::{Busy, Tracked},
};
use crate::{
    Body, ClientIdentity, HandshakeFailure, OpenConnection, Protocol, RequestContext, TlsFacts,
    client::Transport,
    content::Content,
    context::{ConnectionContext, Rtt},
    era::Era,
    generation::Generation,
    inspect::Registry,
    limit::per_source::Held,
    server::{Config, silence::ASK_EVERY},
    service::{Dispatch, HttpService},
    shutdown::Drain,
    tls::{TcpTls, challenge},
};

/// One worker's listener on one address.
pub(crate) struct Listener<S> {
    pub(crate) listener: TcpListener,
    pub(crate) local: SocketAddr,
    pub(crate) generations: watch::Receiver<Generation>,
    pub(crate) registry: Rc<Registry>,
    pub(crate) dispatch: Rc<Dispatch<S>>,
    pub(crate) drain: Drain,
}

impl<S: HttpService> Listener<S> {
    /// Accepts until the drain begins, then waits for the connections to end or for the drain's deadline.
    pub(crate) async fn run(self) {
        let Self { listener, local, mut generations, registry, dispatch, mut drain } = self;
        let mut limit = limit(&dispatch.config());
        let permits = Arc::new(Semaphore::new(limit as usize));
        // Permits that are out and have to be taken back.
        let mut debt = 0;
        let mut draining = drain.clone();
        let mut draining = pin!(draining.started());
        let mut complained = None;
        loop {
            let permit = tokio::select! {
                biased;
                () = &mut draining => break,
                Ok(()) = generations.changed() => {
                    let next = self::limit(&generations.borrow_and_update().config);
                    resize(&permits, &mut debt, limit, next);
                    limit = next;
                    continue;
                }
                // Above the limit connections wait in the kernel.
                permit = permits.clone().acquire_owned() => permit.expect("never closed"),
            };
            if debt > 0 {
                permit.forget();
                debt -= 1;
                continue;
            }
            let (stream, peer) = tokio::select! {
                biased;
                () = &mut draining => break,
                accepted = accept(&listener, &dispatch, &mut complained) => accepted,
            };
            let config = dispatch.config();
            // Who speaks for others says first for whom.
            let place = match config.speaks_for_others(peer) {
                true => Ok(None),
                false => place(&dispatch, peer.ip()),
            };
            let Ok(place) = place else { continue };
            let connection = Connection {
                peer,
                local,
                tls: generations.borrow().tcp.clone(),
                dispatch: dispatch.clone(),
                activity: Rc::new(Activity::new(dispatch.counters.clone(), config)),
                drain: drain.clone(),
                era: dispatch.era(),
            };
            let registry = registry.clone();
            spawn_local(async move {
                connection.run(stream, &registry).await;
                drop((permit, place));
            });
        }
        drop(listener);
        tokio::select! {
            _ = permits.acquire_many(limit.saturating_add(debt)) => {}
            () = drain.expired() => {}
        }
    }
}

fn limit(config: &Config) -> u32 {
    u32::try_from(config.max_tcp_connections).unwrap_or(u32::MAX)
}

/// Makes room for more connections at once, or for fewer: those above the limit end by themselves, and `debt` says how
/// many permits are to be taken back then.
fn resize(permits: &Semaphore, debt: &mut u32, before: u32, now: u32) {
    let (more, fewer) = (now.saturating_sub(before), before.saturating_sub(now));
    let repaid = more.min(*debt);
    *debt -= repaid;
    permits.add_permits((more - repaid) as usize);
    let taken = permits.forget_permits(fewer as usize);
    *debt += fewer - u32::try_from(taken).unwrap_or(fewer);
}

/// The place of a new connection among those of its address.
///
/// # Errors
/// There is none, or connections of this address come too often: this one is closed.
fn place<S>(dispatch: &Dispatch<S>, client: IpAddr) -> Result<Option<Held>, TooMany> {
    let Some(limits) = &dispatch.limits else { return Ok(None) };
    let Some(place) = limits.connection(client) else {
        dispatch.counters.refused_connections.increment();
        return Err(TooMany);
    };
    // TCP's own handshake has proved the address.
    if !limits.handshake(client, true, Instant::now()) {
        dispatch.counters.refused_handshakes.increment();
        return Err(TooMany);
    }
    Ok(Some(place))
}

/// Of connections or of handshakes.
struct TooMany;

/// The next connection; failures are the machine's (no descriptors, no memory) or the client's, and pass.
///
/// `complained` is when the log last heard of the machine's: while they last there are 20 in a second.
async fn accept<S>(
    listener: &TcpListener,
    dispatch: &Dispatch<S>,
    complained: &mut Option<Instant>,
) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                dispatch.counters.tcp_connections.increment();
                // Responses leave when they are written; hyper batches by itself.
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(error) => {
                dispatch.counters.accept_failures.increment();
                if !is_of_one_connection(&error) {
                    if complained.is_none_or(|at| at.elapsed() >= COMPLAINT_PAUSE) {
                        *complained = Some(Instant::now());
                        tracing::warn!(%error, "cannot accept connections for now, trying on");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// The connection broke before it was accepted; the next one may be well.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// What is told of a TCP connection.
pub(crate) struct Tcp {
    peer: SocketAddr,
    local: SocketAddr,
    since: Instant,
    pub(crate) protocol: Cell<Option<Protocol>>,
    activity: Rc<Activity>,
    stream: TcpHandle,
}

impl Tcp {
    /// A reload has changed the limits and time-outs.
    pub(crate) fn follow(&self, config: &Arc<Config>) {
        self.activity.follow(config.clone());
    }

    pub(crate) fn describe(&self, worker: usize) -> OpenConnection {
        let info = crate::context::tcp_info(&self.stream);
        OpenConnection {
            worker,
            protocol: self.protocol.get(),
            peer: self.peer,
            local: self.local,
            requests: self.activity.requests(),
            rtt: info.map(|info| info.rtt()),
            age: Some(self.since.elapsed()),
            sent_bytes: info.map(|info| info.bytes_acknowledged),
            received_bytes: info.map(|info| info.bytes_received),
            sent_packets: None,
            lost_packets: None,
        }
    }
}

/// One TCP connection, from accept to end.
struct Connection<S> {
    peer: SocketAddr,
    local: SocketAddr,
    tls: Option<Arc<TcpTls>>,
    dispatch: Rc<Dispatch<S>>,
    activity: Rc<Activity>,
    drain: Drain,
    era: Rc<Era>,
}

impl<S: HttpService> Connection<S> {
    async fn run(self, stream: TcpStream, registry: &Rc<Registry>) {
        let dispatch = self.dispatch.clone();
        dispatch.counters.active_tcp_connections.increment();
        self.open(stream, registry).await;
        dispatch.counters.active_tcp_connections.decrement();
    }

    /// Whose connection it is, then TLS or the first bytes, then the HTTP version that they chose.
    async fn open(mut self, stream: TcpStream, registry: &Rc<Registry>) {
        let mut io = Io::new(stream, self.activity.clone());
        let handle = io.handle();
        let balancer = self.peer;
        if !self.learn_peer(&mut io).await {
            return;
        }
        let place = match self.peer == balancer {
            true => Ok(None),
            false => place(&self.dispatch, self.peer.ip()),
        };
        let Ok(_place) = place else { return };
        self.activity.ask(handle.clone());
        // From now on it hears of reloads.
        let config = self.dispatch.config();
        self.activity.follow(config.clone());
        let registered = registry.add(Tcp {
            peer: self.peer,
            local: self.local,
            since: Instant::now(),
            protocol: Cell::new(None),
            activity: self.activity.clone(),
            stream: handle.clone(),
        });
        let Some(tls) = self.tls.take() else {
            match timeout(config.header_timeout, is_http2(&mut io)).await {
                Ok(Ok(true)) => {
                    registered.set_protocol(Protocol::Http2);
                    self.serve_http2(io, None, handle).await;
                }
                Ok(Ok(false)) => {
                    registered.set_protocol(Protocol::Http1);
                    self.serve_http1(io, None, handle).await;
                }
                Ok(Err(_)) => {}
                Err(_) => self.activity.timed_out(),
            }
            return;
        };
        let mut drain = self.drain.clone();
        let (began, handshakes) = (Instant::now(), &self.dispatch.counters.handshakes);
        let handshake = timeout(config.handshake_timeout, accept_tls(&tls, io, reached(&handle)));
        let stream = tokio::select! {
            stream = handshake => stream,
            () = drain.expired_after_start() => return,
        };
        let stream = match stream {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.dispatch.counters.tls_failures.increment();
                handshakes.failed(Transport::Tcp, HandshakeFailure::of_io(&error));
                tracing::debug!(peer = %self.peer, %error, "TLS handshake failed");
                return;
            }
            Err(_) => {
                handshakes.failed(Transport::Tcp, HandshakeFailure::TimedOut);
                self.activity.timed_out();
                return;
            }
        };
        handshakes.succeeded(Transport::Tcp, began.elapsed());
        if stream.get_ref().1.alpn_protocol() == Some(challenge::PROTOCOL) {
            // req: 8737-3-handshake-alone
            let mut stream = stream;
            let _ = timeout(LAST_WORDS, stream.shutdown()).await;
            return;
        }
        let facts = facts(stream.get_ref().1);
        if facts.alpn.as_deref() == Some("h2") {
            registered.set_protocol(Protocol::Http2);
            self.serve_http2(stream, Some(facts), handle).await;
        } else {
            registered.set_protocol(Protocol::Http1);
            self.serve_http1(stream, Some(facts), handle).await;
        }
    }

    /// Reads the PROXY protocol from a peer that has to send it; false when it did not, and the connection is to end.
    async fn learn_peer(&mut self, io: &mut Io) -> bool {
        let config = self.activity.config().clone();
        if !config.speaks_for_others(self.peer) {
            return true;
        }
        let mut drain = self.drain.clone();
        let header = tokio::select! {
            header = timeout(config.handshake_timeout, read_header(io)) => header,
            () = drain.expired_after_start() => return false,
        };
        match header {
            Ok(Ok(source)) => {
                self.peer = source.unwrap_or(self.peer);
                true
            }
            Ok(Err(error)) => {
                self.dispatch.counters.proxy_protocol_errors.increment();
                tracing::debug!(peer = %self.peer, %error, "no PROXY protocol, the connection is closed");
                false
            }
            Err(_) => {
                self.activity.timed_out();
                false
            }
        }
    }

    async fn serve_http1<I>(self, io: I, tls: Option<TlsFacts>, tcp: TcpHandle)
    where
        I: AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    {
        let config = self.activity.config().clone();
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_header_size(config.max_header_size)
            .max_buf_size(config.max_header_size.max(MIN_HTTP1_BUFFER));
        self.activity.time_heads();
        let service = self.service(Protocol::Http1, tls, tcp.clone());
        let connection = builder.serve_connection(TokioIo::new(io), service);
        self.drive(connection, tcp, |connection| connection.graceful_shutdown()).await;
    }

    async fn serve_http2<I>(self, io: I, tls: Option<TlsFacts>, tcp: TcpHandle)
    where
        I: AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    {
        let config = self.activity.config().clone();
        let mut builder = http2::Builder::new(LocalExecutor);
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(config.max_http2_streams)
            .max_header_list_size(u32::try_from(config.max_header_size).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(MAX_HTTP2_RESETS)
            .max_local_error_reset_streams(MAX_HTTP2_RESETS)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .max_send_buf_size(HTTP2_SEND_BUFFER)
            .keep_alive_interval(HTTP2_PING_INTERVAL)
            .keep_alive_timeout(HTTP2_PING_TIMEOUT);
        let service = self.service(Protocol::Http2, tls, tcp.clone());
        let connection = Gather::new(io)
            .serve(self.activity.clone(), |io| builder.serve_connection(TokioIo::new(io), service));
        self.drive(connection, tcp, |gathered| gathered.connection().graceful_shutdown()).await;
    }

    /// Runs a hyper connection by the clocks of this server.
    async fn drive<C, E>(self, connection: C, tcp: TcpHandle, mut goodbye: impl FnMut(Pin<&mut C>))
    where
        C: Future<Output = Result<(), E>>,
        E: std::fmt::Display,
    {
        let Self { activity, mut drain, peer, era, dispatch, .. } = self;
        let mut connection = pin!(connection);
        let mut leaving = false;
        let mut deadline = drain.clone();
        // A client that is told to go and takes nothing of what it asked for must not stay for ever.
        let patience = sleep(Duration::MAX);
        let mut patience = pin!(patience);
        // Since the drain began, in which the client may have gone away without a word.
        let mut silence = None;
        let mut asks = pin!(sleep(Duration::MAX));
        // The clocks go on for a connection that is told to go by this: it has no deadline.
        let mut retired = false;
        let mut retires = pin!(era.over(peer.port()));
        loop {
            tokio::select! {
                biased;
                result = &mut connection => {
                    if let Err(error) = result {
                        tracing::debug!(%peer, %error, "HTTP connection failed");
                    }
                    return;
                }
                () = drain.started(), if silence.is_none() => {
                    let now = Instant::now();
                    silence = Some(Silence::begin(tcp.clone(), now));
                    asks.as_mut().reset((now + ASK_EVERY).into());
                    if !leaving {
                        leaving = true;
                        goodbye(connection.as_mut());
                    }
                }
                () = &mut asks => {
                    let now = Instant::now();
                    if silence.as_ref().is_some_and(|silence| silence.is_too_long(now)) {
                        dispatch.counters.vanished_clients.increment();
                        return;
                    }
                    asks.as_mut().reset((now + ASK_EVERY).into());
                }
                () = deadline.expired_after_start() => return,
                () = &mut retires, if !retired => {
                    retired = true;
                    dispatch.counters.retired_connections.increment();
                    goodbye(connection.as_mut());
                }
                () = &mut patience => {
                    activity.timed_out();
                    return;
                }
                due = activity.overdue(), if !leaving => match due {
                    // A client that dribbles its head gets no answer: there is no request to answer.
                    Due::Head(_) | Due::Stalled => {
                        activity.timed_out();
                        return;
                    }
                    Due::Idle(_) | Due::Overloading | Due::Nothing => {
                        leaving = true;
                        let rest = match due {
                            Due::Overloading => LAST_WORDS,
                            _ => activity.config().write_timeout,
                        };
                        let by = Instant::now() + rest;
                        patience.as_mut().reset(by.into());
                        goodbye(connection.as_mut());
                    }
                },
            }
        }
    }

    /// The hyper service: every version's request becomes the same one.
    fn service(
        &self,
        protocol: Protocol,
        tls: Option<TlsFacts>,
        tcp: TcpHandle,
    ) -> impl hyper::service::Service<
        Request<Incoming>,
        Response = http::Response<Tracked<Content<S::Content>>>,
        Error = h2::Error,
        Future: 'static,
    > + 'static {
        let context = Arc::new(ConnectionContext {
            protocol,
            peer: Mutex::new(self.peer),
            local: self.local,
            reached: tls.as_ref().and_then(|_| reached(&tcp)),
            worker: self.dispatch.worker,
            tls,
            rtt: Rtt::Tcp(tcp),
            early: None,
        });
        let (dispatch, activity) = (self.dispatch.clone(), self.activity.clone());
        let peer = self.peer;
        service_fn(move |request: Request<Incoming>| {
            let busy = Busy::new(&activity);
            let (pause, rate) = {
                let config = activity.config();
                (config.body_idle_timeout, config.min_rate)
            };
            let context = RequestContext::new(context.clone(), Arc::default());
            let refusal = message::refusal(&request);
            let request = request.map(|body| Body::incoming(body, pause, rate, &dispatch.counters));
            let limits = dispatch.limits.as_ref();
            let place = limits.map(|limits| limits.stream(peer.ip(), Instant::now()));
            let is_too_many = matches!(place, Some(None));
            if is_too_many {
                dispatch.overloaded(peer);
                activity.overloads();
            }
            let (dispatch, activity) = (dispatch.clone(), activity.clone());
            async move {
                if is_too_many {
                    // On HTTP/1.1 the connection ends without an answer.
                    return Err(h2::Reason::ENHANCE_YOUR_CALM.into());
                }
                let turn = match protocol {
                    Protocol::Http2 => Some(crowd::Place::of(activity).await),
                    Protocol::Http1 | Protocol::Http3 => None,
                };
                let response = match refusal {
                    None => dispatch.answer(request, context).await,
                    Some(status) => dispatch.refuse(protocol, status),
                };
                Ok(response.map(|content| Tracked::new(content, busy, (place.flatten(), turn))))
            }
        })
    }
}

/// Reads the header of the PROXY protocol, and puts back what came behind it.
async fn read_header(io: &mut Io) -> std::io::Result<Option<SocketAddr>> {
    use std::io::{
        Error,
        ErrorKind::{InvalidData, UnexpectedEof},
    };
    let mut seen = BytesMut::with_capacity(PROXY_HEADER);
    loop {
        let parsed =
            proxy_protocol::parse(&seen).map_err(|error| Error::new(InvalidData, error))?;
        if let Some(header) = parsed {
            io.unread(seen.split_off(header.len).freeze());
            return Ok(header.source);
        }
        let room = proxy_protocol::MAX_LEN.saturating_sub(seen.len());
        if (&mut *io).take(room as u64).read_buf(&mut seen).await? == 0 {
            return Err(UnexpectedEof.into());
        }
    }
}

/// Reads up to the first byte that differs from HTTP/2's preface (RFC 9113 §3.4), and puts all of it back.
async fn is_http2(io: &mut Io) -> std::io::Result<bool> {
    let mut seen = BytesMut::with_capacity(HTTP2_PREFACE.len());
    while seen.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&seen) {
        let mut rest = (&mut *io).take((HTTP2_PREFACE.len() - seen.len()) as u64);
        if rest.read_buf(&mut seen).await? == 0 {
            break;
        }
    }
    let matches = seen == HTTP2_PREFACE;
    io.unread(seen.freeze());
    Ok(matches)
}

/// TLS, which the name that the client asks for chooses where that decides whom it lets in, or our address where it asks for none.
async fn accept_tls(tls: &TcpTls, io: Io, local: Option<IpAddr>) -> std::io::Result<TlsStream<Io>> {
    if let Some(only) = tls.only() {
        return TlsAcceptor::from(only.clone()).accept(io).await;
    }
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), io).await?;
    let chosen = tls.of(&start.client_hello(), local).clone();
    start.into_stream(chosen).await
}

fn facts(connection: &rustls::ServerConnection) -> TlsFacts {
    let client_certificates: Vec<Vec<u8>> = connection
        .peer_certificates()
        .unwrap_or_default()
        .iter()
        .map(|certificate| certificate.to_vec())
        .collect();
    TlsFacts {
        version: connection.protocol_version().map(version_name),
        cipher_suite: connection.negotiated_cipher_suite().and_then(|s| s.suite().as_str()),
        key_exchange: connection.negotiated_key_exchange_group().and_then(|g| g.name().as_str()),
        alpn: connection.alpn_protocol().map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
        server_name: connection.server_name().map(str::to_owned),
        client: ClientIdentity::of(&client_certificates),
        client_certificates,
    }
}

pub(crate) fn version_name(version: rustls::ProtocolVersion) -> &'static str {
    match version {
        rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
        rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
        _ => "unknown",
    }
}

/// Runs hyper's HTTP/2 streams on the worker's thread, so that they need not be `Send`.
///
/// Most are answered at the first attempt: that is made at once, and only those that have to wait become tasks. A panic
/// ends what a task of its own would have ended.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        let mut future = Box::pin(future);
        // Whom it would wake does not matter: a task begins by polling.
        let mut cx = Context::from_waker(Waker::noop());
        let attempt = || future.as_mut().poll(&mut cx).is_pending();
        match catch_unwind(AssertUnwindSafe(attempt)) {
            Ok(true) => drop(spawn_local(future)),
            Ok(false) => {
                if catch_unwind(AssertUnwindSafe(|| drop(future))).is_err() {
                    tracing::error!("a request panicked when it was dropped");
                }
            }
            Err(_) => tracing::error!("a request panicked"),
        }
    }
}

/// Our address that the client came to: the listener's may stand for many.
fn reached(stream: &TcpHandle) -> Option<IpAddr> {
    Some(stream.upgrade()?.local_addr().ok()?.ip())
}

type TcpHandle = std::sync::Weak<TcpStream>;

/// What a header of the PROXY protocol takes, but for a rare one.
const PROXY_HEADER: usize = 256;

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Pause after a failure to accept that the next connection would meet too: long enough for descriptors to be freed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Pause between two lines of the log about that.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(10);

/// For a connection that is closed against its will to say so.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// hyper's own lower bound.
const MIN_HTTP1_BUFFER: usize = 8192;

/// Streams that a client may have reset before they were looked at, against rapid reset (CVE-2023-44487).
const MAX_HTTP2_RESETS: usize = 20;

/// Upload windows: one stream may fill 100 Mbit/s at 80 ms, a connection four of them.
const HTTP2_STREAM_WINDOW: u32 = 1 << 20;
const HTTP2_CONNECTION_WINDOW: u32 = 4 << 20;

/// Response bytes of one stream that wait for the client.
const HTTP2_SEND_BUFFER: usize = 256 * 1024;

const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);
