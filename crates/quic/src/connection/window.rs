//! How much a client may send before it is read: the connection's receive window, which follows what is read and what waits.
//!
//! ```text
//! size  =  start, and twice as much again and again while half of it is read within two round trips
//!          what is unread + start at least: streams that nobody reads hold up no other stream
//!          no more than `connection_window`, and no more than the allowance when that is larger than start
//! ```

use std::time::{Duration, Instant};

use super::Connection;
use crate::config::varint;

/// Of a server's connection.
#[derive(Debug)]
pub(super) struct Window {
    size: u64,
    start: u64,
    most: u64,
    /// What memory allows.
    allowance: u64,
    /// Read since then.
    read: u64,
    since: Instant,
    /// Read since the peer was last told of it by us.
    untold: u64,
}

impl Window {
    /// With the first size and the largest.
    pub(super) fn new((start, most): (u64, u64), now: Instant) -> Self {
        Self { size: start, start, most, allowance: most, read: 0, since: now, untold: 0 }
    }

    /// The size from now on, if it is another one.
    fn follow(&mut self, unread: u64, rtt: Duration, now: Instant) -> Option<u64> {
        let is_fast = self.is_fast(rtt, now);
        let wanted = if is_fast { self.size.saturating_mul(2) } else { self.size };
        let wanted = wanted.max(unread.saturating_add(self.start));
        let size = wanted.min(self.allowance.max(self.start)).min(self.most);
        // A change is a frame: small ones wait until they are worth it.
        let is_worth_it = size.abs_diff(self.size) >= self.start / 2 || size == self.most;
        (size != self.size && is_worth_it).then(|| {
            self.size = size;
            size
        })
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

    /// Whether half of it has been read so fast that the peer may have waited for more.
    fn is_fast(&mut self, rtt: Duration, now: Instant) -> bool {
        if self.read < self.size / 2 {
            return false;
        }
        let took = now.saturating_duration_since(self.since);
        (self.read, self.since) = (0, now);
        took <= rtt.saturating_mul(2).max(LEAST_TIME)
    }
}

impl Connection {
    /// Server: bytes that memory allows it to hold unread, beside those with which each connection begins. Without a call nothing
    /// but [`Config::connection_window`](crate::Config::connection_window) is a limit.
    ///
    /// What the peer was allowed before is not taken back (RFC 9000 §4.1): it becomes less as it is used.
    pub fn set_allowance(&mut self, bytes: u64) {
        if let Some(window) = &mut self.window {
            window.allowance = bytes;
        }
    }

    /// Bytes that the peer may send before they are read, the sum over all streams; `None` of a client, which never changes it.
    pub fn receive_window(&self) -> Option<u64> {
        self.window.as_ref().map(|window| window.size)
    }

    pub(super) fn count_read(&mut self, bytes: u64) {
        if let Some(window) = &mut self.window {
            window.read = window.read.saturating_add(bytes);
            window.untold = window.untold.saturating_add(bytes);
        }
    }

    /// After each run of the application.
    pub(crate) fn tune(&mut self, now: Instant) {
        let Some(mut window) = self.window.take() else { return };
        let unread = self.path_watch().map_or(0, |path| path.held.unread());
        if let Some(size) = window.follow(unread, self.engine.rtt(), now) {
            self.engine.set_receive_window(varint(size));
            window.untold = 0;
        }
        if window.is_to_tell(unread) {
            // It queues MAX_DATA when its window grows.
            self.engine.set_receive_window(varint(window.size.saturating_sub(1)));
            self.engine.set_receive_window(varint(window.size));
        }
        self.window = Some(window);
    }
}

/// Round trips may be shorter than a turn: half a window that is read within this time is read fast.
const LEAST_TIME: Duration = Duration::from_millis(5);
