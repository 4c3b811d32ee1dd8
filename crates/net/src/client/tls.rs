//! Whom a client trusts, and who it says it is: the TLS configurations of TCP and QUIC.

use std::{fs, path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};

use self::own::OwnCertificates;
use super::{config::Config, session::Sessions, versions::Versions};
use crate::{TlsError, tls::Servers};

mod own;

/// Whose certificates are trusted.
#[derive(Clone, Debug, Default)]
pub enum Roots {
    /// Those that the system trusts, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    #[default]
    System,
    /// Those of the system, and these.
    SystemAnd(Vec<CertificateDer<'static>>),
    /// These alone.
    Only(Vec<CertificateDer<'static>>),
    /// Nobody's: for `http` URLs, on systems that have none, and without the time to read them.
    Nobody,
}

impl Roots {
    /// The certificates of a PEM file alone.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn from_pem_file(path: impl AsRef<Path>) -> Result<Self, TlsError> {
        certificates(path.as_ref()).map(Self::Only)
    }

    /// One more.
    pub(crate) fn add(&mut self, certificate: CertificateDer<'static>) {
        match self {
            Self::System => *self = Self::SystemAnd(vec![certificate]),
            Self::Nobody => *self = Self::Only(vec![certificate]),
            Self::SystemAnd(certificates) | Self::Only(certificates) => {
                certificates.push(certificate);
            }
        }
    }

    /// Those that were named one by one.
    fn named(&self) -> &[CertificateDer<'static>] {
        match self {
            Self::System | Self::Nobody => &[],
            Self::SystemAnd(named) | Self::Only(named) => named,
        }
    }

    fn store(&self) -> Result<RootCertStore, TlsError> {
        let mut store = RootCertStore::empty();
        for certificate in self.named() {
            store.add(certificate.clone()).map_err(TlsError::UnusableCertificate)?;
        }
        if matches!(self, Self::System | Self::SystemAnd(_)) {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "a part of the system's trusted certificates is unreadable");
            }
            // Systems carry some that nobody can parse any more.
            store.add_parsable_certificates(found.certs);
        }
        if store.is_empty() { Err(TlsError::NoRoots) } else { Ok(store) }
    }
}

/// What a client shows to servers that ask for a certificate.
#[derive(Debug)]
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientCertificate {
    /// A chain (leaf first) and its key.
    pub fn from_der(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        Self { chain, key }
    }

    /// Reads a chain (leaf first) and its key from two PEM files, which may be the same file.
    ///
    /// # Errors
    /// The first thing that is wrong, with the file that it is wrong in.
    pub fn from_pem_files(
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        let chain = certificates(certificate.as_ref())?;
        let key = crate::tls::private_key(key.as_ref())?;
        Ok(Self { chain, key })
    }
}

impl Clone for ClientCertificate {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

/// The configurations of one client.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    /// ALPN `h2` and `http/1.1`.
    tcp: Arc<ClientConfig>,
    /// `h2` alone, and `http/1.1` alone.
    tcp_h2: Arc<ClientConfig>,
    tcp_h1: Arc<ClientConfig>,
    /// ALPN `h3`, with early data where that is wanted.
    pub(crate) quic: Arc<ClientConfig>,
    /// The same without early data: to try again after a server has refused it.
    pub(crate) quic_late: Arc<ClientConfig>,
    /// Tickets of QUIC, and what they remember.
    pub(crate) sessions: Arc<Sessions>,
}

