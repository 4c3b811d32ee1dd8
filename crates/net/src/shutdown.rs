//! A server that runs: counting, draining, ending.

use std::{net::SocketAddr, thread, time::Duration};

/// A server whose workers run. Dropping it ends them at once.
#[derive(Debug)]
pub struct Running {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) shutdown: Shutdown,
    pub(crate) threads: Vec<thread::JoinHandle<()>>,
}

impl Running {
    /// The addresses listened on, with their actual ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Starts the end: see [`Shutdown::start`]. Returns at once; [`Running::wait`] waits for it.
    pub fn shutdown(&self, deadline: Duration) {
        self.shutdown.start(deadline);
    }

    /// A handle for another thread, such as the one that waits for signals.
    pub fn handle(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        todo!()
    }

    /// Blocks until every worker has ended.
    ///
    /// # Errors
    /// [`ServeError::WorkerPanicked`] when one of them ended by a panic.
    pub fn wait(self) -> Result<(), ServeError> {
        todo!()
    }
}

/// Ends a running server; clones end the same one.
#[derive(Clone, Debug)]
pub struct Shutdown {}

impl Shutdown {
    /// Takes no new connection, tells clients to go (HTTP/1.1 `Connection: close`, HTTP/2 and HTTP/3 GOAWAY), lets
    /// running requests finish, and after `deadline` closes what is left.
    ///
    /// Called again, the earlier deadline counts; `Duration::ZERO` ends everything at once.
    pub fn start(&self, _deadline: Duration) {
        todo!()
    }
}

/// Why a server could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The operating system gave no thread.
    #[error("cannot start a worker thread")]
    Thread(#[source] std::io::Error),
    /// A worker ended by a panic; the others had gone on.
    #[error("worker {worker} panicked")]
    WorkerPanicked {
        /// Which one, from 0.
        worker: usize,
    },
}

/// What the workers have done: a snapshot, in totals since the start unless called `active`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// TCP connections accepted.
    pub tcp_connections: u64,
    /// QUIC connections accepted.
    pub quic_connections: u64,
    /// TCP connections open now.
    pub active_tcp_connections: u64,
    /// QUIC connections open now.
    pub active_quic_connections: u64,
    /// Requests over HTTP/1.1.
    pub http1_requests: u64,
    /// Requests over HTTP/2.
    pub http2_requests: u64,
    /// Requests over HTTP/3.
    pub http3_requests: u64,
    /// Requests that are being answered now.
    pub active_requests: u64,
    /// Requests that the client gave up, or whose connection was lost.
    pub cancelled_requests: u64,
    /// Requests refused by a limit (431, 413, 501).
    pub refused_requests: u64,
    /// Messages that broke a rule of HTTP/3.
    pub malformed_requests: u64,
    /// Time-outs of any kind.
    pub timeouts: u64,
    /// Panics in services and bodies.
    pub panics: u64,
    /// Errors of services and response bodies.
    pub service_errors: u64,
    /// TLS handshakes that failed on TCP.
    pub tls_failures: u64,
    /// Connections refused because of a limit, and failures of `accept`.
    pub refused_connections: u64,
}
