//! An axum `Router` over HTTP/1.1, HTTP/2 and HTTP/3 on one port.
//!
//! ```text
//! cargo run -p sterna-net --example axum -- --listen 127.0.0.1:8443 [--cert F --key F] [--workers N]
//! ```
//! Without a certificate it makes one for `localhost`, which no browser trusts. SIGTERM or Ctrl-C drains.

use std::{
    convert::Infallible,
    error::Error,
    net::SocketAddr,
    pin::Pin,
    process::ExitCode,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    body::Body,
    extract::Path,
    http::{HeaderMap, HeaderValue, Request, Response, header::TRAILER},
    response::IntoResponse,
    routing::{get, post},
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sterna_net::{RequestContext, Server, ServerTls, Shutdown};

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(args: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let options = Options::parse(args)?;
    let tls = match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => ServerTls::from_pem_files(cert, key)?,
        _ => self_signed()?,
    };
    let mut builder = Server::builder().listen(options.listen).tls(tls);
    if let Some(workers) = options.workers {
        builder = builder.workers(workers);
    }
    let bound = builder.bind()?;
    for warning in bound.warnings() {
        eprintln!("warning: {warning}");
    }
    let running = bound.serve(router())?;
    end_on_signal(running.handle())?;
    for address in running.addresses() {
        eprintln!("https://{address}");
    }
    eprintln!("ready in {} ms", started.elapsed().as_millis());
    running.wait()?;
    Ok(())
}

/// The routes: nothing in them knows which HTTP version calls.
fn router() -> Router {
    Router::new()
        .route("/", get(hello))
        .route("/echo", post(echo))
        .route("/sha256", post(sha256))
        .route("/bytes/{n}", get(pattern))
        .route("/trailers", post(trailers))
        .route("/early", get(early))
        .route("/panic", get(panics))
        .route("/slow/{ms}", get(slow))
        .route("/ignore", post(ignore))
}

async fn hello(Extension(context): Extension<RequestContext>) -> String {
    format!("hello over {}", context.protocol())
}

/// The request's body is the response's: it streams, trailers included, and neither side is buffered.
async fn echo(
    Extension(context): Extension<RequestContext>,
    request: Request<Body>,
) -> Response<Body> {
    // HTTP/1.1 carries only trailers that were announced.
    let announced = request.headers().get(TRAILER).cloned();
    let mut response = Response::new(request.into_body());
    if let Some(names) = announced {
        response.headers_mut().insert(TRAILER, names);
    }
    let protocol = HeaderValue::from_static(context.protocol().as_str());
    response.headers_mut().insert("x-protocol", protocol);
    response
}

async fn sha256(request: Request<Body>) -> Result<String, String> {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.map_err(|error| error.to_string())?.data_ref() {
            digest.update(data);
        }
    }
    Ok(digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn pattern(Path(len): Path<u64>) -> Body {
    Body::new(Pattern { left: len, block: (0..BLOCK).map(|i| (i * 13 + 5) as u8).collect() })
}

/// Echoes the body, with its length in a trailer.
async fn trailers(body: Bytes) -> Body {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-count", HeaderValue::from(body.len()));
    Body::new(Full::new(body).with_trailers(async move { Some(Ok(trailers)) }))
}

async fn early(Extension(context): Extension<RequestContext>) -> impl IntoResponse {
    let mut hints = HeaderMap::new();
    hints.insert("link", HeaderValue::from_static("</style.css>; rel=preload; as=style"));
    context.send_early_hints(hints);
    // Time to see that the hints do not wait for the response.
    tokio::time::sleep(Duration::from_millis(20)).await;
    "early"
}

async fn panics() -> &'static str {
    panic!("asked for by the client")
}

async fn slow(Path(ms): Path<u64>) -> String {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    format!("after {ms} ms")
}

async fn ignore() -> &'static str {
    "ignored"
}

/// Bytes of which the one at offset `i` is `(i * 13 + 5) % 256`, made as the client takes them.
struct Pattern {
    left: u64,
    block: Bytes,
}

impl http_body::Body for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let len = self.left.min(BLOCK as u64);
        self.left -= len;
        // The pattern repeats every 256 bytes, so that every block is the same one.
        let data = self.block.slice(..len as usize);
        Poll::Ready((len > 0).then(|| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A multiple of the pattern's period.
const BLOCK: usize = 64 * 1024;

/// The command line.
#[derive(Debug)]
struct Options {
    listen: SocketAddr,
    cert: Option<String>,
    key: Option<String>,
    workers: Option<usize>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8443)),
            cert: None,
            key: None,
            workers: None,
        };
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--listen" => options.listen = value.parse()?,
                "--cert" => options.cert = Some(value),
                "--key" => options.key = Some(value),
                "--workers" => options.workers = Some(value.parse()?),
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        Ok(options)
    }
}

fn self_signed() -> Result<ServerTls, Box<dyn Error>> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let certified = rcgen::generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    Ok(ServerTls::from_der(vec![certified.cert.der().clone()], key)?)
}

/// The first signal drains, the second one ends at once.
fn end_on_signal(shutdown: Shutdown) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut terminate = runtime.block_on(async { signal(SignalKind::terminate()) })?;
    let mut interrupt = runtime.block_on(async { signal(SignalKind::interrupt()) })?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            for deadline in [Duration::from_secs(30), Duration::ZERO] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                shutdown.start(deadline);
            }
        });
    })?;
    Ok(())
}
