//! Which certificate to show: the operator's, or one of the local authority.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

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
}

/// A certificate, ready to serve with.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) tls: ServerTls,
    pub(crate) origin: Origin,
}

/// What to tell people about a certificate.
#[derive(Debug)]
pub(crate) enum Origin {
    Files { certificate: PathBuf },
    LocalCa { root: PathBuf, spki: String, is_new: bool },
}

impl Source {
    /// Reads or makes the certificate for these places.
    pub(crate) fn load(self, listen: &[Listen]) -> Result<Certificate, Error> {
        match self {
            Self::Files { certificate, key } => {
                let tls = ServerTls::from_pem_files(&certificate, key)?;
                Ok(Certificate { tls, origin: Origin::Files { certificate } })
            }
            Self::LocalCa => {
                let names = listen.iter().filter_map(Listen::certificate_name);
                let now = SystemTime::now();
                let authority = LocalCa::open(&local_ca::directory()?, now)?;
                let Leaf { chain, key, spki } = authority.leaf(names, now)?;
                let (root, is_new) = (authority.root_certificate(), authority.is_new());
                let origin = Origin::LocalCa { root, spki, is_new };
                Ok(Certificate { tls: ServerTls::from_der(chain, key)?, origin })
            }
        }
    }
}

impl Certificate {
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
