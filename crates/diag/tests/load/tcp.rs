//! A server over plain TCP that does what a test tells it to.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// Accepts connections one after the other, until it is dropped.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    /// Each connection is served by `serve`, which is told how many there were before; it is closed after that.
    pub(crate) fn start(mut serve: impl FnMut(&mut TcpStream, u64) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let flag = ended.clone();
        let thread = thread::spawn(move || {
            for index in 0.. {
                let (mut stream, _) = listener.accept().unwrap();
                if flag.load(Ordering::Relaxed) {
                    return;
                }
                serve(&mut stream, index);
            }
        });
        Self { address, ended, thread: Some(thread) }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // It waits for one more.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let outcome = thread.join();
            assert!(outcome.is_ok() || thread::panicking(), "the script has failed");
        }
    }
}

/// Reads the next request of HTTP/1.1 without content; `false` at the end.
pub(crate) fn read_head(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    true
}

/// Reads the next frame of HTTP/2: type, flags, stream; `None` at the end.
pub(crate) fn read_frame(stream: &mut TcpStream) -> Option<(u8, u8, u32)> {
    let mut header = [0; 9];
    stream.read_exact(&mut header).ok()?;
    let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).ok()?;
    let id = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
    Some((header[3], header[4], id))
}

/// Writes what may find nobody.
pub(crate) fn write(stream: &mut TcpStream, data: &[u8]) {
    let _ = stream.write_all(data);
}

/// A frame of HTTP/2.
pub(crate) fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}
