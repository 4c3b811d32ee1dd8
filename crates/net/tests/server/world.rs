//! One server and its clients: what a test needs in one line.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Extension, Router,
    body::Body,
    extract::Path,
    http::{HeaderMap, HeaderValue, Request, Response, StatusCode},
    routing::{any, get, post},
};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use sterna_net::{RequestContext, Running, Server, ServerTls, server::Config};
use sterna_quic::{ClientConfig, Group, SocketOptions};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::LocalSet};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::Service;

use crate::client::Client;

/// Runs a test on one thread, and ends it when it hangs.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(PATIENCE, test).await.expect("the test hangs");
    });
}

/// No test waits for anything this long unless it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what the server does in its own time.
pub(crate) async fn settled(mut look: impl FnMut() -> bool) {
    while !look() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A server on loopback, with what its clients must trust.
pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
    pub(crate) marks: Marks,
    certificate: CertificateDer<'static>,
}

/// What handlers tell the test.
#[derive(Clone, Default)]
pub(crate) struct Marks {
    /// Requests whose cancellation fired.
    pub(crate) cancelled: Arc<AtomicUsize>,
    /// Handler futures that were dropped before they ended.
    pub(crate) dropped: Arc<AtomicUsize>,
    /// Body errors that handlers saw.
    pub(crate) failed_bodies: Arc<AtomicUsize>,
    /// Bytes that the bodies made.
    pub(crate) produced: Arc<AtomicUsize>,
    /// Lets `/held` read its body.
    pub(crate) release: Arc<tokio::sync::Notify>,
}

impl World {
    /// A server with the routes below, one worker, and the default configuration.
    pub(crate) fn start() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        Self::on(config, 1, true)
    }

    pub(crate) fn on(config: Config, workers: usize, tls: bool) -> Self {
        let marks = Marks::default();
        Self::serving(config, workers, tls, marks.clone(), router(&marks))
    }

    /// A server of another service.
    pub(crate) fn of<S>(service: S) -> Self
    where
        S: Service<Request<sterna_net::Body>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
    {
        Self::serving(Config::default(), 1, true, Marks::default(), service)
    }

    /// A server whose service lets clients take their time with what they send.
    pub(crate) fn unhurried(config: Config) -> Self {
        let marks = Marks::default();
        let router = router(&marks);
        let service = tower::service_fn(move |mut request: Request<sterna_net::Body>| {
            request.body_mut().min_rate(None);
            router.clone().call(request)
        });
        Self::serving(config, 1, true, marks, service)
    }

    fn serving<S>(config: Config, workers: usize, tls: bool, marks: Marks, service: S) -> Self
    where
        S: Service<Request<sterna_net::Body>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
    {
        let (server_tls, certificate) = certificate();
        let running = Server::builder()
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
            .tls(tls.then_some(server_tls))
            .workers(workers)
            .config(config)
            .bind()
            .expect("loopback can be bound")
            .serve(service)
            .expect("threads can be started");
        let address = running.addresses()[0];
        Self { running, address, marks, certificate }
    }

    /// An HTTP/3 connection.
    pub(crate) async fn http3(&self) -> Client {
        self.http3_with(sterna_quic::Config::default()).await
    }

    pub(crate) async fn http3_with(&self, transport: sterna_quic::Config) -> Client {
        let client = Client::default();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let group = Group::client(address, &SocketOptions::default()).expect("a socket");
        let member = group.into_members().pop().expect("one member");
        let mut driver = member.start(None, client.app()).expect("a driver");
        let tls = Arc::new(self.client_tls(&[b"h3"]));
        let config = ClientConfig { tls, transport };
        driver.connect(&config, self.address, "localhost").expect("a connection");
        tokio::task::spawn_local(async move { while driver.turn().await.is_ok() {} });
        client.until(|shared| (shared.connected || shared.closed.is_some()).then_some(())).await;
        client
    }

    pub(crate) async fn http1(&self) -> http1::SendRequest<ClientBody> {
        let stream = self.tls(b"http/1.1").await.expect("a TLS connection");
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("http/1.1");
        tokio::spawn(connection);
        sender
    }

    pub(crate) async fn http2(&self) -> http2::SendRequest<ClientBody> {
        let stream = self.tls(b"h2").await.expect("a TLS connection");
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("h2");
        tokio::spawn(connection);
        sender
    }

    /// An HTTP/2 connection whose streams may receive so many bytes until they are read.
    pub(crate) async fn http2_with_window(&self, window: u32) -> http2::SendRequest<ClientBody> {
        let stream = self.tls(b"h2").await.expect("a TLS connection");
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("h2");
        tokio::spawn(connection);
        sender
    }

    pub(crate) async fn tls(&self, alpn: &'static [u8]) -> std::io::Result<TlsStream<TcpStream>> {
        self.tls_after(b"", alpn).await
    }

    /// TLS behind what is sent in the clear first.
    pub(crate) async fn tls_after(
        &self,
        first: &[u8],
        alpn: &'static [u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(first).await?;
        let connector = TlsConnector::from(Arc::new(self.client_tls(&[alpn])));
        let name = ServerName::try_from("localhost").expect("a name");
        connector.connect(name, stream).await
    }

    /// With a receive buffer of so many bytes.
    pub(crate) async fn tls_with_buffer(
        &self,
        alpn: &'static [u8],
        buffer: u32,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(buffer)?;
        let stream = socket.connect(self.address).await?;
        let connector = TlsConnector::from(Arc::new(self.client_tls(&[alpn])));
        connector.connect(ServerName::try_from("localhost").expect("a name"), stream).await
    }

    fn client_tls(&self, alpn: &[&[u8]]) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a valid certificate");
        client_tls(roots, alpn)
    }
}

