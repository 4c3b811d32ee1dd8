//! Certificates.

use super::setting::{FilePath, section};

section! {
    /// The certificate of a site: written as a table, as in `tls = { cert = "site.pem", key = "site.key" }`.
    ///
    /// A site without one is served with a certificate of the local authority, which is made for this machine.
    pub struct Tls {
        /// The certificate chain, PEM, leaf first.
        pub cert: FilePath,
        /// Its private key, PEM.
        pub key: FilePath,
    }
}
