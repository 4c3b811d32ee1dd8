//! Certificates and keys: from PEM or DER to the two configurations that TCP and QUIC need.
//!
//! One resolver stands behind both, so that a later change of certificates reaches every protocol at once. The
//! cryptography is aws-lc-rs, named here and not taken from a process-wide default.

use std::{
    collections::HashMap,
    fs,
    net::IpAddr,
    path::Path,
    sync::{Arc, Once},
    thread,
    time::SystemTime,
};

use rustls::{
    crypto::{CryptoProvider, SecureRandom, aws_lc_rs},
    server::NoServerSessionStorage,
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject};

use self::{
    certificates::{Certificates, Shown, Source, Unnamed, is_same},
    challenge::WithChallenges,
    secrets::SecretsFile,
};

mod certificates;
pub(crate) mod challenge;
mod client_auth;
mod error;
mod policies;
mod resolver;
mod secrets;
mod settings;
mod staple;
mod verifier;

pub use self::challenge::{AnsweredHost, Challenges};
pub use self::client_auth::ClientAuth;
pub use self::error::TlsError;
pub(crate) use self::policies::{PerPolicy, TcpTls, Terms};
pub use self::resolver::{Certificate, CertificateResolver, Hello};
pub use self::settings::{CipherSuite, KeyExchange, Settings, Version};
pub use self::staple::StapleError;
pub(crate) use self::verifier::Servers;
pub use self::verifier::{Peer, PeerVerifier, Refusal};

/// What a server shows to its clients: a certificate chain and its key, checked to belong together.
#[derive(Clone, Debug)]
pub struct ServerTls {
    certificates: Arc<Certificates>,
    /// Whom it lets in, where a name says nothing else.
    clients: Option<ClientAuth>,
    provider: Arc<CryptoProvider>,
    settings: Settings,
    /// What authorities are answered over TCP.
    challenges: Option<Challenges>,
    /// Where the secrets of connections are written.
    secrets: Option<Arc<dyn rustls::KeyLog>>,
}

impl ServerTls {
    /// Reads a chain (leaf first) and its key from two PEM files, which may be the same file.
    ///
    /// # Errors
    /// The first thing that is wrong, with the file that it is wrong in.
    pub fn from_pem_files(
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        Self::from_der(chain(certificate.as_ref())?, private_key(key.as_ref())?)
    }

