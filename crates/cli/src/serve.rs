//! The life of a server process: bind, tell, serve, end. What happens between is [`Operation`]'s.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sterna_gateway::Shared;
use sterna_gateway::access_log::{self, file};
use sterna_gateway::config::{self, AdminPlace, LogFilter, Model};
use sterna_gateway::middleware::{self, early_data};
use sterna_net::{Running, Server, ServerTls, server};

use crate::acme::{self, Acme};
use crate::admin::Interface;
use crate::certificate::Certificate;
use crate::error::Error;
use crate::limits;
use crate::listen::Listen;
use crate::logging::LogFormat;
use crate::operation::{Facts, Log, Operation, Planner, Reloader, Site, renewal};
use crate::plain::{self, Plain};
use crate::report::{self, Started};
use crate::{logging, quic_secret, signals, tickets, watch};

/// Arguments of every verb that serves.
#[derive(Clone, Debug, clap::Args)]
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

    /// Where the operator's interface is: `unix:PATH`, an address and a port, or `off`. Default: a socket in
    /// `$XDG_RUNTIME_DIR/sterna` or `/run/sterna`, named by the port.
    #[arg(long, value_name = "PLACE")]
    admin: Option<AdminPlace>,

    /// What its requests must show.
    #[arg(skip)]
    admin_token: Option<String>,

    /// What the process logs, as a configuration says it.
    #[arg(skip)]
    log: Option<LogFilter>,

    /// What is in a line of the access log, as a configuration says it.
    #[arg(skip)]
    log_layout: Option<config::AccessLog>,

    /// The file of the access log as a configuration says it.
    #[arg(skip)]
    log_file: Option<file::Config>,

    /// Where a configuration wants the secrets of connections.
    #[arg(skip)]
    key_log: Option<PathBuf>,
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
        self.log_layout = Some(log.clone());
        self.log.clone_from(&model.log);
        self.admin = self.admin.or_else(|| model.admin.listen.clone());
        self.admin_token = model.admin.secret().map(str::to_owned);
        self.key_log = model.key_log.as_ref().map(|file| file.0.clone());
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
    /// A host that is served, where that of the place to listen is not.
    pub(crate) host: Option<String>,
    pub(crate) certificate: Certificate,
    pub(crate) gateway: sterna_gateway::Config,
    pub(crate) server: server::Config,
    /// What is wanted of an authority.
    pub(crate) acme: Option<acme::Settings>,
    /// The configuration, where there is one.
    pub(crate) model: Option<Model>,
    /// What was read for it.
    pub(crate) files: Vec<PathBuf>,
}

impl Plan {
    /// Takes early data as a configuration does that says nothing of it.
    pub(crate) fn with_early_data(mut self) -> Self {
        self.server.early_data = true;
        let mode = early_data::Mode::default();
        for route in &mut self.gateway.routes {
            let config = early_data::Config { mode, tells: false };
            route.middleware.insert(0, middleware::Config::EarlyData(config));
        }
        self
    }
}

