//! `sterna trust` and `untrust`: the local authority in the stores of this machine, and out of them.
//!
//! Each store is asked in turn; what was done, or must be done by hand, is one line for each. The exit code
//! is 1 when a store that is there could not be changed.

use std::time::SystemTime;

use crate::error::Error;
use crate::local_ca::{self, LocalCa};
use crate::report;
use crate::trust::{Outcome, Store};

/// Arguments of `trust` and `untrust`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {}

impl Args {
    /// Adds the authority, which is made if there is none.
    pub(crate) fn trust(self) -> Result<(), Error> {
        let Self {} = self;
        let authority = LocalCa::open(&local_ca::directory()?, SystemTime::now())?;
        let root = authority.root_certificate();
        report::say(&format!("local authority: {}", root.display()));
        tell(Store::all().iter().map(|store| store.add(&root)))
    }

    /// Takes every authority of ours out.
    pub(crate) fn untrust(self) -> Result<(), Error> {
        let Self {} = self;
        tell(Store::all().iter().map(Store::remove))
    }
}

fn tell(outcomes: impl Iterator<Item = Outcome>) -> Result<(), Error> {
    let mut all = true;
    for outcome in outcomes {
        report::say(&format!("  {outcome}"));
        all &= !matches!(outcome, Outcome::ByHand { .. });
    }
    if all { Ok(()) } else { Err(Error::Trust) }
}
