//! Names: addresses (A, AAAA) and HTTPS records (RFC 9460).
//!
//! [`Resolver`] asks the system's name servers, looks into the hosts file first, and asks the C library about names that
//! DNS does not have, for it may know other sources. A race asks through [`Resolve`], one question at a time.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, RecordType},
};

pub use self::lookup::{Lookup, ServiceServer};
#[cfg(test)]
pub(crate) use self::record::Service;
pub(crate) use self::record::ServiceRecord;

mod lookup;
mod record;

/// What a race asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Question {
    pub(crate) name: String,
    pub(crate) kind: RecordKind,
}

/// A kind of DNS record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordKind {
    /// Where and how else the service is offered (RFC 9460).
    Https,
    /// IPv6 addresses.
    Aaaa,
    /// IPv4 addresses.
    A,
}

/// What was found; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Addresses(Vec<IpAddr>),
    Services(Vec<ServiceRecord>),
}

/// Why a name gives nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no such name.
    #[error("there is no such name")]
    NotFound,
    /// The name exists without a record of this kind.
    #[error("the name has no such record")]
    NoRecords,
    /// No server has answered in time.
    #[error("no name server answered in time")]
    TimedOut,
    /// The server cannot or will not answer, by its response code or in its own way.
    #[error("the name cannot be looked up: {0}")]
    Failed(String),
}

/// Answers the questions of a race.
pub(crate) trait Resolve: Clone + Send + Sync + 'static {
    /// Looks one kind of record up.
    fn resolve(
        &self,
        question: Question,
    ) -> impl Future<Output = Result<Found, NameError>> + Send + 'static;
}

/// Where names are looked up. A cheap handle; its answers are kept for as long as they hold.
#[derive(Clone)]
pub struct Resolver {
    source: Source,
    fixed: Arc<BTreeMap<String, Vec<IpAddr>>>,
}

#[derive(Clone)]
enum Source {
    /// The C library: hosts file, DNS and whatever else the system is set up for, but no HTTPS records.
    System,
    /// Name servers; with the C library for what they do not know, if true.
    Dns(Box<TokioResolver>, bool),
}

impl Resolver {
    /// The system's name servers, and its C library for names that they do not have; the C library alone where no name
    /// server is set up.
    pub fn system() -> Self {
        let dns = TokioResolver::builder_tokio().and_then(|builder| builder.build());
        let source = match dns {
            Ok(dns) => Source::Dns(Box::new(dns), true),
            Err(error) => {
                tracing::debug!(%error, "no name server is set up, so there are no HTTPS records");
                Source::System
            }
        };
        Self { source, fixed: Arc::default() }
    }

    /// The C library alone: no HTTPS records.
    pub fn library() -> Self {
        Self { source: Source::System, fixed: Arc::default() }
    }

    /// One name server and nothing else: no hosts file, no search list. `timeout` is for each of two tries.
    ///
    /// # Errors
    /// When no resolver can be made of it.
    pub fn server(address: SocketAddr, timeout: Duration) -> Result<Self, NameError> {
        let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        for connection in &mut connections {
            connection.port = address.port();
        }
        let server = NameServerConfig::new(address.ip(), true, connections.into());
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        builder.options_mut().timeout = timeout;
        builder.options_mut().attempts = 1;
        builder.options_mut().use_hosts_file = hickory_resolver::config::ResolveHosts::Never;
        let dns = builder.build().map_err(|error| NameError::Failed(error.to_string()))?;
        Ok(Self { source: Source::Dns(Box::new(dns), false), fixed: Arc::default() })
    }

    /// Gives `name` these addresses and no HTTPS record, without asking anyone.
    #[must_use]
    pub fn with_addresses(mut self, name: &str, addresses: Vec<IpAddr>) -> Self {
        let fixed = Arc::make_mut(&mut self.fixed);
        fixed.insert(name.trim_end_matches('.').to_ascii_lowercase(), addresses);
        self
    }

