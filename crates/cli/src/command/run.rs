//! `sterna run`: the welcome site.

use std::time::Instant;

use sterna_gateway::handler::{self, welcome};
use sterna_gateway::route::{self, Pattern};

use crate::certificate::Source;
use crate::error::Error;
use crate::serve::{self, Plan};

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    serve: serve::Args,
}

impl Args {
    pub(crate) fn run(self, started: Instant) -> Result<(), Error> {
        let certificate = Source::LocalCa.load(&self.serve.listen)?;
        let welcome = welcome::Config { local_spki: certificate.local_spki().map(str::to_owned) };
        let route = route::Config::new(Pattern::exact("/"), handler::Config::Welcome(welcome));
        let plan = Plan { what: "the welcome site".to_owned(), certificate, routes: vec![route] };
        serve::serve(&self.serve, plan, started)
    }
}
