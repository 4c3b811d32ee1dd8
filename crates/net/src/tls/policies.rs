//! A TLS configuration for each way to let clients in: what a ClientHello asks for decides which.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use rustls::server::ClientHello;

use super::{
    ClientAuth, ServerTls, TlsError,
    certificates::{Shown, Source},
    challenge,
};

/// What a handshake goes by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms<'a> {
    /// Whom it lets in.
    pub(crate) clients: Option<&'a ClientAuth>,
    /// What it shows, if that is nothing that a name decides.
    pub(super) unnamed: Option<&'a Source>,
}

/// Something for each policy of a server's names; most servers have one.
#[derive(Debug)]
pub(crate) struct PerPolicy<T> {
    tls: ServerTls,
    /// For clients who ask for no name of ours.
    otherwise: T,
    others: Vec<(Option<ClientAuth>, T)>,
    /// For clients who ask for no name, and come to an address that is one, where they are shown something else there.
    addresses: BTreeMap<IpAddr, T>,
}

impl ServerTls {
    /// Makes one for each policy that its names have, and for each address among them.
    pub(crate) fn for_each_policy<T>(
        &self,
        mut make: impl FnMut(Terms<'_>) -> Result<T, TlsError>,
    ) -> Result<PerPolicy<T>, TlsError> {
        let otherwise = make(Terms { clients: self.clients.as_ref(), unnamed: None })?;
        let mut others: Vec<(Option<ClientAuth>, T)> = Vec::new();
        let mut names: Vec<_> = self.certificates.names.iter().collect();
        names.sort_by_key(|(name, _)| *name);
        for (_, Shown { clients, .. }) in names {
            let is_known = |(known, _): &(Option<ClientAuth>, T)| known == clients;
            if *clients != self.clients && !others.iter().any(is_known) {
                let terms = Terms { clients: clients.as_ref(), unnamed: None };
                others.push((clients.clone(), make(terms)?));
            }
        }
        let mut addresses = BTreeMap::new();
        for (address, name) in &self.certificates.addresses {
            if self.shows_the_same(None, Some(name)) {
                continue;
            }
            let (source, clients) = self.of(Some(name));
            addresses.insert(*address, make(Terms { clients, unnamed: Some(source) })?);
        }
        Ok(PerPolicy { tls: self.clone(), otherwise, others, addresses })
    }
}

/// For connections over TCP.
#[derive(Debug)]
pub(crate) struct TcpTls {
    per_policy: PerPolicy<Arc<rustls::ServerConfig>>,
    /// For an authority that looks whether a host is ours (RFC 8737), where clients are asked for certificates: it has none.
    for_challenges: Option<Arc<rustls::ServerConfig>>,
}

impl TcpTls {
    /// With what each policy needs beside its TLS.
    pub(crate) fn new(
        tls: &ServerTls,
        mut complete: impl FnMut(&mut rustls::ServerConfig, Option<&ClientAuth>),
    ) -> Result<Self, TlsError> {
        let mut asks = false;
        let per_policy = tls.for_each_policy(|terms| {
            asks |= terms.clients.is_some();
            let mut config = tls.tcp_config(terms)?;
            complete(&mut config, terms.clients);
            Ok(Arc::new(config))
        })?;
        let for_challenges = match asks && tls.challenges.is_some() {
            true => Some(Arc::new(tls.tcp_config(Terms::default())?)),
            false => None,
        };
        Ok(Self { per_policy, for_challenges })
    }

    /// What serves everybody, where that is so.
    pub(crate) fn only(&self) -> Option<&Arc<rustls::ServerConfig>> {
        let is_alone = !self.per_policy.has_several() && self.for_challenges.is_none();
        is_alone.then(|| self.per_policy.otherwise())
    }

    /// For a client that says this, at this address of ours.
    pub(crate) fn of(
        &self,
        hello: &ClientHello<'_>,
        local: Option<IpAddr>,
    ) -> &Arc<rustls::ServerConfig> {
        match &self.for_challenges {
            Some(config) if challenge::is_asked_for(hello) => config,
            _ => self.per_policy.of(hello.server_name(), local),
        }
    }
}

impl<T> PerPolicy<T> {
    /// For clients who ask for no name.
    pub(crate) fn otherwise(&self) -> &T {
        &self.otherwise
    }

    /// Whether what a client asks for decides anything.
    pub(crate) fn has_several(&self) -> bool {
        !self.others.is_empty() || !self.addresses.is_empty()
    }

    /// For clients who ask for this name, in any case, or for none at this address of ours.
    pub(crate) fn of(&self, name: Option<&str>, local: Option<IpAddr>) -> &T {
        if name.is_none()
            && let Some(local) = local
            && let Some(this) = self.addresses.get(&local.to_canonical())
        {
            return this;
        }
        let name = name.map(str::to_ascii_lowercase);
        let (_, clients) = self.tls.of(name.as_deref());
        let found = self.others.iter().find(|(policy, _)| policy.as_ref() == clients);
        found.map_or(&self.otherwise, |(_, this)| this)
    }
}
