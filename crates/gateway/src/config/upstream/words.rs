//! What is written as one word: ways to balance, shares, statuses, places.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use http::HeaderName;
use http::uri::{Authority, PathAndQuery};

use crate::config::setting::word;
use crate::upstream::balance::{Key, Policy};

/// How a backend is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance(pub Policy);

impl FromStr for Balance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        Ok(Self(match words[..] {
            ["round_robin"] => Policy::RoundRobin,
            ["weighted"] => Policy::Weighted,
            ["random"] => Policy::Random,
            ["least_conn"] => Policy::LeastConn,
            ["p2c_ewma"] => Policy::P2cEwma,
            ["hash", "ip"] => Policy::Hash(Key::Client),
            ["hash", "header", name] => {
                let name = name.parse::<HeaderName>();
                let name = name.map_err(|_| "names a header field that cannot be".to_owned())?;
                Policy::Hash(Key::Header(name))
            }
            ["hash", "cookie", name] if is_token(name) => {
                Policy::Hash(Key::Cookie(name.to_owned()))
            }
            ["hash", "cookie", _] => return Err("names a cookie that cannot be".to_owned()),
            ["hash", ..] => {
                return Err(
                    "must say of what: `hash ip`, `hash header NAME` or `hash cookie NAME`"
                        .to_owned(),
                );
            }
            _ => {
                return Err(
                    "is no way to balance: `weighted`, `round_robin`, `random`, `least_conn`, `p2c_ewma` or `hash …`"
                        .to_owned(),
                );
            }
        }))
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())?;
        match &self.0 {
            Policy::Hash(Key::Header(name)) => write!(f, " {name}"),
            Policy::Hash(Key::Cookie(name)) => write!(f, " {name}"),
            _ => Ok(()),
        }
    }
}

/// A token (RFC 9110 §5.6.2), as names of cookies are.
fn is_token(text: &str) -> bool {
    text.parse::<http::Method>().is_ok()
}

/// A share: `50%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u8);

impl FromStr for Percent {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits =
            text.strip_suffix('%').filter(|text| text.bytes().all(|it| it.is_ascii_digit()));
        let percent =
            digits.and_then(|digits| digits.parse().ok()).filter(|percent| *percent <= 100);
        percent.map(Self).ok_or("is not a share such as `20%`, at most `100%`")
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// One status, or a range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange(pub u16, pub u16);

impl FromStr for StatusRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| text.parse().ok().filter(|status| (200..=599).contains(status));
        let range = status(least).zip(status(most)).filter(|(least, most)| least <= most);
        let why = "is neither a status nor a range such as `200-399`, from 200 to 599";
        range.map(|(least, most)| Self(least, most)).ok_or(why)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(least, most) = self;
        if least == most { write!(f, "{least}") } else { write!(f, "{least}-{most}") }
    }
}

/// The path that a check asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckPath(pub PathAndQuery);

impl FromStr for CheckPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.parse().ok().filter(|_| text.starts_with('/') && !text.contains('#'));
        path.map(Self).ok_or("is not a path such as `/healthz`")
    }
}

impl fmt::Display for CheckPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The host that a check asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckHost(pub Authority);

impl FromStr for CheckHost {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let host = text.parse().ok().filter(|_| !text.contains('@'));
        host.map(Self).ok_or("is not a host such as `app.example.com`")
    }
}

impl fmt::Display for CheckHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server(pub SocketAddr);

impl FromStr for Server {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let server = text.parse().ok().filter(|server: &SocketAddr| server.port() != 0);
        server.map(Self).ok_or("is not the address of a name server, such as `192.0.2.53:53`")
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

word!(Balance, "way to balance", ["least_conn", "hash ip", "hash cookie sid"]);
word!(Percent, "share", ["20%", "50%"]);
word!(StatusRange, "status", ["200", "200-399"]);
word!(CheckPath, "path", ["/healthz"]);
word!(CheckHost, "host", ["app.example.com"]);
word!(Server, "name server", ["192.0.2.53:53"]);