/// Serves until a signal, then drains. Everything that can be refused is refused before anything is
/// started.
pub(crate) fn serve(planner: Planner, watch: bool, begun: Instant) -> Result<(), Error> {
    limits::raise_open_files();
    let (args, plan) = (planner.anew)()?;
    logging::configure(args.log())?;
    let acme = Acme::default();
    acme.follow(acme.prepare(plan.acme.clone()));
    let (tls, secrets) = key_log(acme.tls(&plan.certificate), args.key_log.as_deref())?;
    let mut builder = Server::builder().tls(tls).config(plan.server.clone());
    builder = builder.quic_secret(quic_secret::open());
    builder = builder.tickets(tickets::open());
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
    let plain = Plain::bind(args.http.as_ref(), &addresses, &plan.server)?;
    let (log, recorders) = Log::start(&args)?;
    let plain_addresses = plain.addresses();
    let https_port = addresses.first().map_or(443, SocketAddr::port);
    let (shared, site) = (Shared::default(), Site::new(plan.gateway.clone(), recorders.clone()));
    let mut servers = vec![site.start(bound, &shared)?];
    let mut sites = vec![(site, servers[0].control())];
    if let Some(bound) = plain.bound {
        // Whom proxies speak for is the same there.
        let client = plan.gateway.client.clone();
        let site =
            Site::new(plain::config(https_port, client, acme.answers.tokens.clone()), recorders);
        servers.push(site.start(bound, &shared)?);
        sites.push((site, servers[1].control()));
    }
    let started = Started {
        what: &plan.what,
        host: plan.host.as_deref(),
        listen: &args.listen,
        addresses: &addresses,
        plain: &plain_addresses,
        certificate: &plan.certificate,
        warnings: &[warnings, secrets, acme.missing()].concat(),
        note: plain.note.as_deref(),
    }
    .text();
    let interface = Interface::bind(&args, &addresses)?;
    let plain = plain_addresses.clone();
    let facts = Facts { addresses: addresses.clone(), plain, shared, acme };
    let operation = Operation::new(planner, args, plan, sites, log, facts);
    let operation = Arc::new(operation);
    operation.facts.acme.attach(&operation);
    let (interface, note) = interface.serve(&operation)?;
    let reloader = Reloader::start(operation.clone())?;
    signals::heed(&operation, &reloader)?;
    renewal::start(&operation)?;
    if watch {
        watch::start(&operation, &reloader)?;
    }
    report::ready(&format!("{started}\n{note}"), begun);
    let ended: Vec<_> = servers.into_iter().map(Running::wait).collect();
    operation.finish();
    if let Some(interface) = interface {
        // Whoever asked for the end wants to hear of it.
        interface.finish(LAST_ANSWERS);
    }
    Ok(ended.into_iter().collect::<Result<(), _>>()?)
}

impl Args {
    /// How lines of the access log look.
    pub(crate) fn access_log_layout(&self) -> access_log::Layout {
        let format = match self.log_format {
            LogFormat::Text => access_log::Format::Text,
            LogFormat::Json => access_log::Format::Json,
        };
        self.log_layout.as_ref().map_or(format.into(), |log| log.layout(format))
    }

    /// Where the operator's interface is to be, and what its requests must show.
    pub(crate) fn admin(&self) -> (Option<&AdminPlace>, Option<&str>) {
        (self.admin.as_ref(), self.admin_token.as_deref())
    }

    /// What the process logs, if a configuration says it.
    pub(crate) fn log(&self) -> Option<&str> {
        self.log.as_ref().map(LogFilter::as_str)
    }

    /// Where they go: `None` for nowhere, and a file or stdout.
    pub(crate) fn access_log(&self) -> Option<Option<file::Config>> {
        let named = self.access_log.as_ref().map(file::Config::new);
        (!self.no_access_log).then(|| named.or_else(|| self.log_file.clone()))
    }

    /// What of `self` cannot become that of `next` while the server runs.
    pub(crate) fn needs_restart(&self, next: &Self) -> Vec<&'static str> {
        let different = [
            ("listen", self.listen != next.listen),
            ("workers", self.workers != next.workers),
            ("http", self.http != next.http),
            ("key_log", self.key_log != next.key_log),
            ("admin", self.admin() != next.admin()),
        ];
        different.iter().filter(|(_, is)| *is).map(|(key, _)| *key).collect()
    }
}

/// With the secrets of connections written where the environment or else the configuration says, and what to tell about it.
fn key_log(tls: ServerTls, configured: Option<&Path>) -> Result<(ServerTls, Vec<String>), Error> {
    let of_environment = std::env::var_os("SSLKEYLOGFILE").filter(|file| !file.is_empty());
    let (tls, who, path) = match (of_environment.map(PathBuf::from), configured) {
        (Some(path), _) => (tls.key_log(true), "SSLKEYLOGFILE", path),
        (None, Some(path)) => {
            let mut options = fs::OpenOptions::new();
            let file = options.append(true).create(true).mode(0o600).open(path);
            let refused = |source| Error::KeyLog { path: path.to_owned(), source };
            (tls.key_log_to(file.map_err(refused)?), "key_log", path.to_owned())
        }
        (None, None) => return Ok((tls, Vec::new())),
    };
    let warning = format!(
        "{who} is set: the secrets of EVERY connection are written to {}. Whoever reads that file reads all traffic",
        path.display()
    );
    Ok((tls, vec![warning]))
}

/// How long answers of the operator's interface may take at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
