//! One worker's QUIC endpoint: [`Endpoint::turn`] is the whole of it.
//!
//! No clock, no socket, no thread: time and [`Wire`] are arguments, so that the simulated network
//! drives the same code as the driver does. Where it ends: bytes of streams, lent to an
//! [`Application`].

mod admission;
mod load;
mod table;
mod transmit;

use std::{
    fmt, mem,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::Context,
    time::Instant,
};

use quinn_proto::{ConnectionHandle, DatagramEvent, TokenMemoryCache};

use self::{
    admission::Admission,
    table::{Slot, Table},
    transmit::Outbox,
};
use crate::{
    ClientConfig, CloseReason, ConfigError, Connection, ConnectionKey, Counters, ServerConfig,
    connection::Profile,
    crypto,
    place::{Owner, Place},
    timer::Timers,
    wire::{Datagram, Wire},
};

/// What runs on top of the connections of one endpoint (HTTP/3, in `sterna-net`). One thread, no locks.
///
/// In a turn the endpoint calls `run` once for each connection that was touched by a datagram, a timer or a
/// woken task, and only then transmits: what `run` writes leaves beside the ACK of what it read.
pub trait Application {
    /// State for one connection.
    type State;

    /// Server: what becomes of a first flight from this address, before anything is kept for it. `is_proven`: the client
    /// has shown that the address is its own, by a Retry or an earlier token.
    fn admit(&mut self, _client: IpAddr, _is_proven: bool, _now: Instant) -> Admit {
        Admit::Accept
    }

    /// A connection appeared (server: its first flight was accepted; client: `connect` was called). Its handshake
    /// goes on; nothing can be sent before keys exist, streams may be opened from `Event::Connected` on, or at once when
    /// [`Connection::has_early_data`].
    fn opened(&mut self, connection: &mut Connection, now: Instant) -> Self::State;

    /// Drain events and streams, run what is due, write.
    fn run(&mut self, state: &mut Self::State, connection: &mut Connection, now: Instant);

    /// When `run` wants to be called at the latest, whatever the network does. A time that is past means the
    /// next turn, at once.
    fn timeout(&self, _state: &Self::State) -> Option<Instant> {
        None
    }

    /// Connections whose tasks were woken since the last call, appended to `woken`; registers the waker for later ones.
    fn poll_woken(&mut self, _cx: &mut Context<'_>, _woken: &mut Vec<ConnectionKey>) {}

    /// The connection ended; `state` is dropped after this.
    fn closed(&mut self, state: Self::State, reason: &CloseReason, now: Instant);
}

/// What an [`Application`] wants to become of a first flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// A connection, as far as the endpoint's own limits allow it.
    Accept,
    /// A Retry (RFC 9000 §8.1.2), or a refusal for who has proved its address already.
    Prove,
    /// A refusal.
    Refuse,
}

/// One worker's QUIC endpoint: connections, timers, buffers. The socket is an argument of `turn`.
pub struct Endpoint<A: Application> {
    app: A,
    engine: quinn_proto::Endpoint,
    place: Place,
    /// What new connections get, and its TLS.
    server: Option<(Arc<quinn_proto::ServerConfig>, Arc<crypto::Server>)>,
    connections: Table<A::State>,
    timers: Timers,
    admission: Admission,
    /// To be run, in the order in which they were touched; each once.
    due: Vec<ConnectionKey>,
    /// Touched since the last transmit, or with more to send than the last one took; each once.
    touched: Vec<ConnectionKey>,
    outbox: Outbox,
    /// The socket may have more than the last batch.
    more: bool,
    counters: Counters,
    tokens: Arc<TokenMemoryCache>,
    /// What siblings forwarded, one mailbox full at most.
    forwarded: Vec<Datagram>,
    /// Buffers that live from turn to turn for their capacity alone.
    arrived: Vec<Datagram>,
    woken: Vec<ConnectionKey>,
    reply: Vec<u8>,
}

impl<A: Application> Endpoint<A> {
    pub(crate) fn new(
        place: Place,
        server: Option<&ServerConfig>,
        app: A,
    ) -> Result<Self, ConfigError> {
        let config = Arc::new(place.engine_config());
        let mut endpoint = Self {
            app,
            engine: quinn_proto::Endpoint::new(config, None, true, None),
            place,
            server: None,
            connections: Table::default(),
            timers: Timers::default(),
            admission: Admission::default(),
            due: Vec::new(),
            touched: Vec::new(),
            outbox: Outbox::default(),
            more: false,
            counters: Counters::default(),
            tokens: Arc::default(),
            forwarded: Vec::new(),
            arrived: Vec::new(),
            woken: Vec::new(),
            reply: Vec::new(),
        };
        if let Some(server) = server {
            endpoint.set_server(server)?;
        }
        Ok(endpoint)
    }

