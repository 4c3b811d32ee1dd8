//! `cargo xtask bench start`: from the start of the process to the first byte, what it costs to be there, and its size.
//!
//! There is no peer here: these are bounds on a time that a person waits for, and on what a small machine has.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Outcome;

const USAGE: &str = "\
usage: cargo xtask bench start [--rounds N] [--this PROGRAM]

From the start of the process to its ready line and to the first byte of a file over HTTPS, with a local authority that is there
and with one that is made; the processor time of ten idle seconds; the size of the binary.

  --rounds N        starts of each kind, 5 by default
  --this PROGRAM    measures this build of sterna instead of the one built here

Results: one table on stdout, all samples in target/bench/start.json.
";

/// Measures what `arguments` ask for.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let Some(options) = Options::parse(arguments)? else {
        print!("{USAGE}");
        return Ok(());
    };
    let program = match options.this {
        Some(program) => program,
        None => build()?,
    };
    let stage = Stage::prepare(program)?;
    let mut figures = Figures { binary: fs::metadata(&stage.program)?.len(), ..Figures::default() };
    for _ in 0..options.rounds {
        stage.forget_authority()?;
        figures.first.push(stage.start()?);
        figures.again.push(stage.start()?);
    }
    figures.idle_milliseconds = stage.idle()?;
    fs::write(stage.folder.join("../start.json"), serde_json::to_vec_pretty(&figures)?)?;
    print!("{}", figures.table());
    Ok(())
}

struct Options {
    rounds: usize,
    this: Option<PathBuf>,
}

impl Options {
    /// `None` asks for help.
    fn parse(arguments: &[String]) -> Result<Option<Self>, String> {
        let mut options = Self { rounds: 5, this: None };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("`{argument}` takes a value"));
            match argument.as_str() {
                "--rounds" => {
                    let rounds = value()?.parse().ok().filter(|rounds| *rounds > 0);
                    options.rounds = rounds.ok_or("`--rounds` takes a number from 1 on")?;
                }
                "--this" => options.this = Some(value()?.into()),
                "help" | "--help" | "-h" => return Ok(None),
                unknown => {
                    return Err(format!("`{unknown}` is not an option of bench start\n\n{USAGE}"));
                }
            }
        }
        Ok(Some(options))
    }
}

fn build() -> Result<PathBuf, Box<dyn std::error::Error>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--locked", "--package", "sterna"]);
    let status = cargo.current_dir(crate::workspace_root()).status()?;
    if !status.success() {
        return Err(format!("{cargo:?} failed: {status}").into());
    }
    Ok(crate::target_directory().join("release/sterna"))
}

/// What one start took, in milliseconds.
#[derive(Clone, Copy, Serialize)]
struct Start {
    ready: f64,
    /// Over HTTP/2, with the handshake and the time from the start to the ready line.
    first_byte: f64,
}

/// A directory to serve, and a place for the authority.
struct Stage {
    program: PathBuf,
    folder: PathBuf,
}

impl Stage {
    fn prepare(program: PathBuf) -> std::io::Result<Self> {
        let folder = crate::target_directory().join("bench/start");
        fs::create_dir_all(folder.join("site"))?;
        fs::write(folder.join("site/index.html"), "<!doctype html><title>here</title>\n")?;
        Ok(Self { program, folder })
    }

