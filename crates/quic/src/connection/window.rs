//! How much a client may send before it is read: the connection's receive window, which follows what is read and what waits.
//!
//! ```text
//! size  =  start, and twice as much again and again while half of it is read within two round trips
//!          what is unread + start at least: streams that nobody reads hold up no other stream
//!          no more than `connection_window`, and no more than what memory allows when that is larger than start
//! ```

use std::{
    mem,
    time::{Duration, Instant},
};

use super::Connection;
use crate::config::varint;

/// Of a server's connection.
#[derive(Debug)]
pub(super) struct Window {
    size: u64,
    initial: u64,
    most: u64,
    /// What the peer may send beyond `size` still, since it became smaller.
    debt: u64,
    /// Read since then.
    read: u64,
    since: Instant,
    /// Read since the peer was last told of it by us.
    untold: u64,
    /// In this run, by the application.
    is_tuned: bool,
}

impl Window {
    /// With the first size and the largest.
    pub(super) fn new((initial, most): (u64, u64), now: Instant) -> Self {
        let (debt, read, untold, is_tuned) = Default::default();
        Self { size: initial.min(most), initial, most, debt, read, since: now, untold, is_tuned }
    }

    fn start(&self) -> u64 {
        self.initial.min(self.most)
    }

    /// Changes the largest size.
    pub(super) fn set_most(&mut self, most: u64) {
        self.most = most;
    }

    /// So much of what waited was dropped: the engine gives it back as if it had been read.
    fn count_dropped(&mut self, bytes: u64) {
        self.untold = self.untold.saturating_add(bytes);
        self.debt = self.debt.saturating_sub(bytes);
    }

    fn count_read(&mut self, bytes: u64) {
        self.read = self.read.saturating_add(bytes);
        self.count_dropped(bytes);
    }

    /// The size from now on, if it is another one.
    fn follow(&mut self, unread: u64, allowance: u64, rtt: Duration, now: Instant) -> Option<u64> {
        let wanted = if self.is_fast(rtt, now) { self.size.saturating_mul(2) } else { self.size };
        let wanted = wanted.max(unread.saturating_add(self.start()));
        let wanted = wanted.min(allowance.max(self.start())).min(self.most);
        // What the peer has beyond its window is the first part of what it gets: it never has more than is wanted for that.
        let size =
            wanted.saturating_sub(self.debt).clamp(self.size.min(wanted), self.size.max(wanted));
        // A change is a frame: small ones wait until they are worth it.
        let is_worth_it = size.abs_diff(self.size) >= self.start() / 2 || size == self.most;
        if size == self.size || !is_worth_it {
            return None;
        }
        if size > self.size {
            self.untold = 0;
        } else {
            self.debt = self.debt.saturating_add(self.size - size);
        }
        self.size = size;
        Some(size)
    }

    /// Whether half of it has been read so fast that the peer may have waited for more.
    fn is_fast(&mut self, rtt: Duration, now: Instant) -> bool {
        if self.read < self.size / 2 {
            return false;
        }
        let took = now.saturating_duration_since(self.since);
        (self.read, self.since) = (0, now);
        took <= rtt.saturating_mul(2).max(LEAST_TIME)
    }

    /// Whether the peer is to hear how much was read: the engine tells it of an eighth of the window at once, which is more than
    /// it has left when most of the window is unread.
    fn is_to_tell(&mut self, unread: u64) -> bool {
        let left = self.size.saturating_sub(unread);
        let is_due = self.untold > 0 && left < self.size / 4 && self.untold >= left / 4;
        if is_due {
            self.untold = 0;
        }
        is_due
    }

    /// Bytes unread, or that the peer may send, beside those with which each connection begins.
    fn granted(&self) -> u64 {
        self.size.saturating_add(self.debt).saturating_sub(self.start())
    }
}

impl Connection {
    /// Server: changes the receive window of the connection as it is used, up to `allowance` and
    /// [`Config::connection_window`](crate::Config::connection_window), but never below
    /// [`Config::initial_connection_window`](crate::Config::initial_connection_window). Returns the bytes beyond the latter that the
    /// peer has sent unread, or may still send: what was allowed is not taken back (RFC 9000 §4.1), it becomes less as it is used.
    ///
    /// To be called at the end of a run. If it is not, the endpoint does it with no allowance but `connection_window`.
    pub fn tune(&mut self, allowance: u64) -> u64 {
        let Some(mut window) = self.window.take() else { return 0 };
        window.is_tuned = true;
        let unread = self.path_watch().map_or(0, |path| path.held.unread());
        if let Some(size) = window.follow(unread, allowance, self.engine.rtt(), self.now) {
            self.engine.set_receive_window(varint(size));
        }
        if window.is_to_tell(unread) {
            // It queues MAX_DATA when its window grows.
            self.engine.set_receive_window(varint(window.size.saturating_sub(1)));
            self.engine.set_receive_window(varint(window.size));
        }
        let granted = window.granted();
        self.window = Some(window);
        granted
    }

    /// Server: bytes that the peer may send before they are read, over all streams.
    pub fn receive_window(&self) -> Option<u64> {
        self.window.as_ref().map(|window| window.size)
    }

    pub(super) fn count_read(&mut self, bytes: u64) {
        if let Some(window) = &mut self.window {
            window.count_read(bytes);
        }
    }

    /// Beside what is read.
    pub(super) fn count_dropped(&mut self, bytes: u64) {
        if let Some(window) = &mut self.window {
            window.count_dropped(bytes);
        }
    }

    /// After a run of the application.
    pub(crate) fn run_over(&mut self) {
        let is_tuned = self.window.as_mut().is_none_or(|window| mem::take(&mut window.is_tuned));
        if !is_tuned {
            self.tune(u64::MAX);
        }
    }
}

/// Round trips may be shorter than a turn: half a window that is read within this time is read fast.
const LEAST_TIME: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 256 << 10;
    const MOST: u64 = 15 << 20;
    const RTT: Duration = Duration::from_millis(100);

    #[test]
    fn a_window_that_shrinks_and_grows_again_allows_no_more_than_before() {
        let now = Instant::now();
        let mut window = Window::new((START, MOST), now);
        for round in 0..20 {
            for allowance in [MOST, START] {
                window.follow(8 << 20, allowance, RTT, now);
                let allowed = window.size + window.debt;
                assert!(allowed <= (8 << 20) + START, "{allowed} after {round} rounds");
            }
        }
        assert_eq!(window.size, START, "and it is small when memory is short");
        assert_eq!(window.granted(), 8 << 20);
    }

    #[test]
    fn what_is_read_or_dropped_pays_for_a_window_that_became_smaller() {
        let now = Instant::now();
        let mut window = Window::new((START, MOST), now);
        assert_eq!(window.follow(4 << 20, MOST, RTT, now), Some((4 << 20) + START));
        assert_eq!(window.follow(4 << 20, 0, RTT, now), Some(START));
        assert_eq!(window.granted(), 4 << 20);
        window.count_read(1 << 20);
        window.count_dropped(2 << 20);
        assert_eq!(window.granted(), 1 << 20);
        assert_eq!(window.follow(1 << 20, MOST, RTT, now), None, "what it may send is as much");
        assert_eq!(window.follow(2 << 20, MOST, RTT, now), Some(START + (1 << 20)));
    }
}
