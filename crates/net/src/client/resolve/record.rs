//! One HTTPS record (RFC 9460), as a race uses it.

use std::net::IpAddr;

use hickory_resolver::proto::rr::{
    Name,
    rdata::{
        HTTPS,
        svcb::{SvcParamKey, SvcParamValue},
    },
};

/// Where and how a service is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServiceRecord {
    /// Everything is said at another name; `None`: the service does not exist.
    Alias { target: Option<String> },
    /// One way to the service.
    Service(Service),
}

/// One way to a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    /// Smaller ones are preferred; never 0.
    pub(crate) priority: u16,
    /// Whose addresses serve it.
    pub(crate) target: String,
    /// The port, if it is not the origin's.
    pub(crate) port: Option<u16>,
    /// It speaks HTTP/3.
    pub(crate) h3: bool,
    /// It speaks HTTP/2.
    pub(crate) h2: bool,
    /// It speaks HTTP/1.1, which is so unless it is said otherwise.
    pub(crate) h1: bool,
    /// Addresses for as long as the target's own are not known.
    pub(crate) hints: Vec<IpAddr>,
    /// It has keys for Encrypted Client Hello, which we do not use.
    pub(crate) ech: bool,
    /// It wants something of its clients that we do not have.
    pub(crate) incompatible: bool,
}

impl ServiceRecord {
    /// Reads a record whose owner, after all CNAMEs, is `owner`; `None` if it contradicts itself.
    pub(super) fn parse(record: &HTTPS, owner: &Name) -> Option<Self> {
        let is_root = record.target_name.is_root();
        if record.svc_priority == 0 {
            // Parameters of an alias say nothing (RFC 9460 §2.4.2).
            let target = (!is_root).then(|| text(&record.target_name));
            return Some(Self::Alias { target });
        }
        // req: 9460-2.5.2-owner-is-target
        let target = text(if is_root { owner } else { &record.target_name });
        let mut service = Service { priority: record.svc_priority, target, ..Service::default() };
        let mut alpn: Option<&[String]> = None;
        let mut no_default = false;
        for (_, value) in &record.svc_params {
            match value {
                SvcParamValue::Alpn(protocols) => alpn = Some(&protocols.0),
                SvcParamValue::NoDefaultAlpn => no_default = true,
                SvcParamValue::Port(0) => return None,
                SvcParamValue::Port(port) => service.port = Some(*port),
                SvcParamValue::Ipv4Hint(hints) => {
                    let hints = hints.0.iter().take(MOST_HINTS);
                    service.hints.extend(hints.map(|address| IpAddr::from(address.0)));
                }
                SvcParamValue::Ipv6Hint(hints) => {
                    let hints = hints.0.iter().take(MOST_HINTS);
                    service.hints.extend(hints.map(|address| IpAddr::from(address.0)));
                }
                SvcParamValue::EchConfigList(_) => service.ech = true,
                SvcParamValue::Mandatory(keys) => {
                    // req: 9460-8-unknown-mandatory
                    service.incompatible |= !keys.0.iter().all(is_understood);
                }
                SvcParamValue::Unknown(_) => {}
            }
        }
        let names = |name: &str| alpn.is_some_and(|alpn| alpn.iter().any(|said| said == name));
        (service.h3, service.h2) = (names("h3"), names("h2"));
        // req: 9460-7.1.2-default-alpn
        service.h1 = !no_default || names("http/1.1");
        // req: 9460-7.1.1-no-default-needs-alpn
        if no_default && alpn.is_none() {
            return None;
        }
        Some(Self::Service(service))
    }
}

/// The keys whose meaning is obeyed here.
fn is_understood(key: &SvcParamKey) -> bool {
    matches!(
        key,
        SvcParamKey::Mandatory
            | SvcParamKey::Alpn
            | SvcParamKey::NoDefaultAlpn
            | SvcParamKey::Port
            | SvcParamKey::Ipv4Hint
            | SvcParamKey::Ipv6Hint
    )
}

/// Without the final dot, in lower case.
fn text(name: &Name) -> String {
    let name = name.to_lowercase().to_ascii();
    name.strip_suffix('.').unwrap_or(&name).to_owned()
}

/// Addresses of each family that are taken of one record.
const MOST_HINTS: usize = 8;
