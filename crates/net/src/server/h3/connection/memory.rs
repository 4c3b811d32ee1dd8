//! What the client makes us hold is charged to the ledger, and its connection goes when that is too much.

use sterna_h3::Code;

use super::{Connection, Phase};
use crate::{memory::Level, service::HttpService};

impl<S: HttpService> Connection<S> {
    /// After each turn.
    pub(in crate::server::h3) fn charge(&mut self, quic: &mut sterna_quic::Connection) {
        let held = match self.phase {
            Phase::Closed => 0,
            Phase::Opening(_) | Phase::Open(_) => quic.held() + self.budget.waiting(),
        };
        self.hold(held);
        if self.is_to_go(quic.read_bytes()) {
            self.dispatch.counters.shed_connections.increment();
            tracing::info!(
                client = %quic.validated_address(), held, read = quic.read_bytes(),
                "HTTP/3 connection closed: memory is short, and it holds much for little"
            );
            quic.close(Code::ExcessiveLoad.value(), b"memory is short");
            self.lost();
        }
    }

    /// It holds so many bytes from now on.
    pub(super) fn hold(&mut self, bytes: u64) {
        if bytes == self.held {
            return;
        }
        self.dispatch.memory.change(self.held, bytes);
        let queued = &self.dispatch.counters.queued_stream_bytes;
        queued.add_alone(bytes);
        queued.subtract_alone(self.held);
        self.held = bytes;
    }

    /// Whether it holds no less than half of what connections of this worker hold on average, and more than it was of use for.
    ///
    /// Nobody is looked for: a client that fills memory takes turns as it does so.
    fn is_to_go(&self, read: u64) -> bool {
        let memory = &self.dispatch.memory;
        if self.held < LEAST || memory.level() < Level::Shed {
            return false;
        }
        let connections = self.dispatch.counters.active_quic_connections.value().max(1);
        self.held > read && self.held.saturating_mul(2) >= memory.held() / connections
    }
}

/// Whoever holds less is never closed for it, in bytes.
const LEAST: u64 = 64 * 1024;
