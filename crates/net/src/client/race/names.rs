//! What is asked about names, and what was answered.
//!
//! HTTPS, AAAA and A of the origin go out together, and with them the addresses of hosts that Alt-Svc has named; a
//! record that points elsewhere brings questions of its own. All of it is bounded, whatever the records say.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{Goal, Place};
use crate::client::{
    origin::{Host, Scheme},
    resolve::{
        Found, MOST_ADDRESSES, MOST_RECORDS, NameError, Question, RecordKind, ServiceRecord,
    },
};

#[derive(Debug)]
pub(super) struct Names {
    asked: Vec<Asked>,
    /// How many of them were handed out.
    handed: usize,
    /// Where aliases have led, one after the other.
    aliases: Vec<Host>,
    seed: u64,
    first_found: Option<Instant>,
    has_news: bool,
}

#[derive(Debug)]
struct Asked {
    question: Question,
    answer: Option<Result<Found, NameError>>,
}

/// Addresses of a host, by family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) v6: Vec<IpAddr>,
    pub(super) v4: Vec<IpAddr>,
    pub(super) v6_answered: bool,
    pub(super) v4_answered: bool,
}

/// One way to the service that we can go, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) priority: u16,
    pub(super) host: Host,
    pub(super) port: Option<u16>,
    pub(super) h1: bool,
    pub(super) h2: bool,
    pub(super) h3: bool,
    pub(super) hints: Vec<IpAddr>,
}

impl Names {
    pub(super) fn new(goal: &Goal) -> Self {
        let host = match &goal.connect_to {
            Some(Place { host, .. }) => host.clone(),
            None => goal.origin.host().clone(),
        };
        let mut names = Self {
            asked: Vec::new(),
            handed: 0,
            aliases: Vec::new(),
            seed: goal.seed,
            first_found: None,
            has_news: true,
        };
        if let (None, Scheme::Https, Host::Name(name)) =
            (&goal.connect_to, goal.origin.scheme(), &host)
            && !host.is_loopback()
        {
            names.ask(service_name(name, goal.origin.port()), RecordKind::Https);
        }
        names.ask_addresses(&host);
        if goal.connect_to.is_none() {
            for host in goal.alternatives.iter().filter_map(|service| service.host.as_ref()) {
                names.ask_addresses(host);
            }
        }
        names
    }

    /// The next question, each of them once.
    pub(super) fn poll_question(&mut self) -> Option<Question> {
        let asked = self.asked.get(self.handed)?;
        self.handed += 1;
        Some(asked.question.clone())
    }

    pub(super) fn on_answer(
        &mut self,
        question: &Question,
        mut answer: Result<Found, NameError>,
        now: Instant,
    ) {
        let open = |asked: &&mut Asked| asked.question == *question && asked.answer.is_none();
        let Some(asked) = self.asked.iter_mut().find(open) else { return };
        match &mut answer {
            Ok(Found::Addresses(addresses)) => addresses.truncate(MOST_ADDRESSES),
            Ok(Found::Services(records)) => records.truncate(MOST_RECORDS),
            Err(_) => {}
        }
        asked.answer = Some(answer.clone());
        self.has_news = true;
        if answer.is_ok() && self.first_found.is_none() {
            self.first_found = Some(now);
        }
        if let Ok(Found::Services(records)) = answer {
            self.follow(records);
        }
    }

    /// Asks what records point to.
    fn follow(&mut self, records: Vec<ServiceRecord>) {
        if let Some(target) = alias(&records) {
            // req: 9460-2.4.2-alias-loops
            if let Some(target) = target
                && self.aliases.len() < MOST_ALIASES
                && let Ok(host) = Host::parse(target)
            {
                self.ask(target.to_owned(), RecordKind::Https);
                self.ask_addresses(&host);
                self.aliases.push(host);
            }
            return;
        }
        for record in records {
            if let ServiceRecord::Service(service) = record
                && !service.incompatible
                && let Ok(host) = Host::parse(&service.target)
            {
                self.ask_addresses(&host);
            }
        }
    }

