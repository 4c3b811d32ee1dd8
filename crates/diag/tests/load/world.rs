//! What the tests share: a certificate, a plan in one line, a run, and a server that behaves.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::atomic::AtomicBool,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Response, StatusCode},
    routing::{get, post},
};
use rcgen::{CertifiedKey, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sterna_diag::load::{Outcome, Plan, Target, Trust, Work, run};
use sterna_net::{Running, Server, ServerTls, server};

/// Every version of HTTP.
pub(crate) use sterna_diag::load::Version::{Http1, Http2, Http3};

/// A certificate for localhost, and its key.
pub(crate) fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let CertifiedKey { cert, signing_key } = self_signed();
    (cert.der().clone(), PrivatePkcs8KeyDer::from(signing_key.serialize_der()).into())
}

/// The same as a file, which a client may trust.
pub(crate) fn certificate_file(certificate: &CertificateDer<'_>) -> PathBuf {
    let path = std::env::temp_dir().join(format!("sterna-load-{}.pem", std::process::id()));
    let base64: String = base64(certificate);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    let pem =
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
    std::fs::write(&path, pem).unwrap();
    path
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let value = three.iter().fold(0, |value, byte| value << 8 | u32::from(*byte));
        let value = value << (8 * (3 - three.len()));
        for index in 0..4 {
            let letter = ALPHABET[(value >> (18 - 6 * index)) as usize & 63];
            text.push(if index > three.len() { '=' } else { letter.into() });
        }
    }
    text
}

fn self_signed() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate")
}

/// So many requests to a server on loopback, who is believed.
pub(crate) fn plan(address: SocketAddr, requests: u64) -> Plan {
    plan_for(&format!("https://localhost:{}/", address.port()), address, requests)
}

/// As [`plan`], for this URL.
pub(crate) fn plan_for(url: &str, address: SocketAddr, requests: u64) -> Plan {
    let target = Target::resolve(url, Some(&address.to_string())).unwrap();
    Plan { trust: Trust::Anyone, ..Plan::new(target, Work::Requests(requests)) }
}

/// Runs a plan to its end.
pub(crate) fn load(plan: Plan) -> Outcome {
    run(plan, &AtomicBool::new(false), &mut |_| {}).expect("the plan can be run")
}

/// How often each kind of failure came.
pub(crate) fn failures(outcome: &Outcome) -> BTreeMap<&'static str, u64> {
    outcome.tally.failures.iter().map(|(name, kind)| (*name, kind.count)).collect()
}

/// A server that behaves, of all versions: `/`, `/size/1000`, `/status/503`, `/upload`, `/events`.
pub(crate) struct Good {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
    running: Option<Running>,
}

impl Good {
    pub(crate) fn start(config: server::Config) -> Self {
        let (certificate, key) = certificate();
        let tls = ServerTls::from_der(vec![certificate.clone()], key).unwrap();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let bound = Server::builder().listen(loopback).tls(tls).config(config).bind().unwrap();
        let address = bound.addresses()[0];
        let running = bound.serve(router()).unwrap();
        Self { address, certificate, running: Some(running) }
    }

    /// Requests for one of its paths.
    pub(crate) fn plan(&self, path: &str, requests: u64) -> Plan {
        let url = format!("https://localhost:{}{path}", self.address.port());
        plan_for(&url, self.address, requests)
    }
}

impl Drop for Good {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown(Duration::ZERO);
            // A test that has failed already has said why.
            let _ = running.wait();
        }
    }
}

fn router() -> Router {
    let size = async |axum::extract::Path(size): axum::extract::Path<usize>| vec![b'x'; size];
    let status = async |axum::extract::Path(status): axum::extract::Path<u16>| {
        StatusCode::from_u16(status).unwrap()
    };
    let upload = async |body: axum::body::Bytes| body.len().to_string();
    let events = async || Response::new(Body::new(Events::default()));
    Router::new()
        .route("/", get(async || "hello"))
        .route("/size/{size}", get(size))
        .route("/status/{status}", get(status))
        .route("/upload", post(upload).layer(axum::extract::DefaultBodyLimit::disable()))
        .route("/events", get(events))
}

/// Events numbered 1, 2, 3, 5, 6: at once but for a pause before the fifth; then an open end.
#[derive(Default)]
struct Events {
    sent: usize,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl http_body::Body for Events {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        let Some(id) = [1, 2, 3, 5, 6].get(self.sent) else { return Poll::Pending };
        if self.sent == 4 {
            let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(PAUSE)));
            ready!(pause.as_mut().poll(cx));
        }
        self.sent += 1;
        let event = format!(": hello\nid: {id}\ndata: event number {id}\n\n");
        Poll::Ready(Some(Ok(http_body::Frame::data(event.into()))))
    }
}

/// Between two events.
pub(crate) const PAUSE: Duration = Duration::from_millis(300);
