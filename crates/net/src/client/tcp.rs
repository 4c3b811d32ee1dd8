//! HTTP/1.1 and HTTP/2 over TCP: one connection from the first SYN to a sender for requests.

mod body;
mod head;

use std::{
    error::Error as StdError,
    io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock},
    time::Instant,
};

use http::{
    Response,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    response,
};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use self::head::Bounded;
pub(crate) use self::{
    body::{TcpBody, Upload},
    head::HeadBudget,
};
use super::{
    Answer, EarlyData, Error,
    config::Config,
    connect::Attempt,
    connection::{Carrier, Established, Info, Life, LifeGuard},
    error::{self, Kind, Phase},
    request::Message,
    response::Source,
};
use crate::{Protocol, TlsFacts};

/// Connects, agrees on TLS and a version, and leaves the connection to a task of its own.
///
/// # Errors
/// Phase and cause; nothing is left behind.
pub(crate) async fn connect(
    attempt: Attempt,
    tls: Option<Arc<rustls::ClientConfig>>,
    config: &Config,
) -> Result<Established, Error> {
    let Attempt { address, server_name, versions, progress, .. } = attempt;
    let began = Instant::now();
    let connected = timeout(config.timeouts.connect, open(address, config)).await;
    let stream = connected
        .map_err(|_| Error::new(Phase::Connect, Kind::Timeout))?
        .map_err(|error| Error::system(Phase::Connect, error))?;
    progress.heard();
    let mut info = Info::new(Protocol::Http1, address);
    info.local = stream.local_addr().ok();
    info.connect = began.elapsed();
    match tls {
        None => {
            let protocol = if versions.h1 { Protocol::Http1 } else { Protocol::Http2 };
            speak(stream, protocol, info, config).await
        }
        Some(tls) => {
            let began = Instant::now();
            let server_name = ServerName::try_from(server_name)
                .map_err(|error| Error::new(Phase::Tls, Kind::Certificate).because(error))?;
            let handshake = TlsConnector::from(tls).connect(server_name, stream);
            let stream = timeout(config.timeouts.tls, handshake)
                .await
                .map_err(|_| Error::new(Phase::Tls, Kind::Timeout))?
                .map_err(error::of_tls)?;
            info.tls_took = began.elapsed();
            let facts = facts(stream.get_ref().1);
            let protocol = match facts.alpn.as_deref() {
                Some("h2") => Protocol::Http2,
                // A server that knows nothing of ALPN speaks HTTP/1.1.
                Some("http/1.1") | None if versions.h1 => Protocol::Http1,
                _ => return Err(Error::new(Phase::Tls, Kind::Alpn)),
            };
            info.tls = Some(Arc::new(facts));
            speak(stream, protocol, info, config).await
        }
    }
}

/// The same over a unix socket, without TLS.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn connect_unix(path: &Path, config: &Config) -> Result<Established, Error> {
    let began = Instant::now();
    let connected = timeout(config.timeouts.connect, UnixStream::connect(path)).await;
    let stream =
        connected.map_err(|_| Error::new(Phase::Connect, Kind::Timeout))?.map_err(|error| {
            match error.kind() {
                // Who listens makes the file.
                io::ErrorKind::NotFound => Error::new(Phase::Connect, Kind::Refused).because(error),
                _ => Error::system(Phase::Connect, error),
            }
        })?;
    // It has no address that a socket of the network could have.
    let mut info = Info::new(Protocol::Http1, SocketAddr::from(([0, 0, 0, 0], 0)));
    info.connect = began.elapsed();
    let protocol = if config.versions.h1 { Protocol::Http1 } else { Protocol::Http2 };
    speak(stream, protocol, info, config).await
}

