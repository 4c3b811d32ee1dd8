//! Brings a link up, runs programs at its ends, and takes it down: `cargo xtask link`.

use std::error::Error;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use sterna_diag::link::{Counters, Link, Loss, Settings, Share};

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
    // Before any other thread starts, so that all inherit it: signals are then taken by `wait` alone.
    let signals: SigSet = [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    signals.thread_block()?;

    let link = Link::up(&options.settings)?;
    introduce(&link, &options.settings);
    let mut running = Running::default();
    if let Some(command) = &options.server {
        running.server = Some(link.a().spawn(&mut shell(command, &link))?);
    }
    if let Some((program, arguments)) = options.client.split_first() {
        let mut command = Command::new(program);
        running.client = Some(link.b().spawn(describe(command.args(arguments), &link))?);
    }
    let code = running.wait(&signals)?;
    drop(running);
    account("a to b", link.a_to_b());
    account("b to a", link.b_to_a());
    Ok(code)
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

/// Programs that end with this one.
#[derive(Default)]
struct Running {
    server: Option<Child>,
    client: Option<Child>,
}

impl Running {
    /// Until the client ends, or the server before it, or somebody asks.
    fn wait(&mut self, signals: &SigSet) -> Result<ExitCode, Box<dyn Error>> {
        loop {
            // First the children: one signal may stand for several of them, and one may have ended before.
            if let Some(status) = ended(&mut self.client)? {
                return Ok(exit_code(status));
            }
            if let Some(status) = ended(&mut self.server)? {
                return Err(format!("the server ended: {status}").into());
            }
            match signals.wait() {
                Ok(Signal::SIGCHLD) | Err(Errno::EINTR) => {}
                Ok(signal) => return Ok(ExitCode::from(128 + signal as u8)),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in [&mut self.client, &mut self.server].into_iter().flatten() {
            end(child);
        }
    }
}

fn ended(child: &mut Option<Child>) -> std::io::Result<Option<ExitStatus>> {
    child.as_mut().map_or(Ok(None), Child::try_wait)
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Asks, waits a while, and insists.
fn end(child: &mut Child) {
    let deadline = Instant::now() + PATIENCE;
    let asked = i32::try_from(child.id()).map(|id| kill(Pid::from_raw(id), Signal::SIGTERM));
    while asked == Ok(Ok(())) && Instant::now() < deadline {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            _ => return,
        }
    }
    // Both fail only when it has ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

const PATIENCE: Duration = Duration::from_secs(3);

struct Options {
    settings: Settings,
    server: Option<String>,
    client: Vec<String>,
}

impl Options {
    /// `None` asks for help.
    fn parse(arguments: &[String]) -> Result<Option<Self>, Box<dyn Error>> {
        let mut round_trip = Duration::from_millis(50);
        let mut rate = "100mbit".parse()?;
        let (mut queue, mut tcp_congestion, mut server) = (None, None, None);
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
        Ok(Some(Self { settings, server, client: arguments.cloned().collect() }))
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
