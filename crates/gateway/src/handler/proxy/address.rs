//! An address of a backend as people write it.

use std::path::PathBuf;
use std::str::FromStr;

use sterna_net::client::Host;

use crate::upstream::{Address, Place, Scheme};

/// Why a text is no address of a backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAddress {
    /// A scheme that nobody speaks here.
    #[error("has the scheme `{0}`: write `http://`, `h2c://`, `https://` or `h3://`")]
    Scheme(String),
    /// Something follows the port.
    #[error("is more than an address: the path comes from the request, so leave `{0}` out")]
    Path(String),
    /// A user name or a password.
    #[error("has a user name in it: set the `authorization` field in `request_headers` instead")]
    User,
    /// There is no port, and the scheme has no usual one.
    #[error("has no port: write one, as in `{0}:8080`")]
    NoPort(String),
    /// What should be a port is none.
    #[error("has no port between 1 and 65535")]
    Port,
    /// What should be a host is none.
    #[error("names no host: write a name or an address, such as `localhost:8080` or `[::1]:8080`")]
    Host,
    /// A socket without a path.
    #[error("names no socket: write its whole path, as in `unix:/run/app.sock`")]
    Socket,
}

impl FromStr for Address {
    type Err = NotAnAddress;

    /// `host:port`, which is `http://`; `http://`, `h2c://`, `https://` and `h3://` with a host and, where it is not the
    /// usual one, a port; `unix:` and `unix+h2c:` with the path of a socket.
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        for (prefix, scheme) in [("unix:", Scheme::Http), ("unix+h2c:", Scheme::H2c)] {
            if let Some(path) = text.strip_prefix(prefix) {
                let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
                let place = Place::Unix(path);
                let Place::Unix(path) = &place else { unreachable!("just made") };
                return match path.is_absolute() {
                    true => Ok(Self { scheme, place }),
                    false => Err(NotAnAddress::Socket),
                };
            }
        }
        let (scheme, rest) = match text.split_once("://") {
            None => (Scheme::Http, text),
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("h2c", rest)) => (Scheme::H2c, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("h3", rest)) => (Scheme::H3, rest),
            Some((other, _)) => return Err(NotAnAddress::Scheme(other.to_owned())),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(at) = rest.find(['/', '?', '#']) {
            return Err(NotAnAddress::Path(rest[at..].to_owned()));
        }
        if rest.contains('@') {
            return Err(NotAnAddress::User);
        }
        let (host, port) = split(rest, text.contains("://").then(|| usual_port(scheme)))?;
        let host = Host::parse(host).map_err(|_| NotAnAddress::Host)?;
        let host = match host {
            Host::Name(name) => name,
            Host::Ip(ip) => ip.to_string(),
        };
        Ok(Self { scheme, place: Place::Net { host, port } })
    }
}

/// Host and port; without a port the `usual` one.
fn split(text: &str, usual: Option<u16>) -> Result<(&str, u16), NotAnAddress> {
    let (host, port) = match text.rsplit_once(':') {
        // A colon inside of brackets is one of the address.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    if host.contains(':') && !host.starts_with('[') {
        return Err(NotAnAddress::Host);
    }
    match port {
        None => usual.map(|port| (host, port)).ok_or_else(|| NotAnAddress::NoPort(text.to_owned())),
        Some(port) => match port.parse() {
            Ok(port) if port > 0 => Ok((host, port)),
            _ => Err(NotAnAddress::Port),
        },
    }
}

const fn usual_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http | Scheme::H2c => 80,
        Scheme::Https | Scheme::H3 => 443,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Address>().map_or_else(|error| format!("{error:?}"), |it| it.to_string())
    }

    #[test]
    fn a_bare_host_and_port_is_plain_http_and_a_scheme_has_its_usual_port() {
        for (text, expected) in [
            ("localhost:8080", "http://localhost:8080"),
            ("127.0.0.1:80", "http://127.0.0.1:80"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("http://app", "http://app:80"),
            ("http://app/", "http://app:80"),
            ("https://App.example", "https://app.example:443"),
            ("h2c://grpc:50051", "h2c://grpc:50051"),
            ("h3://[2001:db8::1]", "h3://[2001:db8::1]:443"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("unix:///run/app.sock", "unix:/run/app.sock"),
            ("unix+h2c:/run/app.sock", "unix+h2c:/run/app.sock"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        let path = |path: &str| format!("{:?}", NotAnAddress::Path(path.to_owned()));
        for (text, expected) in [
            ("localhost", "NoPort(\"localhost\")".to_owned()),
            ("", "NoPort(\"\")".to_owned()),
            (":8080", "Host".to_owned()),
            ("http://", "Host".to_owned()),
            ("::1:80", "Host".to_owned()),
            ("a b:80", "Host".to_owned()),
            ("app:0", "Port".to_owned()),
            ("app:70000", "Port".to_owned()),
            ("app:http", "Port".to_owned()),
            ("http://app:8080/base", path("/base")),
            ("app:8080?x", path("?x")),
            ("https://me:secret@app", "User".to_owned()),
            ("ftp://app", "Scheme(\"ftp\")".to_owned()),
            ("unix:", "Socket".to_owned()),
            ("unix:run/app.sock", "Socket".to_owned()),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
