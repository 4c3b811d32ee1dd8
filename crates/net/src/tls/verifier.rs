//! What a program itself says of certificates: of clients', in a server, and of servers', in a client.
//!
//! The trait is ours and not one of rustls, which has one for each side, changes them from version to version, and has the signature
//! of the handshake checked by whoever implements them: the proof that a certificate is its sender's own. That check
//! stays with us, so that no answer of a program's can skip it.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::provider;

/// Judges the certificate that a peer has shown: more than authorities and names, or something else.
///
/// It is called once in each handshake, over TCP and QUIC alike: sessions are not resumed where there is one, so that nobody comes in
/// by what it has said of a certificate in the past. It runs on the thread that serves all of the connections: it must not block, and
/// looks in what it has. A panic refuses the peer, and ends nothing else.
///
/// That the peer has the key of its certificate is not its affair: that is always checked.
///
/// # Example
/// ```
/// use std::{collections::HashSet, sync::{Arc, RwLock}};
/// use sterna_net::{Client, tls::{ClientAuth, Peer, PeerVerifier, Refusal}};
///
/// /// Certificates that are not good any more, though their time is not over.
/// #[derive(Debug, Default)]
/// struct Revoked(RwLock<HashSet<Vec<u8>>>);
///
/// impl PeerVerifier for Revoked {
///     fn verify(&self, peer: &Peer<'_>, usual: Result<(), Refusal>) -> Result<(), Refusal> {
///         usual?;
///         let revoked = self.0.read().map_err(|_| Refusal::Other)?;
///         let is_revoked = peer.certificates().iter().any(|one| revoked.contains(one.as_ref()));
///         if is_revoked { Err(Refusal::Revoked) } else { Ok(()) }
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let revoked = Arc::new(Revoked::default());
/// // In a server, beside the authorities of its clients …
/// # if false {
/// let clients = ClientAuth::from_pem_files(["clients.pem"], true)?.with_verifier(revoked.clone());
/// # }
/// // … and in a client, beside those that it trusts.
/// let client = Client::builder().verifier(revoked);
/// # Ok(())
/// # }
/// ```
pub trait PeerVerifier: fmt::Debug + Send + Sync {
    /// Whether this peer is who it has to be. `usual` is what is found without this trait: the chain, its time, its purpose, and for
    /// a server the name. `usual?` at the beginning makes this a further condition; who does not look at it judges alone.
    ///
    /// # Errors
    /// Why it is not: the handshake ends with the alert that belongs to it.
    fn verify(&self, peer: &Peer<'_>, usual: Result<(), Refusal>) -> Result<(), Refusal>;
}

/// A peer, by what it has shown.
#[derive(Debug)]
pub struct Peer<'a> {
    certificates: &'a [CertificateDer<'a>],
    name: Option<&'a str>,
    ocsp_response: &'a [u8],
    time: SystemTime,
}

impl Peer<'_> {
    /// Its chain, the leaf first; never empty. Who shows none is not asked about.
    pub fn certificates(&self) -> &[CertificateDer<'_>] {
        self.certificates
    }

    /// The name or address that a server has to be; `None` for a client.
    pub fn name(&self) -> Option<&str> {
        self.name
    }

    /// The OCSP response that a server has stapled, in DER and unchecked; empty without one, and for a client.
    pub fn ocsp_response(&self) -> &[u8] {
        self.ocsp_response
    }

    /// The time to judge by.
    pub fn time(&self) -> SystemTime {
        self.time
    }
}

/// Why a certificate is not good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Its time is over, or has not come: `certificate_expired`.
    #[error("it is not its time")]
    Expired,
    /// Nobody who is trusted has signed it: `unknown_ca`.
    #[error("nobody who is trusted has signed it")]
    UnknownAuthority,
    /// Its authority has taken it back: `certificate_revoked`.
    #[error("it is revoked")]
    Revoked,
    /// It is for another name: `bad_certificate`.
    #[error("it is for another name")]
    WrongName,
    /// It is for something else than this: `unsupported_certificate`.
    #[error("it is for another purpose")]
    WrongPurpose,
    /// It cannot be read: `bad_certificate`.
    #[error("it cannot be read")]
    Unreadable,
    /// What its authority says of it is missing, or is not good: `bad_certificate_status_response`.
    #[error("its OCSP response is missing or not good")]
    OcspResponse,
    /// It is good, and its owner is not let in: `access_denied`.
    #[error("its owner is not let in")]
    NotAllowed,
    /// Something else: `certificate_unknown`.
    #[error("it is not good")]
    Other,
}

