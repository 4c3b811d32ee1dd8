//! The certificate that a client has shown, as services are told of it.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex},
    time::SystemTime,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::CertificateDer;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
    x509::X509Name,
};

use super::{TlsFacts, lock};
use crate::tls::ClientAuth;

/// Who a client is, by the certificate that it has proved to be its own.
///
/// All texts are printable ASCII: what else a certificate says, and what would end a part of a list, is written as `\XX` or
/// behind a `\` (RFC 4514 §2.4), so that no name can look like two.
pub struct ClientIdentity {
    subject: String,
    names: Vec<String>,
    encoded: String,
    chain: Vec<CertificateDer<'static>>,
    /// What was found last time that somebody asked, and for which policy.
    verdict: Mutex<Option<(ClientAuth, bool)>>,
}

impl ClientIdentity {
    /// By the certificates of a handshake, leaf first; `None` where there are none.
    pub(crate) fn of(certificates: &[Vec<u8>]) -> Option<Arc<Self>> {
        let leaf = certificates.first()?;
        // rustls has read it before.
        let (subject, names) = match X509Certificate::from_der(leaf) {
            Ok((_, read)) => (subject(read.subject()), names(&read)),
            Err(_) => Default::default(),
        };
        let chain = certificates.iter().map(|one| CertificateDer::from(one.clone())).collect();
        let (encoded, verdict) = (STANDARD.encode(leaf), Mutex::default());
        Some(Arc::new(Self { subject, names, encoded, chain, verdict }))
    }

    /// The subject, such as `CN=alice,O=Example`: its parts in the order of the certificate.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The alternative names, each with its kind before it: `DNS:host`, `email:address`, `URI:uri`, `IP:address`. Others are
    /// left out.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The leaf in Base64, as `Client-Cert` carries it between colons (RFC 9440 §2.2).
    pub fn encoded(&self) -> &str {
        &self.encoded
    }

    fn is_admitted_by(&self, policy: &ClientAuth) -> bool {
        let mut verdict = lock(&self.verdict);
        if let Some((of, is_admitted)) = &*verdict
            && of == policy
        {
            return *is_admitted;
        }
        let is_admitted = policy.admits(&self.chain, SystemTime::now());
        *verdict = Some((policy.clone(), is_admitted));
        is_admitted
    }
}

impl TlsFacts {
    /// Whether this policy lets the client in. A handshake has asked so already, but the connection may be older than the policy,
    /// or the request for another site than the handshake was. Looked at once for each policy that follows another.
    pub fn is_admitted_by(&self, policy: &ClientAuth) -> bool {
        match &self.client {
            Some(client) => client.is_admitted_by(policy),
            None => !policy.is_required(),
        }
    }
}

impl PartialEq for ClientIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain
    }
}

impl Eq for ClientIdentity {}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").field("subject", &self.subject).finish_non_exhaustive()
    }
}

fn subject(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    for part in name.iter() {
        for (at, attribute) in part.iter().enumerate() {
            match at {
                _ if text.is_empty() => {}
                0 => text.push(','),
                _ => text.push('+'),
            }
            let kind = attribute.attr_type();
            match x509_parser::objects::oid2abbrev(kind, x509_parser::objects::oid_registry()) {
                Ok(abbreviation) => text.push_str(abbreviation),
                Err(_) => text.push_str(&kind.to_id_string()),
            }
            text.push('=');
            match attribute.as_str() {
                Ok(value) => escape(value.as_bytes(), &mut text),
                Err(_) => escape(attribute.attr_value().data, &mut text),
            }
        }
    }
    text
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let written = |kind: &str, value: &[u8]| {
        let mut text = format!("{kind}:");
        escape(value, &mut text);
        Some(text)
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => written("DNS", name.as_bytes()),
        GeneralName::RFC822Name(address) => written("email", address.as_bytes()),
        GeneralName::URI(uri) => written("URI", uri.as_bytes()),
        GeneralName::IPAddress(bytes) => {
            let address: std::net::IpAddr = match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok()?.into(),
                _ => <[u8; 16]>::try_from(*bytes).ok()?.into(),
            };
            Some(format!("IP:{address}"))
        }
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).take(MOST_NAMES).collect()
}

/// Adds a value in which nothing can be taken for an end of it.
fn escape(value: &[u8], text: &mut String) {
    for &byte in value {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' | b'=' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                // Writing to a String does not fail.
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
}

/// Names of a certificate that are told.
const MOST_NAMES: usize = 64;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn a_client_is_told_by_subject_and_names_and_none_of_them_looks_like_two() {
        let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "eve,CN=admin\r\nx: y");
        params.distinguished_name.push(DnType::OrganizationName, "Müller");
        let san = [
            SanType::Rfc822Name("eve@example.com".try_into().unwrap()),
            SanType::URI("spiffe://example/eve".try_into().unwrap()),
            SanType::IpAddress([192, 0, 2, 1].into()),
        ];
        params.subject_alt_names.extend(san);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let client = ClientIdentity::of(&[made.der().to_vec()]).expect("a client");
        assert_eq!(client.subject(), r"CN=eve\,CN\=admin\0D\0Ax: y,O=M\C3\BCller");
        let expected = ["DNS:a.example", "email:eve@example.com", "URI:spiffe://example/eve"];
        assert_eq!(client.names()[..3], expected);
        assert_eq!(client.names()[3..], ["IP:192.0.2.1"]);
        assert_eq!(STANDARD.decode(client.encoded()).unwrap(), made.der().to_vec());
        assert_eq!(ClientIdentity::of(&[]), None);
    }

    #[test]
    fn garbage_is_a_client_without_a_name() {
        let client = ClientIdentity::of(&[b"garbage".to_vec()]).expect("a client");
        assert_eq!((client.subject(), client.names().len()), ("", 0));
    }
}
