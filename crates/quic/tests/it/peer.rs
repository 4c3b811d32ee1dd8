//! The two applications that the tests run: one echoes streams, the other sends and collects.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sterna_quic::{
    Application, ClientConfig, CloseReason, Config, Connection, ConnectionKey, Dir, Event, Read,
    ServerConfig, StreamId, Write,
};

/// What a [`Peer`] saw, apart from data.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Opened(ConnectionKey),
    Event(ConnectionKey, Event),
    Closed(ConnectionKey, CloseReason),
}

/// Echoes every stream that its peer opens, and sends its own requests one after the other.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// What to send on each connection, one stream each.
    pub(crate) requests: Vec<Bytes>,
    /// Code to close with once every request is answered.
    pub(crate) close_when_done: Option<u64>,
    /// Closes by giving everything back at once.
    pub(crate) abandons: bool,
    /// Answers in the order in which they were complete.
    pub(crate) answers: Vec<Vec<u8>>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) runs: u64,
    pub(crate) woken: Vec<ConnectionKey>,
    pub(crate) facts: Option<Facts>,
    /// Requests for a connection that is up already; touch it.
    pub(crate) extra: Vec<Bytes>,
    /// Whether early data was taken, once that is known.
    pub(crate) early_data: Option<bool>,
    /// Streams that are neither answered nor closed, after the last run.
    pub(crate) open_streams: usize,
    /// Streams that the peer reset, and its codes.
    pub(crate) resets: Vec<(StreamId, u64)>,
    /// Requests go one way: nothing is answered.
    pub(crate) is_one_way: bool,
    /// How long what is sent early is good for, with the code 9.
    pub(crate) early_deadline: Option<Duration>,
    /// Streams that are not read.
    pub(crate) ignored: BTreeSet<StreamId>,
    /// What each connection may hold.
    pub(crate) allowance: Option<u64>,
    /// What that came to, at the end of the last run.
    pub(crate) granted: u64,
    /// When to run next, whatever the network does.
    pub(crate) alarm: Option<Instant>,
    /// When the alarm went off.
    pub(crate) alarmed: Option<Instant>,
}

/// What the handshake settled, as the application sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facts {
    pub(crate) server_name: Option<String>,
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) cipher_suite: Option<rustls::CipherSuite>,
    pub(crate) key_exchange: Option<rustls::NamedGroup>,
    pub(crate) certificates: usize,
    pub(crate) peer: IpAddr,
}

#[derive(Debug)]
pub(crate) struct Streams {
    key: ConnectionKey,
    is_connected: bool,
    is_early: bool,
    to_open: VecDeque<Bytes>,
    open: BTreeMap<StreamId, Stream>,
    unanswered: usize,
}

#[derive(Debug, Default)]
struct Stream {
    is_ours: bool,
    received: Vec<u8>,
    to_send: VecDeque<Bytes>,
    is_received: bool,
    is_finished: bool,
}

impl Application for Peer {
    type State = Streams;

    fn opened(&mut self, connection: &mut Connection, _now: Instant) -> Streams {
        self.seen.push(Seen::Opened(connection.key()));
        let to_open: VecDeque<Bytes> =
            if connection.is_client() { self.requests.clone().into() } else { VecDeque::new() };
        Streams {
            key: connection.key(),
            is_connected: false,
            is_early: connection.has_early_data(),
            unanswered: to_open.len(),
            to_open,
            open: BTreeMap::new(),
        }
    }

    fn run(&mut self, state: &mut Streams, connection: &mut Connection, now: Instant) {
        self.runs += 1;
        if self.alarm.is_some_and(|alarm| alarm <= now) {
            self.alarm = None;
            self.alarmed = Some(now);
        }
        let mut readable = BTreeSet::new();
        while let Some(event) = connection.poll_event() {
            if let Event::Readable(id) = event {
                assert!(readable.insert(id), "{id:?} is readable twice in one run");
            }
            self.on_event(state, connection, &event);
            self.seen.push(Seen::Event(connection.key(), event));
        }
        state.unanswered += self.extra.len();
        state.to_open.extend(self.extra.drain(..));
        while (state.is_connected || state.is_early) && !state.to_open.is_empty() {
            let dir = if self.is_one_way { Dir::Uni } else { Dir::Bi };
            let Some(id) = connection.open(dir) else { break };
            if let Some(time) = self.early_deadline.filter(|_| !state.is_connected) {
                connection.set_deadline(id, now + time, 9);
            }
            let to_send = state.to_open.pop_front().into_iter().collect();
            let is_received = self.is_one_way;
            state
                .open
                .insert(id, Stream { is_ours: true, to_send, is_received, ..Stream::default() });
        }
        for (id, stream) in &mut state.open {
            stream.send(*id, connection);
        }
        state.open.retain(|_, stream| !(stream.is_received && stream.is_finished));
        if let Some(bytes) = self.allowance {
            self.granted = connection.tune(bytes);
        }
        self.open_streams = state.open.len();
        if state.is_connected
            && state.unanswered == 0
            && let Some(code) = self.close_when_done
            && connection.is_client()
        {
            match self.abandons {
                true => connection.abandon(code, b"done"),
                false => connection.close(code, b"done"),
            }
        }
    }