async fn open(address: SocketAddr, config: &Config) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(local) = config.local_address.filter(|ip| ip.is_ipv4() == address.is_ipv4()) {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

/// The HTTP handshake, if there is one, and the task that drives the connection.
async fn speak<I>(
    io: I,
    protocol: Protocol,
    mut info: Info,
    config: &Config,
) -> Result<Established, Error>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    info.protocol = protocol;
    let limits = &config.pool;
    let io = Bounded { io, budget: info.head_budget.clone() };
    let io = TokioIo::new(io);
    let life = Arc::new(Life::default());
    let guard = LifeGuard::new(life.clone());
    let ended = info.ended.clone();
    let broken = |error| why_unsent(failed(error, Phase::Connect, protocol), &ended);
    let carrier = if protocol == Protocol::Http2 {
        let header_size = u32::try_from(limits.max_header_size).unwrap_or(u32::MAX);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(header_size)
            .initial_stream_window_size(config.http2_windows.0)
            .initial_connection_window_size(config.http2_windows.1)
            .keep_alive_interval(H2_PING)
            .keep_alive_timeout(H2_PONG)
            .handshake(io)
            .await
            .map_err(broken)?;
        drive(connection, guard, ended.clone(), protocol);
        Carrier::Http2(sender)
    } else {
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(limits.max_header_fields)
            .max_header_size(limits.max_header_size)
            .max_buf_size(limits.max_header_size.max(H1_BUFFER))
            .handshake(io)
            .await
            .map_err(broken)?;
        drive(connection, guard, ended.clone(), protocol);
        // Until its task has run once it looks as if it were used.
        sender.ready().await.map_err(broken)?;
        Carrier::Http1(sender)
    };
    Ok(Established { carrier, info, life })
}

fn drive<C>(connection: C, guard: LifeGuard, end: Arc<OnceLock<Error>>, protocol: Protocol)
where
    C: Future<Output = hyper::Result<()>> + Send + 'static,
{
    tokio::spawn(async move {
        let ended = connection.await;
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection over TCP ended");
            // Nobody else sets it.
            let _ = end.set(failed(error, Phase::FirstByte, protocol));
        }
        drop(guard);
    });
}

/// Sends a request on an HTTP/1.1 connection.
pub(crate) async fn send_http1(
    sender: &mut http1::SendRequest<TcpBody>,
    message: &Message,
    info: &Info,
    max_header_size: usize,
) -> Result<Answer, Error> {
    let (request, upload) = body::request(message, true);
    info.head_budget.begin(HEADS * max_header_size.max(H1_BUFFER) as u64);
    let response = sender.try_send_request(request).await;
    info.head_budget.end();
    response
        .map(|response| answer(response, upload))
        .map_err(|error| why_unsent(refused(error, Protocol::Http1), &info.ended))
}

/// Sends a request on an HTTP/2 connection, once it takes one more.
pub(crate) async fn send_http2(
    sender: &mut http2::SendRequest<TcpBody>,
    message: &Message,
    info: &Info,
) -> Result<Answer, Error> {
    sender.ready().await.map_err(|error| {
        why_unsent(failed(error, Phase::Request, Protocol::Http2).unsent(), &info.ended)
    })?;
    let (request, upload) = body::request(message, false);
    let response = sender.try_send_request(request).await;
    response
        .map(|response| answer(response, upload))
        .map_err(|error| why_unsent(refused(error, Protocol::Http2), &info.ended))
}

fn answer(response: Response<Incoming>, upload: Option<Upload>) -> Answer {
    let (parts, body) = response.into_parts();
    Answer {
        parts,
        body: Source::Hyper(body),
        upload,
        early_data: EarlyData::NotOffered,
        interim: Vec::new(),
        quic: None,
    }
}

/// Whether a response over HTTP/1.1 is the last that its connection is trusted with: it changes the protocol, or has a framing
/// that nobody asked for, and what follows it may be anything.
///
/// A server that thinks so too may close the connection at any moment, and a request that met this would be lost.
pub(crate) fn is_last(head: &response::Parts) -> bool {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let is_framed_well = match (codings.next(), codings.next()) {
        (None, _) => true,
        // A length beside it is how responses are split (RFC 9112 §6.3).
        (Some(only), None) => {
            only.as_bytes().eq_ignore_ascii_case(b"chunked")
                && !head.headers.contains_key(CONTENT_LENGTH)
        }
        (Some(_), Some(_)) => false,
    };
    head.status.is_informational() || !is_framed_well
}

