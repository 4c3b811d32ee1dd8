//! How a backend is chosen, and what is known of each: balancing, health, limits.

use http::uri::PathAndQuery;
use serde::Serialize;

use super::problem::Problems;
use super::setting::{At, Setting, choice, section, type_mistake};
use super::shape::Shape;
use super::units::Span;
use super::value::{Kind, Text, Value};
use crate::upstream::check::{self, HttpProbe, Probe};

mod around;
mod member;
mod words;

pub(super) use self::around::Around;
pub use self::member::{Member, NotAMember};
pub use self::words::{Balance, CheckHost, CheckPath, Percent, Server, StatusRange};

section! {
    /// How a backend is chosen, and when one is left out. What a route does not say, its site says, and then the
    /// `[defaults]`.
    pub struct Balancing {
        /// Which backend gets a request. `weighted`, which is what it is without this key, asks one after the other as
        /// often as its weight says; `round_robin` whatever they weigh; `random`; `least_conn` the one with the fewest
        /// requests under way; `p2c_ewma` of two by chance the one that answers faster; `hash ip`, `hash header NAME` and
        /// `hash cookie NAME` the same one for the same client, field or cookie, and any for requests without it.
        pub balance: Option<Balance>,
        /// Checks backends and leaves out those which are not well: a path that must answer 2xx, `tcp`, `grpc`, or a table.
        pub health: Option<Health>,
        /// Leaves a backend out for a while when its requests fail: without a connection, or answered 502, 503 or 504.
        /// `true`, which is what it is without this key, `false`, or a table.
        pub eject: Option<Eject>,
        /// How long the share of a backend rises that is back, or new, from a tenth to the whole.
        pub slow_start: Option<Span>,
        /// When fewer than this share of the backends is well, all are asked. Without it when none is.
        pub panic_below: Option<Percent>,
        /// How much each backend may have to do; what is more is answered 503.
        pub breaker: Option<Breaker>,
        /// How many retries there may be among all requests.
        pub retry_budget: Option<RetryBudget>,
        /// How names of backends behind `dns:` and `srv:` are looked up.
        pub discovery: Option<Discovery>,
    }
}

section! {
    /// A check, where a path alone is not enough.
    pub struct HealthCheck {
        /// What is asked: `http`, which is a GET; `http3`, the same over HTTP/3 or not at all; `tcp`, a connection; `grpc`,
        /// its health protocol.
        pub protocol: HealthProtocol = HealthProtocol::Http,
        /// The path of a GET. Without it `/`.
        pub path: Option<CheckPath>,
        /// The host of a GET, if not that of the address.
        pub host: Option<CheckHost>,
        /// The status that a GET must have: one, or a range. Without it `200-299`.
        pub status: Option<StatusRange>,
        /// What the first 64 KiB of a GET's content must have in them.
        pub body: Option<Text>,
        /// The service that gRPC is asked about. Without it the whole server.
        pub service: Option<Text>,
        /// How often, give or take a tenth.
        pub every: Span = Span(std::time::Duration::from_secs(10)),
        /// How long an answer may take.
        pub timeout: Span = Span(std::time::Duration::from_secs(5)),
        /// After this many good answers in a row a backend is well again.
        pub passes: u16 = 2,
        /// After this many bad answers in a row it is not.
        pub fails: u16 = 3,
    }
}

section! {
    /// When a backend is left out because its requests fail.
    pub struct Ejection {
        /// After this many failures in a row; one is enough when it has just come back.
        pub after: u16 = 5,
        /// For how long the first time; twice as long each time after.
        pub time: Span = Span(std::time::Duration::from_secs(10)),
        /// The longest.
        pub most_time: Span = Span(std::time::Duration::from_secs(300)),
        /// How many of the backends at the same time, rounded down: the only one is never left out.
        pub most: Percent = Percent(50),
    }
}

section! {
    /// How much each backend may have to do.
    pub struct Breaker {
        /// Requests at the same time, until their responses have ended.
        pub requests: Option<u32>,
        /// Requests of one worker that wait for a connection.
        pub pending: Option<u32>,
        /// Connections of one worker.
        pub connections: Option<u32>,
    }
}

section! {
    /// How many retries there may be: when a backend fails for all, they must not double the load of the others.
    pub struct RetryBudget {
        /// Among the requests of the last ten seconds.
        pub share: Percent = Percent(20),
        /// For each second in any case.
        pub per_second: usize = 3,
    }
}

section! {
    /// How names of backends are looked up. An answer holds for as long as its records say, within bounds; one that fails
    /// leaves the backends as they are.
    pub struct Discovery {
        /// The name server, an address with a port. Without it those of the system.
        pub server: Option<Server>,
        /// The shortest time from one look-up to the next.
        pub least: Span = Span(std::time::Duration::from_secs(5)),
        /// The longest.
        pub most: Span = Span(std::time::Duration::from_secs(300)),
    }
}

/// A check: what it asks, or a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Health(pub HealthCheck);

impl Setting for Health {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let mut check = HealthCheck::missing()?;
        match &value.kind {
            Kind::Table(_) => return HealthCheck::read(value, problems).map(Self),
            Kind::Text(text) if text.text == "tcp" => check.protocol = HealthProtocol::Tcp,
            Kind::Text(text) if text.text == "grpc" => check.protocol = HealthProtocol::Grpc,
            Kind::Text(_) => check.path = Some(CheckPath::read(value, problems)?),
            _ => return type_mistake(value, "a path, `tcp`, `grpc` or a table", problems),
        }
        Some(Self(check))
    }

    fn shape() -> Shape {
        Shape::Either(vec![
            CheckPath::shape(),
            Shape::Choice(&["tcp", "grpc"]),
            HealthCheck::shape(),
        ])
    }
}

