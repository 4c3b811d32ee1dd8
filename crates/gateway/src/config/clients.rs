//! Whom sites let in by their certificates.

use std::path::PathBuf;

use sterna_net::tls::ClientAuth;

use super::build::in_full;
use super::problem::{Mistake, Problems};
use super::setting::{FilePath, Several, choice, section};

section! {
    /// Whom a site lets in by their certificates (mutual TLS), on every version of HTTP alike.
    pub struct Clients {
        /// Asks clients for a certificate that one of these authorities has signed: PEM files. While authorities change, name the
        /// old and the new. Backends are told who it is in `Client-Cert` (RFC 9440), `X-Client-Cert-Subject` and
        /// `X-Client-Cert-San`, and nobody else can tell them so.
        pub client_ca: Option<Several<FilePath>>,
        /// Whether a client must have a certificate, may have one, or is not asked. One that is not good is refused in any case.
        /// Without it `required`, where there is a `client_ca`.
        pub client_auth: Option<ClientCertificates>,
    }
}

choice! {
    /// Whether clients show certificates.
    pub enum ClientCertificates {
        /// They must.
        Required = "required",
        /// They may.
        Optional = "optional",
        /// They are not asked.
        Off = "off",
    }
}

impl Clients {
    /// What a site asks for that has this, within what all sites have.
    fn within<'a>(&'a self, defaults: &'a Self) -> (Option<&'a Self>, ClientCertificates) {
        let source = if self.client_ca.is_some() { self } else { defaults };
        let auth = self.client_auth.or(source.client_auth);
        let source = source.client_ca.is_some().then_some(source);
        let otherwise = match source {
            Some(_) => ClientCertificates::Required,
            None => ClientCertificates::Off,
        };
        (source, auth.unwrap_or(otherwise))
    }

    /// What cannot be so.
    pub(super) fn check(&self, defaults: &Self, problems: &mut Problems) {
        if let (None, ClientCertificates::Required | ClientCertificates::Optional) =
            self.within(defaults)
            && let Some(place) = self.at.written("client_auth")
        {
            let what = "clients are asked for certificates that nobody may have signed";
            problems.contradiction(place, what, "name the authorities: `client_ca`");
        }
    }

    /// Whom a site lets in.
    pub(super) fn build(&self, defaults: &Self, problems: &mut Problems) -> Option<ClientAuth> {
        let (source, auth) = self.within(defaults);
        let is_required = match auth {
            ClientCertificates::Required => true,
            ClientCertificates::Optional => false,
            ClientCertificates::Off => return None,
        };
        let source = source?;
        let Several(files) = source.client_ca.as_ref()?;
        match ClientAuth::from_pem_files(files.iter().map(|file| &file.0), is_required) {
            Ok(clients) => Some(clients),
            Err(error) => {
                let file = error.path().map(Into::into).unwrap_or_default();
                let reason = in_full(&error);
                problems.add(source.at.key("client_ca"), Mistake::Certificate { file, reason });
                None
            }
        }
    }

    /// What is read for it.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let files = self.client_ca.iter().flat_map(|Several(files)| files);
        files.map(|file| file.0.clone())
    }
}
