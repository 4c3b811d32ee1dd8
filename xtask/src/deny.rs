//! The policy of `deny.toml`, checked against what cargo resolves.
//!
//! cargo-deny knows more (advisories, for one), but takes longer to build than everything else here; so that the
//! policy holds on a bare machine too, this module reads the same file: bans with version floors and wrappers,
//! duplicates, wildcards, licences, sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use graph::{Graph, Package};
use policy::Policy;

mod graph;
mod policy;

/// What the check could not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read deny.toml: {0}")]
    Policy(#[from] io::Error),
    #[error("deny.toml: {0}")]
    Syntax(#[from] Box<toml::de::Error>),
    #[error("deny.toml: `{0}` is not a version floor such as `<1.2.3`")]
    Floor(String),
    #[error("`cargo metadata` failed: {0}")]
    Metadata(String),
}

/// Every breach of the policy, one sentence each.
pub(crate) fn breaches(root: &Path) -> Result<Vec<String>, Error> {
    let policy = Policy::parse(&fs::read_to_string(root.join("deny.toml"))?)?;
    let output = Command::new("cargo")
        .args(["metadata", "--format-version=1", "--all-features"])
        .arg("--filter-platform=x86_64-unknown-linux-gnu")
        .current_dir(root)
        .output()?;
    if !output.status.success() {
        return Err(Error::Metadata(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let graph = Graph::parse(&output.stdout).map_err(|error| Error::Metadata(error.to_string()))?;
    Ok(check(&policy, &graph))
}

fn check(policy: &Policy, graph: &Graph) -> Vec<String> {
    let mut breaches = banned(policy, graph);
    breaches.extend(duplicates(policy, graph));
    for package in graph.packages() {
        breaches.extend(wildcard(package));
        breaches.extend(licence(policy, package));
        breaches.extend(source(package));
    }
    breaches
}

fn banned(policy: &Policy, graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for ban in &policy.bans {
        for package in graph.packages().filter(|package| ban.names(package)) {
            let Package { name, version, .. } = package;
            if ban.wrappers.is_empty() {
                found.push(format!("{name} {version} is banned: {}", ban.reason));
                continue;
            }
            let strangers = graph.dependants(package).filter(|by| !ban.wrappers.contains(&by.name));
            found.extend(
                strangers.map(|by| format!("{} may not depend on {name}: {}", by.name, ban.reason)),
            );
        }
    }
    found
}

fn duplicates(policy: &Policy, graph: &Graph) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in graph.packages().filter(|package| !policy.skips(package)) {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let sentence = |(name, versions): (&str, BTreeSet<&str>)| {
        let versions: Vec<_> = versions.into_iter().collect();
        format!("{name} comes in several versions ({}) without a reason", versions.join(", "))
    };
    versions.into_iter().map(sentence).collect()
}

fn wildcard(package: &Package) -> Option<String> {
    let wild = package.dependencies.iter().find(|dependency| dependency.is_wildcard())?;
    let ours = package.source.is_none();
    ours.then(|| format!("{} asks for any version of {}", package.name, wild.name))
}

fn licence(policy: &Policy, package: &Package) -> Option<String> {
    let expression = package.license.as_deref().unwrap_or("");
    (!policy.allows(expression))
        .then(|| format!("{}'s licence is not allowed: `{expression}`", package.name))
}

fn source(package: &Package) -> Option<String> {
    let source = package.source.as_deref()?;
    let known = source.starts_with("registry+") && source.ends_with("/crates.io-index");
    (!known).then(|| format!("{} comes from {source}", package.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
        [bans]
        deny = [
            { name = "openssl", reason = "one TLS stack" },
            { name = "h2", version = "<0.4.16", reason = "resets" },
            { name = "engine", wrappers = ["quic"], reason = "facade" },
        ]
        skip = [{ name = "twice", version = "1.0.0", reason = "old dependant" }]
        [licenses]
        allow = ["MIT", "ISC"]
    "#;

    /// Packages as (name, version, dependencies by id), all MIT and from the registry.
    fn graph(packages: &[(&str, &str, &[&str])]) -> Graph {
        let id = |name: &str, version: &str| format!("{name}@{version}");
        let listed: Vec<_> = packages
            .iter()
            .map(|(name, version, _)| {
                serde_json::json!({
                    "id": id(name, version), "name": name, "version": version, "license": "MIT",
                    "source": "registry+https://x/crates.io-index", "dependencies": [],
                })
            })
            .collect();
        let nodes: Vec<_> = packages
            .iter()
            .map(|(name, version, dependencies)| {
                serde_json::json!({ "id": id(name, version), "dependencies": dependencies })
            })
            .collect();
        let metadata = serde_json::json!({ "packages": listed, "resolve": { "nodes": nodes } });
        Graph::parse(metadata.to_string().as_bytes()).unwrap()
    }

    fn found(packages: &[(&str, &str, &[&str])]) -> Vec<String> {
        check(&Policy::parse(POLICY).unwrap(), &graph(packages))
    }

    #[test]
    fn a_banned_crate_is_found_with_its_reason() {
        assert_eq!(
            found(&[("openssl", "0.10.1", &[])]),
            ["openssl 0.10.1 is banned: one TLS stack"]
        );
    }

    #[test]
    fn a_version_below_the_floor_is_found_and_the_floor_itself_passes() {
        assert_eq!(found(&[("h2", "0.4.15", &[])]), ["h2 0.4.15 is banned: resets"]);
        assert_eq!(found(&[("h2", "0.4.16", &[])]), [""; 0]);
        assert_eq!(found(&[("h2", "0.10.0", &[])]), [""; 0]);
    }

    #[test]
    fn only_a_wrapper_may_depend_on_a_wrapped_crate() {
        let packages: &[(&str, &str, &[&str])] = &[
            ("engine", "1.0.0", &[]),
            ("quic", "1.0.0", &["engine@1.0.0"]),
            ("gateway", "1.0.0", &["engine@1.0.0"]),
        ];
        assert_eq!(found(packages), ["gateway may not depend on engine: facade"]);
        assert_eq!(found(&packages[..2]), [""; 0]);
    }

    #[test]
    fn two_versions_need_a_reason() {
        let expected = ["once comes in several versions (1.0.0, 2.0.0) without a reason"];
        assert_eq!(found(&[("once", "1.0.0", &[]), ("once", "2.0.0", &[])]), expected);
        assert_eq!(found(&[("twice", "1.0.0", &[]), ("twice", "2.0.0", &[])]), [""; 0]);
    }
}
