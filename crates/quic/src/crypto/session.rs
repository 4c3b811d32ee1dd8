//! One TLS handshake, and the secrets that it leaves.

use std::{any::Any, io, sync::Arc};

use quinn_proto::{
    ConnectionId, Side, TransportError, TransportErrorCode,
    crypto::{ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session},
    transport_parameters::TransportParameters,
};
use rustls::{
    pki_types::CertificateDer,
    quic::{Connection, KeyChange, Secrets, Suite, Version},
};

use super::{Level, PacketObserver, hello, keys, keys::Observer, retry};

/// What a handshake has settled so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HandshakeData {
    /// What the client asked for; servers only.
    pub(crate) server_name: Option<String>,
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) cipher_suite: Option<rustls::CipherSuite>,
    pub(crate) key_exchange: Option<rustls::NamedGroup>,
}

/// A TLS session as the engine drives it.
pub(super) struct TlsSession {
    tls: Connection,
    version: Version,
    initial: Suite,
    /// Secrets of the next key phase, once there are any.
    next: Option<Secrets>,
    /// The engine has been told that there is data of the handshake.
    announced: bool,
    /// A server's look at the ClientHello.
    hello: Option<hello::Watch>,
    observer: Observer,
}

impl TlsSession {
    pub(super) fn new(
        tls: Connection,
        version: Version,
        initial: Suite,
        observer: Option<Box<dyn PacketObserver>>,
    ) -> Self {
        let observer = observer.map(Arc::from);
        let hello = matches!(tls, Connection::Server(_)).then(hello::Watch::default);
        Self { tls, version, initial, next: None, announced: false, hello, observer }
    }

    /// rustls has no signal for it: a server knows the ClientHello, a client the ServerHello, from
    /// the moment that a suite is chosen.
    fn has_data(&self) -> bool {
        self.tls.negotiated_cipher_suite().is_some()
            && (self.tls.alpn_protocol().is_some()
                || self.server_name().is_some()
                || !self.tls.is_handshaking())
    }

    fn server_name(&self) -> Option<&str> {
        match &self.tls {
            Connection::Client(_) => None,
            Connection::Server(tls) => tls.server_name(),
        }
    }

    fn side(&self) -> Side {
        match &self.tls {
            Connection::Client(_) => Side::Client,
            Connection::Server(_) => Side::Server,
        }
    }
}

impl Session for TlsSession {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        let side = match side {
            Side::Client => rustls::Side::Client,
            Side::Server => rustls::Side::Server,
        };
        let keys = self.initial.keys(dst_cid, side, self.version);
        keys::pair(keys, Level::Initial, &self.observer)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        if !self.announced && self.tls.is_handshaking() {
            return None;
        }
        Some(Box::new(HandshakeData {
            server_name: self.server_name().map(str::to_owned),
            alpn: self.tls.alpn_protocol().map(<[u8]>::to_vec),
            cipher_suite: self.tls.negotiated_cipher_suite().map(|suite| suite.suite()),
            key_exchange: self.tls.negotiated_key_exchange_group().map(|group| group.name()),
        }))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        let certificates = self.tls.peer_certificates()?;
        let owned = certificates.iter().map(|certificate| certificate.clone().into_owned());
        Some(Box::new(owned.collect::<Vec<CertificateDer<'static>>>()))
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        let early = self.tls.zero_rtt_keys()?;
        let packet = keys::packet(early.packet, Level::EarlyData, &self.observer);
        Some((keys::header(early.header), packet))
    }

    fn early_data_accepted(&self) -> Option<bool> {
        match &self.tls {
            Connection::Client(tls) => Some(tls.is_early_data_accepted()),
            Connection::Server(_) => None,
        }
    }

    fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.tls.read_hs(buf).map_err(|error| TransportError {
            // req: 9001-4.8-alert-is-the-code
            code: match self.tls.alert() {
                Some(alert) => TransportErrorCode::crypto(alert.into()),
                None => TransportErrorCode::PROTOCOL_VIOLATION,
            },
            frame: None,
            reason: error.to_string(),
        })?;
        if let Some(hello) = &mut self.hello {
            hello.read(buf).map_err(missing_parameters)?;
        }
        let news = !self.announced && self.has_data();
        self.announced |= news;
        Ok(news)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let Some(bytes) = self.tls.quic_transport_parameters() else { return Ok(None) };
        let params = TransportParameters::read(self.side(), &mut io::Cursor::new(bytes))?;
        Ok(Some(params))
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        match self.tls.write_hs(buf)? {
            KeyChange::Handshake { keys } => {
                Some(keys::pair(keys, Level::Handshake, &self.observer))
            }
            KeyChange::OneRtt { keys, next } => {
                self.next = Some(next);
                Some(keys::pair(keys, Level::OneRtt, &self.observer))
            }
        }
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let keys = self.next.as_mut()?.next_packet_keys();
        Some(KeyPair {
            local: keys::packet(keys.local, Level::OneRtt, &self.observer),
            remote: keys::packet(keys.remote, Level::OneRtt, &self.observer),
        })
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        retry::is_valid(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.tls
            .export_keying_material(output, label, Some(context))
            .map(|_| ())
            .map_err(|_| ExportKeyingMaterialError)
    }
}

// req: 9001-8.2-extension
fn missing_parameters(_: hello::NoParameters) -> TransportError {
    TransportError {
        code: TransportErrorCode::crypto(rustls::AlertDescription::MissingExtension.into()),
        frame: None,
        reason: "the ClientHello has no quic_transport_parameters of version 1".into(),
    }
}
