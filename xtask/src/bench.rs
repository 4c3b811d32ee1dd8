//! `cargo xtask bench`: Sterna beside its peers on the same work, the same cores, in the same run.
//!
//! A number counts only as a ratio: the machine is noisy, so the contenders take turns (A B A B) and the table shows
//! medians. The server has one worker on core 0, the load has core 1, and what is compared is what the kernel charged
//! to the server: a rate would measure the slower of the two. A fresh server is started for each sample.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use case::{Case, Sample};
use contender::Setting;
use load::{Failure, Loader};
use options::Options;
use stage::{Entry, Stage};
use table::{Measured, Row};

mod case;
mod contender;
mod cost;
mod cross;
mod floor;
mod load;
mod options;
mod peer;
mod process;
mod proxy;
mod server;
mod stage;
mod table;

const USAGE: &str = "\
usage: cargo xtask bench [CASE…] [--peer NAME]… [--rounds N] [--load NAME] [--this PROGRAM] [--no-build]
       cargo xtask bench peers
       cargo xtask bench cross-check [CASE…] [--peer NAME]… [--rounds N]
       cargo xtask bench cost [--bless]
       cargo xtask bench --guard

  h3-small      CPU seconds per 100,000 requests of 1 KiB, 10 connections × 32 and × 100 streams
  h3-bulk       CPU seconds per GiB over one connection, in files of 64 MiB
  h3-handshake  CPU milliseconds per full handshake, by X25519 and by X25519MLKEM768
  h2-small      as h3-small by HTTP/2, 10 connections × 32 streams
  h1-small      as h3-small by HTTP/1.1, 32 connections
  h3-streams    10,000 streams of one connection: requests, the same by HTTP/2, and KiB per stream that is held open
  h3-workers    two workers beside one
  h3-idle       KiB of resident memory per idle connection, at 1,000
  all           all of these; the default
  proxy         CPU seconds of the proxy per 100,000 requests of 1 KiB, and per GiB in answers of 1 MiB: by HTTP/3, HTTP/2
                and HTTP/1.1 to a backend by HTTP/1.1; what it adds to the 99th percentile at half of that rate
  h3-idle-10000 the same at 10,000
  h3-curve      small and idle at 1 to 1,000 connections: the cost of each should stay the same; draws curve.svg
  link, early, start  alone: HTTP/3 beside HTTP/2 over a round trip; the first byte with 0-RTT and without; start to first
                byte; each with its own `--help`

  peers         builds the peers and tells which there are
  cross-check   whether another load ranks the contenders alike
  cost, --guard instructions of hot functions, by callgrind; fails if one costs a twentieth more than in bench/cost.txt

  --peer NAME       only this one: nginx, h3+quinn, quic-go, caddy, h2o, haproxy; may be given again
  --rounds N        samples of each contender, 5 by default
  --load NAME       `foreign` shares no code with Sterna and is the default; `sterna` is `sterna load`
  --this PROGRAM    measures this build of sterna instead of the one built here
  --no-build        takes the programs as they are

Results: one table on stdout, one JSON file for each case in target/bench. Peers are built once, in target/bench-peers, or
where STERNA_BENCH_PEERS says.
";

/// Runs the measurements that `arguments` name.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    match arguments.split_first() {
        Some((verb, rest)) if verb == "origin" => return proxy::serve(rest),
        Some((verb, rest)) if verb == "cost" || verb == "--guard" => return cost::run(rest),
        _ => {}
    }
    let Some(options) = Options::parse(arguments)? else {
        print!("{USAGE}");
        return Ok(());
    };
    let stage = Stage::prepare(&options)?;
    if options.cross_check {
        return cross::run(&options, &stage);
    }
    let mut rows = Vec::new();
    let cases: &[Case] = if options.only_builds { &[] } else { &options.cases };
    for case in cases {
        let row = alternate(*case, options.loader, &stage, options.rounds)?;
        row.write(&stage.directory)?;
        rows.push(row);
    }
    let floor = floor::beside(&rows, &stage);
    print!("{}", table::render(&rows, &floor, stage.contenders(), &stage.missing));
    if Case::CURVE.iter().all(|case| cases.contains(case)) {
        draw(&stage)?;
    }
    Ok(())
}

/// Samples of each contender, taken in turns. A peer that fails is left out from then on; ours must not fail.
fn alternate(
    case: Case,
    loader: Loader,
    stage: &Stage,
    rounds: usize,
) -> Result<Row, Box<dyn std::error::Error>> {
    let mut entries: Vec<_> =
        stage.entries(case).into_iter().map(|entry| (entry, Vec::new())).collect();
    let rounds = if matches!(case, Case::Idle { .. }) { rounds.min(IDLE_ROUNDS) } else { rounds };
    for round in 1..=rounds {
        let mut failed = Vec::new();
        for (at, (entry, samples)) in entries.iter_mut().enumerate() {
            match sample(case, loader, stage, entry) {
                Ok(sample) => {
                    eprintln!("{case} {round}/{rounds}: {} {:.3}", entry.name, sample.figure);
                    samples.push(sample);
                }
                Err(error) if at == 0 => return Err(error),
                Err(error) => {
                    eprintln!("{case} {round}/{rounds}: {} is left out: {error}", entry.name);
                    failed.push(entry.name.clone());
                }
            }
        }
        entries.retain(|(entry, _)| !failed.contains(&entry.name));
    }
    let results = entries
        .into_iter()
        .map(|(entry, samples)| Measured::new(entry.name, entry.contender.facts, samples));
    Ok(Row { case, results: results.collect() })
}

/// One run of the load against one contender, and against the backend that it passes everything on to.
fn sample(case: Case, loader: Loader, stage: &Stage, entry: &Entry) -> Result<Sample, Failure> {
    let origin = proxy::origin(case)?;
    let setting = Setting { origin: origin.as_ref().map(|origin| origin.port), ..entry.setting };
    let (contender, tools) = (&entry.contender, &stage.tools);
    let server = contender.start(&stage.directory, setting)?;
    let mut sample = tools.measure(loader, case, contender.divisor, &server)?;
    if let Some(origin) = &origin {
        let (through, direct) = tools.delays(case, sample.rate, &server, origin)?;
        sample.report["p99_us"] = through.into();
        sample.report["direct_p99_us"] = direct.into();
    }
    Ok(sample)
}

/// Draws the curve from the files of its cases.
fn draw(stage: &Stage) -> Outcome {
    let image = stage.directory.join("curve.svg");
    let plot = stage.tools.load.with_file_name("plot");
    succeed(Command::new(plot).arg(&stage.directory).arg(&image))?;
    println!("\n{}", image.display());
    Ok(())
}

/// Memory is the same each time, and silence takes long.
const IDLE_ROUNDS: usize = 3;

/// Where peers are that have been built.
pub(crate) fn peers(target: &Path) -> PathBuf {
    peer::folder(target)
}

/// Where cargo puts what it builds.
fn target_directory() -> PathBuf {
    let target = crate::workspace_root().join("target");
    std::env::var_os("CARGO_TARGET_DIR").map_or(target, PathBuf::from)
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn build(workspace: &Path, target: &Path, arguments: &[&str]) -> Outcome {
    let mut cargo = Command::new(cargo());
    cargo.args(["build", "--release", "--locked"]).args(arguments);
    succeed(cargo.current_dir(workspace).arg("--target-dir").arg(target))
}

fn succeed(command: &mut Command) -> Outcome {
    let status = command.status().map_err(|error| format!("{command:?} does not run: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: {status}").into()) }
}
