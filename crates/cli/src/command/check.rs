//! `sterna check`: can this configuration be served, here?

use std::path::PathBuf;

use serde_json::json;
use sterna_gateway::config::{Built, Environment, Loaded, Problems};

use super::DEFAULT_FILE;
use crate::error::Error;
use crate::https_record;
use crate::preflight::{self, Finding, Weight};
use crate::report::{self, counted};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The configuration.
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,

    /// Judge the files alone, and not the machine: ports, names, limits. For a machine that already runs
    /// this server, or is not the one that will.
    #[arg(long)]
    no_preflight: bool,

    /// Print the findings as JSON on stdout.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(&self) -> Result<(), Error> {
        let loaded = Loaded::of_file(&self.config, &Environment::of_process());
        let files: Vec<String> = loaded.files().map(|file| file.display().to_string()).collect();
        let built = match loaded.build() {
            Ok(built) => built,
            Err(problems) => return self.refuse(problems, &files),
        };
        let findings = if self.no_preflight { Vec::new() } else { preflight::findings(&built) };
        let errors = findings.iter().filter(|finding| finding.weight == Weight::Error).count();
        let records = https_record::records(&built.model);
        if self.json {
            let findings: Vec<_> = findings.iter().map(Finding::to_json).collect();
            let ok = errors == 0;
            let json = json!({
                "ok": ok, "files": files, "mistakes": [], "findings": findings, "dns": records
            });
            report::print(&format!("{json:#}")).map_err(Error::Output)?;
        } else {
            findings.iter().for_each(|finding| report::say(&finding.to_string()));
            publish(&records);
        }
        match errors {
            0 => {
                report::say(&format!("{}: {}", self.config.display(), summary(&built, &findings)));
                Ok(())
            }
            errors => Err(Error::Preflight(errors)),
        }
    }

    fn refuse(&self, problems: Problems, files: &[String]) -> Result<(), Error> {
        if self.json {
            let mistakes = problems.to_json();
            let json = json!({ "ok": false, "files": files, "mistakes": mistakes, "findings": [] });
            report::print(&format!("{json:#}")).map_err(Error::Output)?;
        }
        Err(Error::Config(problems))
    }
}

/// What to add to DNS, if anything.
fn publish(records: &[String]) {
    if !records.is_empty() {
        report::say(
            "dns: with these records in its zone, the first visit of a host is over HTTP/3 already:",
        );
        records.iter().for_each(|record| report::say(&format!("  {record}")));
    }
}

fn summary(built: &Built, findings: &[Finding]) -> String {
    let sites = counted(built.model.site.len(), "site");
    let routes = counted(built.gateway.routes.len(), "route");
    match findings.len() {
        0 => format!("can be served, {sites}, {routes}"),
        warnings => format!("can be served, {sites}, {routes}, {}", counted(warnings, "warning")),
    }
}
