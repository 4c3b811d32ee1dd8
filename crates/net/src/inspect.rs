//! What is going on in a running server: asked of every worker, and answered between two of its turns.
//!
//! Nothing is kept for it: a server that nobody asks pays for a number in each TCP connection.

use std::{
    cell::RefCell,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        mpsc::{self, SyncSender},
    },
    time::{Duration, Instant},
};

use slab::Slab;
use sterna_quic::Counters as QuicCounters;
use tokio::sync::watch;

use crate::{
    Control, Protocol,
    server::{Config, tcp::Tcp},
};

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// What the QUIC endpoints have counted; connections that are open are in it too.
    pub quic: QuicCounters,
    /// Connections that are open, in no order.
    pub connections: Vec<OpenConnection>,
    /// Connections that are open, and were too many to be listed.
    pub more: usize,
    /// Workers' parts that did not answer in time.
    pub missing: usize,
}

/// A connection that is open.
#[derive(Clone, Debug)]
pub struct OpenConnection {
    /// Which worker has it, from 0.
    pub worker: usize,
    /// The version of HTTP, once it is known.
    pub protocol: Option<Protocol>,
    /// The peer.
    pub peer: SocketAddr,
    /// Our address, as listened on.
    pub local: SocketAddr,
    /// Requests that are being answered.
    pub requests: usize,
    /// The smoothed round-trip time.
    pub rtt: Option<Duration>,
    /// How long it has been open; over QUIC it is not known.
    pub age: Option<Duration>,
    /// Bytes sent, where that is known.
    pub sent_bytes: Option<u64>,
    /// Bytes received, where that is known.
    pub received_bytes: Option<u64>,
    /// Packets sent, over QUIC.
    pub sent_packets: Option<u64>,
    /// Packets lost, over QUIC.
    pub lost_packets: Option<u64>,
}

/// What everybody is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Connections that one part may list.
    limit: usize,
    answer: SyncSender<Inspection>,
}

/// Where questions come from.
pub(crate) type Questions = watch::Sender<Option<Question>>;

/// An ear for them.
#[derive(Clone, Debug)]
pub(crate) struct Asked(watch::Receiver<Option<Question>>);

impl Asked {
    pub(crate) fn of(questions: &Questions) -> Self {
        Self(questions.subscribe())
    }

    /// Waits for the next question; for ever when there will be none.
    pub(crate) async fn next(&mut self) -> Question {
        loop {
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if let Some(question) = self.0.borrow_and_update().clone() {
                return question;
            }
        }
    }
}

impl Question {
    pub(crate) fn answer(
        self,
        connections: impl Iterator<Item = OpenConnection>,
        quic: QuicCounters,
    ) {
        let mut answer = Inspection { quic, ..Inspection::default() };
        for connection in connections {
            match answer.connections.len() < self.limit {
                true => answer.connections.push(connection),
                false => answer.more += 1,
            }
        }
        // There is room for every answer in time; nobody waits for one that is late.
        let _ = self.answer.try_send(answer);
    }
}

impl Control {
    /// Asks every worker what is going on, and lists up to `limit` connections. It waits for a worker that computes, but no
    /// longer than a second.
    pub fn inspect(&self, limit: usize) -> Inspection {
        let parts = self.questions.receiver_count();
        let (answer, answers) = mpsc::sync_channel(parts);
        self.questions.send_replace(Some(Question { limit, answer }));
        let until = Instant::now() + PATIENCE;
        let mut all = Inspection { missing: parts, ..Inspection::default() };
        while all.missing > 0 {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(answer) = answers.recv_timeout(left) else { break };
            all.missing -= 1;
            all.quic += answer.quic;
            all.more += answer.more;
            all.connections.extend(answer.connections);
        }
        all.more += all.connections.len().saturating_sub(limit);
        all.connections.truncate(limit);
        all
    }
}

/// The TCP connections of a worker.
#[derive(Default)]
pub(crate) struct Registry(RefCell<Slab<Rc<Tcp>>>);

impl Registry {
    pub(crate) fn add(self: &Rc<Self>, connection: Tcp) -> Registered {
        let connection = Rc::new(connection);
        let key = self.0.borrow_mut().insert(connection.clone());
        Registered { registry: self.clone(), key, connection }
    }

    /// A reload has changed the limits and time-outs.
    pub(crate) fn follow(&self, config: &Arc<Config>) {
        self.0.borrow().iter().for_each(|(_, tcp)| tcp.follow(config));
    }

    pub(crate) fn answer(&self, question: Question, worker: usize) {
        let connections = self.0.borrow();
        let connections = connections.iter().map(|(_, tcp)| tcp.describe(worker));
        question.answer(connections, QuicCounters::default());
    }
}

/// A connection that is listed as long as this lives.
pub(crate) struct Registered {
    registry: Rc<Registry>,
    key: usize,
    connection: Rc<Tcp>,
}

impl Registered {
    pub(crate) fn set_protocol(&self, protocol: Protocol) {
        self.connection.protocol.set(Some(protocol));
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.0.borrow_mut().try_remove(self.key);
    }
}

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(1);
