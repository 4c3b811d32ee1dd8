//! What is remembered of HTTP/3 at each place: that it works and how far away it is, or that it does not.
//!
//! An entry is for an origin and one place where it is served by QUIC. A place that failed while TCP got through is
//! broken for a while, twice as long each time; after that it is tried again, beside TCP at once, until it works.
//! What the network may be to blame for is forgotten with the network. Time is an argument; [`file`] keeps it on disk.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use super::origin::{Host, Origin};

pub(crate) mod file;

/// Where an origin is served by QUIC.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

/// What a race should expect of QUIC at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Never tried, or not on this network.
    Unknown,
    /// The last attempt succeeded, with this round-trip time.
    Works { srtt: Duration },
    /// It has failed not long ago and is on trial: no early data, and no waiting for it.
    OnTrial,
    /// Not to be tried for this long.
    Broken { remaining: Duration },
}

/// What is known of all places.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    places: HashMap<Origin, Vec<(Place, Entry)>>,
    works_here: bool,
    uses: u64,
}

/// What is known of one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The round-trip time of the last connection on this network.
    pub(crate) srtt: Option<Duration>,
    /// Where that was.
    pub(crate) address: Option<IpAddr>,
    /// It has worked at some time, on whatever network.
    pub(crate) has_worked: bool,
    /// Connections were lost since it last worked.
    pub(crate) on_trial: bool,
    /// How often it was found broken since it last worked.
    pub(crate) failures: u32,
    pub(crate) broken_until: Option<SystemTime>,
    last_use: u64,
}

impl Memory {
    /// Everything about `origin`, for a race which learns of places on its way.
    pub(crate) fn of(&mut self, origin: &Origin, now: SystemTime) -> Known {
        self.uses += 1;
        let mut places = Vec::new();
        let mut addresses = Vec::new();
        for (place, entry) in self.places.get_mut(origin).into_iter().flatten() {
            entry.last_use = self.uses;
            places.push((place.clone(), entry.health(now)));
            addresses.extend(entry.address.map(|address| (place.clone(), address)));
        }
        Known { places, addresses, works_here: self.works_here }
    }

    /// A handshake was completed there.
    pub(crate) fn on_works(
        &mut self,
        origin: &Origin,
        place: &Place,
        srtt: Duration,
        address: IpAddr,
    ) {
        self.works_here = true;
        self.update(origin, place, |entry| {
            *entry = Entry {
                srtt: Some(srtt),
                address: Some(address),
                has_worked: true,
                last_use: entry.last_use,
                ..Entry::default()
            };
        });
    }

    /// TCP got through and QUIC did not: 5 minutes, then twice as long each time, up to 48 hours.
    pub(crate) fn on_broken(&mut self, origin: &Origin, place: &Place, now: SystemTime) {
        self.update(origin, place, |entry| {
            entry.failures = entry.failures.saturating_add(1);
            entry.broken_until = Some(now + broken_for(entry.failures));
            entry.srtt = None;
            entry.address = None;
        });
    }

    /// A connection that had worked was lost, or answered no request.
    pub(crate) fn on_lost(&mut self, origin: &Origin, place: &Place) {
        self.update(origin, place, |entry| entry.on_trial = true);
    }

    /// This is another network: what may have been the old one's doing is forgotten.
    pub(crate) fn on_network_change(&mut self) {
        self.works_here = false;
        self.for_each(|entry| {
            entry.srtt = None;
            entry.address = None;
            entry.on_trial = false;
            // It has worked elsewhere, so what broke it is likely to be the network that we have left.
            if entry.has_worked {
                entry.failures = 0;
                entry.broken_until = None;
            }
        });
    }

    /// What to expect of `place` for `origin`.
    #[cfg(test)]
    pub(crate) fn health(&self, origin: &Origin, place: &Place, now: SystemTime) -> Health {
        let places = self.places.get(origin).into_iter().flatten();
        let entry = places.filter(|(known, _)| known == place).map(|(_, entry)| entry).next();
        entry.map_or(Health::Unknown, |entry| entry.health(now))
    }

    /// All of it, in a fixed order.
    pub(crate) fn entries(&self) -> Vec<(&Origin, &Place, &Entry)> {
        let mut entries: Vec<_> = self
            .places
            .iter()
            .flat_map(|(origin, places)| places.iter().map(move |(place, e)| (origin, place, e)))
            .collect();
        entries.sort_by_key(|(origin, place, _)| (*origin, *place));
        entries
    }

