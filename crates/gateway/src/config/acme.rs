//! Certificates that are ordered from an authority, by ACME (RFC 8555).

use std::net::IpAddr;

use super::policies::Url;
use super::problem::Problems;
use super::setting::{FilePath, choice, section};
use super::value::Text;
use super::{Model, PlainHttp};
use crate::route::host;

section! {
    /// Who issues the certificates of sites with `acme = true`, and how it is shown that their hosts are ours.
    ///
    /// Certificates are renewed when two thirds of their time are over, or when the authority advises it (RFC 9773). Until
    /// the first one is there, a site shows a certificate of the local authority.
    pub struct Acme {
        /// Agrees to the terms of the authority, which its directory names. Nothing is ordered without.
        pub agree_to_terms: bool = false,
        /// Whom the authority writes to when something is wrong.
        pub email: Option<Text>,
        /// The directory of the authority. Without it that of Let's Encrypt; its other one, for trials, is
        /// `https://acme-staging-v02.api.letsencrypt.org/directory`.
        pub directory: Url = lets_encrypt(),
        /// Whose certificates are good when the authority is talked to, PEM, and no others: for one of your own. Without it
        /// those that the system trusts.
        pub ca: Option<FilePath>,
        /// Where accounts, keys and certificates are kept; several processes may share it. Without it `acme` in
        /// `$STERNA_DATA`, else where XDG puts the data of a user.
        pub storage: Option<FilePath>,
        /// How it is shown that a host is ours: `http-01` on port 80 (which `http` listens on), `tls-alpn-01` on port 443 (which
        /// `listen` has), or `dns-01` by `dns_hook`, which alone does for wildcards.
        pub challenge: Challenge = Challenge::Http01,
        /// A program that publishes a TXT record: `HOOK present NAME VALUE`, and `HOOK cleanup NAME VALUE` afterwards. It
        /// ends with 0 when the record can be seen, within two minutes.
        pub dns_hook: Option<FilePath>,
    }
}

choice! {
    /// How it is shown that a host is ours.
    pub enum Challenge {
        /// A file over plain HTTP, RFC 8555 §8.3.
        Http01 = "http-01",
        /// A certificate in a handshake, RFC 8737.
        TlsAlpn01 = "tls-alpn-01",
        /// A TXT record, RFC 8555 §8.4.
        Dns01 = "dns-01",
    }
}

/// The directory of Let's Encrypt.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

fn lets_encrypt() -> Url {
    Url(http::Uri::from_static(LETS_ENCRYPT))
}

/// Why no certificate can be ordered for a host that is proved so, and what to do instead.
pub fn not_orderable(
    host: &host::Pattern,
    challenge: Challenge,
) -> Option<(&'static str, &'static str)> {
    match host {
        host::Pattern::Any => Some(("no certificate is for every host", "name the hosts")),
        host::Pattern::Wildcard(_) if challenge != Challenge::Dns01 => {
            Some(("`dns-01` alone does for a wildcard", "write `challenge = \"dns-01\"`"))
        }
        host::Pattern::Exact(name) if is_private(name) => Some((
            "no authority issues a certificate for a host of this machine, or for an address",
            "leave `acme` out: the local authority does",
        )),
        _ => None,
    }
}

impl Acme {
    /// Whom the authority writes to, as its protocol wants it.
    pub fn contact(&self) -> Option<String> {
        self.email.as_ref().map(|email| format!("mailto:{}", email.text))
    }

    fn check(&self, model: &Model, problems: &mut Problems) {
        if !self.agree_to_terms {
            problems.contradiction(
                self.at.table(),
                "nobody has agreed to the terms of the authority",
                "read them, then write `agree_to_terms = true`",
            );
        }
        if !self.directory.is_safe() {
            problems.contradiction(
                self.at.key("directory"),
                "whoever is on the way could answer in place of the authority",
                "write an `https` URL",
            );
        }
        match (self.challenge, &self.dns_hook) {
            (Challenge::Dns01, None) => problems.contradiction(
                self.at.key("challenge"),
                "nothing publishes the records of `dns-01`",
                "name a program as `dns_hook`",
            ),
            (Challenge::Http01 | Challenge::TlsAlpn01, Some(_)) => problems.contradiction(
                self.at.key("dns_hook"),
                "`dns-01` alone has a use for the program",
                "write `challenge = \"dns-01\"`, or leave it out",
            ),
            _ => {}
        }
        if self.challenge == Challenge::Http01 && matches!(model.http, Some(PlainHttp::Off)) {
            problems.contradiction(
                model.at.key("http"),
                "`http-01` is asked for over plain HTTP, which is off",
                "let `http` listen, or write `challenge = \"dns-01\"`",
            );
        }
    }
}

