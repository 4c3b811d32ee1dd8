//! An HTTP/3 server that does what the path says, early data and all that servers must not do included.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sterna_h3::{Code, Command, Event, RequestHead, ResponseHead, Role};
use sterna_net::{
    Body, Client,
    client::{Builder, Roots, Versions},
};
use sterna_quic::{
    Application, CloseReason, Connection, Dir, Group, Read, ServerConfig, SocketOptions, StreamId,
};
use tokio::sync::mpsc;

/// The server, on a thread of its own until it is dropped.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) seen: Arc<Seen>,
    orders: mpsc::UnboundedSender<Order>,
}

/// What the server saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connections: AtomicUsize,
    pub(crate) requests: AtomicUsize,
    pub(crate) early_requests: AtomicUsize,
    pub(crate) migrations: AtomicUsize,
    pub(crate) cancelled: AtomicUsize,
}

/// What a test tells the server.
pub(crate) enum Order {
    /// Forget all sessions: early data is refused.
    Forget,
    /// Take no turns until the next order: what comes stays in the socket.
    Pause,
    Resume,
    /// Announce the end (GOAWAY) on every connection.
    Goaway,
}

impl Peer {
    pub(crate) fn start() -> Self {
        Self::asking(None)
    }

    /// One that asks for certificates which this trusts.
    pub(crate) fn asking(verifier: Option<Arc<dyn ClientCertVerifier>>) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = made.signing_key.serialize_der();
        let tls = tls(&certificate, &key, verifier);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let group = Group::bind(any, 1, &SocketOptions::default()).unwrap();
        let address = group.local_address();
        let member = group.into_members().pop().unwrap();
        let seen = Arc::new(Seen::default());
        let (orders, mut ordered) = mpsc::unbounded_channel();
        let app = App { seen: seen.clone(), goaway: false };
        let certificate_of_server = certificate.clone();
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let config = |tls| ServerConfig { tls, transport: sterna_quic::Config::default() };
                let mut driver = member.start(Some(config(tls)), app).unwrap();
                loop {
                    tokio::select! {
                        biased;
                        order = ordered.recv() => match order {
                            None => return,
                            Some(Order::Pause) => {
                                ordered.recv().await;
                            }
                            Some(Order::Resume) => {}
                            Some(Order::Forget) => {
                                let fresh = config(self::tls(&certificate_of_server, &key, None));
                                driver.endpoint().set_server(&fresh).unwrap();
                            }
                            Some(Order::Goaway) => {
                                driver.endpoint().application().goaway = true;
                                driver.endpoint().touch_all();
                            }
                        },
                        turn = driver.turn() => turn.unwrap(),
                    }
                }
            });
        });
        Self { address, certificate, seen, orders }
    }

    pub(crate) fn order(&self, order: Order) {
        self.orders.send(order).ok().unwrap();
    }

    pub(crate) fn builder(&self) -> Builder {
        Client::builder()
            .roots(Roots::Only(vec![self.certificate.clone()]))
            .connect_to("127.0.0.1", self.address.port())
            .versions(Versions::ONLY_H3)
    }

    pub(crate) fn get(&self, path: &str) -> http::Request<Body> {
        let url = format!("https://localhost:{}{path}", self.address.port());
        http::Request::get(url).body(Body::empty()).unwrap()
    }
}

/// Stateful sessions: the only ones with which rustls takes early data.
fn tls(
    certificate: &CertificateDer<'static>,
    key: &[u8],
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Arc<rustls::ServerConfig> {
    let nobody = || Arc::new(rustls::server::NoClientAuth) as Arc<dyn ClientCertVerifier>;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec()));
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier.unwrap_or_else(nobody))
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.max_early_data_size = u32::MAX;
    tls.session_storage = rustls::server::ServerSessionMemoryCache::new(64);
    Arc::new(tls)
}

struct App {
    seen: Arc<Seen>,
    goaway: bool,
}

#[derive(Default)]
struct State {
    http: Option<sterna_h3::Connection>,
    out: BTreeMap<u64, (VecDeque<Bytes>, bool)>,
    readable: Vec<StreamId>,
    has_said_goodbye: bool,
    /// Streams that get rubbish for ever.
    endless: Vec<StreamId>,
}