impl Refusal {
    /// What rustls has the alert from.
    fn error(self) -> Error {
        Error::InvalidCertificate(match self {
            Self::Expired => CertificateError::Expired,
            Self::UnknownAuthority => CertificateError::UnknownIssuer,
            Self::Revoked => CertificateError::Revoked,
            Self::WrongName => CertificateError::NotValidForName,
            Self::WrongPurpose => CertificateError::InvalidPurpose,
            Self::Unreadable => CertificateError::BadEncoding,
            Self::OcspResponse => CertificateError::InvalidOcspResponse,
            Self::NotAllowed => CertificateError::ApplicationVerificationFailure,
            Self::Other => CertificateError::Other(rustls::OtherError(Arc::new(Self::Other))),
        })
    }

    fn of(error: &Error) -> Self {
        use CertificateError as Why;
        let Error::InvalidCertificate(why) = error else { return Self::Other };
        match why {
            Why::Expired
            | Why::ExpiredContext { .. }
            | Why::NotValidYet
            | Why::NotValidYetContext { .. } => Self::Expired,
            Why::UnknownIssuer => Self::UnknownAuthority,
            Why::Revoked => Self::Revoked,
            Why::NotValidForName | Why::NotValidForNameContext { .. } => Self::WrongName,
            Why::InvalidPurpose | Why::InvalidPurposeContext { .. } => Self::WrongPurpose,
            Why::BadEncoding => Self::Unreadable,
            Why::InvalidOcspResponse => Self::OcspResponse,
            Why::ApplicationVerificationFailure => Self::NotAllowed,
            _ => Self::Other,
        }
    }
}

/// Asks a program's own code, after the usual check. What is broken there must not end the worker.
fn judge(
    verifier: &dyn PeerVerifier,
    peer: &Peer<'_>,
    usual: Result<(), Error>,
) -> Result<(), Error> {
    let found = match &usual {
        Ok(()) => Ok(()),
        Err(error) => Err(Refusal::of(error)),
    };
    let verdict = catch_unwind(AssertUnwindSafe(|| verifier.verify(peer, found)));
    let verdict = verdict.unwrap_or_else(|_| {
        tracing::error!(?verifier, "the verifier panicked, the peer is refused");
        Err(Refusal::Other)
    });
    match (verdict, usual) {
        (Ok(()), _) => Ok(()),
        // The longer words for the same.
        (Err(refusal), Err(error)) if refusal == Refusal::of(&error) => Err(error),
        (Err(refusal), _) => Err(refusal.error()),
    }
}

fn time(now: UnixTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(now.as_secs())
}

fn chain<'a>(
    leaf: &CertificateDer<'a>,
    intermediates: &[CertificateDer<'a>],
) -> Vec<CertificateDer<'a>> {
    std::iter::once(leaf).chain(intermediates).cloned().collect()
}

/// Clients, as a program judges them.
#[derive(Debug)]
pub(super) struct Clients {
    /// The authorities, if there are any.
    pub(super) usual: Option<Arc<dyn ClientCertVerifier>>,
    pub(super) verifier: Arc<dyn PeerVerifier>,
    pub(super) is_required: bool,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.usual.as_ref().map_or(&[], |usual| usual.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let usual = match &self.usual {
            Some(usual) => usual.verify_client_cert(end_entity, intermediates, now).map(drop),
            None => Err(Refusal::UnknownAuthority.error()),
        };
        let certificates = chain(end_entity, intermediates);
        let (name, ocsp_response, time) = (None, &[][..], time(now));
        let peer = Peer { certificates: &certificates, name, ocsp_response, time };
        judge(&*self.verifier, &peer, usual).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Servers, as a program judges them.
#[derive(Debug)]
pub(crate) struct Servers {
    usual: Arc<dyn ServerCertVerifier>,
    verifier: Arc<dyn PeerVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Servers {
    pub(crate) fn new(usual: Arc<dyn ServerCertVerifier>, verifier: Arc<dyn PeerVerifier>) -> Self {
        Self { usual, verifier, algorithms: provider().signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let usual = self
            .usual
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map(drop);
        let (certificates, name) = (chain(end_entity, intermediates), server_name.to_str());
        let peer =
            Peer { certificates: &certificates, name: Some(&name), ocsp_response, time: time(now) };
        judge(&*self.verifier, &peer, usual).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_an_alert_and_is_known_again_by_it() {
        for refusal in [
            Refusal::Expired,
            Refusal::UnknownAuthority,
            Refusal::Revoked,
            Refusal::WrongName,
            Refusal::WrongPurpose,
            Refusal::Unreadable,
            Refusal::OcspResponse,
            Refusal::NotAllowed,
            Refusal::Other,
        ] {
            assert_eq!(Refusal::of(&refusal.error()), refusal);
        }
    }
}
