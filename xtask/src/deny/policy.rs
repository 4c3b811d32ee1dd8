//! `deny.toml`, as far as it is checked here.

use std::iter::Peekable;
use std::str::SplitWhitespace;

use serde::Deserialize;

use super::Error;
use super::graph::Package;

/// What may be depended upon.
pub(super) struct Policy {
    pub(super) bans: Vec<Ban>,
    skips: Vec<Skip>,
    licences: Vec<String>,
}

/// A crate which may not be there, below a version or except below its wrappers.
pub(super) struct Ban {
    name: String,
    below: Option<[u64; 3]>,
    pub(super) wrappers: Vec<String>,
    pub(super) reason: String,
}

#[derive(Deserialize)]
struct Skip {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct File {
    bans: Bans,
    licenses: Licences,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Entry>,
    #[serde(default)]
    skip: Vec<Skip>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    version: Option<String>,
    #[serde(default)]
    wrappers: Vec<String>,
    reason: String,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
}

impl Policy {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let file: File = toml::from_str(text).map_err(Box::new)?;
        let bans: Result<_, Error> = file.bans.deny.into_iter().map(Ban::build).collect();
        Ok(Self { bans: bans?, skips: file.bans.skip, licences: file.licenses.allow })
    }

    /// Whether a second version of this package is a known one.
    pub(super) fn skips(&self, package: &Package) -> bool {
        self.skips.iter().any(|skip| skip.name == package.name && skip.version == package.version)
    }

    /// Whether some choice that the SPDX `expression` leaves is allowed.
    pub(super) fn allows(&self, expression: &str) -> bool {
        // `/` is how crates wrote OR before SPDX; a WITH exception only adds rights.
        let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let mut words = spaced.split_whitespace().peekable();
        let allowed = self.any_of(&mut words);
        allowed && words.next().is_none()
    }

    fn any_of(&self, words: &mut Words<'_>) -> bool {
        let mut allowed = self.all_of(words);
        while words.next_if_eq(&"OR").is_some() {
            allowed |= self.all_of(words);
        }
        allowed
    }

    fn all_of(&self, words: &mut Words<'_>) -> bool {
        let mut allowed = self.term(words);
        while words.next_if_eq(&"AND").is_some() {
            allowed &= self.term(words);
        }
        allowed
    }

    fn term(&self, words: &mut Words<'_>) -> bool {
        match words.next() {
            Some("(") => self.any_of(words) & words.next_if_eq(&")").is_some(),
            Some(licence) => {
                if words.next_if_eq(&"WITH").is_some() {
                    words.next();
                }
                self.licences.iter().any(|allowed| allowed == licence)
            }
            None => false,
        }
    }
}

type Words<'a> = Peekable<SplitWhitespace<'a>>;

impl Ban {
    fn build(entry: Entry) -> Result<Self, Error> {
        let Entry { name, version, wrappers, reason } = entry;
        let below = match version {
            None => None,
            Some(version) => {
                let floor = version.strip_prefix('<').and_then(triple);
                Some(floor.ok_or(Error::Floor(version))?)
            }
        };
        Ok(Self { name, below, wrappers, reason })
    }

    pub(super) fn names(&self, package: &Package) -> bool {
        // A pre-release of the floor or an unreadable version counts as below it.
        let is_below = |floor| triple(&package.version).is_none_or(|version| version < floor);
        self.name == package.name && self.below.is_none_or(is_below)
    }
}

/// `1.2.3` as numbers; build metadata (`+…`) does not order.
fn triple(version: &str) -> Option<[u64; 3]> {
    let (core, _) = version.split_once('+').unwrap_or((version, ""));
    let mut numbers = core.split('.').map(|number| number.parse().ok());
    let triple = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(triple)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(bans: &str) -> Result<Policy, Error> {
        Policy::parse(&format!("[bans]\ndeny = [{bans}]\n[licenses]\nallow = [\"MIT\", \"ISC\"]"))
    }

    #[test]
    fn a_licence_is_allowed_when_one_choice_is() {
        let policy = policy("").unwrap();
        let allowed =
            ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "ISC AND (MIT OR BSL-1.0)", "ISC WITH X OR A"];
        let refused = ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT MIT", "ISC AND (A OR B)"];
        for expression in allowed {
            assert!(policy.allows(expression), "{expression}");
        }
        for expression in refused {
            assert!(!policy.allows(expression), "{expression}");
        }
    }

    #[test]
    fn a_floor_is_one_whole_version() {
        let floor = |version| {
            policy(&format!("{{ name = \"a\", version = \"{version}\", reason = \"b\" }}"))
        };
        assert!(floor("<1.2.3").is_ok());
        for version in ["1.2.3", "<1.2", "<=1.2.3", "<1.2.3.4"] {
            assert!(matches!(floor(version), Err(Error::Floor(named)) if named == version));
        }
    }

    #[test]
    fn build_metadata_does_not_order_and_a_pre_release_has_no_triple() {
        assert_eq!(triple("1.1.5+spec-1.1.0"), Some([1, 1, 5]));
        assert_eq!(triple("1.0.0-rc.1"), None);
    }
}
