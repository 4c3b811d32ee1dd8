//! `cargo xtask bench cost`: instructions of the hot functions, counted by callgrind, against those of last time.
//!
//! Each work is an example which does it as often as it is told; two runs of different length leave what one costs.
//! `--guard` is another spelling of the same, for who looks for a guard.
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
    example: &'static str,
    /// What cargo needs to be told beside it.
    features: &'static [&'static str],
    /// The example's arguments; `N` stands for the number of times.
    arguments: &'static [&'static str],
    /// The function to count; all of the program where it is empty.
    function: &'static str,
    /// Two numbers of times. The work is counted by what the example prints of itself where `unit` is not empty.
    times: (u64, u64),
    /// The word after the number, in what the example prints, of what is done.
    unit: &'static str,
}

impl Work {
    /// Instructions for doing it once: two runs differ only in how often it is done.
    fn count(&self, target: &Path) -> Result<u64, Box<dyn std::error::Error>> {
        // Most examples are called `cost`: the plain name is that of the last one built.
        let root = crate::workspace_root();
        let build = ["--package", self.package, "--example", self.example];
        super::build(&root, target, &[&build, self.features].concat())?;
        let (few, many) = (self.total(target, self.times.0)?, self.total(target, self.times.1)?);
        let done = many.units.saturating_sub(few.units).max(1);
        Ok(many.instructions.saturating_sub(few.instructions) / done)
    }

    fn total(&self, target: &Path, times: u64) -> Result<Total, Box<dyn std::error::Error>> {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        if !self.function.is_empty() {
            valgrind.arg(format!("--toggle-collect={}", self.function));
        }
        valgrind.arg(target.join("release/examples").join(self.example));
        let number = times.to_string();
        valgrind.args(self.arguments.iter().map(|word| if *word == "N" { &number } else { *word }));
        let output = valgrind.output();
        let output = output.map_err(|error| format!("valgrind does not run: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("{}: {}: {said}", self.name, output.status).into());
        }
        let instructions = collected(&said)
            .ok_or_else(|| format!("{}: callgrind counted nothing: {said}", self.name))?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let units =
            if self.unit.is_empty() { Some(times) } else { before_word(&printed, self.unit) };
        let units =
            units.ok_or_else(|| format!("{}: no `{}` in {printed}", self.name, self.unit))?;
        Ok(Total { instructions, units })
    }
}

/// Of one run.
struct Total {
    instructions: u64,
    units: u64,
}

/// The number before the first `word`, as in `1234 datagrams`.
fn before_word(text: &str, word: &str) -> Option<u64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let pair = words.windows(2).find(|pair| pair[1].trim_end_matches(',') == word)?;
    pair[0].parse().ok()
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
    qpack("encode a response with a dynamic table", &["encode", "response", "N"]),
    qpack("encode a response without one", &["encode", "response-static", "N"]),
    qpack("decode a request with a dynamic table", &["decode", "request", "N"]),
    qpack("decode a request without one", &["decode", "request-static", "N"]),
    Work {
        function: "*serve_one*",
        ..cost("serve a request of 1 KiB in HTTP/3", "sterna-h3", &["N"])
    },
    Work {
        function: "*read_one*",
        ..cost("read 64 DATA frames in HTTP/3", "sterna-h3", &["N", "frames"])
    },
    Work {
        function: "*answer_one*",
        ..cost("answer a request of 1 KiB in the gateway", "sterna-gateway", &["N"])
    },
    proxy("pass a request of 1 KiB on, both ends of HTTP/1.1 to the backend included", &["N"]),
    proxy("the same where content might be compressed", &["N", "compress"]),
    proxy("the same with an access log", &["N", "log"]),
    proxy("choose among 1 backend", &["N", "pick", "1"]),
    proxy("choose among 64 backends", &["N", "pick", "64"]),
    proxy("find one of 10 routes and answer", &["N", "routes", "10"]),
    proxy("find one of 10,000 routes and answer", &["N", "routes", "10000"]),
    Work {
        example: "transfer",
        features: &["--features", "sim"],
        times: (2, 6),
        unit: "datagrams",
        ..cost("carry a datagram, both ends and the simulated network", "sterna-quic", &["N"])
    },
];

const fn qpack(name: &'static str, arguments: &'static [&'static str]) -> Work {
    cost(name, "sterna-qpack", arguments)
}

const fn proxy(name: &'static str, arguments: &'static [&'static str]) -> Work {
    Work { example: "cost_proxy", ..cost(name, "sterna-gateway", arguments) }
}

/// What most works have in common.
const fn cost(
    name: &'static str,
    package: &'static str,
    arguments: &'static [&'static str],
) -> Work {
    let (example, features, function, unit) = ("cost", [].as_slice(), "", "");
    Work { name, package, example, features, arguments, function, times: (1000, 3000), unit }
}

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
    fn what_an_example_has_done_is_read_from_its_words() {
        let said = "16 MiB, complete: true, 14211 datagrams, 0 packets observed";
        assert_eq!(before_word(said, "datagrams"), Some(14_211));
        assert_eq!(before_word(said, "requests"), None);
    }

    #[test]
    fn callgrinds_figure_is_found_among_its_words() {
        assert_eq!(collected("==7== \n==7== Collected : 4805860\n"), Some(4_805_860));
        assert_eq!(collected("valgrind: no such file"), None);
    }
}
