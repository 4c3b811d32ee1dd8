//! Backends behind a name: which of them gets a request, and what is known of each.
//!
//! ```text
//!  discovery ──▶ Set ──▶ pick: tier ─▶ policy ─▶ Pick ──▶ tell ──▶ what is known of the backend
//!  checks ─────────────────────────────────────────────────────────────▲
//! ```
//!
//! An [`Upstream`] is one for all workers and survives a reload: whom it holds for healthy, how many requests each backend
//! has, and its budget of retries. It opens no connection: a handler asks it for a [`Pick`], sends, and tells what came of it.
//! Nothing here waits for a lock that another request may hold; the time is always an argument.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};

mod admin;
mod backend;
pub mod balance;
pub mod breaker;
pub mod budget;
pub mod check;
pub mod discovery;
pub mod eject;
mod inner;
mod keeper;
mod pick;
mod set;
#[cfg(test)]
mod tests;

pub use self::admin::{BackendStatus, Condition, NoSuchBackend, Status};
pub use self::backend::Backend;
use self::backend::Standing;
use self::inner::Inner;
pub(crate) use self::keeper::Keeper;
pub use self::pick::Pick;

/// How a backend is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The protocol.
    pub scheme: Scheme,
    /// The place.
    pub place: Place,
}

/// The protocol to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http://`: HTTP/1.1 in the clear.
    Http,
    /// `h2c://`: HTTP/2 in the clear, with prior knowledge.
    H2c,
    /// `https://`: HTTP/2 or HTTP/1.1 by ALPN.
    Https,
    /// `h3://`: HTTP/3, and where that cannot be had HTTP/2 or HTTP/1.1.
    H3,
}

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A name or an address, and a port.
    Net {
        /// The host, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// Backends and how they are chosen.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name under which several routes share it; it is known by its backends without one.
    pub name: Option<String>,
    /// The backends, in order.
    pub backends: Vec<Member>,
    /// Which of them gets a request. Default: in turn, by weight.
    pub balance: balance::Policy,
    /// How they are checked; not at all, if none.
    pub check: Option<check::Config>,
    /// How names are looked up.
    pub discovery: discovery::Config,
    /// When one is left out because its requests fail; never, if none.
    pub eject: Option<eject::Config>,
    /// How long the share of one that is back, or new, rises to what it should be; zero: it has it at once.
    pub slow_start: Duration,
    /// When fewer than this many percent are healthy, all are asked. Default: 0, which is when none is.
    pub panic_below: u8,
    /// How much each may have to do.
    pub breaker: breaker::Config,
    /// How many retries there may be among all requests.
    pub retries: budget::Config,
}

impl Config {
    /// These backends, with the defaults of everything else.
    pub fn new(backends: impl IntoIterator<Item = Address>) -> Self {
        Self {
            name: None,
            backends: backends.into_iter().map(Member::from).collect(),
            balance: balance::Policy::default(),
            check: None,
            discovery: discovery::Config::default(),
            eject: Some(eject::Config::default()),
            slow_start: Duration::ZERO,
            panic_below: 0,
            breaker: breaker::Config::default(),
            retries: budget::Config::default(),
        }
    }

    /// How much of it is as in another: more is more.
    pub(crate) fn likeness(&self, other: &Self) -> (bool, usize, String) {
        let is_shared =
            |member: &&Member| other.backends.iter().any(|one| one.source == member.source);
        let shared = self.backends.iter().filter(is_shared).count();
        // The last makes the order the same in all workers.
        (self.name == other.name, shared, format!("{self:?}"))
    }
}

/// One backend of a configuration, or a name behind which there are several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Where it is found.
    pub source: Source,
    /// Its share among the others, from 1 to [`MOST_WEIGHT`]. Default: 1.
    pub weight: u32,
    /// It is asked only when none of the others can be.
    pub is_backup: bool,
}

/// Where backends are found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// One backend. A name is resolved for each connection.
    Fixed(Address),
    /// One backend for each address of this name, which is looked up again when its records expire.
    Names(Address),
    /// One backend for each SRV record of this name (RFC 2782), with their priorities and weights.
    Services {
        /// The protocol to all of them.
        scheme: Scheme,
        /// The name, such as `_http._tcp.example.com`.
        name: String,
    },
}

