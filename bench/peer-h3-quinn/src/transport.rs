//! Socket, TLS and transport parameters: the same as Sterna's defaults.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use socket2::{Domain, Socket, Type};

/// TLS and transport of the server.
pub(crate) fn server(
    cert: &Path,
    key: &Path,
    streams: u32,
) -> Result<ServerConfig, Box<dyn std::error::Error>> {
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.max_early_data_size = u32::MAX;

    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport(streams)?));
    Ok(config)
}

/// The address bound, with buffers that hold a burst of the load.
pub(crate) fn socket(listen: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, None)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(&listen.into())?;
    Ok(socket.into())
}

/// AES-128-GCM first: rustls alone would choose AES-256, which costs a fifth more per packet.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
            aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
            aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..aws_lc_rs::default_provider()
    }
}

fn transport(streams: u32) -> Result<TransportConfig, Box<dyn std::error::Error>> {
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(6 << 20))
        .receive_window(VarInt::from_u32(15 << 20))
        .send_window(8 << 20)
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(100))
        .max_idle_timeout(Some(IdleTimeout::try_from(Duration::from_secs(300))?));
    Ok(transport)
}

/// What an unprivileged process may ask for on a stock kernel is less; the kernel then gives its own limit.
const SOCKET_BUFFER: usize = 4 << 20;