impl Tls {
    /// # Errors
    /// No trusted certificates, or a certificate of our own that cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Self, TlsError> {
        let provider = Arc::new(crate::tls::provider());
        crate::tls::gather_entropy(provider.secure_random);
        let verifier = Verifier::new(config, &provider)?;
        let alpn = |names: &[&[u8]]| names.iter().map(|name| name.to_vec()).collect::<Vec<_>>();
        // Tickets are not shared between the two: one of TCP has no transport parameters.
        let tcp_sessions = Arc::new(Sessions::new(SESSIONS));
        let sessions = Arc::new(Sessions::new(SESSIONS));
        let tcp = verifier.config(
            config,
            &provider,
            &[&rustls::version::TLS13, &rustls::version::TLS12],
            (alpn(&[b"h2", b"http/1.1"]), tcp_sessions),
        )?;
        let quic = verifier.config(
            config,
            &provider,
            &[&rustls::version::TLS13],
            (alpn(&[b"h3"]), sessions.clone()),
        )?;
        let mut early = quic.clone();
        early.enable_early_data = config.early_data;
        let only = |name: &[u8]| {
            let mut config = tcp.clone();
            config.alpn_protocols = alpn(&[name]);
            config
        };
        Ok(Self {
            tcp_h2: Arc::new(only(b"h2")),
            tcp_h1: Arc::new(only(b"http/1.1")),
            tcp: Arc::new(tcp),
            quic: Arc::new(early),
            quic_late: Arc::new(quic),
            sessions,
        })
    }
}

impl Tls {
    /// That of an attempt over TCP that may come to these versions.
    pub(crate) fn of_tcp(&self, versions: Versions) -> &Arc<ClientConfig> {
        match (versions.h2, versions.h1) {
            (true, false) => &self.tcp_h2,
            (false, _) => &self.tcp_h1,
            (true, true) => &self.tcp,
        }
    }
}

/// How a server's certificate is judged.
enum Verifier {
    Roots(Arc<RootCertStore>),
    /// Nobody is trusted.
    Nobody,
    /// Everybody is.
    Anybody(Arc<AcceptAny>),
}

impl Verifier {
    fn new(config: &Config, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        if config.accept_any_certificate {
            return Ok(Self::Anybody(Arc::new(AcceptAny(provider.clone()))));
        }
        if matches!(config.roots, Roots::Nobody) {
            return Ok(Self::Nobody);
        }
        config.roots.store().map(|store| Self::Roots(Arc::new(store)))
    }

    fn config(
        &self,
        config: &Config,
        provider: &Arc<CryptoProvider>,
        versions: &[&'static rustls::SupportedProtocolVersion],
        (alpn, sessions): (Vec<Vec<u8>>, Arc<Sessions>),
    ) -> Result<ClientConfig, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(TlsError::Configuration)?;
        let mut verifier: Arc<dyn ServerCertVerifier> = match self {
            Self::Roots(store) => {
                let usual =
                    WebPkiServerVerifier::builder_with_provider(store.clone(), provider.clone())
                        .build()
                        .map_err(|_| TlsError::NoRoots)?;
                let usual = Some(usual);
                let named = config.roots.named().to_vec();
                Arc::new(OwnCertificates { usual, named })
            }
            Self::Nobody => Arc::new(OwnCertificates { usual: None, named: Vec::new() }),
            Self::Anybody(any) => any.clone(),
        };
        if let Some(own) = &config.verifier {
            verifier = Arc::new(Servers::new(verifier, own.clone()));
        }
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut tls = match &config.certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let ClientCertificate { chain, key } = certificate.clone();
                builder.with_client_auth_cert(chain, key).map_err(TlsError::UnusableKey)?
            }
        };
        tls.alpn_protocols = alpn;
        tls.resumption = match config.verifier {
            None => Resumption::store(sessions),
            // A session that is resumed has the certificate of its first handshake, and nobody is asked about it.
            Some(_) => Resumption::disabled(),
        };
        if config.key_log {
            // It writes nothing unless `SSLKEYLOGFILE` names a file.
            tls.key_log = Arc::new(rustls::KeyLogFile::new());
        }
        Ok(tls)
    }
}

/// Trusts whoever answers: asked for by name, for tests and for looking at what is broken.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem =
        fs::read(path).map_err(|source| TlsError::Unreadable { path: path.into(), source })?;
    let found = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Pem { path: path.into(), source })?;
    if found.is_empty() { Err(TlsError::NoCertificate { path: path.into() }) } else { Ok(found) }
}

/// Servers whose tickets are remembered.
const SESSIONS: usize = 128;
