//! `sterna reload`: the running server reads its configuration anew.

use std::time::Duration;

use http::Method;

use crate::admin::ask::Which;
use crate::error::Error;
use crate::report::{self, counted};

/// Arguments of `reload`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,

    /// Print what came of it as JSON on stdout.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(&self) -> Result<(), Error> {
        let json = self.which.find()?.ask(Method::POST, "/reload", PATIENCE)?;
        if self.json {
            return report::print(&format!("{json:#}")).map_err(Error::Output);
        }
        let changes = json["changes"].as_array().cloned().unwrap_or_default();
        let changed = match changes.len() {
            0 => "nothing has changed".to_owned(),
            count => counted(count, "change"),
        };
        report::say(&format!("reloaded, generation {}: {changed}", json["generation"]));
        for change in changes.iter().filter_map(|change| change.as_str()) {
            report::say(&format!("  {change}"));
        }
        Ok(())
    }
}

/// For a configuration of any size, and workers that are busy.
const PATIENCE: Duration = Duration::from_secs(60);
