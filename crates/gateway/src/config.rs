//! The configuration: TOML for people, canonical JSON for programs, one typed model behind both.
//!
//! ```text
//! files ── include, ${…} ── Value: what is written, and where ── Model: what it means ── Built: what is served
//!              (load)            (value, expand)          (setting)                 (check, build)
//! ```
//! Reading never stops at a mistake: [`Problems`] has them all, each with its file, line and column. Nothing is opened
//! before [`Loaded::build`].
//!
//! To add a key: write the field with its documentation in the `section!` it belongs to; the schema and
//! `docs/configuration.md` follow. What needs two keys to be judged is in `check`.

use std::num::NonZeroUsize;
use std::path::Path;

mod access_log;
mod acme;
mod address;
mod admin;
mod build;
mod canary;
mod changes;
mod check;
mod clients;
mod expand;
mod listen;
mod load;
mod memory;
mod min_rate;
mod policies;
mod problem;
mod proxy;
mod quic;
mod server;
mod setting;
pub mod shape;
mod site;
mod tls;
mod units;
mod upstream;
mod value;

pub use self::access_log::{AccessLog, LogFormat, LogOptions};
pub use self::acme::{Acme, Challenge, LETS_ENCRYPT, not_orderable};
pub use self::address::{ClientField, Forwarded};
pub use self::admin::{Admin, AdminPlace, LogFilter, NotAFilter, NotAnAdminPlace};
pub use self::build::{Built, Certificate};
pub use self::canary::{By, Canary, CookieName, OfHundred};
pub use self::changes::Changes;
pub use self::expand::Environment;
pub use self::listen::{Listen, NotAPlace, PlainHttp, ResolveError};
pub use self::memory::{Memory, NotAMemory};
pub use self::min_rate::{MinRate, NotAMinRate};
pub use self::policies::{
    Algorithm, BasicAuth, Compress, Cors, CorsOptions, Country, Credential, ForwardAuth, InFlight,
    InFlightOptions, Jwt, Keep, Level, Mirror, MirrorOptions, Policies, Realm, RequestId,
    RewriteTo, StripPrefix, TraceContext, TypePattern, Url,
};
pub use self::problem::{Mistake, Place, Problems, Sources};
pub use self::proxy::{
    Backends, CertificateName, Proxy, Pseudonym, Reaching, ToldHost, UpstreamTimeouts, UpstreamTls,
};
pub use self::quic::{Congestion, Quic, QuicListener, Retry, ZeroRtt};
pub use self::server::{AltSvc, Limits, Timeouts};
pub use self::setting::{At, FilePath, Named, Setting, Several, Switch};
use self::setting::{json, section};
use self::shape::{Section, Shape};
pub use self::site::{
    Answer, Defaults, Edit, Elsewhere, Files, Redirect, Respond, Root, Route, Site, Version,
};
pub use self::tls::{Cipher, Exchange, Tls, TlsSettings, TlsVersion};
pub use self::units::{ByteSize, NotASize, NotASpan, Span};
pub use self::upstream::{
    Balance, Balancing, Breaker, CheckHost, CheckPath, Discovery, Eject, Ejection, Health,
    HealthCheck, HealthProtocol, Member, NotAMember, Percent, RetryBudget, Server, StatusRange,
};
pub use self::value::{Text, Value};
use crate::route::condition::Network;

