//! Certificates that a program chooses by itself, at each handshake.
//!
//! The trait is ours and not that of rustls, though rustls is the TLS below: its traits change from version to version, and what they
//! are asked about is wider than what a choice needs. A program that has one of rustls wraps it in a few lines.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use rustls::{server::ClientHello, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{StapleError, TlsError, certified, chain, private_key, provider, staple};

/// Chooses the certificate that a client is shown, at each handshake over TCP and QUIC alike.
///
/// It is called on the thread of a worker, which serves all of its connections: it must not block, and looks in what it has. What has
/// to be fetched is fetched by others, and is there at a later handshake. A panic ends the handshake, and nothing else.
///
/// It is asked as well for a client that resumes a session, which is not shown what it chooses: a name that it does not
/// know any more cannot be resumed either.
///
/// # Example
/// ```
/// use std::{collections::HashMap, sync::{Arc, RwLock}};
/// use sterna_net::{ServerTls, tls::{Certificate, CertificateResolver, Hello}};
///
/// /// Certificates that another thread keeps fresh.
/// #[derive(Debug, Default)]
/// struct Tenants(RwLock<HashMap<String, Certificate>>);
///
/// impl CertificateResolver for Tenants {
///     fn resolve(&self, hello: &Hello<'_>) -> Option<Certificate> {
///         let tenants = self.0.read().ok()?;
///         tenants.get(hello.server_name()?).cloned()
///     }
/// }
///
/// let tenants = Arc::new(Tenants::default());
/// let tls = ServerTls::from_resolver(tenants.clone());
/// ```
pub trait CertificateResolver: fmt::Debug + Send + Sync {
    /// The certificate for this client; `None` ends the handshake with the alert `access_denied`.
    fn resolve(&self, hello: &Hello<'_>) -> Option<Certificate>;

    /// Whether a request for `host` may come on a connection whose client asked for `name` by SNI, both in lower case and without a
    /// port; otherwise it is answered 421 (RFC 9110 §15.5.20), and a client asks again on a connection of its own. Asked for each
    /// request of a client that asked for a name. Default: when they are the same.
    ///
    /// Whom clients of the two have to be is compared beside that, see [`ServerTls::with_names`].
    fn serves(&self, name: &str, host: &str) -> bool {
        name == host
    }
}

/// What a client says before it is shown a certificate.
pub struct Hello<'a>(ClientHello<'a>);

impl Hello<'_> {
    /// The name that it asks for (SNI), in lower case; none for an address.
    pub fn server_name(&self) -> Option<&str> {
        self.0.server_name()
    }

    /// The protocols that it offers (ALPN), its favourite first: `h3` comes over QUIC, all others over TCP.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        self.0.alpn().into_iter().flatten()
    }

    /// Whether it knows the kind of signature that this certificate's key makes: not every client knows ECDSA.
    pub fn knows(&self, certificate: &Certificate) -> bool {
        certificate.0.key.choose_scheme(self.0.signature_schemes()).is_some()
    }
}

impl fmt::Debug for Hello<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello").field("server_name", &self.server_name()).finish_non_exhaustive()
    }
}

/// A certificate chain and its key, checked to belong together. Clones are cheap, and the same.
#[derive(Clone, Debug)]
pub struct Certificate(pub(super) Arc<CertifiedKey>);

impl Certificate {
    /// Takes a chain (leaf first) and its key as they are in memory.
    ///
    /// # Errors
    /// [`TlsError::UnusableCertificate`], [`TlsError::UnusableKey`], [`TlsError::KeyMismatch`].
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        certified(&provider(), chain, key).map(|certified| Self(Arc::new(certified)))
    }

    /// Reads a chain (leaf first) and its key from two PEM files, which may be the same file. It blocks, as files do.
    ///
    /// # Errors
    /// The first thing that is wrong, with the file that it is wrong in.
    pub fn from_pem_files(
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        Self::from_der(chain(certificate.as_ref())?, private_key(key.as_ref())?)
    }

    /// With what the authority says of it, an OCSP response in DER, for clients that ask for it (RFC 6066 §8). When that is over
    /// the certificate is shown without it.
    ///
    /// # Errors
    /// When it is about another certificate, or says nothing good of this one.
    pub fn with_ocsp(self, response: Vec<u8>) -> Result<Self, StapleError> {
        let leaf = self.0.cert.first().ok_or(StapleError::OtherCertificate)?;
        staple::check(&response, leaf, SystemTime::now())?;
        let stapled = CertifiedKey { ocsp: Some(response), ..CertifiedKey::clone(&self.0) };
        Ok(Self(Arc::new(stapled)))
    }
}

/// Asks a program's own code for the certificate. What is broken there must not end the worker.
pub(super) fn resolve(
    resolver: &dyn CertificateResolver,
    hello: ClientHello<'_>,
) -> Option<Arc<CertifiedKey>> {
    let hello = Hello(hello);
    let chosen = catch_unwind(AssertUnwindSafe(|| resolver.resolve(&hello)));
    let chosen = chosen.unwrap_or_else(|_| {
        tracing::error!(?resolver, "the certificate resolver panicked, the handshake is refused");
        None
    });
    chosen.map(|Certificate(key)| key)
}

/// Asks it whether a connection is the right one; not where it panics.
pub(super) fn serves(resolver: &dyn CertificateResolver, name: &str, host: &str) -> bool {
    catch_unwind(AssertUnwindSafe(|| resolver.serves(name, host))).unwrap_or_else(|_| {
        tracing::error!(?resolver, "the certificate resolver panicked, the request is refused");
        false
    })
}
