//! Which certificate to show: the operator's, or one of the local authority.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sterna_gateway::config;
use sterna_gateway::route::host;
use sterna_net::ServerTls;

use crate::error::Error;
use crate::listen::Listen;
use crate::local_ca::{self, Leaf, LocalCa};

/// Where a certificate comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Two PEM files.
    Files { certificate: PathBuf, key: PathBuf },
    /// An authority of our own, for this machine.
    LocalCa,
    /// What each site of a configuration has; the local authority for those without.
    Sites(Vec<config::Certificate>),
}

/// A certificate, ready to serve with.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) tls: ServerTls,
    /// What is shown by name, and by whose name to those who name nobody.
    names: Vec<(String, ServerTls)>,
    default: Option<String>,
    pub(crate) origin: Origin,
}

/// What to tell people about a certificate.
#[derive(Debug)]
pub(crate) enum Origin {
    Files { certificates: Vec<PathBuf> },
    LocalCa { root: PathBuf, spki: String, is_new: bool },
}

impl Source {
    /// Reads or makes the certificate for these places.
    pub(crate) fn load(self, listen: &[Listen]) -> Result<Certificate, Error> {
        match self {
            Self::Files { certificate, key } => {
                let tls = ServerTls::from_pem_files(&certificate, key)?;
                Ok(Certificate::new(tls, Origin::Files { certificates: vec![certificate] }))
            }
            Self::LocalCa => local(listen, []),
            Self::Sites(sites) => of_sites(sites, listen),
        }
    }
}

/// One of the local authority for these places and `more` names.
fn local(listen: &[Listen], more: impl IntoIterator<Item = String>) -> Result<Certificate, Error> {
    let names = listen.iter().filter_map(Listen::certificate_name).chain(more);
    let now = SystemTime::now();
    let authority = LocalCa::open(&local_ca::directory()?, now)?;
    let Leaf { chain, key, spki } = authority.leaf(names, now)?;
    let (root, is_new) = (authority.root_certificate(), authority.is_new());
    let origin = Origin::LocalCa { root, spki, is_new };
    Ok(Certificate::new(ServerTls::from_der(chain, key)?, origin))
}

/// Each site shows its own; a client that names no site sees that of the site for every host, else of the first.
fn of_sites(sites: Vec<config::Certificate>, listen: &[Listen]) -> Result<Certificate, Error> {
    let is_local = |site: &&config::Certificate| site.tls.is_none();
    let named = |hosts: &[host::Pattern]| {
        let names = hosts.iter().filter(|host| **host != host::Pattern::Any);
        names.map(ToString::to_string).collect::<Vec<_>>()
    };
    let local = match sites.iter().any(|site| is_local(&site)) {
        true => {
            let names = sites.iter().filter(is_local).flat_map(|site| named(&site.hosts));
            Some(local(listen, names)?)
        }
        false => None,
    };
    let (mut certificates, mut names) = (Vec::new(), Vec::new());
    let (mut otherwise, mut default) = (None, None);
    for config::Certificate { hosts, tls } in sites {
        let tls = match (tls, &local) {
            (Some((path, tls)), _) => {
                certificates.push(path);
                tls
            }
            (None, Some(local)) => local.tls.clone(),
            (None, None) => continue,
        };
        names.extend(named(&hosts).into_iter().map(|name| (name, tls.clone())));
        if otherwise.is_none() || hosts.contains(&host::Pattern::Any) {
            otherwise = Some(tls);
            default = named(&hosts).into_iter().next();
        }
    }
    certificates.sort();
    certificates.dedup();
    let origin = match local {
        Some(local) => local.origin,
        None => Origin::Files { certificates },
    };
    let otherwise = otherwise.ok_or(Error::NoSite)?;
    let tls = otherwise.with_names(names.iter().cloned());
    Ok(Certificate { tls, names, default, origin })
}

impl Certificate {
    pub(crate) fn new(tls: ServerTls, origin: Origin) -> Self {
        Self { tls, names: Vec::new(), default: None, origin }
    }

    /// What is shown where an authority has issued these, by host.
    pub(crate) fn with(&self, issued: &BTreeMap<String, ServerTls>) -> ServerTls {
        if issued.is_empty() {
            return self.tls.clone();
        }
        let of_default = self.default.as_ref().and_then(|name| issued.get(name));
        let of_name = |(name, tls): &(String, ServerTls)| {
            (name.clone(), issued.get(name).unwrap_or(tls).clone())
        };
        let names = self.names.iter().map(of_name);
        let shown = of_default.unwrap_or(&self.tls).clone().with_names(names);
        self.tls.clone().showing(&shown)
    }

    /// The hash of the public key, if the certificate is of the local authority.
    pub(crate) fn local_spki(&self) -> Option<&str> {
        match &self.origin {
            Origin::LocalCa { spki, .. } => Some(spki),
            Origin::Files { .. } => None,
        }
    }

    /// The root to trust, if the certificate is of the local authority.
    pub(crate) fn local_root(&self) -> Option<&Path> {
        match &self.origin {
            Origin::LocalCa { root, .. } => Some(root),
            Origin::Files { .. } => None,
        }
    }
}
