//! Balancing of a route with what the tables around it say.

use super::{Balancing, Breaker, Discovery, Eject, Health, HealthProtocol, Member, RetryBudget};
use crate::config::Place;
use crate::config::problem::{Mistake, Problems};
use crate::upstream::balance::Policy;
use crate::upstream::{self, Source, breaker, budget, discovery, eject};

/// Balancing of a route and of the tables around it, innermost first.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Around<'a>(pub(in crate::config) &'a [&'a Balancing]);

impl Around<'_> {
    fn first<T: Clone>(&self, of: impl Fn(&Balancing) -> &Option<T>) -> Option<T> {
        self.0.iter().find_map(|balancing| of(balancing).clone())
    }

    /// What cannot be with these backends.
    pub(in crate::config) fn check(
        &self,
        members: &[Member],
        place: &Place,
        problems: &mut Problems,
    ) {
        let balance = self.first(|it| &it.balance).map(|balance| balance.0);
        let is_weighted = members.iter().any(|member| member.0.weight != 1);
        if is_weighted && balance == Some(Policy::RoundRobin) {
            let what = "`round_robin` asks all backends alike, whatever they weigh";
            problems.contradiction(place, what, "balance by `weighted`, or leave the weights out");
        }
        let is_backup = |member: &Member| member.0.is_backup;
        if !members.is_empty() && members.iter().all(is_backup) {
            let what = "every backend is a backup";
            problems.contradiction(place, what, "leave `backup` out at one of them");
        }
        for (i, member) in members.iter().enumerate() {
            if members.iter().take(i).any(|before| before.0.source == member.0.source) {
                let what = format!("the backend `{}` is there twice", member.0.source);
                problems.contradiction(
                    place,
                    &what,
                    "leave one of them out; give it a `weight` instead",
                );
            }
        }
        self.check_health(members, place, problems);
        let is_found = |member: &Member| !matches!(member.0.source, Source::Fixed(_));
        // In an outer table it may be about other routes.
        let own = self.0.first().and_then(|balancing| balancing.at.written("discovery"));
        if let Some(at) = own.filter(|_| !members.iter().any(is_found)) {
            let what = "no backend is looked up by its name";
            problems.contradiction(
                at,
                what,
                "write `dns:` or `srv:` before a backend, or leave it out",
            );
        }
    }

    /// A check that no answer could ever pass.
    fn check_health(&self, members: &[Member], place: &Place, problems: &mut Problems) {
        let Some(Health(health)) = self.first(|it| &it.health) else { return };
        for member in members {
            let Some(address) = member.address() else { continue };
            let is_h3 = address.scheme == upstream::Scheme::H3;
            let is_http1 = address.scheme == upstream::Scheme::Http;
            let mistake = match health.protocol {
                HealthProtocol::Http3 if !is_h3 => Some("has no HTTP/3: write it as `h3://`"),
                HealthProtocol::Grpc if is_http1 => Some(
                    "has no HTTP/2, which gRPC needs: write it as `h2c://`, `unix+h2c:` or `https://`",
                ),
                HealthProtocol::Tcp if is_h3 => Some("is reached by UDP first: check it by `http`"),
                _ => None,
            };
            if let Some(why) = mistake {
                let read = address.to_string();
                problems.add(place, Mistake::Value { read, reason: why.to_owned() });
            }
        }
    }

    /// The upstream of these backends.
    pub(in crate::config) fn build(&self, members: &[Member]) -> upstream::Config {
        let mut config = upstream::Config::new([]);
        config.backends = members.iter().map(|member| member.0.clone()).collect();
        config.balance = self.first(|it| &it.balance).map(|balance| balance.0).unwrap_or_default();
        config.check = self.first(|it| &it.health).map(|health| health.0.build());
        if let Some(Eject(eject)) = self.first(|it| &it.eject) {
            config.eject = eject.map(|eject| eject::Config {
                after: u32::from(eject.after),
                time: eject.time.0,
                most_time: eject.most_time.0,
                most_percent: eject.most.0,
            });
        }
        config.slow_start = self.first(|it| &it.slow_start).map(|span| span.0).unwrap_or_default();
        config.panic_below =
            self.first(|it| &it.panic_below).map(|share| share.0).unwrap_or_default();
        if let Some(Breaker { requests, pending, connections, at: _ }) =
            self.first(|it| &it.breaker)
        {
            config.breaker = breaker::Config { requests, pending, connections };
        }
        if let Some(RetryBudget { share, per_second, at: _ }) = self.first(|it| &it.retry_budget) {
            let per_second = u32::try_from(per_second).unwrap_or(u32::MAX);
            config.retries = budget::Config { percent: u32::from(share.0), per_second };
        }
        if let Some(Discovery { server, least, most, at: _ }) = self.first(|it| &it.discovery) {
            let server = server.map(|server| server.0);
            config.discovery = discovery::Config { server, least: least.0, most: most.0 };
        }
        config
    }
}
