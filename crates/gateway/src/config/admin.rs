//! The operator's interface, and what the process logs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::listen::{Listen, NotAPlace};
use super::problem::{Mistake, Problems};
use super::setting::{section, word};
use super::value::Text;

section! {
    /// The interface for the operator: `sterna reload`, `stop`, `status` and `drain` talk to it, and Prometheus reads its
    /// `/metrics`. Whoever can reach it can do with the server what its operator can.
    pub struct Admin {
        /// Where it is: `unix:` and an absolute path, a place to listen, or `off`. Without it the socket
        /// `$XDG_RUNTIME_DIR/sterna/PORT.sock`, or `/run/sterna/PORT.sock`, of the first port listened on.
        pub listen: Option<AdminPlace>,
        /// What requests must show as `Authorization: Bearer TOKEN`. It must be there where others than this machine can
        /// reach the interface, and stands outside of the file: `${file:/run/secrets/sterna}`, or `${NAME}`.
        pub token: Option<Text>,
    }
}

/// Where the operator's interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminPlace {
    /// Nowhere.
    Off,
    /// A unix socket.
    Unix(PathBuf),
    /// A place to listen, with TCP.
    At(Listen),
}

impl FromStr for AdminPlace {
    type Err = NotAnAdminPlace;

    fn from_str(text: &str) -> Result<Self, NotAnAdminPlace> {
        match text.strip_prefix("unix:") {
            Some(path) if Path::new(path).is_absolute() => Ok(Self::Unix(path.into())),
            Some(_) => Err(NotAnAdminPlace),
            None if text == "off" => Ok(Self::Off),
            None => text.parse().map(Self::At).map_err(|NotAPlace| NotAnAdminPlace),
        }
    }
}

impl fmt::Display for AdminPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::At(listen) => listen.fmt(f),
        }
    }
}

/// Why a text is no place for the operator's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no place for it: write `unix:` and an absolute path, an address and a port such as `127.0.0.1:9180`, or `off`"
)]
pub struct NotAnAdminPlace;

/// What the process logs on stderr: a level, or levels by target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LogFilter {
    type Err = NotAFilter;

    fn from_str(text: &str) -> Result<Self, NotAFilter> {
        let is_target = |target: &str| {
            !target.is_empty()
                && target.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b))
        };
        let is_part = |part: &str| match part.split_once('=') {
            Some((target, level)) => is_target(target) && LEVELS.contains(&level),
            None => LEVELS.contains(&part),
        };
        text.split(',').all(is_part).then(|| Self(text.to_owned())).ok_or(NotAFilter)
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text does not say what to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "does not say what to log: write `off`, `error`, `warn`, `info`, `debug` or `trace`, or several such as `sterna_net=debug,warn`"
)]
pub struct NotAFilter;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

word!(AdminPlace, "place", ["unix:/run/sterna/admin.sock", "127.0.0.1:9180", "off"]);
word!(LogFilter, "levels", ["info", "sterna_net=debug,warn"]);

impl Admin {
    pub(super) fn check(&self, problems: &mut Problems) {
        if let Some(AdminPlace::At(listen)) = &self.listen
            && !listen.is_loopback()
            && self.token.is_none()
        {
            problems.contradiction(
                self.at.key("listen"),
                &format!("whoever reaches `{listen}` could do with the server what they like"),
                "listen on a loopback address or a unix socket, or add a `token`",
            );
        }
        let Some(token) = &self.token else { return };
        let place = self.at.key("token");
        if token.written.is_none() {
            problems.contradiction(
                place,
                "the token stands in the file, where others may read it",
                "write `token = \"${file:/run/secrets/sterna}\"` or `token = \"${NAME}\"`",
            );
        } else if token.text.len() < MIN_TOKEN || !token.text.bytes().all(|b| b.is_ascii_graphic())
        {
            let reason = "is too short or has a character that no header field carries: at least 16 letters, digits and signs".to_owned();
            problems.add(place, Mistake::Value { read: token.shown().to_owned(), reason });
        }
        if matches!(self.listen, Some(AdminPlace::Off)) {
            problems.contradiction(
                place,
                "`listen = \"off\"` leaves the token without use",
                "leave one of the two out",
            );
        }
    }

    /// What a request must show.
    pub fn secret(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.text.as_str())
    }
}

/// Letters of a token: what is shorter can be tried out.
const MIN_TOKEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_people_write_them() {
        assert_eq!("off".parse(), Ok(AdminPlace::Off));
        assert_eq!("unix:/run/s".parse(), Ok(AdminPlace::Unix("/run/s".into())));
        assert!(matches!("127.0.0.1:1".parse(), Ok(AdminPlace::At(_))));
        for text in ["", "unix:", "unix:relative", "/run/s", "127.0.0.1"] {
            assert_eq!(text.parse::<AdminPlace>(), Err(NotAnAdminPlace), "{text}");
        }
    }

    #[test]
    fn levels_are_words_that_the_log_knows() {
        for text in ["info", "off", "sterna_net=debug,warn", "a::b=trace"] {
            assert!(text.parse::<LogFilter>().is_ok(), "{text}");
        }
        for text in ["", "loud", "a=loud", "=info", "info,", "a b=info"] {
            assert_eq!(text.parse::<LogFilter>(), Err(NotAFilter), "{text}");
        }
    }
}