    /// Something was answered since this was asked last.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    pub(super) fn is_waiting_for(&self, question: &Question) -> bool {
        self.asked.iter().any(|asked| asked.question == *question && asked.answer.is_none())
    }

    pub(super) fn all_answered(&self) -> bool {
        self.asked.iter().all(|asked| asked.answer.is_some())
    }

    pub(super) fn all_answered_or_late(
        &self,
        began: Instant,
        timeout: Duration,
        now: Instant,
    ) -> bool {
        self.all_answered() || now >= began + timeout
    }

    /// All is known, or the rest has had its time.
    pub(super) fn may_begin(&self, now: Instant) -> bool {
        // req: 8305-3-not-all-answers
        self.all_answered() || self.grace_until().is_some_and(|until| now >= until)
    }

    pub(super) fn grace_until(&self) -> Option<Instant> {
        self.first_found.map(|found| found + GRACE)
    }

    /// Why the host has no address.
    pub(super) fn error(&self) -> Option<NameError> {
        let of_host = self.asked.iter().filter(|asked| asked.question.kind != RecordKind::Https);
        let errors = of_host.filter_map(|asked| asked.answer.as_ref()?.as_ref().err());
        errors.max_by_key(|error| error.weight()).cloned()
    }

    /// What is known of the addresses of a host.
    pub(super) fn addresses(&self, host: &Host) -> Addresses {
        if let Some(known) = host.known_addresses() {
            let (v6, v4) = known.into_iter().partition(IpAddr::is_ipv6);
            return Addresses { v6, v4, v6_answered: true, v4_answered: true };
        }
        let (v6_answered, v6) = self.of_kind(host, RecordKind::Aaaa);
        let (v4_answered, v4) = self.of_kind(host, RecordKind::A);
        Addresses { v6, v4, v6_answered, v4_answered }
    }

    /// The ways that the records offer and that we can go, most preferred first.
    pub(super) fn services(&self) -> Vec<Way> {
        let answers = self.asked.iter().filter_map(|asked| match &asked.answer {
            Some(Ok(Found::Services(records))) if alias(records).is_none() => Some(records),
            _ => None,
        });
        let mut ways = Vec::new();
        for (index, record) in answers.flatten().enumerate() {
            let ServiceRecord::Service(service) = record else { continue };
            let Ok(host) = Host::parse(&service.target) else { continue };
            if service.incompatible {
                continue;
            }
            let rank = ServiceRecord::rank(service.priority, index, self.seed);
            let way = Way {
                priority: service.priority,
                host,
                port: service.port,
                h1: service.h1,
                h2: service.h2,
                h3: service.h3,
                hints: service.hints.clone(),
            };
            ways.push((rank, way));
        }
        ways.sort_by_key(|(rank, _)| *rank);
        ways.into_iter().map(|(_, way)| way).collect()
    }

    /// Where the last alias has led.
    pub(super) fn alias(&self) -> Option<&Host> {
        self.aliases.last()
    }

    fn of_kind(&self, host: &Host, kind: RecordKind) -> (bool, Vec<IpAddr>) {
        let question = Question { name: host.bare(), kind };
        let asked = self.asked.iter().find(|asked| asked.question == question);
        match asked.map(|asked| &asked.answer) {
            Some(Some(Ok(Found::Addresses(addresses)))) => (true, addresses.clone()),
            Some(Some(_)) => (true, Vec::new()),
            Some(None) | None => (false, Vec::new()),
        }
    }

    fn ask_addresses(&mut self, host: &Host) {
        if host.known_addresses().is_none() {
            self.ask(host.bare(), RecordKind::Aaaa);
            self.ask(host.bare(), RecordKind::A);
        }
    }

    fn ask(&mut self, name: String, kind: RecordKind) {
        let question = Question { name, kind };
        let is_new = !self.asked.iter().any(|asked| asked.question == question);
        if is_new && self.asked.len() < MOST_QUESTIONS {
            self.asked.push(Asked { question, answer: None });
        }
    }
}

/// Where everything is said, if one of the records says so; the others say nothing then (RFC 9460 §2.4.1).
fn alias(records: &[ServiceRecord]) -> Option<Option<&str>> {
    records.iter().find_map(|record| match record {
        ServiceRecord::Alias { target } => Some(target.as_deref()),
        ServiceRecord::Service(_) => None,
    })
}

/// Where the records of an origin are (RFC 9460 §9.1).
fn service_name(host: &str, port: u16) -> String {
    // req: 9460-9.1-port-prefix
    let host = host.trim_end_matches('.');
    if port == Scheme::Https.default_port() {
        host.to_owned()
    } else {
        format!("_{port}._https.{host}")
    }
}

impl NameError {
    /// How much it says: a server that answers tells more than one that does not.
    fn weight(&self) -> u8 {
        match self {
            Self::NoRecords => 0,
            Self::TimedOut => 1,
            Self::Failed(_) => 2,
            Self::NotFound => 3,
        }
    }
}

/// How long the rest is waited for once something was found (RFC 8305 §3).
const GRACE: Duration = Duration::from_millis(50);

/// Questions of one race.
pub(super) const MOST_QUESTIONS: usize = 16;

/// Aliases that are followed, one after the other.
pub(super) const MOST_ALIASES: usize = 4;
