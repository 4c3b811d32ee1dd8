//! What a user chooses of the way to backends, beside their addresses: whom to trust, and how long to wait.

use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHasher;
use sterna_net::client::{
    self, BuildError, Builder, ClientCertificate, PoolConfig, Roots, Versions,
};
use sterna_net::{TlsError, quic};

use crate::upstream::{self, Backend, Place, Scheme, breaker, check};

/// TLS to backends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trust {
    /// The authorities whose certificates are good, PEM; without them those of the system.
    pub authorities: Option<PathBuf>,
    /// What the certificate has to name, and SNI; without it the host of the address.
    pub server_name: Option<String>,
    /// Whether certificates are looked at.
    pub verify: bool,
    /// Certificate and key that are shown to backends that ask for them, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Default for Trust {
    fn default() -> Self {
        Self { authorities: None, server_name: None, verify: true, identity: None }
    }
}

/// How long what may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// Each step to a connection: the name, TCP or QUIC, TLS. Default: 5 s.
    pub connect: Duration,
    /// From the connection, or the last piece of the request, to the head of the response. Default: 60 s.
    pub first_byte: Duration,
    /// Each pause in the content of the response. Default: 5 min.
    pub idle: Duration,
    /// The whole, to the last byte of the response. Default: no end.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(60),
            idle: Duration::from_secs(300),
            total: None,
        }
    }
}

/// Connections that are kept, of one worker to one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// How many there are before requests need them. Default: 0.
    pub warm_up: usize,
    /// How many may be idle. Default: 128.
    pub idle: usize,
    /// How long one may be idle. Default: 50 s, which is less than what most servers allow.
    pub idle_timeout: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Self { warm_up: 0, idle: POOL.idle_per_origin, idle_timeout: POOL.idle_timeout }
    }
}

/// How backends are reached. All workers share what was read for it.
#[derive(Clone, Debug)]
pub struct Reach {
    trust: Arc<Trust>,
    timeouts: Timeouts,
    pool: Pool,
    limits: breaker::Config,
    /// Of the files that `trust` names, as they were read.
    content: u64,
    /// With TLS prepared, where it is needed.
    builder: Builder,
}

/// A way of connecting: what makes two clients the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Way {
    scheme: Scheme,
    socket: Option<PathBuf>,
    /// Where discovery has found the backend, whatever the name in its address.
    connect_to: Option<SocketAddr>,
    timeouts: Timeouts,
    pool: Pool,
    limits: breaker::Config,
    trust: Arc<Trust>,
    content: u64,
}

impl Way {
    /// It is one of these.
    pub(super) fn is_of(&self, reach: &Reach) -> bool {
        self.timeouts == reach.timeouts
            && self.pool == reach.pool
            && self.content == reach.content
            && self.trust == reach.trust
    }
}

impl Reach {
    /// Reads the files that `trust` names; `upstream` says whether TLS is needed at all, and how many connections there may
    /// be.
    ///
    /// # Errors
    /// What is wrong with a file, or a system without trusted certificates.
    pub fn new(
        trust: Trust,
        timeouts: Timeouts,
        kept: Pool,
        upstream: &upstream::Config,
    ) -> Result<Self, BuildError> {
        let needs_tls = upstream.backends.iter().any(|member| member.source.scheme().has_tls());
        let limits = upstream.breaker;
        let total = timeouts.total.unwrap_or(Duration::MAX);
        let Timeouts { connect, first_byte, idle, .. } = timeouts;
        let timers =
            client::Timeouts { resolve: connect, connect, tls: connect, first_byte, idle, total };
        let mut builder = base().timeouts(timers).pool(pool(kept, limits));
        if needs_tls {
            let roots = trust.authorities.as_ref().map(Roots::from_pem_file).transpose()?;
            builder = builder
                .roots(roots.unwrap_or_default())
                .danger_accept_any_certificate(!trust.verify);
            if let Some((certificate, key)) = &trust.identity {
                let identity = ClientCertificate::from_pem_files(certificate, key)?;
                builder = builder.client_certificate(identity);
            }
            if let Some(name) = &trust.server_name {
                builder = builder.server_name(name);
            }
        }
        let content = if needs_tls { content_of(&trust)? } else { 0 };
        let (trust, builder) = (Arc::new(trust), builder.prepare()?);
        Ok(Self { trust, timeouts, pool: kept, limits, content, builder })
    }

