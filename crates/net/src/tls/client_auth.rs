//! Whom a server lets in by their certificates (mutual TLS).

use std::{
    fmt,
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    RootCertStore,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{
    TlsError, chain, provider,
    verifier::{Clients, PeerVerifier},
};

/// Which clients are let in: those with a certificate that one of some authorities has signed, or that a program's own code finds
/// good.
///
/// Clones are the same policy. Two that name the same authorities and ask alike are equal, in whatever order they name them. One with
/// a [`PeerVerifier`] is equal to its clones alone.
#[derive(Clone)]
pub struct ClientAuth(Arc<Policy>);

struct Policy {
    verifier: Arc<dyn ClientCertVerifier>,
    is_required: bool,
    /// Whatever decides who is let in: a ticket that was given under other bytes does not open. `None` where a program decides: what it
    /// will say tomorrow is in no bytes, and no tickets are given.
    binding: Option<Vec<u8>>,
}

impl ClientAuth {
    /// Reads authorities from PEM files, each with one certificate or more. Clients without a certificate are let in unless
    /// it `is_required`; those with one that is not good are not let in at all.
    ///
    /// # Errors
    /// The first file that is wrong.
    pub fn from_pem_files<P: AsRef<Path>>(
        authorities: impl IntoIterator<Item = P>,
        is_required: bool,
    ) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let mut all = Vec::new();
        for path in authorities {
            let path = path.as_ref();
            for certificate in chain(path)? {
                roots
                    .add(certificate.clone())
                    .map_err(|source| TlsError::UnusableAuthority { path: path.into(), source })?;
                all.push(certificate);
            }
        }
        Self::new(roots, all, is_required)
    }

    fn new(
        roots: RootCertStore,
        mut authorities: Vec<CertificateDer<'static>>,
        is_required: bool,
    ) -> Result<Self, TlsError> {
        let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider().into());
        let builder = if is_required { builder } else { builder.allow_unauthenticated() };
        let verifier = builder
            .build()
            .map_err(|error| TlsError::Configuration(rustls::Error::General(error.to_string())))?;
        authorities.sort_by(|one, other| one.as_ref().cmp(other.as_ref()));
        authorities.dedup();
        let mut binding = vec![u8::from(is_required)];
        for authority in &authorities {
            binding.extend_from_slice(&(authority.len() as u64).to_be_bytes());
            binding.extend_from_slice(authority);
        }
        Ok(Self(Arc::new(Policy { verifier, is_required, binding: Some(binding) })))
    }

    /// Has clients judged by a program's own code alone: no authority is trusted, and clients are told of none. Clients without a
    /// certificate are let in unless it `is_required`.
    ///
    /// Sessions are not resumed, and there is no early data: it is asked in each handshake.
    pub fn from_verifier(verifier: Arc<dyn PeerVerifier>, is_required: bool) -> Self {
        Self::judging(None, verifier, is_required)
    }

    /// Has a program's own code judge clients too, which hears what the authorities make of them. Sessions are not resumed then, and
    /// there is no early data: it is asked in each handshake.
    #[must_use]
    pub fn with_verifier(self, verifier: Arc<dyn PeerVerifier>) -> Self {
        Self::judging(Some(self.verifier()), verifier, self.0.is_required)
    }

    fn judging(
        usual: Option<Arc<dyn ClientCertVerifier>>,
        verifier: Arc<dyn PeerVerifier>,
        is_required: bool,
    ) -> Self {
        let algorithms = provider().signature_verification_algorithms;
        let verifier = Arc::new(Clients { usual, verifier, is_required, algorithms });
        Self(Arc::new(Policy { verifier, is_required, binding: None }))
    }

    /// Whether clients without a certificate are turned away.
    pub fn is_required(&self) -> bool {
        self.0.is_required
    }

    /// Whether a client that has shown this chain, leaf first, is let in at this moment. It has proved that the leaf is its own
    /// already, in whatever handshake it showed it.
    pub fn admits(&self, chain: &[CertificateDer<'_>], time: SystemTime) -> bool {
        let Some((leaf, intermediates)) = chain.split_first() else { return !self.0.is_required };
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = UnixTime::since_unix_epoch(since_epoch);
        self.0.verifier.verify_client_cert(leaf, intermediates, time).is_ok()
    }

    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        self.0.verifier.clone()
    }

    /// What tickets that are given under it are bound to; `None` where none are given.
    pub(crate) fn binding(&self) -> Option<&[u8]> {
        self.0.binding.as_deref()
    }
}

impl PartialEq for ClientAuth {
    fn eq(&self, other: &Self) -> bool {
        let is_bound_alike = || self.binding().is_some() && self.binding() == other.binding();
        Arc::ptr_eq(&self.0, &other.0) || is_bound_alike()
    }
}

impl Eq for ClientAuth {}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAuth")
            .field("is_required", &self.0.is_required)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa,
        KeyPair,
    };

    use super::*;

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn authority() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn leaf(of: &Authority, purpose: ExtendedKeyUsagePurpose) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["client".to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        params.not_after = (SystemTime::now() + Duration::from_secs(3600)).into();
        params.signed_by(&KeyPair::generate().unwrap(), of).unwrap().der().clone()
    }

    fn policy(authorities: &[&Authority], is_required: bool) -> ClientAuth {
        let all: Vec<_> = authorities.iter().map(|one| one.der().clone()).collect();
        let mut roots = RootCertStore::empty();
        all.iter().for_each(|one| roots.add(one.clone()).unwrap());
        ClientAuth::new(roots, all, is_required).unwrap()
    }

    #[test]
    fn who_has_a_good_certificate_is_let_in_and_who_has_none_where_none_is_required() {
        let (ours, other) = (authority(), authority());
        let good = leaf(&ours, ExtendedKeyUsagePurpose::ClientAuth);
        let now = SystemTime::now();
        for is_required in [true, false] {
            let policy = policy(&[&ours], is_required);
            assert!(policy.admits(std::slice::from_ref(&good), now));
            assert_eq!(policy.admits(&[], now), !is_required);
            let strange = leaf(&other, ExtendedKeyUsagePurpose::ClientAuth);
            assert!(!policy.admits(&[strange], now), "of another authority");
            let server = leaf(&ours, ExtendedKeyUsagePurpose::ServerAuth);
            assert!(!policy.admits(&[server], now), "a server's");
            let later = now + Duration::from_secs(7200);
            assert!(!policy.admits(std::slice::from_ref(&good), later), "it is over");
        }
    }

    #[test]
    fn policies_are_the_same_when_they_let_in_the_same() {
        let (a, b) = (authority(), authority());
        assert_eq!(policy(&[&a, &b], true), policy(&[&b, &a, &b], true));
        assert_ne!(policy(&[&a], true), policy(&[&a], false));
        assert_ne!(policy(&[&a], true), policy(&[&b], true));
        assert_ne!(policy(&[&a], true), policy(&[&a, &b], true));
        assert_eq!(policy(&[&a], true).binding(), policy(&[&a], true).binding());
    }
}
