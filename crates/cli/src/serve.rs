//! The life of a server process: bind, tell, serve, drain.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sterna_gateway::config::Model;
use sterna_gateway::{AccessLog, Gateway, route};
use sterna_net::{Server, Shutdown, server};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::certificate::Certificate;
use crate::error::Error;
use crate::limits;
use crate::listen::Listen;
use crate::report::{self, Started};

/// Arguments of every verb that serves.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Where to listen, with TCP and UDP; may be given several times. `:PORT` is every address of the
    /// machine. Default: what the configuration says, else `localhost:8443`.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<Listen>,

    /// How many workers, each with a thread and sockets of its own. Default: one for each core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,

    /// Write no access log on stdout.
    #[arg(long, visible_alias = "quiet")]
    no_access_log: bool,
}

impl Args {
    /// With what the command line left open as a configuration says it.
    pub(crate) fn or(mut self, model: &Model) -> Self {
        if self.listen.is_empty() {
            self.listen.clone_from(&model.listen);
        }
        let workers = model.workers.and_then(|workers| u16::try_from(workers.get()).ok());
        self.workers = self.workers.or(workers);
        self.no_access_log |= !model.access_log;
        self
    }

    /// With what the command line left open as it is without a configuration.
    pub(crate) fn or_default(mut self) -> Self {
        if self.listen.is_empty() {
            self.listen.push(Listen::default());
        }
        self
    }
}

/// What to serve.
#[derive(Debug)]
pub(crate) struct Plan {
    /// For people.
    pub(crate) what: String,
    pub(crate) certificate: Certificate,
    pub(crate) routes: Vec<route::Config>,
    pub(crate) server: server::Config,
}

/// Serves until a signal, then drains. Everything that can be refused is refused before anything is
/// started.
pub(crate) fn serve(args: &Args, plan: Plan, begun: Instant) -> Result<(), Error> {
    limits::raise_open_files();
    let mut builder = Server::builder().tls(plan.certificate.tls.clone()).config(plan.server);
    for listen in &args.listen {
        for address in listen.resolve()? {
            builder = builder.listen(address);
        }
    }
    if let Some(workers) = args.workers {
        builder = builder.workers(workers.into());
    }
    let bound = builder.bind()?;
    let log = if args.no_access_log { None } else { Some(access_log()?) };
    let (addresses, warnings) = (bound.addresses().to_vec(), bound.warnings().to_vec());
    let config = sterna_gateway::Config { routes: plan.routes };
    let recorders = log.as_ref().map(AccessLog::recorders);
    let running = bound.serve_with(move |_worker| {
        Gateway::new(&config, recorders.as_ref().map(|recorders| recorders.make()))
    })?;
    drain_at_signal(running.handle())?;
    Started {
        what: &plan.what,
        listen: &args.listen,
        addresses: &addresses,
        certificate: &plan.certificate,
        warnings: &warnings,
        begun,
    }
    .print();
    let ended = running.wait();
    if let Some(log) = log {
        log.finish(LOG_PATIENCE);
    }
    Ok(ended?)
}

fn access_log() -> Result<AccessLog, Error> {
    AccessLog::start(std::io::stdout()).map_err(Error::AccessLog)
}

/// Drains at the first SIGTERM or SIGINT; ends the process at the second.
fn drain_at_signal(shutdown: Shutdown) -> Result<(), Error> {
    let (watching, watched) = mpsc::channel();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(watching.send(Err(error))),
            };
            runtime.block_on(async {
                let mut signals = match Signals::watch() {
                    Ok(signals) => signals,
                    Err(error) => return drop(watching.send(Err(error))),
                };
                let _ = watching.send(Ok(()));
                signals.next().await;
                report::say(&format!(
                    "draining for up to {} s; once more ends at once",
                    DRAIN.as_secs()
                ));
                shutdown.start(DRAIN);
                std::process::exit(128 + signals.next().await);
            });
        })
        .map_err(Error::Signals)?;
    match watched.recv() {
        Ok(watching) => watching.map_err(Error::Signals),
        Err(mpsc::RecvError) => Err(Error::Signals(std::io::ErrorKind::BrokenPipe.into())),
    }
}

/// The signals that end a server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn watch() -> std::io::Result<Self> {
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        Ok(Self { terminate: signal(terminate)?, interrupt: signal(interrupt)? })
    }

    /// The number of the next one.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        }
    }
}

/// How long requests may still run after the first signal.
const DRAIN: Duration = Duration::from_secs(30);

/// How long the end waits for whoever reads the access log.
const LOG_PATIENCE: Duration = Duration::from_secs(1);
