//! An HTTP/3 load generator for the benchmarks. It shares no code with the server that it measures.
//!
//! One thread drives every connection on quinn-proto, each over a socket of its own, so that the load costs less than what
//! it loads. Requests are one canned field section; a response is checked to its last byte: `:status` 200, whole frames,
//! the size asked for. Every phase has a time limit, every failure is counted, and any failure makes the exit code 1.

use std::{error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};

use report::Report;

mod bare;
mod certificate;
mod get;
mod handshake;
mod held;
mod idle;
mod process;
mod report;
mod request;
mod response;
mod session;
mod transport;

/// Load an HTTP/3 server; the result is one JSON object on stdout.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Keep a number of requests in flight until all are answered.
    Get(get::Config),
    /// Open connections, send one request on each, then leave them alone.
    Idle(idle::Config),
    /// Open connections and close them as soon as they stand; nothing is resumed.
    Handshake(handshake::Config),
    /// Keep responses open on one connection by windows too small for them, then let them end.
    Held(held::Config),
    /// Measure handshakes and bulk without HTTP and QUIC: what no server can be cheaper than.
    Bare(bare::Config),
    /// Make a certificate for `localhost`, as `cert.pem` and `key.pem` of a directory.
    Certificate(certificate::Config),
}

/// What all commands of a load ask for.
#[derive(Args, Clone)]
struct Target {
    /// Address of the server.
    #[arg(long)]
    address: SocketAddr,
    /// Name for TLS and `:authority`; the certificate is not verified.
    #[arg(long, default_value = "localhost")]
    sni: String,
    /// Path to ask for.
    #[arg(long, default_value = "/1k.bin")]
    path: String,
    /// Bytes that each response body must have.
    #[arg(long)]
    size: u64,
    /// Connections, each on its own UDP port.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Seconds that connecting and each phase may take.
    #[arg(long, default_value = "60", value_parser = seconds)]
    timeout: Duration,
    /// Server process whose CPU time and memory are read at the borders of the measurement; may be given again.
    #[arg(long)]
    server_pid: Vec<u32>,
    /// Key exchange, the only one that is offered.
    #[arg(long, value_enum, default_value = "x25519")]
    group: Group,
}

/// A key exchange of TLS 1.3.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Group {
    X25519,
    /// With the post-quantum ML-KEM beside it.
    #[value(name = "x25519mlkem768")]
    X25519MlKem768,
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(report)) => {
            println!("{}", report.json());
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<Option<Report>, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    match command {
        Command::Get(config) => tasks.block_on(&runtime, get::run(config)).map(Some),
        Command::Idle(config) => tasks.block_on(&runtime, idle::run(config)).map(Some),
        Command::Handshake(config) => tasks.block_on(&runtime, handshake::run(config)).map(Some),
        Command::Held(config) => tasks.block_on(&runtime, held::run(config)).map(Some),
        Command::Bare(config) => {
            println!("{}", bare::run(config)?);
            Ok(None)
        }
        Command::Certificate(config) => certificate::write(config).map(|()| None),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