impl Source {
    /// The protocol to all backends that are found there.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Fixed(address) | Self::Names(address) => address.scheme,
            Self::Services { scheme, .. } => *scheme,
        }
    }
}

impl From<Address> for Member {
    fn from(address: Address) -> Self {
        Self { source: Source::Fixed(address), weight: 1, is_backup: false }
    }
}

/// The largest weight of a backend.
pub const MOST_WEIGHT: u32 = 65_535;

/// Backends of one upstream; discovery takes no more.
pub const MOST_BACKENDS: usize = 256;

/// What a choice may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The fields of the request.
    pub headers: &'a HeaderMap,
}

/// A set of backends.
#[derive(Debug)]
pub struct Upstream {
    inner: Arc<Inner>,
    _alive: Option<keeper::Alive>,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A response began.
    Answered {
        /// Its status.
        status: StatusCode,
        /// From sending until its head was here.
        after: Duration,
    },
    /// No connection, or it broke, or the response did not begin in time or was malformed.
    Failed,
    /// Nobody waited for it any more: that says nothing of the backend.
    GivenUp,
}

/// Why there is no backend for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBackend {
    /// All have been tried, or none is left that may be asked.
    #[error("no backend can take the request")]
    Unavailable,
    /// Those that could be asked have as much to do as they may have.
    #[error("every backend has as many requests as it may have")]
    Full,
    /// Its backends are not known yet: their names are being looked up for the first time.
    #[error("the backends are not known yet: their names have not been resolved")]
    Unresolved,
}

impl Upstream {
    /// A set that knows nothing of its backends yet, and that nobody keeps up to date: no checks, no discovery.
    pub fn new(config: &Config) -> Self {
        Self { inner: Inner::new(config, Instant::now(), &[]), _alive: None }
    }

    /// One that is kept up to date, and goes on with what `others` know of the same backends.
    pub(crate) fn kept(config: &Config, others: &[Arc<Self>], keeper: &Keeper) -> Self {
        let others: Vec<_> = others.iter().map(|other| other.inner.clone()).collect();
        let inner = Inner::new(config, keeper.epoch, &others);
        let alive = keeper.keep(&inner).unwrap_or_else(|error| {
            tracing::error!(%error, "backends are neither checked nor looked up: no thread can be started");
            None
        });
        Self { inner, _alive: alive }
    }

    /// Chooses a backend that is none of `tried`.
    ///
    /// # Errors
    /// Why none can be asked.
    pub fn pick(
        &self,
        wanted: &Wanted<'_>,
        tried: &[Arc<Backend>],
        now: Instant,
    ) -> Result<Pick, NoBackend> {
        self.inner.pick(wanted, tried, now)
    }

    /// Whether the budget allows one more retry, which is taken from it then.
    pub fn may_retry(&self, now: Instant) -> bool {
        self.inner.may_retry(now)
    }

    /// Waits until every name has been looked up once, well or not, but no longer than `limit`: who asks at once after a
    /// start need not be refused. Costs nothing later.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn resolved(&self, limit: Duration) {
        if !self.inner.is_answered() {
            // In a box: it is rare, and would be a part of the future of every request.
            let _ = Box::pin(tokio::time::timeout(limit, self.inner.answered())).await;
        }
    }

    /// The backends that may be given a request now.
    pub(crate) fn open(&self, now: Instant) -> Vec<Arc<Backend>> {
        let (set, now) = (self.inner.set.load(), self.inner.millis(now));
        let open = set.backends().filter(|one| one.standing(now, false) != Standing::Closed);
        open.cloned().collect()
    }

    /// What it was made from.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }
}

impl Address {
    /// The name or the address; empty for a unix socket.
    pub(crate) fn host(&self) -> &str {
        match &self.place {
            Place::Net { host, .. } => host,
            Place::Unix(_) => "",
        }
    }
}

impl Scheme {
    /// As the configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::H2c => "h2c",
            Self::Https => "https",
            Self::H3 => "h3",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.as_str();
        match &self.place {
            Place::Net { host, port } if host.contains(':') => {
                write!(f, "{scheme}://[{host}]:{port}")
            }
            Place::Net { host, port } => write!(f, "{scheme}://{host}:{port}"),
            Place::Unix(path) if self.scheme == Scheme::H2c => {
                write!(f, "unix+h2c:{}", path.display())
            }
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
