//! Brings a link up, runs programs at its ends, and takes it down: `cargo xtask link`.

use std::error::Error;
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use sterna_diag::link::{Counters, Link, Loss, Settings, Share};
use tokio::signal::unix::{self, SignalKind};

const USAGE: &str = "\
usage: cargo xtask link [OPTION…] [--server COMMAND] [-- COMMAND…]

Joins two network namespaces, `a` and `b`, by a link with a delay, a rate, a queue and losses. Runs the server's command at `a`
(a shell reads it) and the one after `--` at `b`, and ends with the latter; without it, with Ctrl-C.

  --rtt TIME      delay there and back, such as `50ms`, the default
  --rate RATE     each way, such as `100mbit`, the default; units kbit, mbit, gbit
  --queue BYTES   what may wait at each end before the link drops; one bandwidth-delay product by default
  --loss SHARE    what is lost by chance, each way, such as `1%`; nothing by default
  --burst N       loses so many packets in a row on average, and not each for itself
  --jitter TIME   each packet is later by up to this, and one may overtake another; none by default
  --ready PORT    starts the command after `--` when the server takes TCP connections on this port
  --seed N        decides what chance does, 0 by default: the same seed does the same to the same packets
  --tcp NAME      TCP's congestion control at both ends, such as `cubic`; the machine's default otherwise

Needs root, or a kernel where users may make namespaces and /dev/net/tun is open to all.
";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(options) = Options::parse(&arguments)? else {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(drive(&options))
}

async fn drive(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    // First of all: from here on no signal ends this process and leaves its children behind. They are handled, not blocked,
    // for what is blocked would be blocked in every program that is started.
    let mut signals = Signals::new()?;
    let link = Link::up(&options.settings)?;
    introduce(&link, &options.settings);
    let outcome = run_programs(options, &link, &mut signals).await;
    link.clear(PATIENCE)?;
    account("a to b", link.a_to_b());
    account("b to a", link.b_to_a());
    outcome
}

/// Until the client ends, or the server before it, or somebody asks.
async fn run_programs(
    options: &Options,
    link: &Link,
    signals: &mut Signals,
) -> Result<ExitCode, Box<dyn Error>> {
    let mut running = Running::default();
    if let Some(command) = &options.server {
        running.server = Some(link.a().spawn(&mut shell(command, link))?);
    }
    let until = Instant::now() + PATIENCE_WITH_SERVERS;
    while options.ready.is_some_and(|port| !is_ready(link, port)) {
        tokio::select! {
            asked = signals.next() => {
                if let Some(code) = running.over(asked)? {
                    return Ok(code);
                }
            }
            () = tokio::time::sleep(LOOK) => {}
        }
        if Instant::now() > until {
            return Err("the server does not take connections on the port of `--ready`".into());
        }
    }
    if let Some((program, arguments)) = options.client.split_first() {
        let mut command = Command::new(program);
        running.client = Some(link.b().spawn(describe(command.args(arguments), link))?);
    }
    // First the children: one may have ended before.
    let mut asked = None;
    loop {
        if let Some(code) = running.over(asked)? {
            return Ok(code);
        }
        asked = signals.next().await;
    }
}

fn is_ready(link: &Link, port: u16) -> bool {
    let address = (link.a().address(), port).into();
    let connected = link.b().enter(|| TcpStream::connect_timeout(&address, CONNECTING));
    connected.is_ok_and(|connected| connected.is_ok())
}

fn shell(line: &str, link: &Link) -> Command {
    let mut command = Command::new("sh");
    describe(command.arg("-c").arg(format!("exec {line}")), link);
    command
}

/// Tells a program the addresses.
fn describe<'a>(command: &'a mut Command, link: &Link) -> &'a mut Command {
    command
        .env("LINK_A", link.a().address().to_string())
        .env("LINK_B", link.b().address().to_string())
}

fn introduce(link: &Link, settings: &Settings) {
    let Settings { round_trip, rate, queue, loss, jitter, seed, tcp_congestion } = settings;
    let tcp = tcp_congestion.as_deref().unwrap_or("by default");
    eprintln!(
        "link: {round_trip:?} there and back, {rate} each way, queues of {queue} bytes, TCP {tcp}"
    );
    if *loss != Loss::None || !jitter.is_zero() {
        eprintln!("  by chance: {loss}, up to {jitter:?} late, seed {seed}");
    }
    for (name, end) in [("a", link.a()), ("b", link.b())] {
        eprintln!("  {name}  {}  nsenter --net={} COMMAND", end.address(), end.namespace());
    }
}

