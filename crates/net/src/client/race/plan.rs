//! What to try, in its order: HTTPS records by priority, then Alt-Svc, then the origin itself; in each HTTP/3 before the
//! versions over TCP, and the families of addresses in turn, IPv6 first (RFC 8305 §4).

use std::net::{IpAddr, SocketAddr};

use super::{
    Goal, Skip, Source, Transport,
    names::{Addresses, Names},
};
use crate::client::{
    memory::{Health, Place},
    origin::Scheme,
    resolve::ServiceRecord,
    versions::Versions,
};

/// One attempt that may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) transport: Transport,
    pub(crate) address: SocketAddr,
    /// Whose address it is.
    pub(crate) place: Place,
    /// Which versions may be asked for, by ALPN.
    pub(crate) versions: Versions,
    pub(crate) source: Source,
    /// What to expect of QUIC there.
    pub(crate) health: Health,
}

impl Candidate {
    /// A request may go out before the handshake is complete: not where connections were lost of late.
    pub(crate) fn may_be_early(&self) -> bool {
        !matches!(self.health, Health::OnTrial | Health::Broken { .. })
    }
}

/// What may be tried, each transport in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) quic: Vec<Candidate>,
    pub(super) tcp: Vec<Candidate>,
    /// Where QUIC is said to be and is not tried.
    pub(super) skipped: Vec<(Place, Skip)>,
}

pub(super) fn plan(goal: &Goal, names: &Names) -> Plan {
    let mut plan = Plan::default();
    if let Some(place) = &goal.connect_to {
        plan.origin(goal, names, place, goal.speculate);
        return plan;
    }
    let services = names.services();
    for service in &services {
        let place =
            Place { host: service.host.clone(), port: service.port.unwrap_or(goal.origin.port()) };
        let addresses = names.addresses(&place.host).or_hints(&service.hints);
        if service.h3 {
            plan.quic(goal, &place, &addresses, Source::Record(service.priority));
        }
        let versions = Versions { h1: service.h1, h2: service.h2, h3: false };
        plan.tcp(goal, &place, &addresses, versions, Source::Record(service.priority));
    }
    let denies_h3 = !services.is_empty() && !services.iter().any(|service| service.h3);
    for service in goal.alternatives.iter().filter(|service| service.is_h3()) {
        let host = service.host.as_ref().unwrap_or(goal.origin.host()).clone();
        let place = Place { host, port: service.port };
        if !service.may_serve(&goal.origin) {
            plan.skipped.push((place, Skip::HighPort));
        } else if denies_h3 && place.host == *goal.origin.host() {
            // req: 9460-9.3-consistent
            plan.skipped.push((place, Skip::Denied));
        } else {
            let addresses = names.addresses(&place.host);
            plan.quic(goal, &place, &addresses, Source::AltSvc);
        }
    }
    if let Some(host) = names.alias().filter(|_| services.is_empty()) {
        let place = Place { host: host.clone(), port: goal.origin.port() };
        plan.origin(goal, names, &place, goal.speculate);
    }
    // req: 9460-3-fall-back
    let place = Place { host: goal.origin.host().clone(), port: goal.origin.port() };
    let guess = (goal.speculate || !goal.versions.tcp()) && services.is_empty();
    plan.origin(goal, names, &place, guess);
    plan
}

impl Plan {
    fn origin(&mut self, goal: &Goal, names: &Names, place: &Place, guess: bool) {
        let addresses = names.addresses(&place.host);
        if guess || !goal.versions.tcp() {
            self.quic(goal, place, &addresses, Source::Guess);
        }
        let all = Versions { h1: true, h2: true, h3: false };
        self.tcp(goal, place, &addresses, all, Source::Origin);
    }

    fn quic(&mut self, goal: &Goal, place: &Place, addresses: &Addresses, source: Source) {
        if !goal.versions.h3 || goal.origin.scheme() == Scheme::Http {
            return;
        }
        let health = goal.known.health(place);
        if let Health::Broken { remaining } = health
            && goal.versions.tcp()
        {
            self.skipped.push((place.clone(), Skip::Broken(remaining)));
            return;
        }
        let versions = Versions::ONLY_H3;
        let candidate = |ip| Candidate {
            transport: Transport::Quic,
            address: SocketAddr::new(ip, place.port),
            place: place.clone(),
            versions,
            source,
            health,
        };
        // The one that worked last time, if the name still has it.
        let worked = goal.known.address(place);
        let (first, others): (Vec<_>, Vec<_>) =
            addresses.in_turn().partition(|address| Some(*address) == worked);
        self.quic.extend(first.into_iter().chain(others).map(candidate));
    }

    fn tcp(
        &mut self,
        goal: &Goal,
        place: &Place,
        addresses: &Addresses,
        offered: Versions,
        source: Source,
    ) {
        let versions = Versions {
            h1: goal.versions.h1 && offered.h1,
            h2: goal.versions.h2 && offered.h2,
            h3: false,
        };
        if !versions.tcp() {
            return;
        }
        let candidate = |ip| Candidate {
            transport: Transport::Tcp,
            address: SocketAddr::new(ip, place.port),
            place: place.clone(),
            versions,
            source,
            health: Health::Unknown,
        };
        self.tcp.extend(addresses.in_turn().map(candidate));
    }
}

impl Addresses {
    /// IPv6 and IPv4 in turn.
    fn in_turn(&self) -> impl Iterator<Item = IpAddr> {
        // req: 8305-4-families-in-turn
        let longest = self.v6.len().max(self.v4.len());
        (0..longest).flat_map(|n| [self.v6.get(n).copied(), self.v4.get(n).copied()]).flatten()
    }

    /// What a record says, for a family that is not known.
    fn or_hints(mut self, hints: &[IpAddr]) -> Self {
        // req: 9460-7.3-hints-until-answers
        if !self.v6_answered {
            self.v6 = hints.iter().copied().filter(IpAddr::is_ipv6).collect();
        }
        if !self.v4_answered {
            self.v4 = hints.iter().copied().filter(IpAddr::is_ipv4).collect();
        }
        self
    }
}

impl ServiceRecord {
    /// Which of several ways to a service come first: smaller priorities, chance among equals.
    pub(super) fn rank(priority: u16, index: usize, seed: u64) -> (u16, u64) {
        // A step of splitmix64: enough to spread load, which is all that RFC 9460 §2.4.1 wants of it.
        let mut mixed = seed ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (priority, mixed ^ (mixed >> 27))
    }
}
