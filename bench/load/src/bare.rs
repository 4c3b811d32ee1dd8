//! What the work costs without HTTP and without QUIC: the floor below every server.
//!
//! A handshake is the server's half of TLS 1.3 by rustls in memory; bulk is AES-128-GCM over packets that go out by
//! segmentation offload to a socket of this machine. Both are this thread's own CPU time.

use std::{
    error::Error,
    io::{self, Read},
    net::{Ipv4Addr, UdpSocket},
    sync::Arc,
};

use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use rustls::{
    ClientConnection, ServerConfig, ServerConnection, Side,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    quic::{Keys, Version},
};
use serde_json::{Value, json};

use crate::{Group, transport};

#[derive(clap::Args)]
pub(crate) struct Config {
    /// Where `cert.pem` and `key.pem` are.
    directory: std::path::PathBuf,
    /// Key exchange of the handshakes.
    #[arg(long, value_enum, default_value = "x25519")]
    group: Group,
    /// Handshakes to make.
    #[arg(long, default_value_t = 500)]
    handshakes: u32,
    /// MiB to seal and send.
    #[arg(long, default_value_t = 512)]
    mebibytes: u32,
}

/// Measures both.
pub(crate) fn run(config: &Config) -> Result<Value, Box<dyn Error>> {
    let handshake = handshakes(config)?;
    let bulk = bulk(config.mebibytes)?;
    Ok(json!({ "cpu_ms_per_handshake": handshake, "cpu_seconds_per_gib": bulk }))
}

/// CPU milliseconds of the server's half.
fn handshakes(config: &Config) -> Result<f64, Box<dyn Error>> {
    let chain = CertificateDer::pem_file_iter(config.directory.join("cert.pem"))?
        .collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(config.directory.join("key.pem"))?;
    let server = ServerConfig::builder_with_provider(transport::provider(config.group))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let (server, client) = (Arc::new(server), Arc::new(transport::tls(config.group)?));
    let mut nanos = 0;
    for _ in 0..config.handshakes {
        nanos += handshake(&server, &client)?;
    }
    Ok(nanos as f64 / f64::from(config.handshakes) / 1e6)
}

/// One handshake; the nanoseconds that the server took.
fn handshake(
    server: &Arc<ServerConfig>,
    client: &Arc<rustls::ClientConfig>,
) -> Result<u64, Box<dyn Error>> {
    let mut client = ClientConnection::new(client.clone(), ServerName::try_from("localhost")?)?;
    let mut nanos = 0;
    let began = cpu();
    let mut server = ServerConnection::new(server.clone())?;
    nanos += cpu() - began;
    while client.is_handshaking() || server.is_handshaking() {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight)?;
        }
        let began = cpu();
        feed(&mut flight.as_slice(), |input| {
            server.read_tls(input)?;
            server.process_new_packets().map(drop).map_err(io::Error::other)
        })?;
        let mut answer = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answer)?;
        }
        nanos += cpu() - began;
        feed(&mut answer.as_slice(), |input| {
            client.read_tls(input)?;
            client.process_new_packets().map(drop).map_err(io::Error::other)
        })?;
    }
    Ok(nanos)
}

fn feed(
    flight: &mut &[u8],
    mut take: impl FnMut(&mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    while !flight.is_empty() {
        take(flight)?;
    }
    Ok(())
}

/// CPU seconds per GiB of content, in packets that fill an Ethernet frame.
fn bulk(mebibytes: u32) -> Result<f64, Box<dyn Error>> {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    let (suite, quic) = suite.and_then(|suite| Some((suite, suite.quic?))).ok_or("no QUIC")?;
    let keys = Keys::initial(Version::V1, suite, quic, &[7; 8], Side::Server);
    let (receiver, sender) = (socket()?, socket()?);
    let destination = receiver.local_addr()?;
    let state = UdpSocketState::new(UdpSockRef::from(&sender))?;
    let segments = state.max_gso_segments().min(transport::MAX_SEGMENTS);
    let mut batch = vec![0x5a; segments * PACKET];
    let content = segments * (PACKET - HEADER - TAG);
    let batches = (u64::from(mebibytes) << 20).div_ceil(content as u64);
    let began = cpu();
    let mut number = 0;
    for _ in 0..batches {
        for packet in batch.chunks_exact_mut(PACKET) {
            let (header, rest) = packet.split_at_mut(HEADER);
            let (payload, tag) = rest.split_at_mut(PACKET - HEADER - TAG);
            tag.copy_from_slice(
                keys.local.packet.encrypt_in_place(number, header, payload)?.as_ref(),
            );
            number += 1;
        }
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: &batch,
            segment_size: Some(PACKET),
            src_ip: None,
        };
        // Nobody reads: what does not fit the receiver's buffer is dropped, as late as a packet can be.
        state.try_send(UdpSockRef::from(&sender), &transmit)?;
    }
    let seconds = (cpu() - began) as f64 / 1e9;
    Ok(seconds * f64::from(1 << 30) / (batches * content as u64) as f64)
}

fn socket() -> io::Result<UdpSocket> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
}

/// Nanoseconds of CPU time of this thread; those of `/proc` are as old as the last tick.
fn cpu() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let nanos = time.tv_sec * 1_000_000_000 + time.tv_nsec;
    nanos.cast_unsigned()
}

/// Of a packet on a path of 1,500 bytes.
const PACKET: usize = 1452;
/// Short header: flags, connection ID of 8 bytes, packet number of 2.
const HEADER: usize = 11;
const TAG: usize = 16;
