//! The application of the client's QUIC endpoint: all of its connections.

use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc, task::Context, time::Instant};

use sterna_quic::{CloseReason, ConnectionKey};
use tokio::sync::oneshot;

use super::{
    super::{
        Error, config::Config, connect::Progress, connection::Established, counters::Counts,
        session::Sessions,
    },
    connection::Connection,
};
use crate::{
    counters::WorkerCounters,
    h3::wake::{ConnectionWake, WakeQueue},
};

/// What runs HTTP/3 on the connections of one endpoint.
pub(crate) struct Application {
    common: Rc<Common>,
    wakes: Arc<WakeQueue>,
    /// What the connection that is opened next belongs to.
    next: Option<Setup>,
}

/// What all connections share.
pub(crate) struct Common {
    pub(crate) config: Arc<Config>,
    pub(crate) counts: Arc<Counts>,
    /// Of what waits in queues.
    pub(crate) queued: Arc<WorkerCounters>,
    pub(crate) sessions: Arc<Sessions>,
    /// All end: no new requests, and those under way have until then.
    pub(crate) closing: Cell<Option<Instant>>,
}

/// What a new connection is for.
pub(crate) struct Setup {
    pub(crate) server_name: String,
    pub(crate) progress: Progress,
    /// Told when it can be used.
    pub(crate) reply: oneshot::Sender<Result<Established, Error>>,
    pub(crate) began: Instant,
    pub(crate) local: Option<SocketAddr>,
}

impl Application {
    pub(crate) fn new(common: Rc<Common>) -> Self {
        Self { common, wakes: Arc::default(), next: None }
    }

    /// The next connection that opens is for this.
    pub(crate) fn expect(&mut self, setup: Setup) {
        self.next = Some(setup);
    }

    /// It did not open.
    pub(crate) fn take_back(&mut self) -> Option<Setup> {
        self.next.take()
    }
}

impl sterna_quic::Application for Application {
    type State = Connection;

    fn opened(&mut self, quic: &mut sterna_quic::Connection, now: Instant) -> Connection {
        let wake = Arc::new(ConnectionWake::new(quic.key(), self.wakes.clone()));
        let setup =
            self.next.take().expect("every connection is expected: there is no server here");
        let mut connection = Connection::new(self.common.clone(), wake, setup);
        connection.begin(quic, now);
        connection
    }

    fn run(
        &mut self,
        connection: &mut Connection,
        quic: &mut sterna_quic::Connection,
        now: Instant,
    ) {
        connection.run(quic, now);
    }

    fn timeout(&self, connection: &Connection) -> Option<Instant> {
        connection.timeout()
    }

    fn poll_woken(&mut self, cx: &mut Context<'_>, woken: &mut Vec<ConnectionKey>) {
        self.wakes.poll(cx, woken);
    }

    fn closed(&mut self, mut connection: Connection, reason: &CloseReason, _now: Instant) {
        tracing::debug!(?reason, "HTTP/3 connection ended");
        connection.lost(reason);
    }
}
