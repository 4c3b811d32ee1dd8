//! `cargo xtask fuzz`: runs the targets of `fuzz/` by libFuzzer.
//!
//! Coverage instrumentation is asked for by flags which stable rustc has, so neither nightly nor cargo-fuzz is
//! needed. There is no address sanitizer: outside the socket layer the code is free of `unsafe`, and what fuzzing
//! looks for are panics, overflows, memory without bound and loops without end.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::Outcome;

const SECONDS: u32 = 10;

/// Runs the named target, or all, for the given time each.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let options = Options::parse(arguments)?;
    let fuzz = Fuzz::build(&crate::workspace_root())?;
    let targets = match options.target {
        Some(target) => vec![fuzz.named(&target)?],
        None => fuzz.targets.clone(),
    };
    for target in &targets {
        fuzz.run(target, options.seconds)?;
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("fuzz takes [TARGET] [--seconds N], not `{0}`")]
    Argument(String),
    #[error("`{name}` is not a fuzz target; there are: {}", known.join(", "))]
    UnknownTarget { name: String, known: Vec<String> },
    #[error("the fuzz targets do not build")]
    Build,
    #[error("`{0}` found something; the input is in fuzz/artifacts/{0}")]
    Found(String),
    #[error("fuzzing: {0}")]
    Io(#[from] io::Error),
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    target: Option<String>,
    seconds: u32,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Error> {
        let mut options = Self { target: None, seconds: SECONDS };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--seconds" {
                let value = rest.next().and_then(|value| value.parse().ok());
                options.seconds = value.ok_or_else(|| Error::Argument(argument.clone()))?;
            } else if argument.starts_with('-') || options.target.is_some() {
                return Err(Error::Argument(argument.clone()));
            } else {
                options.target = Some(argument.clone());
            }
        }
        Ok(options)
    }
}

/// The built targets.
pub(crate) struct Fuzz {
    folder: PathBuf,
    built: PathBuf,
    pub(crate) targets: Vec<String>,
}

impl Fuzz {
    /// Builds all targets of `fuzz/`, none when the folder does not exist.
    pub(crate) fn build(root: &Path) -> Result<Self, Error> {
        let folder = root.join("fuzz");
        // Of its own, so that the flags do not rebuild the workspace.
        let target = crate::target_directory().join("fuzz");
        let triple = "x86_64-unknown-linux-gnu";
        let built = target.join(triple).join("release");
        let targets = targets(&folder.join("fuzz_targets"))?;
        if !targets.is_empty() {
            let built = Command::new("cargo")
                .args(["build", "--release", "--bins", "--target", triple])
                .current_dir(&folder)
                .env("CARGO_TARGET_DIR", &target)
                .env("RUSTFLAGS", FLAGS.join(" "))
                .status()?;
            if !built.success() {
                return Err(Error::Build);
            }
        }
        Ok(Self { folder, built, targets })
    }

    fn named(&self, name: &str) -> Result<String, Error> {
        let found = self.targets.iter().find(|target| *target == name).cloned();
        found.ok_or_else(|| Error::UnknownTarget { name: name.into(), known: self.targets.clone() })
    }

    /// Replays the committed corpus, then looks further for `seconds`.
    pub(crate) fn run(&self, target: &str, seconds: u32) -> Result<(), Error> {
        println!("fuzz: {target} for {seconds} s");
        // What is found on the way goes to the first folder: not the committed one.
        let found = self.built.join("corpus").join(target);
        let artifacts = self.folder.join("artifacts").join(target);
        fs::create_dir_all(&found)?;
        fs::create_dir_all(&artifacts)?;
        let mut command = Command::new(self.built.join(target));
        command
            .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0"])
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg(found);
        let committed = self.folder.join("corpus").join(target);
        if committed.is_dir() {
            command.arg(committed);
        }
        if command.status()?.success() { Ok(()) } else { Err(Error::Found(target.into())) }
    }
}

/// One target for each source file in the folder.
fn targets(folder: &Path) -> io::Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// What libFuzzer needs to see which input reached new code.
const FLAGS: [&str; 9] = [
    "--cfg fuzzing",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Ccodegen-units=1",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, Error> {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Options::parse(&arguments)
    }

    #[test]
    fn a_target_and_a_time_may_come_in_any_order() {
        let expected = Options { target: Some("h3_frames".into()), seconds: 60 };
        assert_eq!(parse(&["h3_frames", "--seconds", "60"]).unwrap(), expected);
        assert_eq!(parse(&["--seconds", "60", "h3_frames"]).unwrap(), expected);
        assert_eq!(parse(&[]).unwrap(), Options { target: None, seconds: SECONDS });
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for wrong in [&["a", "b"][..], &["--seconds"], &["--seconds", "x"], &["--second", "1"]] {
            assert!(matches!(parse(wrong), Err(Error::Argument(_))), "{wrong:?}");
        }
    }
}
