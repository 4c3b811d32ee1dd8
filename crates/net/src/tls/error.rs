//! Why TLS cannot be set up.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustls_pki_types::pem;

use super::StapleError;

/// Why a certificate or a key cannot be used: always the operator's to repair, nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file could not be read.
    #[error("cannot read {}: check the path and the permissions", path.display())]
    Unreadable {
        /// File.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not PEM.
    #[error("{} is not valid PEM", path.display())]
    Pem {
        /// File.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The file has no CERTIFICATE section.
    #[error("{} holds no certificate: expected PEM with a CERTIFICATE section", path.display())]
    NoCertificate {
        /// File.
        path: PathBuf,
    },
    /// The file has no private key.
    #[error("{} holds no private key: expected PEM with a PRIVATE KEY section", path.display())]
    NoKey {
        /// File.
        path: PathBuf,
    },
    /// The key is of a kind that cannot sign a TLS handshake.
    #[error("the private key cannot be used: expected ECDSA, Ed25519 or RSA of 2048 bits and more")]
    UnusableKey(#[source] rustls::Error),
    /// The chain was empty or its first certificate is broken.
    #[error("the certificate cannot be used")]
    UnusableCertificate(#[source] rustls::Error),
    /// The key signs for another certificate.
    #[error(
        "the private key does not match the certificate: give the key that the certificate was issued for"
    )]
    KeyMismatch,
    /// The OCSP response does not go with the certificate.
    #[error("{} cannot be shown with the certificate", path.display())]
    Staple {
        /// File.
        path: PathBuf,
        /// Why not.
        source: StapleError,
    },
    /// An authority for clients is none.
    #[error("{} holds a certificate that cannot stand for an authority", path.display())]
    UnusableAuthority {
        /// File.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// Nothing to judge a server's certificate by.
    #[error(
        "no trusted certificates were found: install the system's (`ca-certificates`), or name some"
    )]
    NoRoots,
    /// The TLS library refused the combination.
    #[error("TLS cannot be configured")]
    Configuration(#[source] rustls::Error),
}

impl TlsError {
    /// The file that is wrong, where one is.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unreadable { path, .. }
            | Self::Pem { path, .. }
            | Self::NoCertificate { path }
            | Self::NoKey { path }
            | Self::UnusableAuthority { path, .. }
            | Self::Staple { path, .. } => Some(path),
            Self::UnusableKey(_)
            | Self::UnusableCertificate(_)
            | Self::KeyMismatch
            | Self::NoRoots
            | Self::Configuration(_) => None,
        }
    }
}
