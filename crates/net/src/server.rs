//! The server: bind everything first, then run a service on every worker.

mod bind;
mod config;

use std::{net::SocketAddr, thread};

use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

pub use bind::{BindError, Transport};
pub use config::{AltSvc, Config};

use crate::{Body, BoxError, Running, ServeError, ServerTls};

/// Entry point: [`Server::builder`].
#[derive(Debug)]
pub struct Server {}

impl Server {
    /// A server without addresses, without TLS, with a worker for each core.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

/// Collects what a server needs.
#[derive(Debug, Default)]
pub struct Builder {
    addresses: Vec<SocketAddr>,
    tls: Option<ServerTls>,
    workers: Option<usize>,
    config: Config,
}

impl Builder {
    /// Listens on this address, TCP and UDP; port 0 lets the kernel choose one port for both. May be repeated.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// Serves HTTPS with this certificate. Without it the server speaks plain HTTP/1.1 and HTTP/2, and no HTTP/3.
    #[must_use]
    pub fn tls(mut self, tls: impl Into<Option<ServerTls>>) -> Self {
        self.tls = tls.into();
        self
    }

    /// How many workers. Default: one for each core that the process may use.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Limits, time-outs and choices.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Binds every socket of every worker, or none.
    ///
    /// # Errors
    /// What could not be bound, and what to do about it. Nothing has been started then.
    pub fn bind(self) -> Result<Bound, BindError> {
        todo!()
    }
}

/// A server whose sockets are bound: connections wait in the kernel until it serves.
#[derive(Debug)]
pub struct Bound {
    addresses: Vec<SocketAddr>,
    warnings: Vec<String>,
}

impl Bound {
    /// The addresses, with their actual ports, in the order of [`Builder::listen`].
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What the operator should know: one line for each, such as socket buffers that the kernel cut.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Runs a clone of `service` on every worker.
    ///
    /// # Errors
    /// [`ServeError::Thread`] when a thread could not be started; then none runs.
    pub fn serve<S, B>(self, service: S) -> Result<Running, ServeError>
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        // A service may be `Send` and not `Sync`: each thread takes its own clone.
        let services = std::sync::Mutex::new(service);
        self.serve_with(move |_| crate::context::lock(&services).clone())
    }

    /// Runs the service that `make` gives for each worker, made on the worker's thread: it need not be `Send`.
    ///
    /// # Errors
    /// [`ServeError::Thread`] when a thread could not be started; then none runs.
    pub fn serve_with<F, S, B>(self, _make: F) -> Result<Running, ServeError>
    where
        F: Fn(usize) -> S + Send + Sync + 'static,
        S: Service<Request<Body>, Response = Response<B>> + Clone + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        todo!()
    }
}

/// How many workers without a choice: what the scheduler lets this process use.
fn default_workers() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
