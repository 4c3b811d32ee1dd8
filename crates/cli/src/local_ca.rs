//! A certificate authority for this machine alone, so that HTTPS works before anyone has a certificate.
//!
//! The root lives for years, so that it need be trusted once; what it signs lives for a week and is renewed
//! when a server starts, and while it runs. The key of the leaf stays the same through renewals, so that a browser which was
//! told its hash keeps working. Everything is kept in one directory ([`store`]), for its owner's eyes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use self::store::Store;
pub(crate) use self::store::directory;

mod store;

/// The authority, locked against other processes that start at the same time.
#[derive(Debug)]
pub(crate) struct LocalCa {
    store: Store,
    certificate: CertificateDer<'static>,
    key: KeyPair,
    is_new: bool,
}

impl LocalCa {
    /// Opens the authority in `dir`, or makes it.
    ///
    /// One that ends soon is replaced, for then it would have to be trusted anew anyway.
    ///
    /// # Errors
    /// When the directory cannot be used, or holds something that is no authority.
    pub(crate) fn open(dir: &Path, now: SystemTime) -> Result<Self, LocalCaError> {
        let store = Store::lock(dir)?;
        if let (Some(certificate), Some(key)) =
            (store.read(ROOT_CERTIFICATE)?, store.read(ROOT_KEY)?)
        {
            let certificate = store.certificate(ROOT_CERTIFICATE, &certificate)?;
            let key = store.key(ROOT_KEY, &key)?;
            if !is_of(&certificate, &key) {
                return Err(store.broken(ROOT_KEY));
            }
            if is_valid(&certificate, now, ROOT_LEFT) {
                return Ok(Self { store, certificate, key, is_new: false });
            }
        }
        let key = KeyPair::generate()?;
        let certificate = root(&key, now)?.self_signed(&key)?;
        // The key first: a certificate without its key could be trusted, and never be used.
        store.write(ROOT_KEY, &key.serialize_pem(), store::Access::Owner)?;
        store.write(ROOT_CERTIFICATE, &certificate.pem(), store::Access::Everyone)?;
        Ok(Self { store, certificate: certificate.der().clone(), key, is_new: true })
    }

    /// A certificate for this machine and for `more` names, with time left.
    ///
    /// # Errors
    /// When a name cannot be in a certificate, or the directory refuses.
    pub(crate) fn leaf(
        &self,
        more: impl IntoIterator<Item = String>,
        now: SystemTime,
    ) -> Result<Leaf, LocalCaError> {
        let names: BTreeSet<String> = local_names().chain(more).collect();
        let key = match self.store.read(LEAF_KEY)? {
            Some(pem) => self.store.key(LEAF_KEY, &pem)?,
            None => {
                let key = KeyPair::generate()?;
                self.store.write(LEAF_KEY, &key.serialize_pem(), store::Access::Owner)?;
                key
            }
        };
        let kept = match self.store.read(LEAF_CERTIFICATE)? {
            Some(pem) => Some(self.store.certificate(LEAF_CERTIFICATE, &pem)?),
            None => None,
        };
        let certificate = match kept.filter(|kept| self.still_serves(kept, &key, &names, now)) {
            Some(kept) => kept,
            None => {
                let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key)?;
                let certificate = leaf(&names, now)?.signed_by(&key, &issuer)?;
                self.store.write(LEAF_CERTIFICATE, &certificate.pem(), store::Access::Everyone)?;
                certificate.der().clone()
            }
        };
        let spki = digest::digest(&digest::SHA256, &key.subject_public_key_info());
        Ok(Leaf {
            chain: vec![certificate],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            spki: BASE64_STANDARD.encode(spki),
        })
    }

    /// Where the certificate is that people may trust.
    pub(crate) fn root_certificate(&self) -> PathBuf {
        self.store.path(ROOT_CERTIFICATE)
    }

    /// Whether it was made just now.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Whether a leaf is ours, of this key, for all these names, and has time left.
    fn still_serves(
        &self,
        leaf: &CertificateDer<'_>,
        key: &KeyPair,
        names: &BTreeSet<String>,
        now: SystemTime,
    ) -> bool {
        let Ok(((_, parsed), (_, root))) = X509Certificate::from_der(leaf)
            .and_then(|leaf| X509Certificate::from_der(&self.certificate).map(|root| (leaf, root)))
        else {
            return false;
        };
        // The subject of a root names its key, so that another root has another.
        is_valid(leaf, now, LEAF_LEFT)
            && is_of(leaf, key)
            && parsed.issuer().as_raw() == root.subject().as_raw()
            && names.is_subset(&names_in(&parsed))
    }
}

