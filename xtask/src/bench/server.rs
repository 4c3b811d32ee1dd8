//! A server that runs: started, waited for, and ended when it is dropped.

use std::io::{BufRead as _, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::process;

/// A running server; dropping it ends it.
pub(crate) struct Server {
    child: Child,
    /// Where it listens, on loopback.
    pub(crate) port: u16,
}

/// How it is known that a server takes connections.
#[derive(Clone, Copy)]
pub(crate) enum Sign {
    /// It says `ready` on stderr, and before that its address.
    Word,
    /// Its TCP port opens, which it opens with the UDP one, and it is so many processes.
    Port { port: u16, processes: usize },
}

impl Server {
    /// Starts `command` and waits for `sign`; what it says meanwhile is the error.
    pub(crate) fn start(command: &mut Command, sign: Sign) -> Result<Self, String> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| format!("{command:?} does not run: {error}"))?;
        let stderr = child.stderr.take();
        let mut server = Self { child, port: 0 };

        let (ready, started) = mpsc::channel();
        if let Some(stderr) = stderr {
            std::thread::spawn(move || follow(stderr, &ready));
        }
        let limit = Instant::now() + START_LIMIT;
        server.port = loop {
            match started.recv_timeout(PAUSE) {
                Ok(said) => break said?,
                Err(RecvTimeoutError::Disconnected) => return Err("nothing".to_owned()),
                Err(RecvTimeoutError::Timeout) if Instant::now() > limit => {
                    return Err(format!("nothing within {} s", START_LIMIT.as_secs()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            // A master opens the port before it starts who takes the connections.
            if let Sign::Port { port, processes } = sign
                && server.pids().len() >= processes
                && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
            {
                break port;
            }
        };
        Ok(server)
    }

    /// The processes to ask for CPU time and memory; `taskset` has become the server.
    pub(crate) fn pids(&self) -> Vec<u32> {
        process::family(self.child.id())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It holds nothing that a kill could harm, and a drain would wait for idle connections. Workers first: a master
        // that is gone cannot start them anew.
        for pid in self.pids().into_iter().skip(1) {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that neither TCP nor UDP uses now.
pub(crate) fn free_port() -> std::io::Result<u16> {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = tcp.local_addr()?.port();
        if UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
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
            // Whoever asked has given up, or has seen the port open, if this fails.
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
const START_LIMIT: Duration = Duration::from_secs(20);

/// Between two looks at a port.
const PAUSE: Duration = Duration::from_millis(20);

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
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'error: the port is in use' >&2"]);
        let failure = Server::start(&mut command, Sign::Port { port: 1, processes: 1 }).err();
        assert_eq!(failure.as_deref(), Some("error: the port is in use\n"));
    }

    #[test]
    fn a_server_that_is_dropped_takes_its_children_along() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo https://[::1]:7/ ready >&2; wait"]);
        let server = Server::start(&mut command, Sign::Word).unwrap();
        let pids = server.pids();
        assert_eq!((server.port, pids.len()), (7, 2));
        drop(server);
        let is_alive = |pid: &u32| std::path::Path::new(&format!("/proc/{pid}/exe")).exists();
        // A kill is not waited for where the process is not a child of this one.
        let limit = Instant::now() + START_LIMIT;
        while pids.iter().any(is_alive) {
            assert!(Instant::now() < limit);
            std::thread::yield_now();
        }
    }
}
