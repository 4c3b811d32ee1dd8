//! NewReno, as RFC 9002 §7 describes it.

use std::time::Instant;

use super::{Ack, Controller, NewPath, minimum_window};

/// Slow start to the first loss, then one datagram more for each window acknowledged.
#[derive(Clone, Debug)]
pub struct Reno {
    mtu: u16,
    window: u64,
    ssthresh: u64,
    /// Bytes acknowledged since the window last grew, in congestion avoidance.
    acked: u64,
    /// Packets sent before this belong to the loss that was answered already.
    recovery: Option<Instant>,
}

impl Reno {
    /// The controller of a new path.
    pub fn new(path: &NewPath) -> Self {
        let NewPath { mtu, window, .. } = *path;
        Self { mtu, window, ssthresh: u64::MAX, acked: 0, recovery: None }
    }

    fn reduce(&mut self, now: Instant, sent: Instant) {
        // req: 9002-7.3.2-one-reduction
        if self.recovery.is_some_and(|start| sent <= start) {
            return;
        }
        self.recovery = Some(now);
        self.ssthresh = (self.window / 2).max(minimum_window(self.mtu));
        self.window = self.ssthresh;
        self.acked = 0;
    }
}

impl Controller for Reno {
    fn on_sent(&mut self, _now: Instant, _bytes: u64, _last_packet: u64) {}

    fn on_ack(&mut self, ack: &Ack) {
        // req: 9002-7.8-underutilised
        if ack.app_limited || self.recovery.is_some_and(|start| ack.sent <= start) {
            return;
        }
        if self.window < self.ssthresh {
            // req: 9002-7.3.1-slow-start
            self.window += ack.bytes;
            return;
        }
        self.acked += ack.bytes;
        // req: 9002-7.3.3-avoidance
        if self.acked >= self.window {
            self.acked -= self.window;
            self.window += u64::from(self.mtu);
        }
    }

    fn on_acks_end(&mut self, _now: Instant, _in_flight: u64, _largest: Option<u64>) {}

    fn on_loss(&mut self, now: Instant, sent: Instant, _bytes: u64, persistent: bool) {
        self.reduce(now, sent);
        if persistent {
            // A path that carried nothing at all is a new path (RFC 9002 §7.6.2).
            // req: 9002-7.6.2-persistent
            self.window = minimum_window(self.mtu);
            self.recovery = None;
        }
    }

    fn on_ecn(&mut self, now: Instant, sent: Instant) {
        self.reduce(now, sent);
    }

    fn on_mtu(&mut self, mtu: u16) {
        self.mtu = mtu;
        self.window = self.window.max(minimum_window(mtu));
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn duplicate(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::initial_window, *};

    const MTU: u16 = 1200;
    const RTT: Duration = Duration::from_millis(100);

    fn ack(now: Instant, sent: Instant, bytes: u64) -> Ack {
        Ack { now, sent, bytes, app_limited: false, rtt: RTT }
    }

    #[test]
    // req: 9002-7.3.1-slow-start
    fn slow_start_doubles_the_window_in_a_round() {
        let start = Instant::now();
        let mut reno = Reno::new(&NewPath::new(start, MTU));
        let window = reno.window();
        reno.on_ack(&ack(start + RTT, start, window));
        assert_eq!(reno.window(), 2 * window);
    }

    #[test]
    // req: 9002-7.3.3-avoidance
    fn avoidance_adds_one_datagram_for_a_whole_window_and_none_before() {
        let start = Instant::now();
        let mut reno = Reno::new(&NewPath::new(start, MTU));
        reno.on_loss(start + RTT, start, 1200, false);
        let (window, later) = (reno.window(), start + RTT * 2);
        reno.on_ack(&ack(later + RTT, later, window - 1));
        assert_eq!(reno.window(), window);
        reno.on_ack(&ack(later + RTT, later, 1));
        assert_eq!(reno.window(), window + u64::from(MTU));
    }

    #[test]
    // req: 9002-7.3.2-one-reduction
    fn losses_of_one_flight_halve_the_window_once() {
        let start = Instant::now();
        let mut reno = Reno::new(&NewPath::new(start, MTU));
        let window = reno.window();
        reno.on_loss(start + RTT, start, 1200, false);
        reno.on_loss(start + RTT * 2, start + RTT, 1200, false);
        assert_eq!(reno.window(), window / 2, "sent no later than the first was answered");
        reno.on_loss(start + RTT * 3, start + RTT + Duration::from_millis(1), 1200, false);
        assert_eq!(reno.window(), window / 4);
    }

    #[test]
    // req: 9002-7.6.2-persistent
    // req: 9002-7.2-minimum-window
    fn persistent_congestion_leaves_two_datagrams() {
        let start = Instant::now();
        let mut reno = Reno::new(&NewPath::new(start, MTU));
        reno.on_loss(start + RTT, start, 1200, true);
        assert_eq!(reno.window(), 2 * u64::from(MTU));
    }

    // req: 9002-7.2-initial-window
    #[test]
    fn a_new_path_begins_with_ten_datagrams_or_14720_bytes() {
        assert_eq!(initial_window(1200), 12_000);
        assert_eq!(initial_window(1472), 14_720);
        assert_eq!(initial_window(1473), 14_720);
        assert_eq!(initial_window(9000), 18_000);
    }

    #[test]
    // req: 9002-7.8-underutilised
    fn the_window_does_not_grow_when_the_application_was_the_limit() {
        let start = Instant::now();
        let mut reno = Reno::new(&NewPath::new(start, MTU));
        let window = reno.window();
        reno.on_ack(&Ack { app_limited: true, ..ack(start + RTT, start, window) });
        assert_eq!(reno.window(), window);
    }
}