pub(crate) fn client_tls(roots: rustls::RootCertStore, alpn: &[&[u8]]) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

/// A certificate for `localhost`.
pub(crate) fn certificate() -> (ServerTls, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("valid names");
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    (ServerTls::from_der(vec![certificate.clone()], key).expect("a matching pair"), certificate)
}

/// The body of requests over TCP.
pub(crate) type ClientBody = UnsyncBoxBody<Bytes, Infallible>;

pub(crate) fn full(data: impl Into<Bytes>) -> ClientBody {
    Full::new(data.into()).boxed_unsync()
}

pub(crate) fn request(
    method: &str,
    address: SocketAddr,
    path: &str,
    body: ClientBody,
) -> Request<ClientBody> {
    Request::builder()
        .method(method)
        .uri(format!("https://{address}{path}"))
        .header("host", address.to_string())
        .body(body)
        .expect("a valid request")
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}

/// The byte at each offset of `/bytes/{n}`.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 13 + 5) as u8).collect()
}

fn router(marks: &Marks) -> Router {
    Router::new()
        .route("/", get(hello))
        .route("/facts", get(facts))
        .route("/echo", post(echo))
        .route("/count", post(count))
        .route("/held", post(held))
        .route("/thread", post(on_another_thread))
        .route("/bytes/{n}", get(bytes))
        .route("/whole/{n}", get(whole))
        .route("/trailers", get(trailers))
        .route("/early", get(early))
        .route("/panic", get(|| async { panic_now() }))
        .route("/panic-body", get(|| async { Body::new(Panics) }))
        .route("/error-body", get(|| async { Body::new(Fails { sent: false }) }))
        .route("/short", get(short))
        .route("/slow/{ms}", get(slow))
        .route("/off-loaded", get(off_loaded))
        .route("/block", get(block))
        .route("/never", any(never))
        .route("/ignore", post(|| async { "ignored" }))
        .route("/no-content", get(|| async { StatusCode::NO_CONTENT }))
        .layer(Extension(marks.clone()))
}

async fn hello(Extension(context): Extension<RequestContext>) -> String {
    format!("hello over {}", context.protocol())
}

async fn facts(Extension(context): Extension<RequestContext>) -> String {
    let tls = context.tls().expect("TLS");
    format!(
        "{} {} {} {} rtt={} peer={}",
        tls.version.unwrap_or("?"),
        tls.cipher_suite.unwrap_or("?"),
        tls.alpn.as_deref().unwrap_or("?"),
        tls.server_name.as_deref().unwrap_or("?"),
        context.rtt().is_some_and(|rtt| rtt > Duration::ZERO && rtt < Duration::from_secs(1)),
        context.peer_address().ip(),
    )
}

async fn echo(
    Extension(context): Extension<RequestContext>,
    request: Request<Body>,
) -> Response<Body> {
    let mut response = Response::new(request.into_body());
    let protocol = HeaderValue::from_static(context.protocol().as_str());
    response.headers_mut().insert("x-protocol", protocol);
    response
}