    /// Takes a chain (leaf first) and its key as they are in memory.
    ///
    /// # Errors
    /// [`TlsError::UnusableCertificate`], [`TlsError::UnusableKey`], [`TlsError::KeyMismatch`].
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        let provider = provider();
        let certified = certified(&provider, chain, key)?;
        Ok(Self::new(Source::Fixed(Arc::new(certified)), provider))
    }

    /// Has the certificate chosen at each handshake, by a program's own code. For a name of [`ServerTls::with_names`] too.
    pub fn from_resolver(resolver: Arc<dyn CertificateResolver>) -> Self {
        Self::new(Source::Own(resolver), provider())
    }

    fn new(otherwise: Source, provider: CryptoProvider) -> Self {
        gather_entropy(provider.secure_random);
        Self {
            certificates: Arc::new(Certificates::new(HashMap::new(), otherwise)),
            clients: None,
            provider: Arc::new(provider),
            settings: Settings::default(),
            challenges: None,
            secrets: None,
        }
    }

    /// Shows what the authority says of its certificate as well, to clients that ask for it: an OCSP response in DER from this
    /// file (RFC 6066 §8). When it is over the certificate is shown without it.
    ///
    /// # Errors
    /// [`TlsError::Unreadable`], [`TlsError::Staple`].
    pub fn with_staple(mut self, file: impl AsRef<Path>) -> Result<Self, TlsError> {
        let file = file.as_ref();
        let der = read(file)?;
        let refused = |source| TlsError::Staple { path: file.into(), source };
        let shown = self.certificates.otherwise.fixed().ok_or(refused(StapleError::NotFixed))?;
        let mut stapled = CertifiedKey::clone(shown);
        if let Some(leaf) = stapled.cert.first() {
            staple::check(&der, leaf, SystemTime::now()).map_err(refused)?;
        }
        stapled.ocsp = Some(der);
        let names = self.certificates.names.clone();
        let otherwise = Source::Fixed(Arc::new(stapled));
        self.certificates = Arc::new(Certificates::new(names, otherwise));
        Ok(self)
    }

    /// Lets in clients by their certificates, on every version of HTTP alike. A request for a host with another policy than the
    /// connection's is answered 421 (RFC 9110 §15.5.20). Default: nobody is asked for a certificate.
    #[must_use]
    pub fn with_client_auth(mut self, clients: ClientAuth) -> Self {
        self.clients = Some(clients);
        self
    }

    /// Whom it lets in, where a name says nothing else.
    pub fn client_auth(&self) -> Option<&ClientAuth> {
        self.clients.as_ref()
    }

    /// Shows other certificates to clients that ask for one of these names by SNI: `example.com`, or `*.example.com` for
    /// one label, and lets in whom those let in. Who asks for another name, or for none, sees this one.
    ///
    /// A name may be an address, as URLs write it: `192.0.2.1`, `[2001:db8::1]`. Nobody asks for those; who asks for no name is shown
    /// what belongs to the address of ours that it came to.
    #[must_use]
    pub fn with_names(mut self, names: impl IntoIterator<Item = (String, Self)>) -> Self {
        let shown =
            |tls: Self| Shown { source: tls.certificates.otherwise.clone(), clients: tls.clients };
        let names = names.into_iter().map(|(name, tls)| (name, shown(tls))).collect();
        let otherwise = self.certificates.otherwise.clone();
        self.certificates = Arc::new(Certificates::new(names, otherwise));
        self
    }

    /// Shows the certificates of another one, and is as it was otherwise.
    #[must_use]
    pub fn showing(mut self, other: &Self) -> Self {
        self.certificates = other.certificates.clone();
        self
    }

    /// Agrees to these versions, cipher suites and key exchanges alone. Default: all that are good.
    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> Self {
        let mut provider = provider();
        settings.narrow(&mut provider);
        self.provider = Arc::new(provider);
        self.settings = settings;
        self
    }

    /// Answers TLS-ALPN-01 (RFC 8737) over TCP. Default: off.
    #[must_use]
    pub fn with_challenges(mut self, challenges: Challenges) -> Self {
        self.challenges = Some(challenges);
        self
    }

    /// What a client has asked for, as far as it decides anything: the name of its SNI, or the address that it came to where it gave
    /// none and that is a name of ours.
    pub(crate) fn asked<'a>(
        &'a self,
        server_name: Option<&'a str>,
        local: Option<IpAddr>,
    ) -> Option<&'a str> {
        let of_address = || self.certificates.addresses.get(&local?.to_canonical());
        server_name.or_else(|| of_address().map(String::as_str))
    }

    /// Whether a request for `host` may come on a connection that asked for `name`: it would be shown the same certificate, and let in
    /// by the same. Without a name, that of clients who ask for none.
    pub(crate) fn shows_the_same(&self, name: Option<&str>, host: Option<&str>) -> bool {
        let ((one, its_clients), (other, other_clients)) = (self.of(name), self.of(host));
        let is_right = match (one, name, host) {
            (Source::Own(resolver), Some(name), Some(host)) => {
                resolver::serves(&**resolver, name, host)
            }
            _ => true,
        };
        one.is_like(other, is_same) && its_clients == other_clients && is_right
    }

    /// Whether clients are not all shown the same, or not let in by the same.
    pub(crate) fn has_several(&self) -> bool {
        let Certificates { names, otherwise, .. } = &*self.certificates;
        let is_like =
            |one: &Shown| one.source.is_like(otherwise, is_same) && one.clients == self.clients;
        otherwise.fixed().is_none() || !names.values().all(is_like)
    }

    /// What clients are shown who ask for this name, in lower case, or for none; and whom it lets in.
    fn of(&self, name: Option<&str>) -> (&Source, Option<&ClientAuth>) {
        match name.and_then(|name| self.certificates.named(name)) {
            Some(Shown { source, clients }) => (source, clients.as_ref()),
            None => (&self.certificates.otherwise, self.clients.as_ref()),
        }
    }

    /// Whether it agrees to the same.
    pub(crate) fn has_settings_of(&self, other: &Self) -> bool {
        self.settings == other.settings && self.challenges.is_some() == other.challenges.is_some()
    }

    /// The certificates that clients are shown, each with the names for which it is; those without a name see the first. Those that a
    /// [`CertificateResolver`] chooses are left out.
    pub fn leaves(&self) -> Vec<(Vec<String>, CertificateDer<'static>)> {
        let leaf = |(names, key): (_, &CertifiedKey)| Some((names, key.cert.first()?.clone()));
        self.shown().into_iter().filter_map(leaf).collect()
    }

    /// When each OCSP response ends that is shown with a certificate, in seconds since 1970, by the names of that; it is not
    /// shown from then on. Those that do not say so are left out.
    pub fn staples(&self) -> Vec<(Vec<String>, i64)> {
        let until =
            |(names, key): (_, &CertifiedKey)| Some((names, staple::until(key.ocsp.as_deref()?)?));
        self.shown().into_iter().filter_map(until).collect()
    }

    /// By names: none for those who ask for none.
    fn shown(&self) -> Vec<(Vec<String>, &CertifiedKey)> {
        let Certificates { names, otherwise, .. } = &*self.certificates;
        let mut shown: Vec<(Vec<String>, &CertifiedKey)> = Vec::new();
        let mut names: Vec<_> = names.iter().collect();
        names.sort_by_key(|(name, _)| *name);
        let all = std::iter::once((None, otherwise));
        let named = names.into_iter().map(|(name, shown)| (Some(name), &shown.source));
        for (name, source) in all.chain(named) {
            let Some(key) = source.fixed() else { continue };
            match shown.iter_mut().find(|(_, known)| known.cert.first() == key.cert.first()) {
                Some((names, _)) => names.extend(name.cloned()),
                None => shown.push((name.cloned().into_iter().collect(), key)),
            }
        }
        shown
    }

    /// Whether clients are shown the same certificates, whatever is stapled to them, and let in by the same.
    pub(crate) fn has_certificates_of(&self, other: &Self) -> bool {
        self.is_like(other, |one, other| one.cert == other.cert)
    }

    /// Whether clients are shown the same certificates and staples, and let in by the same. The keys are the same then: each
    /// belongs to its certificate.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.is_like(other, |one, other| one.cert == other.cert && one.ocsp == other.ocsp)
    }

    fn is_like(
        &self,
        other: &Self,
        is_same: impl Fn(&CertifiedKey, &CertifiedKey) -> bool,
    ) -> bool {
        self.certificates.are_like(&other.certificates, is_same) && self.clients == other.clients
    }

    /// Writes the secrets of every connection to the file that `SSLKEYLOGFILE` names. Default: off.
    ///
    /// Whoever reads that file reads the traffic: it is for debugging with a packet analyser, never for production.
    #[must_use]
    pub fn key_log(mut self, enabled: bool) -> Self {
        self.secrets = enabled.then(|| Arc::new(rustls::KeyLogFile::new()) as _);
        self
    }

    /// Writes the secrets of every connection to this file, as [`ServerTls::key_log`] does to that of the environment.
    #[must_use]
    pub fn key_log_to(mut self, file: fs::File) -> Self {
        self.secrets = Some(Arc::new(SecretsFile::new(file)));
        self
    }

    /// Writes secrets where the other does, unless it has a place of its own.
    pub(crate) fn logging_like(mut self, other: &Self) -> Self {
        self.secrets = self.secrets.or_else(|| other.secrets.clone());
        self
    }

    /// For TCP: TLS 1.3 and 1.2, ALPN `h2` and `http/1.1`.
    pub(crate) fn tcp_config(&self, terms: Terms<'_>) -> Result<rustls::ServerConfig, TlsError> {
        let versions = self.settings.versions();
        let mut config = self.config(terms, &versions, &[b"h2", b"http/1.1"])?;
        config.max_fragment_size = Some(TCP_RECORD);
        if let Some(challenges) = self.challenges.clone()
            && terms.unnamed.is_none()
        {
            // Last: who can speak HTTP is served by it.
            config.alpn_protocols.push(challenge::PROTOCOL.to_vec());
            let certificates = self.certificates.clone();
            config.cert_resolver = Arc::new(WithChallenges { challenges, certificates });
        }
        Ok(config)
    }

    /// For QUIC: TLS 1.3 only (RFC 9001 §4.2), ALPN `h3`; early data is switched on by whoever has tickets for it.
    pub(crate) fn quic_config(&self, terms: Terms<'_>) -> Result<rustls::ServerConfig, TlsError> {
        // req: 9114-3.2-alpn
        let mut config = self.config(terms, &[&rustls::version::TLS13], &[b"h3"])?;
        // A client keeps one connection, so that it can use one.
        config.send_tls13_tickets = config.send_tls13_tickets.min(1);
        Ok(config)
    }

    fn config(
        &self,
        Terms { clients, unnamed }: Terms<'_>,
        versions: &[&'static rustls::SupportedProtocolVersion],
        alpn: &[&[u8]],
    ) -> Result<rustls::ServerConfig, TlsError> {
        let builder = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(versions)
            .map_err(TlsError::Configuration)?;
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(clients.verifier()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(match unnamed {
            Some(source) => Arc::new(Unnamed(source.clone())),
            None => self.certificates.clone(),
        });
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config.max_early_data_size = 0;
        // Our order of cipher suites counts, see `provider`: most clients put AES-256-GCM first without need.
        config.ignore_client_order = true;
        if clients.is_some_and(|clients| clients.binding().is_none()) {
            // A session that is resumed shows a certificate that nobody looks at again.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        if let Some(secrets) = &self.secrets {
            config.key_log = Arc::clone(secrets);
        }
        Ok(config)
    }
}

/// A chain and its key, if they belong together.
fn certified(
    provider: &CryptoProvider,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, TlsError> {
    if chain.is_empty() {
        return Err(TlsError::UnusableCertificate(rustls::Error::NoCertificatesPresented));
    }
    let key = provider.key_provider.load_private_key(key).map_err(TlsError::UnusableKey)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // A key that does not tell its public half cannot be compared; handshakes will.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(certified)
        }
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::KeyMismatch),
        Err(error) => Err(TlsError::UnusableCertificate(error)),
    }
}

