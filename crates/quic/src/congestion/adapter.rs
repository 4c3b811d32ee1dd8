//! The engine's calls become ours, and bytes in flight are counted beside.

use std::{any::Any, sync::Arc, time::Instant};

use quinn_proto::{
    RttEstimator,
    congestion::{Controller as EngineController, ControllerFactory, ControllerMetrics},
};

use super::{Ack, Congestion, Controller, NewPath};

/// Makes a controller for each path.
pub(super) struct Factory(pub(super) Congestion);

impl ControllerFactory for Factory {
    // req: 9000-9.4-another-path
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn EngineController> {
        let (inner, initial) = self.0.build(NewPath::new(now, mtu));
        Box::new(Adapter { inner, in_flight: 0, initial })
    }
}

/// One path's controller, as the engine wants it.
struct Adapter {
    inner: Box<dyn Controller>,
    /// Bytes sent and neither acknowledged nor lost. The engine knows it and does not say, except
    /// after each batch of acknowledgements; between two of them this is kept by addition, which is
    /// an estimate.
    in_flight: u64,
    initial: u64,
}

impl EngineController for Adapter {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        if bytes > ACK_ONLY {
            self.in_flight += bytes;
        }
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.inner.on_ack(&Ack { now, sent, bytes, app_limited, rtt: rtt.get() });
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        _app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.in_flight = in_flight;
        self.inner.on_acks_end(now, in_flight, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.in_flight = self.in_flight.saturating_sub(lost_bytes);
        // The engine's way to say ECN.
        if lost_bytes == 0 {
            // req: 9002-7.1-ecn
            self.inner.on_ecn(now, sent);
        } else {
            self.inner.on_loss(now, sent, lost_bytes, is_persistent_congestion);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu(new_mtu);
    }

    fn window(&self) -> u64 {
        self.inner.window()
    }

    /// `congestion_window` is what is *left* of the window.
    ///
    /// The engine reads metrics for its qlog alone, which is not compiled in, so that this is
    /// free to carry the one figure that has no other way out: see `Connection::headroom`.
    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = ControllerMetrics::default();
        metrics.congestion_window = self.inner.window().saturating_sub(self.in_flight);
        metrics.pacing_rate = self.inner.pacing_rate();
        metrics
    }

    /// For the new path of a peer whose port changed: it begins with nothing in flight.
    fn clone_box(&self) -> Box<dyn EngineController> {
        Box::new(Self { inner: self.inner.duplicate(), in_flight: 0, initial: self.initial })
    }

    fn initial_window(&self) -> u64 {
        self.initial
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// A batch of this many bytes or less is taken for a bare acknowledgement, which is never in flight
/// and which the engine reports all the same: a receiver of much would seem to have sent much.
const ACK_ONLY: u64 = 128;
