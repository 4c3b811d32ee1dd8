//! `sterna stop`: the running server ends, after its requests.

use std::time::Duration;

use http::Method;
use sterna_gateway::config::Span;

use crate::admin::ask::Which;
use crate::error::Error;
use crate::report;

/// Arguments of `stop`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,

    /// How long requests may still run, such as `10s`.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    deadline: Span,

    /// End at once, whatever runs.
    #[arg(long, conflicts_with = "deadline")]
    now: bool,
}

impl Args {
    pub(crate) fn run(&self) -> Result<(), Error> {
        let server = self.which.find()?;
        let path = match self.now {
            true => "/stop".to_owned(),
            false => format!("/drain?deadline={}", self.deadline),
        };
        server.ask(Method::POST, &path, PATIENCE)?;
        report::say(&match self.now {
            true => "it ends".to_owned(),
            false => format!("it takes nothing new, and ends within {}", self.deadline),
        });
        Ok(())
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
