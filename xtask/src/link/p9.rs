//! `cargo xtask bench p9`: bulk and a page by HTTP/1.1, 2 and 3 over links that lose, by each congestion controller.
//!
//! One server has a port for each controller, and one client asks it: `sterna get` for bulk, `sterna load` for the page, each
//! with a connection of its own, so that a time has everything in it. TCP's congestion control is the kernel's, and the table
//! names it. nginx is beside it where it has been built.

mod contender;
mod inside;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::contender::{CONTENDERS, Contender};
use super::bench::build;
use crate::Outcome;

const USAGE: &str = "\
usage: cargo xtask bench p9 [--rounds N] [--rtt TIME]… [--loss SHARE]… [--seed N] [--this PROGRAM]

Goodput of 10 MB, and the time of a page of 100 × 10 KiB, over 100 Mbit/s with a queue of one bandwidth-delay product: by HTTP/3
with cubic, bbr and reno, by HTTP/2 and by HTTP/1.1, a new connection for each, in turns. Needs root. Six to seven minutes a
round of all links, as whoever starves is waited for; after eight minutes no further round of a link is begun.

  --rounds N        samples of each, 1 by default; the table has medians
  --rtt, --loss     of the link; may be repeated. All of 20, 50 and 100 ms with 0, 1 and 5 % lost each way by default
  --seed N          of the losses, 1 by default; each round has the next
  --this PROGRAM    measures this build of sterna instead of the one built here

STERNA_BENCH_PEERS names the folder that `cargo xtask bench peers` has built nginx in; STERNA_LINK a built link.
Results: one table on stdout, all samples in target/bench/p9.json.
";

/// Measures what `arguments` ask for.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    if let [flag, rest @ ..] = arguments
        && flag == inside::FLAG
    {
        return inside::run(rest);
    }
    let Some(options) = Options::parse(arguments)? else {
        print!("{USAGE}");
        return Ok(());
    };
    let stage = Stage::prepare(&options)?;
    let (mut results, until) = (Vec::new(), Instant::now() + LONGEST);
    for (loss, round_trip) in options.links() {
        for round in 0..options.rounds {
            if Instant::now() > until {
                eprintln!(
                    "out of time: {round_trip}, {loss} lost, round {} is left out",
                    round + 1
                );
                continue;
            }
            eprintln!("{round_trip}, {loss} lost, round {} of {}", round + 1, options.rounds);
            let link = Link { round_trip, loss, seed: options.seed + u64::from(round) };
            results.extend(stage.measure(&link)?);
        }
    }
    let file = crate::target_directory().join("bench/p9.json");
    fs::write(file, serde_json::to_vec_pretty(&results)?)?;
    print!("{}", table::text(&results, &stage.contenders, &stage.tcp()));
    Ok(())
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    round_trip: String,
    loss: String,
    /// By its name.
    contender: String,
    work: Work,
    /// From the start of the client to its last byte, or to when it was ended.
    seconds: f64,
    /// That arrived.
    bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Work {
    /// One file of [`BULK`] bytes.
    Bulk,
    /// [`OBJECTS`] of [`OBJECT`] bytes.
    Page,
}

struct Link<'a> {
    round_trip: &'a str,
    loss: &'a str,
    seed: u64,
}

#[derive(Debug)]
struct Options {
    rounds: u32,
    round_trips: Vec<String>,
    losses: Vec<String>,
    seed: u64,
    this: Option<PathBuf>,
}

impl Options {
    /// `None` asks for help.
    fn parse(arguments: &[String]) -> Result<Option<Self>, String> {
        let mut options =
            Self { rounds: 1, round_trips: Vec::new(), losses: Vec::new(), seed: 1, this: None };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("`{argument}` takes a value"));
            match argument.as_str() {
                "--rounds" => {
                    let number = value()?.parse().ok().filter(|rounds| *rounds > 0);
                    options.rounds = number.ok_or("`--rounds` takes a number from 1 on")?;
                }
                "--rtt" => options.round_trips.push(value()?.clone()),
                "--loss" => options.losses.push(value()?.clone()),
                "--seed" => {
                    options.seed = value()?.parse().map_err(|_| "`--seed` takes a number")?;
                }
                "--this" => options.this = Some(value()?.into()),
                "help" | "--help" | "-h" => return Ok(None),
                unknown => {
                    return Err(format!("`{unknown}` is not an option of bench p9\n\n{USAGE}"));
                }
            }
        }
        let or = |given: &mut Vec<String>, usual: [&str; 3]| {
            if given.is_empty() {
                given.extend(usual.map(str::to_owned));
            }
        };
        or(&mut options.round_trips, ["50ms", "20ms", "100ms"]);
        or(&mut options.losses, ["0%", "1%", "5%"]);
        Ok(Some(options))
    }

    /// Loss and round trip, those of the specification first.
    fn links(&self) -> impl Iterator<Item = (&str, &str)> {
        self.round_trips.iter().flat_map(|round_trip| {
            self.losses.iter().map(|loss| (loss.as_str(), round_trip.as_str()))
        })
    }
}

