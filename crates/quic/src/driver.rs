//! The glue to tokio: a [`Driver`] waits for whatever an [`Endpoint`] waits for, and takes its turn.
//!
//! One driver for each worker, on the worker's own current-thread runtime. It polls only what has
//! news, so an idle one costs nothing, and it gives way to other tasks after a few busy turns.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use rand::{SeedableRng, rngs::StdRng};
use tokio::time::{Sleep, sleep_until};

use crate::{
    Application, ClientConfig, ConnectError, ConnectionKey, Counters, Endpoint, Secret,
    ServerConfig, SocketOptions, SocketReport,
    place::Place,
    socket::{self, Udp},
    steer,
};

/// The UDP sockets of one listen address, one for each worker, bound together (SO_REUSEPORT) and steered.
///
/// Bind it on the main thread (errors come before anything starts), then hand one member to each worker thread.
#[derive(Debug)]
pub struct Group {
    address: SocketAddr,
    report: SocketReport,
    members: Vec<Member>,
}

/// One worker's share of a [`Group`]: moved to the worker's thread, there it becomes a [`Driver`].
#[derive(Debug)]
pub struct Member {
    socket: std::net::UdpSocket,
    place: Place,
    segmentation: bool,
}

impl Group {
    /// Binds `workers` sockets to `address` (port 0: the kernel chooses one port for all).
    ///
    /// # Errors
    /// `AddrInUse` when anyone else has the port, another group included; `InvalidInput` for no
    /// workers or more than 256.
    pub fn bind(address: SocketAddr, workers: usize, options: &SocketOptions) -> io::Result<Self> {
        if !(1..=MAX_WORKERS).contains(&workers) {
            let message = format!("{workers} workers: 1 to {MAX_WORKERS} are possible");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let (sockets, mut report) = socket::bind(address, workers, options)?;
        let address = sockets[0].local_addr()?;
        let mut rng = StdRng::from_os_rng();
        let secret = match &options.secret {
            Some(secret) => secret.at(address),
            None => Secret::random(&mut rng),
        };
        let places = Place::group(workers, &secret, &mut rng);
        if options.steering && workers > 1 {
            let program = steer::program(&places[0].cipher, places[0].route.generation);
            match socket::steer(&sockets[0], &program) {
                Ok(()) => report.steering = true,
                Err(error) => tracing::warn!(%error, "no steering by the kernel"),
            }
        }
        let members = sockets.into_iter().zip(places).map(|(socket, place)| Member {
            socket,
            place,
            segmentation: options.segmentation,
        });
        Ok(Self { address, report, members: members.collect() })
    }

    /// A client's group: one socket, one worker.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn client(address: SocketAddr, options: &SocketOptions) -> io::Result<Self> {
        Self::bind(address, 1, options)
    }

    /// The bound address.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// What the kernel granted.
    pub fn report(&self) -> &SocketReport {
        &self.report
    }

    /// The members, in order of worker.
    pub fn into_members(self) -> Vec<Member> {
        self.members
    }
}

impl Member {
    /// Starts the driver on the current thread's tokio runtime. `server`: accept connections.
    ///
    /// # Errors
    /// `InvalidInput` with a [`ConfigError`](crate::ConfigError) inside, or what the system said.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    #[expect(clippy::needless_pass_by_value, reason = "each worker's thread is given its own")]
    pub fn start<A: Application>(
        self,
        server: Option<ServerConfig>,
        app: A,
    ) -> io::Result<Driver<A>> {
        let endpoint = Endpoint::new(self.place, server.as_ref(), app)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let socket = Udp::new(self.socket, self.segmentation)?;
        let timer = Box::pin(sleep_until(Instant::now().into()));
        Ok(Driver { endpoint, socket, timer, busy_turns: 0 })
    }
}

/// Runs an [`Endpoint`] on its socket. It is a future that never ends by itself: poll it in a task of the worker.
#[derive(Debug)]
pub struct Driver<A: Application> {
    endpoint: Endpoint<A>,
    socket: Udp,
    timer: Pin<Box<Sleep>>,
    /// Turns since it last waited.
    busy_turns: u32,
}

impl<A: Application> Driver<A> {
    /// Waits for the socket, a timer, a forwarded datagram or a woken task, and takes one turn.
    ///
    /// It stands outside tokio's budget for cooperation, which would make a ready socket look
    /// empty in the middle of a batch; instead it gives way by itself after some busy turns.
    ///
    /// # Errors
    /// None for now: what a UDP socket reports concerns one datagram, and is counted.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped between turns.
    pub async fn turn(&mut self) -> io::Result<()> {
        tokio::task::unconstrained(poll_fn(|cx| self.poll_turn(cx))).await
    }

    /// The endpoint, between turns.
    pub fn endpoint(&mut self) -> &mut Endpoint<A> {
        &mut self.endpoint
    }

    /// Client: starts a connection. Its first packets leave with the next turn.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(
        &mut self,
        config: &ClientConfig,
        remote: SocketAddr,
        name: &str,
    ) -> Result<ConnectionKey, ConnectError> {
        self.endpoint.connect(config, remote, name, Instant::now())
    }

    /// Client: goes on from another socket; the old one is closed, and what was on its way to it is lost. All
    /// connections move (RFC 9000 §9).
    ///
    /// # Errors
    /// What the system said; then nothing has changed.
    pub fn rebind(&mut self, member: Member) -> io::Result<()> {
        self.socket = Udp::new(member.socket, member.segmentation)?;
        self.endpoint.local_address_changed();
        Ok(())
    }

    /// The socket's address.
    ///
    /// # Errors
    /// What the system said.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.io().local_addr()
    }

    /// What has been counted, the socket's own figures included.
    pub fn counters(&self) -> Counters {
        Counters {
            segmentation_failures: self.socket.segmentation_failures(),
            kernel_drops: self.socket.kernel_drops(),
            ..self.endpoint.counters()
        }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.busy_turns >= BUSY_TURNS {
            self.busy_turns = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.poll_due(cx).is_pending() {
            self.busy_turns = 0;
            return Poll::Pending;
        }
        self.busy_turns += 1;
        self.endpoint.turn(Instant::now(), &mut self.socket, cx);
        Poll::Ready(Ok(()))
    }

    /// Ready when a turn is due; else every source of news has this task's waker.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.endpoint.wants_turn()
            || self.socket.io().poll_recv_ready(cx).is_ready()
            || (self.endpoint.is_blocked() && self.socket.io().poll_send_ready(cx).is_ready())
            || self.endpoint.poll_news(cx)
        {
            return Poll::Ready(());
        }
        let Some(deadline) = self.endpoint.timeout() else { return Poll::Pending };
        if self.timer.deadline() != deadline.into() {
            self.timer.as_mut().reset(deadline.into());
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(())
    }
}

/// What a worker's number in a connection ID can tell apart.
const MAX_WORKERS: usize = 256;

/// Busy turns in a row, after which other tasks of the thread get theirs.
const BUSY_TURNS: u32 = 8;
