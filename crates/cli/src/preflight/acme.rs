//! Whether an authority can see that hosts are ours, and whether what it issues can be kept.

use std::path::Path;

use nix::unistd::{AccessFlags, access};
use sterna_gateway::config::{Challenge, Listen, Model, PlainHttp};

use super::Finding;
use crate::acme::Settings;

pub(super) fn findings(model: &Model) -> Vec<Finding> {
    let settings = match Settings::of(model) {
        Ok(Some(settings)) => settings,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![Finding::error(error.in_full())],
    };
    let mut findings: Vec<_> = challenge(model).into_iter().collect();
    let storage = settings.storage();
    if !can_be_written(storage) {
        findings.push(Finding::error(format!(
            "certificates cannot be kept in {}: let this user write there, or name another place as `acme.storage`",
            storage.display()
        )));
    }
    findings
}

fn challenge(model: &Model) -> Option<Finding> {
    let acme = model.acme.as_ref()?;
    let listens_on = |port| model.listen.iter().any(|listen: &Listen| listen.port() == port);
    match acme.challenge {
        Challenge::Http01 => {
            let is_there = match &model.http {
                Some(PlainHttp::At(listen)) => listen.port() == 80,
                // Beside the usual port of HTTPS.
                None => listens_on(443),
                Some(PlainHttp::Off) => false,
            };
            (!is_there).then(|| {
                Finding::warning(
                    "the authority comes to port 80 for `http-01`, where this server does not listen: forward it, or write \
                     `http = \":80\"`",
                )
            })
        }
        Challenge::TlsAlpn01 => (!listens_on(443)).then(|| {
            Finding::warning(
                "the authority comes to port 443 for `tls-alpn-01`, where this server does not listen: forward it, or listen there",
            )
        }),
        Challenge::Dns01 => {
            let hook = &acme.dns_hook.as_ref()?.0;
            access(hook, AccessFlags::X_OK).err().map(|errno| {
                Finding::error(format!(
                    "{} cannot be run ({errno}): name a program that this user may run as `acme.dns_hook`",
                    hook.display()
                ))
            })
        }
    }
}

/// Whether it is a directory to write in, or can be made.
fn can_be_written(directory: &Path) -> bool {
    let there = directory.ancestors().find(|ancestor| ancestor.exists());
    let rights = AccessFlags::W_OK | AccessFlags::X_OK;
    there.is_some_and(|there| there.is_dir() && access(there, rights).is_ok())
}

#[cfg(test)]
mod tests {
    use sterna_gateway::config::{Environment, Loaded};

    use super::*;

    fn told(top: &str, acme: &str) -> Vec<String> {
        let storage = std::env::temp_dir();
        let acme = match acme.contains("storage") {
            true => acme.to_owned(),
            false => format!("storage = '{}'\n{acme}", storage.display()),
        };
        let site = "[[site]]\nhost = 'a.example'\nacme = true\nrespond = ''\n";
        let text = format!("{top}\n[acme]\nagree_to_terms = true\n{acme}\n{site}");
        let loaded = Loaded::of_text("sterna.toml", &text, &Environment::empty());
        let model = loaded.model().unwrap_or_else(|problems| panic!("{problems}"));
        findings(&model).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_authority_that_comes_to_another_port_is_told() {
        assert_eq!(told("listen = [':443']", ""), [""; 0]);
        assert_eq!(told("listen = [':8443']\nhttp = ':80'", ""), [""; 0]);
        let elsewhere = told("listen = [':8443']", "");
        assert!(
            elsewhere[0].starts_with("warning: the authority comes to port 80"),
            "{elsewhere:?}"
        );
        let alpn = "challenge = 'tls-alpn-01'";
        assert_eq!(told("listen = [':443']\nhttp = 'off'", alpn), [""; 0]);
        let elsewhere = told("listen = [':8443']", alpn);
        assert!(
            elsewhere[0].starts_with("warning: the authority comes to port 443"),
            "{elsewhere:?}"
        );
    }

    #[test]
    fn a_program_that_cannot_be_run_and_a_place_that_cannot_be_written_are_errors() {
        let of_hook = |hook: &str| told("", &format!("challenge = 'dns-01'\ndns_hook = '{hook}'"));
        assert_eq!(of_hook("/bin/sh"), [""; 0]);
        assert!(of_hook("/no/such/hook")[0].starts_with("error: /no/such/hook cannot be run"));
        let kept = told("listen = [':443']", "storage = '/dev/null/acme'");
        assert!(
            kept[0].starts_with("error: certificates cannot be kept in /dev/null/acme"),
            "{kept:?}"
        );
    }
}