    fn forget_authority(&self) -> std::io::Result<()> {
        match fs::remove_dir_all(self.folder.join("data")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn start(&self) -> Result<Start, Box<dyn std::error::Error>> {
        let begun = Instant::now();
        let server = Server::start(&self.program, &self.folder)?;
        let ready = begun.elapsed();
        // What curl itself needs before it connects is not the server's.
        let format = "%{time_starttransfer}";
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--insecure", "--output", "/dev/null"]);
        let output = curl.args(["--write-out", format, &server.url]).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let transfer: f64 = std::str::from_utf8(&output.stdout)?.trim().parse()?;
        let ready = milliseconds(ready);
        Ok(Start { ready, first_byte: ready + transfer * 1000.0 })
    }

    /// Processor time of a server that nobody asks, in milliseconds for [`IDLE`].
    fn idle(&self) -> Result<f64, Box<dyn std::error::Error>> {
        let server = Server::start(&self.program, &self.folder)?;
        let before = server.processor_time()?;
        std::thread::sleep(IDLE);
        Ok(milliseconds(server.processor_time()?.saturating_sub(before)))
    }
}

/// A server that is ready; dropping it ends it.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(program: &Path, folder: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let mut command = Command::new(program);
        command.arg("files").arg(folder.join("site")).args(["--listen", "127.0.0.1:0"]);
        command.arg("--no-access-log").env("STERNA_DATA", folder.join("data"));
        let mut process = command.stderr(Stdio::piped()).spawn()?;
        let stderr = process.stderr.take().ok_or("stderr is not a pipe")?;
        let mut server = Self { process, url: String::new() };
        for line in BufReader::new(stderr).lines() {
            let line = line?;
            if let Some(url) = line.split_whitespace().find(|word| word.starts_with("https://")) {
                server.url = url.to_owned();
            }
            if line.starts_with("ready in") {
                return Ok(server);
            }
        }
        Err(format!("{command:?} ended before it was ready").into())
    }

    /// Of all its threads, by the scheduler's own count in nanoseconds.
    fn processor_time(&self) -> Result<Duration, Box<dyn std::error::Error>> {
        let mut total = Duration::ZERO;
        for thread in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let spent = text.split_whitespace().next().ok_or("schedstat is empty")?;
            total += Duration::from_nanos(spent.parse()?);
        }
        Ok(total)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It keeps nothing that a clean end would save.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[derive(Default, Serialize)]
struct Figures {
    /// With an authority that had to be made.
    first: Vec<Start>,
    again: Vec<Start>,
    idle_milliseconds: f64,
    /// In bytes.
    binary: u64,
}

impl Figures {
    fn table(&self) -> String {
        let row = |starts: &[Start], of: fn(&Start) -> f64| {
            let mut times: Vec<f64> = starts.iter().map(of).collect();
            times.sort_unstable_by(f64::total_cmp);
            let at = |index: usize| times.get(index).copied().unwrap_or(f64::NAN);
            let last = times.len().saturating_sub(1);
            format!("{:.1} ms ({:.1}–{:.1})", at(last / 2), at(0), at(last))
        };
        format!(
            "\
| | start to ready | start to first byte |
|---|---|---|
| with a local authority | {} | {} |
| making one | {} | {} |

Idle for {IDLE:?}: {:.1} ms of processor time. Binary: {:.1} MiB.
",
            row(&self.again, |start| start.ready),
            row(&self.again, |start| start.first_byte),
            row(&self.first, |start| start.ready),
            row(&self.first, |start| start.first_byte),
            self.idle_milliseconds,
            self.binary as f64 / f64::from(1 << 20),
        )
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

const IDLE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_medians_with_their_spread() {
        let starts = [3.0, 1.0, 2.0].map(|ready| Start { ready, first_byte: ready + 10.0 });
        let figures = Figures {
            first: starts.to_vec(),
            again: starts[..1].to_vec(),
            idle_milliseconds: 0.25,
            binary: 3 << 19,
        };
        let table = figures.table();
        assert!(
            table.contains("| making one | 2.0 ms (1.0–3.0) | 12.0 ms (11.0–13.0) |"),
            "{table}"
        );
        assert!(table.contains("authority | 3.0 ms (3.0–3.0) | 13.0 ms (13.0–13.0) |"), "{table}");
        assert!(
            table.ends_with("Idle for 10s: 0.2 ms of processor time. Binary: 1.5 MiB.\n"),
            "{table}"
        );
    }

    #[test]
    fn what_is_no_option_is_refused() {
        assert!(Options::parse(&["--round".to_owned()]).is_err());
        assert!(Options::parse(&["--rounds".to_owned(), "0".to_owned()]).is_err());
    }
}
