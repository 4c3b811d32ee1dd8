//! Runs a [`Race`]: asks, dials, waits, and remembers what it has shown.
//!
//! A connector is shared by all requests of a client. It holds what origins have said and what was learnt of them, behind
//! a lock that is never held across a wait.

use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{
    alt_svc::AltService,
    memory::{Place, file::Kept},
    origin::Origin,
    race::{
        Action, AttemptId, Cause, Defeat, Event, Goal, Lesson, Proof, Race, TraceEntry, Transport,
    },
    resolve::{NameError, Resolve},
    versions::Versions,
};

mod network;
mod run;

/// One attempt at a connection.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) transport: Transport,
    pub(crate) address: SocketAddr,
    /// What the certificate has to name, and SNI if it is a name.
    pub(crate) server_name: String,
    /// What ALPN may offer; with QUIC HTTP/3 alone.
    pub(crate) versions: Versions,
    /// The first request may be sent before the handshake is complete.
    pub(crate) early_data: bool,
    /// To be told of the first byte.
    pub(crate) progress: Progress,
}

/// Makes one attempt: TCP with TLS, or QUIC, up to the end of the handshake.
pub(crate) trait Dial: Clone + Send + Sync + 'static {
    type Connection: Send + 'static;
    type Error: Blame;

    /// Dropping the future ends the attempt.
    fn dial(
        &self,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send + 'static;

    /// What a connection shows: its round-trip time, if it knows that better than the time that its handshake took.
    fn proof(_: &Self::Connection) -> Proof {
        Proof::Complete(None)
    }
}

/// An error of an attempt that tells a race what it has to know.
pub(crate) trait Blame: std::error::Error + Send + Sync + 'static {
    fn cause(&self) -> Cause;
}

/// What a request asks of the way to its origin.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) versions: Versions,
    pub(crate) connect_to: Option<Place>,
    /// Try QUIC where nobody has said that it is there.
    pub(crate) speculate: bool,
    /// QUIC is there, as far as it is known.
    pub(crate) expects_h3: bool,
    pub(crate) early_data: bool,
    pub(crate) resolve_timeout: Duration,
    pub(crate) connect_timeout: Duration,
}

/// A connection, and how it came about.
#[derive(Debug)]
pub(crate) struct Connected<C> {
    pub(crate) connection: C,
    pub(crate) transport: Transport,
    pub(crate) address: SocketAddr,
    /// Whose address it is: for [`Connector::on_h3_failure`].
    pub(crate) place: Place,
    /// From the beginning until the first attempt began.
    pub(crate) resolved_after: Duration,
    /// From the beginning of the winning attempt to the end of its handshake.
    pub(crate) connected_after: Duration,
    pub(crate) trace: Vec<TraceEntry>,
}

/// There is no connection.
#[derive(Debug)]
pub(crate) struct NotConnected<E> {
    pub(crate) reason: Reason<E>,
    pub(crate) trace: Vec<TraceEntry>,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum Reason<E> {
    /// The name gives no address.
    Name(NameError),
    /// No name server has answered in time.
    NameTimedOut,
    /// What is allowed does not exist, such as `http` URLs over QUIC.
    Nothing,
    /// All attempts failed; this is the one that says most.
    Attempt(E),
    /// No handshake was completed in time.
    TimedOut,
}

/// Told by the dialer when the first byte of the peer has arrived.
#[derive(Clone)]
pub(crate) struct Progress {
    attempt: AttemptId,
    was_told: Arc<AtomicBool>,
    events: tokio::sync::mpsc::Sender<AttemptId>,
}

impl Progress {
    /// The first byte has arrived. More calls than one do nothing.
    pub(crate) fn heard(&self) {
        if !self.was_told.swap(true, Ordering::Relaxed) {
            // There is room for one of each attempt, so it is full only when nobody listens any more.
            let _ = self.events.try_send(self.attempt);
        }
    }
}

/// Resolves, plans, races, learns. A cheap handle.
#[derive(Clone)]
pub(crate) struct Connector<R> {
    resolver: R,
    shared: Arc<Shared>,
}

struct Shared {
    kept: Mutex<Kept>,
    file: Option<PathBuf>,
    /// What is in memory is newer than the file.
    is_dirty: AtomicBool,
    /// Held while the file is written.
    writing: Mutex<()>,
    races: AtomicU64,
    /// Networks that the machine had since the client was built.
    networks: AtomicU64,
}

impl<R: Resolve> Connector<R> {
    /// Begins with what `file` holds, if one is named.
    pub(crate) fn new(resolver: R, file: Option<PathBuf>) -> Self {
        let kept = match &file {
            Some(path) => Kept::load(path, SystemTime::now()),
            None => Kept::default(),
        };
        let shared = Shared {
            kept: Mutex::new(kept),
            file,
            is_dirty: AtomicBool::new(false),
            writing: Mutex::new(()),
            races: AtomicU64::new(0),
            networks: AtomicU64::new(0),
        };
        Self { resolver, shared: Arc::new(shared) }
    }

