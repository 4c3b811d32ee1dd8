//! `sterna adapt`: a configuration as canonical JSON.

use std::path::PathBuf;

use sterna_gateway::config::{Environment, Loaded};

use super::DEFAULT_FILE;
use crate::error::Error;
use crate::report;

/// Arguments of `adapt`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The configuration.
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
}

impl Args {
    /// Nothing that the file names is opened but what it includes, and no secret is printed.
    pub(crate) fn run(&self) -> Result<(), Error> {
        let loaded = Loaded::of_file(&self.config, &Environment::of_process());
        let model = loaded.model().map_err(Error::Config)?;
        report::print(&format!("{:#}", model.to_json())).map_err(Error::Output)
    }
}
