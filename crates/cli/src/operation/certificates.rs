//! Certificates that a reload brings: what is over is not shown, and what is refused is told to who audits.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sterna_net::ServerTls;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certificate::{Certificate, Origin};
use crate::error::Error;

/// Refuses a certificate that is over, unless clients are shown it already: then the reload is about something else.
pub(super) fn check(shown: &ServerTls, next: &Certificate, now: SystemTime) -> Result<(), Error> {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let known = shown.leaves();
    for (_, leaf) in next.tls.leaves() {
        if known.iter().any(|(_, known)| *known == leaf) {
            continue;
        }
        let Ok((_, parsed)) = X509Certificate::from_der(&leaf) else { continue };
        let end = parsed.validity().not_after;
        if i64::try_from(now).is_ok_and(|now| end.timestamp() < now) {
            let file = file_of(&leaf, &next.origin);
            return Err(Error::Expired { file, since: end.to_string() });
        }
    }
    Ok(())
}

/// The file that holds it.
fn file_of(leaf: &CertificateDer<'_>, origin: &Origin) -> Option<PathBuf> {
    let Origin::Files { certificates } = origin else { return None };
    let holds = |file: &&PathBuf| {
        CertificateDer::from_pem_file(file).is_ok_and(|certificate| certificate == *leaf)
    };
    certificates.iter().find(holds).cloned()
}

/// Writes an event for each certificate that an error is about; how many these are.
pub(super) fn audit(error: &Error) -> u64 {
    let refused = error.certificates();
    for (file, reason) in &refused {
        let file = file.as_deref().map(|file| file.display().to_string());
        tracing::warn!(
            target: AUDIT,
            file = file.as_deref().unwrap_or("-"),
            reason,
            "certificate refused, the one before is shown on"
        );
    }
    refused.len() as u64
}

/// What an operator answers for. A filter of the log that is stricter than warnings can let it through by this name.
pub(crate) const AUDIT: &str = "audit";