    /// Puts back what was kept on disk. Nothing is believed broken for longer than it could be from now on.
    pub(crate) fn insert(&mut self, origin: &Origin, place: &Place, kept: &Entry, now: SystemTime) {
        self.works_here |= kept.srtt.is_some();
        self.update(origin, place, |entry| {
            let latest = now + LONGEST;
            let broken_until = kept.broken_until.map(|until| until.min(latest));
            *entry = Entry { broken_until, last_use: entry.last_use, ..kept.clone() };
        });
    }

    fn for_each(&mut self, mut change: impl FnMut(&mut Entry)) {
        #[expect(clippy::iter_over_hash_type, reason = "each entry is changed by itself")]
        for places in self.places.values_mut() {
            places.iter_mut().for_each(|(_, entry)| change(entry));
        }
    }

    fn update(&mut self, origin: &Origin, place: &Place, change: impl FnOnce(&mut Entry)) {
        self.uses += 1;
        if self.places.len() >= ORIGINS && !self.places.contains_key(origin) {
            self.forget_least_used();
        }
        let places = self.places.entry(origin.clone()).or_default();
        let index = match places.iter().position(|(known, _)| known == place) {
            Some(index) => index,
            None => {
                if places.len() >= PER_ORIGIN {
                    let oldest = places.iter().enumerate().min_by_key(|(_, (_, e))| e.last_use);
                    let oldest = oldest.map_or(0, |(index, _)| index);
                    places.remove(oldest);
                }
                places.push((place.clone(), Entry::default()));
                places.len() - 1
            }
        };
        if let Some((_, entry)) = places.get_mut(index) {
            entry.last_use = self.uses;
            change(entry);
        }
    }

    fn forget_least_used(&mut self) {
        let last_use = |places: &[(Place, Entry)]| places.iter().map(|(_, e)| e.last_use).max();
        let oldest = self.places.iter().min_by_key(|(_, places)| last_use(places));
        if let Some(origin) = oldest.map(|(origin, _)| origin.clone()) {
            self.places.remove(&origin);
        }
    }
}

impl Entry {
    fn health(&self, now: SystemTime) -> Health {
        let remaining = self.broken_until.and_then(|until| until.duration_since(now).ok());
        match (remaining, self.srtt) {
            (Some(remaining), _) if !remaining.is_zero() => Health::Broken { remaining },
            _ if self.failures > 0 || self.on_trial => Health::OnTrial,
            (_, Some(srtt)) => Health::Works { srtt },
            (_, None) => Health::Unknown,
        }
    }
}

/// What a race knows before it begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) places: Vec<(Place, Health)>,
    /// Where it worked last.
    pub(crate) addresses: Vec<(Place, IpAddr)>,
    /// QUIC has worked on this network, with whomever.
    pub(crate) works_here: bool,
}

impl Known {
    pub(crate) fn health(&self, place: &Place) -> Health {
        let known = self.places.iter().find(|(known, _)| known == place);
        known.map_or(Health::Unknown, |(_, health)| *health)
    }

