//! `sterna proxy`: a service behind HTTP/1.1, HTTP/2 and HTTP/3.

use std::path::PathBuf;
use std::time::Instant;

use sterna_gateway::handler::{self, proxy};
use sterna_gateway::middleware::{self, compress};
use sterna_gateway::route::{self, Pattern, host};
use sterna_gateway::upstream::{self, Address};
use sterna_net::server;

use crate::acme;
use crate::certificate::Source;
use crate::error::Error;
use crate::operation::Planner;
use crate::serve::{self, Plan};

/// Arguments of `proxy`.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Where to pass requests on to; may be given several times, each gets its share. `HOST:PORT` is plain HTTP/1.1,
    /// `h2c://` HTTP/2 without TLS, `https://` HTTP/2 or HTTP/1.1, `h3://` HTTP/3 or what there is instead, and
    /// `unix:/PATH` a socket.
    #[arg(long, value_name = "ADDR", required = true)]
    to: Vec<Address>,

    /// The host to serve, and to have a certificate for. Default: every host.
    #[arg(long, value_name = "HOST")]
    from: Option<host::Pattern>,

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
        let serve = self.serve.or_default();
        let certificate = match (self.cert, self.key) {
            (Some(certificate), Some(key)) => Source::Files { certificate, key },
            _ => Source::of_host(self.from.as_ref()),
        };
        let acme = self.acme.settings(self.from.as_ref())?;
        let certificate = certificate.load(&serve.listen)?;
        let what = self.to.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let backends = upstream::Config::new(self.to);
        let config = proxy::Config::new(backends).map_err(Error::Upstream)?;
        let everything = Pattern::any();
        let mut route = route::Config::new(everything, handler::Config::Proxy(Box::new(config)));
        route.middleware = vec![middleware::Config::Compress(compress::Config::default())];
        let plan = Plan {
            what,
            host: self.from.as_ref().map(ToString::to_string),
            certificate,
            gateway: sterna_gateway::Config {
                routes: vec![route::Config { host: self.from.unwrap_or_default(), ..route }],
                ..sterna_gateway::Config::default()
            },
            server: server::Config::default(),
            acme,
            model: None,
            files: Vec::new(),
        };
        Ok((serve, plan.with_early_data()))
    }
}
