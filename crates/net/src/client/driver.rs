//! What drives the client's QUIC endpoint: one task on a thread of its own, or on the caller's. It also gives the TCP
//! connections their runtime.

use std::{
    cell::Cell,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    sync::{Arc, mpsc as blocking},
    thread,
    time::{Duration, Instant},
};

use sterna_quic::{ClientConfig, Group, Member, SocketOptions};
use tokio::{
    runtime::{Handle, Runtime},
    sync::{mpsc, oneshot},
    task::LocalSet,
};

use super::{
    Error,
    config::Config,
    connect::{Attempt, Connector},
    connection::Established,
    counters::Counts,
    error::{Kind, Phase},
    h3::{Application, Common, Setup},
    network::Network,
    resolve::Resolver,
    tls::Tls,
};
use crate::counters::WorkerCounters;

/// The way to the driver. The driver ends when the last of these is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Driver {
    commands: mpsc::Sender<Command>,
    queued: Arc<WorkerCounters>,
}

enum Command {
    Connect(Attempt, oneshot::Sender<Result<Established, Error>>),
    Rebind(oneshot::Sender<Result<(), Error>>),
    Close(oneshot::Sender<()>),
}

impl Driver {
    /// Makes one QUIC connection, up to the moment that requests can be sent on it.
    pub(crate) async fn connect(&self, attempt: Attempt) -> Result<Established, Error> {
        self.ask(|reply| Command::Connect(attempt, reply)).await?
    }

    /// Goes on from another local address.
    pub(crate) async fn rebind(&self) -> Result<(), Error> {
        self.ask(Command::Rebind).await?
    }

    /// Ends all connections; those with requests have a second.
    pub(crate) async fn close(&self) {
        let _ = self.ask(Command::Close).await;
    }

    /// Bytes that wait: of responses for their readers, of requests for the transport.
    pub(crate) fn waiting_bytes(&self) -> (u64, u64) {
        (self.queued.queued_upload_bytes.value(), self.queued.queued_response_bytes.value())
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let closed = || Error::new(Phase::Connect, Kind::Closed).unsent();
        self.commands.send(command(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())
    }
}

/// Starts the driver on a thread of its own; gives the runtime of that thread.
///
/// # Errors
/// The thread or its runtime could not be started.
pub(crate) fn spawn(
    config: Arc<Config>,
    tls: Tls,
    counts: Arc<Counts>,
    connector: Connector<Resolver>,
) -> io::Result<(Driver, Handle)> {
    let (driver, commands) = channel();
    let queued = driver.queued.clone();
    let (started, runtime) = blocking::channel();
    thread::Builder::new().name("sterna-client".to_owned()).spawn(move || {
        let runtime = match runtime_of_thread() {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(error))),
        };
        if started.send(Ok(runtime.handle().clone())).is_err() {
            return;
        }
        LocalSet::new().block_on(&runtime, async {
            Task::new(config, tls, counts, connector, queued, commands).run().await;
        });
        // A name that is being looked up must not hold up the end.
        runtime.shutdown_background();
    })?;
    let runtime = runtime.recv().map_err(|_| io::Error::other("the thread ended at once"))??;
    Ok((driver, runtime))
}

/// Starts the driver on the current thread's `LocalSet`.
pub(crate) fn spawn_local(
    config: Arc<Config>,
    tls: Tls,
    counts: Arc<Counts>,
    connector: Connector<Resolver>,
) -> Driver {
    let (driver, commands) = channel();
    let task = Task::new(config, tls, counts, connector, driver.queued.clone(), commands);
    tokio::task::spawn_local(task.run());
    driver
}

fn channel() -> (Driver, mpsc::Receiver<Command>) {
    let (commands, receiver) = mpsc::channel(MAX_COMMANDS);
    (Driver { commands, queued: Arc::default() }, receiver)
}

fn runtime_of_thread() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
}

/// The driver itself.
struct Task {
    config: Arc<Config>,
    tls: Tls,
    counts: Arc<Counts>,
    /// Told of changes of the network.
    connector: Connector<Resolver>,
    common: Rc<Common>,
    commands: mpsc::Receiver<Command>,
    /// From the first connection on.
    quic: Option<sterna_quic::Driver<Application>>,
    network: Network,
}

impl Task {
    fn new(
        config: Arc<Config>,
        tls: Tls,
        counts: Arc<Counts>,
        connector: Connector<Resolver>,
        queued: Arc<WorkerCounters>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let common = Rc::new(Common {
            config: config.clone(),
            counts: counts.clone(),
            queued,
            sessions: tls.sessions.clone(),
            closing: Cell::new(None),
        });
        let network = Network::default();
        Self { config, tls, counts, connector, common, commands, quic: None, network }
    }

    /// Runs until nobody is left who could ask for anything.
    async fn run(mut self) {
        while let Some(command) = self.next().await {
            self.carry_out(command).await;
        }
        self.end(Instant::now()).await;
    }