impl Application for App {
    type State = State;

    fn opened(&mut self, _quic: &mut Connection, _now: Instant) -> State {
        self.seen.connections.fetch_add(1, Ordering::SeqCst);
        State { has_said_goodbye: self.goaway, ..State::default() }
    }

    fn run(&mut self, state: &mut State, quic: &mut Connection, _now: Instant) {
        while let Some(event) = quic.poll_event() {
            match event {
                sterna_quic::Event::Opened(_) | sterna_quic::Event::Connected => state.open(quic),
                sterna_quic::Event::Readable(id) => state.readable.push(id),
                sterna_quic::Event::Stopped(id, code) => {
                    if let Some(http) = &mut state.http {
                        let _ = http.handle_stop_sending(sterna_h3::StreamId(id.0), code);
                    }
                    state.endless.retain(|endless| *endless != id);
                }
                sterna_quic::Event::Migrated { .. } => {
                    self.seen.migrations.fetch_add(1, Ordering::SeqCst);
                }
                _ => {}
            }
        }
        if state.http.is_none() {
            return;
        }
        state.read(quic);
        self.answer(state, quic);
        if self.goaway && !std::mem::replace(&mut state.has_said_goodbye, true) {
            let http = state.http.as_mut().unwrap();
            http.shutdown();
            http.shutdown();
        }
        state.write(quic);
    }

    fn closed(&mut self, _state: State, _reason: &CloseReason, _now: Instant) {}
}

impl App {
    fn answer(&mut self, state: &mut State, quic: &mut Connection) {
        while let Some(event) = state.http.as_mut().and_then(sterna_h3::Connection::poll_event) {
            match event {
                Event::Request { id, head, .. } => {
                    let number = self.seen.requests.fetch_add(1, Ordering::SeqCst);
                    let is_early = quic.is_handshaking();
                    if is_early {
                        self.seen.early_requests.fetch_add(1, Ordering::SeqCst);
                    }
                    state.respond(quic, StreamId(id.0), &head, is_early, number);
                }
                Event::Reset { .. } | Event::Stopped { .. } => {
                    self.seen.cancelled.fetch_add(1, Ordering::SeqCst);
                }
                _ => {}
            }
        }
    }
}

impl State {
    fn open(&mut self, quic: &mut Connection) {
        if self.http.is_some() {
            return;
        }
        let mut own = || quic.open(Dir::Uni).map(|id| sterna_h3::StreamId(id.0));
        let (Some(control), Some(encoder), Some(decoder)) = (own(), own(), own()) else { return };
        let config = sterna_h3::Config::default();
        self.http =
            Some(sterna_h3::Connection::new(Role::Server, config, control, encoder, decoder));
    }

    fn read(&mut self, quic: &mut Connection) {
        let http = self.http.as_mut().unwrap();
        for id in std::mem::take(&mut self.readable) {
            let h3 = sterna_h3::StreamId(id.0);
            loop {
                match quic.read(id, 1 << 16) {
                    Read::Data(data) => drop(http.handle_stream(h3, data, false)),
                    Read::Finished => {
                        let _ = http.handle_stream(h3, Bytes::new(), true);
                        break;
                    }
                    Read::Reset(code) => {
                        let _ = http.handle_reset(h3, code);
                        break;
                    }
                    Read::Blocked | Read::Closed => break,
                }
            }
        }
    }

