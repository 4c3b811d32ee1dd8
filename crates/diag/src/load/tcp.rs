//! HTTP/1.1 and HTTP/2: a task for each connection, which feeds a session without I/O.
//!
//! A session ([`Session`]) takes bytes and gives bytes; what is here connects, reads, writes and waits for it.

mod link;
mod stream;

use std::{
    future::pending,
    io,
    ops::ControlFlow,
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rustls_pki_types::ServerName;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::watch,
    time::{sleep_until, timeout},
};
use tokio_rustls::TlsConnector;

use self::{link::Link, stream::Stream};
use super::{
    Failure, Plan, RunError, Version,
    alarm::Alarm,
    http1, http2,
    hub::{Hub, Next, Stage, Ticket},
    pace::Schedule,
};

/// One connection above TCP, without I/O.
pub(super) trait Session {
    /// Takes what came, all of it.
    ///
    /// # Errors
    /// What ends the connection.
    fn handle(&mut self, data: &[u8], work: &mut Work<'_>) -> Result<(), Failure>;

    /// Appends what is to be sent now to `work.out`: requests that are due, content, answers. When the next request is
    /// due, if that is later.
    fn send(&mut self, work: &mut Work<'_>) -> Option<Instant>;

    /// The server has ended its side: the end of a response, or of the connection.
    fn finish(&mut self, work: &mut Work<'_>);

    /// Gives up the requests that take too long; whether the connection is of no more use then.
    fn expire(&mut self, work: &mut Work<'_>) -> ControlFlow<()>;

    /// Nothing is under way.
    fn is_idle(&self) -> bool;

    /// Since when requests are due and none is allowed, if nothing is under way either.
    fn starved_since(&self) -> Option<Instant>;

    /// Takes all requests that are under way away.
    fn drain(&mut self) -> Vec<Ticket>;

    /// Nothing more will be sent on it, and nothing is under way.
    fn is_finished(&self) -> bool;

    /// A response came on it.
    fn is_useful(&self) -> bool;
}

/// What a session works with.
pub(super) struct Work<'a> {
    pub(super) hub: &'a Hub,
    /// When requests are due; not known before the run.
    pub(super) schedule: Option<&'a mut Schedule>,
    /// What is to be written.
    pub(super) out: &'a mut BytesMut,
    pub(super) now: Instant,
}

/// What a worker needs for its connections.
pub(super) struct Setup {
    tls: Option<(TlsConnector, ServerName<'static>)>,
    http1: http1::Request,
    http2: http2::Request,
}

impl Setup {
    /// TLS and the request, for all connections of a worker.
    pub(super) fn new(plan: &Plan) -> Result<Self, RunError> {
        let tls = if plan.target.is_secure {
            let config = plan.trust.config(plan.version, false, plan.early_data)?;
            let name = ServerName::try_from(plan.target.host.clone())
                .map_err(|_| RunError::Plan("the host is no name that TLS can check"))?;
            Some((TlsConnector::from(Arc::new(config)), name))
        } else {
            None
        };
        Ok(Self { tls, http1: http1::Request::new(plan), http2: http2::Request::new(plan) })
    }
}

/// Runs the connections `numbers` of the plan until the hub says that it is over.
pub(super) async fn run(
    setup: Rc<Setup>,
    hub: Rc<Hub>,
    numbers: std::ops::Range<usize>,
) -> Result<(), RunError> {
    let mut stages = hub.stages();
    let watching = hub.clone();
    let watcher = tokio::task::spawn_local(async move {
        while stages.changed().await.is_ok() {
            watching.update_stage();
        }
    });
    let slots = numbers.map(|number| {
        let slot = Slot {
            number,
            setup: setup.clone(),
            hub: hub.clone(),
            stages: hub.stages(),
            schedule: None,
            alarm: hub
                .plan
                .pace
                .is_some()
                .then(Alarm::new)
                .transpose()
                .map_err(RunError::Socket)?,
            failures: 0,
        };
        Ok(tokio::task::spawn_local(slot.run()))
    });
    let slots: Vec<_> = slots.collect::<Result<_, RunError>>()?;
    for slot in slots {
        slot.await.expect("a connection does not panic")?;
    }
    watcher.abort();
    Ok(())
}

/// A place for one connection; when that has ended, another takes it.
struct Slot {
    number: usize,
    setup: Rc<Setup>,
    hub: Rc<Hub>,
    stages: watch::Receiver<Stage>,
    schedule: Option<Schedule>,
    /// For an open loop.
    alarm: Option<Alarm>,
    /// Connections in a row that were of no use.
    failures: u32,
}

/// What became of a connection.
enum End {
    /// It was closed, or replaced, in good order.
    Done,
    /// It failed.
    Lost(Failure),
}

impl Slot {
    async fn run(mut self) -> Result<(), RunError> {
        let mut is_settled = false;
        while let Some(handshake) = self.turn().await? {
            let stream = self.connect(handshake.as_ref()).await;
            if !std::mem::replace(&mut is_settled, true) {
                self.hub.settled();
            }
            let is_useful = match (stream, handshake) {
                (None, _) => false,
                (Some(mut stream), Some(_)) => {
                    // A goodbye that does not arrive costs the server a time-out, nothing else.
                    let _ = timeout(GOODBYE, stream.shutdown()).await;
                    true
                }
                (Some(stream), None) => self.converse(stream).await?,
            };
            if is_useful || self.hub.is_over() {
                self.failures = 0;
                continue;
            }
            self.failures += 1;
            if self.failures >= MOST_FAILURES {
                self.hub.given_up();
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE * self.failures) => {}
                () = self.hub.until(Hub::is_over) => {}
            }
        }
        self.count_overdue();
        Ok(())
    }

    /// Waits until a connection is wanted: with the handshake to be measured, if that is what it is for. `None` at the end.
    async fn turn(&mut self) -> Result<Option<Option<Ticket>>, RunError> {
        loop {
            if self.hub.is_over() {
                return Ok(None);
            }
            let mut at = None;
            if self.hub.wants_connections() {
                if !self.hub.measures_handshakes() {
                    return Ok(Some(None));
                }
                let (hub, now) = (self.hub.clone(), Instant::now());
                if let Some(schedule) = self.schedule() {
                    match hub.next(schedule, now) {
                        Next::Now(due) => return Ok(Some(Some(hub.begin(schedule, due, now)))),
                        Next::At(due) => at = Some(due),
                        Next::Nothing => {}
                    }
                }
            }
            self.wait(at).await?;
        }
    }

    /// Waits for a moment, another stage or the end.
    async fn wait(&mut self, at: Option<Instant>) -> Result<(), RunError> {
        let Self { hub, alarm, stages, .. } = self;
        let alarmed = async {
            match (alarm, at) {
                (Some(alarm), Some(at)) => alarm.until(at).await,
                _ => pending().await,
            }
        };
        tokio::select! {
            alarmed = alarmed => alarmed.map_err(RunError::Socket),
            changed = stages.changed() => {
                changed.map_err(|_| RunError::Abandoned)?;
                hub.update_stage();
                Ok(())
            }
            () = hub.until(Hub::is_over) => Ok(()),
        }
    }

    /// Connects, TLS included, and counts how that went.
    async fn connect(&self, handshake: Option<&Ticket>) -> Option<Stream> {
        let hub = &self.hub;
        tokio::select! {
            () = hub.dial() => {}
            () = hub.until(Hub::is_over) => return None,
        }
        let began = Instant::now();
        hub.tally.borrow_mut().attempts += 1;
        let connected = tokio::select! {
            connected = timeout(hub.plan.handshake_timeout, self.dial()) => {
                connected.unwrap_or(Err(Failure::HandshakeTimeout))
            }
            () = hub.until(Hub::is_over) => return None,
        };
        hub.dialled();
        let now = Instant::now();
        match (&connected, handshake) {
            (outcome, Some(ticket)) => hub.shaken(*ticket, outcome.as_ref().err(), now),
            (Ok(_), None) => hub.connected(began, now),
            (Err(failure), None) => hub.not_connected(failure),
        }
        connected.ok()
    }

    async fn dial(&self) -> Result<Stream, Failure> {
        let plan = &self.hub.plan;
        let refused = |error: io::Error| Failure::Connect(error.to_string());
        let tcp = TcpStream::connect(plan.target.address).await.map_err(refused)?;
        tcp.set_nodelay(true).map_err(refused)?;
        let Some((connector, name)) = &self.setup.tls else { return Ok(Stream::Plain(tcp)) };
        let tls = connector.connect(name.clone(), tcp).await.map_err(|error| of_tls(&error))?;
        let alpn = tls.get_ref().1.alpn_protocol();
        let wanted = plan.version.alpn().as_bytes();
        // A server without ALPN speaks HTTP/1.1.
        let is_wanted =
            alpn.map_or(plan.version == Version::Http1, |negotiated| negotiated == wanted);
        if !is_wanted {
            let name = plan.version.alpn();
            return Err(Failure::Tls(format!("the server does not speak {name}")));
        }
        Ok(Stream::Tls(Box::new(tls)))
    }

    /// Uses a connection until it ends; whether it was of use.
    async fn converse(&mut self, stream: Stream) -> Result<bool, RunError> {
        let setup = self.setup.clone();
        match self.hub.plan.version {
            Version::Http1 => self.exchange(stream, http1::Session::new(&setup.http1)).await,
            Version::Http2 => self.exchange(stream, http2::Session::new(&setup.http2)).await,
            Version::Http3 => unreachable!("HTTP/3 is not over TCP"),
        }
    }

    async fn exchange(
        &mut self,
        stream: Stream,
        mut session: impl Session,
    ) -> Result<bool, RunError> {
        let hub = self.hub.clone();
        let check_every = hub.check_every();
        let mut check = pin!(sleep_until(Instant::now().into()));
        let mut is_checking = false;
        let mut link = Link::new(stream);
        let end = loop {
            if hub.is_over() {
                break End::Done;
            }
            let now = Instant::now();
            let mut work = Work { hub: &hub, schedule: self.schedule(), out: &mut link.out, now };
            let due = session.send(&mut work);
            if session.is_finished() {
                break End::Done;
            }
            if link.out.len() > MOST_OUT {
                break End::Lost(Failure::Protocol("the server takes nothing".to_owned()));
            }
            let is_waiting = !session.is_idle() || session.starved_since().is_some();
            if is_waiting && !is_checking {
                is_checking = true;
                check.as_mut().reset((now + check_every).into());
            }
            let Self { schedule, alarm, stages, .. } = self;
            let alarmed = async {
                match (alarm, due) {
                    (Some(alarm), Some(at)) => alarm.until(at).await,
                    _ => pending().await,
                }
            };
            let schedule = schedule.as_mut();
            tokio::select! {
                biased;
                stepped = link.step(&mut session, &hub, schedule) => match stepped {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(end) => break end,
                },
                alarmed = alarmed => alarmed.map_err(RunError::Socket)?,
                changed = stages.changed() => {
                    changed.map_err(|_| RunError::Abandoned)?;
                    hub.update_stage();
                }
                () = hub.until(Hub::is_over) => {}
                () = &mut check, if is_checking => {
                    is_checking = false;
                    let now = Instant::now();
                    let mut work = Work { hub: &hub, schedule: None, out: &mut link.out, now };
                    if session.expire(&mut work).is_break() {
                        break End::Done;
                    }
                    if session.starved_since().is_some_and(|since| hub.is_starved(since, now)) {
                        break End::Lost(Failure::Starved);
                    }
                }
            }
        };
        let is_useful = session.is_useful();
        self.account(end, &mut session);
        let _ = timeout(GOODBYE, link.stream.shutdown()).await;
        Ok(is_useful)
    }

    /// Counts what was under way when a connection ended.
    fn account(&self, end: End, session: &mut impl Session) {
        let now = Instant::now();
        let tickets = session.drain();
        match end {
            End::Done if self.hub.is_over() => {
                tickets.into_iter().for_each(|ticket| self.hub.abandon(ticket));
            }
            End::Done => {
                let failure = Failure::Closed { code: 0, reason: String::new() };
                tickets.into_iter().for_each(|ticket| self.hub.failed(ticket, &failure, now));
            }
            End::Lost(failure) => {
                self.hub.lost(&failure, tickets.is_empty());
                tickets.into_iter().for_each(|ticket| self.hub.failed(ticket, &failure, now));
            }
        }
    }

    /// The schedule, which begins with the run.
    fn schedule(&mut self) -> Option<&mut Schedule> {
        if let (None, Stage::Running { start, .. }) = (&self.schedule, self.hub.stage()) {
            self.schedule = Some(Schedule::new(&self.hub.plan, self.number, start));
        }
        self.schedule.as_mut()
    }

    /// Counts what was due and was not sent, where the time has ended.
    fn count_overdue(&mut self) {
        if let (Some(schedule), Some(since)) = (&mut self.schedule, self.hub.ended_at()) {
            let overdue = schedule.overdue(since);
            self.hub.tally.borrow_mut().unsent += overdue;
        }
    }
}

/// Of a handshake.
fn of_tls(error: &io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => Failure::Tls(error.to_string()),
        None => Failure::Connect(error.to_string()),
    }
}

/// Bytes that wait to be written, above which a session adds no request and no content.
pub(super) const ENOUGH: usize = 256 * 1024;

/// Bytes that may wait to be written: content stops far below it, so that only a server that makes us answer and takes
/// nothing comes to it.
const MOST_OUT: usize = 4 << 20;

/// For the end of a connection in good order.
const GOODBYE: Duration = Duration::from_millis(100);

/// Connections of a slot that fail one after the other before it is given up.
const MOST_FAILURES: u32 = 3;

/// Before a connection is tried again; longer after each failure.
const PAUSE: Duration = Duration::from_millis(100);