fn account(direction: &str, counters: Counters) {
    let Counters { accepted, dropped, lost } = counters;
    eprintln!("link: {direction}: {accepted} packets, {dropped} dropped by the queue, {lost} lost");
}

/// What this process is told from outside.
struct Signals {
    child: unix::Signal,
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hang_up: unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            child: unix::signal(SignalKind::child())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hang_up: unix::signal(SignalKind::hangup())?,
        })
    }

    /// The next one: a child has ended (`None`), or this signal asks for the end.
    async fn next(&mut self) -> Option<SignalKind> {
        tokio::select! {
            _ = self.child.recv() => None,
            _ = self.interrupt.recv() => Some(SignalKind::interrupt()),
            _ = self.terminate.recv() => Some(SignalKind::terminate()),
            _ = self.hang_up.recv() => Some(SignalKind::hangup()),
        }
    }
}

/// The programs at the ends.
#[derive(Default)]
struct Running {
    server: Option<Child>,
    client: Option<Child>,
}

impl Running {
    /// The exit code, when it is over: one signal may stand for several children.
    fn over(&mut self, asked: Option<SignalKind>) -> Result<Option<ExitCode>, Box<dyn Error>> {
        if let Some(status) = ended(&mut self.client)? {
            return Ok(Some(exit_code(status)));
        }
        if let Some(status) = ended(&mut self.server)? {
            return Err(format!("the server ended: {status}").into());
        }
        let code = |asked: SignalKind| u8::try_from(128 + asked.as_raw_value()).unwrap_or(1);
        Ok(asked.map(|asked| ExitCode::from(code(asked))))
    }
}

fn ended(child: &mut Option<Child>) -> std::io::Result<Option<ExitStatus>> {
    child.as_mut().map_or(Ok(None), Child::try_wait)
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// How long a program may take to end when it is asked.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a server may take to start, how often it is tried, and how long one try may take.
const PATIENCE_WITH_SERVERS: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);
const CONNECTING: Duration = Duration::from_secs(2);

struct Options {
    settings: Settings,
    server: Option<String>,
    ready: Option<u16>,
    client: Vec<String>,
}

impl Options {
    /// `None` asks for help.
    fn parse(arguments: &[String]) -> Result<Option<Self>, Box<dyn Error>> {
        let mut round_trip = Duration::from_millis(50);
        let mut rate = "100mbit".parse()?;
        let (mut queue, mut tcp_congestion, mut server, mut ready) = (None, None, None, None);
        let (mut share, mut burst) = (Share::NONE, None);
        let (mut jitter, mut seed) = (Duration::ZERO, 0);
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("`{argument}` takes a value"));
            match argument.as_str() {
                "--rtt" => round_trip = duration(value()?)?,
                "--rate" => rate = value()?.parse()?,
                "--queue" => queue = Some(value()?.parse().map_err(|_| "`--queue` takes bytes")?),
                "--loss" => share = value()?.parse()?,
                "--burst" => {
                    let mean =
                        value()?.parse().map_err(|_| "`--burst` takes a number from 1 on")?;
                    burst = Some(mean);
                }
                "--jitter" => jitter = duration(value()?)?,
                "--seed" => seed = value()?.parse().map_err(|_| "`--seed` takes a number")?,
                "--tcp" => tcp_congestion = Some(value()?.clone()),
                "--ready" => {
                    ready = Some(value()?.parse().map_err(|_| "`--ready` takes a port")?);
                }
                "--server" => server = Some(value()?.clone()),
                "--" => break,
                "help" | "--help" | "-h" => return Ok(None),
                unknown => return Err(format!("`{unknown}` is not an option\n\n{USAGE}").into()),
            }
        }
        let loss = match burst {
            None => Loss::random(share),
            Some(mean) => {
                Loss::bursts(share, mean).ok_or("such bursts do not add up to `--loss`")?
            }
        };
        let settings = Settings::new(round_trip, rate);
        let mut settings = Settings { loss, jitter, seed, tcp_congestion, ..settings };
        settings.queue = queue.unwrap_or(settings.queue);
        Ok(Some(Self { settings, server, ready, client: arguments.cloned().collect() }))
    }
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, Duration::from_millis(1)),
        None => (text.strip_suffix('s').unwrap_or(""), Duration::from_secs(1)),
    };
    let number: u16 =
        number.parse().map_err(|_| "a time is a whole number and `ms` or `s`, such as `50ms`")?;
    Ok(unit * u32::from(number))
}
