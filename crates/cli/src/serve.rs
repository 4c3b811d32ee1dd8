//! The life of a server process: bind, tell, serve, drain.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sterna_gateway::access_log::{self, Recorders, file};
use sterna_gateway::config::{self, Model};
use sterna_gateway::{AccessLog, Gateway, route};
use sterna_net::{Bound, Running, Server, Shutdown, server};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::certificate::Certificate;
use crate::error::Error;
use crate::limits;
use crate::listen::Listen;
use crate::logging::LogFormat;
use crate::plain::{self, Plain};
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

    /// Where plain HTTP is redirected to HTTPS, or `off`. Default: port 8080 beside 8443 and 80 beside
    /// 443, if it is free.
    #[arg(long, value_name = "ADDR|off")]
    http: Option<plain::Choice>,

    /// Write the access log to this file, in place of stdout. It begins anew each day and at 100 MiB; seven
    /// older ones are kept, as FILE.1 and so on.
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,

    /// Write no access log.
    #[arg(long, visible_alias = "quiet", conflicts_with = "access_log")]
    no_access_log: bool,

    /// How the access log and the log on stderr are written.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,

    /// The file of the access log as a configuration says it.
    #[arg(skip)]
    log_file: Option<file::Config>,
}

impl Args {
    /// With what the command line left open as a configuration says it.
    pub(crate) fn or(mut self, model: &Model) -> Self {
        if self.listen.is_empty() {
            self.listen.clone_from(&model.listen);
        }
        let workers = model.workers.and_then(|workers| u16::try_from(workers.get()).ok());
        self.workers = self.workers.or(workers);
        self.http = self.http.or_else(|| model.http.clone());
        let log = &model.access_log;
        self.no_access_log |= !log.0.enabled && self.access_log.is_none();
        self.log_file = log.file();
        if log.0.format == config::LogFormat::Json {
            self.log_format = LogFormat::Json;
        }
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
    let (key_log, secrets) = key_log();
    let tls = plan.certificate.tls.clone().key_log(key_log);
    let mut builder = Server::builder().tls(tls).config(plan.server);
    for listen in &args.listen {
        for address in listen.resolve()? {
            builder = builder.listen(address);
        }
    }
    if let Some(workers) = args.workers {
        builder = builder.workers(workers.into());
    }
    let bound = builder.bind()?;
    let (addresses, warnings) = (bound.addresses().to_vec(), bound.warnings().to_vec());
    let plain = Plain::bind(args.http.as_ref(), &addresses)?;
    let log = if args.no_access_log { None } else { Some(args.start_access_log()?) };
    let recorders = log.as_ref().map(AccessLog::recorders);
    let plain_addresses = plain.addresses();
    let https_port = addresses.first().map_or(443, SocketAddr::port);
    let mut servers = vec![start(bound, plan.routes, recorders.clone())?];
    if let Some(bound) = plain.bound {
        servers.push(start(bound, plain::routes(https_port), recorders)?);
    }
    drain_at_signal(servers.iter().map(Running::handle).collect())?;
    Started {
        what: &plan.what,
        listen: &args.listen,
        addresses: &addresses,
        plain: &plain_addresses,
        certificate: &plan.certificate,
        warnings: &[warnings, secrets].concat(),
        note: plain.note.as_deref(),
        begun,
    }
    .print();
    let ended: Vec<_> = servers.into_iter().map(Running::wait).collect();
    if let Some(log) = log {
        log.finish(LOG_PATIENCE);
    }
    Ok(ended.into_iter().collect::<Result<(), _>>()?)
}

impl Args {
    fn start_access_log(&self) -> Result<AccessLog, Error> {
        let format = match self.log_format {
            LogFormat::Text => access_log::Format::Text,
            LogFormat::Json => access_log::Format::Json,
        };
        let named = self.access_log.as_ref().map(file::Config::new);
        let log = match named.or_else(|| self.log_file.clone()) {
            None => AccessLog::start(format, std::io::stdout()),
            Some(config) => {
                let path = config.path.clone();
                let refused = |source| Error::AccessLogFile { path, source };
                let file = file::LogFile::open(config).map_err(refused)?;
                AccessLog::start(format, file)
            }
        };
        log.map_err(Error::AccessLog)
    }
}

fn start(
    bound: Bound,
    routes: Vec<route::Config>,
    recorders: Option<Recorders>,
) -> Result<Running, Error> {
    let config = sterna_gateway::Config { routes };
    let make =
        move |_worker| Gateway::new(&config, recorders.as_ref().map(|recorders| recorders.make()));
    Ok(bound.serve_with(make)?)
}

/// Whether the environment asks for the secrets of every connection, and what to tell about it.
fn key_log() -> (bool, Vec<String>) {
    let Some(file) = std::env::var_os("SSLKEYLOGFILE").filter(|file| !file.is_empty()) else {
        return (false, Vec::new());
    };
    let warning = format!(
        "SSLKEYLOGFILE is set: the secrets of EVERY connection are written to {}. Whoever reads that file reads all traffic",
        PathBuf::from(file).display()
    );
    (true, vec![warning])
}

/// Drains at the first SIGTERM or SIGINT; ends the process at the second.
fn drain_at_signal(servers: Vec<Shutdown>) -> Result<(), Error> {
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
                for server in &servers {
                    server.start(DRAIN);
                }
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
