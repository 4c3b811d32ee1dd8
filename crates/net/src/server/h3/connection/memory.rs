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
    /// What the client may send, or has sent and is not read, beside what each may.
    granted: Cell<u64>,
    /// It has been closed, and will give back what it holds.
    is_leaving: Cell<bool>,
}

impl Charge {
    pub(in crate::server::h3) fn new(memory: Rc<Account>, counters: Arc<WorkerCounters>) -> Self {
        let (held, granted, is_leaving) = Default::default();
        Self { memory, counters, held, granted, is_leaving }
    }

    fn bytes(&self) -> u64 {
        self.held.get()
    }

    /// What it holds is as good as given back.
    fn leaves(&self) {
        if !self.is_leaving.replace(true) {
            self.memory.leaves(self.held.get());
        }
    }

    fn grant(&self, bytes: u64) {
        let before = self.granted.replace(bytes);
        if bytes != before {
            self.memory.grant(before, bytes);
            self.counters.granted_stream_bytes.add_alone(bytes);
            self.counters.granted_stream_bytes.subtract_alone(before);
        }
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
        if self.is_leaving.get() {
            self.memory.has_left(self.held.get());
        }
        self.set(0);
        self.grant(0);
    }
}

impl<S: HttpService> Connection<S> {
    /// After each turn.
    pub(in crate::server::h3) fn charge(&mut self, quic: &mut sterna_quic::Connection) {
        if matches!(self.phase, Phase::Closed) {
            // The transport keeps what it has for some round trips more.
            return;
        }
        let streams = self.stream_limit.saturating_add(UNIDIRECTIONAL);
        let streams = usize::try_from(streams).unwrap_or(usize::MAX);
        let held = quic.held(streams) + self.budget.waiting();
        self.charge.set(held);
        self.charge.grant(quic.tune(self.dispatch.memory.allowance()));
        if self.is_to_go(quic.read_bytes()) {
            self.dispatch.counters.shed_connections.increment();
            tracing::info!(
                client = %quic.validated_address(), held, read = quic.read_bytes(),
                "HTTP/3 connection closed: memory is short, and it holds much for little"
            );
            quic.abandon(Code::ExcessiveLoad.value(), b"memory is short");
            self.charge.leaves();
            self.lost();
        }
    }

    /// Whether it holds no less than half of what connections of this worker hold on average, and more than it was of use for.
    ///
    /// Each connection is asked when it takes a turn, and all of them are again and again while memory is short.
    fn is_to_go(&self, read: u64) -> bool {
        let memory = &self.dispatch.memory;
        let held = self.charge.bytes();
        if held < LEAST || memory.level() < Level::Shed || !memory.is_short_still() {
            return false;
        }
        let connections = self.dispatch.counters.active_quic_connections.value().max(1);
        held > read && held.saturating_mul(2) >= memory.held() / connections
    }
}

/// Streams of a client that are no requests.
const UNIDIRECTIONAL: u64 = 8;

/// Whoever holds less is never closed for it, in bytes.
const LEAST: u64 = 64 * 1024;
