//! `sterna files`: a directory as a site.

use std::path::PathBuf;
use std::time::Instant;

use sterna_gateway::handler::{self, files};
use sterna_gateway::middleware::{self, compress};
use sterna_gateway::route::{self, Pattern, host};
use sterna_net::server;

use crate::acme;
use crate::certificate::Source;
use crate::error::Error;
use crate::operation::Planner;
use crate::serve::{self, Plan};

/// Arguments of `files`.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The directory. Hidden files in it, and all outside it, are not served.
    #[arg(default_value = ".", value_name = "DIR")]
    directory: PathBuf,

    /// Answer with `index.html` where there is no file, for applications that read their own path. Not
    /// for names with an ending, unless the client asks for HTML.
    #[arg(long)]
    spa: bool,

    /// List directories that have no index.
    #[arg(long)]
    listing: bool,

    /// The host to serve, and to have a certificate for. Default: every host.
    #[arg(long, value_name = "HOST")]
    domain: Option<host::Pattern>,

    #[command(flatten)]
    acme: acme::Flags,

    /// Certificate chain (PEM, leaf first). Default: one from a local certificate authority, which is
    /// made when it is first needed.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// Private key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    #[command(flatten)]
    pub(super) serve: serve::Args,
}

impl Args {
    pub(crate) fn run(self, started: Instant) -> Result<(), Error> {
        let anew = Box::new(move || self.clone().plan());
        serve::serve(Planner { anew, of_json: None }, false, started)
    }

    fn plan(self) -> Result<(serve::Args, Plan), Error> {
        let root = files::Root::open(&self.directory)?;
        let certificate = match (self.cert, self.key) {
            (Some(certificate), Some(key)) => Source::Files { certificate, key },
            _ => Source::of_host(self.domain.as_ref()),
        };
        let acme = self.acme.settings(self.domain.as_ref())?;
        let serve = self.serve.or_default();
        let certificate = certificate.load(&serve.listen)?;
        let files = files::Config {
            fallback: self.spa.then(|| "index.html".to_owned()),
            listing: self.listing,
            ..files::Config::new(root)
        };
        let mut route = route::Config::new(Pattern::any(), handler::Config::Files(files));
        route.middleware = vec![middleware::Config::Compress(compress::Config::default())];
        let directory = self.directory.canonicalize().unwrap_or(self.directory);
        let what = directory.display().to_string();
        let plan = Plan {
            what,
            host: self.domain.as_ref().map(ToString::to_string),
            certificate,
            gateway: sterna_gateway::Config {
                routes: vec![route::Config { host: self.domain.unwrap_or_default(), ..route }],
                ..Default::default()
            },
            server: server::Config::default(),
            acme,
            model: None,
            files: Vec::new(),
        };
        Ok((serve, plan.with_early_data()))
    }
}
