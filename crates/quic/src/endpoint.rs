//! Skeleton: `Endpoint::turn` lives here and reads like sentences.
use crate::{ClientConfig, CloseReason, Connection, ConnectionKey};
use std::{
    net::SocketAddr,
    task::Context,
    time::Instant,
};

/// What runs on top of the connections of one endpoint (HTTP/3, in `sterna-net`). One thread, no locks.
///
/// In a turn the endpoint calls `run` once for each connection that was touched by a datagram, a timer or a
/// woken task, and only then transmits: what `run` writes leaves beside the ACK of what it read.
pub trait Application {
    /// State for one connection.
    type State;

    /// A connection appeared (server: its first flight was accepted; client: `connect` was called). Its handshake
    /// goes on; nothing can be sent before keys exist, streams may be opened from `Event::Connected` on.
    fn opened(&mut self, connection: &mut Connection, now: Instant) -> Self::State;

    /// Drain events and streams, run what is due, write.
    fn run(&mut self, state: &mut Self::State, connection: &mut Connection, now: Instant);

    /// When `run` wants to be called at the latest, whatever the network does.
    fn timeout(&self, _state: &Self::State) -> Option<Instant> {
        None
    }

    /// Connections whose tasks were woken since the last call, appended to `woken`; registers the waker for later ones.
    fn poll_woken(&mut self, _cx: &mut Context<'_>, _woken: &mut Vec<ConnectionKey>) {}

    /// The connection ended; `state` is dropped after this.
    fn closed(&mut self, state: Self::State, reason: &CloseReason, now: Instant);
}

/// One worker's QUIC endpoint: connections, timers, buffers. The socket is an argument of `turn`.
#[derive(Debug)]
pub struct Endpoint<A: Application> {
    app: A,
}

impl<A: Application> Endpoint<A> {
    /// The application.
    pub fn application(&mut self) -> &mut A {
        &mut self.app
    }
    /// Client: starts a connection.
    pub fn connect(
        &mut self,
        _config: &ClientConfig,
        _remote: SocketAddr,
        _server_name: &str,
        _now: Instant,
    ) -> Result<ConnectionKey, std::io::Error> {
        todo!()
    }
    /// No new connections from now on: they are refused.
    pub fn refuse_new(&mut self) {
        todo!()
    }
    /// Marks all connections as due for `run` in the next turn (drain, reload).
    pub fn touch_all(&mut self) {
        todo!()
    }
    /// Live connections.
    pub fn len(&self) -> usize {
        todo!()
    }
    /// No live connections.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
