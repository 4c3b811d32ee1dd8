//! A limit as people write it: `100/s per ip, burst 200`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use http::HeaderName;
use sterna_net::limit::Quota;

use crate::config::Span;

/// So many requests in a period, for each of those whom it tells apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Requests that come back in a period.
    pub count: NonZeroU32,
    /// The period.
    pub period: Duration,
    /// Requests that may come at once. Default: the count.
    pub burst: NonZeroU32,
    /// Who has a bucket of its own.
    pub key: Key,
}

/// So many in a period, for whom is known from where it stands: `20/s, burst 40`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequency {
    /// Those that come back in a period.
    pub count: NonZeroU32,
    /// The period.
    pub period: Duration,
    /// Those that may come at once. Default: the count.
    pub burst: NonZeroU32,
}

/// Who has a bucket of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Each client's address; an IPv6 address stands for its /64.
    Ip,
    /// Each value of this field.
    Header(HeaderName),
    /// Each value of this cookie.
    Cookie(String),
    /// Each route, for all of its clients together.
    Route,
    /// Nobody: all requests together.
    Global,
}

/// Why a text is no limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotALimit {
    /// It does not begin with a rate.
    #[error("is not a limit such as `100/s per ip, burst 200`")]
    Form,
    /// A number is zero, too large, or none.
    #[error("has `{0}` where a number from 1 to 4294967295 belongs")]
    Number(String),
    /// The period is none.
    #[error("has `{0}` for a period: write `s`, `m`, `h`, `d`, or a duration such as `10s`")]
    Period(String),
    /// It does not say who has a bucket of its own.
    #[error(
        "does not say for whom: add `per ip`, `per header NAME`, `per cookie NAME`, `per route`, or `global`"
    )]
    NoKey,
    /// Nobody is called that.
    #[error(
        "is for `{0}`: write `per ip`, `per header NAME`, `per cookie NAME`, `per route`, or `global`"
    )]
    Key(String),
    /// A field or a cookie has no such name.
    #[error("names `{0}`, which no field and no cookie is called")]
    Name(String),
    /// Something other than `burst` follows.
    #[error("ends with `{0}`, where `burst N` is all that may follow")]
    Rest(String),
}

impl Limit {
    pub(crate) fn quota(&self) -> Quota {
        Quota::new(self.count, self.period, self.burst)
    }
}

impl Frequency {
    pub(crate) fn quota(&self) -> Quota {
        Quota::new(self.count, self.period, self.burst)
    }
}

impl Key {
    /// The kind of it, as a word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Header(_) => "header",
            Self::Cookie(_) => "cookie",
            Self::Route => "route",
            Self::Global => "global",
        }
    }
}

impl FromStr for Limit {
    type Err = NotALimit;

    fn from_str(text: &str) -> Result<Self, NotALimit> {
        let (Frequency { count, period, burst }, key) = split(text)?;
        Ok(Self { count, period, burst, key: key.parse()? })
    }
}

impl FromStr for Frequency {
    type Err = NotALimit;

    fn from_str(text: &str) -> Result<Self, NotALimit> {
        match split(text)? {
            (frequency, "") => Ok(frequency),
            (_, surplus) => Err(NotALimit::Rest(surplus.to_owned())),
        }
    }
}

/// How often, and for whom.
fn split(text: &str) -> Result<(Frequency, &str), NotALimit> {
    let (limit, rest) = match text.split_once(',') {
        Some((limit, rest)) => (limit.trim(), Some(rest.trim())),
        None => (text.trim(), None),
    };
    let (rate, key) = limit.split_once(' ').map_or((limit, ""), |(rate, key)| (rate, key.trim()));
    let (count, period) = rate.split_once('/').ok_or(NotALimit::Form)?;
    let (count, period) = (number(count)?, self::period(period)?);
    let burst = match rest {
        None => count,
        Some(rest) => match rest.strip_prefix("burst ") {
            Some(burst) => number(burst.trim())?,
            None => return Err(NotALimit::Rest(rest.to_owned())),
        },
    };
    Ok((Frequency { count, period, burst }, key))
}

impl FromStr for Key {
    type Err = NotALimit;

    fn from_str(text: &str) -> Result<Self, NotALimit> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        match words.as_slice() {
            [] => Err(NotALimit::NoKey),
            ["global"] => Ok(Self::Global),
            ["per", "ip"] => Ok(Self::Ip),
            ["per", "route"] => Ok(Self::Route),
            ["per", "header", name] => {
                name.parse().map(Self::Header).map_err(|_| NotALimit::Name((*name).to_owned()))
            }
            // A cookie's name is a token, as a field's is (RFC 6265 §4.1.1), but with capitals that count.
            ["per", "cookie", name] if name.parse::<HeaderName>().is_ok() => {
                Ok(Self::Cookie((*name).to_owned()))
            }
            ["per", "cookie", name] => Err(NotALimit::Name((*name).to_owned())),
            _ => Err(NotALimit::Key(text.to_owned())),
        }
    }
}

