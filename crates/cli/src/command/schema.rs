//! `sterna schema`: what a configuration can say, for editors.

use sterna_gateway::config::Model;

use crate::error::Error;
use crate::report;

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(&self) -> Result<(), Error> {
        report::print(&format!("{:#}", Model::schema())).map_err(Error::Output)
    }
}
