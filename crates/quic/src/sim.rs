//! A simulated network: servers behind one address, clients, two links, and a clock that jumps.
//!
//! The endpoints are the real ones; only [`Wire`], time and chance are replaced, and a seed decides
//! what chance does. TLS keeps its own randomness, which changes bytes and never lengths when the
//! certificate's signatures have a fixed size (Ed25519).
//!
//! ```text
//! clients ── up: delay, loss, reordering, rate ──▶ one address ── by CID or by hash ──▶ workers
//!         ◀── down ─────────────────────────────────────────────────────────────────
//! ```

mod link;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::SocketAddr,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rand::{SeedableRng, rngs::StdRng};

use self::link::Line;
pub use self::link::Link;
use crate::{
    Application, ClientConfig, ConfigError, ConnectError, ConnectionKey, Datagram, Endpoint,
    Outgoing, Secret, Sent, ServerConfig, Wire, place::Place,
};

/// How datagrams find a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// As with the BPF program: by connection ID, by address when there is none of ours.
    ByConnectionId,
    /// As without it: by the client's address alone.
    ByAddress,
}

/// One datagram that somebody sent, whether or not it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// When, from the start of the network.
    pub at: Duration,
    /// From a client to the servers, or back.
    pub is_up: bool,
    /// The client's address, as the datagram has it.
    pub client: SocketAddr,
    /// Size, in bytes of UDP payload.
    pub bytes: usize,
}

/// The network and all that is on it.
#[derive(Debug)]
pub struct Network<S: Application, C: Application> {
    /// From the clients to the servers. May be changed at any time.
    pub up: Link,
    /// From the servers to the clients.
    pub down: Link,
    /// How datagrams find a worker.
    pub steering: Steering,
    /// Everything that was sent, in order.
    pub trace: Vec<Trace>,
    /// What clients send is kept here, once there is a list.
    pub kept: Option<Vec<BytesMut>>,
    seed: u64,
    start: Instant,
    now: Instant,
    rng: StdRng,
    servers: Vec<Endpoint<S>>,
    clients: Vec<Client<C>>,
    lines: (Line, Line),
    under_way: BinaryHeap<Reverse<Flight>>,
    flights: u64,
}

#[derive(Debug)]
struct Client<C: Application> {
    endpoint: Endpoint<C>,
    address: SocketAddr,
    /// What its datagrams of less than so many bytes say that they come from, when that is a lie.
    claimed: Option<(SocketAddr, usize)>,
    /// Where somebody takes what is sent, and brings it to the client.
    carried: Option<SocketAddr>,
    is_full: bool,
}

impl<C: Application> Client<C> {
    /// What is sent there reaches it.
    fn is_at(&self, address: SocketAddr) -> bool {
        self.address == address || self.carried == Some(address)
    }
}

/// A datagram on its way, ordered by arrival, then by departure.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    arrives: Instant,
    number: u64,
    from: SocketAddr,
    to: SocketAddr,
    ecn: u8,
    data: BytesMut,
}

impl<S: Application, C: Application> Network<S, C> {
    /// A network with as many workers behind the servers' address as there are applications.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(
        seed: u64,
        config: &ServerConfig,
        applications: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConfigError> {
        let start = Instant::now();
        Ok(Self {
            up: Link::default(),
            down: Link::default(),
            steering: Steering::ByConnectionId,
            trace: Vec::new(),
            kept: None,
            start,
            now: start,
            servers: servers(seed, config, applications)?,
            seed,
            rng: StdRng::seed_from_u64(seed),
            clients: Vec::new(),
            lines: (Line::default(), Line::default()),
            under_way: BinaryHeap::new(),
            flights: 0,
        })
    }

    /// Adds a client and returns its number.
    ///
    /// # Panics
    /// With more than 65,535 clients.
    pub fn add_client(&mut self, application: C) -> usize {
        let secret = Secret::random(&mut self.rng);
        let place = Place::group(1, &secret, &mut self.rng).pop().expect("a group of one has one");
        let endpoint = Endpoint::new(place, None, application).expect("nothing to configure");
        let port = u16::try_from(self.clients.len() + 1).expect("fewer clients than ports");
        let address = ([10, 0, 0, 1], port).into();
        self.clients.push(Client {
            endpoint,
            address,
            claimed: None,
            carried: None,
            is_full: false,
        });
        self.clients.len() - 1
    }

