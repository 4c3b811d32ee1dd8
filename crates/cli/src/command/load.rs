//! `sterna load`: load a server, and tell how it took it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use sterna_diag::load::{
    Arrivals, Baseline, Body, Events, Mode, Outcome, Pace, Plan, Request, RunError, Target,
    TargetError, Threshold, Trust, Version, Work,
};
use sterna_gateway::config::{ByteSize, Span};

use self::line::Line;
use crate::error::Error;
use crate::{limits, report};

mod interrupt;
mod line;
mod value;

/// Arguments of `load`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// What to ask for, such as https://localhost:8443/.
    #[arg(value_name = "URL")]
    url: String,

    /// A usual measurement; options that are given count before what it stands for.
    #[arg(long, value_enum, value_name = "NAME")]
    preset: Option<Preset>,

    /// Connections at once. Default: 1.
    #[arg(short, long, value_name = "N", value_parser = value::connections)]
    connections: Option<NonZeroUsize>,

    /// Requests at once on each connection. Default: 1. For HTTP/1.1 more than one is pipelining.
    #[arg(short = 'm', long, value_name = "N", value_parser = value::streams)]
    streams: Option<NonZeroUsize>,

    /// End after so many requests (handshakes with `--preset hps`).
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "duration")]
    requests: Option<NonZeroU64>,

    /// End after this time, such as `30s`. Default: 10 s.
    #[arg(short, long, value_name = "TIME")]
    duration: Option<Span>,

    /// Send so many requests per second whatever becomes of earlier ones (open loop), and measure from when each was due.
    #[arg(long, value_name = "PER_SECOND", value_parser = value::rate)]
    rate: Option<f64>,

    /// How the requests of `--rate` are spread over time.
    #[arg(long, value_enum, default_value = "const", requires = "rate", value_name = "HOW")]
    arrivals: Spread,

    /// Time at the beginning that is not measured.
    #[arg(long, value_name = "TIME", default_value = "0s")]
    warmup: Span,

    /// HTTP/1.1 over TCP. The default for `http://` URLs.
    #[arg(long = "http1.1", group = "version")]
    http1: bool,

    /// HTTP/2 over TCP.
    #[arg(long, group = "version")]
    http2: bool,

    /// HTTP/3. The default for `https://` URLs.
    #[arg(long, group = "version")]
    http3: bool,

    /// Believe any certificate.
    #[arg(short = 'k', long, conflicts_with = "cacert")]
    insecure: bool,

    /// Believe the authorities in this file (PEM) instead of the system's.
    #[arg(long, value_name = "FILE")]
    cacert: Vec<PathBuf>,

    /// Connect to this host and port instead of the URL's.
    #[arg(long, value_name = "HOST:PORT")]
    connect_to: Option<String>,

    /// Replace each connection after so many requests.
    #[arg(long, value_name = "N")]
    reconnect: Option<NonZeroU64>,

    /// Send requests in 0-RTT packets where an earlier connection allows it; with `--reconnect`, on HTTP/3. Only for methods
    /// that change nothing, for anyone on the way may replay them.
    #[arg(long = "0rtt")]
    early_data: bool,

    /// The responses are streams of server-sent events: measure those.
    #[arg(long)]
    sse: bool,

    /// A pause of a stream of events that counts as a stall.
    #[arg(long, value_name = "TIME", default_value = "1s", requires = "sse")]
    stall: Span,

    /// Decode every response in full and check it, content-length included, instead of counting its bytes.
    #[arg(long)]
    verify: bool,

    /// Method.
    #[arg(short = 'X', long, value_name = "METHOD")]
    method: Option<http::Method>,

    /// A field of each request, such as `accept: text/html`.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = value::field)]
    headers: Vec<(String, String)>,

    /// Content of each request; `@FILE` reads it from a file. The method is POST then unless it is given.
    #[arg(long, value_name = "TEXT", conflicts_with = "data_size")]
    data: Option<String>,

    /// Content of each request: so many zero bytes, such as `1MiB`.
    #[arg(long, value_name = "SIZE")]
    data_size: Option<ByteSize>,

    /// Threads. Default: 1.
    #[arg(long, value_name = "N", visible_alias = "threads")]
    workers: Option<NonZeroUsize>,

    /// UDP sockets of each thread at most; connections beyond share them.
    #[arg(long, value_name = "N", default_value = "64")]
    sockets: NonZeroUsize,

    /// Time that connecting may take, TLS included.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    connect_timeout: Span,

    /// Time that a request may take from when it was sent.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    timeout: Span,

    /// Conditions of the run, such as `p99<20ms,errors<0.1%,rate>1000`; exit code 1 if one is missed.
    #[arg(long, value_name = "CONDITIONS", value_parser = Threshold::list)]
    threshold: Vec<Vec<Threshold>>,

    /// Compare with an earlier report (of `--json`); exit code 1 if rate, median, p99 or errors are worse.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,

    /// How much worse than the baseline is no worse, such as `10%`.
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = value::percent, requires = "baseline")]
    max_regression: f64,

    /// Print the report as JSON on stdout.
    #[arg(long)]
    json: bool,

    /// Write the percentiles to this file, in the text form of HdrHistogram.
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
}

