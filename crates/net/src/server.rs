//! The server: bind everything first, then run a service on every worker.

mod alt_svc;
mod bind;
mod config;
pub(crate) mod h3;
pub(crate) mod lag;
pub(crate) mod silence;
pub(crate) mod tcp;

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
};

use bytes::Bytes;
use http::{Request, Response};
use sterna_quic::{Group, Secret, SocketOptions};
use tokio::{runtime::Runtime, sync::watch};
use tower_service::Service;

use self::bind::Bundle;
use crate::{
    Body, BoxError, Control, Running, ServeError, ServerTls, Shutdown, Tickets,
    context::lock,
    generation::{Generation, Generations},
    inspect::{Asked, Questions},
    limit::per_source::PerSource,
    memory::Ledger,
    worker::{Sockets, Worker},
};

pub use alt_svc::AltSvc;
pub use bind::{BindError, Transport};
pub use config::Config;
pub(crate) use config::NEVER;

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
    secret: Option<Secret>,
    tickets: Option<Arc<Tickets>>,
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

    /// What QUIC's connection IDs, reset tokens and Retry tokens are made with: kept over a restart, it tells clients at once
    /// that their connections are gone, and lets those in that have shown their address before. Default: random.
    #[must_use]
    pub fn quic_secret(mut self, secret: impl Into<Option<Secret>>) -> Self {
        self.secret = secret.into();
        self
    }

    /// What session tickets are sealed with, and what guards early data. Default: keys that end with the server.
    #[must_use]
    pub fn tickets(mut self, tickets: Arc<Tickets>) -> Self {
        self.tickets = Some(tickets);
        self
    }

    /// Binds every socket of every worker, or none.
    ///
    /// # Errors
    /// What could not be bound, and what to do about it. Nothing has been started then.
    pub fn bind(self) -> Result<Bound, BindError> {
        let Self { addresses, tls, workers, config, secret, tickets } = self;
        if addresses.is_empty() {
            return Err(BindError::NoAddress);
        }
        let workers = workers.unwrap_or_else(default_workers).max(1);
        let generation = Generation::new(tls, config, tickets.unwrap_or_else(Tickets::in_memory))?;
        let (config, has_quic) = (&generation.config, generation.quic.is_some());
        let options = has_quic.then(|| SocketOptions {
            buffer_size: config.udp_buffer,
            steering: config.steering,
            secret,
            ..SocketOptions::default()
        });

        let mut bundles = Vec::with_capacity(addresses.len());
        for address in addresses {
            bundles.push(Bundle::bind(address, workers, options.as_ref())?);
        }
        let limits = PerSource::new(config);
        let ledger = Ledger::new(config.memory);
        let shutdown = Shutdown::new();
        let generations = watch::Sender::new(generation);
        let mut bound = Bound {
            addresses: bundles.iter().map(|bundle| bundle.address).collect(),
            warnings: bundles
                .iter()
                .filter_map(|bundle| bundle.udp.as_ref()?.report().warning.clone())
                .collect(),
            workers: Vec::with_capacity(workers),
            shutdown,
            generations,
            questions: Questions::new(None),
        };
        for index in 0..workers {
            bound.workers.push(Worker {
                index,
                runtime: runtime()?,
                sockets: Vec::new(),
                generations: bound.generations.subscribe(),
                asked: Asked::of(&bound.questions),
                counters: Arc::default(),
                drain: bound.shutdown.subscribe(),
                limits: limits.clone(),
                ledger: ledger.clone(),
            });
        }
        for Bundle { address, tcp, udp } in bundles {
            let mut members = udp.into_iter().flat_map(Group::into_members);
            for (worker, tcp) in bound.workers.iter_mut().zip(tcp) {
                worker.sockets.push(Sockets { address, tcp, udp: members.next() });
            }
        }
        Ok(bound)
    }
}

fn runtime() -> Result<Runtime, BindError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(BindError::Runtime)
}

/// A server whose sockets are bound: connections wait in the kernel until it serves.
pub struct Bound {
    addresses: Vec<SocketAddr>,
    warnings: Vec<String>,
    workers: Vec<Worker>,
    shutdown: Shutdown,
    generations: Generations,
    questions: Questions,
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
    /// A worker's thread serves all of its connections: what blocks or computes for long belongs in
    /// `tokio::task::spawn_blocking`.
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
        let service = Mutex::new(service);
        self.serve_with(move |_| lock(&service).clone())
    }

    /// Runs the service that `make` gives for each worker, made on the worker's thread: it need not be `Send`. It is asked
    /// again at each [`Control::reconfigure`].
    ///
    /// # Errors
    /// [`ServeError::Thread`] when a thread could not be started; then none runs.
    pub fn serve_with<F, S, B>(self, make: F) -> Result<Running, ServeError>
    where
        F: Fn(usize) -> S + Send + Sync + 'static,
        S: Service<Request<Body>, Response = Response<B>> + Clone + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        let Self { addresses, workers, shutdown, generations, questions, .. } = self;
        let counters = workers.iter().map(|worker| worker.counters.clone()).collect();
        // Ends the workers that run already, if a later one does not start.
        let (generations, life) = (Arc::new(generations), Arc::new(()));
        let (questions, alive) = (Arc::new(questions), Arc::downgrade(&life));
        let control = Control { shutdown, counters, generations, questions, life: alive };
        let mut running = Running { addresses, threads: Vec::new(), control };
        let make = Arc::new(make);
        for worker in workers {
            let (make, alive) = (make.clone(), life.clone());
            let thread = thread::Builder::new()
                .name(format!("sterna-{}", worker.index))
                .spawn(move || {
                    let index = worker.index;
                    worker.run(move || make(index));
                    drop(alive);
                })
                .map_err(ServeError::Thread)?;
            running.threads.push(thread);
        }
        Ok(running)
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Threads of one worker for what waits: files that are not in memory, names, an application's own work. More of it
/// queues. Without a bound of ours a disk that stands still would grow 512 threads for each worker, and none of them
/// would make it any faster.
const BLOCKING_THREADS: usize = 16;

/// How many workers without a choice: what the scheduler lets this process use.
fn default_workers() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
