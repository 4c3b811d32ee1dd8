//! `sterna run`: a configuration, or without one the welcome site.

use std::path::{Path, PathBuf};
use std::time::Instant;

use sterna_gateway::config::{Environment, Loaded};
use sterna_gateway::handler::{self, welcome};
use sterna_gateway::route::{self, Pattern};
use sterna_net::server;

use super::DEFAULT_FILE;
use crate::certificate::Source;
use crate::error::Error;
use crate::serve::{self, Plan};

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The configuration. Default: `sterna.toml` in the working directory, if it is there.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    pub(super) serve: serve::Args,
}

impl Args {
    pub(crate) fn run(self, started: Instant) -> Result<(), Error> {
        let of_directory = || Path::new(DEFAULT_FILE).exists().then(|| DEFAULT_FILE.into());
        match self.config.or_else(of_directory) {
            Some(file) => serve_file(&file, self.serve, started),
            None => serve_welcome(self.serve, started),
        }
    }
}

fn serve_file(file: &Path, serve: serve::Args, started: Instant) -> Result<(), Error> {
    let built = Loaded::of_file(file, &Environment::of_process()).build().map_err(Error::Config)?;
    let serve = serve.or(&built.model);
    let plan = Plan {
        what: file.display().to_string(),
        certificate: Source::Sites(built.certificates).load(&serve.listen)?,
        routes: built.gateway.routes,
        server: built.server,
    };
    serve::serve(&serve, plan, started)
}

fn serve_welcome(serve: serve::Args, started: Instant) -> Result<(), Error> {
    let serve = serve.or_default();
    let certificate = Source::LocalCa.load(&serve.listen)?;
    let welcome = welcome::Config { local_spki: certificate.local_spki().map(str::to_owned) };
    let welcome = route::Config::new(Pattern::exact("/"), handler::Config::Welcome(welcome));
    let plan = Plan {
        what: "the welcome site".to_owned(),
        certificate,
        routes: vec![welcome],
        server: server::Config::default(),
    };
    serve::serve(&serve, plan, started)
}
