//! What CI does, under one spelling: `cargo xtask VERB`.
//!
//! Each verb is a module with a `run` that takes the arguments after the verb. Nothing here is needed to build
//! or to use Sterna; `docs/ci.md` says what each check is for and how to run it alone.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod bench;
mod compliance;
mod deny;
mod fuzz;
mod link;
mod start;
mod survive;
mod test;

const USAGE: &str = "\
usage: cargo xtask VERB

  test [--only STEP,…]          everything CI checks, on a bare machine: installs what is missing, then runs it all
  compliance [--check]          counts the RFC requirements that are implemented, tested and excepted
  fuzz [TARGET] [--seconds N]   runs the fuzz targets, all of them for 10 s each by default
  survive [BATTERY…]            the long batteries against a release build; `cargo xtask survive --help` says more
  link [OPTION…] [-- COMMAND…]  a link with a delay, a rate, a queue and losses; `cargo xtask link --help` says which
  bench …                       measures; `cargo xtask bench --help` lists what
  bench p9 …                    bulk and pages over links that lose, by each congestion controller
  bench early …                 the first byte over a round trip, with 0-RTT and without
  bench start …                 start to first byte, idle processor time, size of the binary
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((verb, rest)) = arguments.split_first() else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let outcome = match verb.as_str() {
        "bench" if rest.first().is_some_and(|case| case == "link") => link::bench::run(&rest[1..]),
        "bench" if rest.first().is_some_and(|case| case == "early") => link::early::run(&rest[1..]),
        "bench" if rest.first().is_some_and(|case| case == "p9") => link::p9::run(&rest[1..]),
        "bench" if rest.first().is_some_and(|case| case == "start") => start::run(&rest[1..]),
        "bench" => bench::run(rest),
        "compliance" => compliance::run(rest),
        "fuzz" => fuzz::run(rest),
        "link" => link::run(rest),
        "survive" => return survive::run(rest),
        "test" => return test::run(rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        unknown => {
            eprint!("error: `{unknown}` is not a verb of xtask\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a verb ends in: a person reads the error, so its type does not matter above here.
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The root of the workspace, wherever cargo was called from.
fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Where cargo builds, as cargo itself decides it.
fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => workspace_root().join(folder),
        None => workspace_root().join("target"),
    }
}
