//! Whom to load: a URL, and the addresses that it leads to.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
};

use http::{Uri, uri::Authority};

/// Whom to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As it was written.
    pub url: String,
    /// `https`, or plain `http`.
    pub is_secure: bool,
    /// For `:authority` and `Host`: host, and port unless it is the scheme's.
    pub authority: String,
    /// For TLS: the host without brackets.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// Where to connect.
    pub address: SocketAddr,
}

/// Why a URL is no target.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Not a URL.
    #[error("`{url}` is not a URL such as https://example.com/path")]
    Url {
        /// What was given.
        url: String,
    },
    /// Another scheme.
    #[error("`{scheme}` is not a scheme that can be loaded: use https, or http for plain HTTP")]
    Scheme {
        /// What was given.
        scheme: String,
    },
    /// The name has no address.
    #[error("cannot resolve {host}")]
    Resolve {
        /// Host and port.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The place to connect to instead is none.
    #[error("`{0}` is not a place to connect to such as 127.0.0.1:8443")]
    ConnectTo(String),
}

impl Target {
    /// Reads a URL and resolves its host; `connect_to` is a host and port to connect to instead.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn resolve(url: &str, connect_to: Option<&str>) -> Result<Self, TargetError> {
        let mut target = Self::parse(url)?;
        target.address = match connect_to {
            Some(place) => {
                let authority = place.parse::<Authority>().ok();
                let parsed = authority.as_ref().and_then(|at| Some((at.host(), at.port_u16()?)));
                let (host, port) =
                    parsed.ok_or_else(|| TargetError::ConnectTo(place.to_owned()))?;
                lookup(host, port)?
            }
            None => lookup(&target.host, target.address.port())?,
        };
        Ok(target)
    }

    /// Reads a URL; its address is not known then, except for the port.
    fn parse(url: &str) -> Result<Self, TargetError> {
        let refuse = || TargetError::Url { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| refuse())?;
        let is_secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(other) => return Err(TargetError::Scheme { scheme: other.to_owned() }),
            None => return Err(refuse()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(refuse)?;
        let default = if is_secure { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default);
        let authority = if port == default { host.to_owned() } else { format!("{host}:{port}") };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            url: url.to_owned(),
            is_secure,
            authority,
            host: host.trim_matches(['[', ']']).to_owned(),
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            address: SocketAddr::from(([0, 0, 0, 0], port)),
        })
    }
}

fn lookup(host: &str, port: u16) -> Result<SocketAddr, TargetError> {
    let host = host.trim_matches(['[', ']']);
    let failed = |source| TargetError::Resolve { host: format!("{host}:{port}"), source };
    let mut found = (host, port).to_socket_addrs().map_err(failed)?;
    found.next().ok_or_else(|| failed(io::Error::new(io::ErrorKind::NotFound, "no address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (bool, String, String, String, u16) {
        let target = Target::parse(url).unwrap();
        let port = target.address.port();
        (target.is_secure, target.authority, target.host, target.path, port)
    }

    #[test]
    fn a_url_gives_authority_host_path_and_port() {
        let of = |secure, authority: &str, host: &str, path: &str, port| {
            (secure, authority.to_owned(), host.to_owned(), path.to_owned(), port)
        };
        assert_eq!(parsed("https://a.example"), of(true, "a.example", "a.example", "/", 443));
        assert_eq!(parsed("https://a:443/x?y"), of(true, "a", "a", "/x?y", 443));
        assert_eq!(parsed("http://a:8080/x"), of(false, "a:8080", "a", "/x", 8080));
        assert_eq!(parsed("https://[::1]:8443/"), of(true, "[::1]:8443", "::1", "/", 8443));
    }

    #[test]
    fn what_is_no_url_is_refused_with_its_reason() {
        for url in ["", "/path", "example.com", "https://", "https:// a/"] {
            assert!(matches!(Target::parse(url), Err(TargetError::Url { .. })), "{url}");
        }
        let error = Target::parse("ftp://a/").unwrap_err();
        assert!(matches!(error, TargetError::Scheme { scheme } if scheme == "ftp"));
    }

    #[test]
    fn another_place_to_connect_to_leaves_the_names_alone() {
        let target = Target::resolve("https://a.example/x", Some("127.0.0.1:8443")).unwrap();
        assert_eq!(target.address, "127.0.0.1:8443".parse().unwrap());
        assert_eq!((&*target.authority, &*target.host), ("a.example", "a.example"));
        let error = Target::resolve("https://a.example/x", Some("127.0.0.1")).unwrap_err();
        assert!(matches!(error, TargetError::ConnectTo(_)));
    }
}
