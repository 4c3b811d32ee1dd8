//! A certificate with its key, as it is kept.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use instant_acme::CertificateIdentifier;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sterna_net::{ServerTls, TlsError};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::schedule::Lifetime;

/// A certificate with its key: they belong together.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// The key, then the chain, leaf first.
    pub(super) pem: String,
    pub(super) tls: ServerTls,
    pub(super) lifetime: Lifetime,
    pub(super) issuer: String,
    pub(super) leaf: CertificateDer<'static>,
}

/// Why a text is no certificate with its key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PairError {
    #[error("this is not the PEM of a key and a chain")]
    Pem(#[source] pem::Error),
    #[error("there is no certificate")]
    Empty,
    #[error("the certificate cannot be read")]
    Certificate,
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Pair {
    pub(super) fn of_pem(pem: &str) -> Result<Self, PairError> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(PairError::Pem)?;
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(PairError::Pem)?;
        let leaf = chain.first().ok_or(PairError::Empty)?.clone();
        let (_, parsed) = X509Certificate::from_der(&leaf).map_err(|_| PairError::Certificate)?;
        let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0));
        let validity = parsed.validity();
        let lifetime = Lifetime {
            not_before: at(validity.not_before.timestamp()),
            not_after: at(validity.not_after.timestamp()),
        };
        let issuer = parsed.issuer().to_string();
        let tls = ServerTls::from_der(chain, key)?;
        Ok(Self { pem: pem.to_owned(), tls, lifetime, issuer, leaf })
    }

    pub(super) fn has_ended(&self, now: SystemTime) -> bool {
        self.lifetime.not_after <= now
    }

    /// How the authority calls it (RFC 9773 §4.1).
    pub(super) fn identifier(&self) -> Option<CertificateIdentifier<'static>> {
        CertificateIdentifier::try_from(&self.leaf).ok().map(CertificateIdentifier::into_owned)
    }

    /// Whether it is the same certificate.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.leaf == other.leaf
    }
}

#[cfg(test)]
impl Pair {
    /// Signed by itself, for this time.
    pub(super) fn made_for_tests(host: &str, from: SystemTime, until: SystemTime) -> Self {
        let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).expect("after 1970");
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new([host.to_owned()]).expect("a name");
        params.not_before = epoch + seconds(from);
        params.not_after = epoch + seconds(until);
        let certificate = params.self_signed(&key).expect("a certificate");
        Self::of_pem(&format!("{}{}", key.serialize_pem(), certificate.pem())).expect("a pair")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_knows_its_time_and_its_issuer() {
        let from = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let until = from + Duration::from_secs(90 * 86_400);
        let pair = Pair::made_for_tests("a.example", from, until);
        assert_eq!(pair.lifetime, Lifetime { not_before: from, not_after: until });
        assert!(!pair.has_ended(until - Duration::from_secs(1)) && pair.has_ended(until));
        assert!(!pair.issuer.is_empty());
    }

    #[test]
    fn a_key_of_another_certificate_and_half_a_pair_are_refused() {
        let (from, until) = (UNIX_EPOCH, UNIX_EPOCH + Duration::from_secs(86_400));
        let one = Pair::made_for_tests("a.example", from, until).pem;
        let other = Pair::made_for_tests("a.example", from, until).pem;
        let at = |pem: &str| pem.find("-----BEGIN CERTIFICATE").expect("a certificate");
        let (key, certificate) = (&one[..at(&one)], &other[at(&other)..]);
        assert!(matches!(Pair::of_pem(&format!("{key}{certificate}")), Err(PairError::Tls(_))));
        assert!(matches!(Pair::of_pem(key), Err(PairError::Empty)));
        assert!(matches!(Pair::of_pem(certificate), Err(PairError::Pem(_))));
    }
}
