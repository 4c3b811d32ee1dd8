//! A server that is trusted by its own certificate, though that is one of an authority.
//!
//! `openssl req -x509` makes such certificates unless it is told otherwise: self-signed, and marked as an authority's. Path
//! building refuses to take an authority for a server, and yet whoever names that very certificate as trusted
//! means the server that shows it. The name in it and its time are checked all the same.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::aws_lc_rs,
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

/// Checks as usual, and lets those certificates stand for themselves that were named one by one.
#[derive(Debug)]
pub(super) struct OwnCertificates {
    /// `None`: nobody is trusted.
    pub(super) usual: Option<Arc<WebPkiServerVerifier>>,
    pub(super) named: Vec<CertificateDer<'static>>,
}

impl OwnCertificates {
    fn usual(&self) -> Result<&WebPkiServerVerifier, Error> {
        let nobody = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        self.usual.as_deref().ok_or(nobody)
    }
}

impl ServerCertVerifier for OwnCertificates {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let usual = self.usual()?.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match usual {
            Err(error) if is_authority(&error) && self.named.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                verify_time(end_entity, now)?;
                Ok(ServerCertVerified::assertion())
            }
            usual => usual,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual()?.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual()?.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match &self.usual {
            Some(usual) => usual.supported_verify_schemes(),
            None => {
                aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
            }
        }
    }
}

/// Path building has found nothing wrong but that the server shows an authority's certificate.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(other))) = error else {
        return false;
    };
    other.to_string() == "CaUsedAsEndEntity"
}

fn verify_time(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let is_valid =
        ASN1Time::from_timestamp(seconds).is_ok_and(|now| parsed.validity().is_valid_at(now));
    if is_valid { Ok(()) } else { Err(Error::InvalidCertificate(CertificateError::Expired)) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use rustls::RootCertStore;

    use super::*;

    /// A certificate as `openssl req -x509` makes it, valid from 2020 to 2030.
    fn self_signed(name: &str) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn verify(
        trusted: &CertificateDer<'static>,
        shown: &CertificateDer<'static>,
        name: &str,
        year: u64,
    ) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let usual = usual.build().unwrap();
        let own = OwnCertificates { usual: Some(usual), named: vec![trusted.clone()] };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_556_952));
        own.verify_server_cert(shown, &[], &name, &[], now).map(drop)
    }

    #[test]
    fn certificate_that_was_named_stands_for_its_server() {
        let own = self_signed("example.com");
        assert_eq!(verify(&own, &own, "example.com", 2026), Ok(()));
    }

    #[test]
    fn its_name_and_its_time_count_all_the_same() {
        let own = self_signed("example.com");
        assert!(verify(&own, &own, "example.net", 2026).is_err());
        assert!(verify(&own, &own, "example.com", 2031).is_err());
        assert!(verify(&own, &own, "example.com", 2019).is_err());
    }

    #[test]
    fn nobody_is_trusted_without_anyone_to_trust() {
        let own = OwnCertificates { usual: None, named: vec![self_signed("example.com")] };
        let name = ServerName::try_from("example.com").unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_700_000_000));
        assert!(own.verify_server_cert(&own.named[0], &[], &name, &[], now).is_err());
    }

    #[test]
    fn another_one_of_the_same_name_is_refused() {
        let (own, other) = (self_signed("example.com"), self_signed("example.com"));
        assert!(verify(&own, &other, "example.com", 2026).is_err());
    }
}
