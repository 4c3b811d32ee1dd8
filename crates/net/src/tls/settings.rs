//! What a server agrees to: versions, cipher suites, key exchange.

use std::{fmt, str::FromStr};

use rustls::{NamedGroup, SupportedProtocolVersion, crypto::CryptoProvider, version};

/// What a server agrees to. QUIC has TLS 1.3 whatever is said here (RFC 9001 §4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The oldest version over TCP. Default: TLS 1.2.
    pub min_version: Version,
    /// The cipher suites, the first that a client has is taken. Default: all of [`CipherSuite::ALL`], in this order.
    pub ciphers: Option<Vec<CipherSuite>>,
    /// The key exchanges, the best first. Default: all of [`KeyExchange::ALL`], in this order.
    pub key_exchange: Option<Vec<KeyExchange>>,
}

/// Declares names of the registry of TLS, so that none can miss a way to be written.
macro_rules! names {
    ($(#[$doc:meta])* $type:ident: $what:literal, $($(#[doc = $of:literal])+ $variant:ident = $name:literal,)+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type {
            $($(#[doc = $of])+ $variant,)+
        }

        impl $type {
            /// All, in the order in which they are preferred.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The names of all.
            pub const NAMES: &[&str] = &[$($name),+];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.iter().find(|one| one.as_str() == text);
                found.copied().ok_or(concat!("is no ", $what))
            }
        }
    };
}

names! {
    /// A version of TLS.
    Version: "version of TLS: write `1.2` or `1.3`",
    /// RFC 5246.
    Tls12 = "1.2",
    /// RFC 8446.
    Tls13 = "1.3",
}

names! {
    /// A cipher suite, by its name at IANA. AES-128 is first: it costs a third less for each packet than AES-256, at a strength
    /// that nobody attacks.
    CipherSuite: "cipher suite that is spoken here",
    /// TLS 1.3.
    Aes128 = "TLS_AES_128_GCM_SHA256",
    /// TLS 1.3.
    Aes256 = "TLS_AES_256_GCM_SHA384",
    /// TLS 1.3.
    ChaCha20 = "TLS_CHACHA20_POLY1305_SHA256",
    /// TLS 1.2.
    EcdsaAes256 = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    /// TLS 1.2.
    EcdsaAes128 = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    /// TLS 1.2.
    EcdsaChaCha20 = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    /// TLS 1.2.
    RsaAes256 = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    /// TLS 1.2.
    RsaAes128 = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    /// TLS 1.2.
    RsaChaCha20 = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}

impl CipherSuite {
    /// The version of TLS that it belongs to.
    pub const fn version(self) -> Version {
        match self {
            Self::Aes128 | Self::Aes256 | Self::ChaCha20 => Version::Tls13,
            _ => Version::Tls12,
        }
    }

    const fn code(self) -> rustls::CipherSuite {
        use rustls::CipherSuite as Code;
        match self {
            Self::Aes128 => Code::TLS13_AES_128_GCM_SHA256,
            Self::Aes256 => Code::TLS13_AES_256_GCM_SHA384,
            Self::ChaCha20 => Code::TLS13_CHACHA20_POLY1305_SHA256,
            Self::EcdsaAes256 => Code::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            Self::EcdsaAes128 => Code::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            Self::EcdsaChaCha20 => Code::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            Self::RsaAes256 => Code::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            Self::RsaAes128 => Code::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            Self::RsaChaCha20 => Code::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        }
    }
}

names! {
    /// A key exchange, by its name at IANA.
    KeyExchange: "key exchange that is spoken here",
    /// X25519 with ML-KEM-768, which a quantum computer does not break.
    X25519MlKem768 = "X25519MLKEM768",
    /// RFC 7748.
    X25519 = "X25519",
    /// P-256.
    P256 = "secp256r1",
    /// P-384.
    P384 = "secp384r1",
}

impl KeyExchange {
    const fn code(self) -> NamedGroup {
        match self {
            Self::X25519MlKem768 => NamedGroup::X25519MLKEM768,
            Self::X25519 => NamedGroup::X25519,
            Self::P256 => NamedGroup::secp256r1,
            Self::P384 => NamedGroup::secp384r1,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { min_version: Version::Tls12, ciphers: None, key_exchange: None }
    }
}

impl Settings {
    /// Versions over TCP.
    pub(super) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        match self.min_version {
            Version::Tls12 => vec![&version::TLS13, &version::TLS12],
            Version::Tls13 => vec![&version::TLS13],
        }
    }

    /// Leaves what is listed, in the order of the lists.
    pub(super) fn narrow(&self, provider: &mut CryptoProvider) {
        if let Some(wanted) = &self.ciphers {
            let all = std::mem::take(&mut provider.cipher_suites);
            let of = |one: &CipherSuite| all.iter().find(|suite| suite.suite() == one.code());
            provider.cipher_suites = wanted.iter().filter_map(of).copied().collect();
        }
        if let Some(wanted) = &self.key_exchange {
            let all = std::mem::take(&mut provider.kx_groups);
            let of = |one: &KeyExchange| all.iter().find(|group| group.name() == one.code());
            provider.kx_groups = wanted.iter().filter_map(of).copied().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::provider;

    #[test]
    fn every_name_is_one_that_the_provider_has_and_none_of_its_is_missing() {
        let whole = provider();
        let all = Settings {
            ciphers: Some(CipherSuite::ALL.to_vec()),
            key_exchange: Some(KeyExchange::ALL.to_vec()),
            ..Settings::default()
        };
        let mut narrowed = provider();
        all.narrow(&mut narrowed);
        let suites = |provider: &CryptoProvider| {
            provider.cipher_suites.iter().map(|suite| suite.suite()).collect::<Vec<_>>()
        };
        let groups = |provider: &CryptoProvider| {
            provider.kx_groups.iter().map(|group| group.name()).collect::<Vec<_>>()
        };
        assert_eq!(suites(&narrowed), suites(&whole), "the order is that of the default too");
        assert_eq!(groups(&narrowed), groups(&whole));
    }

    #[test]
    fn a_list_is_the_order_of_preference_and_all_that_is_left() {
        let few = Settings {
            ciphers: Some(vec![CipherSuite::ChaCha20, CipherSuite::Aes128]),
            key_exchange: Some(vec![KeyExchange::P256]),
            min_version: Version::Tls13,
        };
        let mut provider = provider();
        few.narrow(&mut provider);
        let suites: Vec<_> = provider.cipher_suites.iter().map(|suite| suite.suite()).collect();
        assert_eq!(suites, [CipherSuite::ChaCha20.code(), CipherSuite::Aes128.code()]);
        assert_eq!(provider.kx_groups.len(), 1);
        assert_eq!(few.versions(), [&version::TLS13]);
        assert_eq!("1.3".parse(), Ok(Version::Tls13));
        assert!("1.1".parse::<Version>().is_err());
    }
}
