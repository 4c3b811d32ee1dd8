//! The certificates of a server, and the one that is shown to a client.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{ClientAuth, staple};

/// Chooses a certificate by the name that the client asks for.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) names: HashMap<String, Shown>,
    pub(super) otherwise: Arc<CertifiedKey>,
}

/// What a client is shown, and whom that lets in.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) clients: Option<ClientAuth>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has made the name lower case.
        let named = hello.server_name().and_then(|name| self.named(name));
        let shown = named.map_or(&self.otherwise, |shown| &shown.key).clone();
        match &shown.ocsp {
            Some(staple) if staple::is_over(staple, SystemTime::now()) => {
                Some(Arc::new(CertifiedKey { ocsp: None, ..CertifiedKey::clone(&shown) }))
            }
            _ => Some(shown),
        }
    }
}

impl Certificates {
    /// Whether there are the same names, which let in the same, with certificates that are the same by this measure.
    pub(super) fn are_like(
        &self,
        other: &Self,
        is_same: impl Fn(&CertifiedKey, &CertifiedKey) -> bool,
    ) -> bool {
        let is_like = |one: &Shown, other: &Shown| {
            is_same(&one.key, &other.key) && one.clients == other.clients
        };
        is_same(&self.otherwise, &other.otherwise)
            && self.names.len() == other.names.len()
            && self
                .names
                .iter()
                .all(|(name, one)| other.names.get(name).is_some_and(|other| is_like(one, other)))
    }

    /// What is shown for this name, in lower case, if that is something of its own.
    pub(super) fn named(&self, name: &str) -> Option<&Shown> {
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.names.get(&format!("*.{parent}"))
        };
        self.names.get(name).or_else(wildcard)
    }
}

/// Whether the certificates are the same. The keys are the same then: each belongs to its certificate.
pub(super) fn is_same(one: &Arc<CertifiedKey>, other: &Arc<CertifiedKey>) -> bool {
    Arc::ptr_eq(one, other) || one.cert == other.cert
}
