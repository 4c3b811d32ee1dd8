//! What a connection holds for its peer, and what it was of use for.

use super::Connection;
use crate::StreamId;

impl Connection {
    /// Server: bytes of streams that have come and were not read, with what it costs to keep them apart, counted from above.
    /// `streams` of the peer may be open at a time.
    pub fn held(&mut self, streams: usize) -> u64 {
        self.permitted = streams;
        for id in self.path_watch().map(|path| path.held.take_fresh()).unwrap_or_default() {
            if !self.is_readable(StreamId(id)) {
                self.is_over(StreamId(id));
            }
        }
        self.path_watch().map_or(0, |path| path.held.total())
    }

    /// Server: bytes of streams that were read after the handshake.
    pub fn read_bytes(&self) -> u64 {
        self.path_watch().map_or(0, |path| path.held.read())
    }

    /// [`Connection::close`], after which its memory is given back as soon as the close has left: not kept for what may still come from
    /// the peer, which RFC 9000 §10.2 recommends for three times the PTO. A peer that answers late makes that as long as it likes.
    pub fn abandon(&mut self, code: u64, reason: &[u8]) {
        self.close(code, reason);
        self.is_abandoned = true;
    }

    /// Keeps `burden` until the memory of the connection is free, which is some round trips after its end (RFC 9000 §10.2).
    pub fn bear(&mut self, burden: std::rc::Rc<dyn std::any::Any>) {
        self.burden = Some(burden);
    }

    pub(super) fn was_read(&mut self, id: StreamId, bytes: u64) {
        self.count_read(bytes);
        if bytes > 0
            && let Some(path) = self.path_watch()
        {
            path.held.was_read(id.0, bytes);
        }
    }

    pub(super) fn is_over(&mut self, id: StreamId) {
        if let Some(path) = self.path_watch() {
            let dropped = path.held.is_over(id.0, self.permitted);
            self.count_dropped(dropped);
        }
    }

    fn is_readable(&mut self, id: StreamId) -> bool {
        let Some(id) = self.receiving(id) else { return false };
        self.engine.recv_stream(id).read(true).is_ok()
    }
}
