//! `sterna get` where its output goes nowhere.

use std::io::{Read, Write, pipe};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::server::Dir;

/// A server in the clear whose content has no end, and the URL of it.
fn endless() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address: SocketAddr = listener.local_addr().expect("bound");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 64 * 1024]).is_ok() {}
    });
    format!("http://{address}/")
}

/// Its exit code, if it ends within a time that is enough for everything.
fn ended(mut child: Child) -> Option<i32> {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        if let Some(status) = child.try_wait().expect("a child") {
            return status.code();
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().expect("a child");
    child.wait().expect("a child");
    None
}

#[test]
fn reader_of_stdout_that_stopped_reading_holds_up_neither_a_signal_nor_the_time() {
    let dir = Dir::new();
    for (args, signal, code) in [
        (&[][..], Some(Signal::SIGINT), 130),
        (&[][..], Some(Signal::SIGTERM), 130),
        (&["--max-time", "500ms"][..], None, 13),
    ] {
        let (mut reader, writer) = pipe().expect("a pipe");
        let mut command = dir.sterna(&[&["get"], args, &[&*endless()]].concat());
        let child = command.stdout(writer).stderr(Stdio::null()).spawn().expect("started");
        drop(command);
        // Content has come, and the pipe is full soon: nobody reads any more.
        reader.read_exact(&mut [0; 4096]).expect("content");
        if let Some(signal) = signal {
            thread::sleep(Duration::from_millis(300));
            kill(Pid::from_raw(child.id().cast_signed()), signal).expect("sent");
        }
        assert_eq!(ended(child), Some(code), "{args:?} {signal:?}");
    }
}

#[test]
fn pipe_that_nobody_opens_for_reading_holds_up_no_signal() {
    let dir = Dir::new();
    let path = dir.path("pipe");
    nix::unistd::mkfifo(&*path, nix::sys::stat::Mode::S_IRWXU).expect("made");
    let mut command = dir.sterna(&["get", "-o", &path, "--max-time", "300ms", &endless()]);
    let child = command.stderr(Stdio::null()).spawn().expect("started");
    assert_eq!(ended(child), Some(13));
}
