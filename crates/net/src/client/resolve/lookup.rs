//! Look-ups for who keeps a list of servers by a name: every address, or every SRV record (RFC 2782), and for how long.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    proto::rr::{RData, RecordType},
};

use super::{NameError, Resolver, Source, name_error};

/// What was found under a name; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup<T> {
    /// In the order of the answer.
    pub records: Vec<T>,
    /// For how long it holds; `None` if its source does not say.
    pub ttl: Option<Duration>,
    /// The look-up of one family of addresses failed: there may be more.
    pub is_partial: bool,
}

/// An SRV record: one server of a service (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceServer {
    /// The smaller is asked first.
    pub priority: u16,
    /// The share among those of the same priority.
    pub weight: u16,
    /// The server's name, in lower case and without the last dot.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Resolver {
    /// All addresses of a name, of both families; at most 256.
    ///
    /// # Errors
    /// When there is none. A failure of one family is none: see [`Lookup::is_partial`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the look-up up.
    pub async fn addresses(&self, name: &str) -> Result<Lookup<IpAddr>, NameError> {
        let name = name.trim_end_matches('.');
        if let Some(fixed) = self.fixed.get(name) {
            return whole(fixed.clone(), None);
        }
        let (dns, with_library) = match &self.source {
            Source::System => return of_library(name).await,
            Source::Dns(dns, with_library) => (dns, *with_library),
        };
        let (v4, v6) =
            tokio::join!(family(dns, name, RecordType::A), family(dns, name, RecordType::AAAA));
        match merge(v4, v6) {
            // Only the C library knows the system's other sources.
            Err(error) if with_library && error != NameError::NoRecords => {
                of_library(name).await.map_err(|_| error)
            }
            answer => answer,
        }
    }

    /// The servers of a service, such as `_http._tcp.example.com`; at most 256.
    ///
    /// # Errors
    /// When there is none; [`NameError::NoRecords`] also when the name says that the service is not to be had.
    ///
    /// # Cancel safety
    /// Dropping the future gives the look-up up.
    pub async fn services(&self, name: &str) -> Result<Lookup<ServiceServer>, NameError> {
        let Source::Dns(dns, _) = &self.source else { return Err(NameError::NoRecords) };
        let lookup = dns.lookup(name, RecordType::SRV).await.map_err(name_error)?;
        let records = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => {
                let host = srv.target.to_ascii().trim_end_matches('.').to_ascii_lowercase();
                let (priority, weight, port) = (srv.priority, srv.weight, srv.port);
                // The root stands for "not at all".
                let is_one = !host.is_empty() && port != 0;
                is_one.then_some(ServiceServer { priority, weight, host, port })
            }
            _ => None,
        });
        let records = records.take(MOST_RECORDS).collect();
        whole(records, Some(lookup.valid_until()))
    }
}

pub(super) type Family = Result<(Vec<IpAddr>, Instant), NameError>;

async fn family(dns: &TokioResolver, name: &str, kind: RecordType) -> Family {
    let lookup = dns.lookup(name, kind).await.map_err(name_error)?;
    let addresses = lookup.answers().iter().filter_map(|record| record.data.ip_addr());
    Ok((addresses.take(MOST_RECORDS).collect(), lookup.valid_until()))
}

pub(super) fn merge(v4: Family, v6: Family) -> Result<Lookup<IpAddr>, NameError> {
    let is_known =
        |family: &Family| matches!(family, Ok(_) | Err(NameError::NoRecords | NameError::NotFound));
    let is_partial = !(is_known(&v4) && is_known(&v6));
    let (mut records, until) = match (v4, v6) {
        (Ok((mut v4, one)), Ok((v6, other))) => {
            v4.extend(v6);
            (v4, one.min(other))
        }
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => found,
        (Err(NameError::NoRecords), Err(error)) | (Err(error), Err(_)) => return Err(error),
    };
    records.truncate(MOST_RECORDS);
    whole(records, Some(until)).map(|lookup| Lookup { is_partial, ..lookup })
}

async fn of_library(name: &str) -> Result<Lookup<IpAddr>, NameError> {
    let found = tokio::net::lookup_host((name, 0)).await.map_err(|error| {
        tracing::debug!(%error, name, "the C library knows no address");
        NameError::NotFound
    })?;
    whole(found.map(|address| address.ip()).take(MOST_RECORDS).collect(), None)
}

fn whole<T>(records: Vec<T>, until: Option<Instant>) -> Result<Lookup<T>, NameError> {
    let ttl = until.map(|until| until.saturating_duration_since(Instant::now()));
    match records.is_empty() {
        true => Err(NameError::NoRecords),
        false => Ok(Lookup { records, ttl, is_partial: false }),
    }
}

/// Records that are taken of one answer.
const MOST_RECORDS: usize = 256;