    /// Races for a connection to `origin`.
    ///
    /// # Errors
    /// When no attempt completed its handshake; the trace says what happened to each.
    ///
    /// # Cancel safety
    /// Dropping the future ends all attempts, and nothing is learnt.
    pub(crate) async fn connect<D: Dial>(
        &self,
        origin: &Origin,
        options: &Options,
        dial: &D,
    ) -> Result<Connected<D::Connection>, NotConnected<D::Error>> {
        self.notice_network();
        let goal = self.goal(origin, options);
        run::Runner::new(self.clone(), goal, options.early_data, dial.clone()).run().await
    }

    /// Takes the `Alt-Svc` fields of a response of `origin`.
    ///
    /// Not of one over plain HTTP, and not of one that says it is not of this origin (421).
    pub(crate) fn on_response(&self, origin: &Origin, headers: &http::HeaderMap) {
        let fields = headers.get_all(http::header::ALT_SVC);
        if fields.iter().next().is_none() || origin.scheme() == super::origin::Scheme::Http {
            return;
        }
        let values = fields.iter().map(http::HeaderValue::as_bytes);
        self.kept().alt_svc.on_field(origin, values, SystemTime::now());
        self.shared.is_dirty.store(true, Ordering::Relaxed);
    }

    /// A connection over HTTP/3 was lost, or gave no answer: it is on trial from now on, without early data, and TCP does
    /// not wait for it.
    pub(crate) fn on_h3_failure(&self, origin: &Origin, place: &Place) {
        self.kept().memory.on_lost(origin, place);
        self.shared.is_dirty.store(true, Ordering::Relaxed);
    }

    /// The machine has another network now.
    pub(crate) fn on_network_change(&self) {
        self.shared.networks.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.kept();
        kept.alt_svc.on_network_change();
        kept.memory.on_network_change();
        self.shared.is_dirty.store(true, Ordering::Relaxed);
    }

    /// Looks which network this is.
    pub(crate) fn notice_network(&self) {
        self.on_network(&network::name());
    }

    /// Says which network this is; what was learnt on another one is treated as such.
    fn on_network(&self, name: &str) {
        let mut kept = self.kept();
        if kept.network != name {
            let was_another = !kept.network.is_empty();
            name.clone_into(&mut kept.network);
            drop(kept);
            if was_another {
                self.on_network_change();
            }
        }
    }

    /// Writes what is known to the file, if there is one and something is new. It blocks for as long as a small file takes.
    ///
    /// # Errors
    /// When the file cannot be written; the next call tries again.
    pub(crate) fn save(&self) -> io::Result<()> {
        let Some(path) = &self.shared.file else { return Ok(()) };
        // Whoever comes second waits: when this returns, it is written.
        let _writing = self.shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.shared.is_dirty.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let text = self.kept().encode(SystemTime::now());
        super::memory::file::save(path, &text)
            .inspect_err(|_| self.shared.is_dirty.store(true, Ordering::Relaxed))
    }

    /// A number that changes with the network.
    fn network(&self) -> u64 {
        self.shared.networks.load(Ordering::Relaxed)
    }

    fn goal(&self, origin: &Origin, options: &Options) -> Goal {
        let now = SystemTime::now();
        let mut kept = self.kept();
        let mut known = kept.memory.of(origin, now);
        let mut alternatives = kept.alt_svc.of(origin, now);
        if options.expects_h3 {
            known.works_here = true;
            let expected = AltService { protocol: b"h3".to_vec(), host: None, port: origin.port() };
            if !alternatives.contains(&expected) {
                alternatives.push(expected);
            }
        }
        Goal {
            origin: origin.clone(),
            versions: options.versions,
            connect_to: options.connect_to.clone(),
            alternatives,
            known,
            speculate: options.speculate,
            resolve_timeout: options.resolve_timeout,
            connect_timeout: options.connect_timeout,
            seed: self.shared.races.fetch_add(1, Ordering::Relaxed) ^ clock_seed(now),
        }
    }

    fn learn(&self, origin: &Origin, lesson: Lesson, place: &Place) {
        let mut kept = self.kept();
        match lesson {
            Lesson::Works { rtt, address } => kept.memory.on_works(origin, place, rtt, address),
            Lesson::Late => kept.memory.on_lost(origin, place),
            Lesson::Broken => kept.memory.on_broken(origin, place, SystemTime::now()),
        }
        self.shared.is_dirty.store(true, Ordering::Relaxed);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Different for each run; what depends on it is load, not safety.
fn clock_seed(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| u64::from(since.subsec_nanos()))
}

impl<R: fmt::Debug> fmt::Debug for Connector<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("resolver", &self.resolver).finish_non_exhaustive()
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
