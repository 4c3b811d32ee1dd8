//! What a request knows about the way it came: the [`RequestContext`] in its extensions.
//!
//! One insertion for each request, two reference counts: what belongs to the connection is shared by its requests.
//! It is `Send + Sync + Clone`; it may outlive the request and the connection.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use http::HeaderMap;
use nix::{getsockopt_impl, sockopt_impl, sys::socket::getsockopt};
use tokio::net::TcpStream;

pub use self::{client::ClientIdentity, early::TooManyHeld};

mod client;
pub(crate) mod early;

/// The HTTP version that carried a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1, and HTTP/1.0.
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP/3.
    Http3,
}

impl Protocol {
    /// `HTTP/1.1`, `HTTP/2` or `HTTP/3`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Http3 => "HTTP/3",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The way a request came: protocol, addresses, TLS, live round-trip time, and whether anyone still waits for it.
///
/// Present in the extensions of every request that the server hands to its service.
///
/// # Example
/// ```
/// use axum::Extension;
/// use sterna_net::RequestContext;
///
/// async fn hello(Extension(context): Extension<RequestContext>) -> String {
///     format!("hello over {} from {}", context.protocol(), context.peer_address())
/// }
/// ```
#[derive(Clone)]
pub struct RequestContext {
    connection: Arc<ConnectionContext>,
    request: Arc<RequestState>,
}

impl RequestContext {
    /// The context of a request, or `None` when the request does not come from a [`Server`](crate::Server).
    pub fn of<B>(request: &http::Request<B>) -> Option<&Self> {
        request.extensions().get()
    }

    /// The HTTP version.
    pub fn protocol(&self) -> Protocol {
        self.connection.protocol
    }

    /// The peer's address: whom the PROXY protocol names, where the peer has to send it. On HTTP/3 it follows a migration
    /// (RFC 9000 §9) once the peer has answered at the new address, and no mere claim before.
    pub fn peer_address(&self) -> SocketAddr {
        *lock(&self.connection.peer)
    }

    /// Our address, as listened on.
    pub fn local_address(&self) -> SocketAddr {
        self.connection.local
    }

    /// Our address that the client came to, where that is known: with TLS.
    pub(crate) fn reached(&self) -> Option<IpAddr> {
        self.connection.reached
    }

    /// Which worker serves the connection, from 0.
    pub fn worker(&self) -> usize {
        self.connection.worker
    }

    /// What TLS agreed on, or `None` on a plain connection.
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.connection.tls.as_ref()
    }

    /// The smoothed round-trip time at this moment, or `None` when the connection is gone.
    pub fn rtt(&self) -> Option<Duration> {
        self.connection.rtt.now()
    }

    /// Tells when nobody waits for the answer any more.
    pub fn cancellation(&self) -> Cancellation {
        Cancellation(self.request.clone())
    }

    /// Sends a 103 with these fields before the response (RFC 8297); false when that is not possible: the response
    /// has begun, too many interim responses wait, or the protocol is not HTTP/3.
    pub fn send_early_hints(&self, headers: HeaderMap) -> bool {
        self.request.interim.as_ref().is_some_and(|interim| interim.push(headers))
    }

    pub(crate) fn new(connection: Arc<ConnectionContext>, request: Arc<RequestState>) -> Self {
        Self { connection, request }
    }

    pub(crate) fn state(&self) -> Arc<RequestState> {
        self.request.clone()
    }
}

impl fmt::Debug for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContext")
            .field("protocol", &self.protocol())
            .field("peer", &self.peer_address())
            .finish_non_exhaustive()
    }
}

/// What TLS agreed on with the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: Option<&'static str>,
    /// Cipher suite, by its name in the IANA registry (rustls spelling).
    pub cipher_suite: Option<&'static str>,
    /// Key exchange group, such as `X25519MLKEM768`.
    pub key_exchange: Option<&'static str>,
    /// ALPN: `h3`, `h2` or `http/1.1`.
    pub alpn: Option<String>,
    /// Server name (SNI) that the client asked for.
    pub server_name: Option<String>,
    /// The client's certificates in DER, leaf first; empty without client authentication.
    pub client_certificates: Vec<Vec<u8>>,
    /// The client, by its certificate; servers only.
    pub client: Option<Arc<ClientIdentity>>,
}

