//! Which path the handler sees.

use std::fmt;
use std::str::FromStr;

use crate::config::policies::Policies;
use crate::config::problem::Problems;
use crate::config::setting::word;
use crate::middleware::rewrite::{NotAPrefix, NotATemplate, Prefix, Template};
use crate::route::Pattern;

/// The beginning of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripPrefix {
    text: String,
    pub(super) prefix: Prefix,
}

impl FromStr for StripPrefix {
    type Err = NotAPrefix;

    fn from_str(text: &str) -> Result<Self, NotAPrefix> {
        Ok(Self { text: text.to_owned(), prefix: text.parse()? })
    }
}

impl fmt::Display for StripPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a path becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteTo {
    text: String,
    pub(super) template: Template,
}

impl FromStr for RewriteTo {
    type Err = NotATemplate;

    fn from_str(text: &str) -> Result<Self, NotATemplate> {
        Ok(Self { text: text.to_owned(), template: text.parse()? })
    }
}

impl fmt::Display for RewriteTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Policies {
    /// What these paths make impossible.
    pub(in crate::config) fn check_paths(&self, paths: &[Pattern], problems: &mut Problems) {
        if let Some(strip) = &self.strip_prefix
            && let Some(path) = paths.iter().find(|path| !strip.prefix.can_begin(path))
        {
            let what = format!("no path of `{path}` begins with `{strip}`");
            let place = self.at.key("strip_prefix");
            problems.contradiction(place, &what, "write how the paths of the route begin");
        }
        let Some(rewrite) = &self.rewrite else { return };
        for name in rewrite.template.parameters() {
            let lacks = |path: &&Pattern| !path.parameters().any(|parameter| parameter == name);
            let Some(path) = paths.iter().find(lacks) else { continue };
            let what = format!("`{path}` has no parameter `{{{name}}}`");
            let hint = "write one of its parameters, `{path}` or `{query}`";
            problems.contradiction(self.at.key("rewrite"), &what, hint);
        }
    }
}

word!(StripPrefix, "beginning of a path", ["/api", "/apps/shop"]);
word!(RewriteTo, "path", ["/v2{path}", "/users/{id}"]);