    /// Drives the endpoint until there is a command.
    async fn next(&mut self) -> Option<Command> {
        loop {
            let Some(quic) = &mut self.quic else { return self.commands.recv().await };
            tokio::select! {
                turn = quic.turn() => {
                    if let Err(error) = turn {
                        tracing::error!(%error, "the UDP socket failed, there is no HTTP/3 any more");
                        self.quic = None;
                    }
                }
                command = self.commands.recv() => return command,
                () = self.network.changed() => {
                    tracing::debug!("the network has changed, connections migrate");
                    self.connector.notice_network();
                    if let Err(error) = self.rebind() {
                        tracing::warn!(%error, "no socket on the new network");
                    }
                }
            }
        }
    }

    async fn carry_out(&mut self, command: Command) {
        match command {
            Command::Connect(attempt, reply) => self.connect(attempt, reply),
            Command::Rebind(reply) => {
                let _ = reply.send(self.rebind());
            }
            Command::Close(reply) => {
                self.end(Instant::now() + CLOSE_PATIENCE).await;
                let _ = reply.send(());
            }
        }
    }

    fn connect(&mut self, attempt: Attempt, reply: oneshot::Sender<Result<Established, Error>>) {
        if let Err((reply, error)) = self.begin(attempt, reply) {
            let _ = reply.send(Err(error));
        }
    }

    fn begin(
        &mut self,
        attempt: Attempt,
        reply: oneshot::Sender<Result<Established, Error>>,
    ) -> Result<(), (oneshot::Sender<Result<Established, Error>>, Error)> {
        if self.common.closing.get().is_some() {
            return Err((reply, Error::new(Phase::Connect, Kind::Closed).unsent()));
        }
        if self.quic.is_none() {
            match self.start() {
                Ok(quic) => self.quic = Some(quic),
                Err(error) => return Err((reply, Error::system(Phase::Connect, error))),
            }
        }
        let quic = self.quic.as_mut().expect("it was started");
        let local = quic.local_address().ok();
        let mut transport = self.config.quic.clone();
        transport.handshake_timeout = self.config.timeouts.connect;
        if attempt.early_data {
            // Requests are on it from the start, and no other transport is tried meanwhile.
            transport.handshake_timeout = transport.handshake_timeout.min(EARLY_PATIENCE);
        }
        let tls = if attempt.early_data { &self.tls.quic } else { &self.tls.quic_late };
        let config = ClientConfig { tls: tls.clone(), transport };
        let remote = reachable(attempt.address, local);
        self.network.watch(self.config.watch_network, attempt.address);
        quic.endpoint().application().expect(Setup {
            server_name: attempt.server_name.clone(),
            progress: attempt.progress,
            reply,
            began: Instant::now(),
            local,
        });
        let Err(error) = quic.connect(&config, remote, &attempt.server_name) else { return Ok(()) };
        match quic.endpoint().application().take_back() {
            Some(setup) => {
                let error = Error::new(Phase::Connect, Kind::System).because(error);
                Err((setup.reply, error))
            }
            None => Ok(()),
        }
    }

    fn start(&self) -> io::Result<sterna_quic::Driver<Application>> {
        self.bind()?.start(None, Application::new(self.common.clone()))
    }

    /// A socket for both families, or for the one that there is.
    fn bind(&self) -> io::Result<Member> {
        let options = SocketOptions::default();
        let bound = match self.config.local_address {
            Some(address) => Group::client(SocketAddr::new(address, 0), &options),
            None => Group::client(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0), &options)
                .or_else(|_| {
                    Group::client(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0), &options)
                }),
        };
        bound?.into_members().pop().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    fn rebind(&mut self) -> Result<(), Error> {
        let failed = |error| Error::system(Phase::Connect, error);
        if self.quic.is_none() {
            return Ok(());
        }
        let member = self.bind().map_err(failed)?;
        if let Some(quic) = &mut self.quic {
            quic.rebind(member).map_err(failed)?;
            self.counts.migrations.add(quic.endpoint().open_connections());
        }
        Ok(())
    }

    /// Ends all connections: at `deadline` at the latest, and without the last packets of those that are slow to ack.
    async fn end(&mut self, deadline: Instant) {
        self.common.closing.set(Some(deadline));
        let Some(quic) = &mut self.quic else { return };
        quic.endpoint().touch_all();
        let all_ended = async {
            while quic.endpoint().open_connections() > 0 && quic.turn().await.is_ok() {}
            while quic.endpoint().wants_turn() && quic.turn().await.is_ok() {}
        };
        let _ = tokio::time::timeout_at((deadline + LAST_WORDS).into(), all_ended).await;
    }
}

/// The address as a socket of this family has it.
fn reachable(remote: SocketAddr, local: Option<SocketAddr>) -> SocketAddr {
    match (remote.ip(), local) {
        (IpAddr::V4(ip), Some(SocketAddr::V6(_))) => {
            SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), remote.port())
        }
        _ => remote,
    }
}

/// How long a handshake may take when requests wait for it that could go another way.
const EARLY_PATIENCE: Duration = Duration::from_secs(3);

/// Commands that may wait; whoever has one more waits for room.
const MAX_COMMANDS: usize = 64;

/// How long requests have when the client is closed.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// For the last CONNECTION_CLOSE.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Threads for looking names up.
const BLOCKING_THREADS: usize = 4;