/// The folder that the servers run in, and who takes part.
struct Stage {
    folder: PathBuf,
    sterna: PathBuf,
    contenders: Vec<&'static Contender>,
}

impl Stage {
    fn prepare(options: &Options) -> Result<Self, Box<dyn std::error::Error>> {
        let sterna = match &options.this {
            Some(program) => fs::canonicalize(program)?,
            None => build()?,
        };
        let folder = crate::target_directory().join("bench/p9");
        fs::create_dir_all(folder.join("site"))?;
        fs::write(folder.join("site/bulk"), noise(BULK))?;
        fs::write(folder.join("site/object"), noise(OBJECT))?;
        certify(&folder)?;
        let nginx = nginx();
        if nginx.is_none() {
            eprintln!("nginx is left out: `cargo xtask bench peers` builds it");
        }
        let takes_part = |contender: &&Contender| contender.is_ours() || nginx.is_some();
        let stage =
            Self { folder, sterna, contenders: CONTENDERS.iter().filter(takes_part).collect() };
        contender::configure(&stage.folder, &stage.sterna, nginx.as_deref())?;
        Ok(stage)
    }

    /// One round over one link.
    fn measure(&self, link: &Link<'_>) -> Result<Vec<Sample>, Box<dyn std::error::Error>> {
        let mut command = super::command();
        command
            .args(["--rtt", link.round_trip, "--loss", link.loss])
            .args(["--seed", &link.seed.to_string()])
            .args(["--ready", &contender::LAST_PORT.to_string()])
            .args(["--server", "sh serve.sh", "--"])
            .arg(std::env::current_exe()?)
            .args(["bench", "p9", inside::FLAG, link.round_trip, link.loss])
            .arg(&self.sterna)
            .args(self.contenders.iter().map(|contender| contender.name))
            .current_dir(&self.folder)
            .stderr(fs::File::create(self.folder.join("link.log"))?)
            .stdin(Stdio::null());
        let output = command.output()?;
        if !output.status.success() {
            let log = fs::read_to_string(self.folder.join("link.log")).unwrap_or_default();
            return Err(format!("the link failed: {}\n{log}", output.status).into());
        }
        let lines = String::from_utf8(output.stdout)?;
        Ok(lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    /// TCP's congestion control at both ends, as they said.
    fn tcp(&self) -> [String; 2] {
        ["tcp-a", "tcp-b"].map(|name| {
            let said = fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            said.trim().to_owned()
        })
    }
}

/// Bytes that no compression makes fewer.
fn noise(length: u64) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect()
}

/// One certificate for all.
fn certify(folder: &Path) -> Outcome {
    let mut openssl = Command::new("openssl");
    openssl
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "30", "-subj", "/CN=p9", "-keyout", "key.pem"])
        .args(["-out", "cert.pem"])
        .current_dir(folder);
    let output = openssl.output().map_err(|error| format!("openssl does not run: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("openssl: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

fn nginx() -> Option<PathBuf> {
    let folder = crate::bench::peers(&crate::target_directory());
    let program = folder.join("nginx/nginx");
    program.exists().then_some(program)
}

const BULK: u64 = 10_000_000;
const OBJECT: u64 = 10_240;
const OBJECTS: u64 = 100;

/// After it no further round is begun: the longest takes about one minute, and all of it is to end within ten.
const LONGEST: Duration = Duration::from_secs(8 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&arguments)
    }

    #[test]
    fn without_options_all_nine_links_are_measured_and_those_of_the_specification_first() {
        let options = parse("").unwrap().unwrap();
        let links: Vec<_> = options.links().collect();
        assert_eq!(links.len(), 9);
        assert_eq!(links[..3], [("0%", "50ms"), ("1%", "50ms"), ("5%", "50ms")]);
    }

    #[test]
    fn a_cut_is_what_was_asked_for_and_nothing_else() {
        let options = parse("--rtt 20ms --loss 1% --rounds 1").unwrap().unwrap();
        assert_eq!(options.links().collect::<Vec<_>>(), [("1%", "20ms")]);
        assert!(parse("--rounds 0").is_err_and(|message| message.contains("from 1 on")));
    }
}