/// What a server shows.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// Base64 of the SHA-256 of the public key, as `--ignore-certificate-errors-spki-list` takes it.
    pub(crate) spki: String,
}

/// Why there is no local certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalCaError {
    #[error("no place for the local certificate authority: neither STERNA_DATA nor HOME is set")]
    NoDirectory,
    #[error("cannot keep the local certificate authority in {}", path.display())]
    Store { path: PathBuf, source: std::io::Error },
    #[error("{} is damaged", path.display())]
    Broken { path: PathBuf },
    #[error("a local certificate cannot be made")]
    Make(#[from] rcgen::Error),
}

impl LocalCaError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoDirectory | Self::Store { .. } => Some(
                "name a directory that this user may write with STERNA_DATA, or give --cert and --key",
            ),
            Self::Broken { .. } => Some(
                "remove the directory that it is in: a new authority will be made, to be trusted anew",
            ),
            Self::Make(_) => Some("give --cert and --key instead"),
        }
    }
}

fn root(key: &KeyPair, now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let digest = digest::digest(&digest::SHA256, &key.subject_public_key_info());
    let id: String = digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let mut root = lifetime(CertificateParams::new(Vec::new())?, now, ROOT_LIFE);
    root.distinguished_name = rcgen::DistinguishedName::new();
    root.distinguished_name.push(DnType::CommonName, format!("Sterna local authority {id}"));
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(root)
}

fn leaf(names: &BTreeSet<String>, now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<String> = names.iter().cloned().collect();
    let mut leaf = lifetime(CertificateParams::new(names)?, now, LEAF_LIFE);
    leaf.distinguished_name = rcgen::DistinguishedName::new();
    leaf.distinguished_name.push(DnType::CommonName, "Sterna on this machine");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    Ok(leaf)
}

/// From an hour ago, for clients whose clock is behind, until `life` from now.
fn lifetime(mut params: CertificateParams, now: SystemTime, life: Duration) -> CertificateParams {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since = Duration::from_secs(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
    params.not_before = epoch + since.saturating_sub(Duration::from_secs(3600));
    params.not_after = epoch + since + life;
    params
}

/// Whether a certificate has begun, and will not end before `left` has passed.
fn is_valid(certificate: &CertificateDer<'_>, now: SystemTime, left: Duration) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    let seconds = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    };
    let validity = parsed.validity();
    validity.not_before.timestamp() <= seconds(now)
        && seconds(now + left) <= validity.not_after.timestamp()
}

fn is_of(certificate: &CertificateDer<'_>, key: &KeyPair) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, parsed)| parsed.public_key().raw == key.subject_public_key_info())
}

/// The names and addresses that a certificate is for.
fn names_in(certificate: &X509Certificate<'_>) -> BTreeSet<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return BTreeSet::new();
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|v4| IpAddr::from(v4).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|v6| IpAddr::from(v6).to_string()),
        },
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

/// What this machine is called by itself.
fn local_names() -> impl Iterator<Item = String> {
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let hostname = Some(hostname.trim().to_ascii_lowercase()).filter(|name| is_host_name(name));
    ["localhost", "127.0.0.1", "::1"].into_iter().map(str::to_owned).chain(hostname)
}

fn is_host_name(name: &str) -> bool {
    !name.is_empty()
        && name.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

const ROOT_CERTIFICATE: &str = "root.crt";
const ROOT_KEY: &str = "root.key";
const LEAF_CERTIFICATE: &str = "leaf.crt";
const LEAF_KEY: &str = "leaf.key";

const ROOT_LIFE: Duration = Duration::from_secs(3650 * 86_400);
/// A root with less than this left is replaced.
const ROOT_LEFT: Duration = Duration::from_secs(30 * 86_400);
const LEAF_LIFE: Duration = Duration::from_secs(7 * 86_400);
/// A leaf with less than this left is renewed at a start.
const LEAF_LEFT: Duration = Duration::from_secs(2 * 86_400);

#[cfg(test)]
mod tests;
