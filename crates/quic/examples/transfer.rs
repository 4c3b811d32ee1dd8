//! Sends bytes over the simulated network, for counting instructions and allocations.
//!
//! ```text
//! cargo build --release -p sterna-quic --features sim --example transfer
//! valgrind --tool=callgrind target/release/examples/transfer 16
//! valgrind --tool=callgrind target/release/examples/transfer 16 observe
//! ```
//!
//! Prints the datagrams that were sent, by which the counts are to be divided. Both sides, TLS and
//! the network itself are in the count; two runs of different length leave only what a datagram
//! costs.

use std::{
    env,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sterna_quic::{
    Application, ClientConfig, CloseReason, Config, Connection, Dir, Direction, Event, Level,
    Observe, PacketObserver, Read, ServerConfig, StreamId, Write, sim::Network,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let megabytes: u64 = arguments.next().as_deref().unwrap_or("16").parse()?;
    let observed = Arc::new(Observed::default());
    let observe = arguments.next().map(|_| observed.clone() as Arc<dyn Observe>);

    let (server, client) = configs(&Config { observe, ..Config::default() })?;
    let mut network = Network::new(1, &server, [Side::default()])?;
    network.add_client(Side { to_send: megabytes << 20, ..Side::default() });
    network.connect(0, &client)?;
    let began = Instant::now();
    let is_done = network.run_until(Duration::from_secs(600), |network| {
        network.server(0).application().received == megabytes << 20
    });
    let (datagrams, packets) = (network.trace.len(), observed.packets.load(Ordering::Relaxed));
    println!(
        "{megabytes} MiB, complete: {is_done}, {datagrams} datagrams, {packets} packets observed, \
         {:?} of real and {:?} of simulated time",
        began.elapsed(),
        network.elapsed()
    );
    Ok(())
}

/// Sends so many bytes on one stream, and reads whatever comes.
#[derive(Debug, Default)]
struct Side {
    to_send: u64,
    stream: Option<StreamId>,
    received: u64,
}

impl Application for Side {
    type State = ();

    fn opened(&mut self, _connection: &mut Connection, _now: Instant) {}

    fn run(&mut self, (): &mut (), connection: &mut Connection, _now: Instant) {
        while let Some(event) = connection.poll_event() {
            match event {
                Event::Connected if self.to_send > 0 => self.stream = connection.open(Dir::Uni),
                Event::Readable(id) => {
                    while let Read::Data(data) = connection.read(id, usize::MAX) {
                        self.received += data.len() as u64;
                    }
                }
                _ => {}
            }
        }
        let Some(stream) = self.stream else { return };
        while self.to_send > 0 && connection.headroom() > 0 {
            let length = self.to_send.min(CHUNK.len() as u64);
            let mut chunk = [Bytes::from_static(CHUNK).slice(..length as usize)];
            let Write::Taken(taken) = connection.write(stream, &mut chunk) else { return };
            self.to_send -= taken as u64;
        }
    }

    fn closed(&mut self, (): (), _reason: &CloseReason, _now: Instant) {}
}

static CHUNK: &[u8] = &[0x5a; 16 * 1024];

/// Counts packets.
#[derive(Debug, Default)]
struct Observed {
    packets: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Counting(Arc<AtomicU64>);

impl Observe for Observed {
    fn session(&self) -> Option<Box<dyn PacketObserver>> {
        Some(Box::new(Counting(self.packets.clone())))
    }
}

impl PacketObserver for Counting {
    fn packet(&self, _: Direction, _: Level, _number: u64, _frames: &[u8]) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn configs(transport: &Config) -> Result<(ServerConfig, ClientConfig), Box<dyn Error>> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()])?.self_signed(&key)?;
    let certificate = CertificateDer::from(certificate);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .retain(|suite| suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    let provider = Arc::new(provider);
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate)?;
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let transport = transport.clone();
    Ok((
        ServerConfig { tls: Arc::new(server), transport: transport.clone() },
        ClientConfig { tls: Arc::new(client), transport },
    ))
}
