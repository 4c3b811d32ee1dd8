//! TLS 1.3 for the engine, directly on `rustls::quic` (RFC 9001).
//!
//! The engine brings an adaptor of its own; ours exists because the facts of a handshake
//! ([`HandshakeData`]), an observer of packets ([`Observe`]) and later the tickets of 0-RTT have to
//! be ours when the engine goes. It is driven by the engine alone and ends at the packet keys.

mod deferred;
mod held;
mod hello;
mod initial;
mod keys;
mod observe;
mod padding;
mod parameters;
mod path;
mod retry;
mod session;
mod ticket;

use std::{net::IpAddr, sync::Arc};

use quinn_proto::{ConnectError, ConnectionId, transport_parameters::TransportParameters};
use rustls::{
    pki_types::ServerName,
    quic::{self, Version},
};

pub use self::observe::{Direction, Level, Observe, PacketObserver};
pub(crate) use self::path::PathWatch;
pub(crate) use self::session::HandshakeData;
use self::{deferred::Deferred, initial::Initial, session::TlsSession};
use crate::{ByName, Chosen, ConfigError, Tickets};

/// A server's TLS, in the form that the engine asks for.
#[derive(Clone)]
pub(crate) struct Server {
    tls: Arc<rustls::ServerConfig>,
    initial: Arc<Initial>,
    observe: Option<Arc<dyn Observe>>,
    may_migrate: bool,
    tickets: Option<Arc<dyn Tickets>>,
    by_name: Option<Arc<dyn ByName>>,
    /// Where the client came, for whoever chooses.
    local: Option<IpAddr>,
}

/// A client's TLS, in the form that the engine asks for.
pub(crate) struct Client {
    tls: Arc<rustls::ClientConfig>,
    initial: Arc<Initial>,
    observe: Option<Arc<dyn Observe>>,
}

impl Server {
    pub(crate) fn new(
        tls: Arc<rustls::ServerConfig>,
        observe: Option<Arc<dyn Observe>>,
        may_migrate: bool,
    ) -> Result<Self, ConfigError> {
        match tls.max_early_data_size {
            // req: 9001-4.6.1-early-data-size
            0 | u32::MAX => {}
            other => return Err(ConfigError::EarlyDataSize(other)),
        }
        let initial = initial_suite(tls.crypto_provider())?;
        // One trial now, so that no handshake can fail for what is wrong in the configuration.
        // req: 9001-4.2-tls-version
        quic::ServerConnection::new(tls.clone(), Version::V1, Vec::new())
            .map_err(ConfigError::Tls)?;
        Ok(Self { tls, initial, observe, may_migrate, tickets: None, by_name: None, local: None })
    }

    /// With tickets of ours, if there are any.
    pub(crate) fn with_tickets(self, tickets: Option<Arc<dyn Tickets>>) -> Self {
        Self { tickets, ..self }
    }

    /// With a choice by name, if there is any.
    pub(crate) fn with_choice(self, by_name: Option<Arc<dyn ByName>>) -> Self {
        Self { by_name, ..self }
    }

    /// The same for a client that came to this address of ours; `None` where that makes no difference.
    pub(crate) fn at(&self, local: Option<IpAddr>) -> Option<Self> {
        let is_of_use = self.by_name.is_some() && local.is_some();
        is_of_use.then(|| Self { local, ..self.clone() })
    }

    /// Without a choice.
    fn chosen(&self) -> Chosen {
        Chosen { tls: self.tls.clone(), tickets: self.tickets.clone() }
    }
}

impl Client {
    pub(crate) fn new(
        tls: Arc<rustls::ClientConfig>,
        observe: Option<Arc<dyn Observe>>,
    ) -> Result<Self, ConfigError> {
        let initial = initial_suite(tls.crypto_provider())?;
        Ok(Self { tls, initial, observe })
    }
}

impl quinn_proto::crypto::ServerConfig for Server {
    fn initial_keys(
        &self,
        version: u32,
        dst_cid: &ConnectionId,
    ) -> Result<quinn_proto::crypto::Keys, quinn_proto::crypto::UnsupportedVersion> {
        let version = known(version).ok_or(quinn_proto::crypto::UnsupportedVersion)?;
        Ok(self.initial.server_keys(dst_cid, version))
    }

