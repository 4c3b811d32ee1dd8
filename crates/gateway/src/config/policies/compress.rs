//! Which responses are encoded, and how.

use std::fmt;
use std::str::FromStr;

use crate::config::problem::Problems;
use crate::config::setting::{Several, choice, section, word};
use crate::config::units::ByteSize;
use crate::encoding::Coding;
use crate::middleware::compress;

section! {
    /// Content codings of responses, where on or off is not enough.
    pub struct Compress {
        /// Which, in the order that decides between those that a client likes alike.
        pub algorithms: Several<Algorithm> =
            Several(vec![Algorithm::Zstd, Algorithm::Gzip, Algorithm::Brotli]),
        /// How hard to try.
        pub level: Level = Level::Default,
        /// Content that is known to be shorter is left as it is.
        pub min_size: ByteSize = ByteSize(compress::Config::default().min_size),
        /// Which types: `text/html`, `text/*` or `*+json`.
        pub types: Several<TypePattern> =
            Several(compress::Config::default().types.into_iter().map(TypePattern).collect()),
        /// Leaves as it is what an application made for the bearer of a cookie, unless the browser says that the request
        /// comes from a page of the same site: another one could guess at secrets in it by its length (BREACH).
        pub breach_safe: bool = true,
    }
}

choice! {
    /// A content coding.
    pub enum Algorithm {
        /// RFC 8878.
        Zstd = "zstd",
        /// RFC 1952.
        Gzip = "gzip",
        /// RFC 7932.
        Brotli = "br",
    }
}

choice! {
    /// How hard to try.
    pub enum Level {
        /// As fast as it goes.
        Fast = "fast",
        /// What costs little for what it saves.
        Default = "default",
        /// Small, whatever it costs.
        Best = "best",
    }
}

/// A type of content, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypePattern(pub String);

impl FromStr for TypePattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/+-._*".contains(&byte);
        let stars = text.matches('*').count();
        let is_one = text.bytes().all(is_plain)
            && stars <= 1
            && (text.matches('/').count() == 1 || (stars == 1 && !text.contains('/')))
            && text != "*";
        let why = "is not a type of content such as `text/html`, `text/*` or `*+json`";
        is_one.then(|| Self(text.to_owned())).ok_or(why)
    }
}

impl fmt::Display for TypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Compress {
    pub(super) fn check(&self, problems: &mut Problems) {
        let Several(all) = &self.algorithms;
        if all.iter().enumerate().any(|(i, one)| all.iter().take(i).any(|before| before == one)) {
            let place = self.at.key("algorithms");
            problems.contradiction(place, "a coding is there twice", "leave one of them out");
        }
    }

    pub(super) fn build(&self) -> compress::Config {
        let Self { algorithms, level, min_size, types, breach_safe, at: _ } = self;
        compress::Config {
            algorithms: algorithms
                .0
                .iter()
                .map(|algorithm| match algorithm {
                    Algorithm::Zstd => Coding::Zstd,
                    Algorithm::Gzip => Coding::Gzip,
                    Algorithm::Brotli => Coding::Brotli,
                })
                .collect(),
            level: match level {
                Level::Fast => compress::Level::Fast,
                Level::Default => compress::Level::Default,
                Level::Best => compress::Level::Best,
            },
            min_size: min_size.0,
            types: types.0.iter().map(|kind| kind.0.clone()).collect(),
            breach_safe: *breach_safe,
        }
    }
}

word!(TypePattern, "type of content", ["text/html", "text/*", "*+json"]);
