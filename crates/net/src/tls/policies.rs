//! A TLS configuration for each way to let clients in: what a ClientHello asks for decides which.

use std::sync::Arc;

use rustls::server::ClientHello;

use super::{ClientAuth, ServerTls, TlsError, certificates::Shown, challenge};

/// Something for each policy of a server's names; most servers have one.
#[derive(Debug)]
pub(crate) struct PerPolicy<T> {
    tls: ServerTls,
    /// For clients who ask for no name of ours.
    otherwise: T,
    others: Vec<(Option<ClientAuth>, T)>,
}

impl ServerTls {
    /// Makes one for each policy that its names have.
    pub(crate) fn for_each_policy<T>(
        &self,
        mut make: impl FnMut(Option<&ClientAuth>) -> Result<T, TlsError>,
    ) -> Result<PerPolicy<T>, TlsError> {
        let otherwise = make(self.clients.as_ref())?;
        let mut others: Vec<(Option<ClientAuth>, T)> = Vec::new();
        let mut names: Vec<_> = self.certificates.names.iter().collect();
        names.sort_by_key(|(name, _)| *name);
        for (_, Shown { clients, .. }) in names {
            let is_known = |(known, _): &(Option<ClientAuth>, T)| known == clients;
            if *clients != self.clients && !others.iter().any(is_known) {
                others.push((clients.clone(), make(clients.as_ref())?));
            }
        }
        Ok(PerPolicy { tls: self.clone(), otherwise, others })
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
        let per_policy = tls.for_each_policy(|clients| {
            asks |= clients.is_some();
            let mut config = tls.tcp_config(clients)?;
            complete(&mut config, clients);
            Ok(Arc::new(config))
        })?;
        let for_challenges = match asks && tls.challenges.is_some() {
            true => Some(Arc::new(tls.tcp_config(None)?)),
            false => None,
        };
        Ok(Self { per_policy, for_challenges })
    }

    /// What serves everybody, where that is so.
    pub(crate) fn only(&self) -> Option<&Arc<rustls::ServerConfig>> {
        let is_alone = !self.per_policy.has_several() && self.for_challenges.is_none();
        is_alone.then(|| self.per_policy.otherwise())
    }

    /// For a client that says this.
    pub(crate) fn of(&self, hello: &ClientHello<'_>) -> &Arc<rustls::ServerConfig> {
        match &self.for_challenges {
            Some(config) if challenge::is_asked_for(hello) => config,
            _ => self.per_policy.of(hello.server_name()),
        }
    }
}

impl<T> PerPolicy<T> {
    /// For clients who ask for no name.
    pub(crate) fn otherwise(&self) -> &T {
        &self.otherwise
    }

    /// Whether the name that a client asks for decides anything.
    pub(crate) fn has_several(&self) -> bool {
        !self.others.is_empty()
    }

    /// For clients who ask for this name, in any case, or for none.
    pub(crate) fn of(&self, name: Option<&str>) -> &T {
        let name = name.map(str::to_ascii_lowercase);
        let (_, clients) = self.tls.of(name.as_deref());
        let found = self.others.iter().find(|(policy, _)| policy.as_ref() == clients);
        found.map_or(&self.otherwise, |(_, this)| this)
    }
}
