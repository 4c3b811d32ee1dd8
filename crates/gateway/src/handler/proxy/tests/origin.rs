//! A server that writes what a test says, and remembers every byte that it read.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Notify;
use tokio::task::spawn_local;

/// What an origin does with a request.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// It answers when what it has read since its last answer ends with this.
    pub(super) after: &'static [u8],
    pub(super) answer: Vec<u8>,
    pub(super) then: Then,
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The next request.
    Next,
    /// FIN.
    Close,
    /// RST.
    Reset,
    /// The end, without an answer to the next request.
    HangUp,
    /// The same answer again and again.
    Repeat,
}

/// The server.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) address: String,
    log: Rc<Log>,
}

#[derive(Default)]
struct Log {
    connections: RefCell<Vec<Vec<u8>>>,
    ended: RefCell<usize>,
    /// Answers that were written to their end.
    written: RefCell<usize>,
    changed: Notify,
}

impl Script {
    pub(super) fn answer(answer: impl Into<Vec<u8>>) -> Self {
        Self { after: b"\r\n\r\n", answer: answer.into(), then: Then::Next }
    }

    pub(super) fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    pub(super) fn after(self, after: &'static [u8]) -> Self {
        Self { after, ..self }
    }
}

impl Origin {
    pub(super) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let origin = Self { address, log: Rc::default() };
        let log = origin.log.clone();
        spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn_local(serve_tcp(stream, script.clone(), log.clone()));
            }
        });
        origin
    }

    /// At a unix socket.
    pub(super) async fn start_unix(path: &std::path::Path, script: Script) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        let address = format!("unix:{}", path.display());
        let origin = Self { address, log: Rc::default() };
        let log = origin.log.clone();
        spawn_local(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (script, log) = (script.clone(), log.clone());
                spawn_local(async move { serve(&mut stream, &script, &log).await });
            }
        });
        origin
    }

    /// What was read on each connection.
    pub(super) fn read(&self) -> Vec<String> {
        let connections = self.log.connections.borrow();
        connections.iter().map(|read| String::from_utf8_lossy(read).into_owned()).collect()
    }

    /// The first request of the first connection, line by line.
    pub(super) fn lines(&self) -> Vec<String> {
        let read = self.read();
        let head = read.first().map(|read| read.split("\r\n\r\n").next().unwrap_or_default());
        head.unwrap_or_default().split("\r\n").map(str::to_owned).collect()
    }

    /// How many connections there were.
    pub(super) fn connections(&self) -> usize {
        self.log.connections.borrow().len()
    }

    /// How many answers were written to their end.
    pub(super) fn written(&self) -> usize {
        *self.log.written.borrow()
    }

    /// How many requests have come.
    pub(super) fn requests(&self) -> usize {
        self.read().iter().map(|read| read.matches(" HTTP/1.1\r\n").count()).sum()
    }

    /// Waits until so many connections have been ended by the other side.
    pub(super) async fn wait_for_ended(&self, count: usize) {
        self.wait(|log| *log.ended.borrow() >= count).await;
    }

    /// Waits until something that ends with this has been read.
    pub(super) async fn wait_for(&self, end: &[u8]) {
        self.wait(|log| log.connections.borrow().iter().any(|read| read.ends_with(end))).await;
    }

    async fn wait(&self, is_so: impl Fn(&Log) -> bool) {
        loop {
            let changed = self.log.changed.notified();
            if is_so(&self.log) {
                return;
            }
            changed.await;
        }
    }
}

async fn serve_tcp(mut stream: TcpStream, script: Script, log: Rc<Log>) {
    serve(&mut stream, &script, &log).await;
    if script.then == Then::Reset {
        let _ = stream.set_zero_linger();
    }
}

async fn serve(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), script: &Script, log: &Log) {
    let index = log.connections.borrow().len();
    log.connections.borrow_mut().push(Vec::new());
    let (mut answered, mut first) = (0, 0);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => read,
            Ok(_) | Err(_) => break,
        };
        let is_asked = {
            let mut connections = log.connections.borrow_mut();
            let Some(all) = connections.get_mut(index) else { return };
            all.extend_from_slice(buffer.get(..read).unwrap_or_default());
            let is_asked = all.get(answered..).is_some_and(|new| new.ends_with(script.after));
            if is_asked {
                answered = all.len();
            }
            is_asked
        };
        log.changed.notify_waiters();
        if is_asked && script.then == Then::HangUp && first > 0 {
            return;
        }
        if is_asked {
            if first == 0 {
                first = answered;
            }
            let mut written = stream.write_all(&script.answer).await;
            match script.then {
                Then::Next | Then::HangUp => {}
                Then::Close | Then::Reset => return,
                Then::Repeat => {
                    while written.is_ok() {
                        *log.written.borrow_mut() += 1;
                        written = stream.write_all(&script.answer).await;
                    }
                }
            }
        }
    }
    *log.ended.borrow_mut() += 1;
    log.changed.notify_waiters();
}
