//! The certificates of a server that does not run: of its files, and of what is kept.

use std::path::Path;

use serde_json::Value as Json;
use sterna_gateway::config::{Certificate, Environment, Loaded};
use sterna_gateway::route::host;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::acme::{Acme, Row, Settings};
use crate::admin::certificates::described;
use crate::error::Error;

/// As a server with this configuration would list them; nothing is made, and nobody is asked.
pub(super) fn certificates(file: &Path) -> Result<Vec<Json>, Error> {
    let built = Loaded::of_file(file, &Environment::of_process()).build().map_err(Error::Config)?;
    let acme = Acme::default();
    acme.follow(acme.prepare(Settings::of(&built.model)?));
    let rows = acme.rows();
    Ok(built.certificates.iter().flat_map(|site| of_site(site, &rows)).collect())
}

fn of_site(site: &Certificate, rows: &[Row]) -> Vec<Json> {
    let names: Vec<String> = site.hosts.iter().map(host::Pattern::to_string).collect();
    if let Some((_, tls)) = &site.tls {
        let leaves = tls.leaves();
        let leaf = leaves.first().and_then(|(_, der)| X509Certificate::from_der(der).ok());
        return vec![described(&names, "files", leaf.as_ref().map(|(_, leaf)| leaf), None)];
    }
    let of_host = |name: String| {
        let order = rows.iter().find(|row| row.host == name);
        let leaf = order.and_then(|row| X509Certificate::from_der(row.leaf.as_ref()?).ok());
        let source = if order.is_some() { "acme" } else { "local" };
        described(std::slice::from_ref(&name), source, leaf.as_ref().map(|(_, leaf)| leaf), order)
    };
    names.into_iter().map(of_host).collect()
}