    /// Takes one turn: everything that came in is handled, each touched connection runs once, and
    /// what they all want to send leaves.
    pub fn turn(&mut self, now: Instant, wire: &mut impl Wire, cx: &mut Context<'_>) {
        self.receive(now, wire, cx);
        self.expire(now);
        self.run(now, cx);
        self.transmit(now, wire);
        self.settle();
    }

    /// Client: starts a connection. Its first packets leave with the next turn.
    pub fn connect(
        &mut self,
        config: &ClientConfig,
        remote: SocketAddr,
        server_name: &str,
        now: Instant,
    ) -> Result<ConnectionKey, ConnectError> {
        let mut engine_config = config.to_engine()?;
        engine_config.token_store(self.tokens.clone());
        let (handle, engine) = self.engine.connect(now, engine_config, remote, server_name)?;
        let deadline = now + config.transport.handshake_timeout;
        Ok(self.open(handle, engine, Profile::of(&config.transport), deadline, now))
    }

    /// Server: what new connections get from now on; those that exist keep what they have.
    pub fn set_server(&mut self, config: &ServerConfig) -> Result<(), ConfigError> {
        let (engine_config, session) = config.to_engine(self.place.token_key())?;
        let engine_config = Arc::new(engine_config);
        self.engine.set_server_config(Some(engine_config.clone()));
        self.server = Some((engine_config, session));
        self.admission.set_policy(&config.transport);
        Ok(())
    }

    /// No new connections from now on: they are refused.
    pub fn refuse_new(&mut self) {
        self.admission.refuse_new();
    }

    /// Memory is short, or no longer: while it is, new clients prove their address first, if they are ever asked to.
    pub fn set_pressure(&mut self, is_short: bool) {
        self.admission.press(is_short);
    }

    /// Marks all connections as due for `run` in the next turn (drain, reload).
    pub fn touch_all(&mut self) {
        let (due, touched) = (&mut self.due, &mut self.touched);
        self.connections.iter_mut().for_each(|slot| slot.touch(due, touched));
    }

    /// Client: the socket has another address from now on. Each connection goes on from there under a new connection ID
    /// of the peer, if it has given one, and says so at once (RFC 9000 §9.2, §9.5); one whose server forbids that ends.
    pub fn local_address_changed(&mut self) {
        self.connections.iter_mut().for_each(|slot| slot.connection.local_address_changed());
        self.touch_all();
    }

    /// Marks one connection as due for `run` in the next turn.
    pub fn touch(&mut self, key: ConnectionKey) {
        if let Some(slot) = self.connections.get_mut(key) {
            slot.touch(&mut self.due, &mut self.touched);
        }
    }

    /// The application.
    pub fn application(&mut self) -> &mut A {
        &mut self.app
    }

    /// A connection and its state, for a caller outside a turn; what it does leaves with the next one.
    pub fn connection(&mut self, key: ConnectionKey) -> Option<(&mut A::State, &mut Connection)> {
        let slot = self.connections.get_mut(key)?;
        slot.touch(&mut self.due, &mut self.touched);
        Some((slot.state.as_mut()?, &mut slot.connection))
    }

    /// Live connections, those included that wait for the last packets of their peer.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// No live connections.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Connections that have not ended. Those that have may stay for three probe time-outs (RFC 9000 §10.2), which the
    /// peer can stretch to a minute by its `max_ack_delay`: who waits for the end of its work waits for these alone.
    pub fn open_connections(&self) -> u64 {
        self.counters.connections_opened - self.counters.connections_closed
    }

    /// Every connection that has not ended, with its state; nothing is due for having been looked at.
    pub fn connections(&mut self) -> impl Iterator<Item = (&A::State, &Connection)> {
        self.connections
            .iter_mut()
            .filter_map(|slot| Some((slot.state.as_ref()?, &slot.connection)))
    }

    /// What has been counted.
    pub fn counters(&self) -> Counters {
        let mut counters = self.counters;
        // All workers share their count: the first tells it.
        if self.place.worker() == 0 {
            let [forged, expired, replayed] = self.place.token_key().refused();
            counters.tokens_forged = forged;
            counters.tokens_expired = expired;
            counters.tokens_replayed = replayed;
        }
        counters
    }

    /// The worker that a connection ID in this datagram names, as the kernel would read it.
    #[cfg(feature = "sim")]
    pub(crate) fn worker_of(&self, datagram: &[u8]) -> Option<usize> {
        self.place.cipher.route(datagram).map(|route| route.worker.into())
    }

    /// A turn is due whatever the network does.
    pub fn wants_turn(&self) -> bool {
        self.more || !self.due.is_empty() || (!self.touched.is_empty() && !self.is_blocked())
    }

