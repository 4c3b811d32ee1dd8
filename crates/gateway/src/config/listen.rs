//! Where to listen: from what people write to addresses.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::str::FromStr;

use super::setting::word;

/// A place to listen, as written: `localhost:8443`, `192.0.2.1:443`, `[::1]:443`, `:443` for every
/// address, or any name and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// The loopback addresses of both families.
    Localhost,
    /// Every address of both families.
    Every,
    Address(IpAddr),
    Name(String),
}

impl Listen {
    /// The addresses. IPv6 is left out on a machine without it.
    ///
    /// # Errors
    /// When a name has no address.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, ResolveError> {
        let localhost = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let addresses: Vec<IpAddr> = match &self.host {
            Host::Localhost if has_ipv6() => localhost.to_vec(),
            Host::Localhost => localhost[..1].to_vec(),
            // A socket on the unspecified address of IPv6 is that of IPv4 too.
            Host::Every if has_ipv6() => vec![Ipv6Addr::UNSPECIFIED.into()],
            Host::Every => vec![Ipv4Addr::UNSPECIFIED.into()],
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                let resolved = (name.as_str(), self.port).to_socket_addrs();
                let refused = |source| ResolveError { name: name.clone(), source };
                resolved.map_err(refused)?.map(|address| address.ip()).collect()
            }
        };
        Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, self.port)).collect())
    }

    /// Whether nobody but this machine reaches it.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Localhost => true,
            Host::Every | Host::Name(_) => false,
            Host::Address(address) => address.is_loopback(),
        }
    }

    /// The name or address that a client on this machine would write.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Localhost | Host::Every => "localhost".to_owned(),
            Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
            Host::Address(IpAddr::V4(address)) => address.to_string(),
            Host::Name(name) => name.clone(),
        }
    }

    /// The port, as written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What a certificate for this place must name.
    pub fn certificate_name(&self) -> Option<String> {
        match &self.host {
            Host::Localhost | Host::Every => None,
            Host::Address(address) => (!address.is_unspecified()).then(|| address.to_string()),
            Host::Name(name) => Some(name.clone()),
        }
    }
}

/// `localhost:8443`.
impl Default for Listen {
    fn default() -> Self {
        Self { host: Host::Localhost, port: 8443 }
    }
}

impl FromStr for Listen {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        if let Ok(address) = SocketAddr::from_str(text) {
            return Ok(Self { host: Host::Address(address.ip()), port: address.port() });
        }
        let (host, port) = text.rsplit_once(':').ok_or(NotAPlace)?;
        let port = port.parse().map_err(|_| NotAPlace)?;
        let host = match host {
            "" => Host::Every,
            "localhost" => Host::Localhost,
            name if is_name(name) => Host::Name(name.to_owned()),
            _ => return Err(NotAPlace),
        };
        Ok(Self { host, port })
    }
}

/// Why a text is no place to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no place to listen: write an address and a port, such as `localhost:8443`, `127.0.0.1:8443`, `[::1]:8443` or `:8443`"
)]
pub struct NotAPlace;

/// Where plain HTTP is redirected to HTTPS: a place, or `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlainHttp {
    /// No plain HTTP.
    Off,
    /// Here, or not at all.
    At(Listen),
}

impl FromStr for PlainHttp {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        if text == "off" { Ok(Self::Off) } else { text.parse().map(Self::At) }
    }
}

impl fmt::Display for PlainHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(listen) => listen.fmt(f),
        }
    }
}

word!(PlainHttp, "place", ["off", ":80", "localhost:8080"]);
word!(Listen, "place", ["localhost:8443", ":443", "192.0.2.1:443", "[::1]:8443"]);

/// A name that the resolver does not know.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {name}: the name has no address here; write an address instead")]
pub struct ResolveError {
    name: String,
    source: io::Error,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host == Host::Every { String::new() } else { self.host() };
        write!(f, "{host}:{}", self.port)
    }
}

fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    // What ends in digits was meant as an address, and is none.
    let is_address = name.rsplit('.').next().is_some_and(|last| last.parse::<u64>().is_ok());
    !is_address && name.split('.').all(is_label)
}

/// Whether this machine has the IPv6 loopback address.
fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Result<Listen, NotAPlace> {
        text.parse()
    }

    #[test]
    fn places_are_read_as_people_write_them() {
        let table = [
            ("localhost:8443", Host::Localhost, 8443),
            (":443", Host::Every, 443),
            ("127.0.0.1:0", Host::Address(Ipv4Addr::LOCALHOST.into()), 0),
            ("[::1]:65535", Host::Address(Ipv6Addr::LOCALHOST.into()), 65535),
            ("example.com:443", Host::Name("example.com".into()), 443),
        ];
        for (text, host, port) in table {
            assert_eq!(place(text), Ok(Listen { host, port }), "{text}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "",
            "8443",
            "localhost",
            "localhost:",
            "localhost:65536",
            "::1:443",
            "1.2.3:80",
            "1.2.3.4.5:80",
            "a b:80",
            "https://a:80",
        ] {
            assert_eq!(place(text), Err(NotAPlace), "{text}");
        }
    }

    #[test]
    fn localhost_is_the_loopback_of_both_families() {
        let addresses =
            place("localhost:8443").and_then(|place| place.resolve().map_err(|_| NotAPlace));
        let addresses = addresses.expect("resolved");
        assert_eq!(addresses[0], SocketAddr::from((Ipv4Addr::LOCALHOST, 8443)));
        assert_eq!(addresses.len(), 1 + usize::from(has_ipv6()));
        assert!(addresses.iter().all(|address| address.ip().is_loopback()));
    }
}