section! {
    /// The keys of the file itself, before its first table.
    pub struct Model {
        /// More files, whose sites are added to those of this one: paths, or a `*` in a file name. Only the main file
        /// includes others; what is not a list stands in one file alone.
        pub include: Vec<Text>,
        /// Where to listen, with TCP and with UDP: a name or an address, and a port; `:443` is every address.
        pub listen: Vec<Listen> = vec![Listen::default()],
        /// Where plain HTTP is redirected to HTTPS, or `off`. Without it port 8080 beside 8443 and 80 beside 443, if it
        /// is free.
        pub http: Option<PlainHttp>,
        /// How many workers, each with a thread and sockets of its own. Without it one for each core.
        pub workers: Option<NonZeroUsize>,
        /// What this server calls itself in `Via`, and in `Proxy-Status` when it could not pass a request on.
        pub name: Pseudonym = Pseudonym::default(),
        /// Serves HTTP/3.
        pub http3: bool = true,
        /// The access log, a line for each request: `true`, `false`, or a table.
        pub access_log: AccessLog,
        /// The networks of the proxies whose word counts for who the client is, such as that of a load balancer. Without
        /// them, and for every other peer, the peer is the client. Only what they add to the field counts: it is read from
        /// its right end to the first address that is not theirs; when that cannot be read, the peer is the client.
        pub trusted_proxies: Option<Several<Network>>,
        /// The field that these proxies write: `x-forwarded-for` or `forwarded` (RFC 7239). The other is never read: they may
        /// pass it on as their client sent it.
        pub client_field: ClientField = ClientField::XForwardedFor,
        /// Peers that begin each TCP connection with the PROXY protocol, version 1 or 2, in front of TLS: then the client is
        /// whom it names. A connection from them without it is closed, and so is one over HTTP/3, which has none.
        pub proxy_protocol: Option<Several<Network>>,
        /// What the process itself logs on stderr: a level, or levels by target. `--log` and `RUST_LOG` have the last word.
        pub log: Option<LogFilter>,
        /// The interface for the operator.
        pub admin: Admin,
        /// Writes the secrets of every connection to this file, for a packet analyser: who reads it reads all traffic.
        /// `SSLKEYLOGFILE` has the last word.
        pub key_log: Option<FilePath>,
        /// Versions of TLS, cipher suites, key exchange.
        pub tls: TlsSettings,
        /// Responses tell what became of a request here: `x-early-data: accepted` where it was answered before the handshake
        /// was complete.
        pub debug_headers: bool = false,
        /// How clients on TCP learn of HTTP/3.
        pub alt_svc: AltSvc,
        /// What clients may use.
        pub limits: Limits,
        /// How long clients may take.
        pub timeouts: Timeouts,
        /// HTTP/3's transport.
        pub quic: Quic,
        /// Who issues certificates for sites with `acme = true`.
        pub acme: Option<Acme>,
        /// What every site has that does not say otherwise.
        pub defaults: Defaults,
        /// What is served, host by host.
        pub site: Vec<Site>,
    }
}

impl Model {
    /// As canonical JSON: every default filled in, `${…}` as it was written.
    pub fn to_json(&self) -> serde_json::Value {
        json(self)
    }

    /// What a file can say, as JSON Schema.
    pub fn schema() -> serde_json::Value {
        let mut schema = Self::shape().schema();
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
        schema["title"] = "Configuration of sterna".into();
        schema
    }

    /// The reference page, as Markdown.
    pub fn reference() -> String {
        match Self::shape() {
            Shape::Section(section) => Section::reference(&section, "", false),
            _ => String::new(),
        }
    }
}

/// What was read, with everything that is wrong with it so far.
#[derive(Clone, Debug)]
pub struct Loaded {
    model: Option<Model>,
    problems: Problems,
}

impl Loaded {
    /// Reads a file and those which it includes.
    pub fn of_file(path: &Path, environment: &Environment) -> Self {
        let mut problems = Problems::default();
        let value = load::file(path, environment, &mut problems);
        Self::of_value(&value, problems)
    }

    /// Reads a text, whose relative paths begin at the working directory and which includes nothing.
    pub fn of_text(name: &str, text: &str, environment: &Environment) -> Self {
        let mut problems = Problems::default();
        let source = problems.sources.add(name.into(), text.to_owned());
        let value = value::parse(source, text, environment, &mut problems);
        Self::of_value(&value, problems)
    }

    /// Reads canonical JSON. Its mistakes have no place.
    pub fn of_json(json: &serde_json::Value, environment: &Environment) -> Self {
        let mut problems = Problems::default();
        let value = Value::from_json(json, environment, &mut problems);
        Self::of_value(&value, problems)
    }

    fn of_value(value: &Value, mut problems: Problems) -> Self {
        let model = Model::read(value, &mut problems);
        if let Some(model) = &model {
            model.check(&mut problems);
        }
        Self { model, problems }
    }

    /// What it means, without opening what it names.
    ///
    /// # Errors
    /// All mistakes of all files.
    pub fn model(self) -> Result<Model, Problems> {
        match self.model {
            Some(model) if self.problems.is_empty() => Ok(model),
            _ => Err(self.problems),
        }
    }

    /// Opens the directories and certificates that it names.
    ///
    /// # Errors
    /// All mistakes of all files, with what could not be opened.
    pub fn build(mut self) -> Result<Built, Problems> {
        let built = self.model.take().and_then(|model| model.build(&mut self.problems));
        match built {
            Some(built) if self.problems.is_empty() => Ok(built),
            _ => Err(self.problems),
        }
    }

    /// The files that were read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.problems.sources.paths()
    }
}

#[cfg(test)]
mod tests;
