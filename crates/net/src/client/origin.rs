//! Whom a request is for: scheme, host and port (RFC 6454), as connections, memory and Alt-Svc are kept by.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Scheme, host and port of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    scheme: Scheme,
    host: Host,
    port: u16,
}

/// How a URL is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// In the clear, over TCP alone.
    Http,
    /// With TLS, over TCP or QUIC.
    Https,
}

/// The name or the address in a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A name, in lower case.
    Name(String),
    /// An address, which is not asked for.
    Ip(IpAddr),
}

/// Why a URL has no origin that can be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// It is a path, or a scheme alone.
    #[error("the URL names no host; write it as https://host/path")]
    NoHost,
    /// It is neither `http` nor `https`.
    #[error("the scheme is `{0}`; only http and https can be fetched")]
    Scheme(String),
    /// It begins with a name or a password.
    #[error("the URL has a user name or a password before the host; send them in a field instead")]
    UserInfo,
    /// What stands for the host is neither a name nor an address.
    #[error("`{0}` is neither a host name nor an address")]
    Host(String),
    /// The port is not a number from 1 to 65535.
    #[error("`{0}` is not a port")]
    Port(String),
}

impl Origin {
    /// The origin of a URL.
    ///
    /// # Errors
    /// When it has no host, another scheme than `http` and `https`, or user information.
    pub fn of(uri: &http::Uri) -> Result<Self, OriginError> {
        let authority = uri.authority().ok_or(OriginError::NoHost)?;
        let scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            other => return Err(OriginError::Scheme(other.unwrap_or_default().to_owned())),
        };
        if authority.as_str().contains('@') {
            return Err(OriginError::UserInfo);
        }
        let host = Host::parse(authority.host())?;
        let port = match (authority.port(), authority.port_u16()) {
            (None, _) if authority.as_str().ends_with(':') => scheme.default_port(),
            (None, _) => {
                let rest = authority.as_str().get(authority.host().len()..).unwrap_or_default();
                match rest.strip_prefix(':') {
                    Some(port) => return Err(OriginError::Port(port.to_owned())),
                    None => scheme.default_port(),
                }
            }
            (Some(_), Some(port)) if port > 0 => port,
            (Some(port), _) => return Err(OriginError::Port(port.as_str().to_owned())),
        };
        Ok(Self { scheme, host, port })
    }

    /// An origin from its parts.
    pub fn new(scheme: Scheme, host: Host, port: u16) -> Self {
        Self { scheme, host, port }
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, the scheme's own if the URL names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as a `host` field has them.
    pub(crate) fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// What a certificate has to name, and what goes into SNI if it is a name.
    pub(crate) fn server_name(&self) -> String {
        self.host.bare()
    }
}

impl Scheme {
    /// 80 or 443.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Host {
    /// A name or an address, the latter with or without brackets.
    ///
    /// # Errors
    /// When it is neither, or longer than a name may be.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let bad = || OriginError::Host(text.to_owned());
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or_else(bad)?;
            return inner.parse::<Ipv6Addr>().map(|ip| Self::Ip(ip.into())).map_err(|_| bad());
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(ip));
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let fits = !text.is_empty() && text.len() <= LONGEST_NAME && !text.starts_with('.');
        if !fits || text.contains("..") || !text.bytes().all(is_name) {
            return Err(bad());
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }

    /// This machine by one of its fixed names or addresses (RFC 6761 §6.3).
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Ip(ip) => ip.is_loopback(),
            Self::Name(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                name == "localhost" || name.ends_with(".localhost")
            }
        }
    }

    /// Without brackets.
    pub(crate) fn bare(&self) -> String {
        match self {
            Self::Name(name) => name.strip_suffix('.').unwrap_or(name).to_owned(),
            Self::Ip(ip) => ip.to_string(),
        }
    }

    /// The addresses that need no look-up.
    pub(crate) fn known_addresses(&self) -> Option<Vec<IpAddr>> {
        match self {
            Self::Ip(ip) => Some(vec![*ip]),
            Self::Name(_) if self.is_loopback() => {
                Some(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()])
            }
            Self::Name(_) => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// Characters of a name with its final dot (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 254;

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Result<Origin, OriginError> {
        Origin::of(&url.parse().unwrap())
    }

    fn shown(url: &str) -> String {
        origin(url).unwrap().to_string()
    }

    #[test]
    fn scheme_host_and_port_make_an_origin_and_the_rest_does_not() {
        assert_eq!(shown("https://Example.com/a?b"), "https://example.com");
        assert_eq!(shown("https://example.com:443/"), "https://example.com");
        assert_eq!(shown("http://example.com:8080"), "http://example.com:8080");
        assert_eq!(shown("https://[::1]:8443/"), "https://[::1]:8443");
        assert_eq!(shown("http://127.0.0.1/"), "http://127.0.0.1");
        assert_eq!(origin("http://x:80/"), origin("http://X/"));
        assert_ne!(origin("http://x:443/"), origin("https://x/"), "the scheme is part of it");
    }

    #[test]
    fn url_without_an_origin_says_what_is_wrong() {
        assert_eq!(origin("/path"), Err(OriginError::NoHost));
        assert_eq!(origin("ftp://x/"), Err(OriginError::Scheme("ftp".to_owned())));
        assert_eq!(origin("https://me:secret@x/"), Err(OriginError::UserInfo));
        assert_eq!(origin("https://x:0/"), Err(OriginError::Port("0".to_owned())));
        assert_eq!(origin("https://x:99999/"), Err(OriginError::Port("99999".to_owned())));
        assert_eq!(origin("https://a..b/"), Err(OriginError::Host("a..b".to_owned())));
        let long = "a".repeat(LONGEST_NAME + 1);
        assert_eq!(Host::parse(&long), Err(OriginError::Host(long.clone())));
        assert!(Host::parse(&long[1..]).is_ok());
    }

    #[test]
    fn names_of_this_machine_need_no_look_up() {
        let known = |host| Host::parse(host).unwrap().known_addresses();
        let both = Some(vec![IpAddr::from(Ipv6Addr::LOCALHOST), Ipv4Addr::LOCALHOST.into()]);
        assert_eq!(known("localhost"), both);
        assert_eq!(known("app.localhost."), both);
        assert_eq!(known("localhost.example"), None);
        assert_eq!(known("[2001:db8::1]"), Some(vec!["2001:db8::1".parse().unwrap()]));
    }

    #[test]
    fn final_dot_is_not_part_of_the_server_name() {
        assert_eq!(origin("https://example.com./").unwrap().server_name(), "example.com");
        assert_eq!(origin("https://[::1]/").unwrap().server_name(), "::1");
    }
}
