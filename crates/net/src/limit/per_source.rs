//! What one address may use of the endpoint: connections, handshakes, requests. One table of each for all workers.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::{Cell, Quota, Source, Table};
use crate::server::Config;

/// The limits for each address, as far as there are any.
#[derive(Debug)]
pub(crate) struct PerSource {
    connections: Option<Usage>,
    streams: Option<Usage>,
    handshakes: Option<Rate<(Source, IsProven)>>,
    requests: Option<Rate<Source>>,
}

/// Whether the client has proved that the address is its own: who forges it must not use up another's rate.
type IsProven = bool;

impl PerSource {
    /// `None` when nothing is limited: then nobody looks.
    pub(crate) fn new(config: &Config) -> Option<Arc<Self>> {
        let Config {
            connections_per_ip, streams_per_ip, handshakes_per_ip, requests_per_ip, ..
        } = config;
        let is_off = connections_per_ip.is_none()
            && streams_per_ip.is_none()
            && handshakes_per_ip.is_none()
            && requests_per_ip.is_none();
        let epoch = Instant::now();
        (!is_off).then(|| {
            Arc::new(Self {
                connections: connections_per_ip.map(Usage::new),
                streams: streams_per_ip.map(Usage::new),
                handshakes: handshakes_per_ip.map(|quota| Rate::new(quota, epoch)),
                requests: requests_per_ip.map(|quota| Rate::new(quota, epoch)),
            })
        })
    }

    /// A connection more of this address; `None` above the limit.
    pub(crate) fn connection(self: &Arc<Self>, address: IpAddr) -> Option<Held> {
        self.hold(Kind::Connection, address)
    }

    /// Whether another connection of this address would be above the limit.
    pub(crate) fn is_full(&self, address: IpAddr) -> bool {
        self.connections.as_ref().is_some_and(|usage| usage.is_full(Source::of(address)))
    }

    /// A request more at once of this address; `None` above the limit.
    pub(crate) fn stream(self: &Arc<Self>, address: IpAddr, now: Instant) -> Option<Held> {
        if self.requests.as_ref().is_some_and(|rate| !rate.take(Source::of(address), now)) {
            return None;
        }
        self.hold(Kind::Stream, address)
    }

    /// Whether a handshake with this address is within the rate. A forged address has a rate of its own.
    pub(crate) fn handshake(&self, address: IpAddr, is_proven: IsProven, now: Instant) -> bool {
        let key = (Source::of(address), is_proven);
        self.handshakes.as_ref().is_none_or(|rate| rate.take(key, now))
    }

    fn hold(self: &Arc<Self>, kind: Kind, address: IpAddr) -> Option<Held> {
        let source = Source::of(address);
        let usage = self.usage(kind);
        let is_counted = usage.is_some();
        if usage.is_some_and(|usage| !usage.enter(source)) {
            return None;
        }
        Some(Held(is_counted.then(|| (self.clone(), kind, source))))
    }

    fn usage(&self, kind: Kind) -> Option<&Usage> {
        match kind {
            Kind::Connection => self.connections.as_ref(),
            Kind::Stream => self.streams.as_ref(),
        }
    }
}

/// A rate for each key.
#[derive(Debug)]
struct Rate<K> {
    quota: Quota,
    cells: Table<K, Cell>,
}

impl<K: Copy + Eq + Hash> Rate<K> {
    fn new(quota: Quota, epoch: Instant) -> Self {
        Self { quota, cells: Table::new(PLACES, epoch) }
    }

    fn take(&self, key: K, now: Instant) -> bool {
        self.cells.with(key, now, |cell, now| cell.take(&self.quota, now)).is_ok()
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Connection,
    Stream,
}

/// One place of those that an address may have; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Held(Option<(Arc<PerSource>, Kind, Source)>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((limits, kind, source)) = self.0.take()
            && let Some(usage) = limits.usage(kind)
        {
            usage.leave(source);
        }
    }
}