/// Fires when nobody waits for the answer any more: the client reset or left, or the server ends.
///
/// A request's future and response body are dropped then; this is for work that they handed to other threads.
#[derive(Clone)]
pub struct Cancellation(Arc<RequestState>);

impl Cancellation {
    /// It has fired.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Waits until it fires; forever when the request ends well.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn cancelled(&self) {
        std::future::poll_fn(|cx| {
            if self.is_cancelled() {
                return Poll::Ready(());
            }
            let mut wakers = lock(&self.0.waiting);
            if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            drop(wakers);
            // Fired between the look and the registration.
            if self.is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancellation").field(&self.is_cancelled()).finish()
    }
}

/// What the requests of one connection share.
pub(crate) struct ConnectionContext {
    pub(crate) protocol: Protocol,
    pub(crate) peer: Mutex<SocketAddr>,
    pub(crate) local: SocketAddr,
    /// Our address that the client came to; of connections with TLS.
    pub(crate) reached: Option<IpAddr>,
    pub(crate) worker: usize,
    pub(crate) tls: Option<TlsFacts>,
    pub(crate) rtt: Rtt,
    /// The handshake, where requests came before it was complete.
    pub(crate) early: Option<early::Gate>,
}

/// Where the live round-trip time is read.
pub(crate) enum Rtt {
    /// TCP: asked of the kernel, while the connection lives.
    Tcp(Weak<TcpStream>),
    /// QUIC: written by the worker, in microseconds.
    Quic(AtomicU64),
}

impl Rtt {
    fn now(&self) -> Option<Duration> {
        match self {
            Self::Tcp(stream) => Some(tcp_info(stream)?.rtt()),
            Self::Quic(micros) => Some(Duration::from_micros(micros.load(Ordering::Relaxed))),
        }
    }
}

/// What belongs to one request, whatever carries it.
#[derive(Default)]
pub(crate) struct RequestState {
    cancelled: AtomicBool,
    /// It came in early data.
    pub(crate) came_early: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
    /// Where interim responses go, on a protocol that can send them.
    interim: Option<Interim>,
}

impl RequestState {
    /// A request whose connection can send interim responses; `connection` wakes it for that.
    pub(crate) fn with_interim(connection: Waker) -> Self {
        let interim = Interim { queue: Mutex::new(Some(Vec::new())), connection };
        Self { interim: Some(interim), ..Self::default() }
    }

    /// The interim responses that wait; from `last` on no more are taken, the final one follows.
    pub(crate) fn take_interim(&self, last: bool) -> Vec<HeaderMap> {
        let Some(interim) = &self.interim else { return Vec::new() };
        let mut queue = lock(&interim.queue);
        if last {
            queue.take().unwrap_or_default()
        } else {
            queue.as_mut().map(std::mem::take).unwrap_or_default()
        }
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        for waker in std::mem::take(&mut *lock(&self.waiting)) {
            waker.wake();
        }
    }
}

/// Interim responses on their way to the connection; `None` once the final response has begun.
struct Interim {
    queue: Mutex<Option<Vec<HeaderMap>>>,
    connection: Waker,
}

impl Interim {
    fn push(&self, headers: HeaderMap) -> bool {
        let mut queue = lock(&self.queue);
        let Some(queue) = queue.as_mut().filter(|queue| queue.len() < MAX_INTERIM) else {
            return false;
        };
        queue.push(headers);
        self.connection.wake_by_ref();
        true
    }
}

/// Interim responses of one request that may wait for the connection.
const MAX_INTERIM: usize = 8;

/// What the kernel knows about a TCP connection that lives.
pub(crate) fn tcp_info(stream: &Weak<TcpStream>) -> Option<TcpInfoHead> {
    getsockopt(&*stream.upgrade()?, TcpInfo).ok()
}

impl TcpInfoHead {
    /// How often in a row the peer was asked for an acknowledgement, by what it has not acknowledged, by a probe of its window or by one
    /// that keeps alive, and has not said a word.
    pub(crate) fn unanswered(&self) -> u8 {
        let [_, _, retransmits, probes, ..] = self.flags;
        retransmits.max(probes)
    }