/// Usual measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Preset {
    /// Handshakes per second: each connection is closed as soon as it stands. 10 at once.
    Hps,
    /// Requests per second: 10 connections with 32 requests at once on each.
    Rps,
    /// Latency of one request at a time on one connection.
    Latency,
    /// Content sent per second: POST of 10 MiB, one at a time on one connection.
    Upload,
    /// Content received per second: one response at a time on one connection.
    Download,
}

/// How requests are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Spread {
    /// At equal distances.
    Const,
    /// As a Poisson process.
    Poisson,
}

/// Why a load could not be made, or what it found wanting.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("cannot read {}", path.display())]
    Data { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Hgrm { path: PathBuf, source: io::Error },
    #[error("cannot compare with {}", path.display())]
    Baseline { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("nothing succeeded")]
    Futile,
    #[error("{} missed", report::counted(*.0, "condition"))]
    Missed(usize),
    #[error(
        "`{0}` changes something, so that it must not be sent in 0-RTT packets: anyone may replay them"
    )]
    Unsafe(http::Method),
    #[error("{0} is not spoken in plain http: use an https URL, or --http1.1 or --http2")]
    Plain(&'static str),
    #[error("interrupted")]
    Interrupted,
}

impl Args {
    pub(crate) fn run(self) -> Result<(), Error> {
        limits::raise_open_files();
        let plan = self.plan()?;
        let baseline = self.baseline()?;
        let interrupted = interrupt::watch()?;
        let mut line = Line::new(!self.json);
        let outcome = sterna_diag::load::run(plan, &interrupted, &mut |at| line.show(at));
        line.clear();
        let mut outcome = outcome.map_err(LoadError::Run)?;
        let thresholds: Vec<_> = self.threshold.iter().flatten().cloned().collect();
        outcome.judge(&thresholds);
        if let Some(baseline) = &baseline {
            outcome.compare_with(baseline, self.max_regression);
        }
        self.write(&outcome)?;
        if outcome.is_interrupted {
            return Err(LoadError::Interrupted.into());
        }
        if outcome.is_futile() {
            return Err(LoadError::Futile.into());
        }
        let missed = outcome.verdicts.iter().filter(|verdict| !verdict.is_kept).count();
        if missed > 0 {
            return Err(LoadError::Missed(missed).into());
        }
        Ok(())
    }