    /// Starts a connection of a client to the servers.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn connect(
        &mut self,
        client: usize,
        config: &ClientConfig,
    ) -> Result<ConnectionKey, ConnectError> {
        let endpoint = &mut self.clients[client].endpoint;
        endpoint.connect(config, SERVERS, "localhost", self.now)
    }

    /// The servers start again with the keys that they had, and have forgotten all connections.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn restart(
        &mut self,
        config: &ServerConfig,
        applications: impl IntoIterator<Item = S>,
    ) -> Result<(), ConfigError> {
        self.servers = servers(self.seed, config, applications)?;
        Ok(())
    }

    /// The client's datagrams come from another address from now on, and what is sent to the old
    /// one is lost: its NAT forgot it.
    pub fn rebind(&mut self, client: usize, address: SocketAddr) {
        self.clients[client].address = address;
    }

    /// The client's datagrams say that they come from another address, where it cannot receive; what is sent to its own still
    /// arrives. `None` ends that.
    pub fn claim(&mut self, client: usize, address: Option<SocketAddr>) {
        self.clients[client].claimed = address.map(|address| (address, usize::MAX));
    }

    /// As [`Self::claim`], but only for datagrams of less than so many bytes.
    pub fn claim_small(&mut self, client: usize, address: SocketAddr, bytes: usize) {
        self.clients[client].claimed = Some((address, bytes));
    }

    /// Whoever is at `address` hands the client what the servers send there, as if it came from them; `None` ends that.
    pub fn carry(&mut self, client: usize, address: Option<SocketAddr>) {
        self.clients[client].carried = address;
    }

    /// The client's socket is full from now on, or has room again.
    pub fn set_full(&mut self, client: usize, is_full: bool) {
        self.clients[client].is_full = is_full;
        if !is_full {
            self.turn_client(client, Vec::new());
        }
    }

    /// Runs until `done`, or for `limit` at most; false when the limit came first.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if !self.step(end) {
                return done(self);
            }
        }
        true
    }

    /// Runs for so long.
    pub fn run_for(&mut self, span: Duration) {
        self.run_until(span, |_| false);
    }

    /// A client's endpoint.
    pub fn client(&mut self, client: usize) -> &mut Endpoint<C> {
        &mut self.clients[client].endpoint
    }

    /// A worker's endpoint.
    pub fn server(&mut self, worker: usize) -> &mut Endpoint<S> {
        &mut self.servers[worker]
    }

    /// The time that it is on the network.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Sends a datagram to the servers, from whatever address.
    pub fn inject(&mut self, from: SocketAddr, data: BytesMut) {
        self.send(from, vec![(SERVERS, 0, data)]);
    }

    /// Lets everything act that can act now, then goes to the next moment at which something can;
    /// false when that is at `end` or later, where the clock then stands.
    fn step(&mut self, end: Instant) -> bool {
        self.deliver();
        self.settle();
        let arrival = self.under_way.peek().map(|Reverse(flight)| flight.arrives);
        let clients = self.clients.iter().filter_map(|client| client.endpoint.timeout());
        let servers = self.servers.iter().filter_map(Endpoint::timeout);
        let next = arrival.into_iter().chain(clients).chain(servers).min();
        self.now = next.map_or(end, |next| next.clamp(self.now, end));
        self.now < end
    }

    /// Gives out what has arrived, all that one endpoint gets at this moment as one batch.
    fn deliver(&mut self) {
        let mut for_clients: Vec<Vec<Datagram>> = self.clients.iter().map(|_| Vec::new()).collect();
        let mut for_servers: Vec<Vec<Datagram>> = self.servers.iter().map(|_| Vec::new()).collect();
        while let Some(Reverse(flight)) = self.under_way.peek()
            && flight.arrives <= self.now
        {
            let Some(Reverse(flight)) = self.under_way.pop() else { break };
            let Flight { from, to, ecn, data, .. } = flight;
            let datagram = Datagram { remote: from, local_ip: Some(to.ip()), ecn, data };
            if to == SERVERS {
                for_servers[self.worker_of(&datagram)].push(datagram);
            } else if let Some(client) = self.clients.iter().position(|c| c.is_at(to)) {
                for_clients[client].push(datagram);
            }
        }
        for (client, batch) in for_clients.into_iter().enumerate() {
            self.turn_client(client, batch);
        }
        for (worker, batch) in for_servers.into_iter().enumerate() {
            self.turn_server(worker, batch);
        }
    }

    /// Turns those that have work left, or got some from a sibling.
    fn settle(&mut self) {
        loop {
            let mut cx = Context::from_waker(Waker::noop());
            let client = self.clients.iter_mut().position(|client| {
                let endpoint = &mut client.endpoint;
                endpoint.wants_turn() || endpoint.poll_news(&mut cx)
            });
            if let Some(client) = client {
                self.turn_client(client, Vec::new());
                continue;
            }
            let server = self
                .servers
                .iter_mut()
                .position(|endpoint| endpoint.wants_turn() || endpoint.poll_news(&mut cx));
            let Some(worker) = server else { return };
            self.turn_server(worker, Vec::new());
        }
    }

    fn turn_client(&mut self, client: usize, arrived: Vec<Datagram>) {
        let Client { endpoint, address, claimed, is_full, .. } = &mut self.clients[client];
        let mut wire = SimulatedWire { arrived, sent: Vec::new(), is_full: *is_full };
        let (own, claimed) = (*address, *claimed);
        endpoint.turn(self.now, &mut wire, &mut Context::from_waker(Waker::noop()));
        for datagram in wire.sent {
            let lie = claimed.filter(|(_, below)| datagram.2.len() < *below);
            self.send(lie.map_or(own, |(address, _)| address), vec![datagram]);
        }
    }

    fn turn_server(&mut self, worker: usize, arrived: Vec<Datagram>) {
        let mut wire = SimulatedWire { arrived, sent: Vec::new(), is_full: false };
        let mut cx = Context::from_waker(Waker::noop());
        self.servers[worker].turn(self.now, &mut wire, &mut cx);
        self.send(SERVERS, wire.sent);
    }

    fn send(&mut self, from: SocketAddr, datagrams: Vec<(SocketAddr, u8, BytesMut)>) {
        for (to, ecn, data) in datagrams {
            let is_up = to == SERVERS;
            if let Some(kept) = self.kept.as_mut().filter(|_| is_up) {
                kept.push(data.clone());
            }
            let client = if is_up { from } else { to };
            self.trace.push(Trace { at: self.elapsed(), is_up, client, bytes: data.len() });
            let (link, line) =
                if is_up { (self.up, &mut self.lines.0) } else { (self.down, &mut self.lines.1) };
            let ecn = link.mark(ecn, &mut self.rng);
            for arrives in link.carry(self.now, data.len(), line, &mut self.rng) {
                self.flights += 1;
                let number = self.flights;
                let data = data.clone();
                self.under_way.push(Reverse(Flight { arrives, number, from, to, ecn, data }));
            }
        }
    }

    /// The worker whose socket the kernel would choose.
    fn worker_of(&self, datagram: &Datagram) -> usize {
        let workers = self.servers.len();
        let by_address = usize::from(datagram.remote.port()) % workers;
        match self.steering {
            Steering::ByAddress => by_address,
            Steering::ByConnectionId => {
                let worker = self.servers[0].worker_of(&datagram.data);
                worker.filter(|&worker| worker < workers).unwrap_or(by_address)
            }
        }
    }
}

