//! Passing requests on: backends, and how they are reached.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use serde::Serialize;

use super::address::Forwarded;
use super::problem::Problems;
use super::setting::{FilePath, Setting, Several, section, type_mistake, word};
use super::shape::Shape;
use super::units::Span;
use super::upstream::{Around, Member};
use super::value::{Kind, Value};
use crate::handler::proxy::{self, Pool, Reach, Timeouts, Trust};

section! {
    /// Where requests are passed on to, where addresses alone are not enough.
    pub struct Backends {
        /// The backends: `host:port` is plain HTTP/1.1, `h2c://` HTTP/2 without TLS, `https://` HTTP/2 or HTTP/1.1, `h3://`
        /// HTTP/3 or what there is instead, `unix:/path` a socket, and `unix+h2c:/path` one that speaks HTTP/2. `dns:` before
        /// an address makes a backend of each address behind its name, `srv:` before the name of a service one of each SRV
        /// record. `weight=3` and `backup` may follow.
        pub to: Several<Member>,
        /// Which host a backend is told: that of the `client`'s request, that of its own address (`backend`), or this one.
        pub host: ToldHost = ToldHost::Client,
        /// How often a request may be sent again: only what the backend did not process, or what does no harm twice, such
        /// as a GET.
        pub retries: usize = 1,
        /// How long one attempt may take until its response begins, where another may follow.
        pub try_timeout: Option<Span>,
        /// Passes on fields that have an underscore in their names. Many programs take `x_a` for `x-a`, and so for a field
        /// that was meant to come from this server.
        pub underscores: bool = false,
    }
}

section! {
    /// How backends are reached.
    pub struct Reaching {
        /// TLS to backends with `https://` or `h3://`.
        pub upstream_tls: Option<UpstreamTls>,
        /// How long backends may take.
        pub upstream_timeouts: Option<UpstreamTimeouts>,
        /// Connections to backends that are kept while nobody uses them.
        pub upstream_pool: Option<UpstreamPool>,
        /// In which fields backends are told of the client, `x-forwarded` without a word. What clients say of themselves in any
        /// of these is taken out, also with `off`.
        pub forwarded: Option<Forwarded>,
    }
}

section! {
    /// TLS to backends, as in `upstream_tls = { ca = "internal.pem" }`.
    pub struct UpstreamTls {
        /// The authorities whose certificates are good, PEM, and no others. Without it those that the system trusts.
        pub ca: Option<FilePath>,
        /// What the certificate has to name, and SNI. Without it the host of the address.
        pub name: Option<CertificateName>,
        /// Whether certificates are looked at. Without that anyone on the way can read and change everything.
        pub verify: bool = true,
        /// A certificate chain, PEM, leaf first, that is shown to backends that ask for it.
        pub cert: Option<FilePath>,
        /// Its private key, PEM.
        pub key: Option<FilePath>,
    }
}

section! {
    /// How long backends may take; what is late is answered with 504.
    pub struct UpstreamTimeouts {
        /// Each step to a connection: the name, TCP or QUIC, TLS.
        pub connect: Span = Span(Duration::from_secs(5)),
        /// From the connection, or the last piece of the request, to the head of the response.
        pub first_byte: Span = Span(Duration::from_secs(60)),
        /// Each pause in the content of the response while the client waits for it.
        pub idle: Span = Span(Duration::from_secs(300)),
        /// The whole, to the last byte of the response. Without it there is no such limit.
        pub total: Option<Span>,
    }
}

section! {
    /// Connections to backends that are kept, as in `upstream_pool = { warm_up = 4 }`. All numbers are those of one worker
    /// and one backend.
    pub struct UpstreamPool {
        /// How many there are before requests need them: after the start, for a backend that is new or back, and in place of
        /// those that end. Requests share one that speaks HTTP/2 or HTTP/3, so there is one of those.
        pub warm_up: u16 = 0,
        /// How many may be idle.
        pub idle: u16 = 128,
        /// How long one may be idle. Less than the backend allows, or requests meet connections that it has just closed.
        pub idle_timeout: Span = Span(Duration::from_secs(50)),
    }
}

/// Where requests are passed on to: an address, a list of them, or a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Proxy(pub Backends);

impl Setting for Proxy {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match &value.kind {
            Kind::Table(_) => Backends::read(value, problems).map(Self),
            Kind::Text(_) | Kind::List(_) => {
                let to = Several::read(value, problems)?;
                let (try_timeout, at) = Default::default();
                let (host, retries, underscores) = (ToldHost::Client, 1, false);
                Some(Self(Backends { to, host, retries, try_timeout, underscores, at }))
            }
            _ => type_mistake(value, "an address, a list of them or a table", problems),
        }
    }

    fn shape() -> Shape {
        Shape::Either(vec![Several::<Member>::shape(), Backends::shape()])
    }
}

impl Proxy {
    /// The handler's configuration. What cannot be read is added to `problems`.
    pub(super) fn build(
        &self,
        name: &Pseudonym,
        reaching: &Reaching,
        around: Around<'_>,
        problems: &mut Problems,
    ) -> Option<proxy::Config> {
        let Self(backends) = self;
        let trust = reaching.upstream_tls.as_ref().map(UpstreamTls::build).unwrap_or_default();
        let timeouts = reaching.upstream_timeouts.as_ref();
        let timeouts = timeouts.map(UpstreamTimeouts::build).unwrap_or_default();
        let place = || reaching.at.key("upstream_tls");
        let pool = reaching.upstream_pool.as_ref().map(UpstreamPool::build).unwrap_or_default();
        let mut upstream = around.build(&backends.to.0);
        let reach = Reach::new(trust, timeouts, pool, &upstream);
        let reach = reach.map_err(|error| problems.add(place(), super::build::unusable(&error)));
        let reach = reach.ok()?;
        if let Some(check) = &mut upstream.check {
            check.asker = reach.asker();
        }
        Some(proxy::Config {
            upstream,
            reach,
            name: Arc::from(&*name.0),
            host: match &backends.host {
                ToldHost::Client => proxy::ToldHost::Client,
                ToldHost::Backend => proxy::ToldHost::Backend,
                ToldHost::Fixed(host) => proxy::ToldHost::Fixed(host.clone()),
            },
            retries: u32::try_from(backends.retries).unwrap_or(u32::MAX),
            try_timeout: backends.try_timeout.map(|span| span.0),
            underscores: backends.underscores,
            forwarded: reaching.forwarded.map(Forwarded::style).unwrap_or_default(),
        })
    }
}