    fn plan(&self) -> Result<Plan, LoadError> {
        let target = Target::resolve(&self.url, self.connect_to.as_deref())?;
        let preset = self.preset;
        let work = match (self.requests, self.duration) {
            (Some(count), _) => Work::Requests(count.get()),
            (None, Some(Span(time))) => Work::Time(time),
            (None, None) => Work::Time(DURATION),
        };
        let (connections, streams) = match preset {
            Some(Preset::Hps) => (10, 1),
            Some(Preset::Rps) => (10, 32),
            Some(Preset::Latency | Preset::Upload | Preset::Download) | None => (1, 1),
        };
        let body = self.body()?;
        let has_body = !body.is_empty();
        let method = if has_body { http::Method::POST } else { http::Method::GET };
        let version = match (self.http1, self.http2, self.http3) {
            (true, ..) => Version::Http1,
            (_, true, _) => Version::Http2,
            (_, _, true) => Version::Http3,
            _ if target.is_secure => Version::Http3,
            _ => Version::Http1,
        };
        if version == Version::Http3 && !target.is_secure {
            return Err(LoadError::Plain(version.name()));
        }
        let method = self.method.clone().unwrap_or(method);
        if self.early_data && !method.is_safe() {
            return Err(LoadError::Unsafe(method));
        }
        let headers = self.headers.iter().cloned();
        let accept = self.sse.then(|| ("accept".to_owned(), "text/event-stream".to_owned()));
        let is_given = self.headers.iter().any(|(name, _)| name == "accept");
        let arrivals = match self.arrivals {
            Spread::Const => Arrivals::Constant,
            Spread::Poisson => Arrivals::Poisson,
        };
        Ok(Plan {
            version,
            request: Request {
                method,
                headers: headers.chain(accept.filter(|_| !is_given)).collect(),
                body,
            },
            mode: match (self.sse, preset) {
                (true, _) => Mode::Events(Events { stall: self.stall.0 }),
                (false, Some(Preset::Hps)) => Mode::Handshakes,
                (false, _) => Mode::Requests,
            },
            connections: self.connections.map_or(connections, NonZeroUsize::get),
            streams: self.streams.map_or(streams, NonZeroUsize::get),
            pace: self.rate.map(|per_second| Pace { per_second, arrivals }),
            warmup: self.warmup.0,
            workers: self.workers.map_or(1, NonZeroUsize::get),
            sockets: self.sockets.get(),
            reconnect: self.reconnect.map(NonZeroU64::get),
            verify: self.verify,
            early_data: self.early_data,
            trust: match (self.insecure, self.cacert.is_empty()) {
                (true, _) => Trust::Anyone,
                (false, true) => Trust::System,
                (false, false) => Trust::Files(self.cacert.clone()),
            },
            handshake_timeout: self.connect_timeout.0,
            request_timeout: self.timeout.0,
            ..Plan::new(target, work)
        })
    }

    /// Read before the run, which would be for nothing if it cannot be compared.
    fn baseline(&self) -> Result<Option<Baseline>, LoadError> {
        let Some(path) = &self.baseline else { return Ok(None) };
        let refused = |source| LoadError::Baseline { path: path.clone(), source };
        let text = fs::read(path).map_err(|error| refused(error.into()))?;
        let report = serde_json::from_slice(&text).map_err(|error| refused(error.into()))?;
        let baseline = Baseline::of_json(report).map_err(|error| refused(error.into()))?;
        Ok(Some(baseline))
    }

    fn body(&self) -> Result<Body, LoadError> {
        match (&self.data, self.data_size) {
            (Some(data), _) => match data.strip_prefix('@') {
                Some(path) => {
                    let read = |source| LoadError::Data { path: path.into(), source };
                    Ok(Body::of(fs::read(path).map_err(read)?))
                }
                None => Ok(Body::of(data.clone())),
            },
            (None, Some(ByteSize(size))) => Ok(Body::zeros(size)),
            (None, None) if self.preset == Some(Preset::Upload) => Ok(Body::zeros(UPLOAD)),
            (None, None) => Ok(Body::default()),
        }
    }

    fn write(&self, outcome: &Outcome) -> Result<(), Error> {
        if let Some(path) = &self.hgrm {
            let refused = |source| LoadError::Hgrm { path: path.clone(), source };
            let mut file = BufWriter::new(File::create(path).map_err(refused)?);
            outcome.latency().write_hgrm(&mut file).map_err(refused)?;
            file.flush().map_err(refused)?;
        }
        if self.json {
            report::print(&format!("{:#}", outcome.to_json())).map_err(Error::Output)
        } else {
            report::print(&outcome.summary()).map_err(Error::Output)
        }
    }
}

/// Of a run that names no end.
const DURATION: std::time::Duration = std::time::Duration::from_secs(10);

/// Content of each request of the preset `upload`, in bytes.
const UPLOAD: u64 = 10 << 20;

/// The exit code of a run that was interrupted: 128 and the number of SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;
