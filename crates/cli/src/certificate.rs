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
    /// Where sites have none of their own.
    local: Option<Local>,
    pub(crate) origin: Origin,
}

/// What the local authority has signed, which lives for days.
#[derive(Clone, Debug)]
struct Local {
    directory: PathBuf,
    names: Vec<String>,
    tls: ServerTls,
}

/// What to tell people about a certificate.
#[derive(Debug)]
pub(crate) enum Origin {
    Files { certificates: Vec<PathBuf> },
    LocalCa { root: PathBuf, spki: String, is_new: bool },
}

impl Source {
    /// One of the local authority, for this host as well.
    pub(crate) fn of_host(host: Option<&host::Pattern>) -> Self {
        match host {
            None => Self::LocalCa,
            Some(host) => Self::Sites(vec![config::Certificate {
                hosts: vec![host.clone()],
                tls: None,
                clients: None,
            }]),
        }
    }

    /// Reads or makes the certificate for these places.
    pub(crate) fn load(self, listen: &[Listen]) -> Result<Certificate, Error> {
        match self {
            Self::Files { certificate, key } => {
                let tls = ServerTls::from_pem_files(&certificate, key)?;
                Ok(Certificate::new(tls, Origin::Files { certificates: vec![certificate] }))
            }
            Self::LocalCa => local(listen, Vec::new()),
            Self::Sites(sites) => of_sites(sites, listen),
        }
    }
}

/// One of the local authority for these places and these names.
fn local(listen: &[Listen], mut names: Vec<String>) -> Result<Certificate, Error> {
    names.extend(listen.iter().filter_map(Listen::certificate_name));
    let (local, origin) = Local::sign(local_ca::directory()?, names, SystemTime::now())?;
    Ok(Certificate { local: Some(local.clone()), ..Certificate::new(local.tls, origin) })
}

impl Local {
    /// What the authority of this directory has signed for these names, or signs now.
    fn sign(
        directory: PathBuf,
        names: Vec<String>,
        now: SystemTime,
    ) -> Result<(Self, Origin), Error> {
        let authority = LocalCa::open(&directory, now)?;
        let Leaf { chain, key, spki } = authority.leaf(names.iter().cloned(), now)?;
        let (root, is_new) = (authority.root_certificate(), authority.is_new());
        let tls = ServerTls::from_der(chain, key)?;
        Ok((Self { directory, names, tls }, Origin::LocalCa { root, spki, is_new }))
    }
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
            Some(local(listen, names.collect())?)
        }
        false => None,
    };
    let (mut certificates, mut names) = (Vec::new(), Vec::new());
    let (mut otherwise, mut default) = (None, None);
    for config::Certificate { hosts, tls, clients } in sites {
        let tls = match (tls, &local) {
            (Some((path, tls)), _) => {
                certificates.push(path);
                tls
            }
            (None, Some(local)) => local.tls.clone(),
            (None, None) => continue,
        };
        let tls = match clients {
            Some(clients) => tls.with_client_auth(clients),
            None => tls,
        };
        names.extend(named(&hosts).into_iter().map(|name| (name, tls.clone())));
        if otherwise.is_none() || hosts.contains(&host::Pattern::Any) {
            otherwise = Some(tls);
            default = named(&hosts).into_iter().next();
        }
    }
    certificates.sort();
    certificates.dedup();
    let (origin, local) = match local {
        Some(certificate) => (certificate.origin, certificate.local),
        None => (Origin::Files { certificates }, None),
    };
    let otherwise = otherwise.ok_or(Error::NoSite)?;
    let tls = otherwise.with_names(names.iter().cloned());
    Ok(Certificate { tls, names, default, local, origin })
}

impl Certificate {
    pub(crate) fn new(tls: ServerTls, origin: Origin) -> Self {
        Self { tls, names: Vec::new(), default: None, local: None, origin }
    }