    /// Who asks backends whether they are well: reached and trusted as for requests.
    pub(crate) fn asker(&self) -> check::Asker {
        let name = format!("{:?} {:x}", self.trust, self.content);
        check::Asker { builder: self.builder.clone(), name }
    }

    /// How many connections each worker keeps ready to each backend.
    pub(super) fn warm_up(&self) -> usize {
        self.pool.warm_up
    }

    /// The way to this backend.
    pub(super) fn way(&self, backend: &Backend) -> Way {
        let address = backend.address();
        let socket = match &address.place {
            Place::Net { .. } => None,
            Place::Unix(path) => Some(path.clone()),
        };
        let Self { timeouts, pool, limits, content, .. } = *self;
        let (trust, scheme, connect_to) =
            (self.trust.clone(), address.scheme, backend.connect_to());
        Way { scheme, socket, connect_to, timeouts, pool, limits, trust, content }
    }

    /// What makes the client of such a way, on a worker.
    pub(super) fn builder(&self, way: &Way) -> Builder {
        let builder = self.builder.clone().versions(match way.scheme {
            Scheme::Http => Versions::ONLY_H1,
            Scheme::H2c => Versions::ONLY_H2,
            Scheme::Https => Versions::ALL.without_h3(),
            Scheme::H3 => Versions::ALL,
        });
        let builder = builder.expect_http3(way.scheme == Scheme::H3);
        match (&way.socket, way.connect_to) {
            (Some(path), _) => builder.unix_socket(path),
            (None, Some(place)) => builder.connect_to(place.ip().to_string(), place.port()),
            (None, None) => builder,
        }
    }
}

impl Scheme {
    /// Whether it is spoken over TLS.
    pub(crate) const fn has_tls(self) -> bool {
        match self {
            Self::Http | Self::H2c => false,
            Self::Https | Self::H3 => true,
        }
    }
}

/// What every client of backends has.
fn base() -> Builder {
    Builder::default()
        // The gateway decides by its own budget, and asks another backend.
        .retries(STALE)
        .retry_on_idle_alone(true)
        .roots(Roots::Nobody)
        .key_log(false)
        .tell_exchange(false)
        .watch_network(false)
        .pool(POOL)
        .http2_windows(STREAM_WINDOW, CONNECTION_WINDOW)
        .quic(quic::Config {
            keep_alive: Some(Duration::from_secs(10)),
            // A server opens no such stream (RFC 9114 §6.1).
            max_bidi_streams: 0,
            stream_window: STREAM_WINDOW.into(),
            connection_window: CONNECTION_WINDOW.into(),
            ..quic::Config::default()
        })
}

/// The pool of one worker, with what a breaker says of it.
fn pool(kept: Pool, limits: breaker::Config) -> PoolConfig {
    let limit = |limit: Option<u32>, default| {
        limit.map_or(default, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
    };
    PoolConfig {
        max_connections_per_origin: limit(limits.connections, POOL.max_connections_per_origin),
        max_waiting_per_origin: limit(limits.pending, POOL.max_waiting_per_origin),
        // What is warm must not be trimmed.
        idle_per_origin: kept.idle.max(kept.warm_up),
        idle_timeout: kept.idle_timeout,
        ..POOL
    }
}

/// A number that changes with the content of the files.
fn content_of(trust: &Trust) -> Result<u64, TlsError> {
    let mut hasher = FxHasher::default();
    let identity = trust.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
    for path in trust.authorities.iter().chain(identity) {
        let content = std::fs::read(path);
        let unreadable = |source| TlsError::Unreadable { path: path.clone(), source };
        content.map_err(unreadable)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// How often a request may meet a connection that the backend has just closed.
const STALE: u32 = 2;

/// A client that stops reading holds this much of a connection that others share, which has room for 128 of them.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 32 << 20;

/// For one worker.
const POOL: PoolConfig = PoolConfig {
    idle_total: 1024,
    idle_per_origin: 128,
    // Less than what most servers allow.
    idle_timeout: Duration::from_secs(50),
    max_connections_per_origin: 1024,
    max_waiting_per_origin: 1024,
    max_header_size: 64 * 1024,
    max_header_fields: 256,
    body_buffer: 256 * 1024,
    body_buffer_total: 4 << 20,
};
