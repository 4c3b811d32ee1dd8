//! HTTP/3 on a worker's QUIC endpoint: stream bytes become requests, responses become stream bytes.
//!
//! There is no task and no channel between QUIC and HTTP/3. The endpoint lends a connection to
//! [`H3Application::run`]; there it is read, its requests are polled, and what they answer is handed over before the
//! endpoint transmits: an answer that is ready at once leaves beside the acknowledgement of its request.
//!
//! ```text
//! Endpoint::turn ─ run ─┬─ receive   transport events and stream data → sterna_h3::Connection → events
//!                       ├─ work      requests that are new or were woken: service futures
//!                       └─ send      by priority: response bodies → DATA → transport, as much as it can use
//! ```

mod connection;
mod schedule;
mod stream;

use std::{
    cell::Cell,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    task::Context,
    time::Instant,
};

use sterna_quic::{Admit, Application, CloseReason, ConnectionKey};

use self::connection::Connection;
use crate::{
    h3::wake::{ConnectionWake, WakeQueue},
    memory::Level,
    service::{Dispatch, HttpService},
};

/// What runs HTTP/3 on the connections of one endpoint.
pub(crate) struct H3Application<S> {
    dispatch: Rc<Dispatch<S>>,
    local: SocketAddr,
    wakes: Arc<WakeQueue>,
    draining: Draining,
}

impl<S: HttpService> H3Application<S> {
    pub(crate) fn new(dispatch: Rc<Dispatch<S>>, local: SocketAddr, draining: Draining) -> Self {
        Self { dispatch, local, wakes: Arc::default(), draining }
    }
}

impl<S: HttpService> Application for H3Application<S> {
    type State = Connection<S>;

    /// Who is above a limit for its address shows first that it is its own: nobody is shut out by who forges it.
    fn admit(&mut self, client: IpAddr, is_proven: bool, now: Instant) -> Admit {
        let counters = &self.dispatch.counters;
        match self.dispatch.memory.level() {
            Level::Calm => {}
            Level::Pressure | Level::Shed if is_proven => {}
            Level::Pressure | Level::Shed => return Admit::Prove,
            Level::Full => {
                counters.refused_for_memory.increment();
                return Admit::Refuse;
            }
        }
        let Some(limits) = &self.dispatch.limits else { return Admit::Accept };
        let refusal = if limits.is_full(client) {
            Some(&counters.refused_connections)
        } else if !limits.handshake(client, is_proven, now) {
            Some(&counters.refused_handshakes)
        } else {
            None
        };
        match refusal {
            None => Admit::Accept,
            Some(_) if !is_proven => Admit::Prove,
            Some(refused) => {
                refused.increment();
                Admit::Refuse
            }
        }
    }

    fn opened(&mut self, quic: &mut sterna_quic::Connection, now: Instant) -> Connection<S> {
        self.dispatch.counters.quic_connections.increment();
        self.dispatch.counters.active_quic_connections.increment();
        let wake = Arc::new(ConnectionWake::new(quic.key(), self.wakes.clone()));
        let client = quic.remote_address();
        let connection = Connection::new(self.dispatch.clone(), self.local, wake, client, now);
        quic.bear(connection.burden());
        connection
    }

    fn run(
        &mut self,
        connection: &mut Connection<S>,
        quic: &mut sterna_quic::Connection,
        now: Instant,
    ) {
        connection.run(quic, now, self.draining.deadline());
        connection.charge(quic);
    }

    fn timeout(&self, connection: &Connection<S>) -> Option<Instant> {
        connection.timeout()
    }

    fn poll_woken(&mut self, cx: &mut Context<'_>, woken: &mut Vec<ConnectionKey>) {
        self.wakes.poll(cx, woken);
    }

    fn closed(&mut self, mut connection: Connection<S>, reason: &CloseReason, _now: Instant) {
        self.dispatch.counters.active_quic_connections.decrement();
        connection.ended(reason);
        tracing::debug!(?reason, "HTTP/3 connection ended");
        connection.lost();
    }
}

/// Tells the connections of an endpoint that they are to end, and by when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draining(Rc<Cell<Option<Instant>>>);

impl Draining {
    pub(crate) fn begin(&self, deadline: Instant) {
        self.0.set(Some(deadline));
    }

    fn deadline(&self) -> Option<Instant> {
        self.0.get()
    }
}

#[cfg(test)]
mod tests;
