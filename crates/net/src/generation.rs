//! What a running server is given anew: certificates, limits and time-outs, and the service.
//!
//! ```text
//! Control::reconfigure ── Generation ──▶ every worker ── between two turns: service, limits, certificates
//!         ▲                                   │
//!         └────────────── applied ────────────┘
//! ```
//! Sockets and connections stay. A connection goes by the limits and time-outs of now, but for those that its handshake, SETTINGS or
//! hyper have settled; a request is answered by the service that was there when it came.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, SyncSender},
    },
    time::{Duration, Instant},
};

use sterna_quic::{ByName, Chosen, ServerConfig};
use tokio::sync::watch;

use crate::{
    Control, ServerTls, Tickets, TlsError,
    era::Retirement,
    server::{Config, NEVER},
    tls::{ClientAuth, PerPolicy, TcpTls},
};

/// What workers serve with, all of it from one moment on.
#[derive(Clone)]
pub(crate) struct Generation {
    pub(crate) config: Arc<Config>,
    tls: Option<ServerTls>,
    /// The same for all.
    tickets: Arc<Tickets>,
    /// Counts the certificates and settings of TLS that there have been.
    pub(crate) era: u64,
    /// Of the connections from before this era.
    pub(crate) retirement: Option<Retirement>,
    /// For connections over TCP that are accepted from now on.
    pub(crate) tcp: Option<Arc<TcpTls>>,
    /// For connections over QUIC that begin from now on, but for what one listen address has of its own.
    pub(crate) quic: Option<ServerConfig>,
    /// Hears from each worker that goes by it.
    applied: Option<SyncSender<()>>,
}

impl Generation {
    pub(crate) fn new(
        tls: Option<ServerTls>,
        config: Config,
        tickets: Arc<Tickets>,
    ) -> Result<Self, TlsError> {
        let config = Arc::new(config.bounded());
        let tcp = match &tls {
            Some(tls) => Some(Arc::new(TcpTls::new(tls, |tcp, clients| {
                if let Some(binding) = binding(clients) {
                    tcp.ticketer = tickets.bound("tcp", binding);
                }
            })?)),
            None => None,
        };
        let quic = match &tls {
            Some(tls) if config.http3 => {
                let per_policy = tls.for_each_policy(|terms| {
                    let mut quic = tls.quic_config(terms)?;
                    // req: 8470-3-server-decides
                    quic.max_early_data_size = if config.early_data { u32::MAX } else { 0 };
                    let tickets = binding(terms.clients).map(|binding| {
                        tickets.bound("quic", &[binding, &remembered(&config)].concat()) as _
                    });
                    Ok(Chosen { tls: Arc::new(quic), tickets })
                })?;
                Some(quic_config(Arc::new(per_policy), &config))
            }
            _ => None,
        };
        Ok(Self { config, tls, tickets, era: 0, retirement: None, tcp, quic, applied: None })
    }

    /// The one after `self`. While the certificates are the same, clients may resume what they have. Secrets of connections
    /// are written on where they were.
    fn next(&self, tls: Option<ServerTls>, config: Config) -> Result<Self, ReconfigureError> {
        if self.config.http3 != config.http3 {
            return Err(ReconfigureError::Restart { what: "switching HTTP/3 on or off" });
        }
        if self.config.udp_buffer != config.udp_buffer {
            return Err(ReconfigureError::Restart { what: "the size of UDP buffers" });
        }
        if self.config.steering != config.steering {
            return Err(ReconfigureError::Restart { what: "steering by the kernel" });
        }
        // Their tables are shared by all workers, and made for what they count.
        let per_ip = |config: &Config| {
            let Config {
                connections_per_ip,
                handshakes_per_ip,
                streams_per_ip,
                requests_per_ip,
                ..
            } = *config;
            (connections_per_ip, handshakes_per_ip, streams_per_ip, requests_per_ip)
        };
        if per_ip(&self.config) != per_ip(&config) || self.config.max_lag != config.max_lag {
            return Err(ReconfigureError::Restart { what: "a limit for each address, or on lag," });
        }
        if self.config.memory != config.memory {
            return Err(ReconfigureError::Restart { what: "the limit on memory" });
        }
        if self.tls.is_some() != tls.is_some() {
            return Err(ReconfigureError::Restart { what: "switching TLS on or off" });
        }
        let is_of_this_era = match (&self.tls, &tls) {
            (Some(before), Some(now)) => {
                before.has_certificates_of(now) && before.has_settings_of(now)
            }
            _ => true,
        };
        if is_of_this_era
            && let (Some(before), Some(now)) = (&self.tls, &tls)
            && before.is_same_as(now)
            && remembered(&self.config) == remembered(&config)
        {
            let config = Arc::new(config.bounded());
            let quic = self.quic.as_ref().map(|before| quic_with(before, &config));
            return Ok(Self { config, quic, applied: None, ..self.clone() });
        }
        let tls = tls.zip(self.tls.as_ref()).map(|(now, before)| now.logging_like(before));
        let (era, retirement) = match is_of_this_era {
            true => (self.era, self.retirement),
            false => {
                let after = config.retire_after.map(|after| after.min(NEVER));
                let now = Instant::now();
                (self.era + 1, after.map(|after| Retirement::new(now, after)))
            }
        };
        Ok(Self { era, retirement, ..Self::new(tls, config, self.tickets.clone())? })
    }

