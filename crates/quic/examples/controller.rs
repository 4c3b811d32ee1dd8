//! A congestion controller of one's own, on the simulated network.
//!
//! ```text
//! cargo run -p sterna-quic --features sim --example controller
//! ```
//!
//! It keeps a fixed window: right for a link that is known and nobody else's, wrong on the internet. Over the same link it is
//! run beside the default, and prints how long both take.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sterna_quic::{
    Application, ClientConfig, CloseReason, Config, Connection, Dir, Event, Read, ServerConfig,
    StreamId, Write,
    congestion::{Ack, Algorithm, Congestion, Controller, Factory, NewPath},
    sim::{Link, Network},
};

/// So many bytes are in flight, whatever happens.
#[derive(Clone, Debug)]
struct Fixed {
    window: u64,
}

impl Controller for Fixed {
    fn on_sent(&mut self, _now: Instant, _bytes: u64, _last_packet: u64) {}

    fn on_ack(&mut self, _ack: &Ack) {}

    fn on_acks_end(&mut self, _now: Instant, _in_flight: u64, _largest: Option<u64>) {}

    fn on_loss(&mut self, _now: Instant, _sent: Instant, _bytes: u64, _persistent: bool) {}

    fn on_ecn(&mut self, _now: Instant, _sent: Instant) {}

    fn on_mtu(&mut self, _mtu: u16) {}

    fn window(&self) -> u64 {
        self.window
    }

    fn duplicate(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }
}

/// Makes one for each path.
#[derive(Debug)]
struct FixedWindow(u64);

impl Factory for FixedWindow {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn build(&self, _path: &NewPath) -> Box<dyn Controller> {
        Box::new(Fixed { window: self.0 })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let link = Link { rate: Some(12_500_000), delay: Duration::from_millis(25), ..Link::default() };
    let fixed = Algorithm::Custom(Arc::new(FixedWindow(625_000)));
    let (fixed, default) = (upload(link, fixed.into())?, upload(link, Congestion::default())?);
    println!("{MEGABYTES} MiB: {fixed:?} with a fixed window, {default:?} with cubic");
    // One that takes as long as the default is not used at all.
    if fixed < default { Ok(()) } else { Err("the controller made no difference".into()) }
}

/// How long an upload takes, in simulated time.
fn upload(link: Link, congestion: Congestion) -> Result<Duration, Box<dyn Error>> {
    let (server, client) = configs(&Config { congestion, ..Config::default() })?;
    let mut network = Network::new(1, &server, [Side::default()])?;
    (network.up, network.down) = (link, link);
    network.add_client(Side { to_send: MEGABYTES << 20, ..Side::default() });
    network.connect(0, &client)?;
    let is_done = network.run_until(Duration::from_secs(60), |network| {
        network.server(0).application().received == MEGABYTES << 20
    });
    if is_done { Ok(network.elapsed()) } else { Err("the upload did not end".into()) }
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

fn configs(transport: &Config) -> Result<(ServerConfig, ClientConfig), Box<dyn Error>> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()])?.self_signed(&key)?;
    let certificate = CertificateDer::from(certificate);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
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

static CHUNK: &[u8] = &[0x5a; 16 * 1024];

const MEGABYTES: u64 = 8;

#[test]
fn a_controller_from_outside_decides_how_much_is_in_flight() {
    main().expect("it is faster than the default");
}
