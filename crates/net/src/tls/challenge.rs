//! Answers to TLS-ALPN-01 (RFC 8737): what an authority is shown in a handshake over TCP to see that a host is ours.
//!
//! It asks for the protocol `acme-tls/1` and no other. Nobody else does, and nothing is served to who does: the handshake is all.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Certificates, TlsError, provider};

/// What is asked for now, and the certificates that answer it: one table, which clones share.
#[derive(Clone, Debug, Default)]
pub struct Challenges(Arc<RwLock<HashMap<String, Arc<CertifiedKey>>>>);

impl Challenges {
    /// Hosts that are answered for at a time.
    pub const MOST: usize = 64;

    /// Shows this certificate to whoever asks for `host` by `acme-tls/1`, for as long as what is returned lives; `None` when
    /// [`Challenges::MOST`] are answered for.
    ///
    /// That they belong together is the caller's word: the certificate has a critical extension which nobody else reads.
    ///
    /// # Errors
    /// [`TlsError::UnusableKey`].
    pub fn answer(
        &self,
        host: &str,
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Option<AnsweredHost>, TlsError> {
        let key = provider().key_provider.load_private_key(key).map_err(TlsError::UnusableKey)?;
        let host = host.to_ascii_lowercase();
        let mut hosts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= Self::MOST {
            return Ok(None);
        }
        hosts.insert(host.clone(), Arc::new(CertifiedKey::new(vec![certificate], key)));
        drop(hosts);
        Ok(Some(AnsweredHost { challenges: self.clone(), host }))
    }

    fn find(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(host).cloned()
    }
}

/// A host that is answered for.
#[derive(Debug)]
pub struct AnsweredHost {
    challenges: Challenges,
    host: String,
}

impl Drop for AnsweredHost {
    fn drop(&mut self) {
        self.challenges.0.write().unwrap_or_else(PoisonError::into_inner).remove(&self.host);
    }
}

/// Answers an authority, and shows everybody else what they would have seen.
#[derive(Debug)]
pub(super) struct WithChallenges {
    pub(super) challenges: Challenges,
    pub(super) certificates: Arc<Certificates>,
}

impl ResolvesServerCert for WithChallenges {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if is_asked_for(&hello) {
            // req: 8737-3-challenge-certificate-alone
            return self.challenges.find(hello.server_name()?);
        }
        self.certificates.resolve(hello)
    }
}

/// Whether a client is an authority, by what it says.
pub(super) fn is_asked_for(hello: &ClientHello<'_>) -> bool {
    let Some(mut offered) = hello.alpn() else { return false };
    offered.next() == Some(PROTOCOL) && offered.all(|protocol| protocol == PROTOCOL)
}

/// What an authority asks for by ALPN.
pub(crate) const PROTOCOL: &[u8] = b"acme-tls/1";

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(challenges: &Challenges, host: &str) -> Option<AnsweredHost> {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).expect("a pair");
        let key = rustls_pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        challenges.answer(host, made.cert.der().clone(), key.into()).expect("a key")
    }

    #[test]
    fn a_host_is_answered_for_until_nobody_waits_for_it_any_more() {
        let challenges = Challenges::default();
        let answered = answer(&challenges, "A.Example");
        assert!(challenges.find("a.example").is_some());
        assert!(challenges.find("b.example").is_none());
        drop(answered);
        assert!(challenges.find("a.example").is_none());
    }

    #[test]
    fn no_more_hosts_are_answered_for_than_there_may_be() {
        let challenges = Challenges::default();
        let hosts = (0..Challenges::MOST).map(|i| format!("{i}.example"));
        let answered: Vec<_> = hosts.filter_map(|host| answer(&challenges, &host)).collect();
        assert_eq!(answered.len(), Challenges::MOST);
        assert!(answer(&challenges, "one.more.example").is_none());
    }
}
