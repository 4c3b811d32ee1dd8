//! A server that runs: counting, draining, ending.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    client::Transport,
    counters::{Counters, WorkerCounters},
    generation::Generations,
    handshakes::{HandshakeFigures, Handshakes},
    inspect::Questions,
    server::NEVER,
};

/// A server whose workers run. Dropping it ends them at once.
#[derive(Debug)]
pub struct Running {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) threads: Vec<thread::JoinHandle<()>>,
    pub(crate) control: Control,
}

/// Tells a running server what to do, from any thread; clones tell the same one.
#[derive(Clone, Debug)]
pub struct Control {
    pub(crate) shutdown: Shutdown,
    pub(crate) counters: Vec<Arc<WorkerCounters>>,
    pub(crate) generations: Arc<Generations>,
    pub(crate) questions: Arc<Questions>,
    /// Each worker that lives has one too.
    pub(crate) life: Weak<()>,
}

impl Control {
    /// Starts the end: see [`Shutdown::start`].
    pub fn shutdown(&self, deadline: Duration) {
        self.shutdown.start(deadline);
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        Counters::sum(&self.counters)
    }

    /// How the handshakes over this transport have ended so far.
    pub fn handshakes(&self, transport: Transport) -> HandshakeFigures {
        Handshakes::sum(&self.counters, transport)
    }

    /// How many workers there are, those included that have ended.
    pub fn workers(&self) -> usize {
        self.counters.len()
    }

    pub(crate) fn living_workers(&self) -> usize {
        self.life.strong_count()
    }
}

impl Running {
    /// The addresses listened on, with their actual ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Starts the end: see [`Shutdown::start`]. Returns at once; [`Running::wait`] waits for it.
    pub fn shutdown(&self, deadline: Duration) {
        self.control.shutdown(deadline);
    }

    /// A handle for another thread, such as the one that waits for signals.
    pub fn handle(&self) -> Shutdown {
        self.control.shutdown.clone()
    }

    /// What else can be told to it, for another thread.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.control.counters()
    }

    /// Blocks until every worker has ended.
    ///
    /// # Errors
    /// [`ServeError::WorkerPanicked`] when one of them ended by a panic.
    pub fn wait(mut self) -> Result<(), ServeError> {
        let mut outcome = Ok(());
        for (worker, thread) in std::mem::take(&mut self.threads).into_iter().enumerate() {
            if thread.join().is_err() {
                outcome = Err(ServeError::WorkerPanicked { worker });
            }
        }
        outcome
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.shutdown(Duration::ZERO);
    }
}

/// Ends a running server; clones end the same one.
#[derive(Clone, Debug)]
pub struct Shutdown {
    deadline: Arc<watch::Sender<Option<Instant>>>,
}

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self { deadline: Arc::new(watch::Sender::new(None)) }
    }

    /// Takes no new connection, tells clients to go (HTTP/1.1 `Connection: close`, HTTP/2 and HTTP/3
    /// GOAWAY), lets running requests finish, and after `deadline` closes what is left.
    ///
    /// Called again, the earlier deadline counts; `Duration::ZERO` ends everything at once.
    pub fn start(&self, deadline: Duration) {
        let at = Instant::now() + deadline.min(NEVER);
        self.deadline.send_if_modified(|current| {
            let earlier = current.is_none_or(|current| at < current);
            if earlier {
                *current = Some(at);
            }
            earlier
        });
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.deadline.borrow().is_some()
    }

    pub(crate) fn subscribe(&self) -> Drain {
        Drain(self.deadline.subscribe())
    }
}

/// A worker's ear for [`Shutdown`].
#[derive(Clone, Debug)]
pub(crate) struct Drain(watch::Receiver<Option<Instant>>);

impl Drain {
    /// When everything must have ended, once the drain has begun.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        *self.0.borrow()
    }

    /// Waits until the drain begins.
    pub(crate) async fn started(&mut self) {
        // The sender is gone only when every handle is, and then the server must end too.
        let _ = self.0.wait_for(Option::is_some).await;
    }

    /// Waits until a drain has begun and its deadline has passed.
    pub(crate) async fn expired_after_start(&mut self) {
        self.started().await;
        self.expired().await;
    }

    /// Waits until the deadline of a drain that has begun, also when it is moved forward meanwhile.
    pub(crate) async fn expired(&mut self) {
        while let Some(deadline) = self.deadline() {
            tokio::select! {
                () = tokio::time::sleep_until(deadline.into()) => return,
                changed = self.0.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Why a server could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The operating system gave no thread.
    #[error("cannot start a worker thread: raise the limit of processes")]
    Thread(#[source] std::io::Error),
    /// A worker ended by a panic; the others had gone on.
    #[error("worker {worker} panicked")]
    WorkerPanicked {
        /// Which one, from 0.
        worker: usize,
    },
}
