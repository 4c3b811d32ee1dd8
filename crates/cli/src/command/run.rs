//! `sterna run`: a configuration, or without one the welcome site.

use std::path::{Path, PathBuf};
use std::time::Instant;

use sterna_gateway::config::{Environment, Listen, Loaded, Model};
use sterna_gateway::handler::{self, welcome};
use sterna_gateway::route::{self, Pattern, host};
use sterna_net::server;

use super::DEFAULT_FILE;
use crate::acme;
use crate::certificate::Source;
use crate::error::Error;
use crate::operation::Planner;
use crate::serve::{self, Plan};

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The configuration. Default: `sterna.toml` in the working directory, if it is there.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Reload when the configuration, a file that it includes, or a certificate changes.
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    pub(super) serve: serve::Args,
}

impl Args {
    pub(crate) fn run(self, started: Instant) -> Result<(), Error> {
        let of_directory = || Path::new(DEFAULT_FILE).exists().then(|| DEFAULT_FILE.into());
        let Self { config, watch, serve } = self;
        match config.or_else(of_directory) {
            Some(file) => serve::serve(planner(file, serve), watch, started),
            None => {
                let anew = Box::new(move || plan_of_welcome(serve.clone()));
                serve::serve(Planner { anew, of_json: None }, watch, started)
            }
        }
    }
}

fn planner(file: PathBuf, serve: serve::Args) -> Planner {
    let (of_json, args) = (file.clone(), serve.clone());
    Planner {
        anew: Box::new(move || {
            plan_of(&file, Loaded::of_file(&file, &Environment::of_process()), serve.clone())
        }),
        of_json: Some(Box::new(move |json| {
            plan_of(&of_json, Loaded::of_json(json, &Environment::of_process()), args.clone())
        })),
    }
}

fn plan_of(file: &Path, loaded: Loaded, serve: serve::Args) -> Result<(serve::Args, Plan), Error> {
    let mut files: Vec<PathBuf> = loaded.files().map(Path::to_owned).collect();
    let built = loaded.build().map_err(Error::Config)?;
    let serve = serve.or(&built.model);
    files.extend(built.files());
    let mut certificate = Source::Sites(built.certificates).load(&serve.listen)?;
    certificate.tls = certificate.tls.with_settings(built.tls);
    let plan = Plan {
        what: file.display().to_string(),
        host: host_to_try(&built.model, &serve.listen),
        certificate,
        gateway: built.gateway,
        server: built.server,
        acme: acme::Settings::of(&built.model)?,
        model: Some(built.model),
        files,
    };
    Ok((serve, plan))
}

/// A host of the configuration, where it serves none that the place to listen is called: first one of this machine.
fn host_to_try(model: &Model, listen: &[Listen]) -> Option<String> {
    let listens = listen.first().map(Listen::host);
    let hosts = || model.site.iter().flat_map(|site| &site.host.0);
    let names = || {
        hosts().filter(|host| matches!(host, host::Pattern::Exact(_))).map(host::Pattern::to_string)
    };
    if hosts().any(|host| *host == host::Pattern::Any) || names().any(|name| Some(name) == listens)
    {
        return None;
    }
    let is_local = |name: &String| name == "localhost" || name.ends_with(".localhost");
    names().find(is_local).or_else(|| names().next())
}

fn plan_of_welcome(serve: serve::Args) -> Result<(serve::Args, Plan), Error> {
    let serve = serve.or_default();
    let certificate = Source::LocalCa.load(&serve.listen)?;
    let welcome = welcome::Config { local_spki: certificate.local_spki().map(str::to_owned) };
    let welcome = route::Config::new(Pattern::exact("/"), handler::Config::Welcome(welcome));
    let plan = Plan {
        what: "the welcome site".to_owned(),
        host: None,
        certificate,
        gateway: sterna_gateway::Config { routes: vec![welcome], ..Default::default() },
        server: server::Config::default(),
        acme: None,
        model: None,
        files: Vec::new(),
    };
    Ok((serve, plan.with_early_data()))
}