    /// For how long it has acknowledged nothing, nor said that there is nothing.
    pub(crate) fn since_ack(&self) -> Duration {
        let [.., millis, _, _, _, _, _, _, _, _, _, _, _] = self.figures;
        Duration::from_millis(millis.into())
    }

    #[cfg(test)]
    pub(crate) fn for_tests(unanswered: u8, since_ack: Duration, rtt: Duration) -> Self {
        let mut figures = [0; 24];
        figures[12] = u32::try_from(since_ack.as_millis()).expect("short enough");
        figures[15] = u32::try_from(rtt.as_micros()).expect("short enough");
        let flags = [1, 0, 0, unanswered, 0, 0, 0, 0];
        Self { flags, figures, _pacing: [0; 2], bytes_acknowledged: 0, bytes_received: 0 }
    }

    /// The smoothed round-trip time.
    pub(crate) fn rtt(&self) -> Duration {
        let [.., micros, _, _, _, _, _, _, _, _] = self.figures;
        Duration::from_micros(micros.into())
    }
}

sockopt_impl!(
    /// What the kernel knows about a TCP connection.
    TcpInfo,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    TcpInfoHead
);

/// How many bytes the peer of a TCP connection has acknowledged.
pub(crate) fn acknowledged(stream: &TcpStream) -> Option<u64> {
    getsockopt(stream, TcpInfo).ok().map(|info| info.bytes_acknowledged)
}

/// The beginning of `struct tcp_info`: what every kernel since Linux 4.1 fills. The whole of it grows from kernel to kernel.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[expect(unreachable_pub, reason = "the macro makes `TcpInfo` public, which names it")]
pub struct TcpInfoHead {
    /// From `tcpi_state`: the third is `tcpi_retransmits`, the fourth `tcpi_probes`.
    flags: [u8; 8],
    /// From `tcpi_rto` to `tcpi_total_retrans`; `tcpi_rtt` is the ninth from the end, `tcpi_last_ack_recv` the twelfth.
    figures: [u32; 24],
    _pacing: [u64; 2],
    pub(crate) bytes_acknowledged: u64,
    pub(crate) bytes_received: u64,
}

/// A lock whose holder panicked guards plain data all the same.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Wake},
    };

    use super::*;

    #[test]
    fn interim_responses_are_bounded_and_end_with_the_final_one() {
        let state = RequestState::with_interim(Waker::noop().clone());
        let push = || state.interim.as_ref().is_some_and(|interim| interim.push(HeaderMap::new()));
        let taken = (0..=MAX_INTERIM).filter(|_| push()).count();
        assert_eq!((taken, state.take_interim(false).len()), (MAX_INTERIM, MAX_INTERIM));
        assert!(push(), "there is room again");
        assert_eq!(state.take_interim(true).len(), 1);
        assert!(!push(), "the final response has begun");
    }

    #[test]
    fn cancellation_is_pending_until_it_fires_and_done_for_ever_after() {
        struct Task;
        impl Wake for Task {
            fn wake(self: Arc<Self>) {}
        }
        let waker = Waker::from(Arc::new(Task));
        let mut cx = Context::from_waker(&waker);
        let cancellation = Cancellation(Arc::default());
        let mut early = pin!(cancellation.cancelled());
        assert!(early.as_mut().poll(&mut cx).is_pending());
        assert!(early.as_mut().poll(&mut cx).is_pending());
        assert_eq!(lock(&cancellation.0.waiting).len(), 1, "one waker for one task");
        cancellation.0.cancel();
        assert!(early.as_mut().poll(&mut cx).is_ready());
        assert!(pin!(cancellation.cancelled()).poll(&mut cx).is_ready());
        assert!(cancellation.is_cancelled());
    }
}
