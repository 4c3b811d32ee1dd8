//! HTTP/1.1 and HTTP/2: accept, TLS, hyper, and an orderly end.
//!
//! The ALPN of the handshake chooses the version; without TLS the first bytes do. hyper speaks the protocols, this
//! module keeps their clocks: handshake, head, idle, slow reader, drain.

mod activity;
mod host;
mod io;

use std::{
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use http::{Request, StatusCode};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::spawn_local,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use self::{
    activity::{Activity, Busy, Due, Tracked},
    io::Io,
};
use crate::{
    Body, Protocol, RequestContext, TlsFacts,
    content::Content,
    context::{ConnectionContext, Rtt},
    service::{Dispatch, HttpService},
    shutdown::Drain,
};

/// One worker's listener on one address.
pub(crate) struct Listener<S> {
    pub(crate) listener: TcpListener,
    pub(crate) local: SocketAddr,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) dispatch: Rc<Dispatch<S>>,
    pub(crate) drain: Drain,
}

impl<S: HttpService> Listener<S> {
    /// Accepts until the drain begins, then waits for the connections to end or for the drain's deadline.
    pub(crate) async fn run(self) {
        let Self { listener, local, tls, dispatch, mut drain } = self;
        let limit = u32::try_from(dispatch.config.max_tcp_connections).unwrap_or(u32::MAX);
        let permits = Arc::new(Semaphore::new(limit as usize));
        let mut draining = drain.clone();
        let mut draining = pin!(draining.started());
        let mut complained = None;
        loop {
            let permit = tokio::select! {
                biased;
                () = &mut draining => break,
                // Above the limit connections wait in the kernel.
                permit = permits.clone().acquire_owned() => permit.expect("never closed"),
            };
            let (stream, peer) = tokio::select! {
                biased;
                () = &mut draining => break,
                accepted = accept(&listener, &dispatch, &mut complained) => accepted,
            };
            let connection = Connection {
                peer,
                local,
                tls: tls.clone(),
                dispatch: dispatch.clone(),
                activity: Rc::new(Activity::new(dispatch.counters.clone())),
                drain: drain.clone(),
            };
            spawn_local(async move {
                connection.run(stream).await;
                drop(permit);
            });
        }
        drop(listener);
        tokio::select! {
            _ = permits.acquire_many(limit) => {}
            () = drain.expired() => {}
        }
    }
}

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

/// One TCP connection, from accept to end.
struct Connection<S> {
    peer: SocketAddr,
    local: SocketAddr,
    tls: Option<TlsAcceptor>,
    dispatch: Rc<Dispatch<S>>,
    activity: Rc<Activity>,
    drain: Drain,
}

impl<S: HttpService> Connection<S> {
    async fn run(self, stream: TcpStream) {
        let dispatch = self.dispatch.clone();
        dispatch.counters.active_tcp_connections.increment();
        self.open(stream).await;
        dispatch.counters.active_tcp_connections.decrement();
    }

