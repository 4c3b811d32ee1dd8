//! Certificates, and what TLS agrees to.

use std::fmt;
use std::str::FromStr;

use sterna_net::tls::{self, CipherSuite, KeyExchange, Version};

use super::problem::Problems;
use super::setting::{FilePath, Several, section, word};
use super::units::Span;

section! {
    /// The certificate of a site: written as a table, as in `tls = { cert = "site.pem", key = "site.key" }`.
    ///
    /// A site without one is served with a certificate of the local authority, which is made for this machine.
    pub struct Tls {
        /// The certificate chain, PEM, leaf first.
        pub cert: FilePath,
        /// Its private key, PEM.
        pub key: FilePath,
        /// What the authority says of the certificate, an OCSP response in DER: shown over TCP and QUIC to clients that ask for
        /// it, until it is over. A program of yours asks the authority, and `--watch` finds the new file.
        pub ocsp: Option<FilePath>,
    }
}

section! {
    /// What TLS agrees to, for all sites. QUIC has TLS 1.3 whatever is said here.
    pub struct TlsSettings {
        /// The oldest version over TCP: `1.2` or `1.3`.
        pub min_version: TlsVersion = TlsVersion(Version::Tls12),
        /// The cipher suites by their names at IANA, the best first; the first that a client has is taken. Without it all that
        /// are good: AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305.
        pub ciphers: Option<Several<Cipher>>,
        /// The key exchanges, the best first. Without it `X25519MLKEM768`, `X25519`, `secp256r1`, `secp384r1`.
        pub key_exchange: Option<Several<Exchange>>,
        /// How long connections are kept that began with other certificates or settings of TLS than a reload has put in their
        /// place, such as `1h`. They are told to go then, one after the other over a tenth of this time; what runs on them goes
        /// on to its end. Without it they stay.
        pub retire_after: Option<Span>,
    }
}

impl TlsSettings {
    /// What could be spoken with nobody.
    pub(super) fn check(&self, http3: bool, problems: &mut Problems) {
        let Some(Several(ciphers)) = &self.ciphers else { return };
        let place = self.at.key("ciphers");
        if http3 && !ciphers.contains(&Cipher(CipherSuite::Aes128)) {
            let what =
                "HTTP/3 needs `TLS_AES_128_GCM_SHA256`, which protects the first packets of QUIC";
            problems.contradiction(place, what, "add it, or switch HTTP/3 off by `http3 = false`");
        }
        if self.min_version.0 == Version::Tls13 {
            let old = ciphers.iter().find(|one| one.0.version() == Version::Tls12);
            if let Some(old) = old {
                let what = format!("`{old}` is of TLS 1.2, which `min_version` excludes");
                problems.contradiction(place, &what, "leave one of them out");
            }
        }
    }

    pub(super) fn build(&self) -> tls::Settings {
        tls::Settings {
            min_version: self.min_version.0,
            ciphers: self.ciphers.as_ref().map(|all| all.0.iter().map(|one| one.0).collect()),
            key_exchange: self
                .key_exchange
                .as_ref()
                .map(|all| all.0.iter().map(|one| one.0).collect()),
        }
    }
}

/// Declares a name of TLS as a word of the configuration.
macro_rules! name {
    ($(#[doc = $doc:literal])+ $type:ident($of:ident), $what:literal, [$($example:literal),+]) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $type(pub $of);

        impl FromStr for $type {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        word!($type, $what, [$($example),+]);
    };
}

name! {
    /// A version of TLS.
    TlsVersion(Version), "version", ["1.2", "1.3"]
}

name! {
    /// A cipher suite.
    Cipher(CipherSuite), "cipher suite", ["TLS_AES_128_GCM_SHA256"]
}

name! {
    /// A key exchange.
    Exchange(KeyExchange), "key exchange", ["X25519MLKEM768", "X25519"]
}
