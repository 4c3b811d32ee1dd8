//! The certificate that answers TLS-ALPN-01 (RFC 8737 §3): for one host, signed by itself, with the digest of the answer in it.

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sterna_net::TlsError;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AlpnError {
    #[error(transparent)]
    Make(#[from] rcgen::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the digest is not one of SHA-256")]
    Digest,
}

/// It and its key.
pub(super) fn certificate(
    host: &str,
    digest: &[u8],
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), AlpnError> {
    if digest.len() != SHA256 {
        return Err(AlpnError::Digest);
    }
    let mut params = CertificateParams::new([host.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    // req: 8737-3-critical-extension
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let der = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok((certificate.der().clone(), der.into()))
}

const SHA256: usize = 32;

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

    use super::*;

    #[test]
    // req: 8737-3-critical-extension
    fn it_is_for_the_host_alone_and_has_the_digest_in_a_critical_extension() {
        let (der, _) = certificate("a.example", &[7; 32]).expect("a certificate");
        let (_, parsed) = X509Certificate::from_der(&der).expect("a certificate");
        let names = parsed.subject_alternative_name().expect("names").expect("names");
        assert_eq!(names.value.general_names, [GeneralName::DNSName("a.example")]);
        let is_digest = |extension: &&x509_parser::prelude::X509Extension<'_>| {
            extension.oid.to_id_string() == "1.3.6.1.5.5.7.1.31"
        };
        let digest = parsed.extensions().iter().find(is_digest).expect("an extension");
        // An OCTET STRING of 32 bytes.
        assert_eq!(digest.value, [&[4, 32][..], &[7; 32]].concat());
        assert!(digest.critical);
    }

    #[test]
    fn a_digest_of_another_length_is_refused() {
        assert!(matches!(certificate("a.example", &[7; 20]), Err(AlpnError::Digest)));
    }
}