    fn timeout(&self, _state: &Streams) -> Option<Instant> {
        self.alarm
    }

    fn poll_woken(&mut self, _cx: &mut std::task::Context<'_>, woken: &mut Vec<ConnectionKey>) {
        woken.append(&mut self.woken);
    }

    fn closed(&mut self, state: Streams, reason: &CloseReason, _now: Instant) {
        self.seen.push(Seen::Closed(state.key, reason.clone()));
    }
}

impl Peer {
    /// The connection that appeared last.
    pub(crate) fn key(&self) -> ConnectionKey {
        let opened = self.seen.iter().rev().find_map(|seen| match seen {
            Seen::Opened(key) => Some(*key),
            _ => None,
        });
        opened.expect("a connection appeared")
    }

    /// How the last connection ended, if it has.
    pub(crate) fn closed(&self) -> Option<&CloseReason> {
        self.seen.iter().rev().find_map(|seen| match seen {
            Seen::Closed(_, reason) => Some(reason),
            _ => None,
        })
    }

    /// Events of all connections, in order.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.seen.iter().filter_map(|seen| match seen {
            Seen::Event(_, event) => Some(event),
            _ => None,
        })
    }

    fn on_event(&mut self, state: &mut Streams, connection: &mut Connection, event: &Event) {
        match event {
            Event::Connected => {
                state.is_connected = true;
                self.early_data = connection.is_early_data_accepted();
                if self.early_data == Some(false) {
                    state.open.clear();
                    state.to_open = self.requests.clone().into();
                }
                self.facts = Some(Facts {
                    server_name: connection.server_name().map(str::to_owned),
                    alpn: connection.alpn().map(<[u8]>::to_vec),
                    cipher_suite: connection.cipher_suite(),
                    key_exchange: connection.key_exchange(),
                    certificates: connection.peer_certificates().map_or(0, |chain| chain.len()),
                    peer: connection.remote_address().ip(),
                });
            }
            Event::Opened(id) => {
                state.open.insert(*id, Stream::default());
            }
            Event::Readable(id) if !self.ignored.contains(id) => self.read(state, *id, connection),
            Event::Datagram(data) if !connection.is_client() => {
                connection.send_datagram(data.clone());
            }
            _ => {}
        }
    }

    fn read(&mut self, state: &mut Streams, id: StreamId, connection: &mut Connection) {
        let Some(stream) = state.open.get_mut(&id) else { return };
        loop {
            match connection.read(id, usize::MAX) {
                Read::Data(data) if stream.is_ours => stream.received.extend_from_slice(&data),
                Read::Data(data) => stream.to_send.push_back(data),
                end @ (Read::Finished | Read::Reset(_)) => {
                    if let Read::Reset(code) = end {
                        self.resets.push((id, code));
                    }
                    stream.is_received = true;
                    if stream.is_ours {
                        state.unanswered -= 1;
                        self.answers.push(std::mem::take(&mut stream.received));
                    }
                    return;
                }
                Read::Blocked | Read::Closed => return,
            }
        }
    }
}

impl Stream {
    fn send(&mut self, id: StreamId, connection: &mut Connection) {
        while let Some(chunk) = self.to_send.front_mut() {
            match connection.write(id, std::slice::from_mut(chunk)) {
                Write::Taken(_) if chunk.is_empty() => drop(self.to_send.pop_front()),
                Write::Taken(_) => {}
                Write::Blocked => return,
                Write::Stopped(_) | Write::Closed => {
                    self.to_send.clear();
                    self.is_finished = true;
                }
            }
        }
        if (self.is_ours || self.is_received || id.dir() == Dir::Uni) && !self.is_finished {
            connection.finish(id);
            self.is_finished = true;
        }
    }
}

/// A server's and a client's configuration that trust each other, on short time-outs.
pub(crate) fn configs() -> (ServerConfig, ClientConfig) {
    configs_named(&["localhost".to_owned()])
}

/// With so many names in the server's certificate.
pub(crate) fn configs_named(names: &[String]) -> (ServerConfig, ClientConfig) {
    configs_of(names, rustls::crypto::aws_lc_rs::default_provider())
}

/// With the cryptography of both.
pub(crate) fn configs_of(
    names: &[String],
    provider: rustls::crypto::CryptoProvider,
) -> (ServerConfig, ClientConfig) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let certificate =
        rcgen::CertificateParams::new(names.to_vec()).unwrap().self_signed(&key).unwrap();
    let certificate = CertificateDer::from(certificate);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(provider);

    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"echo".to_vec()];

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"echo".to_vec()];

    let transport = Config { idle_timeout: Duration::from_secs(10), ..Config::default() };
    (
        ServerConfig { tls: Arc::new(server), transport: transport.clone() },
        ClientConfig { tls: Arc::new(client), transport },
    )
}

/// `length` bytes that differ from those of other seeds.
pub(crate) fn payload(seed: usize, length: usize) -> Bytes {
    (0..length).map(|at| (at * 13 + seed * 7 + 5) as u8).collect()
}
