//! What `cargo metadata` says: packages, and who depends on whom.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The resolved packages of the workspace.
pub(super) struct Graph {
    packages: BTreeMap<String, Package>,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
pub(super) struct Package {
    id: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) license: Option<String>,
    /// `None` for a member of the workspace.
    pub(super) source: Option<String>,
    pub(super) dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    req: String,
    path: Option<String>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

impl Graph {
    pub(super) fn parse(metadata: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Metadata {
            packages: Vec<Package>,
            resolve: Resolve,
        }
        #[derive(Deserialize)]
        struct Resolve {
            nodes: Vec<Node>,
        }
        let Metadata { packages, resolve } = serde_json::from_slice(metadata)?;
        let packages = packages.into_iter().map(|package| (package.id.clone(), package)).collect();
        Ok(Self { packages, nodes: resolve.nodes })
    }

    pub(super) fn packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.values()
    }

    /// Those that depend on `package` directly.
    pub(super) fn dependants(&self, package: &Package) -> impl Iterator<Item = &Package> {
        let by = self.nodes.iter().filter(|node| node.dependencies.contains(&package.id));
        by.filter_map(|node| self.packages.get(&node.id))
    }
}

impl Dependency {
    pub(super) fn is_wildcard(&self) -> bool {
        self.req == "*" && self.path.is_none()
    }
}
