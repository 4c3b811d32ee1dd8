//! 0-RTT: taken, and refused.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use sterna_diag::load::{Outcome, Plan};
use sterna_quic::{Config, ServerConfig};

use crate::{
    quic::{OK, Scripted, answer, tls},
    world::{failures, load, plan},
};

/// Keeps sessions, or forgets that it has them.
#[derive(Debug)]
struct Sessions {
    kept: Arc<ServerSessionMemoryCache>,
    forgets: AtomicBool,
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.kept.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.kept.get(key).filter(|_| !self.forgets.load(Ordering::Relaxed))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.kept.take(key).filter(|_| !self.forgets.load(Ordering::Relaxed))
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Twenty requests, five on each connection, to a server that has early data on.
fn load_early(forgets: bool, verify: bool) -> Outcome {
    let mut tls = tls();
    tls.max_early_data_size = u32::MAX;
    tls.session_storage =
        Arc::new(Sessions { kept: ServerSessionMemoryCache::new(64), forgets: forgets.into() });
    let config = ServerConfig { tls: Arc::new(tls), transport: Config::default() };
    let server =
        Scripted::start_with(config, Box::new(|connection, id, _| answer(connection, id, OK)));
    load(Plan { early_data: true, reconnect: Some(5), verify, ..plan(server.address, 20) })
}

#[test]
fn early_data_that_is_taken_is_counted_from_the_second_connection_on() {
    for verify in [false, true] {
        let outcome = load_early(false, verify);
        let tally = &outcome.tally;
        assert_eq!((tally.done, tally.handshakes), (20, 4), "{}", outcome.summary());
        assert_eq!((tally.early_accepted, tally.early_rejected), (3, 0));
        // One at a time: the first of each connection went early.
        assert_eq!(tally.early, 3);
        assert_eq!(failures(&outcome), [].into());
    }
}

#[test]
fn early_data_that_is_refused_is_told_and_the_requests_are_sent_once_more() {
    for verify in [false, true] {
        let outcome = load_early(true, verify);
        let tally = &outcome.tally;
        assert_eq!((tally.done, tally.failed), (20, 0), "{}", outcome.summary());
        assert_eq!((tally.early_accepted, tally.early_rejected), (0, 3));
        assert_eq!(failures(&outcome), [("early_data_rejected", 3)].into());
    }
}
