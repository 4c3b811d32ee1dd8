//! Congestion control: our own trait, so that controllers stay when the engine goes.
//!
//! To add one here: write `congestion/<name>.rs`, add its variant to [`Algorithm`] and its arms in `choice.rs`. To bring one
//! along from outside: implement [`Controller`] and [`Factory`] (`examples/controller.rs`). Controllers know no clock and no
//! packets, only the calls below; `adapter.rs` makes the engine call them.

mod adapter;
mod bbr;
mod choice;
mod cubic;
mod hystart;
mod reno;

use std::time::{Duration, Instant};

pub use self::{
    bbr::Bbr,
    choice::{Algorithm, Congestion, Factory},
    cubic::Cubic,
    reno::Reno,
};

/// Decides how many bytes may be under way.
pub trait Controller: Send + Sync + 'static {
    /// Packets left, the last with this number.
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet: u64);

    /// A packet was acknowledged.
    fn on_ack(&mut self, ack: &Ack);

    /// The last of a batch of acknowledged packets was told; `in_flight` is what is still under way, in bytes, and
    /// `largest` the largest number acknowledged so far.
    fn on_acks_end(&mut self, now: Instant, in_flight: u64, largest: Option<u64>);

    /// Packets were lost, the latest of them sent at `sent`; `persistent` says that nothing got
    /// through for the whole period of RFC 9002 §7.6.
    fn on_loss(&mut self, now: Instant, sent: Instant, bytes: u64, persistent: bool);

    /// A router marked a packet sent at `sent` (RFC 9002 §7.1).
    fn on_ecn(&mut self, now: Instant, sent: Instant);

    /// The path carries datagrams of this size now, in bytes.
    fn on_mtu(&mut self, mtu: u16);

    /// Bytes that may be in flight.
    fn window(&self) -> u64;

    /// Bytes for each second that are to leave, if the controller thinks in rates: packets are paced by it then. A
    /// controller that gives a rate gives one from the beginning.
    ///
    /// Default: none; packets are paced by window and round-trip time.
    fn pacing_rate(&self) -> Option<u64> {
        None
    }

    /// The same state again, for a path that may be left (RFC 9000 §9.4).
    fn duplicate(&self) -> Box<dyn Controller>;
}

/// An acknowledged packet.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    /// When the acknowledgement came.
    pub now: Instant,
    /// When the packet left.
    pub sent: Instant,
    /// Its size, in bytes.
    pub bytes: u64,
    /// The application, not the window, was the limit before: no reason to grow (RFC 9002 §7.8).
    pub app_limited: bool,
    /// Smoothed round-trip time.
    pub rtt: Duration,
}

/// A path that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewPath {
    /// When.
    pub now: Instant,
    /// Bytes of UDP payload that its datagrams carry.
    pub mtu: u16,
    /// Bytes that may be in flight before the first acknowledgement.
    pub window: u64,
}

impl NewPath {
    /// With the window of RFC 9002 §7.2.
    pub fn new(now: Instant, mtu: u16) -> Self {
        Self { now, mtu, window: initial_window(mtu) }
    }
}

/// The window of a new path, in bytes (RFC 9002 §7.2).
fn initial_window(mtu: u16) -> u64 {
    let mtu = u64::from(mtu);
    // req: 9002-7.2-initial-window
    (10 * mtu).min((2 * mtu).max(14_720))
}

/// The window after persistent congestion and the floor of every other, in bytes
/// (RFC 9002 §7.2).
fn minimum_window(mtu: u16) -> u64 {
    // req: 9002-7.2-minimum-window
    2 * u64::from(mtu)
}
