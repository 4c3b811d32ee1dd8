//! A backend as it is written: where it is found, its weight, whether it is a backup.

use std::fmt;
use std::str::FromStr;

use crate::config::setting::word;
use crate::handler::proxy::NotAnAddress;
use crate::upstream::{self, Address, Place, Scheme, Source};

/// A backend, such as `10.0.0.1:8080 weight=3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member(pub upstream::Member);

/// Why a text is no backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAMember {
    /// It is no address.
    #[error(transparent)]
    Address(#[from] NotAnAddress),
    /// Something follows the address.
    #[error("has `{0}` after the address: only `weight=N` and `backup` can follow it")]
    Word(String),
    /// A weight that is none.
    #[error("has a weight that is not a number from 1 to 65535")]
    Weight,
    /// What is said of SRV records is said by them.
    #[error("has a weight, which SRV records have themselves: leave it out")]
    WeightOfServices,
    /// What stands behind `dns:` has no name.
    #[error("is looked up, but has an address and no name: leave `dns:` out")]
    NoName,
    /// What stands behind `srv:` is no such name.
    #[error("names no service: write a name such as `srv:_http._tcp.example.com`")]
    Services,
}

impl FromStr for Member {
    type Err = NotAMember;

    /// `ADDRESS`, `dns:ADDRESS`, `srv:NAME` or `srv:SCHEME://NAME`, then `weight=N` and `backup`.
    fn from_str(text: &str) -> Result<Self, NotAMember> {
        let mut words = text.split_ascii_whitespace();
        let source = source(words.next().unwrap_or_default())?;
        let mut member = upstream::Member { source, weight: 1, is_backup: false };
        for word in words {
            match word.split_once('=') {
                None if word == "backup" => member.is_backup = true,
                Some(("weight", _)) if matches!(member.source, Source::Services { .. }) => {
                    return Err(NotAMember::WeightOfServices);
                }
                Some(("weight", weight)) => {
                    let weight = weight.parse::<u16>().ok().filter(|weight| *weight > 0);
                    member.weight = weight.map(u32::from).ok_or(NotAMember::Weight)?;
                }
                _ => return Err(NotAMember::Word(word.to_owned())),
            }
        }
        Ok(Self(member))
    }
}

fn source(text: &str) -> Result<Source, NotAMember> {
    if let Some(name) = text.strip_prefix("srv:") {
        return services(name);
    }
    let Some(address) = text.strip_prefix("dns:") else { return Ok(Source::Fixed(text.parse()?)) };
    let address: Address = address.parse()?;
    match &address.place {
        Place::Net { host, .. } if host.parse::<std::net::IpAddr>().is_err() => {
            Ok(Source::Names(address))
        }
        Place::Net { .. } | Place::Unix(_) => Err(NotAMember::NoName),
    }
}

/// Without a scheme the name of the service says it.
fn services(text: &str) -> Result<Source, NotAMember> {
    let (scheme, name) = match text.split_once("://") {
        Some((scheme, name)) => (Some(scheme), name),
        None => (None, text),
    };
    let scheme = match scheme {
        Some("http") => Scheme::Http,
        Some("h2c") => Scheme::H2c,
        Some("https") => Scheme::Https,
        Some("h3") => Scheme::H3,
        Some(other) => return Err(NotAnAddress::Scheme(other.to_owned()).into()),
        None if name.starts_with("_https.") => Scheme::Https,
        None => Scheme::Http,
    };
    let is_label = |label: &str| {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(is_of_name)
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_name = name.len() <= 253 && name.contains('.') && name.split('.').all(is_label);
    if is_name { Ok(Source::Services { scheme, name }) } else { Err(NotAMember::Services) }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.source.fmt(f)?;
        if self.0.weight != 1 {
            write!(f, " weight={}", self.0.weight)?;
        }
        if self.0.is_backup { f.write_str(" backup") } else { Ok(()) }
    }
}

word!(
    Member,
    "backend",
    ["localhost:8080", "https://app.example weight=3", "unix:/run/app.sock backup"]
);

impl Member {
    /// The address, unless records have it.
    pub(super) fn address(&self) -> Option<&Address> {
        match &self.0.source {
            Source::Fixed(address) | Source::Names(address) => Some(address),
            Source::Services { .. } => None,
        }
    }
}