fn refused<T>(mut error: hyper::client::conn::TrySendError<T>, protocol: Protocol) -> Error {
    let is_unsent = error.take_message().is_some();
    let error = failed(error.into_error(), Phase::FirstByte, protocol);
    if is_unsent { error.unsent() } else { error }
}

/// A request that met a connection which was at its end hears of it as lost; what the connection died of says more, such as
/// a server that wants a certificate and says so after the handshake.
fn why_unsent(error: Error, ended: &OnceLock<Error>) -> Error {
    match ended.get() {
        Some(why) if error.kind() == Kind::Lost && error.may_retry() && why.is_of_tls() => {
            why.clone().unsent()
        }
        _ => error,
    }
}

/// What an error of hyper means for a request in `phase`.
pub(crate) fn failed(error: hyper::Error, phase: Phase, protocol: Protocol) -> Error {
    let (kind, is_unsent) = classify(&error, phase);
    let failure = Error::new(phase, kind).over(protocol).because(error);
    if is_unsent { failure.unsent() } else { failure }
}

fn classify(error: &hyper::Error, phase: Phase) -> (Kind, bool) {
    let lost = if phase == Phase::Body { Kind::Truncated } else { Kind::Lost };
    if let Some(h2) = find::<h2::Error>(error) {
        return classify_h2(h2, lost);
    }
    if error.is_parse_too_large() {
        return (Kind::HeadersTooLarge, false);
    }
    if error.is_parse() {
        return (Kind::Malformed, false);
    }
    if error.is_user() {
        return (Kind::RequestBody, false);
    }
    if error.is_canceled() {
        return (lost, true);
    }
    let kind = match find::<io::Error>(error) {
        // An alert after the handshake, or a record of TLS that is none.
        Some(error) if of_record(error).is_some() => of_record(error).unwrap_or(Kind::Tls),
        // Chunks that make no sense, or trailers without an end.
        Some(error)
            if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) =>
        {
            Kind::Malformed
        }
        _ => lost,
    };
    (kind, false)
}

fn classify_h2(error: &h2::Error, lost: Kind) -> (Kind, bool) {
    let code = error.reason().map(u32::from).map(u64::from);
    let is_refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
    match code {
        Some(0) if error.is_go_away() && error.is_remote() => (Kind::GoAway, false),
        Some(code) if error.is_reset() && error.is_remote() => (Kind::Reset { code }, is_refused),
        // What was reset by a rule of HTTP: a head that is none, content that is too long or too short.
        Some(_) if error.is_reset() && error.is_library() => (Kind::Malformed, false),
        // What hyper reset because the request's body failed.
        Some(_) if error.is_reset() => (Kind::RequestBody, false),
        Some(code) => (Kind::Protocol { code }, false),
        None => (lost, false),
    }
}

/// What a failure of TLS after the handshake means.
fn of_record(error: &io::Error) -> Option<Kind> {
    let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(if matches!(tls, rustls::Error::AlertReceived(_)) { Kind::TlsAlert } else { Kind::Tls })
}

fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

fn facts(connection: &rustls::ClientConnection) -> TlsFacts {
    TlsFacts {
        version: connection.protocol_version().map(crate::server::tcp::version_name),
        cipher_suite: connection.negotiated_cipher_suite().and_then(|s| s.suite().as_str()),
        key_exchange: connection.negotiated_key_exchange_group().and_then(|g| g.name().as_str()),
        alpn: connection.alpn_protocol().map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
        server_name: None,
        client_certificates: Vec::new(),
        client: None,
    }
}

/// A connection with requests under way is asked after this silence whether it is alive, and given up after that.
const H2_PING: std::time::Duration = std::time::Duration::from_secs(15);
const H2_PONG: std::time::Duration = std::time::Duration::from_secs(10);

/// Least buffer of an HTTP/1.1 connection, in bytes.
const H1_BUFFER: usize = 64 * 1024;

/// How many heads of the greatest size may come for one response, all of them but one interim.
const HEADS: u64 = 4;
