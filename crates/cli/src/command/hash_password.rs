//! `sterna hash-password`: what a file of users has behind a name.

use std::io::{self, IsTerminal, Read};

use sterna_gateway::middleware::basic_auth;

use crate::error::Error;
use crate::report;

/// Arguments of `hash-password`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(&self) -> Result<(), Error> {
        if io::stdin().is_terminal() {
            report::say("type the password, which is shown, and end with Enter and Ctrl-D");
        }
        let mut password = Vec::new();
        io::stdin().take(MAX_LEN + 1).read_to_end(&mut password).map_err(Error::Input)?;
        // The end of the line is no part of the password.
        for end in [b'\n', b'\r'] {
            password.pop_if(|last| *last == end);
        }
        if password.is_empty() || password.len() as u64 > MAX_LEN {
            return Err(Error::NoPassword);
        }
        report::print(&basic_auth::hash_password(&password)?).map_err(Error::Output)
    }
}

/// In bytes: what a client can send (1.5 KiB), with a margin for its name.
const MAX_LEN: u64 = 1024;
