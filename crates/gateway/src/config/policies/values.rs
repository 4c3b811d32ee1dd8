//! Values of access control: who may come in, and where others are asked.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use serde::Serialize;

use super::super::problem::{Mistake, Problems};
use super::super::setting::{Setting, word};
use super::super::shape::Shape;
use super::super::value::{Text, Value};
use crate::middleware::basic_auth;
use crate::middleware::country::Code;

/// A line such as `alice:$argon2id$…`. It is shown with its name alone.
#[derive(Clone, PartialEq)]
pub struct Credential(Text);

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Credential {
    /// As it was written or read.
    pub(super) fn text(&self) -> &str {
        &self.0.text
    }

    fn shown(&self) -> String {
        match &self.0.written {
            // It names where the secret is, and is none.
            Some(written) if !written.contains("$argon2") => written.clone(),
            _ => format!("{}:[redacted]", self.0.text.split(':').next().unwrap_or_default()),
        }
    }
}

impl Serialize for Credential {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.shown())
    }
}

impl Setting for Credential {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        problems.hide(&value.place);
        let text = Text::read(value, problems)?;
        if let Err(error) = basic_auth::Users::check(&text.text) {
            let credential = Self(text);
            let read = credential.shown();
            problems.add(&value.place, Mistake::Value { read, reason: error.to_string() });
            return None;
        }
        Some(Self(text))
    }

    fn shape() -> Shape {
        Shape::Text {
            what: "name and hash", examples: &["alice:$argon2id$v=19$m=19456,t=2,p=1$…"]
        }
    }
}

/// The realm of a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm(pub String);

impl FromStr for Realm {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        let is_one = text.bytes().all(is_plain) && !text.contains("${");
        is_one.then(|| Self(text.to_owned())).ok_or("is no realm: write plain ASCII without quotes")
    }
}

impl fmt::Display for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A URL of another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(pub Uri);

impl FromStr for Url {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const NOT_ONE: &str = "is no URL such as `https://auth.example.com/verify`";
        let uri: Uri = text.parse().map_err(|_| NOT_ONE)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().filter(|_| is_http).ok_or(NOT_ONE)?;
        if authority.as_str().contains('@') {
            return Err("has a name or a password in it, which nobody is sent: leave it out");
        }
        Ok(Self(uri))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Url {
    /// Whether nobody on the way can change what comes.
    pub fn is_safe(&self) -> bool {
        let host = self.0.host().unwrap_or_default().trim_matches(['[', ']']);
        self.0.scheme_str() == Some("https")
            || host == "localhost"
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

word!(Realm, "realm", ["Staff"]);
word!(Url, "URL", ["https://auth.example.com/verify", "http://127.0.0.1:9000/"]);
word!(Code, "country", ["DE", "FR"]);