    /// The same with what the local authority signs now, if what it has signed ends soon.
    pub(crate) fn renewed(&self, now: SystemTime) -> Result<Option<Self>, Error> {
        let Some(Local { directory, names, tls: before }) = &self.local else { return Ok(None) };
        let (local, origin) = Local::sign(directory.clone(), names.clone(), now)?;
        if local.tls.is_same_as(before) {
            return Ok(None);
        }
        let leaf = |tls: &ServerTls| tls.leaves().into_iter().next().map(|(_, leaf)| leaf);
        let renew = |tls: &ServerTls| match leaf(tls) == leaf(before) {
            // Whom it lets in stays as it is.
            true => tls.clone().showing(&local.tls),
            false => tls.clone(),
        };
        let names: Vec<_> =
            self.names.iter().map(|(name, tls)| (name.clone(), renew(tls))).collect();
        let shown = renew(&self.tls).with_names(names.iter().cloned());
        let (tls, default) = (self.tls.clone().showing(&shown), self.default.clone());
        Ok(Some(Self { tls, names, default, local: Some(local), origin }))
    }

    /// What is shown where an authority has issued these, by host.
    pub(crate) fn with(&self, issued: &BTreeMap<String, ServerTls>) -> ServerTls {
        if issued.is_empty() {
            return self.tls.clone();
        }
        let of_default = self.default.as_ref().and_then(|name| issued.get(name));
        let of_name = |(name, tls): &(String, ServerTls)| {
            let tls = tls.clone();
            (name.clone(), issued.get(name).map_or(tls.clone(), |issued| tls.showing(issued)))
        };
        let names = self.names.iter().map(of_name);
        let otherwise = self.tls.clone().showing(of_default.unwrap_or(&self.tls));
        let shown = otherwise.with_names(names);
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use sterna_net::tls::ClientAuth;

    use super::*;

    fn day(number: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs((20_000 + number) * 86_400)
    }

    #[test]
    fn what_the_local_authority_has_signed_is_renewed_in_time_and_what_others_have_stays() {
        let directory = std::env::temp_dir().join(format!("sterna-renewed-{}", std::process::id()));
        let other = rcgen::generate_simple_self_signed(["b.example".to_owned()]).expect("a pair");
        let key = rustls_pki_types::PrivatePkcs8KeyDer::from(other.signing_key.serialize_der());
        let other = ServerTls::from_der(vec![other.cert.der().clone()], key.into()).expect("valid");
        let names = vec!["a.localhost".to_owned()];
        let (local, origin) = Local::sign(directory.clone(), names, day(0)).expect("signed");
        let clients = directory.join("root.crt");
        let clients = ClientAuth::from_pem_files([clients], true).expect("an authority");
        let asks = local.tls.clone().with_client_auth(clients);
        let names = vec![("a.localhost".to_owned(), asks), ("b.example".to_owned(), other)];
        let tls = local.tls.clone().with_names(names.iter().cloned());
        let first = Certificate { tls, names, default: None, local: Some(local), origin };

        assert!(first.renewed(day(4)).expect("read").is_none(), "it has more than two days");
        let second = first.renewed(day(6)).expect("signed").expect("renewed");
        let (before, after) = (first.tls.leaves(), second.tls.leaves());
        assert_eq!([before.len(), after.len()], [2, 2]);
        for ((names, before), (_, after)) in before.iter().zip(&after) {
            assert_eq!(before == after, names.contains(&"b.example".to_owned()), "{names:?}");
        }
        let letting_in = |of: &Certificate| {
            of.names.iter().map(|(_, tls)| tls.client_auth().cloned()).collect::<Vec<_>>()
        };
        assert_eq!(letting_in(&first), letting_in(&second));
        assert!(letting_in(&second)[0].is_some());
        assert_eq!(first.local_spki(), second.local_spki(), "what people were told stays true");
        assert!(second.renewed(day(10)).expect("read").is_none());
        assert!(second.renewed(day(12)).expect("signed").is_some());
        std::fs::remove_dir_all(directory).expect("removed");
    }
}
