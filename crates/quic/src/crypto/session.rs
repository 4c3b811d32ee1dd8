//! One TLS handshake, and the secrets that it leaves.

use std::{any::Any, io, sync::Arc};

use quinn_proto::{
    ConnectionId, Side, TransportError, TransportErrorCode,
    crypto::{ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session},
    transport_parameters::TransportParameters,
};
use rustls::{
    pki_types::CertificateDer,
    quic::{Connection, KeyChange, Secrets, Version},
};

use super::{
    Level, PacketObserver,
    deferred::{Deferred, Opened},
    hello,
    initial::Initial,
    keys,
    keys::Observer,
    parameters,
    path::PathWatch,
    retry,
    ticket::Desk,
};
use crate::early::{Outcome, Verdict};

/// What a handshake has settled so far.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HandshakeData {
    /// What the client asked for; servers only.
    pub(crate) server_name: Option<String>,
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) cipher_suite: Option<rustls::CipherSuite>,
    pub(crate) key_exchange: Option<rustls::NamedGroup>,
    /// Why it ended, when it was our side that ended it.
    pub(crate) failure: Option<rustls::Error>,
    /// What became of early data; servers only.
    pub(crate) early: Outcome,
    /// Looks for validated paths; servers only.
    pub(crate) path: Option<Arc<PathWatch>>,
    /// The peer asks us to stay at our address (`disable_active_migration`, RFC 9000 §18.2).
    pub(crate) must_stay: bool,
}

/// A TLS session as the engine drives it.
pub(super) struct TlsSession {
    tls: Tls,
    version: Version,
    initial: Arc<Initial>,
    /// What the keys of the next phase come from, once there are any.
    next: Option<Arc<Secrets>>,
    /// The engine has those keys already: the ones after them are next.
    is_next_taken: bool,
    /// The engine has been told that there is data of the handshake.
    announced: bool,
    /// Why TLS gave up: the engine takes a code and a text only.
    failure: Option<rustls::Error>,
    /// A server's look at the ClientHello.
    hello: Option<hello::Watch>,
    observer: Observer,
    path: Option<Arc<PathWatch>>,
    /// A server's tickets.
    desk: Option<Arc<Desk>>,
    early: Outcome,
}

/// rustls's state, as long as it is of use: some kilobytes.
enum Tls {
    /// A server's that waits for the name that its client asks for.
    Deferred(Box<Deferred>),
    Live(Box<Connection>),
    /// A server's, when it has said all: a client has nothing to say after the handshake (RFC 9001 §6).
    Over(Settled),
}

/// What is left of a handshake.
struct Settled {
    data: Arc<HandshakeData>,
    certificates: Vec<CertificateDer<'static>>,
}

impl TlsSession {
    pub(super) fn new(
        tls: Connection,
        version: Version,
        initial: Arc<Initial>,
        observer: Option<Box<dyn PacketObserver>>,
    ) -> Self {
        let is_server = matches!(tls, Connection::Server(_));
        Self::begin(Tls::Live(Box::new(tls)), is_server, version, initial, observer)
    }

    /// A server's, whose TLS is chosen when it knows whom the client asks for.
    pub(super) fn deferred(
        deferred: Deferred,
        version: Version,
        initial: Arc<Initial>,
        observer: Option<Box<dyn PacketObserver>>,
    ) -> Self {
        Self::begin(Tls::Deferred(Box::new(deferred)), true, version, initial, observer)
    }

    fn begin(
        tls: Tls,
        is_server: bool,
        version: Version,
        initial: Arc<Initial>,
        observer: Option<Box<dyn PacketObserver>>,
    ) -> Self {
        Self {
            tls,
            version,
            initial,
            next: None,
            is_next_taken: false,
            announced: false,
            failure: None,
            hello: is_server.then(hello::Watch::default),
            observer: observer.map(Arc::from),
            path: is_server.then(Arc::default),
            desk: None,
            early: Outcome::NotOffered,
        }
    }

    /// With tickets, if there are any: `tls` has them for its session storage.
    pub(super) fn with_tickets(self, desk: Option<Arc<Desk>>) -> Self {
        Self { desk, ..self }
    }

