//! What the client makes us hold is charged to the ledger, and its connection goes when that is too much.

use std::{cell::Cell, rc::Rc, sync::Arc};

use sterna_h3::Code;

use super::{Connection, Phase};
use crate::{
    counters::WorkerCounters,
    memory::{Account, Level},
    service::HttpService,
};

/// What one connection holds, until the transport has freed it.
pub(in crate::server::h3) struct Charge {
    memory: Rc<Account>,
    counters: Arc<WorkerCounters>,
    held: Cell<u64>,
}

impl Charge {
    pub(in crate::server::h3) fn new(memory: Rc<Account>, counters: Arc<WorkerCounters>) -> Self {
        Self { memory, counters, held: Cell::new(0) }
    }

    fn bytes(&self) -> u64 {
        self.held.get()
    }

    fn set(&self, bytes: u64) {
        let before = self.held.replace(bytes);
        if bytes != before {
            self.memory.change(before, bytes);
            self.counters.queued_stream_bytes.add_alone(bytes);
            self.counters.queued_stream_bytes.subtract_alone(before);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl<S: HttpService> Connection<S> {
    /// After each turn.
    pub(in crate::server::h3) fn charge(&mut self, quic: &mut sterna_quic::Connection) {
        if matches!(self.phase, Phase::Closed) {
            // The transport keeps what it has for some round trips more.
            return;
        }
        let held = quic.held() + self.budget.waiting();
        self.charge.set(held);
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

    /// Whether it holds no less than half of what connections of this worker hold on average, and more than it was of use for.
    ///
    /// Nobody is looked for: a client that fills memory takes turns as it does so.
    fn is_to_go(&self, read: u64) -> bool {
        let memory = &self.dispatch.memory;
        let held = self.charge.bytes();
        if held < LEAST || memory.level() < Level::Shed {
            return false;
        }
        let connections = self.dispatch.counters.active_quic_connections.value().max(1);
        held > read && held.saturating_mul(2) >= memory.held() / connections
    }
}

/// Whoever holds less is never closed for it, in bytes.
const LEAST: u64 = 64 * 1024;
