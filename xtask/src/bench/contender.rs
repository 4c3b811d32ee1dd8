//! A server under test: how it is called, started and stopped.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A program that serves the site.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    program: PathBuf,
    arguments: &'static [&'static str],
}

/// A running server; dropping it ends it.
pub(crate) struct Server {
    child: Child,
    /// Where it listens, on loopback.
    pub(crate) port: u16,
}

impl Contender {
    pub(crate) fn sterna(program: &Path) -> Self {
        let arguments = &["files", "site", "--workers", "1", "--no-access-log"];
        Self { name: "sterna", program: program.to_owned(), arguments }
    }

    pub(crate) fn peer(name: &'static str, program: &Path) -> Self {
        Self { name, program: program.to_owned(), arguments: &["site"] }
    }

    /// Starts the server in `directory`, pinned to core 0, and waits until it says that it is ready.
    pub(crate) fn start(&self, directory: &Path) -> Result<Server, Box<dyn std::error::Error>> {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(&self.program).args(self.arguments);
        command.args(["--listen", "127.0.0.1:0", "--cert", "cert.pem", "--key", "key.pem"]);
        command.current_dir(directory).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| format!("taskset does not run: {error}"))?;
        let stderr = child.stderr.take();
        let mut server = Server { child, port: 0 };

        let (ready, started) = mpsc::channel();
        if let Some(stderr) = stderr {
            std::thread::spawn(move || follow(stderr, &ready));
        }
        let outcome = started.recv_timeout(START_LIMIT).unwrap_or_else(|_| Err("nothing".into()));
        server.port = outcome
            .map_err(|said| format!("{} did not become ready; it said: {said}", self.name))?;
        Ok(server)
    }
}

impl Server {
    /// The process to ask for CPU time and memory; `taskset` has become the server.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It holds nothing that a kill could harm, and a drain would wait for idle connections.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what the server says: up to `ready` for its port, then on, so that it never blocks on a full pipe.
fn follow(stderr: impl Read, ready: &mpsc::Sender<Result<u16, String>>) {
    let mut said = String::new();
    let mut port = None;
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        port = port.or_else(|| port_of(&line));
        said = said + &line + "\n";
        if line.contains("ready")
            && let Some(port) = port
        {
            // Whoever asked has given up if this fails.
            let _ = ready.send(Ok(port));
            said.clear();
        }
    }
    let _ = ready.send(Err(said));
}

/// The port of the first `https://HOST:PORT` in a line.
fn port_of(line: &str) -> Option<u16> {
    let (_, authority) = line.split_once("https://")?;
    let (_, port) = authority.split_whitespace().next()?.trim_end_matches('/').rsplit_once(':')?;
    port.parse().ok()
}

/// Far above what any of them needs.
const START_LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_of_the_address_even_with_a_slash_or_ipv6() {
        assert_eq!(port_of("serving https://127.0.0.1:4433"), Some(4433));
        assert_eq!(port_of("open https://[::1]:80/ in a browser"), Some(80));
        assert_eq!(port_of("ready in 22 ms"), None);
    }

    #[test]
    fn a_server_that_ends_without_ready_is_reported_with_its_words() {
        let (ready, started) = mpsc::channel();
        follow(&b"error: the port is in use\n"[..], &ready);
        assert_eq!(started.recv(), Ok(Err("error: the port is in use\n".into())));
    }
}