    /// The socket was full: a turn is due when it is writable again.
    pub fn is_blocked(&self) -> bool {
        self.outbox.is_blocked()
    }

    /// When a turn is due at the latest.
    pub fn timeout(&self) -> Option<Instant> {
        [self.timers.next(), self.admission.looks_at()].into_iter().flatten().min()
    }

    /// Looks for forwarded datagrams and woken tasks, and leaves wakers for more; true when there
    /// are any, which the next turn handles.
    pub fn poll_news(&mut self, cx: &mut Context<'_>) -> bool {
        self.place.mailbox.poll(cx, &mut self.forwarded);
        self.poll_woken(cx);
        !self.forwarded.is_empty() || !self.due.is_empty()
    }

    fn poll_woken(&mut self, cx: &mut Context<'_>) {
        self.app.poll_woken(cx, &mut self.woken);
        for key in self.woken.drain(..) {
            if let Some(slot) = self.connections.get_mut(key) {
                slot.touch(&mut self.due, &mut self.touched);
            }
        }
    }

    /// Handles what siblings forwarded and one batch of the socket.
    fn receive(&mut self, now: Instant, wire: &mut impl Wire, cx: &mut Context<'_>) {
        self.place.mailbox.poll(cx, &mut self.forwarded);
        let mut forwarded = mem::take(&mut self.forwarded);
        forwarded.drain(..).for_each(|datagram| self.feed(datagram, now, wire));
        self.forwarded = forwarded;

        let mut arrived = mem::take(&mut self.arrived);

        self.more = wire.receive(&mut arrived);
        self.counters.batches_received += u64::from(!arrived.is_empty());
        for datagram in arrived.drain(..) {
            self.counters.datagrams_received += 1;
            self.counters.bytes_received += datagram.data.len() as u64;
            // req: 9000-21.11-no-reset-for-a-sibling
            match self.place.owner(&datagram.data) {
                Owner::Us => self.feed(datagram, now, wire),
                Owner::Sibling(worker) => self.forward(worker, datagram),
                Owner::Absent => self.counters.strays_dropped += 1,
            }
        }
        self.arrived = arrived;
    }

    fn forward(&mut self, worker: u8, datagram: Datagram) {
        match self.place.mailbox.forward(worker, datagram) {
            true => self.counters.forwarded += 1,
            false => self.counters.mailbox_dropped += 1,
        }
    }

