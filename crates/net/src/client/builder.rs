//! Collects what a client needs, and starts it.

use std::{io, net::IpAddr, path::PathBuf, sync::Arc};

use rustls_pki_types::CertificateDer;
use tokio::runtime::Handle;

use super::{
    Client,
    config::{Config, PoolConfig, Share, Timeouts},
    connect::Connector,
    counters::Counts,
    course::Inner,
    dial::Dialler,
    driver::{self, Driver},
    origin::{Host, OriginError},
    pool::Pool,
    resolve::Resolver,
    tls::{ClientCertificate, Roots, Tls},
    versions::Versions,
};
use crate::{TlsError, tls::PeerVerifier};

/// Collects what a client needs.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    config: Config,
    /// What was prepared.
    tls: Option<Tls>,
}

/// Why a client could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Certificates or keys cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No HTTP version is allowed.
    #[error("every HTTP version is switched off: allow one at least")]
    NoVersion,
    /// What is to be connected to is no host.
    #[error("what is to be connected to is no host")]
    ConnectTo(#[source] OriginError),
    /// The thread or its runtime could not be started.
    #[error("the client's thread could not be started")]
    Thread(#[source] io::Error),
}

impl Builder {
    /// The HTTP versions that may be used. Default: all.
    #[must_use]
    pub fn versions(mut self, versions: Versions) -> Self {
        self.config.versions = versions;
        self
    }

    /// For which origins HTTP/3 is used where it is allowed. Default: all.
    #[must_use]
    pub fn http3(mut self, share: Share) -> Self {
        self.config.http3 = share;
        self
    }

    /// Time-outs of the phases and of the whole.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.config.timeouts = timeouts.bounded();
        self
    }

    /// Limits of the pool and of what is held for responses.
    #[must_use]
    pub fn pool(mut self, pool: PoolConfig) -> Self {
        self.config.pool = pool;
        self
    }

    /// How often a request may be sent again when that is safe. Default: 2.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.config.retries = retries;
        self
    }

    /// Sends nothing again that failed on a connection of its own: only what met one that had been idle, and may have been
    /// closed meanwhile. Default: off.
    #[must_use]
    pub fn retry_on_idle_alone(mut self, enabled: bool) -> Self {
        self.config.retries_fresh = !enabled;
        self
    }

    /// Sends requests without a body by safe methods before the handshake is complete, to servers that gave a ticket for it
    /// (0-RTT). Whoever sees them on the way can repeat them (RFC 8470). Tickets are kept in memory, for 128 servers.
    /// Default: off.
    #[must_use]
    pub fn early_data(mut self, enabled: bool) -> Self {
        self.config.early_data = enabled;
        self
    }

    /// Whose certificates are trusted. Default: those that the system trusts.
    #[must_use]
    pub fn roots(mut self, roots: Roots) -> Self {
        self.config.roots = roots;
        self
    }

    /// Trusts one more authority, or one server by its own certificate.
    #[must_use]
    pub fn add_root(mut self, certificate: CertificateDer<'static>) -> Self {
        self.config.roots.add(certificate);
        self
    }

    /// What is shown to servers that ask for a certificate. Default: none.
    #[must_use]
    pub fn client_certificate(mut self, certificate: ClientCertificate) -> Self {
        self.config.certificate = Some(certificate);
        self
    }

    /// Trusts whoever answers: anyone on the way can read and change everything. Default: off.
    #[must_use]
    pub fn danger_accept_any_certificate(mut self, accept: bool) -> Self {
        self.config.accept_any_certificate = accept;
        self
    }

    /// Has a program's own code judge servers too, in each handshake over TCP and QUIC; it hears what is found by the trusted
    /// certificates. Sessions are not resumed then, and there is no early data. Default: none.
    #[must_use]
    pub fn verifier(mut self, verifier: Arc<dyn PeerVerifier>) -> Self {
        self.config.verifier = Some(verifier);
        self
    }

    /// Writes the secrets of every connection to the file that `SSLKEYLOGFILE` names, if it is set. Default: on.
    #[must_use]
    pub fn key_log(mut self, enabled: bool) -> Self {
        self.config.key_log = enabled;
        self
    }

    /// Connects to this host and port, whatever the URL says. The certificate has to name the URL's host all the same.
    #[must_use]
    pub fn connect_to(mut self, host: impl Into<String>, port: u16) -> Self {
        self.config.connect_to = Some((host.into(), port));
        self
    }

    /// Connects to this socket, whatever the URL says: without TLS, HTTP/2 if HTTP/1.1 is not allowed.
    #[must_use]
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.unix = Some(path.into());
        self
    }

    /// Whether the extensions of a response have the [`Exchange`](super::Exchange) that tells how it came. Default: on.
    #[must_use]
    pub fn tell_exchange(mut self, enabled: bool) -> Self {
        self.config.tells_exchange = enabled;
        self
    }

    /// What the certificate has to name, and SNI if it is a name. Default: the host of the URL.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.config.server_name = Some(name.into());
        self
    }

    /// Receive windows of HTTP/2, of a stream and of the connection, in bytes: what a reader that has stopped holds. Default:
    /// 6 MiB and 15 MiB.
    #[must_use]
    pub fn http2_windows(mut self, stream: u32, connection: u32) -> Self {
        self.config.http2_windows = (stream, connection);
        self
    }

    /// Who resolves names. Default: the system, with HTTPS records if its name servers can be asked for them.
    #[must_use]
    pub fn resolver(mut self, resolver: Resolver) -> Self {
        self.config.resolver = Some(resolver);
        self
    }

    /// Where it is kept what servers have said of HTTP/3 and what was learnt of it (mode 0600). Default: in memory.
    #[must_use]
    pub fn state_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.state_file = Some(path.into());
        self
    }

    /// Tries HTTP/3 where nobody has said that it is there; TCP is tried at the same time then. Default: on.
    #[must_use]
    pub fn speculate(mut self, enabled: bool) -> Self {
        self.config.speculate = enabled;
        self
    }

    /// Takes HTTP/3 for what the server has, as if its `Alt-Svc` had said so: QUIC goes first, and TCP follows when that does
    /// not answer at once. Default: off.
    #[must_use]
    pub fn expect_http3(mut self, enabled: bool) -> Self {
        self.config.expects_h3 = enabled;
        self
    }

    /// The address to connect from. Default: the system chooses.
    #[must_use]
    pub fn local_address(mut self, address: IpAddr) -> Self {
        self.config.local_address = Some(address);
        self
    }

    /// Migrates HTTP/3 connections when the system's addresses or routes change. Default: on.
    #[must_use]
    pub fn watch_network(mut self, enabled: bool) -> Self {
        self.config.watch_network = enabled;
        self
    }

    /// QUIC: windows, idle time-out, keep-alive (default: 10 s), congestion control. `connect` of [`Timeouts`] is the
    /// handshake's.
    #[must_use]
    pub fn quic(mut self, config: sterna_quic::Config) -> Self {
        self.config.quic = config;
        self
    }

    /// HTTP/3: QPACK and extensions. The size of field sections is that of [`PoolConfig`].
    #[must_use]
    pub fn h3(mut self, config: sterna_h3::Config) -> Self {
        self.config.h3 = config;
        self
    }

    /// Reads certificates and makes what TLS needs, once for all clients that are built from clones of this.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn prepare(mut self) -> Result<Self, BuildError> {
        self.tls = Some(Tls::new(&self.config)?);
        Ok(self)
    }

    /// A client whose connections live on a thread of their own.
    ///
    /// # Errors
    /// What is wrong with the configuration, or with the system.
    pub fn build(self) -> Result<Client, BuildError> {
        let (config, tls, counts) = self.check()?;
        let connector = connector(&config);
        let (driver, runtime) =
            driver::spawn(config.clone(), tls.clone(), counts.clone(), connector.clone())
                .map_err(BuildError::Thread)?;
        Ok(assemble(config, tls, counts, connector, driver, runtime))
    }

    /// A client whose connections live on this thread's runtime, which ends with it.
    ///
    /// # Errors
    /// What is wrong with the configuration, or with the system.
    ///
    /// # Panics
    /// Outside of a `LocalSet` of tokio with I/O and time.
    pub fn build_local(self) -> Result<Client, BuildError> {
        let (config, tls, counts) = self.check()?;
        let connector = connector(&config);
        let driver =
            driver::spawn_local(config.clone(), tls.clone(), counts.clone(), connector.clone());
        Ok(assemble(config, tls, counts, connector, driver, Handle::current()))
    }

    fn check(self) -> Result<(Arc<Config>, Tls, Arc<Counts>), BuildError> {
        let Versions { h1, h2, h3 } = self.config.versions;
        if !(h1 || h2 || h3) {
            return Err(BuildError::NoVersion);
        }
        if let Some((host, _)) = &self.config.connect_to {
            Host::parse(host).map_err(BuildError::ConnectTo)?;
        }
        let tls = match self.tls {
            Some(tls) => tls,
            None => Tls::new(&self.config)?,
        };
        Ok((Arc::new(self.config), tls, Arc::default()))
    }
}

fn connector(config: &Config) -> Connector<Resolver> {
    let resolver = config.resolver.clone().unwrap_or_else(Resolver::system);
    Connector::new(resolver, config.state_file.clone())
}

fn assemble(
    config: Arc<Config>,
    tls: Tls,
    counts: Arc<Counts>,
    connector: Connector<Resolver>,
    driver: Driver,
    runtime: Handle,
) -> Client {
    let pool = Pool::new(config.pool, counts.clone(), runtime.clone(), driver.clone());
    let dialler = Dialler { config: config.clone(), tls, driver, is_secure: true };
    Client(Arc::new(Inner { config, pool, connector, dialler, counts, runtime }))
}