    /// TLS or the first bytes, then the HTTP version that they chose.
    async fn open(mut self, stream: TcpStream) {
        let config = self.dispatch.config.clone();
        let mut io = Io::new(stream, self.activity.clone(), config.write_timeout);
        let handle = io.handle();
        let Some(acceptor) = self.tls.take() else {
            match timeout(config.header_timeout, is_http2(&mut io)).await {
                Ok(Ok(true)) => self.serve_http2(io, None, handle).await,
                Ok(Ok(false)) => self.serve_http1(io, None, handle).await,
                Ok(Err(_)) => {}
                Err(_) => self.activity.timed_out(),
            }
            return;
        };
        let mut drain = self.drain.clone();
        let handshake = timeout(config.handshake_timeout, acceptor.accept(io));
        let stream = tokio::select! {
            stream = handshake => stream,
            () = drain.expired_after_start() => return,
        };
        let stream = match stream {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.dispatch.counters.tls_failures.increment();
                tracing::debug!(peer = %self.peer, %error, "TLS handshake failed");
                return;
            }
            Err(_) => {
                self.activity.timed_out();
                return;
            }
        };
        let facts = facts(stream.get_ref().1);
        if facts.alpn.as_deref() == Some("h2") {
            self.serve_http2(stream, Some(facts), handle).await;
        } else {
            self.serve_http1(stream, Some(facts), handle).await;
        }
    }

    async fn serve_http1<I>(self, io: I, tls: Option<TlsFacts>, tcp: TcpHandle)
    where
        I: AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    {
        let config = &self.dispatch.config;
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_header_size(config.max_header_size)
            .max_buf_size(config.max_header_size.max(MIN_HTTP1_BUFFER));
        self.activity.time_heads();
        let service = self.service(Protocol::Http1, tls, tcp);
        let connection = builder.serve_connection(TokioIo::new(io), service);
        self.drive(connection, |connection| connection.graceful_shutdown()).await;
    }

    async fn serve_http2<I>(self, io: I, tls: Option<TlsFacts>, tcp: TcpHandle)
    where
        I: AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    {
        let config = &self.dispatch.config;
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
        let service = self.service(Protocol::Http2, tls, tcp);
        let connection = builder.serve_connection(TokioIo::new(io), service);
        self.drive(connection, |connection| connection.graceful_shutdown()).await;
    }

    /// Runs a hyper connection by the clocks of this server.
    async fn drive<C>(self, connection: C, mut goodbye: impl FnMut(Pin<&mut C>))
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let Self { dispatch, activity, mut drain, peer, .. } = self;
        let mut connection = pin!(connection);
        let mut leaving = false;
        let mut deadline = drain.clone();
        // A client that is told to go and takes nothing of what it asked for must not stay for ever.
        let patience = sleep(Duration::MAX);
        let mut patience = pin!(patience);
        loop {
            tokio::select! {
                biased;
                result = &mut connection => {
                    if let Err(error) = result {
                        tracing::debug!(%peer, %error, "HTTP connection failed");
                    }
                    return;
                }
                () = drain.started(), if !leaving => {
                    leaving = true;
                    goodbye(connection.as_mut());
                }
                () = deadline.expired_after_start() => return,
                () = &mut patience => {
                    activity.timed_out();
                    return;
                }
                due = activity.overdue(&dispatch.config), if !leaving => match due {
                    // A client that dribbles its head gets no answer: there is no request to answer.
                    Due::Head(_) | Due::Stalled => {
                        activity.timed_out();
                        return;
                    }
                    Due::Idle(_) | Due::Nothing => {
                        leaving = true;
                        let by = Instant::now() + dispatch.config.write_timeout;
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
        Error = std::convert::Infallible,
        Future: 'static,
    > + 'static {
        let context = Arc::new(ConnectionContext {
            protocol,
            peer: Mutex::new(self.peer),
            local: self.local,
            worker: self.dispatch.worker,
            tls,
            rtt: Rtt::Tcp(tcp),
        });
        let (dispatch, activity) = (self.dispatch.clone(), self.activity.clone());
        service_fn(move |request: Request<Incoming>| {
            let busy = Busy::new(&activity);
            let context = RequestContext::new(context.clone(), Arc::default());
            let pause = dispatch.config.body_idle_timeout;
            let is_host_valid = host::is_valid(&request);
            let request = request.map(|body| Body::incoming(body, pause, &dispatch.counters));
            let dispatch = dispatch.clone();
            async move {
                let response = if is_host_valid {
                    dispatch.answer(request, context).await
                } else {
                    dispatch.refuse(protocol, StatusCode::BAD_REQUEST)
                };
                Ok(response.map(|content| Tracked::new(content, busy)))
            }
        })
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

fn facts(connection: &rustls::ServerConnection) -> TlsFacts {
    TlsFacts {
        version: connection.protocol_version().map(version_name),
        cipher_suite: connection.negotiated_cipher_suite().and_then(|s| s.suite().as_str()),
        key_exchange: connection.negotiated_key_exchange_group().and_then(|g| g.name().as_str()),
        alpn: connection.alpn_protocol().map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
        server_name: connection.server_name().map(str::to_owned),
        client_certificates: connection
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|certificate| certificate.to_vec())
            .collect(),
    }
}

fn version_name(version: rustls::ProtocolVersion) -> &'static str {
    match version {
        rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
        rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
        _ => "unknown",
    }
}

/// Runs hyper's HTTP/2 streams on the worker's thread, so that they need not be `Send`.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        spawn_local(async move {
            future.await;
        });
    }
}

type TcpHandle = std::sync::Weak<TcpStream>;

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Pause after a failure to accept that the next connection would meet too: long enough for descriptors to be freed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Pause between two lines of the log about that.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(10);

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