    /// Gives one datagram to the engine.
    fn feed(&mut self, datagram: Datagram, now: Instant, wire: &mut impl Wire) {
        let Datagram { remote, local_ip, ecn, data } = datagram;
        let bytes = data.len();
        // req: 9000-13.4-ecn-response
        let ecn = quinn_proto::EcnCodepoint::from_bits(ecn);
        self.reply.clear();
        match self.engine.handle(now, remote, local_ip, ecn, data, &mut self.reply) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(slot) = self.connections.of_handle(handle) {
                    slot.connection.note_received(bytes);
                    slot.connection.note_arrival(remote, bytes);
                    slot.connection.engine.handle_event(event);
                    slot.connection.note_path(&mut self.counters);
                    slot.connection.note_validation(&mut self.counters);
                    slot.touch(&mut self.due, &mut self.touched);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                self.admit(incoming, bytes, now, wire);
            }
            Some(DatagramEvent::Response(transmit)) => {
                // req: 9000-10.3.3-smaller
                let is_reset = self.reply.first().is_some_and(|first| first & LONG == 0);
                self.counters.resets_sent += u64::from(is_reset);
                self.reply(&transmit, wire);
            }
            None => {}
        }
    }

    /// Handles all timers that are due.
    fn expire(&mut self, now: Instant) {
        self.look(now);
        let Self { timers, connections, app, .. } = self;
        while let Some(key) = timers
            .pop(now, |key, at| connections.get_mut(key).is_some_and(|slot| slot.armed.disarm(at)))
        {
            let slot = connections.get_mut(key).expect("only living ones pop");
            let deadline = slot.deadline(app);
            if deadline.is_none_or(|deadline| deadline > now) {
                timers.arm(&mut slot.armed, key, deadline);
                continue;
            }
            slot.connection.engine.handle_timeout(now);
            slot.connection.pacing_over(now);
            slot.connection.waiting_over(now);
            slot.connection.expire(now);
            slot.connection.note_path(&mut self.counters);
            if slot.handshake_deadline.is_some_and(|deadline| deadline <= now) {
                slot.handshake_deadline = None;
                self.admission.handshake_over();
                self.counters.handshakes_over += 1;
                self.counters.handshakes_timed_out += 1;
                slot.connection.give_up(now);
            }
            slot.touch(&mut self.due, &mut self.touched);
        }
    }

    /// Runs each due connection once, then those that this woke, for a bounded number of rounds.
    fn run(&mut self, now: Instant, cx: &mut Context<'_>) {
        for _ in 0..ROUNDS {
            self.poll_woken(cx);
            if self.due.is_empty() {
                return;
            }
            let mut due = mem::take(&mut self.due);
            due.drain(..).for_each(|key| self.run_one(key, now));
            // Nothing in a run touches a connection, so the list that was taken is still empty.
            self.due = due;
        }
    }

    fn run_one(&mut self, key: ConnectionKey, now: Instant) {
        let Some(slot) = self.connections.get_mut(key) else { return };
        slot.begin_run(now);
        if let Some(early) = slot.connection.take_early_news() {
            self.counters.note_early(early);
        }
        if slot.handshake_deadline.is_some() && !slot.connection.is_handshaking() {
            slot.handshake_deadline = None;
            self.admission.handshake_over();
            self.counters.handshakes_over += 1;
        }
        if let Some(state) = &mut slot.state {
            self.app.run(state, &mut slot.connection, now);
            slot.connection.run_over();
        }
        slot.relay(&mut self.engine);
        if let Some(reason) = slot.connection.ended()
            && let Some(state) = slot.state.take()
        {
            self.counters.connections_closed += 1;
            let stats = slot.connection.stats();
            self.counters.packets_sent += stats.sent_packets;
            self.counters.packets_lost += stats.lost_packets;
            self.counters.congestion_events += stats.congestion_events;
            let (sent, received) = slot.connection.path_challenges();
            self.counters.path_challenges_sent += sent;
            self.counters.path_challenges_received += received;
            self.app.closed(state, reason, now);
        }
    }

    /// After transmit: frees what is drained, arms the timers of the rest.
    fn settle(&mut self) {
        let Self { touched, connections, timers, app, engine, .. } = self;
        touched.retain(|&key| {
            let Some(slot) = connections.get_mut(key) else { return false };
            if slot.is_over(engine) {
                connections.remove(key);
                return false;
            }
            let deadline = slot.deadline(app);
            timers.arm(&mut slot.armed, key, deadline);
            slot.is_touched = !slot.is_quiet;
            slot.is_touched
        });
        timers.sweep(connections.len(), |key, at| {
            connections.get(key).is_some_and(|slot| slot.armed.is(at))
        });
    }

    /// Enters a connection that the engine has made.
    fn open(
        &mut self,
        handle: ConnectionHandle,
        engine: quinn_proto::Connection,
        profile: Profile,
        handshake_deadline: Instant,
        now: Instant,
    ) -> ConnectionKey {
        let key = self.connections.next_key(handle);
        let mut connection = Connection::new(key, engine, profile, now);
        connection.gather(now);
        let state = self.app.opened(&mut connection, now);
        self.admission.handshake_begun();
        self.counters.handshakes_begun += 1;
        self.counters.connections_opened += 1;
        let slot = Slot::new(handle, connection, state, handshake_deadline);
        self.connections.insert(key, slot).touch(&mut self.due, &mut self.touched);
        key
    }
}

/// Why a connection could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The configuration cannot be used.
    #[error("the client's configuration cannot be used")]
    Config(#[from] ConfigError),
    /// The server's name is neither a DNS name nor an address.
    #[error("`{0}` is neither a DNS name nor an IP address")]
    ServerName(String),
    /// The address has no port, or is a wildcard.
    #[error("{0} is not an address to connect to")]
    Address(SocketAddr),
    /// TLS cannot start, for instance because TLS 1.3 is switched off.
    #[error("the TLS configuration allows no version of QUIC")]
    Version,
    /// The endpoint takes no more connections.
    #[error("the endpoint takes no more connections")]
    Exhausted,
}

impl From<quinn_proto::ConnectError> for ConnectError {
    fn from(error: quinn_proto::ConnectError) -> Self {
        use quinn_proto::ConnectError as Engine;
        match error {
            Engine::InvalidServerName(name) => Self::ServerName(name),
            Engine::InvalidRemoteAddress(address) => Self::Address(address),
            Engine::UnsupportedVersion | Engine::NoDefaultClientConfig => Self::Version,
            Engine::EndpointStopping | Engine::CidsExhausted => Self::Exhausted,
        }
    }
}

impl From<ConnectError> for std::io::Error {
    fn from(error: ConnectError) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, error)
    }
}

impl<A: Application> fmt::Debug for Endpoint<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("route", &self.place.route)
            .field("connections", &self.connections.len())
            .field("due", &self.due.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// The bit of a long header (RFC 9000 §17.2): of all that goes to strangers, resets alone have none.
const LONG: u8 = 0x80;

/// How often a connection may run in one turn: once for the network, then for tasks that its own
/// running woke. What is woken after that waits for the next turn, so that sending is never starved.
const ROUNDS: usize = 4;
