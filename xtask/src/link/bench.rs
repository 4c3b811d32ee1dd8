//! `cargo xtask bench link`: one file by HTTP/3 beside HTTP/2 of the same server, over a round trip.
//!
//! Both come from one server by one client, libcurl, in turns. A time has everything in it: connection, TLS, request and
//! the last byte. TCP's congestion control is the kernel's, QUIC's is ours, and the result names both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::Outcome;

const USAGE: &str = "\
usage: cargo xtask bench link [--rounds N] [--rtt TIME] [--rate RATE] [--loss SHARE] [--seed N]
                              [--tcp NAME] [--this PROGRAM]

10 MB by HTTP/3 and by HTTP/2 of the same server, a new connection for each, in turns. Needs root.

  --rounds N        downloads by each, 5 by default
  --rtt, --rate     of the link, 50ms and 100mbit by default; its queue holds one bandwidth-delay product
  --loss, --seed    what is lost by chance each way, such as `1%`, and by which luck; nothing by default
  --tcp NAME        TCP's congestion control, such as `cubic`; the machine's default otherwise
  --this PROGRAM    measures this build of sterna instead of the one built here

Results: one table on stdout, all samples in target/bench/link.json.
";

/// Measures what `arguments` ask for.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let Some(options) = Options::parse(arguments)? else {
        print!("{USAGE}");
        return Ok(());
    };
    let result = Comparison { samples: measure(&options)?, settings: options.settings };
    let file = crate::target_directory().join("bench/link.json");
    fs::write(&file, serde_json::to_vec_pretty(&result)?)?;
    print!("{}", result.table());
    Ok(())
}

struct Options {
    rounds: usize,
    settings: Settings,
    this: Option<PathBuf>,
}

#[derive(Serialize)]
struct Settings {
    round_trip: String,
    rate: String,
    loss: String,
    seed: String,
    tcp: String,
}

impl Options {
    /// `None` asks for help.
    fn parse(arguments: &[String]) -> Result<Option<Self>, String> {
        let mut rounds = 5;
        let (mut round_trip, mut rate) = ("50ms".to_owned(), "100mbit".to_owned());
        let (mut loss, mut seed) = ("0%".to_owned(), "0".to_owned());
        let (mut tcp, mut this) = (None, None);
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("`{argument}` takes a value"));
            match argument.as_str() {
                "--rounds" => {
                    let number = value()?.parse().ok().filter(|rounds| *rounds > 0);
                    rounds = number.ok_or("`--rounds` takes a number from 1 on")?;
                }
                "--rtt" => round_trip.clone_from(value()?),
                "--rate" => rate.clone_from(value()?),
                "--loss" => loss.clone_from(value()?),
                "--seed" => seed.clone_from(value()?),
                "--tcp" => tcp = Some(value()?.clone()),
                "--this" => this = Some(value()?.into()),
                "help" | "--help" | "-h" => return Ok(None),
                unknown => {
                    return Err(format!("`{unknown}` is not an option of bench link\n\n{USAGE}"));
                }
            }
        }
        let tcp = tcp.or_else(default_congestion).ok_or("TCP's congestion control is not known")?;
        Ok(Some(Self { rounds, settings: Settings { round_trip, rate, loss, seed, tcp }, this }))
    }
}

/// What the kernel gives to sockets, and to new namespaces.
fn default_congestion() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").ok()?;
    Some(name.trim().to_owned())
}

/// One download, as the client's script prints it.
#[derive(Serialize, Deserialize)]
struct Sample {
    /// 2 or 3.
    version: u8,
    /// From before the connection to the last byte.
    seconds: f64,
    /// Datagrams that came over the link but not into the client's socket buffer: the machine was busy, not the link.
    missed: u64,
}