fn number(text: &str) -> Result<NonZeroU32, NotALimit> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_digits);
    number.ok_or_else(|| NotALimit::Number(text.to_owned()))
}

/// A duration, of which the number may be left out: it is one then.
fn period(text: &str) -> Result<Duration, NotALimit> {
    let begins_with_digit = text.starts_with(|first: char| first.is_ascii_digit());
    let whole = if begins_with_digit { text.to_owned() } else { format!("1{text}") };
    let period = whole.parse().ok().map(|Span(period)| period).filter(|period| !period.is_zero());
    period.ok_or_else(|| NotALimit::Period(text.to_owned()))
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, period, burst, key } = self;
        write!(f, "{count}/{} {key}", Period(*period))?;
        if burst == count { Ok(()) } else { write!(f, ", burst {burst}") }
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, period, burst } = self;
        write!(f, "{count}/{}", Period(*period))?;
        if burst == count { Ok(()) } else { write!(f, ", burst {burst}") }
    }
}

/// A duration whose number is left out when it is one.
struct Period(Duration);

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = Span(self.0).to_string();
        let unit = whole.strip_prefix('1');
        let unit = unit.filter(|unit| !unit.starts_with(|c: char| c.is_ascii_digit()));
        f.write_str(unit.unwrap_or(&whole))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip => f.write_str("per ip"),
            Self::Header(name) => write!(f, "per header {name}"),
            Self::Cookie(name) => write!(f, "per cookie {name}"),
            Self::Route => f.write_str("per route"),
            Self::Global => f.write_str("global"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_read_and_written_in_the_words_of_people() {
        for (text, seconds, burst, written) in [
            ("100/s per ip, burst 200", 1, 200, "100/s per ip, burst 200"),
            ("100/s per ip", 1, 100, "100/s per ip"),
            ("5/m per header X-Api-Key,burst 1", 60, 1, "5/m per header x-api-key, burst 1"),
            ("1000/h per cookie SID", 3600, 1000, "1000/h per cookie SID"),
            ("10/10s per route", 10, 10, "10/10s per route"),
            ("10/90s global", 90, 10, "10/90s global"),
            ("7/60s  per  ip ", 60, 7, "7/m per ip"),
        ] {
            let limit: Limit = text.parse().expect(text);
            assert_eq!((limit.period.as_secs(), limit.burst.get()), (seconds, burst), "{text}");
            assert_eq!(limit.to_string(), written);
            assert_eq!(written.parse(), Ok(limit), "what is written can be read");
        }
    }

    #[test]
    fn a_frequency_is_a_limit_that_says_not_for_whom() {
        for text in ["20/s", "20/s, burst 40", "5/10m"] {
            let frequency: Frequency = text.parse().expect(text);
            assert_eq!(frequency.to_string(), text);
        }
        let surplus = "20/s per ip".parse::<Frequency>();
        assert_eq!(surplus, Err(NotALimit::Rest("per ip".to_owned())));
    }

    #[test]
    fn what_is_no_limit_is_refused_with_the_part_that_is_wrong() {
        let text = |text: &str| text.to_owned();
        for (wrong, reason) in [
            ("", NotALimit::Form),
            ("100 per ip", NotALimit::Form),
            ("100/s", NotALimit::NoKey),
            ("0/s per ip", NotALimit::Number(text("0"))),
            ("-1/s per ip", NotALimit::Number(text("-1"))),
            ("+1/s per ip", NotALimit::Number(text("+1"))),
            ("4294967296/s per ip", NotALimit::Number(text("4294967296"))),
            ("1.5/s per ip", NotALimit::Number(text("1.5"))),
            ("1/fortnight per ip", NotALimit::Period(text("fortnight"))),
            ("1/0s per ip", NotALimit::Period(text("0s"))),
            ("1/ per ip", NotALimit::Period(text(""))),
            ("1/s per user", NotALimit::Key(text("per user"))),
            ("1/s per header", NotALimit::Key(text("per header"))),
            ("1/s per header a,b", NotALimit::Rest(text("b"))),
            ("1/s per header a:b", NotALimit::Name(text("a:b"))),
            ("1/s per cookie a=b", NotALimit::Name(text("a=b"))),
            ("1/s per ip, burst 0", NotALimit::Number(text("0"))),
            ("1/s per ip, burst", NotALimit::Rest(text("burst"))),
            ("1/s per ip, bursts 2", NotALimit::Rest(text("bursts 2"))),
        ] {
            assert_eq!(wrong.parse::<Limit>(), Err(reason), "{wrong}");
        }
    }
}
