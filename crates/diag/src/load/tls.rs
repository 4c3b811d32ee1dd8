//! TLS of the load: whose certificates are believed, and the configurations for TCP and QUIC.

mod verifier;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore,
    client::{Resumption, WantsClientCert},
    crypto::{CryptoProvider, aws_lc_rs::default_provider},
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use self::verifier::{AnyCertificate, Listed};
use super::Version;

/// Whose certificates are believed.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// The authorities that this system trusts.
    #[default]
    System,
    /// The authorities in these files (PEM).
    Files(Vec<PathBuf>),
    /// Anyone's: for test servers.
    Anyone,
}

/// Why TLS cannot be configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// File.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file has no certificate.
    #[error("{} holds no certificate: expected PEM with a CERTIFICATE section", path.display())]
    NoCertificate {
        /// File.
        path: PathBuf,
    },
    /// This system has no list of authorities where one is looked for.
    #[error(
        "this system has no list of authorities: name a file with --cacert, or trust anyone with --insecure"
    )]
    NoSystemRoots,
    /// The TLS library refused.
    #[error("TLS cannot be configured")]
    Configuration(#[from] rustls::Error),
}

impl Trust {
    /// The configuration for a version of HTTP.
    pub(super) fn config(
        &self,
        version: Version,
        early_data: bool,
        resume: bool,
    ) -> Result<rustls::ClientConfig, TlsError> {
        let versions: &[_] = if version == Version::Http3 { &[&TLS13] } else { &[&TLS13, &TLS12] };
        let provider = Arc::new(provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)?;
        let builder: rustls::ConfigBuilder<_, WantsClientCert> = match self {
            Self::System => builder.with_root_certificates(system_roots()?),
            Self::Files(paths) => {
                let (mut roots, mut listed) = (RootCertStore::empty(), Vec::new());
                for path in paths {
                    add(path, &mut roots)?;
                    listed.extend(read(path)?);
                }
                let verifier = Listed::new(roots, listed, provider)?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
            Self::Anyone => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![version.alpn().into()];
        config.enable_early_data = early_data;
        if !resume {
            // Each handshake costs the server what a new client's does.
            config.resumption = Resumption::disabled();
        }
        if std::env::var_os("SSLKEYLOGFILE").is_some() {
            config.key_log = Arc::new(rustls::KeyLogFile::new());
        }
        Ok(config)
    }
}

/// AES-128-GCM first: it costs both sides the least for each packet.
fn provider() -> CryptoProvider {
    let mut provider = default_provider();
    let cheapest = rustls::CipherSuite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != cheapest);
    provider
}

fn add(path: &Path, roots: &mut RootCertStore) -> Result<(), TlsError> {
    match roots.add_parsable_certificates(read(path)?) {
        (0, _) => Err(TlsError::NoCertificate { path: path.into() }),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { path: path.into(), source };
    let pem = fs::read(path).map_err(unreadable)?;
    Ok(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect())
}

/// The first list of authorities that is there.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = SYSTEM_ROOTS.iter().map(PathBuf::from);
    let mut roots = RootCertStore::empty();
    let is_found = named.into_iter().chain(usual).any(|path| add(&path, &mut roots).is_ok());
    if is_found { Ok(roots) } else { Err(TlsError::NoSystemRoots) }
}

/// Where distributions keep their authorities: Debian, Fedora, openSUSE, Alpine.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
