//! `cargo xtask survive`: the long batteries, whose short forms are among the tests.
//!
//! The release build is what is attacked, by the same tests that CI runs on the debug build; they are told by environment
//! variables to do more of it. One battery at a time: most of what they measure is time or memory.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::test::{self, Tally};
use battery::{BATTERIES, Battery};
use figure::Figure;
use table::{Row, Table};

mod battery;
mod figure;
mod table;

const USAGE: &str = "\
usage: cargo xtask survive [BATTERY…] [--long | --minutes N] [--list]

Runs the named batteries, or all, against a release build, one after the other, and prints what they have measured. The
machine should have nothing else to do. The exit code is 1 if anything failed.

  --long        the sizes of docs/reliability.md; the default
  --minutes N   about so much for each battery that has a size; the others are always whole
  --list        says which batteries there are, and runs none
";

/// Runs what `arguments` ask for; it prints its own failures, so that the sum stays the last line.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(Asked::Run(options)) => options,
        Ok(Asked::Usage) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Ok(Asked::List) => {
            print!("{}", list());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let stage = match Stage::prepare() {
        Ok(stage) => stage,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut table = Table::new();
    for battery in options.batteries {
        println!("\n== {}: {} ==", battery.name, battery.what);
        table.rows.push(stage.play(battery, options.minutes));
    }
    print!("\n{table}");
    if table.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

enum Asked {
    Run(Options),
    List,
    Usage,
}

struct Options {
    batteries: Vec<&'static Battery>,
    minutes: Option<u32>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Asked, String> {
        let (mut named, mut minutes, mut long) = (Vec::new(), None, false);
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--help" | "-h" => return Ok(Asked::Usage),
                "--list" => return Ok(Asked::List),
                "--long" => long = true,
                "--minutes" => {
                    let value = rest.next().and_then(|value| value.parse().ok());
                    let value = value.filter(|&value| value > 0);
                    minutes = Some(value.ok_or("--minutes takes a whole number from 1")?);
                }
                name => named.push(name),
            }
        }
        if long && minutes.is_some() {
            return Err("it is either --long or --minutes".into());
        }
        Ok(Asked::Run(Self { batteries: chosen(&named)?, minutes }))
    }
}

/// Those of the names in the order of the table, or all.
fn chosen(named: &[&str]) -> Result<Vec<&'static Battery>, String> {
    const ALL: &[Battery] = &BATTERIES;
    if let Some(unknown) =
        named.iter().find(|name| ALL.iter().all(|battery| battery.name != **name))
    {
        let names: Vec<_> = ALL.iter().map(|battery| battery.name).collect();
        return Err(format!("`{unknown}` is not a battery; there are: {}", names.join(", ")));
    }
    let wanted = |battery: &&Battery| named.is_empty() || named.contains(&battery.name);
    Ok(ALL.iter().filter(wanted).collect())
}

fn list() -> String {
    BATTERIES.iter().map(|battery| format!("{:<16} {}\n", battery.name, battery.what)).collect()
}

/// What all batteries run with.
struct Stage {
    root: PathBuf,
    python: PathBuf,
    pebble: PathBuf,
}

impl Stage {
    fn prepare() -> Result<Self, Box<dyn std::error::Error>> {
        let root = crate::workspace_root();
        // No battery has a link between its ends, and the example takes a minute to build.
        for program in test::PROGRAMS.iter().filter(|program| !program.contains(&"link")) {
            let mut cargo = Command::new("cargo");
            cargo.args(["build", "--release"]).args(*program).current_dir(&root);
            if !cargo.status()?.success() {
                return Err("the release build failed, see above".into());
            }
        }
        let (python, pebble) = test::prepare(&root)?;
        Ok(Self { root, python, pebble })
    }

    fn play(&self, battery: &'static Battery, minutes: Option<u32>) -> Row {
        let began = Instant::now();
        let results = crate::target_directory().join(format!("xtask/survive-{}.xml", battery.name));
        let mut figures = Vec::new();
        let tally = test::pytest(self.pytest(battery, minutes, &results), &results, |line| {
            figures.extend(Figure::read(line));
        });
        Row { name: battery.name, took: began.elapsed(), tally: judged(tally), figures }
    }

    fn pytest(&self, battery: &Battery, minutes: Option<u32>, results: &Path) -> Command {
        let mut command = test::e2e_command(&self.root, &self.python, "release");
        command
            // What a test prints is wanted while it runs. Those of a test without a bound of its own are for the short form.
            .args(["-s", "--timeout=3600", "--junit-xml"])
            .arg(results)
            .args(battery.tests)
            .env("PEBBLE_BIN", &self.pebble)
            .env("PYTHONUNBUFFERED", "1")
            .envs(battery.environment(minutes));
        command
    }
}

/// A battery of which every test was left out has shown nothing.
fn judged(tally: Tally) -> Tally {
    if tally.passed + tally.failed > 0 { tally } else { Tally::failed("no test of it was run") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &[&str]) -> Result<(Vec<&'static str>, Option<u32>), String> {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        match Options::parse(&arguments)? {
            Asked::Run(options) => {
                let names = options.batteries.iter().map(|battery| battery.name).collect();
                Ok((names, options.minutes))
            }
            Asked::List => Ok((vec!["--list"], None)),
            Asked::Usage => Ok((vec!["--help"], None)),
        }
    }

    #[test]
    fn batteries_are_named_in_any_order_and_all_are_run_without_a_name() {
        assert_eq!(names(&["gaps", "flood"]).unwrap(), (vec!["flood", "gaps"], None));
        assert_eq!(names(&["--long"]).unwrap().0.len(), BATTERIES.len());
        assert_eq!(names(&["--minutes", "2", "gaps"]).unwrap(), (vec!["gaps"], Some(2)));
        assert_eq!(names(&["--list"]).unwrap().0, ["--list"]);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(names(&["flod"]).unwrap_err().starts_with("`flod` is not a battery"));
        assert!(names(&["--lnog"]).unwrap_err().starts_with("`--lnog` is not a battery"));
        for wrong in [&["--minutes"][..], &["--minutes", "0"], &["--minutes", "x"]] {
            assert!(names(wrong).unwrap_err().starts_with("--minutes takes"), "{wrong:?}");
        }
        assert!(names(&["--long", "--minutes", "1"]).is_err());
    }

    #[test]
    fn a_battery_without_a_test_has_failed() {
        let skipped = Tally { skipped: 3, ..Tally::default() };
        assert_eq!(judged(skipped).failed, 1);
        assert_eq!(judged(Tally::PASSED), Tally::PASSED);
    }
}
