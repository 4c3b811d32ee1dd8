//! A server, a client that trusts it, and what a test needs in one line.

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
    body::Body as AxumBody,
    extract::Path,
    http::{HeaderMap, HeaderValue},
    routing::{any, get, post},
};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sterna_net::{
    Body, Client, RequestContext, Running, Server, ServerTls,
    client::{Builder, Error, Exchange, Roots, Versions},
    server::Config,
};

/// Runs a test, and ends it when it hangs.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, test).await.expect("the test hangs");
    });
}

/// No test waits for anything this long unless it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what others do in their own time.
pub(crate) async fn settled(mut look: impl FnMut() -> bool) {
    while !look() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A server on loopback.
pub(crate) struct World {
    /// Serves as long as the world lives.
    _running: Running,
    pub(crate) address: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) marks: Marks,
}

/// What handlers tell the test.
#[derive(Clone, Default)]
pub(crate) struct Marks {
    /// Bytes that response bodies made.
    pub(crate) produced: Arc<AtomicUsize>,
    /// Handlers that were dropped before they ended.
    pub(crate) dropped: Arc<AtomicUsize>,
    /// Requests that came.
    pub(crate) requests: Arc<AtomicUsize>,
    /// Lets `/held` answer.
    pub(crate) release: Arc<tokio::sync::Notify>,
}

impl World {
    pub(crate) fn start() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        Self::on(config, true)
    }

    pub(crate) fn on(config: Config, is_secure: bool) -> Self {
        let (tls, certificate) = certificate(["localhost", "127.0.0.1"]);
        Self::serving(config, is_secure.then_some(tls), certificate)
    }

    /// With this certificate.
    pub(crate) fn showing(
        config: Config,
        tls: ServerTls,
        certificate: CertificateDer<'static>,
    ) -> Self {
        Self::serving(config, Some(tls), certificate)
    }

    fn serving(
        config: Config,
        tls: Option<ServerTls>,
        certificate: CertificateDer<'static>,
    ) -> Self {
        let marks = Marks::default();
        let running = Server::builder()
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
            .tls(tls)
            .workers(1)
            .config(config)
            .bind()
            .unwrap()
            .serve(router(&marks))
            .unwrap();
        let address = running.addresses()[0];
        Self { _running: running, address, certificate, marks }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    /// What clients of this server begin with.
    pub(crate) fn builder(&self) -> Builder {
        Client::builder()
            .roots(Roots::Only(vec![self.certificate.clone()]))
            .connect_to("127.0.0.1", self.address.port())
            .watch_network(false)
    }

    pub(crate) fn client(&self, versions: Versions) -> Client {
        self.builder().versions(versions).build().unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Request<Body> {
        Request::get(self.url(path)).body(Body::empty()).unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: impl Into<Body>) -> Request<Body> {
        Request::post(self.url(path)).body(body.into()).unwrap()
    }
}

pub(crate) fn certificate<const N: usize>(
    names: [&str; N],
) -> (ServerTls, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(names.map(str::to_owned)).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    (ServerTls::from_der(vec![certificate.clone()], key).unwrap(), certificate)
}

/// The versions one by one.
pub(crate) const EACH: [Versions; 3] = [Versions::ONLY_H1, Versions::ONLY_H2, Versions::ONLY_H3];

pub(crate) fn exchange(response: &Response<Body>) -> &Exchange {
    response.extensions().get().expect("every response has one")
}

pub(crate) async fn text(response: Response<Body>) -> String {
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Why a body failed.
pub(crate) async fn body_error(response: Response<Body>) -> Error {
    match response.into_body().collect().await {
        Err(sterna_net::body::Error::Response(error)) => error,
        Err(other) => panic!("{other:?}"),
        Ok(whole) => panic!("whole: {} bytes", whole.to_bytes().len()),
    }
}

/// The byte at each offset of `/bytes/{n}`.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 13 + 5) as u8).collect()
}

/// A body that a test feeds.
pub(crate) struct Fed(pub(crate) tokio::sync::mpsc::Receiver<Frame<Bytes>>);

pub(crate) fn fed() -> (tokio::sync::mpsc::Sender<Frame<Bytes>>, Fed) {
    let (feed, fed) = tokio::sync::mpsc::channel(1);
    (feed, Fed(fed))
}

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

fn router(marks: &Marks) -> Router {
    Router::new()
        .route("/", get(hello))
        .route("/echo", post(|request: Request<AxumBody>| async { request.into_body() }))
        .route("/count", post(count))
        .route("/bytes/{n}", get(bytes))
        .route("/trailers", get(trailers))
        .route("/early", get(early))
        .route("/held", any(held))
        .route("/unread", post(unread))
        .route("/never", any(never))
        .route("/headers/{n}", get(headers))
        .layer(Extension(marks.clone()))
}

async fn hello(Extension(context): Extension<RequestContext>, marks: Extension<Marks>) -> String {
    marks.requests.fetch_add(1, Ordering::SeqCst);
    format!("hello over {}", context.protocol())
}

async fn count(request: Request<AxumBody>) -> String {
    let collected = request.into_body().collect().await.unwrap();
    let sum = collected.trailers().and_then(|trailers| trailers.get("x-sum")).cloned();
    let sum = sum.map_or_else(String::new, |sum| format!(" {}", sum.to_str().unwrap()));
    format!("{}{sum}", collected.to_bytes().len())
}

async fn held(marks: Extension<Marks>) -> &'static str {
    marks.requests.fetch_add(1, Ordering::SeqCst);
    marks.release.notified().await;
    "released"
}

/// Keeps its request's body without reading it.
async fn unread(marks: Extension<Marks>, request: Request<AxumBody>) -> &'static str {
    held(marks).await;
    drop(request);
    "released"
}

async fn never(marks: Extension<Marks>) -> &'static str {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    marks.requests.fetch_add(1, Ordering::SeqCst);
    let _dropped = Dropped(marks.dropped.clone());
    std::future::pending().await
}

async fn bytes(Extension(marks): Extension<Marks>, Path(len): Path<usize>) -> AxumBody {
    AxumBody::new(Pattern { offset: 0, len, produced: marks.produced })
}

async fn trailers() -> AxumBody {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-count", HeaderValue::from_static("4"));
    AxumBody::new(Full::from("four").with_trailers(async move { Some(Ok(trailers)) }))
}

async fn early(Extension(context): Extension<RequestContext>) -> &'static str {
    let mut hints = HeaderMap::new();
    hints.insert("link", HeaderValue::from_static("</style.css>; rel=preload"));
    let is_sent = context.send_early_hints(hints);
    if is_sent { "hinted" } else { "not hinted" }
}

/// A head of `n` fields of 1000 bytes each.
async fn headers(Path(n): Path<usize>) -> (HeaderMap, &'static str) {
    let mut headers = HeaderMap::new();
    for i in 0..n {
        let name = http::HeaderName::from_bytes(format!("x-filler-{i}").as_bytes()).unwrap();
        headers.insert(name, HeaderValue::from_str(&"v".repeat(1000)).unwrap());
    }
    (headers, "filled")
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
}