/// The certificates of a PEM file, of which there is one at least.
pub(crate) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Pem { path: path.into(), source })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: path.into() });
    }
    Ok(chain)
}

/// The private key of a PEM file.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    match PrivateKeyDer::from_pem_slice(&read(path)?) {
        Ok(der) => Ok(der),
        Err(pem::Error::NoItemsFound) => Err(TlsError::NoKey { path: path.into() }),
        Err(source) => Err(TlsError::Pem { path: path.into(), source }),
    }
}

/// Asks for the first random number of the process, beside what else its start has to do.
///
/// The cryptography gathers noise of the processor for it, some 50 ms of work: the first client would wait for that.
pub(crate) fn gather_entropy(random: &'static dyn SecureRandom) {
    static GATHERED: Once = Once::new();
    GATHERED.call_once(|| {
        // Without a thread to spare it is gathered when it is needed.
        let _ = thread::Builder::new().name("entropy".into()).spawn(|| random.fill(&mut [0]));
    });
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable { path: path.into(), source })
}

/// AES-128-GCM before AES-256-GCM: rustls picks in the server's order, and the smaller key costs a third less for
/// each packet at a strength that nobody attacks.
pub(crate) fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

/// Bytes of a TLS record over TCP. A client reads nothing of a record before it has all of it, and TCP's first flight is
/// about 14 KB: the first of the largest records, 16 KB, would keep it waiting for a second round trip.
const TCP_RECORD: usize = 8 * 1024;

#[cfg(test)]
mod tests;
