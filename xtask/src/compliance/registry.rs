//! The requirements: `specs/rfcNNNN.toml`, in the project's own words.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use serde::Deserialize;

/// One thing that an RFC asks for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Requirement {
    /// `<RFC number>-<section>-<a few words>`; what `req:` comments cite.
    pub(super) id: String,
    section: String,
    pub(super) level: Level,
    /// What is asked, in our own words.
    pub(super) rule: String,
    /// The wire code that answers a peer who breaks it.
    breach: Option<String>,
    /// Why there is no code for it.
    pub(super) exception: Option<String>,
    /// Why no client can break it against a server, so that there is no case on the wire.
    unwired: Option<String>,
}

/// How strongly the RFC asks (RFC 2119).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Level {
    #[serde(rename = "MUST")]
    Must,
    #[serde(rename = "MUST NOT")]
    MustNot,
    #[serde(rename = "SHOULD")]
    Should,
    #[serde(rename = "SHOULD NOT")]
    ShouldNot,
    #[serde(rename = "MAY")]
    May,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::MustNot => "MUST NOT",
            Self::Should => "SHOULD",
            Self::ShouldNot => "SHOULD NOT",
            Self::May => "MAY",
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{0}: a registry is named rfcNNNN.toml after its RFC")]
    Name(PathBuf),
    #[error("specs/rfc{rfc}.toml: {source}")]
    Toml { rfc: String, source: Box<toml::de::Error> },
    #[error("specs/rfc{rfc}.toml: `{id}`: {fault}")]
    Entry { rfc: String, id: String, fault: &'static str },
    #[error("`{0}` is registered twice")]
    Twice(String),
}

/// All requirements under `folder`, none when it does not exist.
pub(super) fn read(folder: &Path) -> Result<Vec<Requirement>, Error> {
    let mut requirements = Vec::new();
    let mut seen = BTreeSet::new();
    for path in files(folder)? {
        let rfc = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.strip_prefix("rfc"))
            .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or_else(|| Error::Name(path.clone()))?;
        let text = fs::read_to_string(&path)
            .map_err(|source| Error::Read { path: path.clone(), source })?;
        for requirement in parse(rfc, &text)? {
            if !seen.insert(requirement.id.clone()) {
                return Err(Error::Twice(requirement.id));
            }
            requirements.push(requirement);
        }
    }
    Ok(requirements)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Read { path: folder.to_path_buf(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The requirements in `text`, the registry of RFC `rfc`.
pub(super) fn parse(rfc: &str, text: &str) -> Result<Vec<Requirement>, Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        requirement: Vec<Requirement>,
    }
    let file: File = toml::from_str(text)
        .map_err(|source| Error::Toml { rfc: rfc.into(), source: Box::new(source) })?;
    for requirement in &file.requirement {
        if let Some(fault) = requirement.fault(rfc) {
            return Err(Error::Entry { rfc: rfc.into(), id: requirement.id.clone(), fault });
        }
    }
    Ok(file.requirement)
}

impl Requirement {
    /// The number of the RFC that asks.
    pub(super) fn rfc(&self) -> &str {
        self.id.split_once('-').map_or("", |(rfc, _)| rfc)
    }

    /// What is wrong with this entry in the registry of `rfc`.
    fn fault(&self, rfc: &str) -> Option<&'static str> {
        let words = self.id.strip_prefix(rfc).and_then(|rest| {
            rest.strip_prefix('-')?.strip_prefix(&self.section)?.strip_prefix('-')
        });
        let Some(words) = words else {
            return Some("an id is `<RFC number>-<section>-<words>`, with the entry's own section");
        };
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if words.is_empty() || !words.bytes().all(plain) {
            return Some("the words of an id are lower case letters, digits and hyphens");
        }
        let blank =
            |text: &Option<String>| text.as_ref().is_some_and(|text| text.trim().is_empty());
        let reasons = [&self.breach, &self.exception, &self.unwired];
        if self.rule.trim().is_empty() || reasons.into_iter().any(blank) {
            return Some("every text says something when it is there");
        }
        None
    }

    /// A client can break it, and the server has to answer with a code: there has to be a case on the wire.
    pub(super) fn needs_wire(&self) -> bool {
        let is_must = matches!(self.level, Level::Must | Level::MustNot);
        is_must && self.breach.is_some() && self.exception.is_none() && self.unwired.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"
        [[requirement]]
        id = "9114-6.2.1-settings-first"
        section = "6.2.1"
        level = "MUST"
        rule = "SETTINGS is the first frame on a control stream"
        breach = "H3_MISSING_SETTINGS"
    "#;

    fn fault(from: &str, to: &str) -> String {
        let text = ENTRY.replace(from, to);
        assert_ne!(text, ENTRY, "the mutation applies");
        parse("9114", &text).unwrap_err().to_string()
    }

    #[test]
    fn an_entry_is_read_whole() {
        assert_eq!(
            parse("9114", ENTRY).unwrap(),
            [Requirement {
                id: "9114-6.2.1-settings-first".into(),
                section: "6.2.1".into(),
                level: Level::Must,
                rule: "SETTINGS is the first frame on a control stream".into(),
                breach: Some("H3_MISSING_SETTINGS".into()),
                exception: None,
                unwired: None,
            }]
        );
    }

    #[test]
    fn an_id_belongs_to_its_file_and_section() {
        let wrong = "an id is `<RFC number>-<section>-<words>`, with the entry's own section";
        assert!(fault("\"9114-", "\"9204-").ends_with(wrong));
        assert!(fault("section = \"6.2.1\"", "section = \"6.2\"").ends_with(wrong));
    }

    #[test]
    fn an_id_has_words_of_plain_letters() {
        let wrong = "the words of an id are lower case letters, digits and hyphens";
        assert!(fault("settings-first", "").ends_with(wrong));
        assert!(fault("settings-first", "Settings").ends_with(wrong));
    }

    #[test]
    fn a_level_or_a_key_that_does_not_exist_is_refused() {
        assert!(fault("\"MUST\"", "\"SHALL\"").contains("SHALL"));
        assert!(fault("breach", "braech").contains("braech"));
    }

    #[test]
    fn an_exception_without_a_reason_is_refused() {
        assert!(
            fault("breach = \"H3_MISSING_SETTINGS\"", "exception = \" \"")
                .contains("says something")
        );
    }

    #[test]
    fn a_rule_with_a_code_needs_the_wire_unless_a_reason_says_not() {
        let needs = |text: &str| parse("9114", text).unwrap().remove(0).needs_wire();
        assert!(needs(ENTRY));
        assert!(!needs(&ENTRY.replace("breach", "exception")));
        assert!(!needs(&ENTRY.replace("MUST", "SHOULD")));
        assert!(!needs(&format!("{ENTRY}unwired = \"only a server sends it\"\n")));
    }

    #[test]
    fn an_id_registered_in_two_files_is_refused() {
        let folder = std::env::temp_dir().join(format!("specs-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("rfc9114.toml"), format!("{ENTRY}{ENTRY}")).unwrap();
        let error = read(&folder).unwrap_err().to_string();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(error, "`9114-6.2.1-settings-first` is registered twice");
    }
}