    pub(crate) fn address(&self, place: &Place) -> Option<IpAddr> {
        let known = self.addresses.iter().find(|(known, _)| known == place);
        known.map(|(_, address)| *address)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn broken_for(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(MOST_DOUBLINGS);
    FIRST.saturating_mul(1 << doublings).min(LONGEST)
}

/// How long a place is left alone after its first failure.
const FIRST: Duration = Duration::from_secs(5 * 60);

/// How long at most.
const LONGEST: Duration = Duration::from_secs(48 * 3600);

/// Enough for [`LONGEST`].
const MOST_DOUBLINGS: u32 = 18;

/// Origins that are remembered.
const ORIGINS: usize = 1000;

/// Places that are remembered for one origin.
const PER_ORIGIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const MINUTE: u64 = 60;
    const HOUR: u64 = 3600;

    fn origin(url: &str) -> Origin {
        Origin::of(&url.parse().unwrap()).unwrap()
    }

    fn place(port: u16) -> Place {
        Place { host: Host::parse("a").unwrap(), port }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// One place of one origin, at a time that the test sets.
    struct World {
        memory: Memory,
        now: u64,
    }

    impl World {
        fn new() -> Self {
            Self { memory: Memory::default(), now: 0 }
        }

        fn health(&self) -> Health {
            self.memory.health(&origin("https://a/"), &place(443), at(self.now))
        }

        fn breaks(&mut self) -> u64 {
            self.memory.on_broken(&origin("https://a/"), &place(443), at(self.now));
            let Health::Broken { remaining } = self.health() else { panic!("it is not broken") };
            remaining.as_secs()
        }

        fn works(&mut self) {
            self.memory.on_works(&origin("https://a/"), &place(443), Duration::from_millis(20), IP);
        }
    }

    #[test]
    fn broken_time_doubles_from_five_minutes_to_two_days() {
        let mut world = World::new();
        let first: Vec<_> = (0..4).map(|_| world.breaks() / MINUTE).collect();
        assert_eq!(first, [5, 10, 20, 40]);
        let later: Vec<_> = (0..30).map(|_| world.breaks()).collect();
        assert_eq!(later.last(), Some(&(48 * HOUR)));
        assert!(later.is_sorted());
        world.memory.update(&origin("https://a/"), &place(443), |entry| entry.failures = u32::MAX);
        assert_eq!(world.breaks(), 48 * HOUR);
    }

    #[test]
    fn broken_place_comes_on_trial_and_success_clears_it() {
        let mut world = World::new();
        world.breaks();
        world.now = 5 * MINUTE - 1;
        assert!(matches!(world.health(), Health::Broken { .. }));
        world.now += 1;
        assert_eq!(world.health(), Health::OnTrial);
        world.works();
        assert_eq!(world.health(), Health::Works { srtt: Duration::from_millis(20) });
        assert_eq!(world.breaks(), 5 * MINUTE, "it counts from the beginning");
    }

    #[test]
    fn lost_connection_puts_a_working_place_on_trial() {
        let mut world = World::new();
        world.works();
        world.memory.on_lost(&origin("https://a/"), &place(443));
        assert_eq!(world.health(), Health::OnTrial);
        world.works();
        assert_ne!(world.health(), Health::OnTrial);
    }

    #[test]
    fn other_network_forgets_what_the_old_one_may_have_done() {
        let mut world = World::new();
        world.works();
        world.breaks();
        world.memory.on_network_change();
        assert_eq!(world.health(), Health::Unknown, "it has worked, so the network broke it");
        let mut world = World::new();
        world.breaks();
        world.memory.on_network_change();
        assert!(matches!(world.health(), Health::Broken { .. }), "it has never worked anywhere");
        let mut world = World::new();
        world.works();
        let known = |world: &mut World| world.memory.of(&origin("https://a/"), at(0));
        assert_eq!(
            (known(&mut world).works_here, known(&mut world).address(&place(443))),
            (true, Some(IP))
        );
        world.memory.on_network_change();
        assert_eq!(
            (known(&mut world).works_here, known(&mut world).address(&place(443))),
            (false, None)
        );
    }

    #[test]
    fn places_are_judged_apart() {
        let mut world = World::new();
        world.breaks();
        let known = world.memory.of(&origin("https://a/"), at(0));
        assert!(matches!(known.health(&place(443)), Health::Broken { .. }));
        assert_eq!(known.health(&place(444)), Health::Unknown);
        assert_eq!(world.memory.of(&origin("https://b/"), at(0)), Known::default());
    }

    #[test]
    fn origins_and_places_are_bounded_and_the_least_used_goes_first() {
        let mut memory = Memory::default();
        let first = origin("https://host-0/");
        for n in 0..=ORIGINS {
            memory.on_works(
                &origin(&format!("https://host-{n}/")),
                &place(443),
                Duration::ZERO,
                IP,
            );
            assert_eq!(memory.of(&first, at(0)).places.len(), 1, "it is in use");
        }
        assert_eq!(memory.places.len(), ORIGINS);
        assert_eq!(
            memory.of(&origin("https://host-1/"), at(0)),
            Known { works_here: true, ..Known::default() }
        );
        for port in 1..=100 {
            memory.on_works(&first, &place(port), Duration::ZERO, IP);
        }
        let known = memory.of(&first, at(0));
        assert_eq!(known.places.len(), PER_ORIGIN);
        assert_ne!(known.health(&place(100)), Health::Unknown);
        assert_eq!(known.health(&place(92)), Health::Unknown);
    }

    #[test]
    fn clock_that_was_ahead_breaks_nothing_for_longer_than_the_limit() {
        let mut world = World::new();
        let kept = Entry { broken_until: Some(at(9000 * HOUR)), failures: 1, ..Entry::default() };
        world.memory.insert(&origin("https://a/"), &place(443), &kept, at(0));
        assert_eq!(world.health(), Health::Broken { remaining: Duration::from_secs(48 * HOUR) });
    }
}