    /// For connections over QUIC to this address.
    pub(crate) fn quic_at(&self, address: SocketAddr) -> Option<ServerConfig> {
        let mut server = self.quic.clone()?;
        server.transport.congestion = self.config.congestion(address).clone();
        Some(server)
    }

    /// What clients are shown, where that is not the same for all.
    pub(crate) fn shown(&self) -> Option<ServerTls> {
        self.tls.clone().filter(ServerTls::has_several)
    }

    /// Tells that a worker goes by it.
    pub(crate) fn is_applied(&self) {
        if let Some(applied) = &self.applied {
            // There is room for every worker.
            let _ = applied.try_send(());
        }
    }
}

/// What a client with early data goes by before it hears what is so now (RFC 9000 §7.4.1, RFC 9114 §7.2.4.2): a ticket of
/// other limits does not open, so that none of them is ever broken.
fn remembered(config: &Config) -> Vec<u8> {
    let sterna_quic::Config {
        stream_window,
        connection_window,
        initial_connection_window,
        max_bidi_streams,
        max_uni_streams,
        datagrams,
        ..
    } = &config.quic;
    let first = connection_window.min(initial_connection_window);
    let windows = (stream_window, first, max_bidi_streams, max_uni_streams, datagrams);
    format!("{:?}", (config.early_data, windows, config.max_header_size, &config.h3)).into_bytes()
}

/// What tickets are bound to, beside their transport: whom the server lets in. `None` where there are none.
fn binding(clients: Option<&ClientAuth>) -> Option<&[u8]> {
    clients.map_or(Some(&[]), ClientAuth::binding)
}

fn quic_config(per_policy: Arc<PerPolicy<Chosen>>, config: &Config) -> ServerConfig {
    let Chosen { tls, tickets } = per_policy.otherwise().clone();
    let mut transport = config.quic.clone();
    transport.handshake_timeout = config.handshake_timeout;
    transport.tickets = tickets;
    transport.by_name = per_policy.has_several().then_some(per_policy as _);
    ServerConfig { tls, transport }
}

/// With the TLS of another one.
fn quic_with(before: &ServerConfig, config: &Config) -> ServerConfig {
    let mut transport = config.quic.clone();
    transport.handshake_timeout = config.handshake_timeout;
    transport.tickets.clone_from(&before.transport.tickets);
    transport.by_name.clone_from(&before.transport.by_name);
    ServerConfig { tls: before.tls.clone(), transport }
}

impl ByName for PerPolicy<Chosen> {
    fn choose(&self, name: Option<&str>, local: Option<IpAddr>) -> Chosen {
        self.of(name, local).clone()
    }
}

/// Where the generations of a server come from.
pub(crate) type Generations = watch::Sender<Generation>;

impl Control {
    /// What it serves with now.
    pub fn config(&self) -> Arc<Config> {
        self.generations.borrow().config.clone()
    }

    /// Serves with other certificates, limits and time-outs from now on, and with what the service's maker makes now. All
    /// or nothing: after an error everything is as it was.
    ///
    /// Returns when every worker goes by it: a request that is sent after that meets nothing older. Connections and running
    /// requests go on. Whoever calls it from two threads at once does not know which of the two came last.
    ///
    /// # Errors
    /// [`ReconfigureError`].
    pub fn reconfigure(
        &self,
        tls: impl Into<Option<ServerTls>>,
        config: Config,
    ) -> Result<(), ReconfigureError> {
        if self.shutdown.has_begun() {
            return Err(ReconfigureError::Ending);
        }
        let next = self.generations.borrow().next(tls.into(), config)?;
        let (applied, hears) = mpsc::sync_channel(self.counters.len());
        self.generations.send_replace(Generation { applied: Some(applied), ..next });
        let until = Instant::now() + PATIENCE;
        let mut following = 0;
        // One that panicked will not follow.
        while following < self.living_workers() {
            match hears.recv_timeout(LOOK) {
                Ok(()) => following += 1,
                Err(_) if self.shutdown.has_begun() => return Err(ReconfigureError::Ending),
                Err(_) if Instant::now() >= until => return Err(ReconfigureError::Stuck),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
        Ok(())
    }
}

/// Why a server does not serve with something else now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconfigureError {
    /// It belongs to the sockets, which stay as they are.
    #[error("{what} needs a restart")]
    Restart {
        /// What was asked for.
        what: &'static str,
    },
    /// Certificates and keys could not be turned into a TLS configuration.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    /// The server ends, and takes nothing new.
    #[error("the server is ending")]
    Ending,
    /// A worker does something else for a long time; it will follow when it is done.
    #[error("a worker has been busy for {} s and has not followed yet", PATIENCE.as_secs())]
    Stuck,
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation").field("config", &self.config).finish_non_exhaustive()
    }
}

/// How long a worker may take to follow: as long as the longest that a service of it computes.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether a worker has ended meanwhile.
const LOOK: Duration = Duration::from_millis(100);