    /// What became of early data, once TLS has read the whole ClientHello.
    fn judge_early(&self, tls: &Connection) -> Outcome {
        let verdict = self.desk.as_ref().and_then(|desk| desk.verdict());
        let may_be_taken = self.desk.is_none() || verdict == Some(Verdict::Fresh);
        match &self.hello {
            Some(hello) if !hello.is_early() => Outcome::NotOffered,
            Some(_) if may_be_taken && tls.zero_rtt_keys().is_some() => Outcome::Accepted,
            Some(_) => Outcome::Refused(verdict.filter(|verdict| *verdict != Verdict::Fresh)),
            None => Outcome::NotOffered,
        }
    }

    /// Gives back what rustls holds, if it is a server's and there is nothing more to be said.
    fn settle(&mut self) {
        if let Tls::Live(tls) = &self.tls
            && let Connection::Server(_) = **tls
            && !tls.is_handshaking()
            && self.next.is_some()
        {
            let settled = Settled { data: self.data(tls), certificates: certificates(tls) };
            self.tls = Tls::Over(settled);
        }
    }

    fn data(&self, tls: &Connection) -> Arc<HandshakeData> {
        Arc::new(HandshakeData { path: self.path.clone(), early: self.early, ..data(tls) })
    }

    fn live(&self) -> Option<&Connection> {
        match &self.tls {
            Tls::Live(tls) => Some(tls),
            Tls::Deferred(_) | Tls::Over(_) => None,
        }
    }

    /// Goes on with a deferred handshake, when the whole ClientHello is there: with what it has to read.
    ///
    /// # Errors
    /// When TLS cannot do with what was chosen for the name.
    fn resume(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, TransportError> {
        let Tls::Deferred(deferred) = &mut self.tls else { return Ok(None) };
        let Some(opened) = deferred.read(bytes) else { return Ok(None) };
        let Opened { tls, desk, message } = opened.map_err(|error| TransportError {
            code: TransportErrorCode::INTERNAL_ERROR,
            frame: None,
            reason: error.to_string(),
        })?;
        self.tls = Tls::Live(Box::new(Connection::Server(tls)));
        self.desk = desk;
        Ok(Some(message))
    }
}

fn data(tls: &Connection) -> HandshakeData {
    HandshakeData {
        server_name: server_name(tls).map(str::to_owned),
        alpn: tls.alpn_protocol().map(<[u8]>::to_vec),
        cipher_suite: tls.negotiated_cipher_suite().map(|suite| suite.suite()),
        key_exchange: tls.negotiated_key_exchange_group().map(|group| group.name()),
        failure: None,
        early: Outcome::NotOffered,
        path: None,
        must_stay: tls.quic_transport_parameters().is_some_and(parameters::forbid_migration),
    }
}

fn certificates(tls: &Connection) -> Vec<CertificateDer<'static>> {
    let certificates = tls.peer_certificates().unwrap_or_default();
    certificates.iter().map(|certificate| certificate.clone().into_owned()).collect()
}

fn server_name(tls: &Connection) -> Option<&str> {
    match tls {
        Connection::Client(_) => None,
        Connection::Server(tls) => tls.server_name(),
    }
}

/// rustls has no signal for it: a server knows the ClientHello, a client the ServerHello, from
/// the moment that a suite is chosen.
fn has_data(tls: &Connection) -> bool {
    tls.negotiated_cipher_suite().is_some()
        && (tls.alpn_protocol().is_some() || server_name(tls).is_some() || !tls.is_handshaking())
}

fn side(tls: &Connection) -> Side {
    match tls {
        Connection::Client(_) => Side::Client,
        Connection::Server(_) => Side::Server,
    }
}

