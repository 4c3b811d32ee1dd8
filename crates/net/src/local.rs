//! HTTP/1.1 for the machine itself: a unix socket or an address, few connections, messages that are whole in memory.
//!
//! It is for an operator's interface, and stays what it is however busy the server beside it: it has a thread and a
//! runtime of its own. [`ask`] is its client.

use std::{
    convert::Infallible,
    fs, io,
    net::SocketAddr,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::pin,
    rc::Rc,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, watch},
    task::{JoinSet, LocalSet},
    time::{sleep, timeout},
};

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A unix socket, for who may write to it.
    Unix(PathBuf),
    /// An address, TCP without TLS.
    Tcp(SocketAddr),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// A socket that is bound and served by nobody yet. A unix socket is removed when it is dropped.
#[derive(Debug)]
pub struct Listener {
    place: Place,
    socket: Option<Socket>,
    /// The file of a unix socket: its own, and not that of a server that has come after it.
    inode: Option<u64>,
}

#[derive(Debug)]
enum Socket {
    Unix(std::os::unix::net::UnixListener),
    Tcp(std::net::TcpListener),
}

impl Listener {
    /// Binds it. A unix socket belongs to its owner alone; one that a server left behind is replaced, and its directory is
    /// made if it is not there.
    ///
    /// # Errors
    /// `AddrInUse` when another server listens there; else what the operating system said.
    pub fn bind(place: Place) -> io::Result<Self> {
        match place {
            Place::Unix(path) => Self::bind_unix(path),
            Place::Tcp(address) => {
                let socket = std::net::TcpListener::bind(address)?;
                socket.set_nonblocking(true)?;
                let place = Place::Tcp(socket.local_addr()?);
                Ok(Self { place, socket: Some(Socket::Tcp(socket)), inode: None })
            }
        }
    }

    fn bind_unix(path: PathBuf) -> io::Result<Self> {
        if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
            fs::create_dir_all(directory)?;
            fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
        }
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        // Nobody may connect before its permissions are right: it gets its name last.
        let mut new = path.clone().into_os_string();
        new.push(format!(".{}", std::process::id()));
        let new = PathBuf::from(new);
        let _ = fs::remove_file(&new);
        let socket = std::os::unix::net::UnixListener::bind(&new)?;
        let name_it = || {
            fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
            let inode = fs::metadata(&new)?.ino();
            fs::rename(&new, &path)?;
            Ok(inode)
        };
        let inode = name_it().inspect_err(|_: &io::Error| drop(fs::remove_file(&new)))?;
        socket.set_nonblocking(true)?;
        let place = Place::Unix(path);
        Ok(Self { place, socket: Some(Socket::Unix(socket)), inode: Some(inode) })
    }

    /// Where it is, with the actual port.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Answers requests on a thread of its own until the process ends, each by a future of `answer`.
    ///
    /// # Errors
    /// When the operating system gives no thread or no event queue.
    pub fn serve<F, A>(mut self, name: &str, answer: F) -> io::Result<Served>
    where
        F: Fn(Request<Bytes>) -> A + Send + 'static,
        A: Future<Output = Response<Bytes>> + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_CONNECTIONS)
            .build()?;
        let Some(socket) = self.socket.take() else { unreachable!("it is taken here alone") };
        // From here on it is for the other to remove.
        let (ending, ends) = watch::channel(());
        let (living, ended) = mpsc::channel();
        let place = self.place.clone();
        let served = Served { place, inode: self.inode.take(), ending: Some(ending), ended };
        let life = Life { ends, _living: living };
        thread::Builder::new().name(name.into()).spawn(move || {
            let local = LocalSet::new();
            local.block_on(&runtime, async move {
                let polled = match socket {
                    Socket::Unix(socket) => match UnixListener::from_std(socket) {
                        Ok(socket) => {
                            accept(async || Ok(socket.accept().await?.0), answer, life).await;
                            Ok(())
                        }
                        Err(error) => Err(error),
                    },
                    Socket::Tcp(socket) => match TcpListener::from_std(socket) {
                        Ok(socket) => {
                            accept(async || Ok(socket.accept().await?.0), answer, life).await;
                            Ok(())
                        }
                        Err(error) => Err(error),
                    },
                };
                if let Err(error) = polled {
                    tracing::error!(%error, "the local interface cannot be served");
                }
            });
        })?;
        Ok(served)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        remove(&self.place, self.inode);
    }
}

