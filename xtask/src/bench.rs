//! `cargo xtask bench`: Sterna beside its peers on the same work, the same cores, in the same run.
//!
//! A number counts only as a ratio: the machine is noisy, so the contenders take turns (A B A B) and the table shows
//! medians. The server has one worker on core 0, the load has core 1, and what is compared is what the kernel charged
//! to the server: a rate would measure the slower of the two. A fresh server is started for each sample.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use case::{Case, Sample};
use contender::Contender;

mod case;
mod contender;
mod cost;
mod table;

const USAGE: &str = "\
usage: cargo xtask bench [CASE…] [--rounds N] [--this PROGRAM] [--no-build]
       cargo xtask bench cost [--bless]

  h3-small     CPU seconds per 100,000 requests of 1 KiB, 10 connections × 32 and × 100 streams
  h3-bulk      CPU seconds per GiB over one connection, in files of 64 MiB
  h3-idle      KiB of resident memory per idle connection, at 1,000
  all          all of these; the default
  h3-curve     the first and the last at 1 to 1,000 connections: the cost of each should stay the same
  link         alone: HTTP/3 beside HTTP/2 over a round trip; `cargo xtask bench link --help`

  cost         instructions of hot functions, by callgrind; fails if one costs a twentieth more than in bench/cost.txt

  --rounds N        samples of each contender, 5 by default
  --this PROGRAM    measures this build of sterna instead of the one built here
  --no-build        takes the programs as they are

Results: one table on stdout, one JSON file for each case in target/bench.
";

/// Runs the measurements that `arguments` name.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    if let Some((verb, rest)) = arguments.split_first()
        && verb == "cost"
    {
        return cost::run(rest);
    }
    let Some(options) = Options::parse(arguments)? else {
        print!("{USAGE}");
        return Ok(());
    };
    let stage = Stage::prepare(&options)?;
    let mut rows = Vec::new();
    for case in &options.cases {
        let contenders = stage.contenders(*case);
        let samples = alternate(*case, &contenders, &stage, options.rounds)?;
        let row = table::Row::new(*case, &contenders, samples);
        row.write(&stage.directory)?;
        rows.push(row);
    }
    print!("{}", table::render(&rows));
    Ok(())
}

/// Samples of each contender, taken in turns.
fn alternate(
    case: Case,
    contenders: &[Contender],
    stage: &Stage,
    rounds: usize,
) -> Result<Vec<Vec<Sample>>, Box<dyn std::error::Error>> {
    let mut samples: Vec<_> = contenders.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for (contender, samples) in contenders.iter().zip(&mut samples) {
            let server = contender.start(&stage.directory)?;
            let sample = case.measure(&stage.load, &server)?;
            eprintln!("{case} {round}/{rounds}: {} {:.3}", contender.name, sample.figure);
            samples.push(sample);
        }
    }
    Ok(samples)
}

/// What the command line asks for.
struct Options {
    cases: Vec<Case>,
    rounds: usize,
    this: Option<PathBuf>,
    build: bool,
}

impl Options {
    /// `None` asks for help.
    fn parse(arguments: &[String]) -> Result<Option<Self>, String> {
        let mut options = Self { cases: Vec::new(), rounds: 5, this: None, build: true };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "all" => options.cases.extend(Case::ALL),
                "h3-small" => options.cases.extend(Case::SMALL),
                "h3-bulk" => options.cases.push(Case::Bulk),
                "h3-idle" => options.cases.push(Case::IDLE),
                "h3-curve" => options.cases.extend(Case::CURVE),
                "--rounds" => {
                    let rounds = arguments.next().and_then(|text| text.parse().ok());
                    options.rounds = rounds
                        .filter(|rounds| *rounds > 0)
                        .ok_or("`--rounds` takes a number from 1 on, such as `--rounds 5`")?;
                }
                "--this" => {
                    let program = arguments.next().ok_or("`--this` takes the path of a program")?;
                    options.this = Some(program.into());
                }
                "--no-build" => options.build = false,
                "help" | "--help" | "-h" => return Ok(None),
                unknown => return Err(format!("`{unknown}` is not a case of bench\n\n{USAGE}")),
            }
        }
        if options.cases.is_empty() {
            options.cases.extend(Case::ALL);
        }
        Ok(Some(options))
    }
}

/// Programs, files and certificate: all that a measurement needs on disk.
struct Stage {
    /// Holds the site, the certificate and the results.
    directory: PathBuf,
    load: PathBuf,
    programs: PathBuf,
    this: PathBuf,
}

impl Stage {
    fn prepare(options: &Options) -> Result<Self, Box<dyn std::error::Error>> {
        let root = crate::workspace_root();
        let target = target_directory();
        let programs = target.join("release");
        let stage = Self {
            directory: target.join("bench"),
            load: programs.join("load"),
            this: options.this.clone().unwrap_or_else(|| programs.join("sterna")),
            programs,
        };
        // Before the builds: a file that was written just now is not served from memory yet.
        stage.write_site()?;
        if options.build {
            if options.this.is_none() {
                build(&root, &target, &["--package", "sterna"])?;
            }
            build(&root.join("bench"), &target, &[])?;
        }
        succeed(Command::new(&stage.load).arg("certificate").arg(&stage.directory))?;
        Ok(stage)
    }

    /// The peer comes with the allocator of ours; idle, it is also shown with the one that is better for it.
    fn contenders(&self, case: Case) -> Vec<Contender> {
        let mut contenders = vec![
            Contender::sterna(&self.this),
            Contender::peer("h3+quinn", &self.programs.join("peer-h3-quinn")),
        ];
        if matches!(case, Case::Idle { .. }) {
            let system = self.programs.join("peer-h3-quinn-system");
            contenders.push(Contender::peer("h3+quinn, system malloc", &system));
        }
        contenders
    }

    fn write_site(&self) -> std::io::Result<()> {
        let site = self.directory.join("site");
        fs::create_dir_all(&site)?;
        for (name, length) in
            [(case::SMALL_FILE, case::SMALL_LEN), (case::BULK_FILE, case::BULK_LEN)]
        {
            let file = site.join(name.trim_start_matches('/'));
            if fs::metadata(&file).map_or(true, |metadata| metadata.len() != length) {
                let content = (0..length).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 13) as u8);
                fs::write(&file, content.collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&arguments)
    }

    #[test]
    fn no_argument_means_all_cases_in_five_rounds() {
        let options = parse("").unwrap().unwrap();
        assert_eq!(options.cases, Case::ALL);
        assert_eq!(options.rounds, 5);
    }

    #[test]
    fn zero_rounds_are_refused() {
        assert!(parse("--rounds 0").is_err_and(|message| message.contains("from 1 on")));
        assert_eq!(parse("--rounds 1").unwrap().unwrap().rounds, 1);
    }

    #[test]
    fn an_unknown_case_names_itself() {
        assert!(parse("h3-smal").is_err_and(|message| message.contains("`h3-smal`")));
    }
}