    async fn find(self, question: Question) -> Result<Found, NameError> {
        let name = question.name.trim_end_matches('.');
        if let Some(addresses) = self.fixed.get(name) {
            return of_kind(addresses.iter().copied(), question.kind);
        }
        match (&self.source, question.kind) {
            (Source::System, RecordKind::Https) => Err(NameError::NoRecords),
            (Source::System, RecordKind::Aaaa | RecordKind::A) => library(question).await,
            (Source::Dns(dns, _), RecordKind::Https) => services(dns, &question.name).await,
            (Source::Dns(dns, with_library), RecordKind::Aaaa | RecordKind::A) => {
                match addresses(dns, &question).await {
                    Err(error) if *with_library && error != NameError::NoRecords => {
                        library(question).await.map_err(|_| error)
                    }
                    answer => answer,
                }
            }
        }
    }
}

impl Resolve for Resolver {
    fn resolve(
        &self,
        question: Question,
    ) -> impl Future<Output = Result<Found, NameError>> + Send + 'static {
        self.clone().find(question)
    }
}

/// Asks the C library, on a thread for blocking work.
async fn library(question: Question) -> Result<Found, NameError> {
    let found = tokio::net::lookup_host((question.name.as_str(), 0)).await;
    // It tells in words of its own, and differently on each system, why it has found nothing.
    let found = found.map_err(|error| {
        tracing::debug!(%error, name = question.name, "the C library knows no address");
        NameError::NotFound
    })?;
    of_kind(found.map(|address| address.ip()), question.kind)
}

async fn addresses(dns: &TokioResolver, question: &Question) -> Result<Found, NameError> {
    let kind = match question.kind {
        RecordKind::Aaaa => RecordType::AAAA,
        RecordKind::A | RecordKind::Https => RecordType::A,
    };
    let lookup = dns.lookup(question.name.as_str(), kind).await.map_err(name_error)?;
    let addresses = lookup.answers().iter().filter_map(|record| record.data.ip_addr());
    of_kind(addresses, question.kind)
}

async fn services(dns: &TokioResolver, name: &str) -> Result<Found, NameError> {
    let lookup = dns.lookup(name, RecordType::HTTPS).await.map_err(name_error)?;
    let records = lookup.answers().iter().filter_map(|record| match &record.data {
        RData::HTTPS(https) => Some(ServiceRecord::parse(https, &record.name)),
        _ => None,
    });
    // req: 9460-2.2-one-malformed-spoils-all
    let records: Option<Vec<_>> = records.take(MOST_RECORDS).collect();
    let records =
        records.ok_or_else(|| NameError::Failed("an HTTPS record is malformed".into()))?;
    if records.is_empty() { Err(NameError::NoRecords) } else { Ok(Found::Services(records)) }
}

/// The addresses of one family.
fn of_kind(addresses: impl Iterator<Item = IpAddr>, kind: RecordKind) -> Result<Found, NameError> {
    let is_wanted = |address: &IpAddr| match kind {
        RecordKind::Aaaa => address.is_ipv6(),
        RecordKind::A => address.is_ipv4(),
        RecordKind::Https => false,
    };
    let addresses: Vec<_> = addresses.filter(is_wanted).take(MOST_ADDRESSES).collect();
    if addresses.is_empty() { Err(NameError::NoRecords) } else { Ok(Found::Addresses(addresses)) }
}

fn name_error(error: NetError) -> NameError {
    match error {
        error if error.is_nx_domain() => NameError::NotFound,
        error if error.is_no_records_found() => NameError::NoRecords,
        NetError::Timeout => NameError::TimedOut,
        error => NameError::Failed(error.to_string()),
    }
}

impl RecordKind {
    /// As DNS writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "HTTPS",
            Self::Aaaa => "AAAA",
            Self::A => "A",
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            Source::System => "system",
            Source::Dns(..) => "dns",
        };
        f.debug_struct("Resolver").field("source", &source).field("fixed", &self.fixed).finish()
    }
}

/// Addresses that are taken of one answer.
pub(crate) const MOST_ADDRESSES: usize = 16;

/// HTTPS records that are taken of one answer.
pub(crate) const MOST_RECORDS: usize = 16;

#[cfg(test)]
pub(crate) mod tests;