/// One worker for each application, all of one group.
fn servers<S: Application>(
    seed: u64,
    config: &ServerConfig,
    applications: impl IntoIterator<Item = S>,
) -> Result<Vec<Endpoint<S>>, ConfigError> {
    let applications: Vec<S> = applications.into_iter().collect();
    // Not the network's own sequence: a restart must find the same keys.
    let mut rng = StdRng::seed_from_u64(!seed);
    let secret = Secret::random(&mut rng);
    let places = Place::group(applications.len(), &secret, &mut rng);
    let pairs = places.into_iter().zip(applications);
    pairs.map(|(place, app)| Endpoint::new(place, Some(config), app)).collect()
}

/// What an endpoint sees of the network in one turn.
struct SimulatedWire {
    arrived: Vec<Datagram>,
    sent: Vec<(SocketAddr, u8, BytesMut)>,
    is_full: bool,
}

impl Wire for SimulatedWire {
    fn receive(&mut self, datagrams: &mut Vec<Datagram>) -> bool {
        datagrams.append(&mut self.arrived);
        false
    }

    fn send(&mut self, outgoing: &Outgoing<'_>) -> Sent {
        if self.is_full {
            return Sent::Blocked;
        }
        let datagrams = outgoing.data.chunks(outgoing.segment.max(1));
        self.sent
            .extend(datagrams.map(|data| (outgoing.remote, outgoing.ecn, BytesMut::from(data))));
        Sent::Done
    }

    fn max_segments(&self) -> usize {
        MAX_SEGMENTS
    }
}

/// The address that all servers share.
const SERVERS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)), 443);

/// Datagrams in one batch, as many as a kernel takes.
const MAX_SEGMENTS: usize = 64;
