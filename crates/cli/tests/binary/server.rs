//! A running `sterna`, and a client for it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A directory for one test, removed at the end: `site` is to be served, `data` is for the binary.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("sterna-cli-{}-{number}", std::process::id()));
        fs::create_dir_all(dir.join("site")).expect("created");
        fs::write(dir.join("site/hello.txt"), "hello").expect("written");
        Self(dir)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("text").to_owned()
    }

    /// A command that cannot see what the user of this machine has.
    pub(crate) fn sterna(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sterna"));
        command.args(args).env("STERNA_DATA", self.0.join("data")).env_remove("RUST_LOG");
        command.env_remove("SSLKEYLOGFILE");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts it on a free port of the loopback, and waits until it is ready.
    pub(crate) fn start(&self, args: &[&str]) -> Server {
        self.started(self.sterna(&[args, &LISTEN].concat()))
    }

    /// The same, where it finds this directory's `sterna.toml`.
    pub(crate) fn start_in_its_directory(&self, args: &[&str]) -> Server {
        let mut command = self.sterna(&[args, &LISTEN].concat());
        command.current_dir(&self.0);
        self.started(command)
    }

    /// The same with a variable in its environment.
    pub(crate) fn start_with(&self, args: &[&str], variable: (&str, &str)) -> Server {
        let mut command = self.sterna(&[args, &LISTEN].concat());
        command.env(variable.0, variable.1);
        self.started(command)
    }

    fn started(&self, mut command: Command) -> Server {
        let mut child = command.spawn().expect("started");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut report = String::new();
        while !report.lines().any(|line| line.starts_with("ready in ")) {
            let read = stderr.read_line(&mut report).expect("text");
            assert_ne!(read, 0, "ended before it was ready:\n{report}");
        }
        let address = report.split_whitespace().find_map(|word| word.strip_prefix("https://"));
        let address = address.expect("an address").parse().expect("an address");
        let root = self.0.join("data/local-ca/root.crt");
        Server { child, stderr: Some(stderr), address, report, root }
    }
}

/// A free port of the loopback.
const LISTEN: [&str; 4] = ["--listen", "127.0.0.1:0", "--workers", "1"];

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running `sterna`, killed at the end if it still runs.
pub(crate) struct Server {
    child: Child,
    stderr: Option<BufReader<ChildStderr>>,
    pub(crate) address: SocketAddr,
    /// What it said on stderr until it was ready.
    pub(crate) report: String,
    root: PathBuf,
}

/// How a server ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// The access log.
    pub(crate) stdout: String,
}

impl Server {
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, signal).expect("signalled");
    }

    /// Waits for the line on stderr that says so.
    pub(crate) fn wait_for_drain(&mut self) {
        let mut line = String::new();
        let stderr = self.stderr.as_mut().expect("still listening");
        stderr.read_line(&mut line).expect("text");
        assert!(line.starts_with("draining"), "{line}");
    }

    /// Closes the other end of its stderr, as a terminal that goes away.
    pub(crate) fn stop_listening(&mut self) {
        self.stderr = None;
    }

    pub(crate) fn wait(mut self) -> Ended {
        let status = self.child.wait().expect("ended");
        let mut stdout = String::new();
        let output = self.child.stdout.take();
        output.expect("piped").read_to_string(&mut stdout).expect("text");
        Ended { code: status.code(), stdout }
    }

    /// A connection over TLS that trusts the local authority, and nothing else.
    pub(crate) fn connect(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let tcp = TcpStream::connect(self.address).expect("connected");
        tcp.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(Arc::new(trusting(&self.root)), name).expect("a client");
        StreamOwned::new(tls, tcp)
    }

    /// One HTTP/1.1 request; the whole response as text.
    pub(crate) fn fetch(&self, path: &str) -> String {
        self.fetch_with(path, "")
    }

    /// The same with more fields, each with the end of its line.
    pub(crate) fn fetch_with(&self, path: &str, fields: &str) -> String {
        let mut connection = self.connect();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}\r\n");
        connection.write_all(request.as_bytes()).expect("sent");
        let mut response = String::new();
        connection.read_to_string(&mut response).expect("a whole response");
        response
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn trusting(root: &Path) -> ClientConfig {
    let root = CertificateDer::from_pem_file(root).expect("a root");
    let mut roots = RootCertStore::empty();
    roots.add(root).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider);
    let client = client.with_safe_default_protocol_versions().expect("versions");
    client.with_root_certificates(roots).with_no_client_auth()
}