    fn retry_tag(&self, _: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        retry::tag(orig_dst_cid, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        params: &TransportParameters,
    ) -> Box<dyn quinn_proto::crypto::Session> {
        let version = known(version).expect("the engine asked for Initial keys of it before");
        let mut params = encode(params);
        if !self.may_migrate {
            // The engine's own switch would drop what comes from a NAT that forgot.
            // req: 9000-9-move-though-disabled
            parameters::disable_active_migration(&mut params);
        }
        let initial = self.initial.clone();
        let observer = self.observe.as_ref().and_then(|observe| observe.session());
        if self.by_name.is_some() {
            let deferred = Deferred::new(self, version, params);
            return Box::new(TlsSession::deferred(deferred, version, initial, observer));
        }
        let (tls, desk) = deferred::open(self.chosen(), version, params)
            .expect("a trial with the same configuration succeeded when it was made");
        let tls = quic::Connection::Server(tls);
        let session = TlsSession::new(tls, version, initial, observer);
        Box::new(session.with_tickets(desk))
    }
}

impl quinn_proto::crypto::ClientConfig for Client {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn quinn_proto::crypto::Session>, ConnectError> {
        let version = known(version).ok_or(ConnectError::UnsupportedVersion)?;
        let name = ServerName::try_from(server_name)
            .map_err(|_| ConnectError::InvalidServerName(server_name.into()))?
            .to_owned();
        // It fails without TLS 1.3 or a key exchange, and then no version of QUIC can be spoken.
        let tls = quic::ClientConnection::new(self.tls.clone(), version, name, encode(params))
            .map_err(|_| ConnectError::UnsupportedVersion)?;
        let observer = self.observe.as_ref().and_then(|observe| observe.session());
        let tls = quic::Connection::Client(tls);
        Ok(Box::new(TlsSession::new(tls, version, self.initial.clone(), observer)))
    }
}

/// The suite that protects Initial packets, whatever is negotiated later (RFC 9001 §5.2).
fn initial_suite(provider: &rustls::crypto::CryptoProvider) -> Result<Arc<Initial>, ConfigError> {
    // req: 9001-5.2-initial-suite
    let aes = rustls::CipherSuite::TLS13_AES_128_GCM_SHA256;
    let mut suites = provider.cipher_suites.iter().filter(|suite| suite.suite() == aes);
    let suite = suites.find_map(|suite| suite.tls13()?.quic_suite());
    suite.map(|suite| Arc::new(Initial::new(suite))).ok_or(ConfigError::NoInitialCipherSuite)
}

/// rustls's name of a version that we speak.
fn known(version: u32) -> Option<Version> {
    (version == VERSION_1).then_some(Version::V1)
}

fn encode(params: &TransportParameters) -> Vec<u8> {
    let mut bytes = Vec::new();
    params.write(&mut bytes);
    bytes
}

/// QUIC version 1 (RFC 9000 §15).
pub(crate) const VERSION_1: u32 = 1;

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::default_provider;

    use super::*;

    /// A server without certificates, which is enough to be judged.
    fn server(
        provider: rustls::crypto::CryptoProvider,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> rustls::ServerConfig {
        rustls::ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new()))
    }

    fn judge(config: rustls::ServerConfig) -> Option<ConfigError> {
        Server::new(Arc::new(config), None, true).err()
    }

    // req: 9001-4.6.1-early-data-size
    #[test]
    fn early_data_is_unlimited_or_off() {
        for (size, is_possible) in [(0, true), (1, false), (u32::MAX - 1, false), (u32::MAX, true)]
        {
            let mut config = server(default_provider(), &rustls::version::TLS13);
            config.max_early_data_size = size;
            let expected = (!is_possible).then_some(ConfigError::EarlyDataSize(size));
            assert_eq!(judge(config), expected);
        }
    }

    // req: 9001-5.2-initial-suite
    #[test]
    fn a_provider_without_the_suite_of_initial_packets_is_refused() {
        let mut provider = default_provider();
        let aes = rustls::CipherSuite::TLS13_AES_128_GCM_SHA256;
        provider.cipher_suites.retain(|suite| suite.suite() != aes);
        let config = server(provider, &rustls::version::TLS13);
        assert_eq!(judge(config), Some(ConfigError::NoInitialCipherSuite));
    }

    // req: 9001-4.2-tls-version
    #[test]
    fn a_server_without_tls_1_3_is_refused() {
        let config = server(default_provider(), &rustls::version::TLS12);
        assert!(matches!(judge(config), Some(ConfigError::Tls(_))));
    }
}