/// An interface that is served. A unix socket is removed when this is dropped.
#[derive(Debug)]
pub struct Served {
    place: Place,
    inode: Option<u64>,
    /// Dropped to end it.
    ending: Option<watch::Sender<()>>,
    /// Disconnected once nobody is answered any more.
    ended: mpsc::Receiver<()>,
}

/// What everything holds that answers.
#[derive(Clone)]
struct Life {
    ends: watch::Receiver<()>,
    _living: mpsc::Sender<()>,
}

impl Life {
    /// Waits until the interface is to end.
    async fn is_over(&mut self) {
        while self.ends.changed().await.is_ok() {}
    }
}

impl Served {
    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Ends it: requests that are being answered get their answers, but no longer than `patience` is waited for that.
    pub fn finish(mut self, patience: Duration) {
        drop(self.ending.take());
        let _ = self.ended.recv_timeout(patience);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        remove(&self.place, self.inode);
    }
}

fn remove(place: &Place, inode: Option<u64>) {
    if let (Place::Unix(path), Some(inode)) = (place, inode)
        && fs::metadata(path).is_ok_and(|file| file.ino() == inode)
    {
        let _ = fs::remove_file(path);
    }
}

async fn accept<S, F, A>(next: impl AsyncFn() -> io::Result<S>, answer: F, mut life: Life)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Fn(Request<Bytes>) -> A + 'static,
    A: Future<Output = Response<Bytes>> + 'static,
{
    let answer = Rc::new(answer);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut tasks = JoinSet::new();
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await.expect("never closed");
            next().await.map(|stream| (place, stream))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            () = life.is_over() => break,
        };
        let (place, stream) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most likely there are no descriptors, and there will be again.
                tracing::warn!(%error, "the local interface cannot accept a connection for now");
                sleep(PAUSE).await;
                continue;
            }
        };
        let (answer, life) = (answer.clone(), life.clone());
        tasks.spawn_local(async move {
            serve_one(stream, answer, life).await;
            drop(place);
        });
        while tasks.try_join_next().is_some() {}
    }
    while tasks.join_next().await.is_some() {}
}

async fn serve_one<S, F, A>(stream: S, answer: Rc<F>, mut life: Life)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Fn(Request<Bytes>) -> A + 'static,
    A: Future<Output = Response<Bytes>> + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = timeout(PATIENCE, Limited::new(body, MAX_MESSAGE).collect()).await;
            let response = match body {
                Ok(Ok(body)) => answer(Request::from_parts(head, body.to_bytes())).await,
                Ok(Err(_)) => empty(StatusCode::PAYLOAD_TOO_LARGE),
                Err(_) => empty(StatusCode::REQUEST_TIMEOUT),
            };
            Ok::<_, Infallible>(response.map(Full::new))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = life.is_over() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the local interface failed");
    }
}

fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

/// Sends one request and waits for its response, on the calling thread.
///
/// # Errors
/// What the operating system said; `TimedOut` when there was no response after `patience`; `InvalidData` when it was no
/// HTTP.
pub fn ask(
    place: &Place,
    request: Request<Bytes>,
    patience: Duration,
) -> io::Result<Response<Bytes>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let asked = async {
            match place {
                Place::Unix(path) => exchange(connect_unix(path).await?, request).await,
                Place::Tcp(address) => exchange(TcpStream::connect(address).await?, request).await,
            }
        };
        timeout(patience, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    })
}

async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(path).await
}

async fn exchange<S>(stream: S, mut request: Request<Bytes>) -> io::Result<Response<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let broken = |error: hyper::Error| io::Error::new(io::ErrorKind::InvalidData, error);
    let (mut send, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::task::spawn_local(connection);
    request
        .headers_mut()
        .entry(header::HOST)
        .or_insert(header::HeaderValue::from_static("localhost"));
    let response = send.send_request(request.map(Full::new)).await.map_err(broken)?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(broken)?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

/// Connections at once: a few people and their scrapers.
const MAX_CONNECTIONS: usize = 16;

/// Bytes of a request's content.
const MAX_MESSAGE: usize = 8 << 20;

/// Bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;

/// For a head, and for a content.
const PATIENCE: Duration = Duration::from_secs(10);

/// After a failure to accept.
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;
