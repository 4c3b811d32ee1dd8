//! `cargo xtask bench cost`: instructions of the hot functions, counted by callgrind, against those of last time.
//!
//! A count does not depend on how busy the machine is, so a few per cent more are a fact. The counts of last time are in
//! `bench/cost.txt`; `--bless` writes them anew, after a change that was meant or with another compiler.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Outcome;

/// Counts, compares, and with `--bless` keeps.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let bless = match arguments {
        [] => false,
        [flag] if flag == "--bless" => true,
        other => return Err(format!("cost takes only `--bless`, not {other:?}").into()),
    };
    let (root, target) = (crate::workspace_root(), super::target_directory());
    let file = root.join("bench/cost.txt");
    let before = parse(&fs::read_to_string(&file).unwrap_or_default());
    let mut now = Counts::new();
    for work in WORK {
        let count = work.count(&target)?;
        let last = before.get(work.name).map_or("new".to_owned(), |last| format!("was {last}"));
        println!("{:>9}  {}  ({last})", count, work.name);
        now.insert(work.name.to_owned(), count);
    }
    if bless {
        return Ok(fs::write(file, text(&now))?);
    }
    match dearer(&before, &now).as_slice() {
        [] => Ok(()),
        names => Err(format!("dearer by more than a twentieth: {}", names.join(", ")).into()),
    }
}

/// Instructions by name of the work.
type Counts = BTreeMap<String, u64>;

/// One thing that an example does so many times.
struct Work {
    name: &'static str,
    package: &'static str,
    /// Before the number of times.
    arguments: &'static [&'static str],
    /// The function to count; all of the program where it is empty.
    function: &'static str,
}

impl Work {
    /// Instructions for doing it once: two runs differ only in how often it is done.
    fn count(&self, target: &Path) -> Result<u64, Box<dyn std::error::Error>> {
        // All examples are called `cost`: the plain name is that of the last one built.
        let root = crate::workspace_root();
        super::build(&root, target, &["--package", self.package, "--example", "cost"])?;
        let (few, many) = (self.total(target, FEW)?, self.total(target, MANY)?);
        Ok(many.saturating_sub(few) / (MANY - FEW))
    }

    fn total(&self, target: &Path, times: u64) -> Result<u64, Box<dyn std::error::Error>> {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        if !self.function.is_empty() {
            valgrind.arg(format!("--toggle-collect={}", self.function));
        }
        valgrind.arg(target.join("release/examples/cost")).args(self.arguments);
        let output = valgrind.arg(times.to_string()).output();
        let output = output.map_err(|error| format!("valgrind does not run: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        collected(&said)
            .ok_or_else(|| format!("{}: callgrind counted nothing: {said}", self.name).into())
    }
}

/// The figure in callgrind's line `==PID== Collected : N`.
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

/// What costs more than a twentieth more than before.
fn dearer<'a>(before: &Counts, now: &'a Counts) -> Vec<&'a str> {
    let is_dearer = |name: &str, count: u64| {
        before.get(name).is_some_and(|&last| count.saturating_mul(20) > last.saturating_mul(21))
    };
    now.iter()
        .filter(|(name, count)| is_dearer(name, **count))
        .map(|(name, _)| name.as_str())
        .collect()
}

fn parse(text: &str) -> Counts {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.filter_map(|(count, name)| Some((name.to_owned(), count.parse().ok()?))).collect()
}

fn text(counts: &Counts) -> String {
    counts.iter().map(|(name, count)| format!("{count} {name}\n")).collect()
}

const WORK: &[Work] = &[
    qpack("encode a response with a dynamic table", &["encode", "response"]),
    qpack("encode a response without one", &["encode", "response-static"]),
    qpack("decode a request with a dynamic table", &["decode", "request"]),
    qpack("decode a request without one", &["decode", "request-static"]),
    Work {
        name: "serve a request of 1 KiB in HTTP/3",
        package: "sterna-h3",
        arguments: &[],
        function: "*serve_one*",
    },
];

const fn qpack(name: &'static str, arguments: &'static [&'static str]) -> Work {
    Work { name, package: "sterna-qpack", arguments, function: "" }
}

const FEW: u64 = 1000;
const MANY: u64 = 3000;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> Counts {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn a_twentieth_more_is_allowed_and_one_more_is_not() {
        let before = counts(&[("a", 100), ("b", 100)]);
        let now = counts(&[("a", 105), ("b", 106), ("new", 7)]);
        assert_eq!(dearer(&before, &now), ["b"]);
    }

    #[test]
    fn the_file_reads_as_it_was_written() {
        let counts = counts(&[("encode a response", 4438), ("serve a request", 9000)]);
        assert_eq!(parse(&text(&counts)), counts);
    }

    #[test]
    fn callgrinds_figure_is_found_among_its_words() {
        assert_eq!(collected("==7== \n==7== Collected : 4805860\n"), Some(4_805_860));
        assert_eq!(collected("valgrind: no such file"), None);
    }
}
