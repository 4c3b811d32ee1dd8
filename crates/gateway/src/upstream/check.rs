//! Active checks: whether a backend answers as it should, asked for in regular intervals.
//!
//! [`Health`] decides and knows neither clock nor socket; [`probe`] asks once. When to ask is for the upstream's
//! [keeper](super::keeper).

use std::fmt;
use std::time::Duration;

use http::uri::PathAndQuery;
use sterna_net::client;

use super::backend::Verdict;
use super::balance::Chance;

pub(super) mod grpc;
pub(super) mod probe;

/// How backends are checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is asked.
    pub probe: Probe,
    /// How often, give or take a tenth. Default: 10 s.
    pub interval: Duration,
    /// How long an answer may take. Default: 5 s.
    pub timeout: Duration,
    /// After this many good answers in a row an unhealthy backend is healthy. Default: 2.
    pub healthy_after: u32,
    /// After this many bad ones in a row a healthy backend is unhealthy. Default: 3.
    pub unhealthy_after: u32,
    /// Who asks.
    pub asker: Asker,
}

/// Who asks: what a client is made from, with its trust in backends.
#[derive(Clone, Default)]
pub struct Asker {
    /// What the client is made from. Versions and the place to connect to are those of the backend.
    pub builder: client::Builder,
    /// What tells it from others. Two configurations with the same are thought to be the same.
    pub name: String,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Config {
    /// This probe, with the defaults of everything else.
    pub fn new(probe: Probe) -> Self {
        Self {
            probe,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            healthy_after: 2,
            unhealthy_after: 3,
            asker: Asker::default(),
        }
    }
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A GET, whose response must be as it says.
    Http(HttpProbe),
    /// A connection over TCP, or to the unix socket.
    Tcp,
    /// `grpc.health.v1.Health/Check` of this service; of the whole server, if it is empty.
    Grpc {
        /// The name of the service.
        service: String,
    },
}

/// A GET and what its response must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// What is asked for.
    pub path: PathAndQuery,
    /// The host that is asked for; that of the address, if none.
    pub host: Option<http::uri::Authority>,
    /// The smallest and the largest status that are well. Default: 200 to 299.
    pub status: (u16, u16),
    /// What the first [`MOST_BODY`] bytes of the content must have in them.
    pub body: Option<String>,
    /// HTTP/3 or nothing: for `h3://` alone, where TCP would do as well otherwise.
    pub only_http3: bool,
}

impl HttpProbe {
    /// Any 2xx for this path.
    pub fn new(path: PathAndQuery) -> Self {
        Self { path, host: None, status: (200, 299), body: None, only_http3: false }
    }
}

/// How much of a response's content a check reads.
pub const MOST_BODY: usize = 64 << 10;

/// What the checks of one backend have said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Health {
    verdict: Verdict,
    /// Answers in a row that say the opposite.
    against: u32,
}

impl Health {
    pub(super) fn new(verdict: Verdict) -> Self {
        Self { verdict, against: 0 }
    }

    /// Takes one answer; the verdict, if it has changed. The first answer decides at once.
    pub(super) fn on_answer(&mut self, config: &Config, is_well: bool) -> Option<Verdict> {
        let (says, needed) = match is_well {
            true => (Verdict::Healthy, config.healthy_after),
            false => (Verdict::Unhealthy, config.unhealthy_after),
        };
        if self.verdict == says {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.verdict != Verdict::Unknown && self.against < needed {
            return None;
        }
        *self = Self::new(says);
        Some(says)
    }
}

/// From one check to the next: the interval, give or take a tenth, so that those of many processes do not come together.
pub(super) fn pause(interval: Duration, chance: &mut Chance) -> Duration {
    let thousandths = u32::try_from(900 + chance.below(201)).unwrap_or(1000);
    interval * thousandths / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(health: &mut Health, answers: &str) -> Vec<Option<Verdict>> {
        let config = Config::new(Probe::Tcp);
        answers.chars().map(|answer| health.on_answer(&config, answer == '+')).collect()
    }

    #[test]
    fn the_first_answer_decides_at_once() {
        for (answer, verdict) in [("+", Verdict::Healthy), ("-", Verdict::Unhealthy)] {
            let mut health = Health::new(Verdict::Unknown);
            assert_eq!(verdicts(&mut health, answer), [Some(verdict)]);
        }
    }

    #[test]
    fn a_verdict_changes_after_answers_in_a_row_and_not_before() {
        let mut health = Health::new(Verdict::Healthy);
        assert_eq!(verdicts(&mut health, "--+--+"), [None; 6], "flapping is not enough");
        assert_eq!(verdicts(&mut health, "---"), [None, None, Some(Verdict::Unhealthy)]);
        assert_eq!(verdicts(&mut health, "-+-+-"), [None; 5]);
        assert_eq!(verdicts(&mut health, "++"), [None, Some(Verdict::Healthy)]);
    }

    #[test]
    fn pauses_are_spread_around_the_interval() {
        let mut chance = Chance::new(1);
        let pauses: Vec<_> =
            (0..1000).map(|_| pause(Duration::from_secs(10), &mut chance).as_millis()).collect();
        let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
        assert!(
            (9_000..9_200).contains(least) && (10_800..=11_000).contains(most),
            "{least} {most}"
        );
    }
}