    fn respond(
        &mut self,
        quic: &mut Connection,
        id: StreamId,
        head: &RequestHead,
        is_early: bool,
        number: usize,
    ) {
        let h3 = sterna_h3::StreamId(id.0);
        let path = head.path.as_ref().map_or("", |path| path.path());
        let http = self.http.as_mut().unwrap();
        let mut say = |status: StatusCode, text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-early", HeaderValue::from_static(if is_early { "1" } else { "0" }));
            http.send_response(h3, &ResponseHead { status, headers }, false).unwrap();
            http.send_data(h3, Bytes::from_static(text.as_bytes()), true).unwrap();
        };
        match path {
            "/425" if is_early => say(StatusCode::TOO_EARLY, "too early"),
            "/425-always" => say(StatusCode::TOO_EARLY, "too early"),
            "/silent" => {}
            "/reset" => http.reset(h3, Code::InternalError),
            "/rejected-once" if number == 0 => http.reset(h3, Code::RequestRejected),
            // GOAWAY { 0 } on the control stream: nothing was processed, and nothing will be.
            "/goaway-once" if number == 0 => {
                // Behind the stream's type and SETTINGS.
                self.write(quic);
                self.raw(StreamId(3), b"\x07\x01\x00", false);
            }
            "/close" => quic.close(Code::InternalError.value(), b"as the test wants"),
            "/close-once" if number == 0 => quic.close(Code::NoError.value(), b""),
            // HEADERS { :status 200, content-length 10 }, DATA { "four" }, and the end.
            "/short" => self.raw(id, b"\x01\x07\x00\x00\xd9\x54\x0210\x00\x04four", true),
            "/long" => self.raw(id, b"\x01\x06\x00\x00\xd9\x54\x011\x00\x04four", true),
            "/cut" => {
                self.raw(id, b"\x01\x07\x00\x00\xd9\x54\x0210\x00\x0afour", false);
                self.write(quic);
                quic.reset(id, Code::InternalError.value());
            }
            "/no-status" => self.raw(id, b"\x01\x06\x00\x00\x54\x0210", true),
            "/status-twice" => self.raw(id, b"\x01\x04\x00\x00\xd9\xd9", true),
            "/data-first" => self.raw(id, b"\x00\x04four", true),
            "/settings" => self.raw(id, b"\x04\x00", true),
            "/empty" => self.raw(id, b"", true),
            "/push" => self.raw(id, b"\x05\x03\x00\x00\x00", true),
            "/half-frame" => self.raw(id, b"\x01\x07\x00\x00", true),
            "/bad-qpack" => self.raw(id, b"\x01\x03\x00\x00\xff", true),
            // A head of 1 GiB, and all of it.
            "/endless-head" => {
                self.raw(id, b"\x01\xc0\x00\x00\x00\x40\x00\x00\x00", false);
                self.endless.push(id);
            }
            "/endless-interim" => self.endless.push(id),
            "/endless-unknown" => self.endless.push(id),
            _ => say(StatusCode::OK, "hello"),
        }
        if path == "/endless-interim" {
            self.out.entry(id.0).or_default();
        }
    }

    fn raw(&mut self, id: StreamId, data: &'static [u8], fin: bool) {
        let (chunks, is_last) = self.out.entry(id.0).or_default();
        chunks.push_back(Bytes::from_static(data));
        *is_last |= fin;
    }

    fn write(&mut self, quic: &mut Connection) {
        while let Some(command) = self.http.as_mut().and_then(sterna_h3::Connection::poll_command) {
            match command {
                Command::Write { id, data, fin } => {
                    let (chunks, is_last) = self.out.entry(id.0).or_default();
                    chunks.push_back(data);
                    *is_last |= fin;
                }
                Command::Reset { id, code } => {
                    self.out.remove(&id.0);
                    quic.reset(StreamId(id.0), code.value());
                }
                Command::StopSending { id, code } => {
                    quic.stop_sending(StreamId(id.0), code.value());
                }
                Command::Datagram { .. } => {}
                Command::Close { code, reason } => quic.close(code.value(), reason.as_bytes()),
            }
        }
        for (&id, (chunks, fin)) in &mut self.out {
            while !chunks.is_empty() {
                match quic.write(StreamId(id), chunks.make_contiguous()) {
                    sterna_quic::Write::Taken(taken) if taken > 0 => {
                        chunks.retain(|c| !c.is_empty());
                    }
                    _ => break,
                }
                chunks.retain(|chunk| !chunk.is_empty());
            }
            chunks.retain(|chunk| !chunk.is_empty());
            if chunks.is_empty() && std::mem::take(fin) {
                quic.finish(StreamId(id));
            }
        }
        for &id in &self.endless {
            // HEADERS { :status 103 }, and an empty frame of a type that nobody knows: valid, each of them.
            let chunk = b"\x01\x03\x00\x00\xd8\x21\x00".repeat(2000);
            let _ = quic.write(id, &mut [Bytes::from(chunk)]);
        }
    }
}
