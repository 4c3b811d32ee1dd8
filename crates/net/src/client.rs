//! An HTTP client: HTTP/3, HTTP/2 and HTTP/1.1 behind one `Request<B>` → `Response<Body>`, with a pool for each origin.
//!
//! ```text
//!  send ─── pool ─┬─ a connection that is there ── request ──▶ HTTP/3: on the driver's thread, no task for a request
//!                 │                                            HTTP/2, HTTP/1.1: hyper, a task for each connection
//!                 └─ none: connector ── dial ──▶ QUIC or TCP
//! ```
//!
//! A [`Client`] is a cheap handle. What it owns runs on a thread of its own ([`Builder::build`]) or on the runtime of
//! the caller ([`Builder::build_local`]); requests may be sent from any runtime of tokio with time.

mod alt_svc;
mod builder;
mod config;
mod connect;
mod connection;
mod counters;
mod course;
mod dial;
mod driver;
mod error;
mod exchange;
mod h3;
mod memory;
mod network;
mod origin;
mod pool;
mod race;
mod request;
mod resolve;
mod response;
mod retry;
mod session;
mod tcp;
mod tls;
mod versions;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, Uri};
use tokio::time::timeout_at;

pub(crate) use self::course::Answer;
use self::course::{Course, Inner};
pub(crate) use self::response::Download;
pub use self::{
    builder::{BuildError, Builder},
    config::{PoolConfig, Share, Timeouts},
    counters::ClientCounters,
    error::{Error, Kind, Phase},
    exchange::{EarlyData, Exchange, Timings},
    origin::{Host, Origin, OriginError, Scheme},
    race::{Lesson, Release, Skip, Source, Stop, TraceEntry, TraceEvent, Transport},
    request::{BodyLength, Message},
    resolve::{Lookup, NameError, RecordKind, Resolver, ServiceServer},
    tls::{ClientCertificate, Roots},
    versions::Versions,
};
use crate::{Body, BoxError, server::NEVER};

/// An HTTP client. A clone is the same client.
///
/// Its connections are closed when the last handle is gone and the last response was read; [`Self::close`] lets requests
/// end first, for a second.
///
/// # Example
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use http_body_util::BodyExt;
/// use sterna_net::{Body, Client, client::Exchange};
///
/// let client = Client::builder().build()?;
/// let request = http::Request::get("https://example.com/").body(Body::empty())?;
/// let response = client.send(request).await?;
/// if let Some(exchange) = response.extensions().get::<Exchange>() {
///     println!("{} over {}", response.status(), exchange.protocol);
/// }
/// let content = response.into_body().collect().await?.to_bytes();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client(Arc<Inner>);

impl Client {
    /// A client with every version, the system's trusted certificates and the defaults of [`Timeouts`] and
    /// [`PoolConfig`].
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Sends a request and waits for the head of its response. The [`Exchange`] in the response's extensions tells how it
    /// came.
    ///
    /// The URL is absolute. A request is sent again only when that is safe: when the server did not process it, or when
    /// its method is idempotent and nothing of a response has come; and only if its body can be had again, which
    /// [`Body::full`], `Full<Bytes>` and a body that nobody has read yet can. Redirects are not followed.
    ///
    /// # Errors
    /// See [`Error`]: phase, kind, whether it may be sent again. Any status is a response, not an error.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time.
    ///
    /// # Cancel safety
    /// Dropping the future, or the response's body, gives the request up: the stream is reset on HTTP/2 and HTTP/3, the
    /// connection closed on HTTP/1.1.
    pub async fn send<B>(&self, request: Request<B>) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (origin, mut message) = Message::of(request)?;
        self.send_to(&origin, &mut message).await
    }

    /// Sends a message to a server that is known already, as [`Self::send`] does. A message whose sending has failed may be
    /// sent to another one, if [`Message::is_replayable`] and what the error says allow it.
    ///
    /// # Errors
    /// As [`Self::send`].
    ///
    /// # Panics
    /// As [`Self::send`].
    ///
    /// # Cancel safety
    /// As [`Self::send`].
    pub async fn send_to(
        &self,
        origin: &Origin,
        message: &mut Message,
    ) -> Result<Response<Body>, Error> {
        self.0.counts.requests.increment();
        message.address_to(origin)?;
        let course = Course::new(&self.0.config);
        let run = self.0.run(origin, message, &course);
        if self.0.config.timeouts.total == NEVER {
            return run.await;
        }
        match timeout_at(course.until, run).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::new(course.phase(), Kind::Timeout)),
        }
    }

    /// Makes a connection to the origin of this URL, if there is none, and keeps it for the next request.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn warm_up(&self, uri: &Uri) -> Result<(), Error> {
        let origin = Origin::of(uri)
            .map_err(|error| Error::new(Phase::Prepare, Kind::Request).unsent().because(error))?;
        self.0.acquire(&origin).await.map(drop)
    }

    /// Sees to it that there are this many connections to the origin before requests need them, and does not wait for
    /// them. Of those that requests share (HTTP/2, HTTP/3) one is enough; and while nobody knows of which kind they are,
    /// one is made, so that it takes a second call to have all of HTTP/1.1. What fails is counted, and told to nobody.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time.
    pub fn keep_warm(&self, origin: &Origin, connections: usize) {
        self.0.pool.warm(origin, connections, |permit| self.0.dial(permit));
    }

    /// The machine has another network: what was learnt of the last one is treated as such, and HTTP/3 connections
    /// migrate. A client that watches the network ([`Builder::watch_network`]) notices by itself that its connections
    /// have to.
    ///
    /// # Errors
    /// As [`Self::rebind`].
    pub async fn network_changed(&self) -> Result<(), Error> {
        self.0.connector.on_network_change();
        self.rebind().await
    }

    /// Goes on from another local port, and from another address if the system's routes have changed: HTTP/3 connections
    /// migrate (RFC 9000 §9), those over TCP stay where they are.
    ///
    /// # Errors
    /// [`Kind::System`] when no socket could be bound; then nothing has changed.
    pub async fn rebind(&self) -> Result<(), Error> {
        self.0.dialler.driver.rebind().await
    }

    /// What has been counted.
    pub fn counters(&self) -> ClientCounters {
        let (idle, connections) = self.0.pool.sizes();
        let (responses, requests) = self.0.dialler.driver.waiting_bytes();
        ClientCounters {
            connections: connections as u64,
            idle_connections: idle as u64,
            waiting_response_bytes: responses,
            waiting_request_bytes: requests,
            ..self.0.counts.snapshot()
        }
    }

    /// Ends in order: no new requests, those under way have a second, then every connection is closed.
    pub async fn close(self) {
        self.0.pool.close();
        self.0.dialler.driver.close().await;
        self.0.save().await;
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("pool", &self.0.pool).finish_non_exhaustive()
    }
}
