//! The certificates of a server, and the one that is shown to a client.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{
    ClientAuth,
    resolver::{self, CertificateResolver},
    staple,
};

/// Chooses a certificate by the name that the client asks for.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) names: HashMap<String, Shown>,
    pub(super) otherwise: Source,
    /// Those of `names` that are addresses, as they are written there: clients ask for none of them, and come there.
    pub(super) addresses: BTreeMap<IpAddr, String>,
}

/// Where a certificate comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// It is this one.
    Fixed(Arc<CertifiedKey>),
    /// A program chooses, at each handshake.
    Own(Arc<dyn CertificateResolver>),
}

impl Source {
    /// What clients are shown, where that is known before they come.
    pub(super) fn fixed(&self) -> Option<&Arc<CertifiedKey>> {
        match self {
            Self::Fixed(key) => Some(key),
            Self::Own(_) => None,
        }
    }

    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = match self {
            Self::Fixed(key) => key.clone(),
            Self::Own(resolver) => resolver::resolve(&**resolver, hello)?,
        };
        match &shown.ocsp {
            Some(staple) if staple::is_over(staple, SystemTime::now()) => {
                Some(Arc::new(CertifiedKey { ocsp: None, ..CertifiedKey::clone(&shown) }))
            }
            _ => Some(shown),
        }
    }

    /// Whether clients are shown the same, by this measure of certificates.
    pub(super) fn is_like(
        &self,
        other: &Self,
        is_same: impl Fn(&CertifiedKey, &CertifiedKey) -> bool,
    ) -> bool {
        match (self, other) {
            (Self::Fixed(one), Self::Fixed(other)) => {
                Arc::ptr_eq(one, other) || is_same(one, other)
            }
            (Self::Own(one), Self::Own(other)) => Arc::ptr_eq(one, other),
            (Self::Fixed(_), Self::Own(_)) | (Self::Own(_), Self::Fixed(_)) => false,
        }
    }
}

/// What a client is shown, and whom that lets in.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) source: Source,
    pub(super) clients: Option<ClientAuth>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has made the name lower case.
        let named = hello.server_name().and_then(|name| self.named(name));
        named.map_or(&self.otherwise, |shown| &shown.source).resolve(hello)
    }
}

/// Shows the same to everyone who is not told apart by a name.
#[derive(Debug)]
pub(super) struct Unnamed(pub(super) Source);

impl ResolvesServerCert for Unnamed {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.resolve(hello)
    }
}

impl Certificates {
    pub(super) fn new(names: HashMap<String, Shown>, otherwise: Source) -> Self {
        let address = |name: &String| Some((address(name)?, name.clone()));
        let addresses = names.keys().filter_map(address).collect();
        Self { names, otherwise, addresses }
    }

    /// Whether there are the same names, which let in the same, with certificates that are the same by this measure.
    pub(super) fn are_like(
        &self,
        other: &Self,
        is_same: impl Fn(&CertifiedKey, &CertifiedKey) -> bool,
    ) -> bool {
        let is_like = |one: &Shown, other: &Shown| {
            one.source.is_like(&other.source, &is_same) && one.clients == other.clients
        };
        self.otherwise.is_like(&other.otherwise, &is_same)
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

/// The address that a host is, written as in a URL (RFC 3986 §3.2.2).
fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
    .map(|ip| ip.to_canonical())
}

/// Whether the certificates are the same. The keys are the same then: each belongs to its certificate.
pub(super) fn is_same(one: &CertifiedKey, other: &CertifiedKey) -> bool {
    one.cert == other.cert
}