/// How much each address uses now. Each entry is of something that is there, and that has a bound of its own: the table
/// needs none.
#[derive(Debug)]
struct Usage {
    most: u32,
    shards: [Mutex<HashMap<Source, u32>>; SHARDS],
}

impl Usage {
    fn new(most: u32) -> Self {
        Self { most, shards: Default::default() }
    }

    fn enter(&self, source: Source) -> bool {
        let mut shard = self.shard(source);
        let used = shard.entry(source).or_default();
        let is_free = *used < self.most;
        *used += u32::from(is_free);
        if *used == 0 {
            shard.remove(&source);
        }
        is_free
    }

    fn leave(&self, source: Source) {
        let mut shard = self.shard(source);
        if let Some(used) = shard.get_mut(&source) {
            *used = used.saturating_sub(1);
            if *used == 0 {
                shard.remove(&source);
            }
        }
    }

    fn is_full(&self, source: Source) -> bool {
        self.shard(source).get(&source).is_some_and(|used| *used >= self.most)
    }

    /// Chosen by the last byte: no work for a hash, and whoever has all addresses of one shard only shares its lock.
    fn shard(&self, source: Source) -> std::sync::MutexGuard<'_, HashMap<Source, u32>> {
        let place = usize::from(source.last_byte()) % SHARDS;
        self.shards[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SHARDS: usize = 32;

/// Addresses whose rate is known at once; see [`Table`] for those beyond.
const PLACES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn limits(change: impl FnOnce(&mut Config)) -> Arc<PerSource> {
        let mut config = Config::default();
        change(&mut config);
        PerSource::new(&config).expect("something is limited")
    }

    #[test]
    fn an_address_has_so_many_places_and_one_more_when_it_leaves_one() {
        let limits = limits(|config| config.connections_per_ip = Some(2));
        let first = limits.connection(address("192.0.2.1")).expect("a place");
        let _second = limits.connection(address("192.0.2.1")).expect("a place");
        assert!(limits.connection(address("192.0.2.1")).is_none());
        assert!(limits.is_full(address("192.0.2.1")));
        assert!(limits.connection(address("192.0.2.2")).is_some(), "another address");
        drop(first);
        assert!(limits.connection(address("192.0.2.1")).is_some());
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one_client() {
        let limits = limits(|config| config.streams_per_ip = Some(1));
        let now = Instant::now();
        let _first = limits.stream(address("2001:db8::1"), now).expect("a place");
        assert!(limits.stream(address("2001:db8::2"), now).is_none());
        assert!(limits.stream(address("2001:db8:0:1::2"), now).is_some());
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let limits = limits(|config| config.connections_per_ip = Some(1));
        for last in 0..200 {
            let one = limits.connection(IpAddr::from([192, 0, 2, last])).expect("a place");
            let refused = limits.connection(IpAddr::from([192, 0, 2, last]));
            assert!(refused.is_none());
            drop(one);
        }
        let usage = limits.connections.as_ref().expect("limited");
        assert!(usage.shards.iter().all(|shard| shard.lock().expect("whole").is_empty()));
    }

    #[test]
    fn a_forged_address_uses_up_no_rate_of_who_has_it() {
        let (one, second) = (NonZeroU32::MIN, Duration::from_secs(1));
        let limits = limits(|config| config.handshakes_per_ip = Some(Quota::new(one, second, one)));
        let (now, victim) = (Instant::now(), address("192.0.2.1"));
        assert!(limits.handshake(victim, false, now));
        assert!(!limits.handshake(victim, false, now));
        assert!(limits.handshake(victim, true, now), "who has proved it has a rate of its own");
        assert!(!limits.handshake(victim, true, now));
        assert!(limits.handshake(victim, true, now + second));
    }

    #[test]
    fn without_a_limit_there_is_nothing_to_look_at() {
        assert!(PerSource::new(&Config::default()).is_none());
    }
}
