//! `sterna completions`: what a shell needs to complete our words.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use crate::error::Error;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Which shell.
    shell: Shell,
}

impl Args {
    pub(crate) fn run(self) -> Result<(), Error> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "sterna", &mut script);
        io::stdout().write_all(&script).map_err(Error::Output)
    }
}
