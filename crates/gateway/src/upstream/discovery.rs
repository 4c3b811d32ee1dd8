//! Backends found by name: when to look again, and what a look-up makes of the set.
//!
//! No socket here: the upstream's [keeper](super::keeper) asks and waits.

use std::net::SocketAddr;
use std::time::Duration;

use sterna_net::client::{Lookup, NameError, ServiceServer};

use super::backend::Identity;
use super::inner::{BACKUP, Found};
use super::{Address, Member, Place, Scheme};

/// How names are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name server. Default: those of the system.
    pub server: Option<SocketAddr>,
    /// The shortest time from one look-up to the next, whatever the records say. Default: 5 s.
    pub least: Duration,
    /// The longest. Default: 5 min.
    pub most: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { server: None, least: Duration::from_secs(5), most: Duration::from_secs(300) }
    }
}

impl Config {
    /// For how long an answer is believed.
    fn hold(&self, ttl: Option<Duration>) -> Duration {
        ttl.unwrap_or(UNKNOWN_TTL).clamp(self.least, self.most.max(self.least))
    }

    /// How long to wait after so many failures in a row, beginning with one.
    fn back_off(&self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.least.saturating_mul(factor).min(self.most.max(self.least))
    }
}

/// What one name has given so far.
#[derive(Debug, Default)]
pub(super) struct Name {
    /// None before the first answer.
    pub(super) found: Option<Vec<Found>>,
    failures: u32,
}

/// What a look-up means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// The backends are others than before, or known for the first time.
    pub(super) has_changed: bool,
    /// The answer could not be used.
    pub(super) has_failed: bool,
    /// Until the next look-up.
    pub(super) wait: Duration,
}

impl Name {
    /// There has been an answer, or a failure.
    pub(super) fn is_answered(&self) -> bool {
        self.found.is_some() || self.failures > 0
    }

    /// Takes an answer. One that failed, or of which a part did, leaves the backends as they are, if there are any: a name
    /// server that is down must not take the service with it.
    pub(super) fn on_answer<T>(
        &mut self,
        config: &Config,
        answer: Result<Lookup<T>, NameError>,
        found: impl FnOnce(Vec<T>) -> Vec<Found>,
    ) -> Next {
        let usable = answer.ok().filter(|lookup| !lookup.is_partial || self.found.is_none());
        let Some(lookup) = usable else {
            self.failures = self.failures.saturating_add(1);
            let wait = config.back_off(self.failures);
            return Next { has_changed: false, has_failed: true, wait };
        };
        self.failures = 0;
        // A part is made whole as soon as may be.
        let wait = if lookup.is_partial { config.least } else { config.hold(lookup.ttl) };
        let mut found = found(lookup.records);
        // Name servers turn the order with each answer.
        found.sort_by_key(|found| (found.priority, found.identity.to_string()));
        let has_changed = self.found.as_ref() != Some(&found);
        self.found = Some(found);
        Next { has_changed, has_failed: false, wait }
    }
}

/// Backends at the addresses of a name.
pub(super) fn at_addresses(
    member: &Member,
    address: &Address,
    addresses: Vec<std::net::IpAddr>,
) -> Vec<Found> {
    let Place::Net { port, .. } = address.place else { return Vec::new() };
    let backend = |ip: std::net::IpAddr| Found {
        identity: Identity { address: address.clone(), socket: Some(SocketAddr::new(ip, port)) },
        weight: member.weight,
        priority: if member.is_backup { BACKUP } else { 0 },
    };
    addresses.into_iter().map(backend).collect()
}

/// Backends that SRV records name.
pub(super) fn of_services(
    member: &Member,
    scheme: Scheme,
    servers: Vec<ServiceServer>,
) -> Vec<Found> {
    let backend = |ServiceServer { priority, weight, host, port }: ServiceServer| Found {
        identity: Identity {
            address: Address { scheme, place: Place::Net { host, port } },
            socket: None,
        },
        // 0 stands for a share that is very small beside others (RFC 2782).
        weight: u32::from(weight).max(1),
        priority: u32::from(priority) + if member.is_backup { BACKUP } else { 0 },
    };
    servers.into_iter().map(backend).collect()
}

