//! CUBIC (RFC 9438), with the slow start of RFC 9406.

use std::time::{Duration, Instant};

use super::{Ack, Controller, NewPath, hystart::HyStart, minimum_window};

/// Grows with the cube of the time since the last loss, so that long fat paths fill soon.
///
/// The arithmetic is the RFC's, in segments of the path MTU and in seconds.
#[derive(Clone, Debug)]
pub struct Cubic {
    mtu: u16,
    window: u64,
    ssthresh: u64,
    slow_start: HyStart,
    /// The window before the last reduction, in segments (W_max).
    w_max: f64,
    /// Congestion avoidance, once it has begun after a reduction.
    epoch: Option<Epoch>,
    /// Packets sent before this belong to the loss that was answered already.
    recovery: Option<Instant>,
    /// Congestion avoidance: what was acknowledged since the window last grew, which it does once for all that one frame
    /// acknowledges.
    acked: u64,
    /// Smoothed round-trip time, as of the last acknowledged packet.
    rtt: Duration,
}

/// One stretch of congestion avoidance, from a reduction to the next (RFC 9438 §4.2).
#[derive(Clone, Copy, Debug)]
struct Epoch {
    start: Instant,
    /// Seconds from `start` until the window is at W_max again (K).
    k: f64,
    /// The window that Reno would have by now, in segments (W_est).
    reno: f64,
    /// The window, in segments: bytes would lose the fractions.
    window: f64,
    /// Since when the application has been the limit: that time does not count (RFC 9438 §5.8).
    paused: Option<Instant>,
}

impl Cubic {
    /// The controller of a new path.
    pub fn new(path: &NewPath) -> Self {
        let NewPath { mtu, window, .. } = *path;
        Self {
            mtu,
            window,
            ssthresh: u64::MAX,
            slow_start: HyStart::new(),
            w_max: 0.0,
            epoch: None,
            recovery: None,
            acked: 0,
            rtt: Duration::ZERO,
        }
    }

    fn segments(&self, bytes: u64) -> f64 {
        bytes as f64 / f64::from(self.mtu)
    }

    fn avoid(&mut self, now: Instant) {
        let acked = std::mem::take(&mut self.acked).min(self.window);
        let (current, acked) = (self.segments(self.window), self.segments(acked));
        let w_max = self.w_max;
        let mut epoch = *self.epoch.get_or_insert_with(|| Epoch::begin(now, w_max, current));
        epoch.resume(now);

        let elapsed = now.saturating_duration_since(epoch.start);
        let alpha = if epoch.reno < w_max { ALPHA } else { 1.0 };
        epoch.reno += alpha * acked / epoch.window;
        // req: 9438-4.3-reno-friendly
        if epoch.cube(elapsed, w_max) < epoch.reno {
            epoch.window = epoch.window.max(epoch.reno);
        } else {
            // req: 9438-4.4-growth-bound
            let ceiling = 1.5 * epoch.window;
            let target = epoch.cube(elapsed + self.rtt, w_max).clamp(epoch.window, ceiling);
            epoch.window += (target - epoch.window) / epoch.window * acked;
        }
        self.window = (epoch.window * f64::from(self.mtu)) as u64;
        self.epoch = Some(epoch);
    }

    fn reduce(&mut self, now: Instant, sent: Instant) {
        if self.recovery.is_some_and(|start| sent <= start) {
            return;
        }
        self.recovery = Some(now);
        self.epoch = None;
        self.acked = 0;
        let current = self.segments(self.window);
        // Fast convergence: a flow that shrinks again leaves room for newer ones (RFC 9438 §4.7).
        // req: 9438-4.7-fast-convergence
        self.w_max = if current < self.w_max { current * (1.0 + BETA) / 2.0 } else { current };
        // req: 9438-4.6-beta
        self.window = ((self.window as f64 * BETA) as u64).max(minimum_window(self.mtu));
        self.ssthresh = self.window;
    }
}

impl Epoch {
    fn begin(now: Instant, w_max: f64, window: f64) -> Self {
        let k = ((w_max - window).max(0.0) / C).cbrt();
        Self { start: now, k, reno: window, window, paused: None }
    }

    /// W_cubic: the window so long after the start, in segments. Without a reduction before, the
    /// curve starts at the window of the epoch itself.
    fn cube(&self, elapsed: Duration, w_max: f64) -> f64 {
        // req: 9438-4.2-cubic-function
        C * (elapsed.as_secs_f64() - self.k).powi(3) + w_max
    }

    fn resume(&mut self, now: Instant) {
        if let Some(since) = self.paused.take() {
            self.start += now.saturating_duration_since(since);
        }
    }
}

impl Controller for Cubic {
    fn on_sent(&mut self, _now: Instant, _bytes: u64, last_packet: u64) {
        self.slow_start.on_sent(last_packet);
    }

    fn on_ack(&mut self, ack: &Ack) {
        if ack.app_limited {
            if let Some(epoch) = &mut self.epoch {
                // req: 9438-5.8-application-limit
                epoch.paused.get_or_insert(ack.now);
            }
            return;
        }
        if self.recovery.is_some_and(|start| ack.sent <= start) {
            return;
        }
        if self.window < self.ssthresh {
            self.slow_start.on_sample(ack.now.saturating_duration_since(ack.sent));
            self.window += self.slow_start.growth(ack.bytes);
        } else {
            self.acked += ack.bytes;
            self.rtt = ack.rtt;
        }
    }

    fn on_acks_end(&mut self, now: Instant, _in_flight: u64, largest: Option<u64>) {
        if self.acked > 0 {
            self.avoid(now);
        }
        if self.slow_start.on_acks_end(largest) && self.window < self.ssthresh {
            self.ssthresh = self.window;
            self.w_max = self.segments(self.window);
        }
    }

    fn on_loss(&mut self, now: Instant, sent: Instant, _bytes: u64, persistent: bool) {
        self.reduce(now, sent);
        if persistent {
            // A path that carried nothing at all is a new path (RFC 9002 §7.6.2): slow start again,
            // to the threshold that the reduction left.
            // req: 9438-4.8-timeout
            self.window = minimum_window(self.mtu);
            self.slow_start = HyStart::new();
            self.recovery = None;
        }
    }

    fn on_ecn(&mut self, now: Instant, sent: Instant) {
        self.reduce(now, sent);
    }

    fn on_mtu(&mut self, mtu: u16) {
        let scale = f64::from(self.mtu) / f64::from(mtu);
        self.w_max *= scale;
        if let Some(epoch) = &mut self.epoch {
            epoch.reno *= scale;
            epoch.window *= scale;
        }
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

/// The window after a loss, as a part of the one before (RFC 9438 §4.6).
const BETA: f64 = 0.7;

/// How steep the curve is, in segments for each second cubed (RFC 9438 §5).
const C: f64 = 0.4;

/// Growth that gives Reno's mean window with our smaller reduction (RFC 9438 §4.3).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

#[cfg(test)]
mod tests;