impl Session for TlsSession {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        let side = match side {
            Side::Client => rustls::Side::Client,
            Side::Server => rustls::Side::Server,
        };
        self.initial.keys(dst_cid, side, self.version, &self.observer)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let mut data = match &self.tls {
            Tls::Live(tls) if !self.announced && self.failure.is_none() && tls.is_handshaking() => {
                return None;
            }
            Tls::Live(tls) => self.data(tls),
            Tls::Over(settled) => settled.data.clone(),
            // Nothing can fail before there is a name.
            Tls::Deferred(_) => return None,
        };
        if self.failure.is_some() {
            Arc::make_mut(&mut data).failure.clone_from(&self.failure);
        }
        Some(Box::new(data))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        let certificates = match &self.tls {
            Tls::Live(tls) => certificates(tls),
            Tls::Over(settled) => settled.certificates.clone(),
            Tls::Deferred(_) => return None,
        };
        if certificates.is_empty() { None } else { Some(Box::new(certificates)) }
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        if self.hello.is_some() && self.early != Outcome::Accepted {
            // Whatever TLS has made of it.
            return None;
        }
        let early = self.live()?.zero_rtt_keys()?;
        let path = self.path.as_ref();
        let packet = keys::packet(early.packet, Level::EarlyData, &self.observer, path);
        Some((keys::header(early.header), packet))
    }

    fn early_data_accepted(&self) -> Option<bool> {
        match self.live()? {
            Connection::Client(tls) => Some(tls.is_early_data_accepted()),
            Connection::Server(_) => None,
        }
    }

    fn is_handshaking(&self) -> bool {
        match &self.tls {
            Tls::Deferred(_) => true,
            Tls::Live(tls) => tls.is_handshaking(),
            Tls::Over(_) => false,
        }
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        // Our look at it comes first: TLS asks for the ticket's session while it reads.
        let hello = self.hello.as_mut().map_or(Ok(()), |hello| hello.read(buf));
        let deferred = self.resume(buf)?;
        let buf = deferred.as_deref().unwrap_or(buf);
        let tls = match &mut self.tls {
            Tls::Live(tls) => tls,
            Tls::Deferred(_) => return Ok(false),
            Tls::Over(_) => return Err(unexpected_message()),
        };
        if let (Some(desk), Some(watch)) = (&self.desk, &self.hello)
            && watch.is_early()
        {
            desk.offered();
        }
        if let Err(error) = tls.read_hs(buf) {
            let reason = error.to_string();
            self.failure = Some(error);
            // req: 9001-4.8-alert-is-the-code
            let code = match tls.alert() {
                Some(alert) => TransportErrorCode::crypto(alert.into()),
                None => TransportErrorCode::PROTOCOL_VIOLATION,
            };
            return Err(TransportError { code, frame: None, reason });
        }
        hello.map_err(missing_parameters)?;
        let news = !self.announced && has_data(tls);
        self.announced |= news;
        if news && let Tls::Live(tls) = &self.tls {
            self.early = self.judge_early(tls);
        }
        Ok(news)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let Some(tls) = self.live() else { return Ok(None) };
        let Some(bytes) = tls.quic_transport_parameters() else { return Ok(None) };
        let bytes = parameters::with_few_connection_ids(bytes);
        let params = TransportParameters::read(side(tls), &mut io::Cursor::new(bytes))?;
        Ok(Some(params))
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let Tls::Live(tls) = &mut self.tls else { return None };
        let begin = buf.len();
        let change = tls.write_hs(buf);
        if let Some(desk) = &self.desk {
            desk.rewrite(buf, begin);
        }
        let Some(change) = change else {
            self.settle();
            return None;
        };
        match change {
            KeyChange::Handshake { keys } => {
                Some(keys::handshake(keys, &self.observer, self.path.as_ref()))
            }
            KeyChange::OneRtt { keys, next } => {
                self.next = Some(Arc::new(next));
                Some(keys::pair(keys, Level::OneRtt, &self.observer, self.path.as_ref()))
            }
        }
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let secrets = self.next.as_mut()?;
        if self.is_next_taken {
            let mut later = Secrets::clone(secrets);
            later.next_packet_keys();
            *secrets = Arc::new(later);
        }
        self.is_next_taken = true;
        Some(keys::next(secrets, &self.observer, self.path.as_ref()))
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
        // Nobody asks a server for them; when somebody does, they have to be settled too.
        let tls = self.live().ok_or(ExportKeyingMaterialError)?;
        tls.export_keying_material(output, label, Some(context))
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

/// What rustls says to any message after the handshake.
fn unexpected_message() -> TransportError {
    TransportError {
        code: TransportErrorCode::crypto(rustls::AlertDescription::UnexpectedMessage.into()),
        frame: None,
        reason: "a client has nothing to say after the handshake".into(),
    }
}

#[cfg(test)]
mod tests;