async fn count(Extension(marks): Extension<Marks>, request: Request<Body>) -> Response<Body> {
    let (count, trailers, failed) = read(request.into_body()).await;
    if failed {
        marks.failed_bodies.fetch_add(1, Ordering::SeqCst);
    }
    let mut response = Response::new(Body::from(count.to_string()));
    if failed {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    if let Some(value) = trailers.and_then(|trailers| trailers.get("x-sum").cloned()) {
        response.headers_mut().insert("x-sum", value);
    }
    response
}

/// Reads its body only when the test says so.
async fn held(marks: Extension<Marks>, request: Request<Body>) -> Response<Body> {
    marks.release.notified().await;
    count(marks, request).await
}

async fn on_another_thread(request: Request<Body>) -> String {
    let (send, receive) = tokio::sync::oneshot::channel();
    let body = request.into_body();
    std::thread::spawn(move || {
        // A runtime of its own: the worker's is elsewhere.
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let _ = send.send(runtime.block_on(read(body)).0);
    });
    receive.await.expect("the thread answers").to_string()
}

async fn read(mut body: Body) -> (usize, Option<HeaderMap>, bool) {
    let (mut count, mut trailers) = (0, None);
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => count += data.len(),
            Ok(Err(frame)) => trailers = frame.into_trailers().ok(),
            Err(_) => return (count, trailers, true),
        }
    }
    (count, trailers, false)
}

async fn bytes(Extension(marks): Extension<Marks>, Path(len): Path<usize>) -> Body {
    Body::new(Pattern { offset: 0, len, produced: marks.produced })
}

/// In one piece.
async fn whole(Path(len): Path<usize>) -> Vec<u8> {
    pattern(len)
}

async fn trailers() -> Body {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-count", HeaderValue::from_static("4"));
    Body::new(Full::from("four").with_trailers(async move { Some(Ok(trailers)) }))
}

async fn early(Extension(context): Extension<RequestContext>) -> &'static str {
    let mut hints = HeaderMap::new();
    hints.insert("link", HeaderValue::from_static("</style.css>; rel=preload"));
    let sent = context.send_early_hints(hints);
    tokio::time::sleep(Duration::from_millis(10)).await;
    if sent { "hinted" } else { "not hinted" }
}

fn panic_now() -> &'static str {
    panic!("as the test wants")
}

async fn short() -> Response<Body> {
    let mut response = Response::new(Body::new(Fails { sent: false }));
    response.headers_mut().insert("content-length", HeaderValue::from_static("1000"));
    response
}

async fn slow(Path(ms): Path<u64>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    "slow"
}

/// Blocks the worker, as nothing should.
async fn block() -> &'static str {
    std::thread::sleep(Duration::from_millis(60));
    "blocked"
}

/// Blocks, but not the worker.
async fn off_loaded() -> &'static str {
    let blocking = || {
        std::thread::sleep(Duration::from_millis(300));
        "off-loaded"
    };
    tokio::task::spawn_blocking(blocking).await.expect("it does not panic")
}

/// Ends only by being dropped, and tells that it was.
async fn never(
    Extension(marks): Extension<Marks>,
    Extension(context): Extension<RequestContext>,
) -> &'static str {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let _dropped = Dropped(marks.dropped.clone());
    let cancellation = context.cancellation();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(cancellation.cancelled());
        marks.cancelled.fetch_add(1, Ordering::SeqCst);
    });
    std::future::pending().await
}

struct Pattern {
    offset: usize,
    len: usize,
    produced: Arc<AtomicUsize>,
}

impl http_body::Body for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let end = self.len.min(self.offset + 16 * 1024);
        let data: Bytes = (self.offset..end).map(|i| (i * 13 + 5) as u8).collect();
        self.offset = end;
        self.produced.fetch_add(data.len(), Ordering::SeqCst);
        Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.offset == self.len
    }
}

struct Panics;

impl http_body::Body for Panics {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("as the test wants")
    }
}

/// One chunk, then an error.
struct Fails {
    sent: bool,
}

impl http_body::Body for Fails {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let sent = std::mem::replace(&mut self.sent, true);
        Poll::Ready(Some(if sent {
            Err(std::io::Error::other("as the test wants"))
        } else {
            Ok(Frame::data(Bytes::from_static(b"begin")))
        }))
    }
}