fn measure(options: &Options) -> Result<Vec<Sample>, Box<dyn std::error::Error>> {
    let root = crate::workspace_root();
    let directory = crate::target_directory().join("bench/link");
    let python = crate::test::foreign_clients(&root)?;
    let sterna = match &options.this {
        Some(program) => program.clone(),
        None => build()?,
    };
    write_file(&directory.join("site"))?;
    let server = format!(
        "'{}' files '{}' --listen \"$LINK_A:4433\" --workers 1 --no-access-log 2>'{}'",
        sterna.display(),
        directory.join("site").display(),
        directory.join("server.log").display(),
    );
    let settings = &options.settings;
    let mut link = super::command();
    link.args(["--rtt", &settings.round_trip, "--rate", &settings.rate, "--tcp", &settings.tcp])
        .args(["--loss", &settings.loss, "--seed", &settings.seed])
        .args(["--server", &server, "--"])
        .arg(python)
        .arg(root.join("bench/download.py"))
        .arg(FILE_LEN.to_string())
        .arg(options.rounds.to_string())
        .current_dir(&root)
        // Where the server's local certificate authority lives.
        .env("XDG_DATA_HOME", &directory);
    let output = link.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the downloads failed: {}", output.status).into());
    }
    let lines = String::from_utf8(output.stdout)?;
    let samples = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok(samples)
}

pub(super) fn build() -> Result<PathBuf, Box<dyn std::error::Error>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--locked", "--package", "sterna"]);
    let status = cargo.current_dir(crate::workspace_root()).status()?;
    if !status.success() {
        return Err(format!("{cargo:?} failed: {status}").into());
    }
    Ok(crate::target_directory().join("release/sterna"))
}

fn write_file(site: &Path) -> std::io::Result<()> {
    fs::create_dir_all(site)?;
    let content = (0..FILE_LEN).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 13) as u8);
    fs::write(site.join("file"), content.collect::<Vec<_>>())
}

const FILE_LEN: u64 = 10_000_000;

#[derive(Serialize)]
struct Comparison {
    settings: Settings,
    samples: Vec<Sample>,
}

impl Comparison {
    fn table(&self) -> String {
        let Settings { round_trip, rate, loss, seed, tcp } = &self.settings;
        let (h3, h2) = (self.seconds(3), self.seconds(2));
        let ratio = median(&h3) / median(&h2);
        let missed: u64 = self.samples.iter().map(|sample| sample.missed).sum();
        format!(
            "\
10 MB, {round_trip} there and back, {rate}, queue of one bandwidth-delay product, {loss} lost by chance (seed {seed})

| | congestion control | initial window | seconds |
|---|---|---|---|
| HTTP/3 | CUBIC with HyStart++, Sterna's | 10 datagrams | {} |
| HTTP/2 | {tcp}, the kernel's | 10 segments | {} |

HTTP/3 takes {ratio:.2} × HTTP/2. Datagrams that a busy client missed: {missed}.
",
            spread(&h3),
            spread(&h2),
        )
    }

    /// Sorted.
    fn seconds(&self, version: u8) -> Vec<f64> {
        let samples = self.samples.iter().filter(|sample| sample.version == version);
        let mut seconds: Vec<f64> = samples.map(|sample| sample.seconds).collect();
        seconds.sort_unstable_by(f64::total_cmp);
        seconds
    }
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

fn spread(sorted: &[f64]) -> String {
    let end = |figure: Option<&f64>| figure.copied().unwrap_or(f64::NAN);
    format!("{:.3} ({:.3}–{:.3})", median(sorted), end(sorted.first()), end(sorted.last()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(version: u8, seconds: f64) -> Sample {
        Sample { version, seconds, missed: 1 }
    }

    #[test]
    fn the_table_names_both_congestion_controls_and_compares_medians() {
        let settings = Settings {
            round_trip: "50ms".to_owned(),
            rate: "100mbit".to_owned(),
            loss: "1%".to_owned(),
            seed: "7".to_owned(),
            tcp: "bbr".to_owned(),
        };
        let samples = vec![
            sample(2, 2.0),
            sample(3, 9.0),
            sample(2, 2.5),
            sample(3, 1.0),
            sample(2, 1.5),
            sample(3, 1.2),
        ];
        let table = Comparison { settings, samples }.table();
        assert!(
            table.contains(
                "| CUBIC with HyStart++, Sterna's | 10 datagrams | 1.200 (1.000–9.000) |"
            ),
            "{table}"
        );
        assert!(
            table.contains("| bbr, the kernel's | 10 segments | 2.000 (1.500–2.500) |"),
            "{table}"
        );
        assert!(
            table
                .ends_with("HTTP/3 takes 0.60 × HTTP/2. Datagrams that a busy client missed: 6.\n"),
            "{table}"
        );
    }

    #[test]
    fn zero_rounds_are_refused() {
        let arguments = ["--rounds".to_owned(), "0".to_owned()];
        assert!(Options::parse(&arguments).is_err_and(|message| message.contains("from 1 on")));
    }
}
