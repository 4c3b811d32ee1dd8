//! `--acme`, of the verbs that serve one host without a configuration.

use sterna_gateway::config::{Challenge, LETS_ENCRYPT, Url, not_orderable};
use sterna_gateway::route::host;

use super::order::Proof;
use super::{Settings, default_storage};
use crate::error::Error;

/// Who issues the certificate.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Flags {
    /// Order the certificate of the host from an authority, and renew it: from Let's Encrypt, or from the one with this
    /// directory. By this you agree to its terms. It comes to port 80 to see that the host is yours.
    #[arg(long, value_name = "URL", num_args = 0..=1, require_equals = true, conflicts_with = "cert",
        default_missing_value = LETS_ENCRYPT)]
    acme: Option<Url>,

    /// Whom the authority writes to when something is wrong.
    #[arg(long, value_name = "ADDRESS", requires = "acme")]
    email: Option<String>,
}

impl Flags {
    /// What to order for this host.
    ///
    /// # Errors
    /// [`Error::NotOrderable`]; [`Error::UnsafeAuthority`].
    pub(crate) fn settings(&self, host: Option<&host::Pattern>) -> Result<Option<Settings>, Error> {
        let Some(directory) = &self.acme else { return Ok(None) };
        let host = host.cloned().unwrap_or_default();
        if let Some((why, _)) = not_orderable(&host, Challenge::Http01) {
            return Err(Error::NotOrderable { host, why });
        }
        if !directory.is_safe() {
            return Err(Error::UnsafeAuthority);
        }
        Ok(Some(Settings {
            directory: directory.to_string(),
            contact: self.email.as_ref().map(|email| format!("mailto:{email}")),
            ca: None,
            storage: default_storage()?,
            proof: Proof::Http,
            hosts: vec![host.to_string()],
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
        #[arg(long)]
        cert: Option<String>,
    }

    fn settings(line: &[&str], host: &str) -> Result<Option<Settings>, Error> {
        let line = [&["sterna"], line].concat();
        let line = <Line as clap::Parser>::try_parse_from(line).expect("a command line");
        line.flags.settings(Some(&host.parse().expect("a host")))
    }

    #[test]
    fn without_a_directory_it_is_that_of_lets_encrypt() {
        let ordered = settings(&["--acme", "--email=a@a.example"], "a.example");
        let ordered = ordered.expect("a host of the internet").expect("an order");
        assert_eq!(ordered.directory, LETS_ENCRYPT);
        assert_eq!(ordered.contact.as_deref(), Some("mailto:a@a.example"));
        assert_eq!(ordered.hosts, ["a.example"]);
        assert!(matches!(settings(&[], "a.example"), Ok(None)));
    }

    #[test]
    fn what_no_authority_would_issue_is_refused() {
        for host in ["*", "localhost", "127.0.0.1", "*.a.example"] {
            let refused = settings(&["--acme"], host);
            assert!(matches!(refused, Err(Error::NotOrderable { .. })), "{host}");
        }
        let plain = settings(&["--acme=http://ca.example/"], "a.example");
        assert!(matches!(plain, Err(Error::UnsafeAuthority)));
    }
}
