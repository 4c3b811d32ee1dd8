//! A server of HTTP/3 that does what a test tells it to, byte by byte.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use axum::body::Bytes;
use sterna_quic::{
    Application, CloseReason, Config, Connection, Dir, Event, Group, Read, ServerConfig,
    SocketOptions, StreamId,
};

use crate::world::certificate;

/// What is done with a request: the connection, its stream, and how many were before it on all connections.
pub(crate) type Script = Box<dyn FnMut(&mut Connection, StreamId, u64) + Send>;

/// A server that follows a [`Script`] until it is dropped.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scripted {
    /// It answers by the script, under the transport that `change` leaves.
    pub(crate) fn start(change: impl FnOnce(&mut Config), script: Script) -> Self {
        let mut transport = Config::default();
        change(&mut transport);
        Self::start_with(ServerConfig { tls: Arc::new(tls()), transport }, script)
    }

    pub(crate) fn start_with(config: ServerConfig, script: Script) -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let group = Group::bind(loopback, 1, &SocketOptions::default()).unwrap();
        let address = group.local_address();
        let member = group.into_members().pop().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let app = App { script, requests: 0 };
        let thread = {
            let ended = ended.clone();
            thread::spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let mut driver = member.start(Some(config), app).unwrap();
                    while !ended.load(Ordering::Relaxed) {
                        let turn = tokio::time::timeout(Duration::from_millis(10), driver.turn());
                        if let Ok(turned) = turn.await {
                            turned.unwrap();
                        }
                    }
                });
            })
        };
        Self { address, ended, thread: Some(thread) }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let outcome = thread.join();
            assert!(outcome.is_ok() || thread::panicking(), "the script has failed");
        }
    }
}

/// TLS of a server with a certificate that nobody knows.
pub(crate) fn tls() -> rustls::ServerConfig {
    let (certificate, key) = certificate();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls
}

struct App {
    script: Script,
    requests: u64,
}

/// Streams whose request has not ended.
type Streams = BTreeMap<StreamId, usize>;

impl Application for App {
    type State = Streams;

    fn opened(&mut self, _: &mut Connection, _: Instant) -> Streams {
        Streams::new()
    }

    fn run(&mut self, streams: &mut Streams, connection: &mut Connection, _: Instant) {
        while let Some(event) = connection.poll_event() {
            match event {
                Event::Connected => {
                    let control = connection.open(Dir::Uni).unwrap();
                    write(connection, control, b"\x00\x04\x00");
                }
                Event::Readable(id) => loop {
                    match connection.read(id, usize::MAX) {
                        Read::Data(data) => *streams.entry(id).or_default() += data.len(),
                        Read::Finished => {
                            streams.remove(&id);
                            if id.dir() == Dir::Bi {
                                (self.script)(connection, id, self.requests);
                                self.requests += 1;
                            }
                            break;
                        }
                        Read::Blocked | Read::Reset(_) | Read::Closed => break,
                    }
                },
                _ => {}
            }
        }
    }

    fn closed(&mut self, _: Streams, _: &CloseReason, _: Instant) {}
}

pub(crate) fn write(connection: &mut Connection, id: StreamId, data: &[u8]) {
    let mut chunks = [Bytes::copy_from_slice(data)];
    connection.write(id, &mut chunks);
    assert!(chunks[0].is_empty(), "it fits the window");
}

/// Writes and ends.
pub(crate) fn answer(connection: &mut Connection, id: StreamId, data: &[u8]) {
    write(connection, id, data);
    connection.finish(id);
}

/// HEADERS with `:status: 200`, and two bytes of content.
pub(crate) const OK: &[u8] = b"\x01\x03\x00\x00\xd9\x00\x02ok";
