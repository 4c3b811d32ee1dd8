//! `Alt-Svc`: where else an origin is served (RFC 7838), as its responses say it.
//!
//! [`AltSvc::parse`] reads the field, [`AltSvcCache`] keeps what it said until it is over. Time is an argument, and
//! everything a server sends has a bound: of entries in a field, of alternatives for an origin, of origins.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use super::origin::{Host, Origin, Scheme};

mod parse;

pub(crate) use parse::AltSvc;

/// One place where an origin is served too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AltService {
    /// ALPN identifier, decoded.
    pub(crate) protocol: Vec<u8>,
    /// Another host, or `None` for the origin's own.
    pub(crate) host: Option<Host>,
    pub(crate) port: u16,
}

impl AltService {
    /// It speaks HTTP/3.
    pub(crate) fn is_h3(&self) -> bool {
        self.protocol == b"h3"
    }

    /// Whether a client may go there for `origin`.
    ///
    /// Whoever may only open high ports of a machine must not take over an origin at a low one.
    pub(crate) fn may_serve(&self, origin: &Origin) -> bool {
        origin.scheme() == Scheme::Https
            && (self.port < FIRST_FREE_PORT || origin.port() >= FIRST_FREE_PORT)
    }
}

/// An alternative with its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) service: AltService,
    pub(crate) expires: SystemTime,
    /// It holds on other networks too.
    pub(crate) persist: bool,
}

/// What origins have said, until it is over.
#[derive(Debug, Default)]
pub(crate) struct AltSvcCache {
    origins: HashMap<Origin, Entry>,
    uses: u64,
}

#[derive(Debug, Default)]
struct Entry {
    services: Vec<Remembered>,
    last_use: u64,
}

impl AltSvcCache {
    /// Takes the field of a response of `origin`, which replaces all that it said before.
    ///
    /// A field that cannot be read changes nothing.
    pub(crate) fn on_field<'a>(
        &mut self,
        origin: &Origin,
        values: impl IntoIterator<Item = &'a [u8]>,
        now: SystemTime,
    ) {
        let said = match AltSvc::parse(values) {
            Ok(said) => said,
            Err(error) => {
                tracing::debug!(%error, %origin, "ignoring an Alt-Svc field");
                return;
            }
        };
        match said {
            // req: 7838-3-clear
            AltSvc::Clear => {
                self.origins.remove(origin);
            }
            // req: 7838-3-replaces
            AltSvc::Services(services) => {
                let remembered = services.into_iter().map(|said| Remembered {
                    service: said.service,
                    expires: now + said.max_age.min(LONGEST_MEMORY),
                    persist: said.persist,
                });
                self.insert(origin, remembered.collect());
            }
        }
    }

    /// What is known of `origin`, in its order of preference.
    pub(crate) fn of(&mut self, origin: &Origin, now: SystemTime) -> Vec<AltService> {
        self.uses += 1;
        let Some(entry) = self.origins.get_mut(origin) else { return Vec::new() };
        // req: 7838-3.1-fresh
        entry.services.retain(|remembered| remembered.expires > now);
        entry.last_use = self.uses;
        let services = entry.services.iter().map(|remembered| remembered.service.clone()).collect();
        if entry.services.is_empty() {
            self.origins.remove(origin);
        }
        services
    }

    /// Forgets what does not hold on another network.
    pub(crate) fn on_network_change(&mut self) {
        // req: 7838-2.2-network-change
        self.origins.retain(|_, entry| {
            entry.services.retain(|remembered| remembered.persist);
            !entry.services.is_empty()
        });
    }

    /// Puts back what was kept on disk.
    pub(crate) fn insert(&mut self, origin: &Origin, mut services: Vec<Remembered>) {
        services.truncate(PER_ORIGIN);
        if services.is_empty() {
            self.origins.remove(origin);
            return;
        }
        if self.origins.len() >= ORIGINS && !self.origins.contains_key(origin) {
            self.forget_least_used();
        }
        self.uses += 1;
        self.origins.insert(origin.clone(), Entry { services, last_use: self.uses });
    }

    /// All of it, in a fixed order.
    pub(crate) fn entries(&self) -> Vec<(&Origin, &[Remembered])> {
        let mut entries: Vec<_> =
            self.origins.iter().map(|(origin, entry)| (origin, &*entry.services)).collect();
        entries.sort_by_key(|(origin, _)| *origin);
        entries
    }

    fn forget_least_used(&mut self) {
        let oldest = self.origins.iter().min_by_key(|(_, entry)| entry.last_use);
        if let Some(origin) = oldest.map(|(origin, _)| origin.clone()) {
            self.origins.remove(&origin);
        }
    }
}