impl Model {
    /// Whether what sites want of an authority can be had.
    pub(super) fn check_acme(&self, problems: &mut Problems) {
        if let Some(acme) = &self.acme {
            acme.check(self, problems);
        }
        let challenge = self.acme.as_ref().map(|acme| acme.challenge);
        for site in self.site.iter().filter(|site| site.acme) {
            let place = site.at.key("acme");
            if challenge.is_none() {
                problems.contradiction(
                    place,
                    "nothing says who issues the certificate",
                    "add `[acme]` with `agree_to_terms = true`",
                );
            }
            if site.tls.is_some() {
                problems.contradiction(
                    place,
                    "the site has a certificate of its own in `tls`",
                    "leave one of the two out",
                );
            }
            for host in &site.host.0 {
                // Without an authority that is told already.
                let challenge = challenge.unwrap_or(Challenge::Dns01);
                let Some((what, help)) = not_orderable(host, challenge) else { continue };
                let place = site.at.written("host").unwrap_or(place);
                problems.contradiction(place, &format!("`{host}`: {what}"), help);
            }
        }
    }

    /// The hosts that certificates are ordered for, and no others: one certificate for each.
    pub fn acme_hosts(&self) -> Vec<String> {
        let sites = self.site.iter().filter(|site| site.acme);
        sites.flat_map(|site| &site.host.0).map(ToString::to_string).collect()
    }
}

fn is_private(name: &str) -> bool {
    let is_local = name == "localhost" || name.ends_with(".localhost") || !name.contains('.');
    is_local || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, Loaded};

    fn mistakes(text: &str) -> Vec<String> {
        let loaded = Loaded::of_text("sterna.toml", text, &Environment::empty());
        match loaded.model() {
            Ok(_) => Vec::new(),
            Err(problems) => problems.mistakes().map(ToString::to_string).collect(),
        }
    }

    fn site(host: &str) -> String {
        format!("[[site]]\nhost = '{host}'\nacme = true\nrespond = ''\n")
    }

    #[test]
    fn a_site_with_acme_needs_an_authority_whose_terms_are_agreed_to() {
        let agreed = "[acme]\nagree_to_terms = true\n";
        assert_eq!(mistakes(&format!("{agreed}{}", site("a.example"))), [""; 0]);
        assert_eq!(mistakes(&site("a.example")), ["nothing says who issues the certificate"]);
        let not = mistakes(&format!("[acme]\n{}", site("a.example")));
        assert_eq!(not, ["nobody has agreed to the terms of the authority"]);
    }

    #[test]
    fn hosts_that_no_authority_could_name_are_refused() {
        let of = |host| mistakes(&format!("[acme]\nagree_to_terms = true\n{}", site(host))).len();
        for host in ["*", "*.a.example", "localhost", "a.localhost", "127.0.0.1", "[::1]", "box"] {
            assert_eq!(of(host), 1, "{host}");
        }
        assert_eq!(of("a.example"), 0);
    }

    #[test]
    fn a_wildcard_is_fine_with_records_of_the_name() {
        let dns = "[acme]\nagree_to_terms = true\nchallenge = 'dns-01'\ndns_hook = 'hook'\n";
        assert_eq!(mistakes(&format!("{dns}{}", site("*.a.example"))), [""; 0]);
        let without = dns.replace("dns_hook = 'hook'\n", "");
        let told = mistakes(&format!("{without}{}", site("*.a.example")));
        assert_eq!(told, ["nothing publishes the records of `dns-01`"]);
    }

    #[test]
    fn what_cannot_work_together_is_told() {
        let agreed = "[acme]\nagree_to_terms = true\n";
        let off = mistakes(&format!("http = 'off'\n{agreed}{}", site("a.example")));
        assert_eq!(off, ["`http-01` is asked for over plain HTTP, which is off"]);
        let plain = format!("{agreed}directory = 'http://ca.example/'\n{}", site("a.example"));
        assert_eq!(mistakes(&plain).len(), 1);
        let hook =
            format!("{agreed}challenge = 'tls-alpn-01'\ndns_hook = 'hook'\n{}", site("a.example"));
        assert_eq!(mistakes(&hook), ["`dns-01` alone has a use for the program"]);
        let off = format!("http = 'off'\n{agreed}challenge = 'tls-alpn-01'\n{}", site("a.example"));
        assert_eq!(mistakes(&off), [""; 0], "nobody comes by plain HTTP");
        let tls = format!("{agreed}{}tls = {{ cert = 'a', key = 'b' }}\n", site("a.example"));
        assert_eq!(mistakes(&tls), ["the site has a certificate of its own in `tls`"]);
    }
}