impl Reaching {
    /// The files that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let files = self.upstream_tls.iter().flat_map(|tls| [&tls.ca, &tls.cert, &tls.key]);
        files.flatten().map(|file| file.0.clone())
    }

    /// What makes no sense beside these backends, or without any.
    pub(super) fn check(&self, proxy: Option<&Proxy>, problems: &mut Problems) {
        let Some(Proxy(backends)) = proxy else {
            for key in ["upstream_tls", "upstream_timeouts", "upstream_pool", "forwarded"] {
                if let Some(place) = self.at.written(key) {
                    let what = format!("`{key}` is for backends, and there are none");
                    problems.contradiction(
                        place,
                        &what,
                        "leave it out, or write a `proxy` beside it",
                    );
                }
            }
            return;
        };
        if let Some(pool) = &self.upstream_pool {
            pool.check(problems);
        }
        let Some(tls) = &self.upstream_tls else { return };
        if !backends.to.0.iter().any(|member| member.0.source.scheme().has_tls()) {
            let what = "no backend is reached over TLS";
            let hint = "leave it out, or begin an address with `https://` or `h3://`";
            problems.contradiction(self.at.key("upstream_tls"), what, hint);
        }
        tls.check(problems);
    }
}

impl UpstreamTls {
    fn check(&self, problems: &mut Problems) {
        for (one, other) in [("cert", "key"), ("key", "cert")] {
            if let (Some(place), None) = (self.at.written(one), self.at.written(other)) {
                let what = format!("there is a `{one}` without a `{other}`");
                problems.contradiction(place, &what, "write both, or none");
            }
        }
        if let (Some(place), false) = (self.at.written("ca"), self.verify) {
            let what = "`verify = false` trusts everybody, whatever the authorities say";
            problems.contradiction(place, what, "leave one of them out");
        }
    }

    fn build(&self) -> Trust {
        let path = |file: &FilePath| file.0.clone();
        Trust {
            authorities: self.ca.as_ref().map(path),
            server_name: self.name.as_ref().map(|name| name.0.clone()),
            verify: self.verify,
            identity: self.cert.as_ref().map(path).zip(self.key.as_ref().map(path)),
        }
    }
}

impl UpstreamPool {
    fn check(&self, problems: &mut Problems) {
        if self.warm_up > self.idle {
            let Self { warm_up, idle, .. } = self;
            let what = format!("{warm_up} connections are to wait, and {idle} may");
            let place = self.at.written("idle").unwrap_or_else(|| self.at.key("warm_up"));
            problems.contradiction(place, &what, "raise `idle`, or lower `warm_up`");
        }
        if self.idle_timeout.0.is_zero() {
            let what = "`idle_timeout` is no time at all";
            let help = "write a duration such as `50s`, or `idle = 0` to keep none";
            problems.contradiction(self.at.key("idle_timeout"), what, help);
        }
    }

    fn build(&self) -> Pool {
        Pool {
            warm_up: self.warm_up.into(),
            idle: self.idle.into(),
            idle_timeout: self.idle_timeout.0,
        }
    }
}

impl UpstreamTimeouts {
    fn build(&self) -> Timeouts {
        let Self { connect, first_byte, idle, total, at: _ } = self;
        let total = total.map(|span| span.0);
        Timeouts { connect: connect.0, first_byte: first_byte.0, idle: idle.0, total }
    }
}

/// Which host a backend is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToldHost {
    /// That of the request.
    Client,
    /// That of its own address.
    Backend,
    /// This one.
    Fixed(Authority),
}

impl FromStr for ToldHost {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let no_host = "is no host: write `client`, `backend`, or a name with or without a port";
        match text {
            "client" => Ok(Self::Client),
            "backend" => Ok(Self::Backend),
            _ if text.contains('@') => Err(no_host),
            _ => text.parse().map(Self::Fixed).map_err(|_| no_host),
        }
    }
}

impl fmt::Display for ToldHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Backend => "backend",
            Self::Fixed(host) => host.as_str(),
        })
    }
}

/// What a certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateName(pub String);

impl FromStr for CertificateName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match sterna_net::client::Host::parse(text) {
            Ok(_) if !text.starts_with('[') => Ok(Self(text.to_owned())),
            _ => Err("is no name or address that a certificate could have"),
        }
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What this server calls itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pseudonym(pub String);

impl Default for Pseudonym {
    fn default() -> Self {
        Self("sterna".to_owned())
    }
}

impl FromStr for Pseudonym {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic());
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        match begins_well && text.bytes().all(is_plain) {
            true => Ok(Self(text.to_owned())),
            false => Err(
                "is no name such as `sterna` or `edge-1.example`: letters, digits, `-._`, and a letter first",
            ),
        }
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

word!(ToldHost, "host", ["client", "backend", "app.example"]);
word!(CertificateName, "name", ["app.internal"]);
word!(Pseudonym, "name", ["sterna", "edge-1.example"]);