/// The first port that a program may open without privilege.
const FIRST_FREE_PORT: u16 = 1024;

/// Origins whose alternatives are kept.
pub(crate) const ORIGINS: usize = 1000;

/// Alternatives that are kept for one origin: the first ones, which it prefers.
pub(crate) const PER_ORIGIN: usize = 4;

/// Longest time for which an origin is believed.
pub(crate) const LONGEST_MEMORY: Duration = Duration::from_secs(365 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Origin {
        Origin::of(&url.parse().unwrap()).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn service(port: u16) -> AltService {
        AltService { protocol: b"h3".to_vec(), host: None, port }
    }

    fn told(field: &str) -> AltSvcCache {
        let mut cache = AltSvcCache::default();
        cache.on_field(&origin("https://a/"), [field.as_bytes()], at(0));
        cache
    }

    #[test]
    fn alternative_is_known_until_its_age_is_over() {
        let mut cache = told("h3=\":443\"; ma=60");
        assert_eq!(cache.of(&origin("https://a/"), at(59)), [service(443)]);
        assert_eq!(cache.of(&origin("https://b/"), at(59)), []);
        // req: 7838-3.1-fresh
        assert_eq!(cache.of(&origin("https://a/"), at(60)), []);
        assert!(cache.origins.is_empty(), "what is over takes no memory");
    }

    #[test]
    fn new_field_replaces_the_old_one_and_clear_ends_it() {
        let a = origin("https://a/");
        let mut cache = told("h3=\":443\", h3=\":444\"");
        cache.on_field(&a, [&b"h3=\":445\""[..]], at(1));
        // req: 7838-3-replaces
        assert_eq!(cache.of(&a, at(2)), [service(445)]);
        cache.on_field(&a, [&b"nonsense"[..]], at(2));
        assert_eq!(cache.of(&a, at(2)), [service(445)], "what cannot be read changes nothing");
        cache.on_field(&a, [&b"clear"[..]], at(3));
        assert_eq!(cache.of(&a, at(3)), []);
    }

    #[test]
    fn other_network_keeps_only_what_persists() {
        let mut cache = told("h3=\":443\", h3=\":444\"; persist=1");
        cache.on_network_change();
        // req: 7838-2.2-network-change
        assert_eq!(cache.of(&origin("https://a/"), at(1)), [service(444)]);
    }

    #[test]
    fn high_port_may_not_serve_an_origin_at_a_low_one() {
        let allowed = |port, url| service(port).may_serve(&origin(url));
        assert!(allowed(443, "https://a/") && allowed(1023, "https://a/"));
        assert!(!allowed(1024, "https://a/"));
        assert!(!allowed(8443, "https://a:1023/"));
        assert!(allowed(8443, "https://a:1024/") && allowed(443, "https://a:1024/"));
        assert!(!allowed(443, "http://a/"), "only TLS shows that it is the origin's");
    }

    #[test]
    fn origins_and_their_alternatives_are_bounded() {
        let mut cache = AltSvcCache::default();
        let first = origin("https://host-0/");
        for n in 0..=ORIGINS {
            let field = (1..=20).map(|port| format!("h3=\":{port}\"")).collect::<Vec<_>>();
            let origin = origin(&format!("https://host-{n}/"));
            cache.on_field(&origin, [field.join(",").as_bytes()], at(0));
            // The first one is in use, so another one has to go.
            assert_eq!(cache.of(&first, at(0)).len(), PER_ORIGIN);
        }
        assert_eq!(cache.origins.len(), ORIGINS);
        assert_eq!(cache.of(&origin("https://host-1/"), at(0)), []);
    }

    #[test]
    fn age_has_a_limit() {
        let mut cache = told("h3=\":443\"; ma=99999999999999999999");
        assert_eq!(cache.of(&origin("https://a/"), at(365 * 86_400)), []);
    }
}
