//! What answers a share of the visitors in place of everything else.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;

use super::problem::Problems;
use super::proxy::Proxy;
use super::setting::{section, word};
use super::site::{FieldName, Respond, Root};
use crate::middleware::canary;

section! {
    /// What answers a share of the visitors: `root`, `proxy` or `respond`.
    ///
    /// Who has it once keeps it when the share grows.
    pub struct Canary {
        /// How many of a hundred get it, from 0 to 100.
        pub percent: OfHundred,
        /// What tells visitors apart: `visitor`, a cookie of ours in which the lot of each is kept; `client`, the address
        /// (of IPv6 the first 64 bits); `header NAME` or `cookie NAME`, what the application knows its users by; or
        /// `request`, each on its own.
        pub by: By = By(canary::By::Visitor),
        /// The name of the cookie of ours, `sterna_canary` where nothing is said.
        pub cookie: Option<CookieName>,
        /// A field by which a request chooses itself: `always` or `never`.
        pub header: Option<FieldName>,
        /// Serves the files of this directory: a path, or a table.
        pub root: Option<Root>,
        /// Passes requests on to these backends: an address, a list of them, or a table.
        pub proxy: Option<Proxy>,
        /// Answers every request with this: a text, or a table.
        pub respond: Option<Respond>,
    }
}

/// What a canary can answer with.
const ANSWERS: [&str; 3] = ["root", "proxy", "respond"];

impl Canary {
    pub(super) fn check(&self, problems: &mut Problems) {
        let mut written = ANSWERS.iter().filter_map(|name| Some((name, self.at.written(name)?)));
        let Some((first, _)) = written.next() else {
            problems.contradiction(
                self.at.table(),
                "this canary answers nothing",
                "give it a `root`, a `proxy` or a `respond`",
            );
            return;
        };
        for (more, place) in written {
            let what = format!("`{first}` and `{more}` both answer");
            problems.contradiction(place, &what, "leave one of them out");
        }
        if let (Some(place), true) = (self.at.written("cookie"), self.by.0 != canary::By::Visitor) {
            let what = format!("nothing is kept in a cookie of ours: `by` is `{}`", self.by);
            problems.contradiction(place, &what, "leave `cookie` out, or write `by = \"visitor\"`");
        }
    }

    pub(super) fn choice(&self) -> canary::Config {
        canary::Config {
            percent: self.percent.0,
            by: self.by.0.clone(),
            cookie: self.cookie.as_ref().map_or("sterna_canary", |name| &name.0).to_owned(),
            header: self.header.as_ref().map(|name| name.0.clone()),
        }
    }
}

/// A share, from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfHundred(pub u16);

impl serde::Serialize for OfHundred {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u16(self.0)
    }
}

impl super::setting::Setting for OfHundred {
    fn read(value: &super::value::Value, problems: &mut Problems) -> Option<Self> {
        super::setting::integer(value, 0, 100, problems)
            .and_then(|percent| u16::try_from(percent).ok())
            .map(Self)
    }

    fn shape() -> super::shape::Shape {
        super::shape::Shape::Integer { least: 0, most: 100 }
    }
}

/// What tells visitors apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By(pub canary::By);

impl FromStr for By {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const NONE: &str = "is not `visitor`, `request`, `client`, `header NAME` or `cookie NAME`";
        let mut words = text.split(' ');
        let by = match (words.next(), words.next(), words.next()) {
            (Some("visitor"), None, None) => canary::By::Visitor,
            (Some("request"), None, None) => canary::By::Request,
            (Some("client"), None, None) => canary::By::Client,
            (Some("header"), Some(name), None) => {
                canary::By::Header(HeaderName::try_from(name).map_err(|_| NONE)?)
            }
            (Some("cookie"), Some(name), None) => {
                canary::By::Cookie(name.parse::<CookieName>().map_err(|_| NONE)?.0)
            }
            _ => return Err(NONE),
        };
        Ok(Self(by))
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            canary::By::Visitor => f.write_str("visitor"),
            canary::By::Request => f.write_str("request"),
            canary::By::Client => f.write_str("client"),
            canary::By::Header(name) => write!(f, "header {name}"),
            canary::By::Cookie(name) => write!(f, "cookie {name}"),
        }
    }
}

/// The name of a cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieName(pub String);

impl FromStr for CookieName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_one = !text.is_empty() && text.bytes().all(is_token);
        is_one.then(|| Self(text.to_owned())).ok_or("is not the name of a cookie")
    }
}

impl fmt::Display for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

word!(By, "choice", ["visitor", "client", "header x-user"]);
word!(CookieName, "cookie", ["sterna_canary"]);