/// What an answer is good for whose source does not say.
const UNKNOWN_TTL: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: Config =
        Config { server: None, least: Duration::from_secs(5), most: Duration::from_secs(60) };

    fn address() -> Address {
        Address { scheme: Scheme::Http, place: Place::Net { host: "app".to_owned(), port: 80 } }
    }

    fn answer(addresses: &[&str], ttl: u64) -> Result<Lookup<std::net::IpAddr>, NameError> {
        let records = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Ok(Lookup { records, ttl: Some(Duration::from_secs(ttl)), is_partial: false })
    }

    fn take(
        name: &mut Name,
        answer: Result<Lookup<std::net::IpAddr>, NameError>,
    ) -> (bool, bool, u64) {
        let member = Member::from(address());
        let next =
            name.on_answer(&CONFIG, answer, |records| at_addresses(&member, &address(), records));
        (next.has_changed, next.has_failed, next.wait.as_secs())
    }

    fn sockets(name: &Name) -> Vec<String> {
        let found = name.found.iter().flatten();
        found.map(|found| found.identity.socket.unwrap().to_string()).collect()
    }

    #[test]
    fn an_answer_holds_for_its_time_to_live_within_bounds() {
        let mut name = Name::default();
        assert_eq!(take(&mut name, answer(&["192.0.2.1"], 30)), (true, false, 30));
        assert_eq!(take(&mut name, answer(&["192.0.2.1"], 0)), (false, false, 5));
        assert_eq!(take(&mut name, answer(&["192.0.2.1"], 86_400)), (false, false, 60));
    }

    #[test]
    fn another_order_is_no_change() {
        let mut name = Name::default();
        take(&mut name, answer(&["192.0.2.1", "192.0.2.2"], 30));
        assert_eq!(take(&mut name, answer(&["192.0.2.2", "192.0.2.1"], 30)), (false, false, 30));
        assert_eq!(take(&mut name, answer(&["192.0.2.2"], 30)), (true, false, 30));
    }

    #[test]
    fn failures_leave_the_backends_and_are_repeated_less_and_less_often() {
        let mut name = Name::default();
        take(&mut name, answer(&["192.0.2.1"], 30));
        let waits = [5, 10, 20, 40, 60, 60];
        for wait in waits {
            assert_eq!(take(&mut name, Err(NameError::TimedOut)), (false, true, wait));
        }
        assert_eq!(sockets(&name), ["192.0.2.1:80"]);
        take(&mut name, answer(&["192.0.2.1"], 30));
        assert_eq!(take(&mut name, Err(NameError::NotFound)), (false, true, 5), "from the start");
    }

    #[test]
    fn a_part_is_better_than_nothing_but_not_than_what_was_known() {
        let part = || answer(&["192.0.2.9"], 30).map(|it| Lookup { is_partial: true, ..it });
        let mut name = Name::default();
        assert_eq!(take(&mut name, part()), (true, false, 5));
        take(&mut name, answer(&["192.0.2.1", "192.0.2.9"], 30));
        assert_eq!(take(&mut name, part()), (false, true, 5));
        assert_eq!(sockets(&name), ["192.0.2.1:80", "192.0.2.9:80"]);
    }

    #[test]
    fn services_keep_their_priorities_and_a_weight_of_zero_is_the_smallest() {
        let server = |priority, weight, port| ServiceServer {
            priority,
            weight,
            host: "a.example".to_owned(),
            port,
        };
        let member = Member { is_backup: true, ..Member::from(address()) };
        let found = of_services(&member, Scheme::Https, vec![server(10, 0, 1), server(20, 7, 2)]);
        let found: Vec<_> = found
            .iter()
            .map(|it| (it.identity.to_string(), it.weight, it.priority - BACKUP))
            .collect();
        let expected =
            [("https://a.example:1".to_owned(), 1, 10), ("https://a.example:2".to_owned(), 7, 20)];
        assert_eq!(found, expected);
    }
}