/// Whether backends are left out: yes or no, or a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Eject(pub Option<Ejection>);

impl Serialize for Eject {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(ejection) => ejection.serialize(to),
            None => to.serialize_bool(false),
        }
    }
}

impl Setting for Eject {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match &value.kind {
            Kind::Boolean(false) => Some(Self(None)),
            Kind::Boolean(true) => Some(Self(Ejection::missing())),
            Kind::Table(_) => Ejection::read(value, problems).map(|ejection| Self(Some(ejection))),
            _ => type_mistake(value, "`true`, `false` or a table", problems),
        }
    }

    fn shape() -> Shape {
        Shape::Either(vec![Shape::Boolean, Ejection::shape()])
    }
}

choice! {
    /// What a check asks.
    pub enum HealthProtocol {
        /// A GET, over the protocol of the address.
        Http = "http",
        /// A GET over HTTP/3 or not at all.
        Http3 = "http3",
        /// A connection.
        Tcp = "tcp",
        /// The health protocol of gRPC.
        Grpc = "grpc",
    }
}

impl Balancing {
    /// What each of them alone makes impossible; `passes_on` if requests are passed on here or in a table inside.
    pub(super) fn check(&self, passes_on: bool, problems: &mut Problems) {
        let written = Self::KEYS.iter().find_map(|key| Some((key, self.at.written(key)?)));
        if let Some((key, place)) = written.filter(|_| !passes_on) {
            let what = format!("`{key}` is about backends, and nothing is passed on to any here");
            problems.contradiction(place, &what, "add a `proxy`, or leave it out");
        }
        if let Some(Health(health)) = &self.health {
            health.check(problems);
        }
        if let Some(Eject(Some(ejection))) = &self.eject {
            ejection.check(problems);
        }
        if let Some(breaker) = &self.breaker {
            breaker.check(problems);
        }
        if let Some(Discovery { least, most, at, .. }) = &self.discovery {
            check_order(at, ("least", *least), ("most", *most), problems);
        }
    }

    const KEYS: [&'static str; 8] = [
        "balance",
        "health",
        "eject",
        "slow_start",
        "panic_below",
        "breaker",
        "retry_budget",
        "discovery",
    ];
}

impl HealthCheck {
    fn check(&self, problems: &mut Problems) {
        for (key, span) in [("every", self.every), ("timeout", self.timeout)] {
            if span.0.is_zero() {
                let what = format!("`{key}` is no time at all");
                problems.contradiction(self.at.key(key), &what, "write a duration such as `5s`");
            }
        }
        let is_get = matches!(self.protocol, HealthProtocol::Http | HealthProtocol::Http3);
        for key in ["path", "host", "status", "body"] {
            if let Some(place) = self.at.written(key).filter(|_| !is_get) {
                let what = format!("`{key}` is about a GET, which this check does not send");
                problems.contradiction(place, &what, "leave it out, or make `protocol` `http`");
            }
        }
        let service = self.at.written("service");
        if let Some(place) = service.filter(|_| self.protocol != HealthProtocol::Grpc) {
            let what = "`service` is about gRPC, which this check does not speak";
            problems.contradiction(place, what, "leave it out, or make `protocol` `grpc`");
        }
    }

    pub(super) fn build(&self) -> check::Config {
        let probe = match self.protocol {
            HealthProtocol::Tcp => Probe::Tcp,
            HealthProtocol::Grpc => {
                let service = self.service.as_ref().map(|service| service.text.clone());
                Probe::Grpc { service: service.unwrap_or_default() }
            }
            HealthProtocol::Http | HealthProtocol::Http3 => {
                let path = self.path.as_ref().map(|path| path.0.clone());
                let mut probe = HttpProbe::new(path.unwrap_or(PathAndQuery::from_static("/")));
                probe.host = self.host.as_ref().map(|host| host.0.clone());
                probe.body = self.body.as_ref().map(|body| body.text.clone());
                probe.only_http3 = self.protocol == HealthProtocol::Http3;
                if let Some(StatusRange(least, most)) = self.status {
                    probe.status = (least, most);
                }
                Probe::Http(probe)
            }
        };
        check::Config {
            interval: self.every.0,
            timeout: self.timeout.0,
            healthy_after: u32::from(self.passes),
            unhealthy_after: u32::from(self.fails),
            ..check::Config::new(probe)
        }
    }
}

impl Ejection {
    fn check(&self, problems: &mut Problems) {
        check_order(&self.at, ("time", self.time), ("most_time", self.most_time), problems);
        if self.most.0 == 0 {
            let what = "no backend may ever be left out";
            problems.contradiction(self.at.key("most"), what, "write `eject = false` instead");
        }
    }
}

impl Breaker {
    fn check(&self, problems: &mut Problems) {
        let keys = ["requests", "pending", "connections"];
        if keys.iter().all(|key| self.at.written(key).is_none()) {
            let help = "write `requests`, `pending` or `connections`";
            problems.contradiction(self.at.table(), "the breaker has no limit", help);
        }
    }
}

/// Two durations of which one is at most the other.
fn check_order(
    at: &At,
    (least_key, least): (&str, Span),
    (most_key, most): (&str, Span),
    problems: &mut Problems,
) {
    if least.0.is_zero() {
        let what = format!("`{least_key}` is no time at all");
        problems.contradiction(at.key(least_key), &what, "write a duration such as `5s`");
    }
    if least.0 > most.0 {
        let key = if at.written(most_key).is_some() { most_key } else { least_key };
        let what = format!("`{least_key}` is {least}, which is more than `{most_key}`, {most}");
        problems.contradiction(at.key(key), &what, "raise the one, or lower the other");
    }
}

#[cfg(test)]
mod tests;
